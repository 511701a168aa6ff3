//! Stopping: the first signal lets running transfers finish, the second does not, and nothing is told or left that
//! is not so.

use std::io::Write;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::fifo::{daemon, is_fifo, writer};
use crate::harness::command::Stdin;
use crate::harness::{Fetch, Finished, Gate, Place, Reply, Running, Seen, Server, Stream, until};

/// Ten URLs of which two are running, held by the gate with half of their bodies, a megabyte, on disk.
fn two_of_ten(gate: &Gate) -> (Server, Running) {
    some_of_many(2, 10, gate)
}

/// So many URLs of which some are running, as above.
fn some_of_many(some: usize, many: usize, gate: &Gate) -> (Server, Running) {
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| Reply::ok(seen.path.repeat(1 << 19)).then_wait(&held).body("the end"));
    let running = Fetch::recorded().args(["-j", &some.to_string()]).urls(&server.numbered("/", many)).start();
    server.wait("the first requests", |counts| counts.running == some);
    until("half of their bodies", || {
        running.place().tree("out").values().filter(|content| content.len() >= 1 << 20).count() == some
    });
    (server, running)
}

#[test]
fn the_first_signal_lets_running_transfers_finish_and_starts_no_more() {
    for signal in [Signal::INT, Signal::TERM] {
        let gate = Gate::new();
        let (server, running) = two_of_ten(&gate);
        running.send_signal_and_settle(signal);
        gate.open();
        let run = running.finish();
        let read = run.json().len();
        run.assert_signal(signal).check_invariants(read);
        let results = run.results();
        assert_eq!(results[..2], ["ok", "ok"], "{run}");
        assert!((2..=10).contains(&read), "lines that were never read have no record\n{run}");
        assert!(results[2..].iter().all(|result| result == "cancelled"), "{run}");
        assert_eq!(server.seen().len(), 2, "{run}");
        assert_eq!(run.place().names("out"), ["0", "1"], "{run}");
    }
}

#[test]
fn fifty_that_run_at_the_first_signal_all_finish() {
    let gate = Gate::new();
    let (server, running) = some_of_many(50, 80, &gate);
    running.send_signal_and_settle(Signal::INT);
    gate.open();
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(run.json().len());
    let results = run.results();
    assert_eq!(results[..50], ["ok"; 50], "{run}");
    assert!(results[50..].iter().all(|result| result == "cancelled"), "{run}");
    assert_eq!((server.seen().len(), run.place().names("out").len()), (50, 50), "{run}");
}

#[test]
fn the_second_signal_stops_at_once_and_keeps_what_there_is() {
    let gate = Gate::new();
    let (server, running) = two_of_ten(&gate);
    running.send_signal_and_settle(Signal::INT);
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(run.json().len());
    assert!(run.json().len() >= 2, "{run}");
    assert!(run.records().iter().all(|record| record["result"] == "cancelled"), "{run}");
    assert!(run.records().iter().all(|record| record["error_class"] == "cancelled"), "{run}");
    assert!(
        run.place().names("out").iter().all(|name| name.contains(".part")),
        "{:?}\n{run}",
        run.place().names("out")
    );
    assert!(run.place().exists("out/0.part"), "kept to go on from\n{run}");
    assert_eq!(server.seen().len(), 2, "{run}");
}

#[test]
fn a_slow_disk_does_not_keep_the_program_after_the_second_signal() {
    // Small pieces, which are written one by one, and a large body, which is written by a thread of its own: all of it
    // would take minutes.
    for (length, fault) in [(300_000, "write:delay_exit=20000"), (64 << 20, "pwrite64:delay_enter=2000000")] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |_| {
            Reply::ok(vec![b'x'; length]).header("etag", "\"1\"").chunked().then_wait(&held).body("the end")
        });
        let fetch = Fetch::recorded().args(["-j", "2"]).urls(&[server.url("/a"), server.url("/b")]);
        let place = fetch.place().clone();
        let Some(fetch) = fetch.inject_at("out/a.part", fault) else { return };
        let running = fetch.start();
        until("a slow write", || !place.trace().is_empty());
        running.send_signal(Signal::INT);
        running.wait_for_line(Stream::Err, "stopping");
        running.send_signal(Signal::INT);
        let run = running.finish();
        run.assert_signal(Signal::INT).check_invariants(2);
        assert_eq!(run.results(), ["cancelled"; 2], "{run}");
        assert!(run.place().exists("out/a.part.meta"), "what is there can be continued\n{run}");
    }
}

#[test]
fn what_was_tried_and_waits_to_be_tried_again_is_told_as_that() {
    let server = Server::http(|_| Reply::status(503));
    let fetch = Fetch::recorded().args(["-v", "--retry-delay", "60"]).urls(&[server.url("/")]);
    let running = fetch.start();
    running.wait_for_line(Stream::Err, "will be tried again");
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(1);
    let record = &run.records()[0];
    assert_eq!((record["result"].as_str(), record["http_code"].as_u64()), (Some("cancelled"), Some(503)), "{run}");
    assert_eq!(record["errormsg"], "the server answered 503; stopped before it was asked again", "{run}");
    run.assert_stderr_has("1 cancelled: the same command goes on");
}

#[test]
fn waiting_for_input_ends_with_the_first_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = Server::http(|_| Reply::ok("x"));
        let mut running = Fetch::recorded().stdin(Stdin::Open).start();
        running.write_stdin(format!("{}\n", server.url("/a")));
        running.wait_for_line(Stream::Out, "/a");
        running.send_signal(signal);
        let _stdin = running.take_stdin();
        running.finish().assert_signal(signal).check_invariants(1);
    }
}

#[test]
fn waiting_for_another_attempt_ends_with_the_first_signal() {
    let server = Server::http(|seen: &Seen| if seen.path == "/last" { Reply::ok("x") } else { Reply::status(503) });
    let urls = ["/a", "/b", "/last"].map(|path| server.url(path));
    let running = Fetch::recorded().args(["-j", "1", "--retry-delay", "3000"]).urls(&urls).start();
    // One after another: when the last has ended, the others wait for their second attempt.
    running.wait_for_line(Stream::Out, "/last");
    running.send_signal(Signal::INT);
    let run = running.finish();
    run.assert_signal(Signal::INT).check_invariants(3);
    assert_eq!(run.results(), ["cancelled", "cancelled", "ok"], "{run}");
}

#[test]
fn a_server_that_hangs_does_not_keep_the_program_after_the_second_signal() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("x").held_by(&held));
    let running = Fetch::recorded().args(["--stall-timeout", "3000"]).arg(server.url("/a")).start();
    server.wait("the request", |counts| counts.running == 1);
    running.send_signal_and_settle(Signal::TERM);
    assert!(running.is_alive());
    running.send_signal(Signal::TERM);
    running.finish().assert_signal(Signal::TERM).check_invariants(1);
}

/// What a killed run and the same run again leave.
fn killed_and_again(kill: impl FnOnce(Running) -> Finished) -> (Place, Vec<String>) {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| {
        let half = seen.path.repeat(30_000);
        let reply = Reply::ok(half.clone());
        let number: usize = seen.path[1..].parse().expect("a number");
        if number % 10 == 3 { reply.then_wait(&held).body(half) } else { reply.body(half) }
    });
    let urls: Vec<String> = (0..40).map(|number| server.url(&format!("/{number}"))).collect();
    let place = Place::new();
    let running = place.fetch().args(["--json", "-d", "out", "-j", "8"]).urls(&urls).start();
    server.wait("four held and the others done", |counts| counts.running == 4 && counts.requests.len() == 40);
    let run = kill(running);
    for (name, content) in place.tree("out") {
        let whole = content == format!("/{name}").repeat(60_000).into_bytes();
        assert!(whole || name.contains(".part"), "{name} has its final name and is not whole\n{run}");
    }
    gate.open();
    let again = place.fetch().args(["--json", "-d", "out", "-j", "8"]).urls(&urls).run();
    again.assert_exit(0).check_invariants(40);
    (place, urls)
}

#[test]
fn a_killed_run_started_again_ends_in_the_same_files() {
    let killed = |running: Running| running.kill();
    let interrupted = |running: Running| {
        running.send_signal_and_settle(Signal::INT);
        running.send_signal(Signal::INT);
        running.finish()
    };
    for (kill, signal) in [(killed as fn(Running) -> Finished, Signal::KILL), (interrupted, Signal::INT)] {
        let (place, urls) = killed_and_again(|running| {
            let run = kill(running);
            run.assert_signal(signal);
            run
        });
        assert_eq!(place.names("out").len(), urls.len(), "{:?}", place.names("out"));
        for number in 0..urls.len() {
            assert!(
                place.read(&format!("out/{number}")) == format!("/{number}").repeat(60_000).into_bytes(),
                "{number}"
            );
        }
    }
}

#[test]
fn a_program_that_was_stopped_and_continued_goes_on() {
    let gate = Gate::new();
    let (server, running) = two_of_ten(&gate);
    for signal in [Signal::STOP, Signal::TSTP] {
        running.send_signal(signal);
        gate.let_through(1);
        running.send_signal(Signal::CONT);
    }
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(10);
    assert_eq!(server.seen().len(), 10, "{run}");
}

#[test]
fn signals_that_mean_nothing_to_it_do_no_harm() {
    let server = Server::http(|_| Reply::ok("x"));
    let urls: Vec<String> = (0..300).map(|number| server.url(&format!("/{number}"))).collect();
    let running = Fetch::recorded().args(["-j", "3"]).urls(&urls).start();
    server.wait("the first request", |counts| !counts.requests.is_empty());
    while running.is_alive() {
        running.send_signal(Signal::CHILD);
        running.send_signal(Signal::WINCH);
        running.send_signal(Signal::URG);
        running.send_signal(Signal::PIPE);
        std::thread::yield_now();
    }
    running.finish().assert_exit(0).check_invariants(300);
}

#[test]
fn a_storm_of_signals_is_no_end() {
    let gate = Gate::new();
    let (server, running) = two_of_ten(&gate);
    for _ in 0..1000 {
        for signal in [Signal::USR1, Signal::ALARM, Signal::CHILD] {
            running.send_signal(signal);
        }
    }
    running.wait_for_line(Stream::Err, "0 ok, 2 running");
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(10);
    assert_eq!(server.seen().len(), 10, "{run}");
    // What comes before the last is answered is one question.
    assert!(run.stderr_text().lines().count() < 1010, "{run}");
}

#[test]
fn how_it_stands_is_told_whenever_it_is_asked_for() {
    for args in [&[][..], &["--json"], &["--progress", "off"], &["--progress", "plain"], &["--json", "-q"], &["-qq"]] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
            "/missing" => Reply::status(404),
            _ => Reply::ok("x").held_by(&held),
        });
        let urls = ["/missing", "/a", "/b"].map(|path| server.url(path));
        let running = Fetch::new().args(["-d", "out", "-j", "1"]).args(args).urls(&urls).start();
        server.wait("the second", |counts| counts.requests.len() == 2);
        running.send_signal_and_settle(Signal::USR1);
        if args != ["-qq"] {
            running.wait_for_line(Stream::Err, ": 0 ok, 1 failed, 1 running, 1 waiting");
        }
        gate.let_through(1);
        server.wait("the third", |counts| counts.requests.len() == 3);
        running.send_signal_and_settle(Signal::USR1);
        if args != ["-qq"] {
            running.wait_for_line(Stream::Err, ": 1 ok, 1 failed, 1 running");
        }
        gate.open();
        let run = running.finish();
        run.assert_exit(1);
        assert!(args != ["-qq"] || run.stderr.is_empty(), "nothing is nothing\n{run}");
    }
}

#[test]
fn a_hang_up_ends_a_list_and_leaves_it_to_the_next_run() {
    let gate = Gate::new();
    let (server, running) = two_of_ten(&gate);
    running.send_signal(Signal::HUP);
    let run = running.finish();
    run.assert_signal(Signal::HUP);
    gate.open();
    let names = run.place().names("out");
    assert!(names.iter().all(|name| name.contains(".part")), "{names:?}\n{run}");
    let again = run.place().fetch().args(["--json", "-d", "out", "urls.txt"]).run();
    again.assert_exit(0).check_invariants(10);
    assert_eq!(again.place().names("out").len(), 10, "{again}");
    drop(server);
}

#[test]
fn a_hang_up_has_a_daemon_begin_new_files_of_results() {
    // Started by `nohup` too: it survives its terminal, and has files to rotate all the same.
    for ignored in ["", r#"trap "" HUP;"#] {
        let server = Server::http(|_| Reply::status(404));
        let place = Place::new();
        let fetch = daemon(&place).args(["--results", "r", "--failed", "f"]);
        let running = fetch.under_bash(&format!(r#"{ignored} exec "$@""#)).start();
        until("the pipe", || is_fifo(&place.path("pipe")));
        let mut pipe = writer(&place);
        let mut serve = |path: &str| {
            writeln!(pipe, "{}", server.url(path)).expect("write");
            running.wait_for_line(Stream::Out, path);
        };
        let rename = |from: &str, to: &str| std::fs::rename(place.path(from), place.path(to)).expect("rename");
        serve("/first");
        rename("r", "r.1");
        rename("f", "f.1");
        running.send_signal(Signal::HUP);
        until("new files", || place.exists("r") && place.exists("f"));
        serve("/second");
        // Where that cannot be, it goes on with what it has.
        rename("r", "r.2");
        std::fs::create_dir(place.path("r")).expect("make a directory");
        running.send_signal(Signal::HUP);
        running.wait_for_line(Stream::Err, "open results file r again: Is a directory");
        serve("/third");
        running.send_signal(Signal::TERM);
        let run = running.finish();
        assert_eq!(run.assert_exit(0).results(), ["failed"; 3], "{run}");
        for (name, lines) in [("r.1", &["/first"][..]), ("r.2", &["/second", "/third"])] {
            let text = place.read_text(name);
            assert_eq!(text.lines().count(), lines.len(), "{name}: {text}\n{run}");
            assert!(text.lines().zip(lines).all(|(line, path)| line.contains(path)), "{name}: {text}\n{run}");
        }
        let urls = |paths: &[&str]| paths.iter().map(|path| server.url(path) + "\n").collect::<String>();
        assert_eq!(place.read_text("f.1"), urls(&["/first"]), "{run}");
        assert_eq!(place.read_text("f"), urls(&["/second", "/third"]), "{run}");
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("x").held_by(&held));
    let running = Fetch::recorded()
        .under_bash(r#"trap "" HUP INT USR1; exec "$@""#)
        .urls(&[server.url("/a"), server.url("/b")])
        .start();
    server.wait("both requests", |counts| counts.running == 2);
    for signal in [Signal::HUP, Signal::USR1, Signal::INT, Signal::INT, Signal::INT] {
        running.send_signal(signal);
    }
    gate.open();
    running.finish().assert_exit(0).check_invariants(2);
}

#[test]
fn who_was_answered_while_the_program_was_stopped_has_not_stalled() {
    // More than the program takes from the kernel at once.
    const TRANSFERS: usize = 1500;
    let (limit, needed) = (getrlimit(Resource::Nofile), 2 * TRANSFERS as u64);
    let current = limit.current.map(|current| current.max(needed));
    if setrlimit(Resource::Nofile, Rlimit { current, ..limit }).is_err() {
        println!("skipped: too few descriptors");
        return;
    }
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("half").then_wait(&held).body("half"));
    let urls: Vec<String> = (0..TRANSFERS).map(|number| server.url(&format!("/{number}"))).collect();
    let jobs = TRANSFERS.to_string();
    let args = ["--json", "--discard", "--retry", "0", "--stall-timeout", "4", "-j", &jobs];
    let running = Fetch::new().args(args).urls(&urls).start();
    until("all to be asked for", || server.seen().len() == TRANSFERS);
    running.send_signal(Signal::STOP);
    gate.open();
    std::thread::sleep(Duration::from_secs(5));
    running.send_signal(Signal::CONT);
    let run = running.finish();
    run.assert_exit(0).check_invariants(TRANSFERS);
}

#[test]
fn signals_are_heard_while_the_journal_is_read() {
    let server = Server::http(|_| Reply::ok("x"));
    let place = Place::new();
    let fetch = |list: &[String]| place.fetch().args(["--json", "-d", "out", "--journal", "j"]).urls(list);
    let urls = server.numbered("/", 5);
    fetch(&urls[..1]).run().assert_exit(0);
    let (asked, journal) = (server.seen().len(), place.read("j"));
    // The first read finds all of it, the second its end.
    for (when, told) in [("1", "stopping: interrupted"), ("1+", "stopped while journal j was read")] {
        // What is done already needs no request, and is no reason to end well.
        for list in [&urls[..], &urls[..1]] {
            place.write("results", "those of the last run");
            let fetch = fetch(list).args(["--results", "results"]);
            let Some(fetch) = fetch.inject_at("j", &format!("read:signal=SIGINT:when={when}")) else { return };
            let run = fetch.run();
            run.assert_signal(Signal::INT).assert_stderr_has(told);
            assert_eq!((server.seen().len(), place.read("j")), (asked, journal.clone()), "{run}");
            let is_begun = place.read_text("results") != "those of the last run";
            assert_eq!(is_begun, when == "1", "{run}");
        }
    }
}
