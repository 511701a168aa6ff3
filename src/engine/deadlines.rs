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
    /// Slowest transfer.
    pub slow: Option<SlowLimit>,
}

/// A transfer that is slower than `speed`, in bytes a second, throughout `time` is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowLimit {
    /// Bytes a second.
    pub speed: u64,
    /// At least a second.
    pub time: Duration,
}

impl SlowLimit {
    /// Bytes that must come in [`SlowLimit::time`].
    fn bytes(&self) -> u64 {
        (self.speed as f64 * self.time.as_secs_f64()) as u64
    }
}

/// When something moved last.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    started: Instant,
    moved: Instant,
    seen: u64,
    /// When enough bytes for the slow limit had come last, and how many there were then.
    measured: (Instant, u64),
}

impl Pulse {
    /// A request of an attempt that took `spent` before it.
    pub fn new(now: Instant, spent: Duration) -> Pulse {
        Pulse { started: now.checked_sub(spent).unwrap_or(now), moved: now, seen: 0, measured: (now, 0) }
    }

    /// When the attempt began, or would have if nothing had waited on its way.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// `progress` is a number that changes with every movement; `counts` says whether silence counts.
    fn beat(&mut self, progress: u64, counts: bool, now: Instant) {
        if progress != self.seen || !counts {
            (self.seen, self.moved) = (progress, now);
        }
    }

    /// `received` are the body bytes so far; `counts` says whether slowness counts.
    fn measure(&mut self, slow: SlowLimit, received: u64, counts: bool, now: Instant) {
        let (since, before) = self.measured;
        if !counts || received.saturating_sub(before) >= slow.bytes().max(1) || since > now {
            self.measured = (now, received);
        }
    }

    /// For `gap` nobody looked: what may have come meanwhile is not read yet, so this was no silence.
    pub fn pause(&mut self, gap: Duration, now: Instant) {
        self.moved = self.moved.checked_add(gap).map_or(now, |moved| moved.min(now));
        self.measured.0 = self.measured.0.checked_add(gap).map_or(now, |since| since.min(now));
    }
}

impl Deadlines {
    /// How often to look: a deadline is noticed at most a second, or a quarter of itself, late.
    pub fn interval(&self) -> Duration {
        let slow = self.slow.map(|slow| slow.time);
        let shortest = [self.total, slow].into_iter().flatten().fold(self.stall, Duration::min);
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
        if let Some(slow) = self.slow.filter(|slow| now.saturating_duration_since(pulse.measured.0) >= slow.time) {
            let message =
                format!("slower than {} bytes a second for {} s (--speed-limit)", slow.speed, slow.time.as_secs_f64());
            return Some(Failure::new(ErrorClass::Timeout, 28, message));
        }
        None
    }

    /// Notes how far a transfer is: `progress` is a number that changes with every movement, `received` its body bytes;
    /// `counts` says whether silence counts.
    pub fn beat(&self, pulse: &mut Pulse, progress: u64, received: u64, counts: bool, now: Instant) {
        pulse.beat(progress, counts, now);
        if let Some(slow) = self.slow {
            pulse.measure(slow, received, counts, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Deadlines =
        Deadlines { stall: Duration::from_secs(30), total: Some(Duration::from_secs(100)), slow: None };

    fn class(pulse: &Pulse, start: Instant, seconds: u64) -> Option<ErrorClass> {
        LIMITS.late(pulse, 0, start + Duration::from_secs(seconds)).map(|failure| failure.class)
    }

    #[test]
    fn silence_counts_from_the_last_movement_once_connected() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, Duration::ZERO);
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
        let mut pulse = Pulse::new(start, Duration::ZERO);
        pulse.beat(7, true, start + Duration::from_secs(99));
        assert_eq!(class(&pulse, start, 99), None);
        assert_eq!(class(&pulse, start, 100), Some(ErrorClass::Timeout));
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_silence() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, Duration::ZERO);
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
        let limits = |stall, total| Deadlines { stall: Duration::from_millis(stall), total, slow: None };
        for (limits, millis) in [
            (limits(30_000, None), 1000),
            (limits(1000, None), 250),
            (limits(30_000, Some(Duration::from_millis(400))), 100),
            (limits(1, None), 20),
        ] {
            assert_eq!(limits.interval(), Duration::from_millis(millis), "{limits:?}");
        }
    }

    #[test]
    fn slow_is_who_brings_too_little_in_the_whole_of_the_time() {
        let slow = SlowLimit { speed: 100, time: Duration::from_secs(10) };
        let limits = Deadlines { stall: Duration::MAX, total: None, slow: Some(slow) };
        // Bytes so far at each second, and when it is given up.
        type Bytes = fn(u64) -> u64;
        let cases: [(&str, Bytes, Option<u64>); 5] = [
            ("fast", |second| second * 100, None),
            ("in bursts", |second| second / 9 * 1000, None),
            ("slow", |second| second * 50, Some(10)),
            ("silent", |_| 0, Some(10)),
            ("slow later", |second| if second < 20 { second * 200 } else { 4000 + second }, Some(25)),
        ];
        for (name, bytes, end) in cases {
            let start = Instant::now();
            let mut pulse = Pulse::new(start, Duration::ZERO);
            let given_up = (1..60).find(|second| {
                let now = start + Duration::from_secs(*second);
                limits.beat(&mut pulse, bytes(*second), bytes(*second), true, now);
                limits.late(&pulse, bytes(*second), now).is_some()
            });
            match end {
                None => assert_eq!(given_up, None, "{name}"),
                Some(end) => assert!(given_up.is_some_and(|at| at >= end && at <= end + 10), "{name}: {given_up:?}"),
            }
        }
    }

    #[test]
    fn who_waits_for_our_own_limits_is_not_slow() {
        let slow = SlowLimit { speed: 100, time: Duration::from_secs(2) };
        let limits = Deadlines { stall: Duration::MAX, total: None, slow: Some(slow) };
        let start = Instant::now();
        let mut pulse = Pulse::new(start, Duration::ZERO);
        for second in 1..20 {
            let now = start + Duration::from_secs(second);
            limits.beat(&mut pulse, 0, 0, false, now);
            assert!(limits.late(&pulse, 0, now).is_none());
        }
    }
}
