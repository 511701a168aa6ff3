//! Starts per time: evenly spaced, with a little room so that a late turn of the loop loses nothing.
//!
//! The generic cell rate algorithm: one instant per limit, no tokens to refill.

use std::time::{Duration, Instant};

/// How far starts may run ahead of an even spacing. A quarter of a second's worth: any five seconds then hold at most
/// 5 % more than the rate says, and a burst is well below one second's worth.
const BURST: Duration = Duration::from_millis(250);
/// A start that is late by less than this does not move the ones after it: polling rounds up to milliseconds.
const LATE: Duration = Duration::from_millis(20);

/// A limit on starts: `--rate`, `--rate-per-host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
}

impl Rate {
    /// One start every `interval`: `30/s` is every 33.3 ms, `5/h` every 12 min.
    pub fn every(interval: Duration) -> Rate {
        Rate { interval: interval.max(Duration::from_nanos(1)) }
    }
}

/// How much of a [`Rate`] is used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    /// When an evenly spaced next start would be.
    next: Option<Instant>,
}

impl Bucket {
    /// When the next start is allowed; `None`: it always is.
    pub fn ready_at(&self, rate: Rate) -> Option<Instant> {
        let ahead = BURST.saturating_sub(rate.interval);
        self.next.map(|next| next.checked_sub(ahead).unwrap_or(next))
    }

    /// Uses up one start at `now`.
    pub fn take(&mut self, rate: Rate, now: Instant) {
        let late = LATE.min(rate.interval / 2);
        let from = match self.next {
            Some(next) if next + late >= now => next,
            _ => now,
        };
        self.next = Some(from + rate.interval);
    }

    /// Until when this must be remembered.
    pub fn busy_until(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts as early as allowed, the loop being `late` each time, for `long`.
    fn starts(rate: Rate, late: Duration, long: Duration) -> Vec<Duration> {
        let (begin, mut bucket, mut starts) = (Instant::now(), Bucket::default(), Vec::new());
        let mut now = begin;
        while now < begin + long {
            starts.push(now - begin);
            bucket.take(rate, now);
            now = bucket.ready_at(rate).map_or(now, |at| if at > now { at + late } else { now });
        }
        starts
    }

    #[test]
    fn any_five_seconds_hold_what_the_rate_says_within_ten_percent() {
        for (name, interval_us, late_us) in [
            ("1000/s", 1_000, 0),
            ("1000/s, late", 1_000, 1_500),
            ("30/s", 33_333, 0),
            ("30/s, late", 33_333, 1_000),
            ("5/s", 200_000, 1_000),
            ("1/s", 1_000_000, 1_000),
            ("100/m", 600_000, 1_000),
        ] {
            let rate = Rate::every(Duration::from_micros(interval_us));
            let starts = starts(rate, Duration::from_micros(late_us), Duration::from_secs(60));
            let window = Duration::from_secs(5);
            let expected = window.as_secs_f64() * 1e6 / interval_us as f64;
            for (index, first) in starts.iter().enumerate().filter(|(_, at)| **at < Duration::from_secs(55)) {
                let held = starts[index..].iter().take_while(|at| **at < *first + window).count() as f64;
                assert!(held <= (expected * 1.1).ceil() && held >= (expected * 0.9).floor(), "{name}: {held}");
            }
        }
    }

    #[test]
    fn a_burst_is_less_than_one_seconds_worth() {
        for (interval_ms, burst) in [(1, 250), (10, 25), (100, 2), (1000, 1), (720_000, 1)] {
            let starts =
                starts(Rate::every(Duration::from_millis(interval_ms)), Duration::ZERO, Duration::from_nanos(1));
            assert_eq!(starts.len(), burst, "every {interval_ms} ms");
        }
    }

    #[test]
    fn an_idle_limit_saves_nothing_up() {
        let (now, rate, mut bucket) = (Instant::now(), Rate::every(Duration::from_secs(1)), Bucket::default());
        bucket.take(rate, now);
        let later = now + Duration::from_secs(60);
        bucket.take(rate, later);
        assert_eq!(bucket.ready_at(rate), Some(later + Duration::from_secs(1)));
    }
}
