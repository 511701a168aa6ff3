//! How many failures standard error is told of: the first few of every second one by one, the rest as a number.
//! A list of a hundred thousand dead links must not drown what else is said there.
//!
//! Must not know how a failure is worded.

use std::time::{Duration, Instant};

/// Failures shown one by one in every second.
const SHOWN: u32 = 20;

const WINDOW: Duration = Duration::from_secs(1);

/// Counts failures in windows of a second.
#[derive(Debug)]
pub struct Failures {
    /// When the window began.
    since: Instant,
    shown: u32,
    hidden: u64,
}

impl Failures {
    /// None so far.
    pub fn new(now: Instant) -> Failures {
        Failures { since: now, shown: 0, hidden: 0 }
    }

    /// Counts one; whether it may be shown.
    pub fn admit(&mut self) -> bool {
        let admitted = self.shown < SHOWN;
        match admitted {
            true => self.shown += 1,
            false => self.hidden += 1,
        }
        admitted
    }

    /// When [`Failures::turn`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        (self.shown > 0).then(|| self.since + WINDOW)
    }

    /// Begins the next window when this one is over. Returns how many were not shown in it.
    pub fn turn(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) < WINDOW {
            return None;
        }
        self.since = now;
        self.shown = 0;
        self.rest()
    }

    /// How many were not shown and not told of yet, at the end.
    pub fn rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.hidden)).filter(|hidden| *hidden > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_a_second_and_every_failure_is_accounted_for() {
        let start = Instant::now();
        let mut failures = Failures::new(start);
        let (mut shown, mut told, mut lines) = (0, 0, 0);
        for tick in 0..100 {
            for _ in 0..1000 {
                shown += u64::from(failures.admit());
            }
            if let Some(hidden) = failures.turn(start + Duration::from_millis(tick * 100)) {
                told += hidden;
                lines += 1;
            }
        }
        if let Some(hidden) = failures.rest() {
            told += hidden;
            lines += 1;
        }
        assert_eq!(shown + told, 100_000);
        assert!(shown <= 10 * u64::from(SHOWN) && lines <= 10, "{shown} shown, {lines} lines");
        assert_eq!(failures.rest(), None);
    }

    #[test]
    fn a_quiet_run_wants_no_turns() {
        let start = Instant::now();
        let mut failures = Failures::new(start);
        assert_eq!((failures.due(), failures.turn(start + 5 * WINDOW)), (None, None));
        assert!(failures.admit());
        assert_eq!(failures.due(), Some(start + 6 * WINDOW));
        assert_eq!(failures.turn(start + 6 * WINDOW), None);
        assert_eq!(failures.due(), None);
    }
}
