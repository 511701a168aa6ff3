//! A server that sends exactly the bytes it is told to, and then does exactly what it is told to: for everything a
//! correct server never does.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a connection does next. After the last step it is closed (without a TLS close_notify).
#[derive(Clone)]
pub enum Step {
    /// Reads up to and with an empty line.
    ReadHead,
    /// Reads whatever comes first, once.
    ReadSome,
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends a byte at a time.
    SendSlowly { bytes: Vec<u8>, every: Duration },
    /// Sends the same bytes until nobody takes them.
    SendForever(Vec<u8>),
    /// Says goodbye as TLS demands.
    CloseNotify,
    /// Ends the connection with a reset instead of a FIN.
    Reset,
    /// Does nothing more until the client goes away.
    Hang,
    /// Reads and writes as it pleases.
    Speak(Arc<Speech>),
}

/// What [`Step::Speak`] does.
pub type Speech = dyn Fn(&mut dyn Wire) -> io::Result<()> + Send + Sync;

impl Step {
    /// Reads a request and sends these bytes.
    pub fn answer(bytes: impl AsRef<[u8]>) -> Vec<Step> {
        vec![Step::ReadHead, Step::Send(bytes.as_ref().to_vec())]
    }
}

#[derive(Default)]
struct Shared {
    /// What each connection sent us.
    received: Mutex<Vec<Vec<u8>>>,
    /// Every accepted socket, so that a blocked thread can be woken.
    sockets: Mutex<Vec<TcpStream>>,
    stopping: AtomicBool,
}

/// A running raw server; its connections end when it is dropped.
pub struct Raw {
    addr: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Raw {
    /// A server on 127.0.0.1; `script` is asked what connection number n, from 0, does.
    pub fn start(script: impl Fn(usize) -> Vec<Step> + Send + 'static) -> Raw {
        Raw::with(None, script)
    }

    /// A server whose every connection does the same.
    pub fn always(steps: Vec<Step>) -> Raw {
        Raw::start(move |_| steps.clone())
    }

    /// The same behind TLS: the steps begin after the handshake.
    pub fn tls(config: Arc<ServerConfig>, script: impl Fn(usize) -> Vec<Step> + Send + 'static) -> Raw {
        Raw::with(Some(config), script)
    }

    fn with(tls: Option<Arc<ServerConfig>>, script: impl Fn(usize) -> Vec<Step> + Send + 'static) -> Raw {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a raw server");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let has_tls = tls.is_some();
        let for_thread = shared.clone();
        let thread = std::thread::spawn(move || accept(&listener, &for_thread, tls.as_ref(), script));
        Raw { addr, tls: has_tls, shared, thread: Some(thread) }
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        let (scheme, host) = if self.tls { ("https", "localhost") } else { ("http", "127.0.0.1") };
        format!("{scheme}://{host}:{}{path}", self.addr.port())
    }

    /// What each connection sent, in the order of their start.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.received.lock().expect("no panic while held").clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.received().len()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for socket in self.shared.sockets.lock().expect("no panic while held").iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // The accepting thread wakes for a connection.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    tls: Option<&Arc<ServerConfig>>,
    script: impl Fn(usize) -> Vec<Step>,
) {
    for socket in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        let Ok(clone) = socket.try_clone() else { continue };
        let Ok(for_reset) = socket.try_clone() else { continue };
        shared.sockets.lock().expect("no panic while held").push(clone);
        let number = {
            let mut received = shared.received.lock().expect("no panic while held");
            received.push(Vec::new());
            received.len() - 1
        };
        let talk = Talk { shared: shared.clone(), number, socket: for_reset, steps: script(number) };
        let tls = tls.cloned();
        std::thread::spawn(move || {
            let _ = socket.set_nodelay(true);
            // A client that goes away before the script ends is no failure of the script.
            let _ = match tls {
                None => talk.play(&mut Plain(socket)),
                Some(config) => ServerConnection::new(config)
                    .map_err(io::Error::other)
                    .and_then(|connection| talk.play(&mut StreamOwned::new(connection, socket))),
            };
        });
    }
}

/// What both kinds of connection can do.
pub trait Wire: Read + Write {
    /// Says goodbye as TLS demands.
    fn close_notify(&mut self) -> io::Result<()>;
}

struct Plain(TcpStream);

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Wire for Plain {
    fn close_notify(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn close_notify(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.conn.complete_io(&mut self.sock).map(drop)
    }
}

/// One connection and its script.
struct Talk {
    shared: Arc<Shared>,
    number: usize,
    socket: TcpStream,
    steps: Vec<Step>,
}

impl Talk {
    fn play(&self, wire: &mut impl Wire) -> io::Result<()> {
        let outcome = self.steps.iter().try_for_each(|step| self.step(step, wire));
        if !matches!(self.steps.last(), Some(Step::Reset)) {
            // The clones that wake blocked threads would keep the connection open.
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        outcome
    }

    fn step(&self, step: &Step, wire: &mut impl Wire) -> io::Result<()> {
        match step {
            Step::ReadHead => while !self.read(wire)?.ends_with(b"\r\n\r\n") {},
            Step::ReadSome => drop(self.read(wire)?),
            Step::Send(bytes) => wire.write_all(bytes).and_then(|()| wire.flush())?,
            Step::SendSlowly { bytes, every } => {
                for byte in bytes {
                    wire.write_all(&[*byte]).and_then(|()| wire.flush())?;
                    std::thread::sleep(*every);
                }
            }
            Step::SendForever(bytes) => loop {
                wire.write_all(bytes).and_then(|()| wire.flush())?;
            },
            Step::CloseNotify => wire.close_notify()?,
            Step::Reset => {
                // With unread or lingering-zero data, the last close sends RST: let go of the waking clone, too.
                rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))?;
                let peer = self.socket.peer_addr()?;
                let mut sockets = self.shared.sockets.lock().expect("no panic while held");
                sockets.retain(|socket| socket.peer_addr().ok() != Some(peer));
            }
            Step::Speak(speech) => speech(wire)?,
            Step::Hang => while !self.read(wire)?.is_empty() {},
        }
        Ok(())
    }

    /// Reads once and gives everything this connection sent so far; an error at its end.
    fn read(&self, wire: &mut impl Wire) -> io::Result<Vec<u8>> {
        let mut piece = [0; 16384];
        let count = wire.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut received = self.shared.received.lock().expect("no panic while held");
        received[self.number].extend_from_slice(&piece[..count]);
        Ok(received[self.number].clone())
    }
}

/// An address that never answers a connect: its queue of unaccepted connections is full, so the kernel drops what
/// comes. Lasts as long as the value.
pub struct BlackHole {
    addr: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// A fresh one on 127.0.0.1.
    pub fn new() -> BlackHole {
        BlackHole::of(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a listener"))
    }

    /// Where this listens.
    pub fn of(listener: TcpListener) -> BlackHole {
        // Listening again changes the length of the queue.
        rustix::net::listen(&listener, 0).expect("shorten the queue");
        let addr = listener.local_addr().expect("it is bound");
        let mut queued = Vec::new();
        while let Ok(socket) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
            queued.push(socket);
            assert!(queued.len() < 64, "the queue is never full");
        }
        BlackHole { addr, _listener: listener, _queued: queued }
    }

    /// A URL that leads nowhere.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}

/// A port of 127.0.0.1 that refuses connections: it was free a moment ago.
pub fn refusing_url() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a listener");
    format!("http://{}/", listener.local_addr().expect("it is bound"))
}
