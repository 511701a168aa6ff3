//! What a person sees, read back through a terminal emulator.

use super::*;

/// What the emulator shows, without blank lines at the end.
fn screen(emulator: &vt100::Parser) -> Vec<String> {
    let mut lines: Vec<String> = emulator.screen().contents().lines().map(|line| line.trim_end().into()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Feeds what was written since, as a terminal driver would: a line end returns the carriage.
fn feed(emulator: &mut vt100::Parser, stage: &Stage) {
    emulator.process(stage.stdout().replace('\n', "\r\n").as_bytes());
}

#[test]
fn bars_stay_below_the_lines_and_are_gone_at_the_end() {
    // Columns, rows; lines of bars, and how many of them are about the run.
    for (columns, rows, bars, about) in [(80, 24, 13, 2), (40, 10, 6, 2), (40, 5, 3, 1), (200, 50, 21, 1)] {
        let mut stage = terminal(columns, rows);
        let mut emulator = vt100::Parser::new(rows, columns, 0);
        let mut now = stage.start;
        for turn in 0..50 {
            now += DRAW_INTERVAL;
            if turn >= 10 {
                stage.settle(&[fixture::skipped(), fixture::failed()]);
            }
            stage.report.draw(now, &progress(&transfers(20, stage.start)));
            feed(&mut emulator, &stage);
            let shown = screen(&emulator);
            let what = format!("{columns}x{rows}, turn {turn}: {shown:#?}");
            let (above, below) = shown.split_at(shown.len() - bars);
            assert!(below[0].contains(" done"), "{what}");
            // There is no rate at the first moment.
            let first = about - usize::from(about > 1 && !below[1].contains("/s  "));
            for (row, line) in below[first..].iter().enumerate() {
                assert!(line.contains(&format!("file-{row}")), "{what}");
            }
            let is_bar = |line: &String| line.contains("file-") || line.contains(" done");
            assert!(!above.iter().any(is_bar), "{what}");
            assert_eq!(above.is_empty(), turn < 10, "{what}");
        }
        stage.report.finish(now, Again::Anew);
        stage.report.flush().unwrap();
        feed(&mut emulator, &stage);
        // Joined, because a narrow terminal wraps.
        let shown = screen(&emulator).concat();
        assert!(!shown.contains("file-0") && !shown.contains(" done"), "{shown}");
        assert!(shown.ends_with("40 failed: run again with --failed FILE to keep their lines as a list"), "{shown}");
    }
}

#[test]
fn a_terminal_too_small_for_bars_gets_the_lines_alone() {
    for (columns, rows) in [(1, 1), (1, 50), (9, 24)] {
        let mut stage = terminal(columns, rows);
        for turn in 1..50 {
            stage.settle(&[fixture::failed()]);
            let now = stage.start + turn * DRAW_INTERVAL;
            stage.report.draw(now, &progress(&transfers(20, stage.start)));
        }
        stage.report.finish(stage.start, Again::Anew);
        stage.report.flush().unwrap();
        let text = stage.stdout();
        assert_eq!(text.lines().filter(|line| line.starts_with("failed ")).count(), 49);
        assert!(!text.contains('\x1b'), "{text}");
    }
}

#[test]
fn the_bar_grows_with_the_part_that_is_done() {
    let mut stage = terminal(80, 24);
    let mut emulator = vt100::Parser::new(24, 80, 0);
    let run = Progress { list_ended: true, lines: 4, ..progress(&[]) };
    for (turn, done, filled) in [(1, 0, ""), (20, 2, "======="), (40, 2, "===============")] {
        stage.settle(&vec![fixture::ok(); done]);
        stage.report.draw(stage.start + turn * DRAW_INTERVAL, &run);
        feed(&mut emulator, &stage);
        let shown = screen(&emulator);
        let line = &shown[shown.len() - 1 - usize::from(turn > 1)];
        let bar = line[1..line.find(']').unwrap()].trim_end_matches([' ', '>']);
        assert!(bar.starts_with(filled) && bar.is_empty() == (done == 0), "{line}");
        assert!(line.len() <= 79 && line.contains("/4  "), "{line}");
    }
    let shown = screen(&emulator);
    let [total, pace] = &shown[shown.len() - 2..] else { panic!("{shown:#?}") };
    assert!(total.contains("4/4  100%  4 ok") && pace.contains("/s  ETA 0s"), "{shown:#?}");
}

#[test]
fn a_window_may_change_its_size_at_any_time() {
    let mut stage = terminal(80, 24);
    let mut now = stage.start;
    for (columns, rows) in [(80, 24), (0, 0), (1, 1), (2, 2), (20, 2), (u16::MAX, u16::MAX), (11, 1), (80, 24)] {
        stage.report.environment = of_size(columns, rows);
        now += IDLE_INTERVAL;
        stage.settle(&[fixture::ok()]);
        stage.report.draw(now, &progress(&transfers(3, now)));
        assert!(stage.stdout().len() < 3 * 65536, "a wide terminal is not sent blanks");
    }
}
