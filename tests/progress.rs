//! What the bars tell: how far the run is, what runs, in rows that stay where they are, and what failed, above them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use crate::harness::pty::{OnTerminal, Output, Size};
use crate::harness::{Fetch, Gate, Reply, Seen, Server};

const USUAL: Size = Size { rows: 24, columns: 80 };

/// Half of every body at once, and the rest of `/file-N` when its gate opens.
fn gated(count: usize) -> (Server, Vec<Gate>) {
    let gates: Vec<Gate> = (0..count).map(|_| Gate::new()).collect();
    let held: HashMap<String, Gate> =
        gates.iter().enumerate().map(|(number, gate)| (format!("/file-{number}"), gate.clone())).collect();
    let server = Server::http(move |seen: &Seen| match held.get(&seen.path) {
        Some(gate) => Reply::ok("x".repeat(512)).then_wait(gate).body("x".repeat(512)),
        None if seen.path == "/busy" => Reply::status(429).header("retry-after", "60"),
        None => Reply::status(404).body("no"),
    });
    (server, gates)
}

/// The program with its bars on a terminal and its records elsewhere.
fn start(fetch: Fetch, size: Size) -> OnTerminal {
    let records = File::create(fetch.place().path("records")).expect("make a file");
    fetch.args(["--json", "-d", "out"]).on_terminal_with(size, Output::Elsewhere(Stdio::from(records)))
}

/// The screen as it is meant: what differs from run to run (times, rates, ports) is left out.
fn picture(screen: &str) -> Vec<String> {
    let word = |word: &str| {
        let name = word.rsplit_once('/').map_or(word, |(_, name)| name);
        let is_time = word.ends_with('s') && word.starts_with(|c: char| c.is_ascii_digit());
        if is_time {
            "TIME".to_owned()
        } else if word.starts_with("http://") {
            name.to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    screen.lines().map(line).filter(|line| !line.is_empty()).collect()
}

#[test]
fn rows_stay_where_they_are_and_a_free_one_goes_to_the_next() {
    let (server, gates) = gated(6);
    let paths: Vec<String> = (0..6).map(|number| format!("/file-{number}")).collect();
    let lines: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    let mut terminal = start(Fetch::new().args(["-j", "4"]).urls(&lines), USUAL);
    let rows = |screen: &str| -> Vec<String> {
        let named = |line: &str| line.rfind("/file-").map(|at| line[at + 1..].trim().to_owned());
        screen.lines().filter_map(named).collect()
    };
    // Which of the first four came first is theirs.
    let shown = rows(&terminal.wait_for_screen("four rows", |screen| rows(screen).len() == 4));
    let number = |name: &str| name["file-".len()..].parse::<usize>().expect("a number");
    for (freed, next) in [(1, "file-4"), (2, "file-5")] {
        gates[number(&shown[freed])].open();
        let now = terminal.wait_for_screen(next, |screen| screen.contains(next));
        let mut expected = shown.clone();
        (expected[1], expected[freed]) = ("file-4".to_owned(), next.to_owned());
        assert_eq!(rows(&now), expected, "{now}");
    }
    gates.iter().for_each(Gate::open);
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
}

#[test]
fn a_glance_tells_how_far_it_is_what_failed_and_why() {
    let (server, gates) = gated(3);
    let lines = ["/missing", "/file-0", "/file-1"].map(|path| server.url(path));
    let fetch = Fetch::new().args(["-j", "2", "--failed", "again.txt"]).urls(&lines);
    let mut terminal = start(fetch, USUAL);
    let shown = terminal.wait_for_screen("half of both", |screen| screen.matches("512 B").count() == 2);
    let picture_now = picture(&shown);
    let (above, bars) = picture_now.split_at(1);
    assert_eq!(above[0], "failed 404 2 B TIME - missing http: the server answered 404 (urls.txt:1)", "{shown}");
    let total = &bars[0];
    assert!(total.starts_with("[") && total.contains("] 1/3 66% 0 ok 1 failed 2 running"), "{shown}");
    let mut rows: Vec<&String> = bars[1..].iter().filter(|row| !row.contains("/s")).collect();
    rows.sort();
    assert_eq!(rows, ["50% 512 B TIME file-0", "50% 512 B TIME file-1"], "{shown}");
    gates.iter().for_each(Gate::open);
    let status = terminal.finish();
    assert_eq!(status.code(), Some(1), "{}", terminal.describe(status));
    let screen = terminal.screen();
    assert!(screen.contains("fetchmany: 2 ok, 1 failed (1 http); "), "{screen}");
    for (args, hint) in
        [(&[][..], None), (&["--failed", "again.txt"], Some("1 failed: see again.txt; correct the lines"))]
    {
        let run = Fetch::new().args(args).list("nonsense").run();
        run.assert_exit(1);
        assert_eq!(run.stderr_text().contains("1 failed: "), hint.is_some(), "{run}");
        if let Some(hint) = hint {
            run.assert_stderr_has(hint);
        }
    }
    let hint = "1 failed: see again.txt; run again with again.txt as INPUT and another --failed";
    assert!(screen.contains(hint), "{screen}");
    assert!(!screen.contains("file-"), "the bars are gone\n{screen}");
}

#[test]
fn a_paused_host_is_told_of_with_its_reason() {
    let (busy, _) = gated(0);
    for (rows, columns) in [(50, 200), (24, 80), (10, 40)] {
        let (server, gates) = gated(1);
        let lines = [busy.url("/busy"), server.url("/file-0")];
        let mut terminal = start(Fetch::new().urls(&lines), Size { rows, columns });
        let paused = format!("paused: 127.0.0.1:{} (429) ", busy.port());
        let screen = terminal.wait_for_screen("the pause", |screen| {
            screen.lines().any(|line| line.starts_with(&paused)) && screen.contains("512 B")
        });
        for what in ["0/2", "0 ok", "1 running"] {
            assert!(screen.contains(what), "{what} at {columns} columns\n{screen}");
        }
        gates[0].open();
        // Twice: nobody waits for a minute.
        terminal.press("\u{3}");
        terminal.wait_for_screen("the first signal", |screen| screen.contains("stopping: "));
        terminal.press("\u{3}");
        terminal.finish();
    }
}

#[test]
fn a_host_that_cannot_be_reached_is_told_of_while_it_is_waited_for() {
    let refusing = crate::harness::raw::refusing_url();
    let (_, address) = refusing.split_once("://").expect("a URL");
    let paused = format!("paused: {} (unreachable) ", address.trim_end_matches('/'));
    let mut terminal = start(Fetch::new().args(["--retry-delay", "60"]).urls(&[format!("{refusing}a")]), USUAL);
    terminal.wait_for_screen("the pause", |screen| screen.lines().any(|line| line.starts_with(&paused)));
    terminal.press("\u{3}");
    terminal.finish();
}

#[test]
fn a_large_terminal_shows_as_many_as_half_of_it_holds() {
    let (server, gates) = gated(50);
    let lines = server.numbered("/file-", 50);
    let mut terminal = start(Fetch::new().args(["-j", "50"]).urls(&lines), Size { rows: 50, columns: 200 });
    let is_full = |screen: &str| screen.matches("512 B").count() == 25 && screen.contains("50 running");
    let shown = terminal.wait_for_screen("the rows", is_full);
    let picture = picture(&shown);
    assert!(picture[0].starts_with('[') && picture[0].contains("] 0/50 50% 0 ok 50 running"), "{shown}");
    assert!(picture[1..].iter().all(|row| row.starts_with("50% 512 B TIME file-")), "{shown}");
    assert_eq!(picture.len(), 26, "{shown}");
    gates.iter().for_each(Gate::open);
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
}

#[test]
fn of_a_thousand_transfers_those_that_fit_are_shown() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("x".repeat(512)).then_wait(&held).body("x".repeat(512)));
    let lines = server.numbered("/file-", 1000);
    let mut terminal = start(Fetch::new().args(["-j", "1000"]).urls(&lines), USUAL);
    server.wait("a thousand requests", |counts| counts.running == 1000);
    let screen = terminal.wait_for_screen("the total", |screen| {
        let (rows, told) = (screen.matches("file-").count(), ["0/1,000", "50%", "1,000 running", "/s"]);
        rows == 11 && told.iter().all(|told| screen.contains(told))
    });
    assert!(screen.lines().count() <= USUAL.rows.into(), "{screen}");
    gate.open();
    let status = terminal.finish();
    assert!(status.success() && terminal.screen().contains("1,000 ok"), "{}", terminal.describe(status));
}

#[test]
fn of_a_list_without_an_end_what_is_done_is_told() {
    let (server, gates) = gated(1);
    let fetch = Fetch::new().arg("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, fetch.place().path("pipe"), rustix::fs::Mode::from_raw_mode(0o600))
        .expect("make a pipe");
    let mut pipe = File::options().read(true).write(true).open(fetch.place().path("pipe")).expect("open the pipe");
    write!(pipe, "{}\n{}\n", server.url("/missing"), server.url("/file-0")).expect("write");
    let mut terminal = start(fetch, USUAL);
    let is_told = |screen: &str| screen.lines().any(|line| line.starts_with("1 done  0 ok  1 failed  1 running"));
    let screen = terminal.wait_for_screen("the total", is_told);
    assert!(!screen.contains('%') || screen.contains(" 50% "), "{screen}");
    assert!(!screen.contains("ETA") && !screen.contains('['), "of what is not known nothing is told\n{screen}");
    gates[0].open();
    drop(pipe);
    let status = terminal.finish();
    assert_eq!(status.code(), Some(1), "{}", terminal.describe(status));
}

#[test]
fn a_small_terminal_has_room_for_what_failed() {
    let (server, gates) = gated(10);
    let mut lines = vec![server.url("/missing")];
    lines.extend(server.numbered("/file-", 10));
    let mut terminal = start(Fetch::new().args(["-j", "10"]).urls(&lines), Size { rows: 10, columns: 40 });
    let is_full = |screen: &str| screen.matches("512 B").count() == 4 && screen.contains("/11");
    let screen = terminal.wait_for_screen("the rows", is_full);
    for what in ["missing", "answered 404", "1/11", "1 failed"] {
        assert!(screen.replace('\n', "").contains(what), "{what}\n{screen}");
    }
    // The name is what tells them apart.
    assert_eq!(screen.matches("file-").count(), 4, "{screen}");
    gates.iter().for_each(Gate::open);
    let status = terminal.finish();
    assert_eq!(status.code(), Some(1), "{}", terminal.describe(status));
}

#[test]
fn what_does_not_end_its_line_does_not_tear_the_bars() {
    let (server, gates) = gated(2);
    let lines = ["/missing", "/file-0", "/missing?2", "/file-1"].map(|path| server.url(path));
    let fetch = Fetch::new().args(["-j", "2", "-d", "out", "-w", "<%{http_code}>"]).urls(&lines);
    let mut terminal = fetch.on_terminal(USUAL);
    let screen = terminal.wait_for_screen("the bars", |screen| screen.matches("512 B").count() == 2);
    assert_eq!(screen.matches("<404>").count(), 2, "{screen}");
    assert!(screen.lines().all(|line| !line.contains("<404>") || !line.contains("file-")), "{screen}");
    gates.iter().for_each(Gate::open);
    let status = terminal.finish();
    assert_eq!(terminal.screen().matches("<200>").count(), 2, "{}", terminal.describe(status));
    assert!(!terminal.screen().contains("file-"), "{}", terminal.describe(status));
}
