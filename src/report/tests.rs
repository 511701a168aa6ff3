//! The room as a whole, on pipes.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use super::terminal::Size;
use super::*;
use crate::job::Settled;
use crate::text::is_hostile;

mod screen;

/// A report on pipes, and the ends to read.
struct Stage {
    report: Report,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    start: Instant,
}

fn options() -> Options {
    Options {
        results: Results::Human,
        ordered: false,
        stream: Stream::Stdout,
        results_file: None,
        failed_file: None,
        append: false,
        progress: ProgressStyle::Off,
        color: ColorChoice::Auto,
        quiet: 0,
        verbose: 0,
    }
}

fn pipe() -> (OwnedFd, Outlet) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    (reader, Outlet::owned(writer).unwrap())
}

fn full() -> Outlet {
    Outlet::owned(OpenOptions::new().write(true).open("/dev/full").unwrap().into()).unwrap()
}

fn of_size(columns: u16, rows: u16) -> Environment {
    Environment { size: Size { columns, rows }, ..Environment::default() }
}

fn stage(options: Options) -> Stage {
    let start = Instant::now();
    let (stdout, out) = pipe();
    let (stderr, err) = pipe();
    let out = (options.stream == Stream::Stdout).then_some(out);
    let report = Report::on(out, err, Environment::default(), options, start).unwrap();
    Stage { report, stdout: Some(stdout), stderr: Some(stderr), start }
}

/// Standard output and error in one pipe, bars forced, as on a terminal of this size.
fn terminal(columns: u16, rows: u16) -> Stage {
    let start = Instant::now();
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let out = Outlet::owned(writer.try_clone().unwrap()).unwrap();
    let err = Outlet::owned(writer).unwrap();
    let options = Options { progress: ProgressStyle::Bars, ..options() };
    let report = Report::on(Some(out), err, of_size(columns, rows), options, start).unwrap();
    Stage { report, stdout: Some(reader), stderr: None, start }
}

fn read_all(reader: &Option<OwnedFd>) -> String {
    let mut all = Vec::new();
    let mut piece = vec![0; 65536];
    loop {
        match reader.as_ref().map(|fd| rustix::io::read(fd, &mut piece[..])) {
            None | Some(Ok(0) | Err(rustix::io::Errno::AGAIN)) => {
                return String::from_utf8(all).unwrap();
            }
            Some(read) => all.extend_from_slice(&piece[..read.unwrap()]),
        }
    }
}

impl Stage {
    fn settle(&mut self, all: &[Settled]) {
        for settled in all {
            self.report.settled(settled).unwrap();
        }
        self.report.flush().unwrap();
    }

    fn stdout(&self) -> String {
        read_all(&self.stdout)
    }

    fn stderr(&self) -> String {
        read_all(&self.stderr)
    }
}

fn progress<'a>(active: &'a [Active<'a>]) -> Progress<'a> {
    Progress {
        in_flight: active.len(),
        received: 1_000_000,
        list_bytes: 10,
        list_total: Some(20),
        lines: 10,
        parts: active.iter().filter_map(Active::part).sum(),
        active,
        ..Progress::default()
    }
}

fn transfers(count: u64, started: Instant) -> Vec<Active<'static>> {
    let labels = (0..count).map(|urlnum| &*format!("file-{urlnum}\x1b[2J").leak());
    let one = |(urlnum, label)| Active { urlnum, label, received: 10 * urlnum, expected: Some(1000), started };
    (0..count).zip(labels).map(one).collect()
}

#[test]
fn results_and_failures_go_where_the_options_say() {
    let base = options();
    let json = Options { results: Results::Json, ..base.clone() };
    let stderr = Options { stream: Stream::Stderr, ..base.clone() };
    // Options; lines on standard output, lines on standard error, of one success and one failure.
    let table = [
        (base.clone(), 2, 0),
        (json.clone(), 2, 0),
        // The failure had no connection.
        (Options { verbose: 1, ..base.clone() }, 2, 1),
        (Options { verbose: 1, ..json.clone() }, 2, 2),
        (Options { quiet: 1, ..base.clone() }, 0, 1),
        (Options { quiet: 1, ..json.clone() }, 0, 1),
        (Options { quiet: 2, ..base.clone() }, 0, 0),
        (stderr.clone(), 0, 2),
        (Options { results: Results::Json, ..stderr.clone() }, 0, 2),
        (Options { quiet: 1, ..stderr.clone() }, 0, 1),
        (Options { quiet: 2, ..stderr }, 0, 0),
    ];
    for (options, out, err) in table {
        let what = format!("{options:?}");
        let mut stage = stage(options);
        stage.settle(&[fixture::ok(), fixture::failed()]);
        assert_eq!((stage.stdout().lines().count(), stage.stderr().lines().count()), (out, err), "{what}");
        assert_eq!(stage.report.tally().settled(), 2);
    }
}

#[test]
fn the_files_get_records_and_input_lines_whatever_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let (results, failed) = (dir.path().join("r.json"), dir.path().join("failed.txt"));
    for quiet in [0, 2] {
        let mut stage = stage(Options {
            results: Results::Json,
            results_file: Some(results.clone()),
            failed_file: Some(failed.clone()),
            quiet,
            ..options()
        });
        stage.settle(&[fixture::ok(), fixture::failed(), fixture::skipped(), fixture::cancelled()]);
        let kept = fs::read_to_string(&results).unwrap();
        assert_eq!(kept.lines().count(), 4);
        if quiet == 0 {
            assert_eq!(stage.stdout(), kept);
        }
        let line = "https://u:S3CR3T-1@example.com/file.bin\n";
        assert_eq!(fs::read_to_string(&failed).unwrap(), line.repeat(2));
    }
}

#[test]
fn nothing_hostile_reaches_any_stream() {
    for results in [Results::Human, Results::Json] {
        let mut stage = stage(Options { results, verbose: 1, ..options() });
        stage.settle(&[fixture::hostile()]);
        stage.report.note("\x1b]52;c;x\x07 \u{9b}\u{202e}\r\n\0");
        stage.report.finish(stage.start, Again::Anew);
        for text in [stage.stdout(), stage.stderr()] {
            assert!(!text.replace('\n', "").chars().any(is_hostile), "{text:?}");
            assert!(!text.contains("S3CR3T"));
        }
    }
}

#[test]
fn a_flood_of_failures_leaves_standard_error_readable() {
    let mut stage = stage(Options { quiet: 1, ..options() });
    for turn in 0..100 {
        let now = stage.start + Duration::from_millis(turn * 10);
        for _ in 0..1000 {
            stage.report.settled(&fixture::failed()).unwrap();
        }
        stage.report.draw(now, &progress(&[]));
        stage.report.flush().unwrap();
    }
    assert!(stage.report.next_draw().is_some());
    stage.report.finish(stage.start + Duration::from_secs(1), Again::Anew);
    let text = stage.stderr();
    assert!(text.lines().count() <= 41, "{text}");
    assert!(text.ends_with("fetchmany: ... and 99,980 more failures (use --failed FILE to keep the list)\n"), "{text}");
}

#[test]
fn a_stream_or_file_that_is_full_is_named() {
    let (_reader, err) = pipe();
    let now = Instant::now();
    let mut report = Report::on(Some(full()), err, Environment::default(), options(), now).unwrap();
    report.settled(&fixture::ok()).unwrap();
    let Err(Lost::Failed(error)) = report.flush() else { panic!("/dev/full takes nothing") };
    assert!(format!("{error:#}").starts_with("write standard output: No space left"), "{error:#}");

    let mut stage = stage(Options { results_file: Some("/dev/full".into()), ..options() });
    stage.report.settled(&fixture::ok()).unwrap();
    let Err(Lost::Failed(error)) = stage.report.flush() else { panic!("/dev/full takes nothing") };
    assert!(format!("{error:#}").starts_with("write results file /dev/full: "), "{error:#}");
}

#[test]
fn a_file_that_cannot_be_opened_is_named_at_the_start() {
    let missing = Path::new("/nonexistent/list").to_owned();
    let (_reader, err) = pipe();
    let options = Options { failed_file: Some(missing), ..options() };
    let error = Report::on(None, err, Environment::default(), options, Instant::now()).unwrap_err();
    assert!(format!("{error:#}").starts_with("--failed: open failed file /nonexistent/list: "), "{error:#}");
}

#[test]
fn a_reader_of_results_that_goes_away_is_no_error_message() {
    for stream in [Stream::Stdout, Stream::Stderr] {
        let mut stage = stage(Options { results: Results::Json, stream, ..options() });
        (stage.stdout, stage.stderr) = (None, None);
        stage.report.settled(&fixture::ok()).unwrap();
        assert!(matches!(stage.report.flush(), Err(Lost::ReaderGone)), "{stream:?}");
    }
}

#[test]
fn standard_error_never_ends_or_blocks_anything() {
    for err in [full(), pipe().1] {
        let (stdout, out) = pipe();
        let stdout = Some(stdout);
        let mut records = 0;
        let options = Options { results: Results::Json, verbose: 1, progress: ProgressStyle::Bars, ..options() };
        let now = Instant::now();
        let mut report = Report::on(Some(out), err, of_size(80, 24), options, now).unwrap();
        for tick in 0..100 {
            report.settled(&fixture::failed()).unwrap();
            report.note("hello");
            report.draw(now + Duration::from_millis(tick * 100), &progress(&transfers(20, now)));
            report.flush().unwrap();
            records += read_all(&stdout).lines().count();
        }
        report.finish(now, Again::Anew);
        assert_eq!(records, 100);
    }
}

#[test]
fn what_nobody_reads_is_bounded() {
    // Remarks on standard error are dropped; not even the end waits for long.
    let mut stage = stage(Options { quiet: 1, ..options() });
    for tick in 0..10_000 {
        stage.report.settled(&fixture::failed()).unwrap();
        stage.report.draw(stage.start + Duration::from_millis(tick * 50), &progress(&[]));
        stage.report.flush().unwrap();
    }
    assert_eq!(stage.report.backlog(), 0);
    stage.report.finish(stage.start, Again::Anew);
    let text = stage.stderr();
    assert!(text.len() < 1 << 20, "{}", text.len());
    assert!(text.lines().count() > 100);
}

#[test]
fn results_wait_for_a_slow_reader_and_none_is_lost() {
    let mut stage = stage(Options { results: Results::Json, ..options() });
    for _ in 0..1000 {
        stage.report.settled(&fixture::ok()).unwrap();
    }
    stage.report.flush().unwrap();
    assert!(stage.report.backlog() > 0 && stage.report.stdout().is_some());
    let mut text = String::new();
    while stage.report.backlog() > 0 {
        text += &stage.stdout();
        stage.report.flush().unwrap();
    }
    text += &stage.stdout();
    assert_eq!(text.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 1000);
}

#[test]
fn without_a_terminal_a_line_every_ten_seconds_says_how_it_stands() {
    let mut stage = stage(Options { progress: ProgressStyle::Auto, ..options() });
    stage.settle(&[fixture::ok()]);
    for tick in 0..=250 {
        let now = stage.start + Duration::from_millis(tick * 100);
        assert!(stage.report.next_draw().unwrap() <= now + Duration::from_secs(10));
        stage.report.draw(now, &Progress { in_flight: 1, ..progress(&[]) });
        if tick == 99 {
            assert_eq!(stage.stderr(), "", "a short run is quiet");
        }
    }
    let text = stage.stderr();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.starts_with("fetchmany: 1 ok, 1 running, 97.66 KiB/s (mean 97.66 KiB/s), 5% of the list, ETA 3m10s\n"),
        "{text}"
    );
}

#[test]
fn draw_is_called_again_only_when_there_is_something_to_show() {
    let mut stage = stage(Options { progress: ProgressStyle::Off, ..options() });
    stage.settle(&[fixture::failed()]);
    assert_eq!(stage.report.next_draw(), None);
    stage = terminal(80, 24);
    let (start, tenth) = (stage.start, Duration::from_millis(100));
    assert_eq!(stage.report.next_draw(), Some(start + tenth));
    stage.report.draw(start + tenth, &progress(&transfers(1, start)));
    assert_eq!(stage.report.next_draw(), Some(start + 2 * tenth));
    stage.report.draw(start + 2 * tenth, &progress(&[]));
    assert_eq!(stage.report.next_draw(), Some(start + 12 * tenth), "nothing runs");
    stage.report.settled(&fixture::ok()).unwrap();
    assert_eq!(stage.report.next_draw(), Some(start + 3 * tenth), "a line waits");
    stage.report.finish(start + 3 * tenth, Again::Anew);
    assert_eq!(stage.report.next_draw(), None);
}

#[test]
fn a_daemon_that_waits_says_how_it_stands_once() {
    let mut stage = stage(Options { progress: ProgressStyle::Plain, ..options() });
    let mut turn = 0;
    let mut lines = |stage: &mut Stage, running: usize, turns: u32| {
        for _ in 0..turns {
            turn += 1;
            stage.report.draw(
                stage.start + PLAIN_INTERVAL * turn,
                &Progress { input_waits: true, ..progress(&transfers(running as u64, stage.start)) },
            );
        }
        stage.stderr().lines().count()
    };
    assert_eq!(lines(&mut stage, 0, 3), 1, "that it waits for input");
    assert_eq!(lines(&mut stage, 2, 3), 3, "something runs, be it that nothing moves");
    stage.settle(&[fixture::ok(), fixture::ok()]);
    assert_eq!(lines(&mut stage, 0, 5), 1, "what came of it, once");
}
