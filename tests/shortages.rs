//! What this machine itself runs out of while names are looked up or memory is wanted: waited for, or told as that, and
//! never as a failure of somebody else.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::harness::command::Stdin;
use crate::harness::dns::{Answer, Dns};
use crate::harness::{Fetch, Finished, Gate, Reply, Running, Seen, Server, Stream};

/// The lowest number that no descriptor of the program has.
fn lowest_free(running: &Running) -> u64 {
    let dir = format!("/proc/{}/fd", running.pid().as_raw_nonzero());
    let open = std::fs::read_dir(dir).expect("a running program").flatten();
    let open: HashSet<u64> = open.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("there are many numbers")
}

#[test]
fn names_that_cannot_be_looked_up_for_want_of_descriptors_are_waited_for() {
    let Some(dns) = Dns::start(|_| (Duration::ZERO, Answer::Addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))) else {
        return;
    };
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/held" => Reply::ok("here").held_by(&held),
        _ => Reply::ok("here"),
    });
    let fetch = Fetch::recorded().asking(&dns).args(["--tree", "--retry", "0"]).stdin(Stdin::Open);
    let mut running = fetch.start();
    running.write_stdin(format!("{}\n", server.url("/held")));
    server.wait("the first request", |counts| counts.running == 1);
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(lowest_free(&running)), maximum: limit.maximum };
    prlimit(Some(running.pid()), Resource::Nofile, few).expect("take its descriptors away");
    for number in 0..5 {
        running.write_stdin(format!("{}\n", server.url_as(&format!("n{number}.test"), "/named")));
    }
    running.wait_for_line(Stream::Err, "this machine is at a limit, out of descriptors (");
    prlimit(Some(running.pid()), Resource::Nofile, limit).expect("give its descriptors back");
    // With so few at once the others may wait for it.
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(6);
    assert_eq!(server.seen().len(), 6, "one request each\n{run}");
}

#[test]
fn threads_that_cannot_be_started_at_first_cost_no_lookup() {
    let server = Server::http(|_| Reply::ok("here"));
    for when in ["1", "1..2", "2..3"] {
        let urls: Vec<String> = (0..5).map(|number| server.url_as("name.test", &format!("/{number}"))).collect();
        let fetch = Fetch::recorded().args(["--retry", "0"]).urls(&urls);
        let fault = format!("clone3,clone:error=EAGAIN:when={when}");
        let Some(fetch) = fetch.knowing_host("name.test").and_then(|fetch| fetch.inject(&fault)) else { return };
        let run = fetch.run();
        run.assert_exit(0).check_invariants(5);
        assert!(!run.place().injected().is_empty(), "{when}\n{run}");
    }
}

/// Thirty URLs by a program that may have so many MiB of addresses.
fn fetch_within(mebibytes: u64) -> Finished {
    let server = Server::http(|seen: &Seen| Reply::ok(seen.path.repeat(20_000)));
    let limit = format!("--as={}", mebibytes << 20);
    // No core beside the files of the case.
    let fetch = Fetch::recorded().args(["-j", "10", "--retry-max-time", "1"]).under(["prlimit", "--core=0", &limit]);
    fetch.urls(&server.numbered("/", 30)).run()
}

#[test]
fn too_little_memory_is_a_failure_of_this_machine() {
    // From plenty down to the first of which something is missing: below that it cannot even be loaded.
    for mebibytes in (1..=24).rev().map(|number| 2 * number) {
        let run = fetch_within(mebibytes);
        if run.code() == Some(0) {
            run.check_invariants(30);
            assert_eq!(run.place().names("out").len(), 30, "{run}");
            continue;
        }
        assert!(mebibytes < 48, "this is plenty\n{run}");
        run.assert_exit(1).check_invariants(30);
        let failed: Vec<_> = run.records().into_iter().filter(|record| record["result"] != "ok").collect();
        assert!(failed.iter().all(|record| record["error_class"] == "local"), "{run}");
        return;
    }
    panic!("two MiB of addresses are enough for everything");
}
