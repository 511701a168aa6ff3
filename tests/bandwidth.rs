//! `--limit-rate` and `--limit-rate-per-host` second by second: what comes is even, and not only right in the end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Fetch, Running};

/// How far off the mean of [`WINDOW`] may be.
const TOLERANCE: f64 = 0.1;
/// Over which a limit holds.
const WINDOW: f64 = 5.0;
/// Time to look at, and at most, where the machine is busy.
const SECONDS: [f64; 2] = [13.0, 50.0];
/// Windows to be judged.
const ENOUGH: usize = 40;
/// In a window the program may have waited so long for a processor, or the case between two looks; else it tells
/// nothing about the program.
const STALLED: f64 = 0.25;
/// Not looked at: the kernels' buffers fill, which a limit cannot prevent.
const FIRST: f64 = 2.0;

/// A server that answers without an end, as fast as it is read; counts what it could send.
struct Flood {
    url: String,
    sent: Arc<AtomicU64>,
}

impl Flood {
    /// `buffer`: what the server's kernel may hold for a connection.
    fn at(address: Ipv4Addr, buffer: usize) -> Flood {
        let listener = TcpListener::bind((address, 0)).expect("bind a server");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                rustix::net::sockopt::set_socket_send_buffer_size(&socket, buffer).expect("a small buffer");
                let count = count.clone();
                std::thread::spawn(move || {
                    let _ = socket.read(&mut [0; 4096]);
                    let mut written = socket.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                    let piece = vec![b'x'; buffer / 4];
                    while let Ok(1..) = written {
                        written = socket.write(&piece);
                        count.fetch_add(written.as_ref().map_or(0, |bytes| *bytes as u64), Ordering::SeqCst);
                    }
                });
            }
        });
        Flood { url, sent }
    }
}

/// A program under a limit, and what was counted.
struct Case {
    what: String,
    /// Bytes a second of all hosts together, and of each.
    limits: [f64; 2],
    servers: Vec<Flood>,
    running: Running,
    /// Whether the servers are to see it too.
    at_server: bool,
    looks: Vec<Look>,
}

/// What was counted at a time, in seconds since the beginning.
struct Look {
    at: f64,
    /// For how long the program has waited for a processor so far.
    waited: f64,
    /// Bytes that it wrote, and that each server sent.
    bytes: Vec<u64>,
}

impl Case {
    /// `transfers` at once to each of `hosts`, where `option` allows `limit` bytes a second.
    fn start(option: &str, limit: u64, hosts: u8, transfers: usize) -> Case {
        // All together hold far less than is tolerated.
        let buffer = usize::try_from(limit / 64).expect("it fits") / transfers;
        let buffer = buffer.max(2048);
        let servers: Vec<Flood> = (1..=hosts).map(|host| Flood::at(Ipv4Addr::new(127, 0, 0, host), buffer)).collect();
        let url = |number: usize| servers.iter().map(move |server| format!("{}/{number}", server.url));
        let urls: Vec<String> = (0..transfers).flat_map(url).collect();
        let bytes = limit.to_string();
        let args = ["-j", "100", option, &bytes, "--tree", "-d", "out", "-q"];
        let running = Fetch::new().args(args).urls(&urls).start();
        let what = format!("{option} {limit}, {transfers} transfers of each of {hosts} hosts");
        let shares = if option == "--limit-rate" { [1, 1] } else { [u64::from(hosts), 1] };
        let limits = shares.map(|share| (share * limit) as f64);
        // Not where the shortest window that there is says more than the limit; and what the kernel holds for many
        // connections comes and goes by a tenth of a second's worth each on a busy machine.
        let at_server = transfers == 1 && limit >= 64 << 10;
        Case { what, limits, servers, running, at_server, looks: Vec::new() }
    }

    fn look(&mut self, begun: Instant) {
        let pid = self.running.pid().as_raw_pid();
        let told = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it runs");
        // All that it writes: bodies.
        let written = told("io").lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
        let waited: f64 = told("schedstat").split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).expect("a number");
        let sent = self.servers.iter().map(|server| server.sent.load(Ordering::SeqCst));
        let bytes = written.into_iter().chain(sent).collect();
        self.looks.push(Look { at: begun.elapsed().as_secs_f64(), waited: waited / 1e9, bytes });
    }

    /// Every window that tells something.
    fn windows(&self) -> impl Iterator<Item = (&Look, &Look)> {
        let late = |looks: &[Look]| looks.windows(2).any(|two| two[1].at - two[0].at > STALLED);
        (0..self.looks.len()).filter(|from| self.looks[*from].at >= FIRST).filter_map(move |from| {
            let count = self.looks[from..].iter().position(|look| look.at - self.looks[from].at >= WINDOW)?;
            let (first, last) = (&self.looks[from], &self.looks[from + count]);
            let stalled = last.waited - first.waited > STALLED || late(&self.looks[from..=from + count]);
            (!stalled).then_some((first, last))
        })
    }

    /// Every window whose mean is not the limit.
    fn uneven(&self) -> Vec<String> {
        let mut uneven = Vec::new();
        for (first, last) in self.windows() {
            let count = if self.at_server { first.bytes.len() } else { 1 };
            for index in 0..count {
                let (who, limit) = [("taken", self.limits[0]), ("sent", self.limits[1])][index.min(1)];
                let mean = (last.bytes[index] - first.bytes[index]) as f64 / (last.at - first.at);
                if (mean - limit).abs() > limit * TOLERANCE {
                    let (from, to) = (first.at, last.at);
                    uneven.push(format!("{}: {mean:.0} a second {who} from {from:.1} s to {to:.1} s", self.what));
                }
            }
        }
        uneven
    }
}

#[test]
fn any_five_seconds_have_what_the_limit_allows() {
    let total = |limit, transfers| Case::start("--limit-rate", limit, 1, transfers);
    let per_host = |limit, transfers| Case::start("--limit-rate-per-host", limit, 2, transfers);
    // All beside each other: they wait most of the time.
    let mut cases = [
        total(4 << 10, 1),
        total(10 << 10, 1),
        total(10 << 10, 20),
        total(100 << 10, 1),
        total(100 << 10, 20),
        total(5 << 20, 1),
        total(5 << 20, 20),
        per_host(10 << 10, 1),
        per_host(10 << 10, 20),
        per_host(1 << 20, 20),
        per_host(1 << 20, 1),
    ];
    let begun = Instant::now();
    let is_enough = |cases: &[Case]| cases.iter().all(|case| case.windows().count() >= ENOUGH);
    while begun.elapsed().as_secs_f64() < SECONDS[0]
        || (begun.elapsed().as_secs_f64() < SECONDS[1] && !is_enough(&cases))
    {
        std::thread::sleep(Duration::from_millis(100));
        for case in &mut cases {
            case.look(begun);
        }
    }
    if !is_enough(&cases) {
        eprintln!("skipped in part: the machine is too busy");
    }
    let uneven: Vec<String> = cases.iter().flat_map(Case::uneven).collect();
    assert!(uneven.is_empty(), "{}", uneven.join("\n"));
}
