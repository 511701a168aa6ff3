//! `-j auto`: the number of transfers is found while running.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::nginx::{Listen, most_at_once};
use crate::harness::{Fetch, Gate, Nginx, Reply, Seen, Server, until};

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
