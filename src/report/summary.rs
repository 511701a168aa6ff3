//! Sentences about the whole run: the status line of a run without bars, and the summary at its end.
//!
//! Must not know where they are printed.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::meter::Meter;
use super::tally::Tally;
use super::units::{Bytes, Count, Left, Rate, Time};
use super::{Progress, escape};
use crate::job::{ErrorClass, WOULD_BE_FETCHED};

/// Bytes that paused hosts get in a line, names of usual length included.
const PAUSED: usize = 80;

/// How it stands: `1,239/4,000: 1,234 ok, 5 failed, 60 running, 12.30 MiB/s, 34% of the list, ETA 1m20s`.
pub fn status(progress: &Progress<'_>, tally: &Tally, meter: &Meter) -> String {
    let mut text = match progress.list_ended {
        true => format!("{}/{}: {} ok", Count(tally.settled()), Count(progress.lines), Count(tally.ok)),
        false => format!("{} ok", Count(tally.ok)),
    };
    // Writing to a String does not fail.
    for (count, what) in [(tally.failed(), "failed"), (tally.skipped, "skipped")] {
        if count > 0 {
            let _ = write!(text, ", {} {what}", Count(count));
        }
    }
    let _ = write!(text, ", {}", progress.running());
    if let Some(paused) = progress.paused(PAUSED) {
        let _ = write!(text, ", {paused}");
    }
    if progress.waiting > 0 {
        let _ = write!(text, ", {} waiting", Count(progress.waiting as u64));
    }
    if let Some(rate) = meter.rate() {
        let _ = write!(text, ", {}", Rate(rate));
    }
    if let Some(mean) = meter.mean() {
        let _ = write!(text, " (mean {})", Rate(mean));
    }
    if let Some(fraction) = progress.fraction(tally) {
        let _ = write!(text, ", {:.0}% of the list", (fraction * 100.0).floor());
    }
    if let Some(eta) = progress.eta(meter) {
        let _ = write!(text, ", ETA {}", Left(eta));
    }
    text
}

/// What came of it: `1,234 ok, 3 failed (2 http, 1 dns), 5 skipped; 12.34 MiB in 1m20s, 157.95 KiB/s`. Or what would
/// come of it, where nothing took any time: `dry run: 1,234 would be fetched, 3 failed (3 input), 5 skipped`.
pub fn outcome(tally: &Tally, elapsed: Option<Duration>) -> String {
    let mut text = match elapsed {
        Some(_) => format!("{} ok", Count(tally.ok)),
        None => format!("dry run: {} {WOULD_BE_FETCHED}", Count(tally.planned)),
    };
    if tally.failed() > 0 {
        let classes: Vec<_> =
            tally.failures().map(|(class, count)| format!("{} {}", Count(count), class.as_str())).collect();
        let _ = write!(text, ", {} failed ({})", Count(tally.failed()), classes.join(", "));
    }
    if tally.skipped > 0 {
        let _ = write!(text, ", {} skipped", Count(tally.skipped));
    }
    if tally.failed_before > 0 {
        let _ = write!(text, " ({} failed in an earlier run)", Count(tally.failed_before));
    }
    if tally.cancelled > 0 {
        let _ = write!(text, ", {} cancelled", Count(tally.cancelled));
    }
    let Some(elapsed) = elapsed else { return text };
    let _ = write!(text, "; {} in {}", Bytes(tally.bytes), Time(elapsed));
    if !elapsed.is_zero() {
        let _ = write!(text, ", {}", Rate(tally.bytes as f64 / elapsed.as_secs_f64()));
    }
    text
}

/// What the same command does when it is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Goes on, for there is a journal: what is known to fail is tried with `--retry-failed` alone.
    Journal,
    /// Goes on: files that are there are not fetched again.
    Files,
    /// The same work again, or what it is fed then.
    Anew,
    /// What it did now, which was nothing: a dry run.
    Nothing,
}

/// What to do about the URLs that are not done; `None` when all are, and where another run would not help.
pub fn hint(tally: &Tally, failed_file: Option<&Path>, again: Again) -> Option<String> {
    let counts =
        [(tally.failed(), "failed"), (tally.cancelled, "cancelled"), (tally.failed_before, "failed in an earlier run")];
    let undone = counts.iter().filter(|(count, _)| *count > 0);
    let undone: Vec<_> = undone.map(|(count, what)| format!("{} {what}", Count(*count))).collect();
    let name = failed_file.map(|path| {
        let mut name = String::new();
        escape::push_bytes(&mut name, path.as_os_str().as_bytes());
        name
    });
    let is_new = tally.failed() + tally.cancelled > 0;
    let bad = tally.failures().find(|(class, _)| *class == ErrorClass::Input).map_or(0, |(_, count)| count);
    let is_hopeless = undone.len() == 1 && bad > 0 && bad == tally.failed();
    let mut advice: Vec<String> = name.iter().filter(|_| is_new).map(|name| format!("see {name}")).collect();
    match again {
        Again::Nothing => return None,
        _ if is_hopeless && advice.is_empty() => return None,
        _ if is_hopeless => advice.push("correct the lines before they are tried again".to_owned()),
        Again::Journal if tally.failed() + tally.failed_before == 0 => {
            advice.push("the same command goes on".to_owned())
        }
        Again::Journal if is_new => {
            advice.push("the same command goes on, and with --retry-failed tries again all that failed".to_owned());
        }
        Again::Journal => advice.push("--retry-failed tries them again".to_owned()),
        Again::Files if tally.cancelled > 0 => advice.push("the same command goes on".to_owned()),
        // The file cannot be read and emptied at once.
        _ => advice.push(name.map_or_else(
            || "run again with --failed FILE to keep their lines as a list".to_owned(),
            |name| format!("run again with {name} as INPUT and another --failed FILE"),
        )),
    }
    (!undone.is_empty()).then(|| format!("{}: {}", undone.join(", "), advice.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FAILED_BEFORE, Failure, Outcome, Settled};
    use crate::report::fixture;
    use std::time::Instant;

    fn tally() -> Tally {
        let mut tally = Tally::default();
        for settled in [fixture::ok(), fixture::failed(), fixture::hostile(), fixture::skipped(), fixture::cancelled()]
        {
            tally.count(&settled);
        }
        tally
    }

    #[test]
    fn the_summary_counts_everything_that_happened_and_nothing_else() {
        let time = Duration::from_millis(1_500);
        assert_eq!(
            outcome(&tally(), Some(time)),
            "1 ok, 2 failed (1 http, 1 protocol), 1 skipped, 1 cancelled; 12.30 MiB in 1.50s, 8.20 MiB/s"
        );
        assert_eq!(outcome(&Tally::default(), Some(Duration::ZERO)), "0 ok; 0 B in 0.00s");
        let mut again = Tally::default();
        for outcome in [Outcome::Skipped(FAILED_BEFORE.into()), Outcome::Skipped("exists".into())] {
            again.count(&Settled { outcome, ..fixture::skipped() });
        }
        assert_eq!(outcome(&again, Some(Duration::ZERO)), "0 ok, 2 skipped (1 failed in an earlier run); 0 B in 0.00s");
        let mut dry = Tally::default();
        for reason in [WOULD_BE_FETCHED, WOULD_BE_FETCHED, "exists"] {
            dry.count(&Settled { outcome: Outcome::Skipped(reason.into()), ..fixture::skipped() });
        }
        assert_eq!(outcome(&dry, None), "dry run: 2 would be fetched, 1 skipped");
        assert_eq!(dry.settled(), 3);
    }

    #[test]
    fn failures_are_pointed_to() {
        let counted = |all: &[Settled]| {
            let mut tally = Tally::default();
            all.iter().for_each(|settled| tally.count(settled));
            tally
        };
        let before = Settled { outcome: Outcome::Skipped(FAILED_BEFORE.into()), ..fixture::skipped() };
        let failed = counted(&[fixture::ok(), fixture::failed()]);
        let stopped = counted(&[fixture::failed(), fixture::cancelled()]);
        let file = Some(Path::new("failed\x1b.txt"));
        let with_file = "see failed\\x1b.txt; run again with failed\\x1b.txt as INPUT and another --failed FILE";
        let list = "run again with --failed FILE to keep their lines as a list";
        let journal = "the same command goes on, and with --retry-failed tries again all that failed";
        for (tally, file, again, expected) in [
            (&failed, file, Again::Files, format!("1 failed: {with_file}")),
            (&failed, None, Again::Files, format!("1 failed: {list}")),
            (&failed, None, Again::Journal, format!("1 failed: {journal}")),
            (&stopped, file, Again::Anew, format!("1 failed, 1 cancelled: {with_file}")),
            (&stopped, None, Again::Files, "1 failed, 1 cancelled: the same command goes on".to_owned()),
            (&stopped, None, Again::Journal, format!("1 failed, 1 cancelled: {journal}")),
            (
                &counted(&[fixture::cancelled()]),
                None,
                Again::Journal,
                "1 cancelled: the same command goes on".to_owned(),
            ),
            (
                &counted(&[before]),
                file,
                Again::Journal,
                "1 failed in an earlier run: --retry-failed tries them again".to_owned(),
            ),
        ] {
            assert_eq!(hint(tally, file, again).unwrap(), expected);
        }
        let mut bad = Tally::default();
        let refused = Outcome::Failed(Failure::input("no scheme"));
        bad.count(&Settled { outcome: refused, ..fixture::failed() });
        let corrected = "1 failed: see failed\\x1b.txt; correct the lines before they are tried again";
        for again in [Again::Journal, Again::Files, Again::Anew] {
            assert_eq!(hint(&Tally::default(), None, again), None);
            assert_eq!(hint(&bad, None, again), None);
            assert_eq!(hint(&bad, file, again).as_deref(), Some(corrected));
        }
        assert_eq!(hint(&stopped, file, Again::Nothing), None);
    }

    #[test]
    fn the_status_line_tells_what_is_known() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        let mut progress = Progress { in_flight: 60, waiting: 3, lines: 50, ..Progress::default() };
        assert_eq!(status(&progress, &tally(), &meter), "1 ok, 2 failed, 1 skipped, 60 running, 3 waiting");
        progress.list_ended = true;
        meter.sample(now + Duration::from_secs(10), 129_000_000, Some(0.1));
        assert_eq!(
            status(&progress, &tally(), &meter),
            "5/50: 1 ok, 2 failed, 1 skipped, 60 running, 3 waiting, 12.30 MiB/s (mean 12.30 MiB/s), 10% of the list, ETA 1m30s"
        );
        let idle = Progress { input_waits: true, ..Progress::default() };
        let told = status(&idle, &Tally::default(), &Meter::new(now));
        assert_eq!(told, "0 ok, waiting for input");
    }
}
