//! The daemon under load and at rest: what is pushed into its pipe is held back, kept apart and served; nothing is
//! done when there is nothing to do.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::Deserialize;

use crate::fifo::{is_fifo, stop, writer};
use crate::harness::clock::{Clock, Faked};
use crate::harness::nginx::Listen;
use crate::harness::{Fetch, Gate, Nginx, Place, Reply, Running, Seen, Server, Stream, until};

/// A daemon that keeps nothing.
fn discarding(place: &Place) -> Fetch {
    place.fetch().args(["--json", "--discard", "--fifo", "pipe"])
}

/// Starts it and waits for its pipe.
fn start(fetch: Fetch) -> Running {
    let running = fetch.start();
    until("the pipe", || is_fifo(&running.place().path("pipe")));
    running
}

#[test]
fn an_idle_daemon_calls_almost_nothing_after_it_looked_up_a_name() {
    let server = Server::http(|_| Reply::ok("x"));
    let place = Place::new();
    let Some(fetch) = discarding(&place).knowing_host("name.test").and_then(|fetch| fetch.strace(["-e", "trace=all"]))
    else {
        return;
    };
    let running = start(fetch);
    writeln!(writer(&place), "{}", server.url_as("name.test", "/a")).expect("write");
    running.wait_for_line(Stream::Out, "/a");
    assert!(place.trace().iter().any(|line| line.contains("clone")), "no thread looked up the name");
    let before = place.trace().len();
    std::thread::sleep(Duration::from_secs(10));
    let calls = place.trace().split_off(before);
    assert!(calls.len() < 50, "{} system calls in ten idle seconds:\n{}", calls.len(), calls.join("\n"));
    let run = stop(running, 1);
    assert_eq!(run.record()["result"], "ok", "{run}");
}

/// And is not dead: the next line is served by a new one.
#[test]
fn a_daemon_without_work_gives_its_connections_back() {
    let Some(clock) = Clock::new(Faked::All) else { return };
    let server = Server::http(|_| Reply::ok("x"));
    let place = Place::new();
    let running = start(discarding(&place).clocked_by(&clock));
    let mut pipe = writer(&place);
    for (name, path) in ["/a", "/b"].into_iter().enumerate() {
        writeln!(pipe, "{}", server.url(path)).expect("write");
        running.wait_for_line(Stream::Out, path);
        assert_eq!(server.counts(|counts| (counts.connections, counts.open)), (name + 1, 1));
        clock.set(&format!("+{}", 61 * (name + 1)));
        // It slept for a minute, it thinks, and is to look at the clock.
        running.send_signal(Signal::USR1);
        server.wait("the end of the connection", |counts| counts.open == 0);
    }
    stop(running, 2);
}

/// Lets this process have as many descriptors as it may; `false`, with a word about it, when those are too few.
fn has_descriptors(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < count) {
        eprintln!("skipped: {count} descriptors are needed");
        return false;
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("raise our own limit");
    true
}

#[test]
fn five_thousand_transfers_that_end_at_once_are_all_told_and_a_line_written_meanwhile_is_served() {
    const COUNT: usize = 5000;
    if !has_descriptors(3 * COUNT as u64) {
        return;
    }
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(
        move |seen: &Seen| {
            if seen.path == "/meanwhile" { Reply::ok("x") } else { Reply::ok("x").held_by(&held) }
        },
    );
    let place = Place::new();
    let jobs = COUNT.to_string();
    let running = start(discarding(&place).args(["-j", &jobs, "--connect-timeout", "60"]));
    let mut pipe = writer(&place);
    for number in 0..COUNT {
        writeln!(pipe, "{}", server.url(&format!("/{number}"))).expect("write");
    }
    server.wait("all of them", |counts| counts.running == COUNT);
    // All answers arrive while nobody looks: they are one turn's work.
    running.send_signal(Signal::STOP);
    gate.open();
    server.wait("all answers to be sent", |counts| counts.running == 0);
    writeln!(pipe, "{}", server.url("/meanwhile")).expect("write");
    running.send_signal(Signal::CONT);
    running.wait_for_lines(Stream::Out, COUNT + 1);
    let run = stop(running, COUNT + 1);
    assert!(run.json().iter().all(|record| record["result"] == "ok"), "{run}");
    assert_eq!(server.seen().len(), COUNT + 1, "one request each");
    assert_eq!(server.count("/meanwhile"), 1);
}

/// What is looked at of a record.
#[derive(Deserialize)]
struct Record {
    urlnum: usize,
    url: String,
    result: String,
}

#[test]
fn twenty_writers_of_five_thousand_lines_each_lose_and_mix_nothing() {
    const WRITERS: usize = 20;
    const LINES: usize = 5000;
    const BOUND: Duration = Duration::from_secs(300);
    let Some(nginx) = Nginx::start(Listen::Localhost) else { return };
    std::fs::write(nginx.root().join("file"), "x").expect("write a file to serve");
    let place = Place::new();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("make a pipe");
    let running = start(discarding(&place).stdout(Stdio::from(write)).bound(BOUND));
    let (all, told) = mpsc::channel();
    std::thread::spawn(move || {
        let records = BufReader::new(File::from(read)).lines().map_while(Result::ok).take(WRITERS * LINES);
        let parse = |line: String| serde_json::from_str::<Record>(&line).map_err(|err| format!("{err}: {line}"));
        all.send(records.map(parse).collect::<Result<Vec<Record>, String>>())
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (mut pipe, url) = (writer(&place), nginx.http(&format!("/file?{number}")));
            std::thread::spawn(move || {
                let mut urls = Vec::new();
                for line in 0..LINES {
                    let mut url = format!("{url}-{line}-");
                    // Up to 4,096 bytes are one piece to the kernel.
                    let length = if line % 250 == 0 { 4095 } else { url.len() + line % 50 };
                    url.extend(std::iter::repeat_n('x', length - url.len()));
                    pipe.write_all(format!("{url}\n").as_bytes()).expect("write");
                    urls.push(url);
                }
                urls
            })
        })
        .collect();
    let written: HashSet<String> = writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect();
    let records = told.recv_timeout(BOUND).expect("all records in time").expect("records");
    assert_eq!(records.len(), WRITERS * LINES, "the daemon ended early");
    let mut numbers: Vec<usize> = records.iter().map(|record| record.urlnum).collect();
    numbers.sort();
    assert!(numbers.into_iter().eq(0..WRITERS * LINES), "every number once");
    let bad = records.iter().find(|record| record.result != "ok" || !written.contains(&record.url));
    assert!(bad.is_none(), "{:?}", bad.map(|bad| (&bad.result, &bad.url)));
    assert_eq!(records.iter().map(|record| &record.url).collect::<HashSet<_>>().len(), written.len());
    running.send_signal(Signal::TERM);
    running.finish().assert_exit(0);
}

#[test]
fn a_million_lines_at_once_wait_in_the_pipe_and_not_in_memory() {
    const LINES: usize = 1_000_000;
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("x").held_by(&held));
    let place = Place::new();
    let running = start(discarding(&place).args(["-j", "10"]));
    let mut pipe = writer(&place);
    let url = server.url("/");
    writeln!(pipe, "{url}first").expect("write");
    server.wait("the first request", |counts| counts.running == 1);
    let rss = running.rss();
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let writer = std::thread::spawn(move || {
        for first in (0..LINES).step_by(1000) {
            let lines: String = (first..first + 1000).map(|number| format!("{url}{number}\n")).collect();
            if pipe.write_all(lines.as_bytes()).is_err() {
                return;
            }
            count.fetch_add(1000, Ordering::Relaxed);
        }
    });
    server.wait("as many as there are jobs", |counts| counts.running == 10);
    let mut last = (0, 0);
    until("the writer to wait", || {
        let now = written.load(Ordering::Relaxed);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        last.1 >= 100
    });
    assert!(last.0 < 50_000, "{} lines were taken and nothing is fetched", last.0);
    assert!(running.rss() < rss + (16 << 20), "{rss} bytes, then {}", running.rss());
    assert_eq!(server.seen().len(), 10);
    running.send_signal_and_settle(Signal::TERM);
    gate.open();
    let run = running.finish();
    writer.join().expect("the writer");
    let accepted = run.json().len();
    run.assert_exit(0).check_invariants(accepted).assert_stderr_has("lines in the pipe were not taken");
    let results = run.results();
    assert_eq!(results.iter().filter(|result| *result == "ok").count(), 10, "{run}");
    assert!(results[10..].iter().all(|result| result == "cancelled") && accepted < 1_100, "{run}");
    assert_eq!(server.seen().len(), 10, "{run}");
}
