//! Clocks that jump: what waits is measured by the clock that does not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Fetch, Gate, Reply, Server, Stream, until};

/// libfaketime, as Debian's `libfaketime` has it.
fn library() -> Option<PathBuf> {
    let found = ["x86_64", "aarch64"]
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1")))
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "libfaketime must be installed in CI");
        eprintln!("skipped: libfaketime is not installed");
    }
    found
}

/// The wall clock is off by this from now on.
fn set_clock(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).expect("write the clock");
    std::fs::rename(new, file).expect("set the clock");
}

#[test]
fn a_wall_clock_that_jumps_changes_no_wait_and_no_transfer() {
    let Some(library) = library() else { return };
    for jump in ["-3600", "+3600", "+10y"] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen| match (seen.path.as_str(), seen.earlier) {
            ("/retried", 0) => Reply::status(500),
            ("/paused", 0) => Reply::status(429).header("retry-after", "3"),
            ("/held", _) => Reply::ok("half").then_wait(&held).body("half"),
            _ => Reply::ok("whole"),
        });
        let other = Server::http_at([127, 0, 0, 2].into(), |seen| match seen.earlier {
            0 => Reply::status(500),
            _ => Reply::ok("whole"),
        });
        let list = [server.url("/held"), server.url("/paused"), other.url("/retried")];
        let fetch = Fetch::recorded().args(["--retry-delay", "3", "--stall-timeout", "20", "-v"]).urls(&list);
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let clock = dir.path().join("clock");
        set_clock(&clock, "+0");
        let running = fetch
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .start();
        let maps = format!("/proc/{}/maps", running.pid().as_raw_nonzero());
        until("the library in the program", || {
            std::fs::read_to_string(&maps).is_ok_and(|maps| maps.contains("libfaketime"))
        });
        server.wait("a transfer and a pause", |counts| counts.requests.len() == 2);
        other.wait("a back-off", |counts| counts.requests.len() == 1 && counts.running == 0);
        set_clock(&clock, jump);
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
