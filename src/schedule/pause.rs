//! A host that asks to be left alone: 429, or 503 with Retry-After.
//!
//! The answers to requests that were in flight together are one pause. A time the server names is kept to, never
//! shortened; without one, pauses double while nothing succeeds in between. A host whose pauses bring nothing at all is
//! closed: for ever to come back to it would be neither polite nor of use.

use std::time::{Duration, Instant};

use super::retry::Retry;

/// The first pause where the server names no time.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause where the server names no time.
const LONGEST: Duration = Duration::from_secs(60);
/// Most that is added to a time the server named, so that several programs do not come back in the same instant; at
/// most a tenth of it.
const SPREAD: Duration = Duration::from_secs(1);
/// Pauses in a row without a single success after which a host is closed.
const VAIN: u32 = 20;
/// For how long: for the rest of most runs; a daemon asks once more after it.
const CLOSED: Duration = Duration::from_secs(3600);
/// A longer time than this is nonsense, and would not fit an [`Instant`].
const LONGEST_NAMED: Duration = Duration::from_secs(366 * 86_400);

/// What came of being asked to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The host is paused for this long.
    Paused(Duration),
    /// It was paused already, or the answer is older than the last pause.
    Known,
    /// The host is closed.
    Closed(Reason),
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
    /// Pauses since the last success, and when the first of them began.
    row: u32,
    row_since: Option<Instant>,
    /// Length of the pauses before the last.
    past: Duration,
    closed: Option<Closed>,
}

/// Why a host is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// It must not be asked before.
    pub until: Instant,
    /// With which status it answered.
    pub status: u32,
    /// What made it so.
    pub reason: Reason,
}

/// What closes a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It named this time, which is longer than `--retry-after-max`.
    TooLong(Duration),
    /// It served nothing in so many pauses, or in `--retry-max-time`.
    InVain(u32),
}

impl Reason {
    /// What the host did, after its name.
    pub fn text(self, status: u32) -> String {
        match self {
            Reason::TooLong(named) => {
                let long = match named {
                    LONGEST_NAMED => "a year or more".to_owned(),
                    _ => format!("{} s", named.as_secs()),
                };
                format!("answered {status} and asked for {long}, which is more than --retry-after-max")
            }
            Reason::InVain(1) => format!("answered nothing but {status}, after a pause too"),
            Reason::InVain(pauses) => format!("answered nothing but {status}, after each of {pauses} pauses too"),
        }
    }
}

impl Pause {
    /// An attempt that was released at `released` was told to wait: for the time `named`, if one was. More than
    /// `retry` allows closes the host. `jitter` is in 0..1.
    pub fn asked(
        &mut self,
        status: u32,
        named: Option<Duration>,
        released: Instant,
        retry: &Retry,
        jitter: f64,
        now: Instant,
    ) -> Asked {
        // A date in the past names no time.
        let named = named.filter(|named| !named.is_zero()).map(|named| named.min(LONGEST_NAMED));
        if let Some(named) = named.filter(|named| *named > retry.retry_after_max) {
            return self.close(status, named, Reason::TooLong(named), now);
        }
        let same = self.since.is_some_and(|since| released <= since);
        let wait = match named {
            Some(named) => named + SPREAD.min(named / 10).mul_f64(jitter),
            None if same => return Asked::Known,
            None => {
                let longest =
                    FIRST.saturating_mul(1 << self.steps.min(6)).min(LONGEST).min(retry.retry_after_max.max(FIRST));
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
        let since = *self.row_since.get_or_insert(now);
        let is_over = until.saturating_duration_since(since) > retry.max_time;
        if self.row >= VAIN || (self.row > 0 && is_over) {
            return self.close(status, CLOSED.max(wait), Reason::InVain(self.row), now);
        }
        self.row += 1;
        self.past = self.clock(now);
        (self.since, self.until, self.status) = (Some(now), Some(until), status);
        Asked::Paused(wait)
    }

    fn close(&mut self, status: u32, wait: Duration, reason: Reason, now: Instant) -> Asked {
        let (until, first) = (now + wait, self.closed(now).is_none());
        if self.closed.is_none_or(|closed| closed.until < until) {
            self.closed = Some(Closed { until, status, reason });
        }
        if first { Asked::Closed(reason) } else { Asked::Known }
    }

    /// An attempt that was released at `released` was served: the next pause is shorter again. Whether it was released
    /// after a pause.
    pub fn served(&mut self, released: Instant) -> bool {
        (self.row, self.row_since) = (0, None);
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

    /// Whether it is time to ask for something that was not refused yet: after every second pause in a row.
    pub fn is_vain(&self) -> bool {
        self.row > 0 && self.row.is_multiple_of(2)
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
    use super::super::testing::RETRY;
    use super::*;

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
            let asked = pause.asked(429, Some(secs(named)), now, &RETRY, jitter, now);
            assert_eq!(asked, Asked::Paused(Duration::from_millis(expected_ms)), "{named} {jitter}");
            assert_eq!(pause.until(now), Some(now + Duration::from_millis(expected_ms)));
        }
    }

    #[test]
    fn answers_to_requests_that_were_in_flight_together_are_one_pause() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.asked(429, None, now, &RETRY, 1.0, now), Asked::Paused(secs(1)));
        for _ in 0..49 {
            assert_eq!(pause.asked(429, None, now, &RETRY, 1.0, now), Asked::Known);
        }
        assert_eq!(pause.until(now), Some(now + secs(1)));
        // A later answer of the same moment that names a time makes it longer, not shorter.
        assert_eq!(pause.asked(429, Some(secs(9)), now, &RETRY, 0.0, now), Asked::Known);
        assert_eq!(pause.asked(429, Some(secs(2)), now, &RETRY, 0.0, now), Asked::Known);
        assert_eq!(pause.until(now), Some(now + secs(9)));
        // And one that comes when all is over, without a time, is old news; with one it is not.
        let later = now + secs(20);
        assert_eq!(pause.asked(429, None, now, &RETRY, 1.0, later), Asked::Known);
        assert_eq!(pause.until(later), None);
        assert_eq!(pause.asked(429, Some(secs(2)), now, &RETRY, 0.0, later), Asked::Paused(secs(2)));
    }

    #[test]
    fn without_a_time_pauses_double_while_nothing_succeeds() {
        let (mut now, mut pause) = (Instant::now(), Pause::default());
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let released = now;
            now += secs(1);
            assert_eq!(pause.asked(429, None, released, &RETRY, 1.0, now), Asked::Paused(secs(expected)));
            now = pause.until(now).expect("paused");
        }
        for _ in 0..7 {
            now += secs(1);
            pause.served(now);
        }
        assert_eq!(pause.asked(429, None, now, &RETRY, 1.0, now), Asked::Paused(secs(2)), "seven steps forgiven");
    }

    #[test]
    fn a_date_in_the_past_is_no_time() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.asked(503, Some(Duration::ZERO), now, &RETRY, 1.0, now), Asked::Paused(secs(1)));
    }

    #[test]
    fn too_long_a_time_closes_the_host_until_then() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.asked(503, Some(secs(301)), now, &RETRY, 0.5, now), Asked::Closed(Reason::TooLong(secs(301))));
        assert_eq!(pause.asked(503, Some(secs(400)), now, &RETRY, 0.5, now), Asked::Known, "said once");
        let closed = pause.closed(now).expect("closed");
        assert_eq!((closed.until, closed.status, closed.reason), (now + secs(400), 503, Reason::TooLong(secs(400))));
        assert_eq!(pause.closed(now + secs(400)), None);
        assert!(matches!(pause.asked(429, Some(Duration::MAX), now, &RETRY, 0.5, now), Asked::Known));
    }

    /// Pauses of a host that names `named` until it is closed, and when that was; it serves something after `served`.
    fn pauses_until_closed(named: Option<Duration>, retry: &Retry, served: Option<u32>) -> (u32, Duration) {
        let (begin, mut pause) = (Instant::now(), Pause::default());
        let mut now = begin;
        for count in 0.. {
            let released = now;
            now += Duration::from_millis(1);
            match pause.asked(429, named, released, retry, 0.0, now) {
                Asked::Closed(reason) => {
                    assert_eq!(reason, Reason::InVain(served.map_or(count, |served| count - served)));
                    return (count, now - begin);
                }
                Asked::Paused(wait) => now += wait,
                Asked::Known => panic!("it was asked after the pause"),
            }
            if served == Some(count + 1) {
                pause.served(now);
            }
        }
        unreachable!("without end");
    }

    #[test]
    fn a_host_that_serves_nothing_in_twenty_pauses_or_the_longest_time_is_closed() {
        let brief = Retry { max_time: secs(3), ..RETRY };
        for (named, retry, served, pauses, seconds) in [
            (None, &RETRY, None, 20, 451),
            (Some(1), &RETRY, None, 20, 20),
            (Some(300), &RETRY, None, 11, 3300),
            (Some(1), &brief, None, 2, 2),
            (Some(60), &brief, None, 1, 60),
            (Some(1), &RETRY, Some(19), 39, 39),
        ] {
            let closed = pauses_until_closed(named.map(secs), retry, served);
            assert_eq!((closed.0, closed.1.as_secs()), (pauses, seconds), "{named:?} {served:?}");
        }
    }

    #[test]
    fn a_host_closed_in_vain_is_asked_once_more_after_an_hour() {
        let (mut now, mut pause) = (Instant::now(), Pause::default());
        for _ in 0..20 {
            pause.asked(429, Some(secs(1)), now, &RETRY, 0.0, now);
            now += secs(2);
        }
        for _ in 0..2 {
            assert_eq!(pause.asked(429, None, now, &RETRY, 0.0, now), Asked::Closed(Reason::InVain(20)));
            assert!(pause.closed(now + CLOSED - secs(1)).is_some());
            now += CLOSED;
            assert_eq!(pause.closed(now), None);
        }
        pause.served(now);
        assert!(matches!(pause.asked(429, None, now, &RETRY, 0.0, now), Asked::Paused(_)));
    }

    #[test]
    fn the_clock_runs_while_the_host_is_paused() {
        let (now, mut pause) = (Instant::now(), Pause::default());
        assert_eq!(pause.clock(now), Duration::ZERO);
        pause.asked(429, Some(secs(10)), now, &RETRY, 0.0, now);
        assert_eq!(pause.clock(now + secs(4)), secs(4));
        let later = now + secs(30);
        assert_eq!(pause.clock(later), secs(10));
        pause.asked(429, Some(secs(5)), later, &RETRY, 0.0, later);
        assert_eq!(pause.clock(later + secs(60)), secs(15));
    }
}
