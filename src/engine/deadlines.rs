//! Our own deadlines for one attempt.
//!
//! libcurl has none for a first byte, its low-speed limit also runs while a transfer waits for a stream, and its
//! total limit while it waits for a connection. Until the connection stands `--connect-timeout` holds, which is
//! libcurl's.

use std::time::{Duration, Instant};

use crate::job::{ErrorClass, Failure};

/// The limits.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Longest silence after the connection stands; `Duration::MAX` for any.
    pub stall: Duration,
    /// Longest attempt.
    pub total: Option<Duration>,
}

/// When something moved last.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    started: Instant,
    moved: Instant,
    seen: u64,
}

impl Pulse {
    /// An attempt that begins.
    pub fn new(now: Instant) -> Pulse {
        Pulse { started: now, moved: now, seen: 0 }
    }

    /// When the attempt began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// `progress` is a number that changes with every movement; `counts` says whether silence counts.
    pub fn beat(&mut self, progress: u64, counts: bool, now: Instant) {
        if progress != self.seen || !counts {
            (self.seen, self.moved) = (progress, now);
        }
    }

    /// For `gap` nobody looked: what may have come meanwhile is not read yet, so this was no silence.
    pub fn pause(&mut self, gap: Duration, now: Instant) {
        self.moved = self.moved.checked_add(gap).map_or(now, |moved| moved.min(now));
    }
}

impl Deadlines {
    /// How often to look: a deadline is noticed at most a second, or a quarter of itself, late.
    pub fn interval(&self) -> Duration {
        let shortest = self.total.map_or(self.stall, |total| total.min(self.stall));
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// How much of the time between two turns nobody looked in: the program was stopped, or very busy. The usual wait
    /// is at most an interval; twice that is nothing special on a loaded machine.
    pub fn unseen(&self, between: Duration) -> Option<Duration> {
        (between > 2 * self.interval()).then(|| between - self.interval())
    }

    /// The failure of an attempt that is too late. `received` is its body bytes so far.
    pub fn late(&self, pulse: &Pulse, received: u64, now: Instant) -> Option<Failure> {
        if let Some(total) = self.total.filter(|total| now.saturating_duration_since(pulse.started) >= *total) {
            let message = format!("not done after {} s (--max-time)", total.as_secs_f64());
            return Some(Failure::new(ErrorClass::Timeout, 28, message));
        }
        if now.saturating_duration_since(pulse.moved) >= self.stall {
            let what = if received > 0 { "no byte" } else { "no answer" };
            let message = format!("{what} for {} s (--stall-timeout)", self.stall.as_secs_f64());
            return Some(Failure::new(ErrorClass::Stall, 28, message));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Deadlines = Deadlines { stall: Duration::from_secs(30), total: Some(Duration::from_secs(100)) };

    fn class(pulse: &Pulse, start: Instant, seconds: u64) -> Option<ErrorClass> {
        LIMITS.late(pulse, 0, start + Duration::from_secs(seconds)).map(|failure| failure.class)
    }

    #[test]
    fn silence_counts_from_the_last_movement_once_connected() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        pulse.beat(0, false, start + Duration::from_secs(20));
        assert_eq!(class(&pulse, start, 49), None, "connecting is not silence");
        pulse.beat(1, true, start + Duration::from_secs(40));
        pulse.beat(1, true, start + Duration::from_secs(60));
        assert_eq!(class(&pulse, start, 69), None);
        assert_eq!(class(&pulse, start, 70), Some(ErrorClass::Stall));
        pulse.beat(2, true, start + Duration::from_secs(69));
        assert_eq!(class(&pulse, start, 98), None);
    }

    #[test]
    fn the_whole_attempt_has_its_limit_however_much_moves() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        pulse.beat(7, true, start + Duration::from_secs(99));
        assert_eq!(class(&pulse, start, 99), None);
        assert_eq!(class(&pulse, start, 100), Some(ErrorClass::Timeout));
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_silence() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        pulse.beat(1, true, start + Duration::from_secs(1));
        assert_eq!(LIMITS.unseen(Duration::from_secs(2)), None);
        assert_eq!(LIMITS.unseen(Duration::from_secs(41)), Some(Duration::from_secs(40)));
        pulse.pause(Duration::from_secs(40), start + Duration::from_secs(50));
        assert_eq!(class(&pulse, start, 70), None);
        assert_eq!(class(&pulse, start, 71), Some(ErrorClass::Stall));
        pulse.pause(Duration::MAX, start + Duration::from_secs(80));
        assert_eq!(class(&pulse, start, 99), None, "nothing moves in the future");
        assert_eq!(class(&pulse, start, 100), Some(ErrorClass::Timeout), "the whole attempt's limit is the clock's");
    }

    #[test]
    fn short_limits_are_looked_after_more_often() {
        let limits = |stall, total| Deadlines { stall: Duration::from_millis(stall), total };
        for (limits, millis) in [
            (limits(30_000, None), 1000),
            (limits(1000, None), 250),
            (limits(30_000, Some(Duration::from_millis(400))), 100),
            (limits(1, None), 20),
        ] {
            assert_eq!(limits.interval(), Duration::from_millis(millis), "{limits:?}");
        }
    }
}
