//! A host that limits its rate and answers fast: the time between two starts that it bears, found by trying.
//!
//! Neither a pause nor a slow start helps there: one success allows two transfers, the second is refused, and every
//! pause buys one URL. So when pauses follow each other closely and nothing in flight was served, starts are spaced
//! out, twice as far each time; and drawn together again while all goes well, more seldom each time that was wrong.

use std::time::{Duration, Instant};

/// The first space between starts.
const FIRST: Duration = Duration::from_millis(10);
/// The longest. Hosts that want less name a time.
const LONGEST: Duration = Duration::from_secs(60);
/// Successes after which starts are drawn together; a pause that comes sooner followed the last one closely.
const GOOD: u32 = 32;
/// Most times [`GOOD`] successes before starts are drawn together.
const PATIENCE: u32 = 64;

/// The space between the starts of one host.
#[derive(Debug)]
pub struct Pace {
    gap: Duration,
    next: Option<Instant>,
    /// Successes since the last pause, or since the gap was changed.
    run: u32,
    /// Whether there was a pause at all.
    was_paused: bool,
    patience: u32,
    /// The gap when the host last refused.
    refused: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { gap: Duration::ZERO, next: None, run: 0, was_paused: false, patience: 1, refused: Duration::ZERO }
    }
}

impl Pace {
    /// The host is paused. `is_rate`: when it was paused before, it served nothing of what was in flight.
    pub fn paused(&mut self, is_rate: bool) {
        if is_rate && self.was_paused && self.run < GOOD {
            (self.gap, self.patience) = ((self.gap * 2).clamp(FIRST, LONGEST), 1);
        } else if !self.gap.is_zero() {
            self.patience = (self.patience * 2).min(PATIENCE);
            self.refused = self.gap;
            self.gap = (self.gap * 5 / 4).min(LONGEST);
        }
        (self.run, self.was_paused) = (0, true);
    }

    /// A transfer that began after the last pause was served.
    pub fn served(&mut self) {
        self.run = self.run.saturating_add(1);
        if self.gap.is_zero() || self.run < GOOD.saturating_mul(self.patience) {
            return;
        }
        self.run = GOOD;
        self.gap = self.gap * 4 / 5;
        if self.gap * 2 < self.refused {
            // The limit has moved.
            self.patience = 1;
        }
        if self.gap < FIRST / 4 {
            self.gap = Duration::ZERO;
        }
    }

    /// A transfer starts.
    pub fn started(&mut self, now: Instant) {
        self.next = (!self.gap.is_zero()).then(|| now + self.gap);
    }

    /// When the next one may.
    pub fn ready_at(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(pace: &mut Pace, times: u32) {
        for _ in 0..times {
            pace.served();
        }
    }

    #[test]
    fn one_pause_is_no_rate() {
        let mut pace = Pace::default();
        for run in [0, 100, 40] {
            served(&mut pace, run);
            pace.paused(true);
            assert_eq!(pace.gap, Duration::ZERO);
        }
        pace.paused(false);
        assert_eq!(pace.gap, Duration::ZERO, "nor is a limit on connections");
    }

    #[test]
    fn pauses_that_follow_closely_space_starts_out() {
        let mut pace = Pace::default();
        for gap in [0, 10, 20, 40, 80] {
            pace.paused(true);
            assert_eq!(pace.gap, Duration::from_millis(gap));
            served(&mut pace, 3);
        }
        for _ in 0..20 {
            pace.paused(true);
        }
        assert_eq!(pace.gap, LONGEST);
    }

    #[test]
    fn successes_draw_them_together_until_that_is_too_much() {
        let mut pace = Pace { gap: Duration::from_millis(80), was_paused: true, ..Pace::default() };
        served(&mut pace, GOOD);
        assert_eq!(pace.gap, Duration::from_millis(64));
        pace.served();
        assert_eq!(pace.gap, Duration::from_millis(64) * 4 / 5, "well for long enough");
        pace.paused(true);
        assert_eq!(pace.gap, Duration::from_millis(64), "back to where it went well");
        served(&mut pace, GOOD * 2 - 1);
        assert_eq!(pace.gap, Duration::from_millis(64), "and there for longer");
    }

    #[test]
    fn a_limit_that_is_gone_is_forgotten() {
        let mut pace = Pace { gap: Duration::from_millis(80), was_paused: true, ..Pace::default() };
        served(&mut pace, 2_000);
        assert_eq!(pace.gap, Duration::ZERO);
        let now = Instant::now();
        pace.started(now);
        assert_eq!(pace.ready_at(), None);
    }
}
