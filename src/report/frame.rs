//! What the bars show: one line for the run, and below it some of the transfers. Text alone; pure.
//!
//! Must not know how lines get on a screen.

use std::fmt::Write;
use std::time::Instant;

use unicode_width::UnicodeWidthChar;

use super::meter::Meter;
use super::slots::Slots;
use super::tally::Tally;
use super::terminal::Size;
use super::units::{Bytes, Count, Rate, Time};
use super::{Active, Progress, escape};

/// Most transfers shown: more is a crowd that nobody reads.
const MOST_ROWS: usize = 8;

/// The part of the terminal's lines that transfers may take: above them there is to be room for what failed.
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

/// What the paused hosts are worth in the run's line. They are named where there is room for it.
const PAUSED: u32 = 5;

/// Stands for what was cut away.
const CUT: &str = "..";

/// A label with less room than this gets the columns of other cells.
const LEAST_LABEL: usize = 16;

/// One picture of the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// The run's line, narrower than the terminal and leaving room for the bar when there is one.
    pub total: String,
    /// Which part of the run is done, where a bar shall show it.
    pub bar: Option<f64>,
    /// A line per transfer, each narrower than the terminal.
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
        let rows = MOST_ROWS.min(usize::from(size.rows) / ROWS_PART);
        Some(Frame {
            total: total(progress, tally, meter, fraction, room),
            bar,
            rows: slots.place(progress.active, rows).into_iter().map(|active| row(active, now, columns)).collect(),
        })
    }
}

/// The run's line: as many of its parts, in order of what they are worth, as `room` columns hold.
fn total(progress: &Progress<'_>, tally: &Tally, meter: &Meter, fraction: Option<f64>, room: usize) -> String {
    let settled = tally.settled();
    let running = progress.running();
    let (done, running) = match progress.list_ended {
        _ if progress.stopping => (format!("stopping: {running}"), None),
        true => (format!("{}/{}", Count(settled), Count(progress.lines)), Some(running)),
        false => (format!("{} done", Count(settled)), Some(running)),
    };
    // In the order in which they are shown; the number says which are given up last.
    let mut parts = [
        (0, Some(done)),
        (2, fraction.map(|fraction| format!("{:.0}%", (fraction * 100.0).floor()))),
        (7, Some(format!("{} ok", Count(tally.ok)))),
        (1, Some(tally.failed()).filter(|failed| *failed > 0).map(|failed| format!("{} failed", Count(failed)))),
        (6, running),
        (PAUSED, None),
        (8, Some(progress.waiting).filter(|waiting| *waiting > 0).map(|n| format!("{} waiting", Count(n as u64)))),
        (9, Some(tally.skipped).filter(|skipped| *skipped > 0).map(|skipped| format!("{} skipped", Count(skipped)))),
        (3, meter.rate().map(|rate| Rate(rate).to_string())),
        (10, meter.mean().map(|mean| format!("mean {}", Rate(mean)))),
        (4, meter.eta().map(|eta| format!("ETA {}", Time(eta)))),
    ];
    let width = |(worth, text): &(u32, Option<String>)| {
        text.as_ref().map_or(0, |text| text.len() + 2) * usize::from(*worth < PAUSED)
    };
    let paused = progress.paused(room.saturating_sub(parts.iter().map(width).sum()));
    parts.iter_mut().filter(|(worth, _)| *worth == PAUSED).for_each(|(_, text)| text.clone_from(&paused));
    let mut worth: Vec<_> = parts.iter().filter_map(|(worth, text)| Some((*worth, text.as_ref()?.len()))).collect();
    worth.sort_unstable();
    let mut used = 0;
    let fitting = worth.iter().take_while(|(_, width)| {
        used += width + 2;
        used <= room + 2
    });
    let last = fitting.last().map_or(0, |(worth, _)| *worth);
    let mut line = String::new();
    for text in parts.iter().filter(|(worth, _)| *worth <= last).filter_map(|(_, text)| text.as_ref()) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(text);
    }
    fit(&line, room)
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
    line.push_str(&fit_label(&label, left));
    line
}

/// A URL in at most `columns` columns: without its scheme where it is long, cut in its middle where it is longer, for a host
/// tells little and the name at its end much.
fn fit_label(label: &str, columns: usize) -> String {
    let short = label.split_once("://").map_or(label, |(_, rest)| rest);
    if let Some(whole) = [label, short].into_iter().find(|text| fit(text, columns) == *text) {
        return whole.to_owned();
    }
    let label = short;
    let tail = columns * 2 / 3;
    let start = label.char_indices().rev().scan((0, 0), |(width, count), (at, c)| {
        (*width, *count) = (*width + c.width().unwrap_or(0), *count + 1);
        (*width <= tail && *count <= 2 * tail).then_some(at)
    });
    let start = start.last().unwrap_or(label.len());
    let head = fit(label, columns - tail);
    // Of marks without width both may be the same piece.
    match head.strip_suffix(CUT).filter(|head| head.len() <= start) {
        Some(_) => head + &label[start..],
        None => fit(label, columns),
    }
}

/// `text` in at most `columns` columns, cut at the end. Marks that take no column of their own are bounded too.
fn fit(text: &str, columns: usize) -> String {
    let mut end = 0;
    let mut width = 0;
    for (count, (at, c)) in text.char_indices().enumerate() {
        let next = width + c.width().unwrap_or(0);
        if next > columns || count >= 4 * columns {
            let mut cut = text[..end].to_owned();
            cut.push_str(&CUT[..columns.min(CUT.len())]);
            return cut;
        }
        width = next;
        if width + CUT.len() <= columns {
            end = at + c.len_utf8();
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::text::is_hostile;
    use std::time::Duration;
    use unicode_width::UnicodeWidthStr;

    fn active(urlnum: u64, label: &str, started: Instant) -> Active<'_> {
        Active { urlnum, label, received: 512, expected: Some(1024), started }
    }

    fn progress<'a>(active: &'a [Active<'a>]) -> Progress<'a> {
        Progress {
            in_flight: 60,
            limit: None,
            waiting: 200,
            pauses: None,
            received: 0,
            list_bytes: 0,
            list_total: None,
            lines: 10_000,
            list_ended: true,
            stopping: false,
            active,
        }
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
        let mut meter = Meter::new(now);
        meter.sample(now + Duration::from_secs(10), 129_000_000, Some(0.1239));
        let (slots, now) = (&mut Slots::default(), now + Duration::from_secs(10));
        Frame::compose(&progress(active), &tally(), &meter, slots, now, Size { columns, rows })
    }

    #[test]
    fn the_less_room_the_fewer_numbers() {
        let table = [
            (
                200,
                "1,239/10,000  12%  1,234 ok  5 failed  60 running  200 waiting  12.30 MiB/s  mean 12.30 MiB/s  ETA 1m10s",
            ),
            (80, "1,239/10,000  12%  5 failed  60 running  12.30 MiB/s  ETA 1m10s"),
            (60, "1,239/10,000  12%  5 failed  12.30 MiB/s  ETA 1m10s"),
            (40, "1,239/10,000  12%  5 failed"),
            (16, "1,239/10,000"),
            (11, "1,239/10.."),
        ];
        for (columns, expected) in table {
            assert_eq!(compose(&[], Instant::now(), columns, 24).unwrap().total, expected, "{columns}");
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
        for (rows, shown) in [(24, 8), (16, 8), (10, 5), (3, 1), (2, 1), (1, 0)] {
            let frame = compose(&many, now, 80, rows).unwrap();
            let labels: Vec<_> = frame.rows.iter().map(|row| row.rsplit("  ").next().unwrap().to_owned()).collect();
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
                let row = &frame.rows[0];
                assert!(row.width() < usize::from(columns), "{columns}: {row:?}");
                assert!(row.chars().count() <= 4 * usize::from(columns) + 2);
                assert!(!row.chars().any(is_hostile), "{row:?}");
            }
        }
    }

    #[test]
    fn a_text_that_does_not_fit_is_cut_between_characters() {
        let table = [("abc", 3, "abc"), ("abcd", 3, "a.."), ("日本語", 6, "日本語"), ("日本語", 5, "日..")];
        for (text, columns, expected) in table {
            assert_eq!(fit(text, columns), expected);
        }
        for columns in 0..3 {
            assert!(fit("日本語", columns).width() <= columns);
        }
    }

    #[test]
    fn a_long_url_keeps_its_host_and_its_name() {
        let url = "https://example.org/some/where/deep/below/data-00017.tar.gz";
        for (columns, expected) in [
            (59, url),
            (58, "example.org/some/where/deep/below/data-00017.tar.gz"),
            (51, "example.org/some/where/deep/below/data-00017.tar.gz"),
            (42, "example.org/..deep/below/data-00017.tar.gz"),
            (24, "exampl..ata-00017.tar.gz"),
            (3, "e.."),
            (0, ""),
        ] {
            let label = fit_label(url, columns);
            assert!(label.width() <= columns, "{label}");
            assert_eq!(label, expected, "{columns}");
        }
    }

    #[test]
    fn a_row_shows_how_far_it_is() {
        let now = Instant::now();
        let frame = compose(&[active(0, "a", now)], now, 80, 24).unwrap();
        assert_eq!(frame.rows, [" 50%        512 B   10.0s  a"]);
        let endless = Active { expected: None, ..active(0, "a", now) };
        assert_eq!(compose(&[endless], now, 80, 24).unwrap().rows, ["   -        512 B   10.0s  a"]);
    }
}
