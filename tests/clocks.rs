//! Clocks that jump: what waits is measured by the clock that does not.

use std::time::Duration;

use crate::harness::clock::{Clock, Faked};
use crate::harness::{Fetch, Gate, Reply, Server, Stream};

#[test]
fn a_wall_clock_that_jumps_changes_no_wait_and_no_transfer() {
    for jump in ["-3600", "+3600", "+10y"] {
        let Some(clock) = Clock::new(Faked::Wall) else { return };
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen| match (seen.path.as_str(), seen.earlier) {
            ("/paused", 0) => Reply::status(429).header("retry-after", "3"),
            ("/held", _) => Reply::ok("half").then_wait(&held).body("half"),
            _ => Reply::ok("whole"),
        });
        let other = Server::http_at([127, 0, 0, 2].into(), |seen| match seen.earlier {
            0 => Reply::status(500),
            _ => Reply::ok("whole"),
        });
        let list = [server.url("/held"), server.url("/paused"), other.url("/retried")];
        let args = ["--retry-delay", "3", "--stall-timeout", "20"];
        let running = Fetch::recorded().args(args).urls(&list).clocked_by(&clock).start();
        clock.wait(&running);
        server.wait("a transfer and a pause", |counts| counts.requests.len() == 2);
        other.wait("a back-off", |counts| counts.requests.len() == 1 && counts.running == 0);
        clock.set(jump);
        running.wait_for_lines(Stream::Out, 2);
        gate.open();
        let run = running.finish();
        run.assert_exit(0).check_invariants(3);
        for (server, path) in [(&server, "/paused"), (&other, "/retried")] {
            let seen: Vec<_> = server.seen().into_iter().filter(|seen| seen.path == path).collect();
            let wait = seen[1].started - seen[0].started;
            assert!((Duration::from_millis(2900)..Duration::from_secs(20)).contains(&wait), "{jump} {path}: {wait:?}");
        }
        let held = &run.records()[0];
        assert!(held["time_total"].as_f64().is_some_and(|time| (0.0..60.0).contains(&time)), "{jump}\n{run}");
    }
}
