//! What the bars show: a line or two for the run, one for what is paused, and below them some of the transfers. Text alone; pure.
//!
//! Must not know how lines get on a screen.

use std::fmt::Write;
use std::time::Instant;

use super::meter::Meter;
use super::slots::Slots;
use super::tally::Tally;
use super::terminal::Size;
use super::units::{Bytes, Count, Left, Rate, Time};
use super::{Active, Progress, escape, fit};

/// The part of the terminal's lines that is drawn in, besides the first: above it there is to be room for what failed.
const ROWS_PART: usize = 2;

/// A narrower terminal gets no bars at all.
const LEAST_COLUMNS: usize = 10;

/// A bar shorter than this shows nothing; with its brackets and a blank it costs three columns more.
const LEAST_BAR: usize = 12;
const BAR_FRAME: usize = 3;

/// Terminals below this width need all of it for numbers.
const COLUMNS_FOR_A_BAR: usize = 60;

/// The columns of a row before its label, as wide as they get: percent, bytes, time.
const PERCENT: usize = 4;
const BYTES: usize = 11;
const TIME: usize = 6;

/// From this width on everything about the run is one line; a narrower terminal of at least so many lines has two.
const COLUMNS_FOR_ALL: usize = 120;
const ROWS_FOR_TWO: u16 = 8;

/// A label with less room than this gets the columns of other cells.
const LEAST_LABEL: usize = 16;

/// One picture of the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// The run's line, narrower than the terminal and leaving room for the bar when there is one.
    pub total: String,
    /// Which part of the run is done, where a bar shall show it.
    pub bar: Option<f64>,
    /// The lines below it, each narrower than the terminal: how fast it goes, what is paused, and some of the transfers.
    pub rows: Vec<String>,
}

impl Frame {
    /// The picture for a terminal of `size`; `None` when that is too small for one.
    pub fn compose(
        progress: &Progress<'_>,
        tally: &Tally,
        meter: &Meter,
        slots: &mut Slots,
        now: Instant,
        size: Size,
    ) -> Option<Frame> {
        // The last column stays free: a terminal is in two minds about where the cursor is after writing there.
        let columns = usize::from(size.columns).saturating_sub(1);
        if columns < LEAST_COLUMNS || size.rows == 0 {
            return None;
        }
        let fraction = progress.fraction(tally);
        let bar = fraction.filter(|_| columns >= COLUMNS_FOR_A_BAR);
        let room = columns - bar.map_or(0, |_| LEAST_BAR + BAR_FRAME);
        let (counts, pace) = (counts(progress, tally, fraction), pace(progress, meter));
        let mut rows = Vec::new();
        let total = if columns >= COLUMNS_FOR_ALL || size.rows < ROWS_FOR_TWO {
            join(&[counts, pace].concat(), room)
        } else {
            rows.push(join(&pace, columns));
            join(&counts, room)
        };
        rows.extend(progress.paused(columns));
        rows.retain(|row| !row.is_empty());
        let most = usize::from(size.rows) / ROWS_PART;
        rows.truncate(most);
        let placed = slots.place(progress.active, most - rows.len());
        rows.extend(placed.into_iter().map(|active| row(active, now, columns)));
        Some(Frame { total, bar, rows })
    }
}

/// What there is to say and how much it is worth: the parts with the highest numbers are given up first.
type Part = (u32, Option<String>);

/// How much of the run is done, and how it went.
fn counts(progress: &Progress<'_>, tally: &Tally, fraction: Option<f64>) -> Vec<Part> {
    let settled = tally.settled();
    let running = progress.running();
    let (done, running) = match progress.list_ended {
        _ if progress.stopping => (format!("stopping: {running}"), None),
        true => (format!("{}/{}", Count(settled), Count(progress.lines)), Some(running)),
        false => (format!("{} done", Count(settled)), Some(running)),
    };
    let told = |count: u64, what| (count > 0).then(|| format!("{} {what}", Count(count)));
    vec![
        (0, Some(done)),
        (2, fraction.map(|fraction| format!("{:.0}%", (fraction * 100.0).floor()))),
        (5, Some(format!("{} ok", Count(tally.ok)))),
        (1, told(tally.failed(), "failed")),
        (6, running),
        (7, told(progress.waiting as u64, "waiting")),
        (8, told(tally.skipped, "skipped")),
    ]
}

/// How fast it goes.
fn pace(progress: &Progress<'_>, meter: &Meter) -> Vec<Part> {
    vec![
        (3, meter.rate().map(|rate| Rate(rate).to_string())),
        (9, meter.mean().map(|mean| format!("mean {}", Rate(mean)))),
        (4, progress.eta(meter).map(|eta| format!("ETA {}", Left(eta)))),
    ]
}

/// As many of the parts, in their order, as `room` columns hold.
fn join(parts: &[Part], room: usize) -> String {
    let mut worth: Vec<_> = parts.iter().filter_map(|(worth, text)| Some((*worth, text.as_ref()?.len()))).collect();
    worth.sort_unstable();
    let mut used = 0;
    let fitting = worth.iter().take_while(|(_, width)| {
        used += width + 2;
        used <= room + 2
    });
    let Some((last, _)) = fitting.last().or(worth.first()) else { return String::new() };
    let shown: Vec<_> =
        parts.iter().filter(|(worth, _)| worth <= last).filter_map(|(_, text)| text.as_deref()).collect();
    fit::end(&shown.join("  "), room)
}

fn row(active: &Active<'_>, now: Instant, columns: usize) -> String {
    let mut line = String::new();
    let mut left = columns;
    // Writing to a String does not fail.
    if left >= LEAST_LABEL + PERCENT + 2 {
        let _ = match active.part() {
            Some(part) => write!(line, "{:>PERCENT$}  ", format!("{:.0}%", (part * 100.0).floor())),
            None => write!(line, "{:>PERCENT$}  ", '-'),
        };
        left -= PERCENT + 2;
    }
    if left >= LEAST_LABEL + BYTES + 2 {
        let _ = write!(line, "{:>BYTES$}  ", Bytes(active.received).to_string());
        left -= BYTES + 2;
    }
    if left >= LEAST_LABEL + TIME + 2 {
        let _ = write!(line, "{:>TIME$}  ", Time(now.saturating_duration_since(active.started)));
        left -= TIME + 2;
    }
    let mut label = String::new();
    escape::push_str(&mut label, active.label);
    line.push_str(&fit::url(&label, left));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Host;
    use crate::report::{Pauses, fixture};
    use crate::text::is_hostile;
    use std::time::Duration;
    use unicode_width::UnicodeWidthStr;

    fn active(urlnum: u64, label: &str, started: Instant) -> Active<'_> {
        Active { urlnum, label, received: 512, expected: Some(1024), started }
    }

    fn progress<'a>(active: &'a [Active<'a>]) -> Progress<'a> {
        Progress { in_flight: 60, waiting: 200, lines: 10_000, list_ended: true, active, ..Progress::default() }
    }

    fn tally() -> Tally {
        let mut tally = Tally::default();
        for _ in 0..1234 {
            tally.count(&fixture::ok());
        }
        for _ in 0..5 {
            tally.count(&fixture::failed());
        }
        tally
    }

    fn compose(active: &[Active<'_>], now: Instant, columns: u16, rows: u16) -> Option<Frame> {
        let (meter, slots, now) = (sampled(now), &mut Slots::default(), now + Duration::from_secs(10));
        Frame::compose(&progress(active), &tally(), &meter, slots, now, Size { columns, rows })
    }

    /// After ten seconds of even work.
    fn sampled(now: Instant) -> Meter {
        let mut meter = Meter::new(now);
        meter.sample(now + Duration::from_secs(10), 129_000_000, Some(0.1239));
        meter
    }

    #[test]
    fn the_less_room_the_fewer_numbers() {
        let table = [
            (
                200,
                24,
                "1,239/10,000  12%  1,234 ok  5 failed  60 running  200 waiting  12.30 MiB/s  mean 12.30 MiB/s  ETA 1m11s",
                None,
            ),
            (
                80,
                24,
                "1,239/10,000  12%  1,234 ok  5 failed  60 running  200 waiting",
                Some("12.30 MiB/s  mean 12.30 MiB/s  ETA 1m11s"),
            ),
            (80, 7, "1,239/10,000  12%  1,234 ok  5 failed  12.30 MiB/s  ETA 1m11s", None),
            (
                60,
                24,
                "1,239/10,000  12%  1,234 ok  5 failed  60 running",
                Some("12.30 MiB/s  mean 12.30 MiB/s  ETA 1m11s"),
            ),
            (40, 10, "1,239/10,000  12%  1,234 ok  5 failed", Some("12.30 MiB/s  ETA 1m11s")),
            (16, 10, "1,239/10,000", Some("12.30 MiB/s")),
            (11, 10, "1,239/10..", Some("12.30 Mi..")),
        ];
        for (columns, rows, total, below) in table {
            let frame = compose(&[], Instant::now(), columns, rows).unwrap();
            assert_eq!((frame.total.as_str(), frame.rows.first().map(String::as_str)), (total, below), "{columns}");
        }
    }

    #[test]
    fn what_is_paused_has_a_line_of_its_own_and_takes_nothing_from_the_others() {
        let now = Instant::now();
        let host = Host { tls: true, name: "api.example.com".into(), port: 8080 };
        let (first, last) = (Duration::from_millis(23_100), Duration::from_secs(60));
        let pauses = Some(Pauses { hosts: 3, host: &host, status: Some(429), first, last });
        let labels: Vec<_> = (0..50).map(|n| format!("file-{n}")).collect();
        let many: Vec<_> = (0..50).map(|n| active(n, &labels[n as usize], now)).collect();
        for (columns, rows, before, lines) in [(200, 50, 0, 25), (80, 24, 1, 12), (40, 10, 1, 5), (80, 5, 0, 2)] {
            let size = Size { columns, rows };
            let paused = Progress { pauses, ..progress(&many) };
            let (meter, slots) = (sampled(now), &mut Slots::default());
            let frame = Frame::compose(&paused, &tally(), &meter, slots, now, size).unwrap();
            let without = Frame::compose(&progress(&many), &tally(), &meter, slots, now, size).unwrap();
            let paused = match columns {
                40 => "paused: api...le.com:8080 (429) 24s, +2",
                _ => "paused: api.example.com:8080 (429) 24s, and 2 more",
            };
            assert_eq!(frame.rows[before], paused, "{columns}");
            assert_eq!(frame.total, without.total, "{columns}");
            assert_eq!((frame.rows.len(), without.rows.len()), (lines, lines), "{columns}");
        }
    }

    #[test]
    fn a_run_that_is_being_stopped_tells_what_it_waits_for() {
        let now = Instant::now();
        let stopping = Progress { stopping: true, ..progress(&[]) };
        let (meter, size) = (Meter::new(now), Size { columns: 80, rows: 24 });
        let frame = Frame::compose(&stopping, &tally(), &meter, &mut Slots::default(), now, size).unwrap();
        assert_eq!((frame.total.as_str(), frame.bar), ("stopping: 60 running  1,234 ok  5 failed  200 waiting", None));
    }

    #[test]
    fn too_small_a_terminal_has_no_frame() {
        for (columns, rows) in [(0, 0), (1, 1), (10, 24), (80, 0)] {
            assert_eq!(compose(&[], Instant::now(), columns, rows), None, "{columns}x{rows}");
        }
    }

    #[test]
    fn the_longest_running_transfers_are_shown_in_the_order_in_which_they_started() {
        let now = Instant::now();
        let names: Vec<_> = (0..1000).map(|n| format!("file-{n}")).collect();
        let start = |n| now + Duration::from_millis(n / 3);
        let many: Vec<_> = (0..1000).rev().map(|n| active(n, &names[n as usize], start(n))).collect();
        for (rows, shown) in [(100, 49), (24, 11), (16, 7), (10, 4), (3, 1), (2, 1), (1, 0)] {
            let frame = compose(&many, now, 80, rows).unwrap();
            let named = frame.rows.iter().filter(|row| row.contains("file-"));
            let labels: Vec<_> = named.map(|row| row.rsplit("  ").next().unwrap().to_owned()).collect();
            let expected: Vec<_> = (0..shown).map(|n| format!("file-{n}")).collect();
            assert_eq!(labels, expected, "{rows} rows");
        }
    }

    #[test]
    fn hostile_and_long_labels_are_escaped_and_cut_to_the_width() {
        let now = Instant::now();
        let labels = [
            "\x1b[2J\r\nevil".to_owned(),
            "日本語".repeat(1000),
            "e\u{301}\u{302}\u{303}".repeat(10_000),
            "\u{301}".repeat(10_000),
            "x".repeat(65536),
            String::new(),
        ];
        for columns in [11, 12, 20, 24, 40, 80, 200, 65535] {
            for label in &labels {
                let frame = compose(&[active(0, label, now)], now, columns, 24).unwrap();
                let row = frame.rows.last().unwrap();
                assert!(row.width() < usize::from(columns), "{columns}: {row:?}");
                assert!(row.chars().count() <= 4 * usize::from(columns) + 2);
                assert!(!row.chars().any(is_hostile), "{row:?}");
            }
        }
    }

    #[test]
    fn a_row_shows_how_far_it_is() {
        let now = Instant::now();
        let frame = compose(&[active(0, "a", now)], now, 80, 24).unwrap();
        assert_eq!(frame.rows[1..], [" 50%        512 B   10.0s  a"]);
        let endless = Active { expected: None, ..active(0, "a", now) };
        assert_eq!(compose(&[endless], now, 80, 24).unwrap().rows[1..], ["   -        512 B   10.0s  a"]);
    }
}
