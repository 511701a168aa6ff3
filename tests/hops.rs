//! Redirects to other hosts: what holds for a host holds for whoever a redirect leads there.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::raw::BlackHole;
use crate::harness::{Fetch, Finished, Gate, Reply, Seen, Server};

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A host whose every `/to…` leads to the same path of `target`; the rest it answers itself.
fn leading_to(addr: Ipv4Addr, target: String) -> Server {
    Server::http_at(addr, move |seen: &Seen| match seen.path.starts_with("/to") {
        true => Reply::redirect(302, format!("{target}{}", seen.path)),
        false => Reply::ok("from here"),
    })
}

/// URLs of `count` different paths.
fn urls(server: &Server, name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| server.url(&format!("/{name}{number}"))).collect()
}

/// A host that answers its first request with `answer`, and all others.
fn busy_at_first(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::http_at(OTHER, move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => answer(),
        _ => Reply::ok("served"),
    })
}

fn fetch(args: &[&str], list: &[String]) -> Finished {
    Fetch::recorded().args(["--tree"]).args(args).urls(list).run()
}

fn ended(server: &Server) -> Vec<Instant> {
    server.seen().iter().filter_map(|seen| seen.ended).collect()
}

#[test]
fn a_redirect_to_a_paused_host_waits_and_its_own_host_goes_on() {
    let target = busy_at_first(|| Reply::status(429).header("retry-after", "2"));
    let from = leading_to(Ipv4Addr::LOCALHOST, target.url(""));
    let mut list = urls(&from, "to", 30);
    list.extend(urls(&from, "own", 100));
    let run = fetch(&["--per-host", "1"], &list);
    run.assert_exit(0).check_invariants(130);
    let seen = target.seen();
    let early = seen[1..].iter().map(|other| other.started - seen[0].started).find(|at| *at < Duration::from_secs(2));
    assert_eq!(early, None, "asked inside the pause\n{run}");
    assert_eq!(seen.len(), 31, "{run}");
    assert!(ended(&from).iter().max() < seen[1..].iter().map(|seen| &seen.started).min(), "it does not wait\n{run}");
    assert_eq!(from.seen().len(), 130, "nothing is asked for twice\n{run}");
    let records = run.records();
    assert!(records[..30].iter().all(|record| record["num_redirects"] == 1), "{run}");
    assert!(records[..30].iter().any(|record| record["host_paused"].as_f64().is_some_and(|time| time > 1.9)), "{run}");
    assert_eq!(records.iter().filter(|record| record["num_retries"] != 0).count(), 1, "{run}");
    assert!(run.stderr_text().contains("127.0.0.2"), "the one that asked is named\n{run}");
}

#[test]
fn a_redirect_to_a_closed_host_fails_at_once() {
    let target = busy_at_first(|| Reply::status(429).header("retry-after", "9999"));
    let from = leading_to(Ipv4Addr::LOCALHOST, target.url(""));
    let mut list = urls(&from, "to", 60);
    list.extend(urls(&from, "own", 10));
    let run = fetch(&["--per-host", "1"], &list);
    run.assert_exit(1).check_invariants(70);
    assert_eq!(target.seen().len(), 1, "{run}");
    for record in &run.records()[..60] {
        assert_eq!(record["error_class"], "http", "{run}");
        assert!(record["errormsg"].as_str().is_some_and(|why| why.contains("--retry-after-max")), "{record}");
    }
    assert!(run.results()[60..].iter().all(|result| result == "ok"), "{run}");
}

#[test]
fn a_host_gets_no_more_at_once_from_redirects_than_from_urls() {
    for (args, most) in [(&["--per-host", "2"][..], 2), (&[], 8), (&["-j", "5"], 5)] {
        let gate = Gate::new();
        let held = gate.clone();
        let target = Server::http_at(OTHER, move |_| Reply::ok("slow").held_by(&held));
        let from = [Ipv4Addr::LOCALHOST, THIRD].map(|addr| leading_to(addr, target.url("")));
        let mut list: Vec<String> = from.iter().flat_map(|from| urls(from, "to", 20)).collect();
        list.extend(urls(&target, "direct", 20));
        list.extend(from.iter().flat_map(|from| urls(from, "own", 20)));
        let running = Fetch::recorded().args(["--tree"]).args(args).urls(&list).start();
        target.wait("as many as are allowed", |counts| counts.running == most);
        if most < 5 {
            // What waits there has no slot of the hosts that led there, nor of the run.
            from.iter().for_each(|from| from.wait("the others'", |counts| counts.of("/own19") == 1));
        }
        gate.open();
        let run = running.finish();
        run.assert_exit(0).check_invariants(100);
        assert!(target.counts(|counts| counts.most_running) <= most, "{args:?}\n{run}");
        assert!(target.counts(|counts| counts.most_open) <= most + 1, "{args:?}\n{run}");
    }
}

#[test]
fn starts_of_a_host_are_spaced_out_where_redirects_lead_too() {
    let target = Server::http_at(OTHER, |_| Reply::ok("x"));
    let from = [Ipv4Addr::LOCALHOST, THIRD, Ipv4Addr::new(127, 0, 0, 4)].map(|addr| leading_to(addr, target.url("")));
    let list: Vec<String> = from.iter().flat_map(|from| urls(from, "to", 8)).collect();
    let run = fetch(&["--rate-per-host", "8/s"], &list);
    run.assert_exit(0).check_invariants(24);
    let seen = target.seen();
    let (first, last) = (seen[0].started, seen[23].started);
    // A second's worth at once, then eight a second.
    assert!(last - first > Duration::from_millis(1700), "{:?}\n{run}", last - first);
}

#[test]
fn the_bandwidth_of_a_host_is_shared_by_those_that_redirects_lead_there() {
    let target = Server::http_at(OTHER, |_| Reply::ok(vec![b'x'; 100_000]));
    let from = [Ipv4Addr::LOCALHOST, THIRD].map(|addr| leading_to(addr, target.url("")));
    let list: Vec<String> = from.iter().flat_map(|from| urls(from, "to", 2)).collect();
    let begin = Instant::now();
    let run = fetch(&["--limit-rate-per-host", "200K"], &list);
    run.assert_exit(0).check_invariants(4);
    assert!(begin.elapsed() > Duration::from_millis(1600), "400 kB at 200 KiB a second: {:?}\n{run}", begin.elapsed());
}

#[test]
fn a_black_hole_that_redirects_lead_to_is_given_up_after_a_few_and_costs_its_host_nothing() {
    let hole = BlackHole::new();
    let from = leading_to(OTHER, hole.url().trim_end_matches('/').to_owned());
    let mut list = urls(&from, "to", 600);
    list.extend(urls(&from, "own", 60));
    let run = fetch(&["--connect-timeout", "2", "--retry", "2", "--retry-delay", "0.2"], &list);
    run.assert_exit(1).check_invariants(660).assert_stderr_has("cannot be reached");
    let records = run.records();
    assert!(run.results()[600..].iter().all(|result| result == "ok"), "{run}");
    let connecting = |record: &&serde_json::Value| record["time_total"].as_f64().is_some_and(|time| time > 1.0);
    assert!(records[..600].iter().filter(connecting).count() <= 3, "{run}");
    let given_up = |record: &&serde_json::Value| {
        let why = record["errormsg"].as_str().unwrap_or_default();
        why.starts_with("given up") && why.contains("a redirect leads to 127.0.0.1")
    };
    assert!(records[..600].iter().filter(given_up).count() >= 590, "{run}");
    assert!(records[..600].iter().all(|record| record["num_retries"].as_u64() <= Some(2)), "{run}");
}

#[test]
fn a_chain_that_leads_back_needs_one_slot() {
    let target = Server::http_at(OTHER, |seen: &Seen| {
        Reply::redirect(302, seen.header("referer").unwrap_or_default().replace("/to", "/own"))
    });
    let from = leading_to(Ipv4Addr::LOCALHOST, target.url(""));
    let list = urls(&from, "to", 40);
    let args = ["-j", "1", "-e", ";auto", "-u", "user:S3CR3T", "-H", "X-Own: yes"];
    let run = fetch(&args, &list);
    run.assert_exit(0).check_invariants(40);
    assert!(run.records().iter().all(|record| record["num_redirects"] == 2 && record["num_retries"] == 0), "{run}");
    assert!(from.seen().iter().all(|seen| seen.header("authorization").is_some()), "{run}");
    assert!(target.seen().iter().all(|seen| seen.header("authorization").is_none()), "{run}");
    assert!(target.seen().iter().all(|seen| seen.header("x-own") == Some("yes")), "{run}");
}

#[test]
fn a_retry_begins_at_the_url_that_was_given() {
    let target = busy_at_first(|| Reply::status(500));
    let from = leading_to(Ipv4Addr::LOCALHOST, target.url(""));
    let run = fetch(&["--retry-delay", "0.1"], &urls(&from, "to", 1));
    run.assert_exit(0).check_invariants(1);
    assert_eq!((from.seen().len(), target.seen().len()), (2, 2), "{run}");
    assert_eq!((&run.record()["num_retries"], &run.record()["num_redirects"]), (&1.into(), &1.into()), "{run}");
}

#[test]
fn the_longest_time_is_that_of_all_requests_and_not_of_waiting() {
    let late = |addr, path: String| {
        Server::http_at(addr, move |_| Reply::redirect(302, path.clone()).after(Duration::from_millis(700)))
    };
    let target = Server::http_at(OTHER, |_| Reply::ok("x").after(Duration::from_millis(700)));
    let from = late(Ipv4Addr::LOCALHOST, target.url("/b"));
    let run = fetch(&["-m", "1", "--retry", "0"], &[from.url("/a")]);
    run.assert_exit(1).assert_failed("timeout");
    let run = fetch(&["-m", "10"], &[from.url("/a")]);
    run.assert_exit(0);
    let total = run.record()["time_total"].as_f64().expect("a time");
    assert!((1.4..9.0).contains(&total), "{run}");
    let busy = busy_at_first(|| Reply::status(429).header("retry-after", "3"));
    let from = leading_to(Ipv4Addr::LOCALHOST, busy.url(""));
    let run = fetch(&["-m", "2"], &urls(&from, "to", 3));
    run.assert_exit(0).check_invariants(3);
}

#[test]
fn what_a_redirect_leads_on_is_finished_when_the_run_is_interrupted() {
    let (gate, target) = (Gate::new(), Server::http_at(OTHER, |_| Reply::ok("there")));
    let (held, to) = (gate.clone(), target.url("/b"));
    let from = Server::http(move |_| Reply::redirect(302, to.clone()).held_by(&held));
    let running = Fetch::recorded().args(["--per-host", "1", "--tree"]).urls(&urls(&from, "to", 5)).start();
    from.wait("the first", |counts| counts.running == 1);
    running.send_signal_and_settle(Signal::INT);
    gate.open();
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(5);
    assert_eq!(run.results(), ["ok", "cancelled", "cancelled", "cancelled", "cancelled"], "{run}");
}

#[test]
fn what_waits_where_a_redirect_led_is_cancelled_when_the_run_is_interrupted() {
    let target = busy_at_first(|| Reply::status(429).header("retry-after", "200"));
    let from = leading_to(Ipv4Addr::LOCALHOST, target.url(""));
    let running = Fetch::recorded().args(["--per-host", "1", "--tree"]).urls(&urls(&from, "to", 5)).start();
    running.wait_for_line(crate::harness::Stream::Err, "paused for");
    from.wait("every redirect", |counts| counts.requests.len() == 5 && counts.running == 0);
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(5);
    assert_eq!(run.results(), ["cancelled"; 5], "{run}");
}

#[test]
fn what_is_posted_is_posted_again_elsewhere_only_where_the_redirect_keeps_it() {
    for (status, method, body) in
        [(301, "GET", None), (302, "GET", None), (303, "GET", None), (307, "POST", Some("3")), (308, "POST", Some("3"))]
    {
        let target = Server::http_at(OTHER, |_| Reply::ok("x"));
        let to = target.url("/b");
        let from = Server::http(move |_| Reply::redirect(status, to.clone()));
        let line = format!(r#"{{"url": "{}", "body": "a=b"}}"#, from.url("/a"));
        let run = Fetch::recorded().args(["--input-format", "json"]).list(line).run();
        run.assert_exit(0).check_invariants(1);
        let seen = target.seen().pop().expect("a request");
        assert_eq!((seen.method.as_str(), seen.header("content-length")), (method, body), "{status}\n{run}");
        for custom in ["PUT", "HEAD"] {
            let args = if custom == "HEAD" { vec!["-I"] } else { vec!["-X", custom] };
            let run = Fetch::recorded().args(args).arg(from.url("/a")).run();
            run.assert_exit(0).check_invariants(1);
            assert_eq!(target.seen().pop().expect("a request").method, custom, "{status}");
        }
    }
}
