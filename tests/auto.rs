//! `-j auto`: the number of transfers is found while running.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::harness::nginx::{Listen, most_at_once};
use crate::harness::{Fetch, Finished, Gate, Nginx, Reply, Seen, Server, Stream, until};

#[test]
fn it_suits_a_fast_server() {
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    std::fs::write(nginx.root().join("file"), vec![b'x'; 1024]).expect("write a file to serve");
    let list: Vec<String> = (0..3000).map(|number| nginx.http(&format!("/file?{number}"))).collect();
    let run = Fetch::new().args(["--json", "--discard", "-j", "auto"]).urls(&list).run();
    run.assert_exit(0).check_invariants(list.len());
    until("the log", || nginx.accesses().len() >= list.len());
    assert_eq!(nginx.accesses().len(), list.len(), "one request each");
}

/// A server that answers twenty requests at once, and others with `status`.
#[track_caller]
fn assert_found_where_more_get(status: u16, urls: usize) {
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    let list: Vec<String> = (0..urls).map(|number| nginx.http(&format!("/crowded/{status}/{number}"))).collect();
    let run = Fetch::new().args(["--json", "--discard", "-j", "auto"]).urls(&list).run();
    run.assert_exit(0).check_invariants(list.len());
    until("the log", || nginx.accesses().iter().filter(|access| access.status == 200).count() >= list.len());
    let (served, refused): (Vec<_>, Vec<_>) = nginx.accesses().into_iter().partition(|access| access.status == 200);
    assert_eq!(served.len(), list.len());
    assert!(refused.len() * 10 < urls, "{} refused", refused.len());
    assert!(most_at_once(&served) >= 10, "{} at once", most_at_once(&served));
}

#[test]
fn it_stays_where_a_server_refuses_more() {
    assert_found_where_more_get(503, 1500);
}

#[test]
fn it_stays_where_a_server_asks_for_a_pause_when_there_are_more() {
    assert_found_where_more_get(429, 800);
}

/// A server of its own kind: the connections above `most` are closed as soon as they are made.
fn closing_above(most: usize, refused: Arc<AtomicUsize>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a server");
    let port = listener.local_addr().expect("it is bound").port();
    let (open, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let answered = served.clone();
    // It ends with the process.
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            if open.load(Ordering::SeqCst) >= most {
                refused.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            open.fetch_add(1, Ordering::SeqCst);
            let (open, answered) = (open.clone(), answered.clone());
            std::thread::spawn(move || {
                serve(socket, &answered);
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (port, served)
}

/// Answers what comes on a connection, each after a moment.
fn serve(mut socket: TcpStream, answered: &AtomicUsize) {
    let mut piece = [0; 4096];
    while matches!(socket.read(&mut piece), Ok(1..)) {
        std::thread::sleep(Duration::from_millis(30));
        if socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn it_stays_where_a_server_closes_further_connections() {
    for jobs in ["auto", "100"] {
        let refused = Arc::new(AtomicUsize::new(0));
        let (port, served) = closing_above(20, refused.clone());
        let list: Vec<String> = (0..1500).map(|number| format!("http://127.0.0.1:{port}/{number}")).collect();
        let run = Fetch::new().args(["--json", "--discard", "-j", jobs]).urls(&list).run();
        run.assert_exit(0).check_invariants(list.len());
        assert_eq!(served.load(Ordering::SeqCst), list.len(), "{run}");
        let refused = refused.load(Ordering::SeqCst);
        assert!(refused < 400, "-j {jobs}: {refused} refused\n{run}");
    }
}

#[test]
fn it_grows_where_every_answer_takes_two_seconds() {
    let server = Server::http(|_| Reply::ok("late").after(Duration::from_secs(2)));
    let list: Vec<String> = (0..2000).map(|number| server.url(&format!("/{number}"))).collect();
    let running = Fetch::recorded().args(["-j", "auto"]).urls(&list).start();
    server.wait("the first eight", |counts| counts.running == 8);
    server.wait("twice and twice again as many", |counts| counts.running >= 32);
    let seen = server.seen();
    let first = seen[0].started;
    let soon = seen.iter().filter(|seen| seen.started < first + Duration::from_secs(2)).count();
    assert_eq!(soon, 8, "no more before anything is known");
    running.kill();
}

/// An answer after `least` where as many are asked for at once as `fit`, and so much later for each above that.
fn crowded_above(fit: usize, least: Duration, more: Duration, seen: &Seen) -> Reply {
    let above = u32::try_from(seen.running.saturating_sub(fit)).expect("a few");
    Reply::ok("in turn").after(least + more * above)
}

/// How many ran at once, the new one among them, when each request came.
fn running(server: &Server) -> Vec<usize> {
    server.counts(|counts| counts.requests.iter().map(|seen| seen.running).collect())
}

#[test]
fn it_stays_where_each_more_makes_answers_slower() {
    let server = Server::http(|seen| crowded_above(10, Duration::from_millis(30), Duration::from_millis(30), seen));
    let list = server.numbered("/", 1000);
    let run = Fetch::new().args(["--json", "--discard", "-j", "auto"]).urls(&list).run();
    run.assert_exit(0).check_invariants(list.len());
    let running = running(&server);
    assert!(running.iter().max() <= Some(&32), "{running:?}");
    let many = running[500..].iter().filter(|running| **running > 20).count();
    assert!(many < 50, "it comes back to {many} of 500: {running:?}");
    assert!(running.contains(&8), "it gets what the server does at once: {running:?}");
}

#[test]
fn it_goes_down_when_answers_get_slower() {
    // Of 32 that run, none waits for another; when that has been so for a while, only of eight.
    let many = |seen: &Seen| seen.running >= 27;
    let (full, slow_from) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(usize::MAX)));
    let noted = slow_from.clone();
    let server = Server::http(move |seen| {
        let number = seen.path[1..].parse().expect("a number");
        if many(seen) && full.fetch_add(1, Ordering::SeqCst) == 300 {
            noted.store(number, Ordering::SeqCst);
        }
        let fit = if number < noted.load(Ordering::SeqCst) { 32 } else { 8 };
        crowded_above(fit, Duration::from_millis(40), Duration::from_millis(12), seen)
    });
    let args = ["--discard", "-j", "auto", "--per-host", "32"];
    let running = Fetch::recorded().args(args).urls(&server.numbered("/", 20_000)).start();
    server.wait("fewer, for two rounds", |counts| {
        let slow = counts.requests.iter().skip(slow_from.load(Ordering::SeqCst)).rev();
        slow.len() > 64 && !slow.take(64).any(many)
    });
    running.kill();
    let took = server.seen().len() - slow_from.load(Ordering::SeqCst);
    assert!(took < 1000, "only after {took}: {:?}", self::running(&server));
}

/// URLs of so many hosts, in turn, that one server answers.
fn of_hosts(server: &Server, hosts: usize, count: usize) -> Vec<String> {
    (0..count).map(|number| server.url_as(&format!("127.0.0.{}", 1 + number % hosts), &format!("/{number}"))).collect()
}

/// What it says when this machine has no more to give: the only time, and how many transfers are left.
#[track_caller]
fn told_of_a_limit(run: &Finished, lack: &str) -> usize {
    let told: Vec<_> = run.stderr_text().lines().filter(|line| line.contains("this machine is at a limit")).collect();
    assert_eq!(told.len(), 1, "it is said once\n{run}");
    assert!(told[0].contains(&format!("out of {lack} (")), "{run}");
    let (before, _) = told[0].split_once(" transfers at once for a while").expect("what it comes to");
    before.rsplit(' ').next().and_then(|most| most.parse().ok()).expect("a number")
}

/// A server for many hosts, whose first answers wait for the gate.
fn of_many_hosts(gate: &Gate) -> Server {
    let held = gate.clone();
    Server::http_at(Ipv4Addr::UNSPECIFIED, move |_| {
        Reply::ok("here").held_by(&held).after(Duration::from_millis(50)).header("connection", "close")
    })
}

#[test]
fn it_does_not_go_where_descriptors_end() {
    let gate = Gate::new();
    let server = of_many_hosts(&gate);
    let list = of_hosts(&server, 8, 1500);
    let fetch = Fetch::recorded().args(["-j", "auto"]).under(["prlimit", "--nofile=100"]);
    let running = fetch.urls(&list).start();
    server.wait("those it begins with", |counts| counts.running == 32);
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(list.len());
    let most = server.counts(|counts| counts.most_running);
    assert!(most <= 36, "{most} at once with 100 descriptors, less what it needs itself\n{run}");
    assert!(!run.stderr_text().contains("descriptors"), "the number was nobody's wish\n{run}");
}

#[test]
fn descriptors_that_become_few_make_it_fewer() {
    let gate = Gate::new();
    let server = of_many_hosts(&gate);
    let list = of_hosts(&server, 8, 2000);
    let running = Fetch::recorded().args(["-j", "auto"]).urls(&list).start();
    server.wait("those it begins with", |counts| counts.running == 32);
    // For those that run, but for no more of them.
    let (pid, few) = (Some(running.pid()), running.descriptors() as u64 + 4);
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(few), maximum }).expect("take its descriptors away");
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(list.len());
    told_of_a_limit(&run, "descriptors");
    let most = server.counts(|counts| counts.most_running);
    assert!(most < 45, "{most} at once\n{run}");
    // More than there are descriptors for are tried seldom.
    let retries: u64 = run.records().iter().filter_map(|record| record["num_retries"].as_u64()).sum();
    assert!(retries < 300, "{retries} attempts without a descriptor\n{run}");
}

#[test]
fn what_this_machine_has_no_more_of_makes_it_fewer() {
    for (call, error, lack) in
        [("socket", "EMFILE", "descriptors"), ("connect", "EADDRNOTAVAIL", "ports"), ("connect", "ENOBUFS", "memory")]
    {
        let gate = Gate::new();
        let server = of_many_hosts(&gate);
        let list = of_hosts(&server, 8, 200);
        let fetch = Fetch::recorded().args(["-j", "auto", "--retry", "0"]).urls(&list);
        let Some(fetch) = fetch.inject(&format!("{call}:error={error}:when=20..32")) else { return };
        let running = fetch.start();
        running.wait_for_line(Stream::Err, "this machine is at a limit");
        server.wait("those that got through", |counts| counts.running >= 17);
        gate.open();
        let run = running.finish();
        run.assert_exit(0).check_invariants(list.len());
        let left = told_of_a_limit(&run, lack);
        let later = &self::running(&server)[19..100];
        assert!(later.iter().all(|running| *running <= left + 3), "{call}, {error}: {later:?}\n{run}");
    }
}

/// The most that ran at once of those that match.
fn most_running(seen: &[Seen], matches: impl Fn(&Seen) -> bool) -> usize {
    let mut changes: Vec<(Instant, i32)> = Vec::new();
    for seen in seen.iter().filter(|seen| matches(seen)) {
        changes.push((seen.started, 1));
        changes.extend(seen.ended.map(|ended| (ended, -1)));
    }
    // What ended in the same moment made room.
    changes.sort();
    let running = changes.iter().scan(0, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    usize::try_from(running.max().unwrap_or(0)).expect("what ends has begun")
}

#[test]
fn deadlines_that_pass_make_it_fewer() {
    const QUICK: usize = 400;
    const HELD: usize = 45;
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen| match seen.path.starts_with("/held") {
        true => Reply::ok("never").held_by(&held),
        false => Reply::ok("soon").after(Duration::from_millis(20)),
    });
    let mut list: Vec<String> = (0..QUICK).map(|number| server.url(&format!("/quick/{number}"))).collect();
    list.extend((0..HELD).map(|number| server.url(&format!("/held/{number}"))));
    let args = ["-j", "auto", "--per-host", "16", "--retry", "0", "--stall-timeout", "1", "--tree"];
    let run = Fetch::recorded().args(args).urls(&list).run();
    run.assert_exit(1).check_invariants(list.len());
    assert!(run.results()[..QUICK].iter().all(|result| result == "ok"), "{run}");
    assert!(run.records()[QUICK..].iter().all(|record| record["error_class"] == "stall"), "{run}");
    let seen = server.seen();
    let at_first = most_running(&seen, |seen| seen.path.starts_with("/quick"));
    assert_eq!(at_first, 16, "as many as the host may get");
    let last = seen.iter().map(|seen| seen.started).max().expect("some");
    let at_last = most_running(&seen, |seen| seen.started + Duration::from_secs(3) > last);
    assert!(at_last <= 4, "{at_last} at once in the last three seconds\n{run}");
    gate.open();
}
