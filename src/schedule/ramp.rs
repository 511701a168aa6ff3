//! How many transfers a host gets after it refused some: a slow start, and a memory of where it refused.
//!
//! After a pause 1, 2, 4 … up to where it refused, then carefully on. A host that refuses some connections while it
//! serves others is not dead, it has a limit: as many go on as it served, and one more is tried seldom, each time it
//! refuses at the same place more seldom. Otherwise every job above the limit would burn its retries there.

use std::time::Instant;

/// Rounds of successes for one transfer more, at most, near a place where the host refused and a URL's attempt is the
/// price.
const PATIENCE: u32 = 16;
/// The same where the price is a pause of the whole host.
const PATIENCE_PAUSE: u32 = 256;

/// The number of transfers a host may have; starts without a limit of its own.
#[derive(Debug)]
pub struct Ramp {
    /// `None`: as many as allowed otherwise.
    allowed: Option<f64>,
    /// Below it, every success allows one more: doubling. Above it, every round of successes.
    threshold: f64,
    /// Transfers there were when the host last refused one.
    ceiling: usize,
    /// Rounds of successes for one more above the threshold.
    patience: u32,
    /// Only attempts released later count.
    since: Option<Instant>,
    /// Transfers that ran when the pause began and still do: those that take long hold nobody up.
    old: usize,
    /// Successes since the pause began, of attempts that were released before.
    served: usize,
    /// One more may be tried then, whatever runs.
    stuck_until: Option<Instant>,
    /// When the one more was released.
    probe: Option<Instant>,
    /// Refusals since the host last bore one more.
    row: u32,
}

impl Default for Ramp {
    fn default() -> Self {
        Ramp {
            allowed: None,
            threshold: f64::INFINITY,
            ceiling: 0,
            patience: 1,
            since: None,
            old: 0,
            served: 0,
            stuck_until: None,
            probe: None,
            row: 0,
        }
    }
}

impl Ramp {
    /// Transfers the host may have, where `cap` is allowed otherwise.
    pub fn limit(&self, cap: usize) -> usize {
        self.allowed.map_or(cap, |allowed| cap.min(allowed as usize + self.old))
    }

    /// When one more than [`Ramp::limit`] may be tried.
    pub fn stuck_until(&self) -> Option<Instant> {
        self.stuck_until
    }

    /// Refusals since the host last bore one more; the more, the later [`Ramp::stuck_until`] should be.
    pub fn row(&self) -> u32 {
        self.row
    }

    /// Whether the host has fewer than are allowed otherwise.
    pub fn is_limiting(&self) -> bool {
        self.allowed.is_some()
    }

    /// Whether the host served nothing of what was in flight when it was last paused.
    pub fn refused_all(&self) -> bool {
        self.served == 0
    }

    /// A transfer starts, the `running`th.
    pub fn started(&mut self, running: usize, now: Instant) {
        if self.allowed.is_some_and(|allowed| running > allowed as usize + self.old) {
            (self.stuck_until, self.probe) = (None, Some(now));
        }
    }

    /// A transfer that was released at `released` ended.
    pub fn ended(&mut self, released: Instant) {
        if self.since.is_some_and(|since| released <= since) {
            self.old = self.old.saturating_sub(1);
        }
    }

    /// The host was paused while it had `running` transfers with the one that was refused.
    pub fn paused(&mut self, running: usize, now: Instant) {
        self.meet(running, PATIENCE_PAUSE);
        self.allowed = Some(1.0);
        // Until it serves one of those in flight, nothing says that there were too many of them.
        (self.threshold, self.served, self.old) = (f64::INFINITY, 0, running.saturating_sub(1));
        (self.since, self.stuck_until) = (Some(now), None);
    }

    /// The host refused a transfer, released at `released`, while it went on with `running` others. One more may be
    /// tried at `again`.
    pub fn refused(&mut self, running: usize, released: Instant, again: Instant, now: Instant) {
        let same = self.since.is_some_and(|since| released <= since);
        if !same {
            self.meet(running + 1, PATIENCE);
            self.since = Some(now);
            self.served = 0;
            self.row += 1;
        }
        self.old = 0;
        let served = running.max(1) as f64;
        self.allowed = Some(self.allowed.map_or(served, |allowed| allowed.min(served)));
        self.threshold = if running > 0 { served } else { f64::INFINITY };
        self.stuck_until = Some(again);
    }

    /// A transfer that was released at `released` was served, where `cap` transfers are allowed otherwise.
    pub fn served(&mut self, released: Instant, cap: usize) {
        let Some(allowed) = self.allowed else { return };
        if self.since.is_some_and(|since| released <= since) {
            if allowed <= 1.0 {
                // The pause began at more than the host serves at once; that many it does serve.
                self.served += 1;
                self.threshold = self.served as f64;
            }
            return;
        }
        self.stuck_until = None;
        if self.probe.take_if(|probe| *probe == released).is_some() {
            // The one more was borne.
            self.moved();
        }
        let more = if allowed < self.threshold { 1.0 } else { 1.0 / (allowed * f64::from(self.patience)) };
        let reached = allowed + more;
        if reached >= (self.ceiling + 1) as f64 && self.threshold.is_finite() {
            // Past the place without a refusal.
            self.moved();
        }
        self.allowed = (reached < cap as f64).then_some(reached);
    }

    /// The host's limit is no longer where it refused.
    fn moved(&mut self) {
        (self.threshold, self.patience, self.row) = (f64::INFINITY, 1, 0);
    }

    /// Remembers that the host refused with so many transfers: at the same place as before, or elsewhere.
    fn meet(&mut self, running: usize, most: u32) {
        let same = running.abs_diff(self.ceiling) <= (running / 8).max(1);
        self.patience = if same { (self.patience * 4).min(most) } else { 1 };
        self.ceiling = running;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const CAP: usize = 50;

    fn second(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    /// Successes until `limit` transfers are allowed.
    fn successes(ramp: &mut Ramp, limit: usize, at: Instant) -> usize {
        (0..)
            .find(|_| {
                ramp.limit(CAP) >= limit || {
                    ramp.served(at, CAP);
                    false
                }
            })
            .expect("endless")
    }

    /// A pause at so many transfers, which all end.
    fn paused(ramp: &mut Ramp, running: usize, now: Instant) {
        ramp.paused(running, now);
        for _ in 1..running {
            ramp.ended(now);
        }
    }

    #[test]
    fn those_that_go_on_through_a_pause_hold_nobody_up() {
        let (now, mut ramp) = (Instant::now(), Ramp::default());
        ramp.paused(5, now);
        for (ended, limit) in [(0, 5), (1, 4), (2, 2), (1, 1), (1, 1)] {
            (0..ended).for_each(|_| ramp.ended(now));
            assert_eq!(ramp.limit(CAP), limit);
        }
        ramp.paused(3, second(now, 1));
        ramp.ended(second(now, 2));
        assert_eq!(ramp.limit(CAP), 3, "a later one is not one of them");
        ramp.served(second(now, 2), CAP);
        assert_eq!((ramp.limit(CAP), ramp.limit(3)), (4, 3));
    }

    #[test]
    fn after_a_pause_each_success_allows_one_more() {
        let (now, mut ramp) = (Instant::now(), Ramp::default());
        assert_eq!(ramp.limit(CAP), CAP);
        paused(&mut ramp, 50, now);
        let mut rounds = Vec::new();
        while ramp.limit(CAP) < CAP {
            rounds.push(ramp.limit(CAP));
            for _ in 0..ramp.limit(CAP) {
                ramp.served(second(now, 1), CAP);
            }
        }
        assert_eq!(rounds, [1, 2, 4, 8, 16, 32]);
        assert_eq!(ramp.limit(8), 8, "never more than otherwise");
    }

    #[test]
    fn what_was_in_flight_when_the_pause_began_is_what_the_host_serves_at_once() {
        let (now, mut ramp) = (Instant::now(), Ramp::default());
        paused(&mut ramp, 32, now);
        for _ in 0..20 {
            ramp.served(now, CAP);
        }
        assert_eq!(ramp.limit(CAP), 1, "they do not end the slow start");
        let later = second(now, 1);
        assert_eq!(successes(&mut ramp, 20, later), 19, "doubling up to there");
        assert_eq!(successes(&mut ramp, 21, later), 21, "then one a round");
    }

    #[test]
    fn a_host_that_refuses_some_goes_on_with_those_it_serves() {
        let (now, mut ramp) = (Instant::now(), Ramp::default());
        for running in (20..32).rev() {
            ramp.refused(running, now, second(now, 1), second(now, 1));
        }
        assert_eq!(ramp.limit(CAP), 20);
    }

    #[test]
    fn refusals_at_the_same_place_make_patient_and_a_limit_that_moved_makes_bold() {
        let (mut now, mut ramp) = (Instant::now(), Ramp::default());
        let mut rounds = Vec::new();
        for _ in 0..5 {
            ramp.refused(20, now, now, now);
            now = second(now, 1);
            rounds.push(successes(&mut ramp, 21, now) / 20);
        }
        assert_eq!(rounds, [1, 4, 16, 16, 16]);
        // 22 stand: up it goes.
        successes(&mut ramp, 22, now);
        assert!(successes(&mut ramp, CAP, now) <= CAP);
    }

    #[test]
    fn one_more_is_tried_when_those_that_run_take_for_ever() {
        let (now, mut ramp) = (Instant::now(), Ramp::default());
        let again = second(now, 2);
        ramp.refused(3, now, again, now);
        assert_eq!((ramp.limit(CAP), ramp.stuck_until()), (3, Some(again)));
        ramp.started(3, again);
        assert_eq!(ramp.stuck_until(), Some(again));
        ramp.started(4, again);
        assert_eq!(ramp.stuck_until(), None);
        ramp.served(again, CAP);
        assert_eq!(ramp.limit(CAP), 4, "it bore that");
        ramp.served(again, CAP);
        assert_eq!(ramp.limit(CAP), 5, "and more");
    }
}
