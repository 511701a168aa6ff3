//! A host that asks to be left alone: 429, or 503 with Retry-After.
//!
//! The answers to requests that were in flight together are one pause. A time the server names is kept to, never
//! shortened; without one, pauses double while nothing succeeds in between.

use std::time::{Duration, Instant};

/// The first pause where the server names no time.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause where the server names no time.
const LONGEST: Duration = Duration::from_secs(60);
/// Most that is added to a time the server named, so that several programs do not come back in the same instant; at
/// most a tenth of it.
const SPREAD: Duration = Duration::from_secs(1);
/// A longer time than this is nonsense, and would not fit an [`Instant`].
const LONGEST_NAMED: Duration = Duration::from_secs(366 * 86_400);

/// What came of being asked to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The host is paused for this long.
    Paused(Duration),
    /// It was paused already, or the answer is older than the last pause.
    Known,
    /// The time is too long: the host is closed.
    Closed(Duration),
}

/// The pauses of one host.
#[derive(Debug, Default)]
pub struct Pause {
    since: Option<Instant>,
    until: Option<Instant>,
    /// The status that paused or closed it.
    status: u32,
    /// Pauses in a row without a named time.
    steps: u32,
    /// Length of the pauses before the last.
    past: Duration,
    closed: Option<Closed>,
}

/// Why a host is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// It must not be asked before.
    pub until: Instant,
    /// What it named.
    pub named: Duration,
    /// With which status.
    pub status: u32,
}

impl Pause {
    /// An attempt that was released at `released` was told to wait: for the time `named`, if one was. More than `most`
    /// closes the host. `jitter` is in 0..1.
    pub fn asked(
        &mut self,
        status: u32,
        named: Option<Duration>,
        released: Instant,
        most: Duration,
        jitter: f64,
        now: Instant,
    ) -> Asked {
        // A date in the past names no time.
        let named = named.filter(|named| !named.is_zero()).map(|named| named.min(LONGEST_NAMED));
        if let Some(named) = named.filter(|named| *named > most) {
            let until = now + named;
            let longer = self.closed.is_none_or(|closed| closed.until < until);
            let first = self.closed(now).is_none();
            if longer {
                self.closed = Some(Closed { until, named, status });
            }
            return if first { Asked::Closed(named) } else { Asked::Known };
        }
        let same = self.since.is_some_and(|since| released <= since);
        let wait = match named {
            Some(named) => named + SPREAD.min(named / 10).mul_f64(jitter),
            None if same => return Asked::Known,
            None => {
                let longest = FIRST.saturating_mul(1 << self.steps.min(6)).min(LONGEST).min(most.max(FIRST));
                self.steps += 1;
                // Never next to nothing: the server said that this was too much.
                longest.mul_f64(0.5 + jitter / 2.0)
            }
        };
        let until = now + wait;
        if self.until(now).is_some() {
            self.until = self.until.max(Some(until));
            return Asked::Known;
        }
        self.past = self.clock(now);
        (self.since, self.until, self.status) = (Some(now), Some(until), status);
        Asked::Paused(wait)
    }

    /// An attempt that was released at `released` was served: the next pause is shorter again. Whether it was released
    /// after a pause.
    pub fn served(&mut self, released: Instant) -> bool {
        let is_after = self.since.is_some_and(|since| released > since);
        if is_after {
            self.steps = self.steps.saturating_sub(1);
        }
        is_after
    }

    /// Until when nothing starts.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// The status that began the last pause.
    pub fn status(&self) -> u32 {
        self.status
    }

    /// Whether, and why, the host is closed.
    pub fn closed(&self, now: Instant) -> Option<Closed> {
        self.closed.filter(|closed| closed.until > now)
    }

    /// How long the host was paused, all in all, up to `now`.
    pub fn clock(&self, now: Instant) -> Duration {
        match (self.since, self.until) {
            (Some(since), Some(until)) => self.past + until.min(now).saturating_duration_since(since),
            _ => self.past,
        }
    }

    /// Until when this must be remembered: a host is never asked before the time it named.
    pub fn busy_until(&self) -> Option<Instant> {
        self.until.max(self.closed.map(|closed| closed.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(300);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_named_time_is_kept_to_and_never_shortened() {
        let now = Instant::now();
        for (named, jitter, expected_ms) in
            [(3, 0.0, 3_000), (3, 1.0, 3_300), (5, 0.5, 5_250), (60, 1.0, 61_000), (300, 0.0, 300_000)]
        {
            let mut pause = Pause::default();
            let asked = pause.asked(429, Some(secs(named)), now, MOST, jitter, now);
            assert_eq!(asked, Asked::Paused(Duration::from_millis(expected_ms)), "{named} {jitter}");
            assert_eq!(pause.until(now), Some(now + Duration::from_millis(expected_ms)));
        }
    }

    #[test]
    fn answers_to_requests_that_were_in_flight_together_are_one_pause() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.asked(429, None, now, MOST, 1.0, now), Asked::Paused(secs(1)));
        for _ in 0..49 {
            assert_eq!(pause.asked(429, None, now, MOST, 1.0, now), Asked::Known);
        }
        assert_eq!(pause.until(now), Some(now + secs(1)));
        // A later answer of the same moment that names a time makes it longer, not shorter.
        assert_eq!(pause.asked(429, Some(secs(9)), now, MOST, 0.0, now), Asked::Known);
        assert_eq!(pause.asked(429, Some(secs(2)), now, MOST, 0.0, now), Asked::Known);
        assert_eq!(pause.until(now), Some(now + secs(9)));
        // And one that comes when all is over, without a time, is old news; with one it is not.
        let later = now + secs(20);
        assert_eq!(pause.asked(429, None, now, MOST, 1.0, later), Asked::Known);
        assert_eq!(pause.until(later), None);
        assert_eq!(pause.asked(429, Some(secs(2)), now, MOST, 0.0, later), Asked::Paused(secs(2)));
    }

    #[test]
    fn without_a_time_pauses_double_while_nothing_succeeds() {
        let (mut now, mut pause) = (Instant::now(), Pause::default());
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let released = now;
            now += secs(1);
            assert_eq!(pause.asked(429, None, released, MOST, 1.0, now), Asked::Paused(secs(expected)));
            now = pause.until(now).expect("paused");
        }
        for _ in 0..7 {
            now += secs(1);
            pause.served(now);
        }
        assert_eq!(pause.asked(429, None, now, MOST, 1.0, now), Asked::Paused(secs(2)), "seven steps forgiven");
    }

    #[test]
    fn a_date_in_the_past_is_no_time() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.asked(503, Some(Duration::ZERO), now, MOST, 1.0, now), Asked::Paused(secs(1)));
    }

    #[test]
    fn too_long_a_time_closes_the_host_until_then() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.asked(503, Some(secs(301)), now, MOST, 0.5, now), Asked::Closed(secs(301)));
        assert_eq!(pause.asked(503, Some(secs(400)), now, MOST, 0.5, now), Asked::Known, "said once");
        let closed = pause.closed(now).expect("closed");
        assert_eq!((closed.until, closed.named, closed.status), (now + secs(400), secs(400), 503));
        assert_eq!(pause.closed(now + secs(400)), None);
        assert!(matches!(pause.asked(429, Some(Duration::MAX), now, MOST, 0.5, now), Asked::Known));
    }

    #[test]
    fn the_clock_runs_while_the_host_is_paused() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.clock(now), Duration::ZERO);
        pause.asked(429, Some(secs(10)), now, MOST, 0.0, now);
        assert_eq!(pause.clock(now + secs(4)), secs(4));
        let later = now + secs(30);
        assert_eq!(pause.clock(later), secs(10));
        pause.asked(429, Some(secs(5)), later, MOST, 0.0, later);
        assert_eq!(pause.clock(later + secs(60)), secs(15));
    }
}
