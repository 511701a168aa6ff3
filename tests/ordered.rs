//! `--ordered`: results in the order of the list, whatever the order of their ends.

use rustix::process::Signal;

use crate::harness::{Fetch, Gate, Reply, Seen, Server, until};

/// The first URL's answer waits for the gate.
fn late_first(gate: &Gate) -> Server {
    let held = gate.clone();
    Server::http(move |seen: &Seen| {
        let reply = Reply::ok(seen.path.clone());
        if seen.path == "/0" { reply.held_by(&held) } else { reply }
    })
}

#[test]
fn results_wait_for_those_of_earlier_lines() {
    for args in [&["--json"][..], &[], &["-w", "%{url}\\n"]] {
        let gate = Gate::new();
        let server = late_first(&gate);
        let fetch = Fetch::new().args(["--discard", "--ordered", "-j", "8", "--results", "results"]).args(args);
        let mut lines = server.numbered("/", 30);
        lines.insert(3, "nonsense".to_owned());
        let running = fetch.urls(&lines).start();
        server.wait("all others", |counts| counts.requests.len() == 30 && counts.running == 1);
        until("their records", || {
            let text = std::fs::read_to_string(running.place().path("results")).unwrap_or_default();
            text.lines().count() == 30
        });
        gate.open();
        let run = running.finish();
        run.assert_exit(1).check_invariants(31);
        let told: Vec<&str> = run.stdout_text().lines().collect();
        assert_eq!(told.len(), 31, "{run}");
        for (line, url) in told.iter().zip(&lines) {
            assert!(line.contains(url.as_str()), "{url}\n{run}");
        }
    }
}

/// How far reading may be ahead.
const AHEAD: usize = 16_384;

#[test]
fn the_list_is_read_no_further_than_so_far_ahead() {
    let gate = Gate::new();
    let server = late_first(&gate);
    // Bad lines are settled at once and cost little.
    let mut lines = vec!["nonsense".to_owned(); AHEAD + 1000];
    lines[0] = server.url("/0");
    lines[AHEAD - 1] = server.url("/before");
    lines[AHEAD] = server.url("/after");
    let fetch = Fetch::new().args(["--discard", "--ordered", "--json", "--results", "results"]).urls(&lines);
    let running = fetch.start();
    until("all that may be ahead", || {
        let text = std::fs::read_to_string(running.place().path("results")).unwrap_or_default();
        text.lines().count() == AHEAD - 1
    });
    let paths = || server.seen().iter().map(|seen| seen.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(), ["/0", "/before"]);
    gate.open();
    let run = running.finish();
    run.assert_exit(1).check_invariants(lines.len());
    assert_eq!(paths(), ["/0", "/before", "/after"]);
    let numbers = run.json().iter().filter_map(|record| record["urlnum"].as_u64()).collect::<Vec<_>>();
    assert!(numbers.is_sorted(), "{run}");
}

#[test]
fn a_run_that_is_stopped_tells_of_every_line_in_order() {
    let gate = Gate::new();
    let server = late_first(&gate);
    let running = Fetch::recorded().args(["--ordered", "-j", "2"]).urls(&server.numbered("/", 500)).start();
    server.wait("the first and others", |counts| counts.requests.len() > 20);
    running.send_signal_and_settle(Signal::INT);
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT);
    let numbers: Vec<u64> = run.json().iter().filter_map(|record| record["urlnum"].as_u64()).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>(), "{run}");
    assert_eq!(run.results()[0], "cancelled", "{run}");
}
