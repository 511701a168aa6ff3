//! A slow, busy or dead host costs only itself, and is never asked before the time it named.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::harness::authority::Alpn;
use crate::harness::nginx::Listen;
use crate::harness::raw::{BlackHole, Wire};
use crate::harness::{Authority, Fetch, Finished, Gate, Nginx, Raw, Reply, Seen, Server, Step, Stream, until};

/// What was sent before the answer came may be seen so long after it. Nothing else may.
const ON_THE_WIRE: Duration = Duration::from_millis(200);

/// Every record's number of retries is what the server counted.
#[track_caller]
fn assert_attempts(run: &Finished, server: &Server) {
    for record in run.records() {
        let url = record["url"].as_str().unwrap_or_default();
        let Some(path) = url.strip_prefix(&server.url("")) else { continue };
        let attempts = record["num_retries"].as_u64().map(|retries| retries as usize + 1);
        assert_eq!(attempts, Some(server.count(path)), "{record}\n{run}");
    }
}

/// No request came while one of those that `paused` had named `pause`. What was on the wire when the host asked for it
/// may be seen a moment later, on a busy machine.
#[track_caller]
fn assert_no_request_inside(server: &Server, pause: Duration, paused: impl Fn(usize) -> bool) {
    let seen = server.seen();
    for (number, asked) in seen.iter().enumerate().filter(|(number, _)| paused(*number)) {
        let (from, to) = (asked.started + ON_THE_WIRE, asked.started + pause);
        for other in &seen {
            let inside = other.started >= from && other.started < to;
            let after = other.started.saturating_duration_since(asked.started);
            assert!(!inside, "{} came {after:?} after request {number} was told to wait {pause:?}", other.path);
        }
    }
}

/// A server whose answer depends on how many requests came before, of whatever path.
fn numbered(addr: Ipv4Addr, answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::http_at(addr, move |_| answer(count.fetch_add(1, Ordering::SeqCst)))
}

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two hosts, the first of which asks for a pause of three seconds at its twentieth request.
#[track_caller]
fn fetch_past_a_pause(status: u16, answer: impl Fn(Reply) -> Reply + Send + Sync + 'static) {
    let pause = Duration::from_secs(3);
    let busy = numbered(Ipv4Addr::LOCALHOST, move |number| match number {
        20 => answer(Reply::status(status)),
        _ => Reply::ok("served"),
    });
    let other = Server::http_at(OTHER, |_| Reply::ok("other"));
    let mut list = busy.numbered("/busy", 60);
    list.extend(other.numbered("/other", 200));
    let run = Fetch::recorded().args(["-j", "8", "--tree"]).urls(&list).run();
    run.assert_exit(0).check_invariants(list.len());
    assert_attempts(&run, &busy);
    assert_no_request_inside(&busy, pause, |number| number == 20);
    let seen = busy.seen();
    let resumed = seen.iter().map(|seen| seen.started).filter(|at| *at >= seen[20].started + pause).min();
    let resumed = resumed.expect("it goes on after the pause");
    assert!(other.seen().iter().all(|seen| seen.started < resumed), "the other host does not wait");
    let told: Vec<&str> = run.stderr_text().lines().filter(|line| line.contains("paused for 3")).collect();
    assert_eq!(told.len(), 1, "it is told once\n{run}");
    assert!(told[0].contains("127.0.0.1") && told[0].contains(&status.to_string()), "{run}");
    let records = run.records();
    let retried: Vec<_> = records.iter().filter(|record| record["num_retries"] != 0).collect();
    assert_eq!(retried.len(), 1, "only the one that was told to wait\n{run}");
    let paused = retried[0]["host_paused"].as_f64().expect("it was delayed");
    assert!((2.9..60.0).contains(&paused), "{paused}\n{run}");
    assert!(records[60..].iter().all(|record| record["host_paused"].is_null()), "{run}");
}

#[test]
fn a_429_with_retry_after_pauses_its_host_and_no_other() {
    fetch_past_a_pause(429, |reply| reply.header("retry-after", "3"));
}

#[test]
fn a_503_with_retry_after_pauses_its_host_and_no_other() {
    fetch_past_a_pause(503, |reply| reply.header("retry-after", "3"));
}

#[test]
fn a_date_in_retry_after_counts_from_the_servers_own_clock() {
    let (date, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:40 GMT");
    fetch_past_a_pause(429, move |reply| reply.header("date", date).header("retry-after", later));
    let (date, later) = ("Sun, 06 Nov 2044 08:49:37 GMT", "Sun, 06 Nov 2044 08:49:40 GMT");
    fetch_past_a_pause(503, move |reply| reply.header("date", date).header("retry-after", later));
}

#[test]
fn a_date_in_the_past_is_a_pause_of_the_usual_length() {
    let server = numbered(Ipv4Addr::LOCALHOST, |number| match number {
        0 => Reply::status(429).header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
        _ => Reply::ok("served"),
    });
    let run = Fetch::recorded().args(["--retry", "0", "--per-host", "1"]).urls(&server.numbered("/", 5)).run();
    run.assert_exit(0).check_invariants(5).assert_stderr_has("it named no time");
    assert_attempts(&run, &server);
    let seen = server.seen();
    let wait = seen[1].started - seen[0].started;
    assert!((Duration::from_millis(450)..Duration::from_secs(20)).contains(&wait), "{wait:?}");
}

#[test]
fn pauses_without_a_named_time_get_longer() {
    let server = numbered(Ipv4Addr::LOCALHOST, |number| match number {
        0..3 => Reply::status(429),
        _ => Reply::ok("served"),
    });
    let run = Fetch::recorded().args(["--retry", "0", "--per-host", "1"]).urls(&server.numbered("/", 20)).run();
    run.assert_exit(0).check_invariants(20);
    assert_attempts(&run, &server);
    let seen = server.seen();
    for (number, least) in [450, 950, 1950].into_iter().enumerate() {
        let wait = seen[number + 1].started - seen[number].started;
        assert!(wait >= Duration::from_millis(least), "pause {number} was {wait:?}");
    }
    let pauses = run.stderr_text().lines().filter(|line| line.contains("paused")).count();
    assert_eq!(pauses, 1, "told once, the others with -v\n{run}");
}

#[test]
fn a_host_that_names_too_long_a_time_is_closed_and_says_so() {
    for (args, named) in [(&["--retry-after-max", "10"][..], "11"), (&[], "301"), (&[], "99999999999999999999")] {
        let busy = Server::http(move |_| Reply::status(429).header("retry-after", named));
        let other = Server::http_at(OTHER, |_| Reply::ok("other"));
        let mut list = busy.numbered("/busy", 100);
        list.extend(other.numbered("/other", 100));
        let run = Fetch::recorded().args(args).args(["-j", "4", "--tree"]).urls(&list).run();
        run.assert_exit(1).check_invariants(200).assert_stderr_has("--retry-after-max");
        assert!(busy.seen().len() <= 4, "{} requests, no more than ran at once\n{run}", busy.seen().len());
        for record in &run.records()[..100] {
            assert_eq!((&record["result"], &record["error_class"]), (&"failed".into(), &"http".into()), "{run}");
        }
        assert!(run.results()[100..].iter().all(|result| result == "ok"), "{run}");
        let message = run.records()[99]["errormsg"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("--retry-after-max"), "{message}");
    }
}

#[track_caller]
fn fetch_past_limit_req(status: u16) {
    let Some(nginx) = Nginx::start(Listen::EveryAddress) else { return };
    let mut list: Vec<String> = (0..100).map(|number| nginx.http(&format!("/limited/{status}/{number}"))).collect();
    list.extend((0..50).map(|number| nginx.http_at("127.0.0.3", &format!("/missing/{number}"))));
    let run = Fetch::recorded().args(["-j", "20", "--tree"]).bound(Duration::from_secs(120)).urls(&list).run();
    run.assert_exit(1).check_invariants(150);
    assert!(run.results()[..100].iter().all(|result| result == "ok"), "{run}");
    until("the log", || nginx.accesses().iter().filter(|access| access.status == 200).count() >= 100);
    let limited: Vec<_> = nginx.accesses().into_iter().filter(|a| a.path.starts_with("/limited/")).collect();
    let refused: Vec<_> = limited.iter().filter(|access| access.status == status).collect();
    assert!(!refused.is_empty(), "the limit is never met");
    for asked in &refused {
        // The log is exact to a few milliseconds.
        let (from, to) = (asked.ended + ON_THE_WIRE.as_secs_f64(), asked.ended + 0.98);
        let inside = limited.iter().find(|access| (from..to).contains(&(access.ended - access.took)));
        assert!(inside.is_none(), "{inside:?} came inside the pause of {asked:?}");
    }
    let retries: u64 = run.records()[..100].iter().filter_map(|record| record["num_retries"].as_u64()).sum();
    assert_eq!(retries as usize, refused.len(), "{run}");
}

#[test]
fn every_url_of_a_host_that_limits_its_rate_with_429_ends_ok() {
    fetch_past_limit_req(429);
}

#[test]
fn every_url_of_a_host_that_limits_its_rate_with_503_ends_ok() {
    fetch_past_limit_req(503);
}

/// 2,000 URLs of a host that cannot be reached and 50 of a good one; the good one's are all ok.
#[track_caller]
fn fetch_past_a_dead_host(dead: impl Fn(usize) -> String, args: &[&str]) -> Finished {
    let good = Server::http_at(OTHER, |_: &Seen| Reply::ok("good"));
    let mut list: Vec<String> = (0..2000).map(dead).collect();
    list.extend(good.numbered("/good", 50));
    let run = Fetch::recorded().args(args).args(["-j", "50", "--tree"]).urls(&list).start();
    good.wait("the good answers", |counts| counts.requests.len() == 50 && counts.running == 0);
    let run = run.finish();
    run.assert_exit(1).check_invariants(2050).assert_stderr_has("cannot be reached");
    assert!(run.results()[2000..].iter().all(|result| result == "ok"), "{run}");
    assert!(run.results()[..2000].iter().all(|result| result == "failed"), "{run}");
    run
}

#[test]
fn a_host_that_swallows_connections_is_given_up_after_a_few_and_its_urls_fail_at_once() {
    let hole = BlackHole::new();
    let url = |number| format!("{}{number}", hole.url());
    let run = fetch_past_a_dead_host(url, &["--connect-timeout", "2", "--retry", "2", "--retry-delay", "0.2"]);
    let records = run.records();
    let tried = records[..2000].iter().filter(|record| record["time_total"].as_f64().is_some_and(|time| time > 1.0));
    assert!(tried.count() <= 3, "{run}");
    let given_up = records[..2000].iter().filter(|r| r["errormsg"].as_str().is_some_and(|m| m.contains("given up")));
    assert!(given_up.count() >= 1990, "{run}");
    assert!(records[..2000].iter().all(|r| r["error_class"] == "timeout" || r["error_class"] == "connect"), "{run}");
}

#[test]
fn a_host_that_refuses_connections_is_given_up_after_a_few() {
    let refusing = crate::harness::raw::refusing_url();
    let run = fetch_past_a_dead_host(|number| format!("{refusing}{number}"), &["--retry-delay", "0.2"]);
    assert!(run.records()[..2000].iter().all(|record| record["error_class"] == "connect"), "{run}");
}

#[test]
fn a_host_that_resets_every_handshake_gets_few_connections() {
    let raw = Raw::always(vec![Step::ReadSome, Step::Reset]);
    let authority = Authority::new();
    let cacert = authority.pem();
    let url = |number| raw.url(&format!("/{number}")).replace("http://", "https://");
    let cacert = cacert.to_str().expect("a path of ours");
    fetch_past_a_dead_host(url, &["--retry-delay", "0.2", "--cacert", cacert]);
    assert!(raw.connections() <= 8, "{} connections", raw.connections());
}

/// Even where all of it comes at once.
#[test]
fn a_429_counts_whatever_is_wrong_with_its_body() {
    let head = "HTTP/1.1 429 Too Many\r\nRetry-After: 2\r\n";
    for broken in ["Transfer-Encoding: chunked\r\n\r\nzz\r\nfoo", "Content-Length: 100\r\n\r\nfoo"] {
        let raw = Raw::start(move |number| {
            Step::answer(match number {
                0 => format!("{head}{broken}"),
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            })
        });
        let run = Fetch::recorded().urls(&[raw.url("/a")]).run();
        run.assert_exit(0).check_invariants(1);
        assert!(run.record()["host_paused"].as_f64() >= Some(1.9), "{run}");
    }
}

#[test]
fn bodies_that_stop_fail_by_the_stall_limit_and_cost_no_other_host() {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = Server::http(move |_| Reply::ok("a byte or two").then_wait(&held).body("the rest"));
    let fast = Server::http_at(OTHER, |_| Reply::ok("fast"));
    let mut list = slow.numbered("/slow", 50);
    list.extend(fast.numbered("/fast", 300));
    let args = ["-j", "50", "--retry", "0", "--stall-timeout", "5", "--tree"];
    let running = Fetch::recorded().args(args).urls(&list).start();
    fast.wait("every fast answer", |counts| counts.requests.len() == 300 && counts.running == 0);
    let run = running.finish();
    gate.open();
    run.assert_exit(1).check_invariants(350);
    assert!(run.records()[..50].iter().all(|record| record["error_class"] == "stall"), "{run}");
    assert!(run.results()[50..].iter().all(|result| result == "ok"), "{run}");
}

#[test]
fn a_host_is_taken_up_again_one_by_one_after_its_pause() {
    let pause = Duration::from_secs(1);
    let server = numbered(Ipv4Addr::LOCALHOST, |number| match number {
        30 => Reply::status(429).header("retry-after", "1"),
        _ => Reply::ok("served").after(Duration::from_millis(200)),
    });
    let run = Fetch::recorded().args(["-j", "20"]).urls(&server.numbered("/", 150)).run();
    run.assert_exit(0).check_invariants(150);
    assert_no_request_inside(&server, pause, |number| number == 30);
    let seen = server.seen();
    let again: Vec<_> = seen.iter().map(|seen| seen.started).filter(|at| *at >= seen[30].started + pause).collect();
    assert!(again[1] - again[0] >= Duration::from_millis(190), "the second waits for the first's answer");
    assert!(again[3] - again[1] >= Duration::from_millis(190), "then two at a time");
}

#[test]
fn a_retry_after_that_says_nothing_is_a_pause_of_the_usual_length() {
    for (status, named) in [(429, ""), (429, "soon"), (429, "-5"), (429, "0"), (503, "0"), (429, "1e3"), (429, "0x10")]
    {
        let server = numbered(Ipv4Addr::LOCALHOST, move |number| match number {
            0 => Reply::status(status).header("retry-after", named),
            _ => Reply::ok("served"),
        });
        let run = Fetch::recorded().args(["--retry", "0", "--per-host", "1"]).urls(&server.numbered("/", 3)).run();
        run.assert_exit(0).check_invariants(3);
        let seen = server.seen();
        let wait = seen[1].started - seen[0].started;
        assert!((Duration::from_millis(450)..Duration::from_secs(20)).contains(&wait), "{named}: {wait:?}\n{run}");
    }
}

#[test]
fn a_host_that_always_asks_to_wait_does_not_hold_a_run_for_ever() {
    let server = Server::http(|_| Reply::status(429).header("retry-after", "1"));
    let other = Server::http_at(OTHER, |_| Reply::ok("other"));
    let mut list = server.numbered("/busy", 2000);
    list.extend(other.numbered("/other", 50));
    let run = Fetch::recorded().args(["--retry-max-time", "3", "--tree"]).urls(&list).run();
    run.assert_exit(1).check_invariants(list.len());
    let records = run.records();
    assert!(records[..2000].iter().all(|record| record["error_class"] == "http"), "{run}");
    assert!(run.results()[2000..].iter().all(|result| result == "ok"), "{run}");
    let closed =
        |record: &&serde_json::Value| record["errormsg"].as_str().is_some_and(|why| why.contains("nothing but 429"));
    assert!(records.iter().filter(closed).count() >= 1990, "the others fail without a request\n{run}");
    assert_eq!(run.stderr_text().matches("nothing but 429").count(), 1, "it is told once\n{run}");
    // Those that were in flight together, and one after each pause.
    assert!(server.seen().len() <= 12, "{} requests\n{run}", server.seen().len());
}

#[test]
fn one_url_that_is_always_told_to_wait_does_not_close_its_host() {
    let server = Server::http(|seen| match seen.path.as_str() {
        "/busy0" => Reply::status(429).header("retry-after", "1"),
        _ => Reply::ok("served"),
    });
    let args = ["--retry-max-time", "9", "--per-host", "1"];
    let run = Fetch::recorded().args(args).urls(&server.numbered("/busy", 40)).run();
    run.assert_exit(1).check_invariants(40);
    assert!(run.results()[1..].iter().all(|result| result == "ok"), "{run}");
    assert_eq!(run.records()[0]["error_class"], "http", "{run}");
}

#[test]
fn what_is_done_about_a_host_that_cannot_be_reached_is_told_to_those_who_ask() {
    let refusing = crate::harness::raw::refusing_url();
    let list: Vec<String> = (0..5).map(|number| format!("{refusing}{number}")).collect();
    for (args, told) in [(&["-v"][..], 2), (&[], 0)] {
        let run = Fetch::recorded().args(["--retry", "2", "--retry-delay", "0.5"]).args(args).urls(&list).run();
        run.assert_exit(1).check_invariants(5).assert_stderr_has("failures in a row");
        assert_eq!(run.stderr_text().matches("one attempt at a time, the next in 0.5 s").count(), told, "{run}");
    }
}

/// Fetches eight URLs of a server whose first connection is told `answer` while the others are in the middle of their
/// handshakes, which go on when that was understood. When that was, and when requests came afterwards.
#[track_caller]
fn requests_after(answer: &'static str) -> (Finished, Instant, Vec<Instant>) {
    let authority = Authority::new();
    let (connections, understood) = (Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::new()));
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let (goes_on, requests) = (Arc::clone(&understood), Arc::clone(&arrived));
    let raw = Raw::tls(authority.identity().server_config(Alpn::Http11), move |number| {
        connections.fetch_add(1, Ordering::SeqCst);
        let (connections, goes_on, requests) = (connections.clone(), goes_on.clone(), requests.clone());
        vec![Step::Speak(Arc::new(move |wire: &mut dyn Wire| {
            let mut head = [0; 16_384];
            if number == 0 {
                let _ = wire.read(&mut head)?;
                until("the others' connections", || connections.load(Ordering::SeqCst) >= 8);
                wire.write_all(answer.as_bytes()).and_then(|()| wire.flush())?;
                return wire.read(&mut head).map(drop);
            }
            until("the pause", || goes_on.get().is_some());
            // The handshake, and the request if there is one.
            while wire.read(&mut head)? > 0 {
                requests.lock().expect("no panic while held").push(Instant::now());
                wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").and_then(|()| wire.flush())?;
            }
            Ok(())
        }))]
    });
    let list: Vec<String> = (0..8).map(|number| raw.url(&format!("/{number}"))).collect();
    let running = Fetch::recorded().args(["-j", "8", "--cacert"]).arg(authority.pem()).urls(&list).start();
    running.wait_for_line(Stream::Err, " answered ");
    let now = Instant::now();
    understood.set(now).expect("once");
    let run = running.finish();
    let arrived = arrived.lock().expect("no panic while held").clone();
    (run, now, arrived)
}

#[test]
fn what_is_still_connecting_when_its_host_asks_for_a_pause_sends_nothing_inside_it() {
    for answer in [
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 1000\r\n\r\na page that does not end",
    ] {
        let (run, understood, arrived) = requests_after(answer);
        run.assert_exit(0).check_invariants(8);
        // A moment of the two seconds had passed by then.
        let inside = arrived.iter().find(|at| **at - understood < Duration::from_millis(1500));
        assert_eq!(inside.map(|at| *at - understood), None, "{run}");
        assert_eq!(arrived.len(), 8, "each is asked for once, the first again\n{run}");
        let retries: Vec<u64> = run.records().iter().filter_map(|record| record["num_retries"].as_u64()).collect();
        assert_eq!(retries.iter().sum::<u64>(), 1, "to be held back is no attempt: {retries:?}\n{run}");
    }
}

#[test]
fn what_is_still_connecting_when_its_host_is_closed_sends_nothing() {
    let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9999\r\nContent-Length: 0\r\n\r\n";
    let (run, _, arrived) = requests_after(answer);
    run.assert_exit(1).check_invariants(8);
    assert!(arrived.is_empty(), "{run}");
    assert!(run.records().iter().all(|record| record["error_class"] == "http"), "{run}");
}
