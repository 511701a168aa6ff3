//! A name server that answers as a case wants: late, never, wrongly, or with a hundred addresses.
//!
//! Programs ask it where `/etc/resolv.conf` names it, which takes root and a mount namespace; elsewhere its cases skip
//! and say so.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Fetch;

/// What a question gets.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These addresses; those of the other family are left out.
    Addresses(Vec<IpAddr>),
    /// RFC 1035's response code: 2 is SERVFAIL, 3 NXDOMAIN.
    Code(u8),
    /// An alias of this name, and nothing about that.
    Alias(&'static str),
    /// None at all.
    Silence,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, in lower case.
    pub name: String,
    /// For addresses of IPv6, not of IPv4.
    pub is_ipv6: bool,
}

type Answers = dyn Fn(&Question) -> (Duration, Answer) + Send + Sync;

struct Shared {
    answers: Box<Answers>,
    asked: Mutex<Vec<Question>>,
    stopping: AtomicBool,
}

/// A running name server; gone when dropped.
pub struct Dns {
    addr: Ipv4Addr,
    shared: Arc<Shared>,
}

impl Dns {
    /// One that answers each name after a time; `None`, with a word about it, where nobody could be made to ask it.
    pub fn start(answers: impl Fn(&Question) -> (Duration, Answer) + Send + Sync + 'static) -> Option<Dns> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can serve names and mount a resolv.conf");
            return None;
        }
        let shared = Arc::new(Shared {
            answers: Box::new(answers),
            asked: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
        });
        // A name server has port 53, so each has an address of its own.
        let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst));
        let addr = Ipv4Addr::from(0x7f35_0000 | (number & 0xffff));
        let (udp, tcp) = match (UdpSocket::bind((addr, 53)), TcpListener::bind((addr, 53))) {
            (Ok(udp), Ok(tcp)) => (udp, tcp),
            (udp, tcp) => panic!("bind {addr}:53: {:?} {:?}", udp.err(), tcp.err()),
        };
        let for_udp = shared.clone();
        std::thread::spawn(move || serve_udp(&udp, &for_udp));
        let for_tcp = shared.clone();
        std::thread::spawn(move || serve_tcp(&tcp, &for_tcp));
        Some(Dns { addr, shared })
    }

    /// The questions so far.
    pub fn asked(&self) -> Vec<Question> {
        self.shared.asked.lock().expect("no panic while held").clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Both threads wake and see it.
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(&[0], (self.addr, 53));
        }
        let _ = TcpStream::connect((self.addr, 53));
    }
}

impl Fetch {
    /// Has the program ask this name server and no other.
    pub fn asking(self, dns: &Dns) -> Fetch {
        let conf = self.place().home().join("resolv.conf");
        let text = format!("nameserver {}\noptions timeout:5 attempts:2\n", dns.addr);
        std::fs::write(&conf, text).expect("write a resolv.conf");
        let script = format!(r#"mount --bind '{}' /etc/resolv.conf && exec "$@""#, conf.display());
        self.under(["unshare", "-m", "bash", "-c", &script, "bash"])
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Arc<Shared>) {
    let mut packet = [0; 2048];
    while let Ok((count, from)) = socket.recv_from(&mut packet) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let (query, shared) = (packet[..count].to_vec(), shared.clone());
        let Ok(socket) = socket.try_clone() else { return };
        std::thread::spawn(move || {
            if let Some(mut response) = respond(&query, &shared) {
                if response.len() > 512 {
                    // Too long for a packet: TC, "ask again by TCP".
                    response.truncate(response.len() - usize::from(response[7]) * 16);
                    response[2] |= 2;
                    response[6..12].fill(0);
                }
                let _ = socket.send_to(&response, from);
            }
        });
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(socket), shared) = (socket, shared.clone()) else { continue };
        std::thread::spawn(move || talk(socket, &shared));
    }
}

fn talk(mut socket: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        socket.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        socket.read_exact(&mut query)?;
        let Some(response) = respond(&query, shared) else { return socket.shutdown(Shutdown::Both) };
        let length = u16::try_from(response.len()).map_err(io::Error::other)?;
        socket.write_all(&[&length.to_be_bytes()[..], &response].concat())?;
    }
}

/// The response to a query with one question, when its time has come.
fn respond(query: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let mut labels = Vec::new();
    let mut rest = question;
    while let Some((&length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
        labels.push(String::from_utf8_lossy(after.get(..usize::from(length))?).to_lowercase());
        rest = &after[usize::from(length)..];
    }
    let kind = rest.get(1..3)?;
    let question = &question[..question.len() - rest.len() + 5];
    let asked = Question { name: labels.join("."), is_ipv6: kind == [0, 28] };
    shared.asked.lock().expect("no panic while held").push(asked.clone());
    let (delay, answer) = (shared.answers)(&asked);
    std::thread::sleep(delay);
    let record = |kind: u16, data: &[u8]| {
        let length = u16::try_from(data.len()).expect("short data").to_be_bytes();
        // The name is that of the question; class IN; a minute to live.
        [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length, data].concat()
    };
    let (code, records) = match answer {
        Answer::Silence => return None,
        Answer::Code(code) => (code, Vec::new()),
        Answer::Alias(target) => {
            let labels = target.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
            (0, vec![record(5, &labels.chain([0]).collect::<Vec<_>>())])
        }
        Answer::Addresses(addresses) => {
            let records = addresses.iter().filter_map(|address| match (address, kind) {
                (IpAddr::V4(address), [0, 1]) => Some(record(1, &address.octets())),
                (IpAddr::V6(address), [0, 28]) => Some(record(28, &address.octets())),
                _ => None,
            });
            (0, records.collect())
        }
    };
    let count = u16::try_from(records.len()).expect("few records").to_be_bytes();
    let head = [&query[..2], &[0x81, 0x80 | code, 0, 1], &count, &[0; 4]].concat();
    Some([head, question.to_vec(), records.concat()].concat())
}
