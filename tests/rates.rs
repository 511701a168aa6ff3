//! How many at once, how many starts and bytes per time: as the servers see it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::harness::{Fetch, Gate, Reply, Server};

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// With these arguments a host that never answers gets `most` requests at once, while another is served.
#[track_caller]
fn assert_most_at_once(args: &[&str], most: usize) {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = Server::http(move |_| Reply::ok("slow").held_by(&held));
    let fast = Server::http_at(OTHER, |_| Reply::ok("fast"));
    let mut list = slow.numbered("/slow", 60);
    list.extend(fast.numbered("/fast", 60));
    let running = Fetch::recorded().args(args).args(["--tree"]).urls(&list).start();
    slow.wait("as many as are allowed", |counts| counts.running == most);
    // Time for one more, if the program wanted it.
    if most < 20 {
        fast.wait("the other host's", |counts| counts.requests.len() == 60 && counts.running == 0);
    }
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(120);
    for server in [&slow, &fast] {
        assert!(server.counts(|counts| counts.most_running) <= most, "{args:?}\n{run}");
        assert!(server.counts(|counts| counts.most_open) <= most + 1, "{args:?}\n{run}");
    }
}

#[test]
fn a_host_gets_eight_at_once_unless_told_otherwise() {
    assert_most_at_once(&[], 8);
    assert_most_at_once(&["--per-host", "3"], 3);
    assert_most_at_once(&["-j", "30", "--per-host", "1"], 1);
}

#[test]
fn with_jobs_a_host_may_get_them_all() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("slow").held_by(&held));
    let running = Fetch::recorded().args(["-j", "20"]).urls(&server.numbered("/", 60)).start();
    server.wait("twenty", |counts| counts.running == 20);
    gate.open();
    running.finish().assert_exit(0).check_invariants(60);
    assert_eq!(server.counts(|counts| counts.most_running), 20);
}

/// No stretch of time has more of `starts` than `rate` a second allows, and one second's worth.
#[track_caller]
fn assert_rate(mut starts: Vec<Instant>, rate: f64) {
    starts.sort();
    for (first, from) in starts.iter().enumerate() {
        for (last, to) in starts.iter().enumerate().skip(first) {
            let (count, time) = ((last - first + 1) as f64, (*to - *from).as_secs_f64());
            assert!(count <= rate * time + rate, "{count} starts in {time} s");
        }
    }
}

fn starts(server: &Server) -> Vec<Instant> {
    server.seen().iter().map(|seen| seen.started).collect()
}

#[test]
fn starts_keep_to_the_rate_of_all_hosts_together_retries_included() {
    let answer = |seen: &crate::harness::Seen| match (seen.path.ends_with('0'), seen.earlier) {
        (true, 0) => Reply::status(500),
        _ => Reply::ok("x"),
    };
    let servers = [Server::http(answer), Server::http_at(OTHER, answer)];
    let mut list = servers[0].numbered("/", 40);
    list.extend(servers[1].numbered("/", 40));
    let args = ["--rate", "20/s", "--retry-delay", "0.001", "--tree"];
    let run = Fetch::recorded().args(args).urls(&list).run();
    run.assert_exit(0).check_invariants(80);
    let all: Vec<Instant> = servers.iter().flat_map(starts).collect();
    assert_eq!(all.len(), 88, "{run}");
    let (first, last) = (all.iter().min().expect("some"), all.iter().max().expect("some"));
    // 88 at 20 a second; a second's worth may run ahead.
    assert!(*last - *first >= Duration::from_millis(3350), "{:?}", *last - *first);
    assert!(*last - *first <= Duration::from_secs(20), "{:?}", *last - *first);
    assert_rate(all, 20.0);
}

#[test]
fn starts_keep_to_the_rate_of_each_host_and_hosts_do_not_share_it() {
    let servers = [Server::http(|_| Reply::ok("x")), Server::http_at(OTHER, |_| Reply::ok("x"))];
    let mut list = servers[0].numbered("/", 40);
    list.extend(servers[1].numbered("/", 40));
    let run = Fetch::recorded().args(["--rate-per-host", "10/s", "--tree"]).urls(&list).run();
    run.assert_exit(0).check_invariants(80);
    for server in &servers {
        assert_rate(starts(server), 10.0);
    }
    let (first, second) = (starts(&servers[0]), starts(&servers[1]));
    assert!(second[20] < first[39] && first[20] < second[39], "they run beside each other");
}

const PIECE: usize = 64 * 1024;
/// Of `--limit-rate 256k`.
const LIMIT: f64 = 256.0 * 1024.0;

/// One file after the other: a request is sent when all bytes before it have been received.
#[track_caller]
fn assert_bytes(server: &Server, count: usize) {
    let starts = starts(server);
    assert_eq!(starts.len(), count);
    for (number, start) in starts.iter().enumerate() {
        let (bytes, time) = ((number * PIECE) as f64, (*start - starts[0]).as_secs_f64());
        assert!(bytes <= LIMIT * (time + 1.0), "{bytes} bytes in {time} s: more than a second's worth ahead");
    }
    let (bytes, time) = (((count - 1) * PIECE) as f64, (starts[count - 1] - starts[0]).as_secs_f64());
    let speed = bytes / time;
    assert!(speed <= LIMIT * 1.1, "{speed} bytes a second");
    assert!(speed >= LIMIT * 0.5, "{speed} bytes a second");
}

#[test]
fn bytes_keep_to_the_limit() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; PIECE]));
    let list = server.numbered("/", 24);
    let run = Fetch::recorded().args(["-j", "1", "--limit-rate", "256k"]).urls(&list).run();
    run.assert_exit(0).check_invariants(24);
    assert_bytes(&server, 24);
}

#[test]
fn bytes_keep_to_the_limit_of_each_host_and_hosts_do_not_share_it() {
    let answer = |_: &crate::harness::Seen| Reply::ok(vec![b'x'; PIECE]);
    let servers = [Server::http(answer), Server::http_at(OTHER, answer)];
    let mut list = servers[0].numbered("/", 20);
    list.extend(servers[1].numbered("/", 20));
    let args = ["--per-host", "1", "--limit-rate-per-host", "256k", "--tree"];
    let run = Fetch::recorded().args(args).urls(&list).run();
    run.assert_exit(0).check_invariants(40);
    for server in &servers {
        assert_bytes(server, 20);
    }
}

#[test]
fn transfers_share_the_limit() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 8 * PIECE]));
    let other = Server::http_at(OTHER, |_| Reply::ok(vec![b'x'; 8 * PIECE]));
    let mut list = server.numbered("/a", 2);
    list.extend(other.numbered("/b", 2));
    let begun = Instant::now();
    let run = Fetch::recorded().args(["-j", "4", "--limit-rate", "512k", "--tree"]).urls(&list).run();
    let took = begun.elapsed().as_secs_f64();
    run.assert_exit(0).check_invariants(4);
    // 2 MiB take four seconds, a second's worth of burst not counted.
    assert!((2.9..20.0).contains(&took), "{took} s");
}

#[test]
fn a_wrong_rate_is_a_usage_error() {
    for args in [
        ["--rate", "20/w"],
        ["--rate", "0/s"],
        ["--rate-per-host", "-1/s"],
        ["--limit-rate", "-1"],
        ["--limit-rate-per-host", "fast"],
        ["-j", "0"],
        ["--per-host", "0"],
        ["--max-failures", "101%"],
    ] {
        Fetch::recorded().args(args.map(|arg| arg.to_owned())).arg("http://127.0.0.1:1/").run().assert_exit(2);
    }
}
