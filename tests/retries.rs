//! What is tried again, how often, how soon; when a run gives up; what this machine itself runs out of.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::authority::Alpn;
use crate::harness::frames::{GOAWAY, SETTINGS, frame};
use crate::harness::{Authority, Fetch, Finished, Gate, Raw, Reply, Running, Server, Step, Stream};

/// Every record's number of retries is what the server counted.
#[track_caller]
fn assert_attempts(run: &Finished, server: &Server) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for path in server.paths() {
        *counts.entry(path).or_default() += 1;
    }
    for record in run.records() {
        let url = record["url"].as_str().unwrap_or_default();
        let path = url.strip_prefix(&server.url("")).expect("a URL of this server");
        let attempts = record["num_retries"].as_u64().map(|retries| retries + 1);
        assert_eq!(attempts, counts.get(path).copied(), "{record}\n{run}");
    }
}

#[test]
fn a_gateway_that_fails_twice_costs_two_retries() {
    for count in [1, 50] {
        let server = Server::http(|seen| match seen.earlier {
            0 | 1 => Reply::status(502).body("try later"),
            _ => Reply::ok("here"),
        });
        let run = Fetch::recorded().args(["--retry-delay", "0.05"]).urls(&server.numbered("/", count)).run();
        run.assert_exit(0).check_invariants(count);
        assert!(run.records().iter().all(|record| record["num_retries"] == 2), "{run}");
        assert_attempts(&run, &server);
        assert!(run.place().tree("out").values().all(|content| content == b"here"), "{run}");
    }
}

#[test]
fn a_url_that_waits_for_its_retry_gives_its_slot_to_the_others() {
    let server = Server::http(|seen| match (seen.path.as_str(), seen.earlier) {
        ("/0", 0) => Reply::status(500),
        _ => Reply::ok("here"),
    });
    let run = Fetch::recorded().args(["-j", "1", "--retry-delay", "2"]).urls(&server.numbered("/", 20)).run();
    run.assert_exit(0).check_invariants(20);
    assert_eq!(server.paths().iter().rposition(|path| path == "/0"), Some(20), "the last of all\n{run}");
}

#[test]
fn statuses_that_may_pass_are_tried_again_and_no_others() {
    let again = [408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524];
    let once =
        [400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424];
    let once = once.iter().chain(&[426, 428, 431, 451, 501, 505, 506, 507, 508, 510, 511, 519, 525, 530, 599]);
    let server = Server::http(|seen| Reply::status(seen.path[1..].parse().unwrap_or(500)));
    let list: Vec<String> = again.iter().chain(once).map(|status| server.url(&format!("/{status}"))).collect();
    let run = Fetch::recorded().args(["--retry", "2", "--retry-delay", "0.01"]).urls(&list).run();
    run.assert_exit(1).check_invariants(list.len());
    assert_attempts(&run, &server);
    for record in run.records() {
        let status = record["http_code"].as_i64().unwrap_or_default();
        let expected = if again.contains(&status) { 3 } else { 1 };
        assert_eq!(server.count(&format!("/{status}")), expected, "{status}\n{run}");
        assert_eq!((&record["error_class"], &record["exitcode"]), (&"http".into(), &22.into()), "{run}");
    }
}

#[test]
fn a_refused_certificate_and_a_body_too_large_are_not_tried_again() {
    let authority = Authority::new();
    let raw = Raw::tls(authority.identity().server_config(Alpn::Http11), |_| vec![Step::Hang]);
    let run = Fetch::recorded().args(["--retry-delay", "0.01"]).arg(raw.url("/")).run();
    run.assert_exit(1).assert_failed("tls");
    assert_eq!((raw.connections(), &run.record()["num_retries"]), (1, &0.into()), "{run}");
    let server = Server::http(|_| Reply::ok("more than ten bytes"));
    let run = Fetch::recorded().args(["--retry-delay", "0.01", "--max-filesize", "10"]).arg(server.url("/a")).run();
    run.assert_exit(1).assert_failed("too_large");
    assert_attempts(&run, &server);
}

#[test]
fn a_port_that_opens_later_is_found_by_a_retry() {
    let port = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        listener.local_addr().expect("it is bound").port()
    };
    let other = Server::http(|_| Reply::ok("up already"));
    let mut list: Vec<String> = (0..3).map(|number| format!("http://127.0.0.1:{port}/{number}")).collect();
    list.push(other.url("/other"));
    let running = Fetch::recorded().args(["--retry", "20", "--retry-delay", "0.5"]).urls(&list).start();
    // The attempt at the first line was refused before the last line's request went out.
    other.wait("the last line", |counts| counts.requests.len() == 1);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("open the port");
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut socket, _) = listener.accept().expect("accept");
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup");
        }
    });
    let run = running.finish();
    run.assert_exit(0).check_invariants(4);
    assert_ne!(run.records()[0]["num_retries"], 0, "{run}");
    server.join().expect("the server ended");
}

#[test]
fn a_body_that_breaks_off_once_is_whole_after_a_retry() {
    let server = Server::http(|seen| match seen.earlier {
        0 => Reply::ok("half").chunked().then_break(),
        _ => Reply::ok("half and half"),
    });
    let run = Fetch::recorded().args(["--retry-delay", "0.05"]).urls(&server.numbered("/", 20)).run();
    run.assert_exit(0).check_invariants(20);
    assert_attempts(&run, &server);
    assert!(run.place().tree("out").values().all(|content| content == b"half and half"), "{run}");
    assert!(run.records().iter().all(|record| record["num_retries"] == 1), "{run}");
}

#[test]
fn a_thousand_that_fail_together_do_not_come_back_together() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen| match seen.earlier {
        0 => Reply::status(500).held_by(&held),
        _ => Reply::ok("here"),
    });
    let running = Fetch::recorded().args(["-j", "1000"]).urls(&server.numbered("/", 1000)).start();
    server.wait("all of them", |counts| counts.running == 1000);
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(1000);
    assert_attempts(&run, &server);
    let retries: Vec<Instant> = server.seen().iter().filter(|s| s.earlier == 1).map(|s| s.started).collect();
    assert_eq!(retries.len(), 1000);
    let mut buckets: HashMap<u128, usize> = HashMap::new();
    for retry in &retries {
        *buckets.entry((*retry - retries[0]).as_millis() / 100).or_default() += 1;
    }
    // A machine that stands still for a moment lets those of that time come together: three times may be such.
    let mut most: Vec<usize> = buckets.into_values().collect();
    most.sort_unstable_by(|a, b| b.cmp(a));
    assert!(most.len() > 20 && most[3] <= 50, "in a tenth of a second: {most:?}");
}

#[test]
fn no_retry_starts_after_the_longest_time() {
    let server = Server::http(|_| Reply::status(500));
    let args = ["--retry", "1000", "--retry-delay", "0.3", "--retry-max-time", "3"];
    let run = Fetch::recorded().args(args).arg(server.url("/a")).run();
    run.assert_exit(1).check_invariants(1).assert_failed("http");
    assert_attempts(&run, &server);
    let seen = server.seen();
    assert!((2..=11).contains(&seen.len()), "{}\n{run}", seen.len());
}

#[test]
fn a_name_that_does_not_exist_is_a_failure_of_its_own_class_and_others_go_on() {
    let server = Server::http(|_| Reply::ok("here"));
    let mut list: Vec<String> = (0..100).map(|number| format!("http://no-such-host.invalid/{number}")).collect();
    list.extend(server.numbered("/", 20));
    let run = Fetch::recorded().args(["--retry", "0", "--tree"]).urls(&list).run();
    run.assert_exit(1).check_invariants(120);
    assert!(run.records()[..100].iter().all(|record| record["error_class"] == "dns"), "{run}");
    assert!(run.results()[100..].iter().all(|result| result == "ok"), "{run}");
}

/// 300 URLs that all fail, one after the other: how many were asked for, and the results.
#[track_caller]
fn fetch_failing(args: &[&str]) -> (usize, Finished) {
    let server = Server::http(|_| Reply::status(404));
    let run = Fetch::recorded().args(["-j", "1"]).args(args).urls(&server.numbered("/", 300)).run();
    run.assert_exit(1);
    (server.seen().len(), run)
}

#[test]
fn a_run_stops_after_as_many_failures_as_it_was_told() {
    for (args, expected) in [
        (&["--max-failures", "5"][..], 6),
        (&["--max-failures", "0"], 1),
        (&["--fail-early"], 1),
        (&["--max-failures", "10%"], 100),
        (&["--max-failures", "100%"], 300),
        (&["--max-failures", "300"], 300),
    ] {
        let (asked, run) = fetch_failing(args);
        assert_eq!(asked, expected, "{args:?}\n{run}");
        let failed = run.results().iter().filter(|result| *result == "failed").count();
        assert_eq!(failed, expected, "{args:?}\n{run}");
        let others = run.results().iter().filter(|result| *result == "cancelled").count();
        assert_eq!(run.results().len(), failed + others, "{args:?}\n{run}");
        run.check_invariants(failed + others);
        if expected < 300 {
            run.assert_stderr_has("stopping");
        }
        if expected == 1 {
            // Two names of one thing, as the help says.
            run.assert_stderr_has("one failed (--fail-early)");
        }
    }
}

#[test]
fn failures_that_may_pass_count_when_they_are_final() {
    let server = Server::http(|seen| if seen.earlier < 2 { Reply::status(500) } else { Reply::ok("here") });
    let args = ["--fail-early", "--retry-delay", "0.01"];
    let run = Fetch::recorded().args(args).urls(&server.numbered("/", 20)).run();
    run.assert_exit(0).check_invariants(20);
}

/// A run in which some system calls fail for a reason of this machine; `None` where they cannot be made to.
#[track_caller]
fn fetch_short_of(call: &str, error: &str, when: &str) -> Option<(Server, Finished)> {
    static PROBE: Mutex<Option<bool>> = Mutex::new(None);
    let works = *PROBE.lock().expect("no panic while held").get_or_insert_with(|| {
        let probe = std::process::Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).status();
        probe.is_ok_and(|status| status.success())
    });
    if !works {
        assert!(std::env::var_os("CI").is_none(), "strace must be installed and allowed in CI");
        eprintln!("skipped: strace is not installed, or not allowed");
        return None;
    }
    let server = Server::http(|_| Reply::ok("here").header("connection", "close"));
    let inject = format!("inject={call}:error={error}:when={when}");
    let trace = format!("trace={call}");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let run = Fetch::recorded().args(["-j", "20", "--retry", "0"]).under(strace).urls(&server.numbered("/", 100)).run();
    Some((server, run))
}

/// A file is made when its first bytes are there, and what cannot be received was asked for: then the request is sent
/// again. Without a socket none is sent.
#[track_caller]
fn assert_attempts_sent(run: &Finished, server: &Server, call: &str) {
    if ["openat", "recvfrom"].contains(&call) {
        assert_attempts(run, server);
    } else {
        assert_eq!(server.seen().len(), 100, "{call}\n{run}");
    }
}

#[test]
fn what_this_machine_runs_out_of_is_waited_for_and_costs_no_attempt() {
    for (call, error, lack) in [
        ("socket", "EMFILE", "descriptors"),
        ("socket", "ENFILE", "descriptors"),
        ("socket", "ENOBUFS", "memory"),
        ("connect", "EADDRNOTAVAIL", "ports"),
        ("connect", "ENOBUFS", "memory"),
        ("connect", "ENOMEM", "memory"),
        ("sendto", "ENOBUFS", "memory"),
        ("sendto", "ENOMEM", "memory"),
        ("recvfrom", "ENOBUFS", "memory"),
        ("recvfrom", "ENOMEM", "memory"),
        ("openat", "EMFILE", "descriptors"),
    ] {
        let when = if call == "openat" { "60..70" } else { "12..24" };
        let Some((server, run)) = fetch_short_of(call, error, when) else { return };
        run.assert_exit(0).check_invariants(100);
        assert_attempts_sent(&run, &server, call);
        assert_eq!(run.stderr_text().matches("this machine is at a limit").count(), 1, "it is said once\n{run}");
        run.assert_stderr_has(&format!("this machine is at a limit, out of {lack} ("));
    }
}

#[test]
fn a_time_to_wait_is_kept_by_a_run_that_has_nothing_else_to_do() {
    let server = Server::http(|seen| match seen.earlier {
        0 => Reply::status(503).header("retry-after", "2"),
        _ => Reply::ok("here"),
    });
    let run = Fetch::recorded().args(["--retry", "0"]).arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.record()["num_retries"], 1, "a retry that cost no attempt\n{run}");
    let seen = server.seen();
    assert!(seen[1].started - seen[0].started >= Duration::from_secs(2), "{run}");
}

/// A run of which a hundred URLs wait for a retry that is ten minutes away, and what it was told of each.
fn all_waiting(fetch: Fetch, server: &Server) -> Running {
    let args = ["-v", "-j", "100", "--retry-delay", "600"];
    let running = fetch.args(args).start();
    for number in 0..100 {
        running.wait_for_line(Stream::Err, &format!("{}: ", server.url(&format!("/{number}"))));
    }
    running
}

#[test]
fn a_signal_ends_a_run_whose_urls_all_wait_for_a_retry() {
    let server = Server::http(|_| Reply::status(500));
    let running = all_waiting(Fetch::recorded().urls(&server.numbered("/", 100)), &server);
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(100);
    assert_eq!(run.results(), ["cancelled"; 100], "{run}");
    assert_eq!(server.seen().len(), 100, "nothing more is asked for");
}

#[test]
fn a_run_that_has_failed_too_often_does_not_wait_for_those_that_wait_for_a_retry() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen| match seen.path.strip_prefix("/missing") {
        Some(_) => Reply::status(404).held_by(&held),
        None => Reply::status(500),
    });
    let urls = [server.numbered("/", 100), server.numbered("/missing", 3)].concat();
    let running = all_waiting(Fetch::recorded().args(["--max-failures", "2"]).urls(&urls), &server);
    gate.open();
    let run = running.finish();
    run.assert_exit(1).assert_stderr_has("stopping").check_invariants(103);
    assert_eq!(run.results(), [&["cancelled"; 100][..], &["failed"; 3]].concat(), "{run}");
    assert_eq!(server.seen().len(), 103, "nothing more is asked for");
}

#[test]
fn a_server_that_sends_every_connection_away_gets_a_bounded_number_of_them() {
    let authority = Authority::new();
    let (settings, goaway) = (frame(SETTINGS, 0, 0, &[]), frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]));
    let config = authority.identity().server_config(Alpn::Http2);
    let raw = Raw::tls(config, move |_| {
        vec![Step::ReadSome, Step::Send(settings.clone()), Step::Send(goaway.clone()), Step::CloseNotify]
    });
    let list: Vec<String> = (0..20).map(|number| raw.url(&format!("/{number}"))).collect();
    let args = ["--retry", "2", "--retry-delay", "0.1", "--cacert"];
    let run = Fetch::recorded().args(args).arg(authority.pem()).urls(&list).run();
    run.assert_exit(1).check_invariants(20);
    assert!(run.results().iter().all(|result| result == "failed"), "{run}");
    // Three attempts each, and as often as libcurl begins again by itself (five times).
    assert!(raw.connections() <= 20 * 3 * 6, "{} connections", raw.connections());
}

/// An nginx that closes after every answer, on a port that is free in a network of its own.
const CLOSING: &str = "daemon off; master_process off; pid nginx.pid;
events { worker_connections 2000; }
http {
    access_log off; keepalive_timeout 0;
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server { listen 127.0.0.1:8099; location / { return 200 x; } }
}";

#[test]
fn a_machine_with_few_ports_left_fetches_everything() {
    let private = std::process::Command::new("unshare").args(["-n", "ip", "link"]).output();
    let nginx = std::process::Command::new("nginx").arg("-v").output();
    if !private.is_ok_and(|out| out.status.success()) || nginx.is_err() {
        eprintln!("skipped: a network of its own needs root, unshare and ip, and nginx must be installed");
        return;
    }
    let dir = tempfile::tempdir().expect("make a temporary directory");
    std::fs::write(dir.path().join("nginx.conf"), CLOSING).expect("write its configuration");
    // 64 ports, and each is taken for a minute when its connection is closed by the client.
    let script = format!(
        r#"ip link set lo up && echo 40000 40063 >/proc/sys/net/ipv4/ip_local_port_range || exit 9
        nginx -e error.log -p {dir} -c nginx.conf & until [ -s {dir}/nginx.pid ]; do sleep 0.05; done
        "$@"; code=$?; kill $!; exit $code"#,
        dir = dir.path().display(),
    );
    let list: Vec<String> = (0..500).map(|number| format!("http://127.0.0.1:8099/{number}")).collect();
    let fetch = Fetch::new().args(["--json", "--discard", "-j", "200", "--retry", "0"]);
    let run = fetch.under(["unshare", "-n", "bash", "-c", &script, "bash"]).urls(&list).run();
    run.assert_exit(0).check_invariants(list.len());
    assert_eq!(run.stderr_text().matches("this machine is at a limit, out of ports (").count(), 1, "said once\n{run}");
}
