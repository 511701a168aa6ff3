//! This machine is short of descriptors, ports or buffers: everything waits a moment, and fewer run for a while.
//!
//! Thousands of jobs would otherwise fail within milliseconds for a reason that is none of theirs.

use std::time::{Duration, Instant};

/// The first wait; each further shortage doubles it.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait. Ports come back after a minute in TIME_WAIT, so a longer one would gain nothing.
const LONGEST: Duration = Duration::from_secs(8);
/// Nothing came back in this time while no transfer of ours held anything: it is not ours to wait for.
const GIVE_UP: Duration = Duration::from_secs(120);

/// What shortages have taught.
#[derive(Debug, Default)]
pub struct Local {
    /// Transfers that may run; `None`: as many as allowed otherwise.
    most: Option<f64>,
    until: Option<Instant>,
    /// Shortages since the last success, and when the first was.
    row: u32,
    since: Option<Instant>,
}

impl Local {
    /// An attempt that was released at `released` found nothing left while `running` others ran. `Some(most)` when this
    /// lowered the number of transfers; further failures of the same moment do not count.
    pub fn short(&mut self, running: usize, released: Instant, now: Instant) -> Option<usize> {
        if self.until.is_some_and(|until| released < until) {
            return None;
        }
        self.since.get_or_insert(now);
        let most = (running / 2).max(1);
        self.most = Some(most as f64);
        self.until = Some(now + FIRST.saturating_mul(1 << self.row.min(5)).min(LONGEST));
        self.row += 1;
        Some(most)
    }

    /// A transfer came to an end of its own: one more for every round of them, up to `limit`.
    pub fn success(&mut self, limit: usize) {
        (self.row, self.since) = (0, None);
        if let Some(most) = self.most {
            let more = most + 1.0 / most;
            self.most = (more < limit as f64).then_some(more);
        }
    }

    /// Transfers that may run, where `limit` may otherwise.
    pub fn limit(&self, limit: usize) -> usize {
        self.most.map_or(limit, |most| limit.min(most as usize))
    }

    /// Whether there is nothing left to wait for, with `running` transfers and a patience of `longest`.
    pub fn is_hopeless(&self, running: usize, longest: Duration, now: Instant) -> bool {
        let waited = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        running == 0 && waited >= GIVE_UP.min(longest)
    }

    /// Until when nothing starts.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_halves_what_runs_once_and_grows_back_by_one_a_round() {
        let (now, mut local) = (Instant::now(), Local::default());
        assert_eq!(local.limit(200), 200);
        assert_eq!(local.short(60, now, now), Some(30));
        for running in (0..60).rev() {
            assert_eq!(local.short(running, now, now), None, "the same moment");
        }
        assert_eq!((local.limit(200), local.limit(10)), (30, 10));
        for _ in 0..31 {
            local.success(200);
        }
        assert_eq!(local.limit(200), 31);
        for _ in 0..30_000 {
            local.success(200);
        }
        assert_eq!(local.limit(200), 200);
    }

    #[test]
    fn what_does_not_come_back_is_not_waited_for_for_ever() {
        let (now, mut local, hour) = (Instant::now(), Local::default(), Duration::from_secs(3600));
        local.short(0, now, now);
        assert!(!local.is_hopeless(0, hour, now + Duration::from_secs(119)));
        assert!(local.is_hopeless(0, hour, now + GIVE_UP));
        assert!(local.is_hopeless(0, Duration::from_secs(1), now + Duration::from_secs(1)));
        assert!(!local.is_hopeless(1, hour, now + hour), "what runs will give back what it has");
        local.success(9);
        assert!(!local.is_hopeless(0, hour, now + hour));
    }

    #[test]
    fn waits_double_until_something_succeeds() {
        let (mut now, mut local) = (Instant::now(), Local::default());
        for expected in [250, 500, 1000, 2000, 4000, 8000, 8000] {
            local.short(0, now, now);
            let until = local.until(now).expect("waits");
            assert_eq!(until - now, Duration::from_millis(expected));
            now = until;
            assert_eq!(local.until(now), None);
            assert_eq!(local.limit(50), 1, "one goes on trying");
        }
        local.success(50);
        local.short(4, now, now);
        assert_eq!(local.until(now), Some(now + FIRST));
    }
}
