//! The daemon that is fed through a named pipe.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::authority::Alpn;
use crate::harness::{Authority, Fetch, Gate, Place, Reply, Running, Seen, Server, Stream, echo, until};

pub fn daemon(place: &Place) -> Fetch {
    place.fetch().args(["--json", "-d", "out", "--fifo", "pipe"])
}

/// A daemon whose pipe exists.
pub fn start(place: &Place) -> Running {
    let running = daemon(place).start();
    until("the pipe", || is_fifo(&place.path("pipe")));
    running
}

pub fn is_fifo(path: &std::path::Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_fifo())
}

/// A writer; opening waits for the daemon to have opened its end.
pub fn writer(place: &Place) -> File {
    OpenOptions::new().write(true).open(place.path("pipe")).expect("open the pipe for writing")
}

/// Has one URL served: from then on the daemon is all there, its signals caught.
fn serve_one(running: &Running, place: &Place) {
    let server = echo();
    writeln!(writer(place), "{}", server.url("/served")).expect("write");
    running.wait_for_line(Stream::Out, "/served");
}

/// Ends an idle daemon as its keeper does.
#[track_caller]
pub fn stop(running: Running, accepted: usize) -> crate::harness::Finished {
    running.send_signal(Signal::TERM);
    let run = running.finish();
    run.assert_exit(0).check_invariants(accepted);
    run
}

#[test]
fn a_daemon_serves_one_writer_after_another() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    for path in ["/a", "/b", "/c"] {
        writeln!(writer(&place), "{}", server.url(path)).expect("write");
        running.wait_for_line(Stream::Out, path);
    }
    stop(running, 3);
    assert_eq!(place.names("out"), ["a", "b", "c"]);
}

#[test]
fn the_pipe_is_made_for_its_owner_alone() {
    let place = Place::new();
    let running = daemon(&place).under_bash(r#"umask 0; exec "$@""#).start();
    until("the pipe", || is_fifo(&place.path("pipe")));
    let mode = place.path("pipe").metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    serve_one(&running, &place);
    stop(running, 1);
}

#[test]
fn a_line_written_in_pieces_is_one_line_however_long_it_takes() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    let mut writer = writer(&place);
    let long = "x".repeat(20_000);
    write!(writer, "{}\n{}", server.url("/before"), server.url("/a")).expect("write");
    running.wait_for_line(Stream::Out, "/before");
    write!(writer, "b\n{}?{long}\n", server.url("/long")).expect("write");
    running.wait_for_line(Stream::Out, "/long");
    stop(running, 3);
    assert_eq!(server.count("/ab"), 1);
}

#[test]
fn many_writers_at_once_lose_and_mix_nothing() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    let writers: Vec<_> = (0..20)
        .map(|number| {
            let mut pipe = writer(&place);
            let url = server.url(&format!("/{number}"));
            std::thread::spawn(move || {
                for line in 0..250 {
                    // One write a line, as a shell's echo does it: up to 4,096 bytes stay whole.
                    pipe.write_all(format!("{url}-{line}?{}\n", "x".repeat(line * 4)).as_bytes()).expect("write");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("a writer");
    }
    running.wait_for_lines(Stream::Out, 5000);
    let run = stop(running, 5000);
    assert!(run.json().iter().all(|record| record["result"] == "ok"), "{run}");
    assert_eq!(place.names("out").len(), 5000);
}

#[test]
fn what_failed_or_was_taken_away_is_fetched_when_it_comes_again() {
    let server = Server::http(|seen: &Seen| if seen.earlier == 0 { Reply::status(404) } else { Reply::ok("x") });
    let place = Place::new();
    let running = start(&place);
    let mut pipe = writer(&place);
    let mut serve = |count: usize| {
        writeln!(pipe, "{}", server.url("/a")).expect("write");
        running.wait_for_lines(Stream::Out, count);
    };
    serve(1);
    serve(2);
    serve(3);
    std::fs::remove_file(place.path("out/a")).expect("take it away");
    serve(4);
    let run = stop(running, 4);
    assert_eq!(run.results(), ["failed", "ok", "skipped", "ok"], "{run}");
    assert_eq!(place.names("out"), ["a"], "{run}");
}

#[test]
fn what_comes_again_while_it_is_fetched_is_a_duplicate() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("x").held_by(&held));
    let place = Place::new();
    let running = start(&place);
    let mut pipe = writer(&place);
    writeln!(pipe, "{0}\n{0}", server.url("/a")).expect("write");
    running.wait_for_line(Stream::Out, "skipped");
    gate.open();
    running.wait_for_lines(Stream::Out, 2);
    let run = stop(running, 2);
    assert_eq!(run.results(), ["ok", "skipped"], "{run}");
    assert_eq!(server.count("/a"), 1, "{run}");
}

#[test]
fn a_writer_that_says_nothing_holds_up_nobody() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    let _silent = writer(&place);
    writeln!(writer(&place), "{}", server.url("/a")).expect("write");
    running.wait_for_line(Stream::Out, "/a");
    stop(running, 1);
}

#[test]
fn an_idle_daemon_sleeps() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    let sleeps = |when: &str| {
        // It may look after its pipe every few seconds, and let idle connections go. Spinning is tens of thousands.
        let before = running.wakeups();
        std::thread::sleep(Duration::from_secs(3));
        let woken = running.wakeups() - before;
        assert!(woken < 60, "woke {woken} times in three idle seconds {when}");
    };
    sleeps("before any writer came");
    writeln!(writer(&place), "{}", server.url("/a")).expect("write");
    running.wait_for_line(Stream::Out, "/a");
    sleeps("after one had gone");
    stop(running, 1);
}

#[test]
fn descriptors_and_memory_do_not_grow_with_the_urls_served() {
    let (server, place) = (echo(), Place::new());
    let running = place.fetch().args(["--json", "--discard", "--fifo", "pipe"]).start();
    until("the pipe", || is_fifo(&place.path("pipe")));
    let mut pipe = writer(&place);
    let mut serve = |from: usize, to: usize| {
        for number in from..to {
            writeln!(pipe, "{}", server.url(&format!("/{number}"))).expect("write");
        }
        running.wait_for_lines(Stream::Out, to);
        (running.descriptors(), running.rss())
    };
    let (descriptors, rss) = serve(0, 1000);
    let (descriptors_then, rss_then) = serve(1000, 6000);
    assert!(descriptors_then <= descriptors + 3, "{descriptors} descriptors, then {descriptors_then}");
    assert!(rss_then < rss + (4 << 20), "{rss} bytes, then {rss_then}");
    stop(running, 6000);
}

#[test]
fn words_in_the_pipe_are_lines_like_any_other() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    let mut pipe = writer(&place);
    for word in ["quit", "stop", "exit", "-o x", "--help", "#exit"] {
        writeln!(pipe, "{word}").expect("write");
    }
    writeln!(pipe, "{}", server.url("/after")).expect("write");
    running.wait_for_line(Stream::Out, "/after");
    let run = stop(running, 6);
    assert_eq!(run.results(), ["failed", "failed", "failed", "failed", "failed", "ok"], "{run}");
}

#[test]
fn garbage_in_the_pipe_leaves_the_daemon_alive() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    let mut pipe = writer(&place);
    let endless = vec![b'x'; 1 << 20];
    for _ in 0..32 {
        pipe.write_all(&endless).expect("write");
    }
    writeln!(pipe).expect("write");
    pipe.write_all(&vec![b'\n'; 1 << 20]).expect("write");
    writeln!(pipe, "{}", server.url("/after")).expect("write");
    running.wait_for_line(Stream::Out, "/after");
    assert!(running.rss() < 100 << 20, "{} bytes", running.rss());
    let run = stop(running, 2);
    assert_eq!(run.results(), ["failed", "ok"], "{run}");
}

#[test]
fn a_daemon_told_to_end_finishes_what_runs_and_cancels_what_waits() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| Reply::ok(seen.path.clone()).held_by(&held));
    let place = Place::new();
    let running = daemon(&place).args(["-j", "2"]).start();
    until("the pipe", || is_fifo(&place.path("pipe")));
    let mut pipe = writer(&place);
    for number in 0..6 {
        writeln!(pipe, "{}", server.url(&format!("/{number}"))).expect("write");
    }
    server.wait("two requests", |counts| counts.running == 2);
    running.send_signal_and_settle(Signal::TERM);
    gate.open();
    let run = running.finish();
    run.assert_exit(0);
    let accepted = run.json().len();
    run.check_invariants(accepted);
    let results = run.results();
    assert_eq!(results[..2], ["ok", "ok"], "{run}");
    assert!(results[2..].iter().all(|result| result == "cancelled") && accepted <= 6, "{run}");
    assert_eq!(server.seen().len(), 2, "{run}");
}

#[test]
fn a_second_daemon_on_the_same_pipe_is_refused() {
    let place = Place::new();
    let running = start(&place);
    serve_one(&running, &place);
    let second = daemon(&place).run();
    second.assert_exit(3).assert_stderr_has("pipe");
    stop(running, 1);
}

#[test]
fn what_is_no_pipe_of_ours_is_refused_and_left_alone() {
    type Make = fn(PathBuf);
    let make: [(&str, Make); 5] = [
        ("a file", |path| std::fs::write(path, "still here").expect("write")),
        ("a directory", |path| std::fs::create_dir(path).expect("make")),
        ("a link to a file", |path| symlink("../canary/canary.txt", path).expect("link")),
        ("a dangling link", |path| symlink("../canary/new", path).expect("link")),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).expect("bind"))),
    ];
    for (name, make) in make {
        let place = Place::new();
        make(place.path("pipe"));
        let before = place.tree(".");
        let run = daemon(&place).run();
        assert!(matches!(run.code(), Some(2 | 3)), "{name}\n{run}");
        run.assert_stderr_has("pipe").check_invariants(0);
        let mut after = place.tree(".");
        after.remove("out/");
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn a_pipe_that_others_may_write_to_is_refused() {
    for mode in [0o666, 0o620, 0o602] {
        let place = Place::new();
        let made = std::process::Command::new("mkfifo").arg(place.path("pipe")).status().expect("run mkfifo");
        assert!(made.success());
        std::fs::set_permissions(place.path("pipe"), Permissions::from_mode(mode)).expect("change its mode");
        let run = daemon(&place).run();
        assert!(matches!(run.code(), Some(2 | 3)), "{mode:o}\n{run}");
        run.assert_stderr_has("pipe");
    }
}

#[test]
fn a_pipe_that_vanishes_is_made_again() {
    let (server, place) = (echo(), Place::new());
    let running = start(&place);
    drop(writer(&place));
    std::fs::remove_file(place.path("pipe")).expect("remove the pipe");
    running.wait_for_line(Stream::Err, "pipe");
    until("the new pipe", || is_fifo(&place.path("pipe")));
    writeln!(writer(&place), "{}", server.url("/a")).expect("write");
    running.wait_for_line(Stream::Out, "/a");
    stop(running, 1);
}

/// Whether a connection to this port was closed by its server and by nobody else.
fn is_half_closed(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
    // Remote address and CLOSE_WAIT.
    let (server, state) = (format!("0100007F:{port:04X}"), "08");
    sockets.lines().any(|line| line.split_whitespace().skip(2).take(2).eq([server.as_str(), state]))
}

#[test]
fn an_idle_daemon_lets_go_of_connections_that_their_servers_close() {
    let (authority, place) = (Authority::new(), Place::new());
    let running = daemon(&place).args(["-j", "8", "--cacert"]).arg(authority.pem()).start();
    until("the pipe", || is_fifo(&place.path("pipe")));
    serve_one(&running, &place);
    for alpn in [Alpn::Http11, Alpn::Http2] {
        let server = Server::tls(&authority.identity(), alpn, |seen: &Seen| Reply::ok(seen.path.clone()));
        let mut lines = String::new();
        for number in 0..8 {
            lines += &format!("{}\n", server.url(&format!("/{alpn:?}-{number}")));
        }
        write!(writer(&place), "{lines}").expect("write");
        (0..8).for_each(|number| drop(running.wait_for_line(Stream::Out, &format!("/{alpn:?}-{number}"))));
        let port = server.port();
        drop(server);
        until("the connections to go", || !is_half_closed(port));
        let wakeups = running.wakeups();
        std::thread::sleep(Duration::from_millis(500));
        assert!(running.wakeups() - wakeups < 20, "awake without need");
    }
    stop(running, 17);
}
