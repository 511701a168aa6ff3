//! Calls that fail: libcurl's own, and those of the kernel that move bytes. One transfer pays for it or none, never
//! all, and what is told is what happened.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::strace::each_in_turn;
use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server};

/// Every path answers with itself, twenty thousand times.
fn large() -> Server {
    Server::http(|seen: &Seen| Reply::ok(seen.path.repeat(20_000)))
}

/// Every path answers with itself on a connection of its own.
fn without_keep_alive() -> Server {
    Server::http(|seen: &Seen| Reply::ok(seen.path.clone()).header("connection", "close"))
}

/// Records of failures.
fn failed(run: &Finished) -> Vec<Value> {
    run.records().into_iter().filter(|record| record["result"] == "failed").collect()
}

/// Attempts after the first, of all URLs together.
fn retries(run: &Finished) -> usize {
    run.records().iter().map(|record| record["num_retries"].as_u64().expect("a number") as usize).sum()
}

/// Every failure is this machine's, and every file that is there is `body` of its number.
#[track_caller]
fn check(run: &Finished, count: usize, body: impl Fn(&str) -> String) {
    run.check_invariants(count);
    for record in failed(run) {
        assert_eq!(record["error_class"], "local", "{record}\n{run}");
    }
    for (name, content) in run.place().tree("out") {
        let is_partial = name.ends_with(".part") || name.ends_with(".part.meta");
        assert!(is_partial || content == body(&name).into_bytes(), "{name} is not whole\n{run}");
    }
}

/// How many transfers were running when libcurl failed, as a person is told, which is once.
#[track_caller]
fn told_after_failure(run: &Finished) -> usize {
    let told: Vec<&str> = run.stderr_text().lines().filter(|line| line.contains("libcurl failed")).collect();
    assert_eq!(told.len(), 1, "one warning\n{run}");
    let number = told[0].split_whitespace().find_map(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("how many transfers\n{run}"))
}

/// Faults that the program brings about itself are for debug builds.
fn has_faults() -> bool {
    if !cfg!(debug_assertions) {
        eprintln!("skipped: faults are for debug builds");
    }
    cfg!(debug_assertions)
}

const ACTIONS: [u32; 8] = [1, 2, 3, 5, 9, 14, 20, 30];

#[test]
fn after_a_failure_of_libcurl_every_running_transfer_is_tried_again() {
    if !has_faults() {
        return;
    }
    let mut most = 0;
    for number in ACTIONS {
        let server = large();
        let fetch = Fetch::recorded().args(["-j", "8", "--retry-delay", "0.01"]);
        let run = fetch.env("FETCHMANY_FAULT", format!("action:{number}")).urls(&server.numbered("/", 40)).run();
        run.assert_exit(0);
        check(&run, 40, |name| format!("/{name}").repeat(20_000));
        assert_eq!(run.place().names("out").len(), 40, "{run}");
        let running = told_after_failure(&run);
        assert_eq!(retries(&run), running, "those that ran and no others\n{run}");
        assert!((1..=8).contains(&running), "{run}");
        assert!(run.records().iter().all(|record| record["num_retries"].as_u64() <= Some(1)), "{run}");
        assert!(server.seen().len() <= 40 + running, "{run}");
        most = most.max(running);
    }
    assert!(most > 1, "one of these failures must have met several transfers");
}

#[test]
fn after_a_failure_of_libcurl_without_retries_the_running_transfers_fail_once_each() {
    if !has_faults() {
        return;
    }
    for number in ACTIONS {
        let server = large();
        let fetch = Fetch::recorded().args(["-j", "8", "--retry", "0"]);
        let run = fetch.env("FETCHMANY_FAULT", format!("action:{number}")).urls(&server.numbered("/", 40)).run();
        run.assert_exit(1);
        check(&run, 40, |name| format!("/{name}").repeat(20_000));
        assert_eq!(failed(&run).len(), told_after_failure(&run), "{run}");
        assert!(!run.stderr_text().contains("tried again"), "nothing is tried again, and nobody says so\n{run}");
        assert_eq!(retries(&run), 0, "{run}");
        assert!((0..40).all(|number| server.count(&format!("/{number}")) <= 1), "{run}");
    }
}

#[test]
fn a_run_that_cannot_go_on_after_a_failure_of_libcurl_tells_of_every_line_it_read() {
    if !has_faults() {
        return;
    }
    let server = large();
    let run_with = |fault: &str| {
        let fetch =
            Fetch::recorded().args(["-j", "8"]).env("FETCHMANY_FAULT", "action:20").urls(&server.numbered("/", 40));
        fetch.inject(fault).map(Fetch::run)
    };
    let Some(whole) = run_with("socketpair:error=EMFILE:when=1000") else { return };
    // The last that are made: two by the multi handle that replaces the first one, and two by the one that tries whether
    // there can be one.
    let first = whole.place().trace().len() - 3;
    let run = run_with(&format!("socketpair:error=EMFILE:when={first}")).expect("strace was there");
    assert_eq!(run.code(), Some(3), "{run}");
    run.assert_stderr_has("libcurl's multi handle").check_invariants(40);
}

#[test]
fn a_libcurl_that_waits_with_select_gets_no_more_transfers_than_it_can_bear() {
    if !has_faults() {
        return;
    }
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| Reply::ok(seen.path.clone()).held_by(&held));
    let fetch = Fetch::recorded().args(["-j", "2000"]).env("FETCHMANY_FAULT", "select");
    let running = fetch.urls(&server.numbered("/", 700)).start();
    let line = running.wait_for_line(crate::harness::Stream::Err, "transfers at once instead of 2000");
    let jobs: usize = line.split_whitespace().find_map(|word| word.parse().ok()).expect("how many");
    server.wait("as many as were told", |counts| counts.running == jobs);
    assert!((running.descriptors()..1024).contains(&1000), "{} descriptors", running.descriptors());
    gate.open();
    let run = running.finish();
    run.assert_exit(0);
    check(&run, 700, |name| format!("/{name}"));
    assert_eq!(server.counts(|counts| counts.most_running), jobs, "{run}");
    for told in ["instead of 2000", "HAVE_POLL"] {
        assert_eq!(run.stderr_text().matches(told).count(), 1, "{told:?} once\n{run}");
    }
}

#[test]
fn a_connection_that_stands_carries_those_that_get_no_socket() {
    let server = large();
    let fetch = Fetch::recorded().args(["-j", "3", "--retry-delay", "0.05"]).urls(&server.numbered("/", 12));
    // libcurl opens two to see whether there is IPv6; the third carries everything.
    let Some(fetch) = fetch.inject("socket:error=EMFILE:when=4+") else { return };
    let run = fetch.run();
    run.assert_exit(0);
    check(&run, 12, |name| format!("/{name}").repeat(20_000));
    assert_eq!(server.counts(|counts| counts.connections), 1, "{run}");
}

#[test]
fn a_socket_that_cannot_be_watched_costs_one_transfer_one_attempt() {
    let server = without_keep_alive();
    // By name, so that the resolver's wake-ups are among what is watched.
    let urls: Vec<String> = (0..6).map(|number| server.url_as("localhost", &format!("/{number}"))).collect();
    for retry in ["0", "4"] {
        let fetch = |fault: &str| {
            let fetch = Fetch::recorded().args(["-j", "2", "--retry", retry, "--retry-delay", "0.01"]);
            fetch.urls(&urls).inject(fault).map(Fetch::run)
        };
        // The first three calls are for signals and the disk, before anything is fetched.
        each_in_turn("epoll_ctl:error=ENOMEM", 4, fetch, |_, run| {
            check(run, 6, |name| format!("/{name}"));
            assert!(failed(run).len() + retries(run) <= 1, "one call is one transfer's\n{run}");
            assert!(retry == "0" || run.code() == Some(0), "{run}");
        });
    }
}

#[test]
fn transfers_that_get_no_socket_are_tried_again_and_no_others() {
    let server = without_keep_alive();
    let fetch = Fetch::recorded().args(["-j", "3", "--retry-delay", "0.01"]).urls(&server.numbered("/", 12));
    // The first socket is libcurl's own, to see whether there is IPv6.
    let Some(fetch) = fetch.inject("socket:error=EMFILE:when=3..6") else { return };
    let run = fetch.run();
    run.assert_exit(0);
    check(&run, 12, |name| format!("/{name}"));
    assert_eq!(run.place().injected().len(), 4, "{run}");
    assert_eq!(retries(&run), 4, "{run}");
}

#[test]
fn transfers_that_never_get_a_socket_fail_one_by_one_and_the_rest_is_fetched() {
    let server = without_keep_alive();
    let fetch = Fetch::recorded().args(["-j", "3", "--retry-max-time", "1"]).urls(&server.numbered("/", 12));
    let Some(fetch) = fetch.inject("socket:error=ENFILE:when=5+") else { return };
    let run = fetch.run();
    run.assert_exit(1);
    check(&run, 12, |name| format!("/{name}"));
    assert!((1..12).contains(&failed(&run).len()), "those that had a socket are fetched\n{run}");
}

#[test]
fn transfers_that_get_no_descriptor_for_their_file_are_tried_again() {
    let server = large();
    for (when, exit, lost) in [("4..7", 0, 0), ("4+", 1, 12)] {
        let fetch = Fetch::recorded().args(["-j", "3", "--retry-max-time", "2"]).urls(&server.numbered("/", 12));
        // The first three are for a look at the directory.
        let Some(fetch) = fetch.inject_at("out", &format!("openat:error=EMFILE:when={when}")) else { return };
        let run = fetch.run();
        run.assert_exit(exit);
        check(&run, 12, |name| format!("/{name}").repeat(20_000));
        assert_eq!(failed(&run).len(), lost, "{run}");
        assert_eq!(run.place().injected().len(), retries(&run) + lost, "an attempt is one call\n{run}");
    }
}

#[test]
fn what_an_earlier_run_has_left_is_continued_when_the_descriptors_for_it_are_back() {
    for (name, when) in [("a.part", "1"), ("a.part.meta", "1"), ("127.0.0.1", "1..2")] {
        let server = Server::http(|seen: &Seen| {
            let reply = match seen.header("range") {
                None => Reply::ok(vec![b'x'; 100_000]).then_break().body(vec![b'y'; 100_000]),
                Some(_) => {
                    Reply::status(206).header("content-range", "bytes 100000-199999/200000").body(vec![b'y'; 100_000])
                }
            };
            reply.header("etag", "\"v\"")
        });
        let place = Place::new();
        let fetch = || place.fetch().args(["--json", "--tree", "-d", "out", "--retry", "0"]).arg(server.url("/a"));
        fetch().run().assert_exit(1).assert_failed("partial");
        let fault = format!("inject=openat:error=EMFILE:when={when}");
        let Some(disturbed) = fetch().strace(["-P", name, "-e", "trace=openat", "-e", &fault]) else { return };
        let run = disturbed.run();
        run.assert_exit(0).check_invariants(1);
        assert!(!place.injected().is_empty(), "{name}\n{run}");
        assert_eq!(run.record()["resume_from"], 100_000, "{name}\n{run}");
    }
}

#[test]
fn interrupted_system_calls_are_made_again() {
    let server = Server::http(|seen: &Seen| {
        let reply = Reply::ok(seen.path.repeat(20_000));
        if seen.path.ends_with(['1', '3', '5']) { reply.chunked() } else { reply }
    });
    let urls: Vec<String> = (0..12).map(|number| server.url_as("localhost", &format!("/{number}"))).collect();
    for calls in [
        "?epoll_wait,epoll_pwait",
        // The first of these are the dynamic linker's, which gives up.
        "read:when=9",
        "write",
        "recvfrom",
        "sendto",
        "openat:when=20",
        "?poll,ppoll",
        "linkat,?renameat2",
    ] {
        let (calls, first) = calls.split_once(":when=").unwrap_or((calls, "1"));
        let fetch = Fetch::recorded().args(["-j", "3"]).urls(&urls);
        let Some(fetch) = fetch.inject(&format!("{calls}:error=EINTR:when={first}+3")) else { return };
        let run = fetch.run();
        run.assert_exit(0);
        check(&run, 12, |name| format!("/{name}").repeat(20_000));
        assert!(!run.place().injected().is_empty(), "{calls}\n{run}");
        assert_eq!(retries(&run), 0, "{calls}\n{run}");
    }
}

#[test]
fn interrupted_system_calls_about_files_are_made_again() {
    let body = |path: &str| path.bytes().cycle().take(2_500_000).collect::<Vec<u8>>();
    for call in ["flock", "fdatasync", "fsync", "pwrite64", "ftruncate", "?mkdir,mkdirat", "?unlink,unlinkat"] {
        // The first breaks off and is continued.
        let server = Server::http(move |seen: &Seen| {
            let body = body(&seen.path);
            let rest =
                seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
            let reply = match (seen.path.as_str(), rest) {
                ("/0", None) => Reply::ok(&body[..100_000]).chunked().then_break(),
                (_, Some(from)) => Reply::status(206)
                    .header("content-range", format!("bytes {from}-{}/{}", body.len() - 1, body.len()))
                    .body(&body[from..]),
                _ => Reply::ok(body),
            };
            reply.header("etag", "\"v1\"")
        });
        let fetch = Fetch::recorded().args(["--tree", "--sync", "-j", "3", "--retry-delay", "0.01"]);
        let Some(fetch) = fetch.urls(&server.numbered("/", 6)).inject(&format!("{call}:error=EINTR:when=1+3")) else {
            return;
        };
        let run = fetch.run();
        run.assert_exit(0).check_invariants(6);
        for number in 0..6 {
            let found = run.place().read(&format!("out/127.0.0.1/{number}"));
            assert!(found == body(&format!("/{number}")), "{call}: {number}\n{run}");
        }
        assert!(!run.place().injected().is_empty(), "{call}\n{run}");
        assert_eq!(retries(&run), 1, "{call}\n{run}");
    }
}

#[test]
fn an_interrupted_connect_is_tried_again() {
    let server = without_keep_alive();
    let fetch = Fetch::recorded().args(["-j", "3", "--retry-delay", "0.01"]).urls(&server.numbered("/", 12));
    // libcurl takes it for a refusal, and cannot be told otherwise: it costs an attempt. Its sockets do not block, so that
    // the kernel never does this.
    let Some(fetch) = fetch.inject("connect:error=EINTR:when=1+4") else { return };
    let run = fetch.run();
    run.assert_exit(0);
    check(&run, 12, |name| format!("/{name}"));
    assert_eq!(run.place().injected().len(), retries(&run), "{run}");
}

#[test]
fn what_is_missing_at_the_start_ends_the_run_with_a_word_about_it() {
    let server = large();
    for fault in ["epoll_create1:error=EMFILE", "socketpair:error=EMFILE:when=1", "socketpair:error=EMFILE:when=2+"] {
        let Some(fetch) = Fetch::recorded().urls(&server.numbered("/", 2)).inject(fault) else { return };
        let run = fetch.run();
        assert_eq!(run.code(), Some(3), "{fault}\n{run}");
        assert!(run.stderr_text().starts_with("fetchmany: "), "{fault}\n{run}");
    }
}

#[test]
fn names_that_no_thread_can_look_up_are_dns_failures() {
    let server = large();
    let urls = [server.url_as("name.test", "/by-name"), server.url("/by-address")];
    let fetch = Fetch::recorded().args(["--retry", "0", "--connect-timeout", "3"]).urls(&urls);
    let Some(fetch) = fetch.knowing_host("name.test").and_then(|fetch| fetch.inject("clone3,clone:error=EAGAIN"))
    else {
        return;
    };
    let run = fetch.run();
    run.assert_exit(1).check_invariants(2);
    assert_eq!(run.results(), ["failed", "ok"], "{run}");
    assert_eq!(run.records()[0]["error_class"], "dns", "{run}");
}

#[test]
fn with_few_descriptors_everything_is_fetched_or_nothing_is_begun() {
    let server = large();
    for limit in [24, 25, 28, 32] {
        for inherited in [0, 1, 2, 3, 6, 9, 12] {
            // The descriptors of whoever runs the tests are not to count.
            let script = format!(
                r#"for fd in /proc/self/fd/*; do fd=${{fd##*/}}; [ "$fd" -le 2 ] || eval "exec $fd>&-"; done
                for ((i = 0; i < {inherited}; i++)); do exec {{fd}}</dev/null; done
                exec prlimit --nofile={limit} "$@""#
            );
            let before = server.seen().len();
            let fetch = Fetch::recorded().args(["--retry-delay", "0.05"]).under_bash(&script);
            let run = fetch.urls(&server.numbered("/", 30)).run();
            if run.code() == Some(3) && inherited > 0 {
                run.assert_stderr_has("too few descriptors").check_invariants(0);
                assert_eq!(server.seen().len(), before, "{limit} with {inherited} in use\n{run}");
                continue;
            }
            assert_eq!(run.code(), Some(0), "{limit} with {inherited} in use\n{run}");
            run.assert_stderr_has("descriptors");
            check(&run, 30, |name| format!("/{name}").repeat(20_000));
        }
    }
}

#[test]
fn a_panic_in_a_callback_ends_the_run_at_once_and_the_next_one_goes_on() {
    if !has_faults() {
        return;
    }
    for fault in ["panic-write:500000", "panic-socket:30", "panic-timer:60"] {
        let server = large();
        let place = Place::new();
        let fetch = || place.fetch().args(["--json", "-d", "out", "-j", "4"]).urls(&server.numbered("/", 40));
        let body = |name: &str| format!("/{name}").repeat(20_000).into_bytes();
        // No core beside the files of the case.
        let run = fetch().env("FETCHMANY_FAULT", fault).under_bash(r#"ulimit -c 0; exec "$@""#).run();
        run.assert_signal(Signal::ABORT).assert_stderr_has("a panic that was asked for");
        assert_eq!(run.stderr_text().matches("panicked").count(), 1, "no callback came after it\n{run}");
        let whole = place.tree("out").into_iter().filter(|(name, _)| !name.contains(".part"));
        let whole: Vec<String> =
            whole.inspect(|(name, found)| assert!(*found == body(name), "{name}")).map(|it| it.0).collect();
        assert!((1..40).contains(&whole.len()), "{fault}: {whole:?}\n{run}");
        let again = fetch().run();
        again.assert_exit(0).check_invariants(40);
        let tree = place.tree("out");
        assert!(tree.len() == 40 && tree.iter().all(|(name, found)| *found == body(name)), "{fault}\n{again}");
    }
}
