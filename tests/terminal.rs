//! What a person sees: bars that are drawn and cleared, on terminals of every size.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::authority::Alpn;
use crate::harness::pty::{Output, Size};
use crate::harness::{Authority, Fetch, Gate, Raw, Reply, Seen, Server, Step, until};

const USUAL: Size = Size { rows: 24, columns: 80 };

/// Half of every body, and the rest when the gate opens.
fn halves(gate: &Gate) -> Server {
    let held = gate.clone();
    Server::http(move |seen: &Seen| Reply::ok(seen.path.repeat(50_000)).then_wait(&held).body(seen.path.repeat(50_000)))
}

#[test]
fn bars_show_what_runs_and_are_gone_at_the_end() {
    let gate = Gate::new();
    let server = halves(&gate);
    let mut terminal = Fetch::new().args(["-d", "out"]).urls(&server.numbered("/file-", 3)).on_terminal(USUAL);
    terminal.wait_for_screen("a bar for each file", |screen| {
        (0..3).all(|number| screen.contains(&format!("file-{number}")))
    });
    gate.open();
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
    let screen = terminal.screen();
    assert!(screen.contains("3 ok"), "the summary\n{screen}");
    for number in 0..3 {
        let lines = screen.lines().filter(|line| line.contains(&format!("/file-{number}"))).count();
        assert_eq!(lines, 1, "its result line and no bar\n{screen}");
    }
    assert!(!terminal.cursor_is_hidden());
    assert_eq!(terminal.place().names("out").len(), 3);
}

#[test]
fn how_it_stands_is_told_above_the_bars() {
    let gate = Gate::new();
    let server = halves(&gate);
    let mut terminal = Fetch::new().args(["-d", "out"]).urls(&server.numbered("/file-", 2)).on_terminal(USUAL);
    terminal.wait_for_screen("the bars", |screen| screen.contains("file-0") && screen.contains("file-1"));
    terminal.send_signal(Signal::USR1);
    let screen = terminal.wait_for_screen("the line", |screen| screen.contains(": 0 ok, 2 running"));
    let row = |what: &str| screen.lines().position(|line| line.contains(what));
    assert!(row(": 0 ok, 2") < row("file-0"), "{screen}");
    gate.open();
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
}

#[test]
fn bars_stay_on_the_terminal_when_results_go_elsewhere() {
    let gate = Gate::new();
    let server = halves(&gate);
    let fetch = Fetch::recorded().urls(&server.numbered("/file-", 2));
    let results = std::fs::File::create(fetch.place().path("stdout")).expect("make a file");
    let mut terminal = fetch.on_terminal_with(USUAL, Output::Elsewhere(Stdio::from(results)));
    terminal.wait_for_screen("a bar", |screen| screen.contains("file-0") && screen.contains("file-1"));
    gate.open();
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
    let written = terminal.place().read_text("stdout");
    assert_eq!(written.lines().count(), 2, "{written}");
    assert!(!written.contains('\u{1b}'), "{written}");
    assert!(!terminal.screen().contains('{'), "{}", terminal.describe(status));
}

#[test]
fn the_total_line_tells_what_auto_is_at_and_which_hosts_are_paused() {
    let gate = Gate::new();
    let server = halves(&gate);
    let busy = Server::http_at([127, 0, 0, 2].into(), |seen| match seen.earlier {
        0 => Reply::status(429).header("retry-after", "5"),
        _ => Reply::ok("here"),
    });
    let mut list = server.numbered("/file-", 3);
    list.push(busy.url("/busy"));
    let mut terminal = Fetch::new().args(["-d", "out", "-j", "auto"]).urls(&list).on_terminal(USUAL);
    terminal.wait_for_screen("what -j auto is at", |screen| screen.contains("3 of 32 running"));
    terminal
        .wait_for_screen("the pause", |screen| screen.contains(&format!("paused: 127.0.0.2:{} (429)", busy.port())));
    gate.open();
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
}

#[test]
fn a_change_of_size_is_followed() {
    let gate = Gate::new();
    let server = halves(&gate);
    let mut terminal = Fetch::new()
        .args(["-d", "out"])
        .urls(&server.numbered("/file-", 3))
        .on_terminal(Size { rows: 24, columns: 120 });
    terminal.wait_for_screen("the bars", |screen| screen.contains("file-2"));
    for (rows, columns) in [(10, 40), (50, 200), (3, 20), (24, 80)] {
        terminal.resize(Size { rows, columns });
    }
    let drawn = terminal.raw().len();
    terminal.wait_for_screen("the bars again", |screen| screen.contains("file-"));
    gate.open();
    let status = terminal.finish();
    assert!(status.success() && terminal.raw().len() > drawn, "{}", terminal.describe(status));
}

#[test]
fn terminals_of_absurd_sizes_do_no_harm() {
    for (rows, columns) in [(0, 0), (1, 1), (2, 5), (1, 500), (500, 1), (24, 0), (0, 80)] {
        let gate = Gate::new();
        let server = halves(&gate);
        let fetch =
            Fetch::new().args(["-j", "10", "-d", "out", "--progress", "bars"]).urls(&server.numbered("/file-", 10));
        let mut terminal = fetch.on_terminal(Size { rows, columns });
        server.wait("the requests", |counts| counts.running == 10);
        gate.open();
        let status = terminal.finish();
        assert!(status.success(), "{rows} × {columns}: {}", terminal.describe(status));
    }
    for columns in ["0", "1", "99999", "many"] {
        let server = Server::http(|_| Reply::ok("x"));
        let mut terminal = Fetch::new()
            .args(["-d", "out"])
            .env("COLUMNS", columns)
            .urls(&server.numbered("/file-", 3))
            .on_terminal(USUAL);
        assert!(terminal.finish().success(), "COLUMNS={columns}");
    }
}

#[test]
fn no_more_bars_are_drawn_than_fit() {
    let gate = Gate::new();
    let server = halves(&gate);
    let size = Size { rows: 8, columns: 60 };
    let mut terminal =
        Fetch::new().args(["-j", "40", "-d", "out"]).urls(&server.numbered("/file-", 40)).on_terminal(size);
    server.wait("the requests", |counts| counts.running == 40);
    terminal.wait_for_screen("bars", |screen| screen.contains("file-"));
    let scrolled = terminal.raw().iter().filter(|byte| **byte == b'\n').count();
    assert!(scrolled < 200, "{scrolled} line feeds before anything ended");
    gate.open();
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
    assert!(terminal.screen().contains("40 ok"), "{}", terminal.describe(status));
}

#[test]
fn progress_can_be_switched_off_and_a_dumb_terminal_gets_none() {
    let server = Server::http(|_| Reply::ok("x"));
    for (args, env) in [(&["--progress", "off", "--color", "never"][..], ("X", "")), (&[], ("TERM", "dumb"))] {
        let fetch = Fetch::new().args(["-d", "out"]).args(args).env(env.0, env.1).urls(&server.numbered("/file-", 5));
        let mut terminal = fetch.on_terminal(USUAL);
        let status = terminal.finish();
        assert!(status.success(), "{}", terminal.describe(status));
        assert!(!terminal.raw().contains(&0x1b), "{}", terminal.describe(status));
    }
}

#[test]
fn colours_can_be_switched_off() {
    let server = Server::http(|_| Reply::ok("x"));
    for (args, env) in [(&["--color", "never"][..], ("X", "")), (&[], ("NO_COLOR", "1"))] {
        let fetch = Fetch::new().args(["-d", "out"]).args(args).env(env.0, env.1).urls(&server.numbered("/file-", 5));
        let mut terminal = fetch.on_terminal(USUAL);
        let status = terminal.finish();
        // "Select graphic rendition": the sequences that end with an m. Others move the cursor.
        let raw = String::from_utf8_lossy(&terminal.raw()).into_owned();
        let mut sequences = raw.split("\x1b[").skip(1).filter_map(|rest| rest.chars().find(char::is_ascii_alphabetic));
        assert!(status.success() && sequences.all(|last| last != 'm'), "{}", terminal.describe(status));
    }
}

#[test]
fn colours_can_be_insisted_on() {
    let server = Server::http(|_| Reply::ok("x"));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let fetch = Fetch::new().args(["-d", "out", "--color", "always"]).env(name, value);
        let mut terminal = fetch.urls(&server.numbered("/file-", 1)).on_terminal(USUAL);
        let status = terminal.finish();
        let raw = String::from_utf8_lossy(&terminal.raw()).into_owned();
        assert!(status.success() && raw.contains("\x1b[32mok"), "{name}: {}", terminal.describe(status));
    }
}

#[test]
fn plain_progress_draws_no_bars_on_a_terminal() {
    let gate = Gate::new();
    let server = halves(&gate);
    let fetch =
        Fetch::new().args(["-d", "out", "--progress", "plain", "--color", "never"]).urls(&server.numbered("/file-", 2));
    let mut terminal = fetch.on_terminal(USUAL);
    server.wait("the requests", |counts| counts.running == 2);
    terminal.send_signal(Signal::USR1);
    terminal.wait_for_screen("how it stands", |screen| screen.contains("0/2: 0 ok, 2 running"));
    gate.open();
    let status = terminal.finish();
    assert!(status.success() && !terminal.raw().contains(&0x1b), "{}", terminal.describe(status));
}

#[test]
fn names_from_outside_do_not_command_the_terminal() {
    let gate = Gate::new();
    let server = halves(&gate);
    let lines = [
        server.url("/%1b]0;owned%07"),
        server.url("/\u{202e}evil"),
        server.url("/%c2%9b2J"),
        "bad\u{1b}]0;owned\u{7}".to_owned(),
    ];
    let mut terminal = Fetch::new().args(["-d", "out"]).urls(&lines).on_terminal(USUAL);
    server.wait("the requests", |counts| counts.running == 3);
    gate.open();
    let status = terminal.finish();
    let raw = String::from_utf8_lossy(&terminal.raw()).into_owned();
    assert_eq!(status.code(), Some(1), "{}", terminal.describe(status));
    assert!(
        !raw.contains("\u{1b}]0;owned") && !raw.contains(['\u{9b}', '\u{202e}', '\u{7}']),
        "{}",
        terminal.describe(status)
    );
}

#[test]
fn answers_and_certificates_do_not_command_the_terminal() {
    let evil = "\u{1b}]52;c;b3duZWQ=\u{7}\u{1b}]8;;http://evil/\u{1b}\\\u{1b}[2J\u{9b}2J\u{202e}\u{7f}";
    let head = format!("{evil}\r\nContent-Type: {evil}\r\nContent-Disposition: attachment; filename=\"{evil}\"");
    let missing = Raw::always(Step::answer(format!("HTTP/1.1 404 {head}\r\nContent-Length: 4\r\n\r\n\u{1b}[2J")));
    let away =
        Raw::always(Step::answer(format!("HTTP/1.1 302 x\r\nLocation: odd://{evil}/\r\nContent-Length: 0\r\n\r\n")));
    let certificate = Authority::new().issue(&["elsewhere.test"], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, evil);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, evil);
    });
    let tls = Server::tls(&certificate, Alpn::Http11, |_| Reply::ok("x"));
    let combining = format!("{}{}", missing.url("/e"), "\u{301}".repeat(5_000));
    let lines = [missing.url("/a"), away.url("/b"), tls.url("/c"), combining, format!("http://{evil}.test/")];
    for args in [&["-v"][..], &["-k", "--json", "-v"]] {
        let fetch = Fetch::new().args(["--retry", "0", "-d", "out"]).args(args).urls(&lines);
        let mut terminal = fetch.env("http_proxy", "").on_terminal(USUAL);
        let status = terminal.finish();
        assert_eq!(status.code(), Some(1), "{}", terminal.describe(status));
        let raw = terminal.raw();
        let text = String::from_utf8_lossy(&raw);
        let commands = ["\u{1b}]", "\u{1b}[2J", "\u{1b}\\", "\u{9b}", "\u{202e}", "\u{7}", "\u{7f}"];
        let found = commands.iter().find(|command| text.contains(**command));
        assert_eq!(found, None, "{}", terminal.describe(status));
    }
}

#[test]
fn a_window_that_never_keeps_its_size_does_no_harm() {
    let gate = Gate::new();
    let server = halves(&gate);
    let mut terminal = Fetch::new().args(["-d", "out"]).urls(&server.numbered("/file-", 3)).on_terminal(USUAL);
    terminal.wait_for_screen("the bars", |screen| screen.contains("file-2"));
    for number in 0..1000 {
        terminal.resize(Size { rows: 2 + number % 40, columns: 10 + number % 190 });
    }
    terminal.resize(USUAL);
    gate.open();
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
    assert_eq!(terminal.place().names("out").len(), 3);
}

#[test]
fn a_window_that_is_closed_ends_it_at_once_and_what_came_is_kept() {
    let ignoring = r#"trap "" HUP; exec "$@""#;
    for (script, ends) in [(r#"exec "$@""#, (None, Some(Signal::HUP.as_raw()))), (ignoring, (Some(3), None))] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |_| Reply::ok("some").then_wait(&held).body("more").chunked());
        let fetch = Fetch::new().args(["-d", "out"]).urls(&server.numbered("/file-", 3)).under_bash(script);
        let mut terminal = fetch.on_terminal(USUAL);
        terminal.wait_for_screen("the bars", |screen| screen.contains("file-2"));
        let status = terminal.hang_up();
        assert_eq!((status.code(), status.signal()), ends, "{}", terminal.describe(status));
        let names = terminal.place().names("out");
        assert!(names.iter().all(|name| name.contains(".part")), "{names:?}");
        assert!(names.contains(&"file-0.part".to_owned()), "{names:?}");
    }
}

#[test]
fn ctrl_c_typed_again_and_again_ends_it_and_leaves_the_terminal_usable() {
    let gate = Gate::new();
    let server = halves(&gate);
    let mut terminal = Fetch::new().args(["-d", "out"]).urls(&server.numbered("/file-", 3)).on_terminal(USUAL);
    terminal.wait_for_screen("the bars", |screen| screen.contains("file-2"));
    // Two signals that come together are one: pressed until it listens, as a person does.
    until("the end", || {
        let ended = terminal.has_ended();
        if !ended {
            terminal.press("\u{3}");
        }
        ended
    });
    let status = terminal.finish();
    assert_eq!(status.signal(), Some(2), "{}", terminal.describe(status));
    assert!(!terminal.cursor_is_hidden(), "{}", terminal.describe(status));
}

#[test]
fn ctrl_c_leaves_no_line_of_the_bars_behind() {
    let gate = Gate::new();
    let server = halves(&gate);
    // Rows as wide as they get: what the terminal echoes behind one of them wraps.
    let long = "x".repeat(100);
    let urls: Vec<String> = (0..4).map(|number| server.url(&format!("/{long}/file-{number}"))).collect();
    let mut terminal = Fetch::new().args(["-j", "3", "-d", "out"]).urls(&urls).on_terminal(USUAL);
    terminal.wait_for_screen("the bars", |screen| screen.contains("file-2"));
    terminal.press("\u{3}");
    let screen = terminal.wait_for_screen("the drain", |screen| screen.contains("stopping: 3 running  "));
    let total = screen.lines().find(|line| line.starts_with("stopping: 3 running  ")).unwrap_or_default();
    assert!(!total.contains("ETA") && !total.contains('%'), "of a list that is not read to its end\n{screen}");
    gate.open();
    let status = terminal.finish();
    let told = terminal.describe(status);
    let screen = terminal.screen();
    let bars = screen
        .lines()
        .filter(|line| (line.contains("..") && !line.starts_with("ok ")) || line.contains(" running  "))
        .count();
    assert_eq!(bars, 0, "{told}");
    assert_eq!(screen.matches("file-").count(), 2 * 3 + 1, "name and URL of the three, URL of the fourth\n{told}");
}

#[test]
fn without_input_a_person_is_told_the_usage() {
    let mut terminal = Fetch::new().on_terminal(USUAL);
    let status = terminal.finish();
    assert_eq!(status.code(), Some(2), "{}", terminal.describe(status));
    assert!(terminal.screen().contains("Usage"), "{}", terminal.describe(status));
}

#[test]
fn urls_can_be_typed() {
    let server = Server::http(|_| Reply::ok("x"));
    let mut terminal = Fetch::new().args(["-d", "out", "-"]).on_terminal(USUAL);
    terminal.wait_for_screen("that it is not hanging", |screen| screen.contains("0 done  0 ok  waiting for input"));
    terminal.send_signal(Signal::USR1);
    terminal.wait_for_screen("how it stands", |screen| screen.contains("fetchmany: 0 ok, waiting for input"));
    terminal.press(&format!("{}\n", server.url("/typed")));
    terminal.wait_for_screen("its result", |screen| screen.contains("200"));
    terminal.press("\u{4}");
    let status = terminal.finish();
    assert!(status.success(), "{}", terminal.describe(status));
}
