//! Hosts that cannot be reached: one attempt at a time, ever further apart, and then the rest of their jobs fail fast.
//!
//! A host that never answered gets one attempt at a time from the start: the others would look up the same name and
//! wait for the same connection. If that one fails, the next waits as a retry of the same URL would. A host that did
//! answer is only taken for unreachable after [`ROW`] failures in a row with nobody being served. Either way, when as
//! many failed as one URL has attempts, the host is dead: its jobs fail at once until, after a while, one more attempt
//! may show that it came back.

use std::time::{Duration, Instant};

use super::retry::Retry;
use crate::job::Failure;

/// Failures in a row that make a host unreachable that was reached before: one may be a lost packet, two a full backlog
/// at a bad moment.
const ROW: u32 = 3;
/// How long a dead host's jobs fail without an attempt; doubled each time it turns out dead again.
const DEAD: Duration = Duration::from_secs(30);
/// The longest such time: a daemon notices within five minutes that a host is back.
const DEAD_LONGEST: Duration = Duration::from_secs(300);

/// For so long room is kept for the jobs that wait for their host's first connection: to look up a name far away and to
/// make one with TLS takes a second, a host that never answers takes ten.
const EXPECTED: Duration = Duration::from_secs(1);

/// Whether one host can be reached.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// When the attempt began that is the first one.
    tried: Option<Instant>,
    /// Failures since it was last reached.
    row: u32,
    /// Times it was found dead since.
    deaths: u32,
    last: Option<Box<Failure>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Never tried, or tried for the first time just now.
    #[default]
    New,
    /// It was reached.
    Reached,
    /// One attempt at a time, the next not before `hold`.
    Open { probes: u32, hold: Instant },
    /// Given up until then.
    Dead { until: Instant },
}

/// What a failure made of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing new.
    Same,
    /// One attempt at a time, the next after a while: [`Breaker::hold`].
    Held,
    /// Given up.
    Dead,
}

impl Breaker {
    /// No request could be sent, while `running` other transfers of the host run.
    pub fn unreachable(
        &mut self,
        failure: &Failure,
        running: usize,
        retry: &Retry,
        jitter: f64,
        now: Instant,
    ) -> Found {
        self.row = self.row.saturating_add(1);
        self.last = Some(Box::new(failure.clone()));
        let probes = match self.state {
            State::New => 0,
            State::Reached if self.row >= ROW && running == 0 => 0,
            State::Open { probes, .. } => probes + 1,
            State::Reached | State::Dead { .. } => return Found::Same,
        };
        if probes >= retry.probes(failure.class) {
            let long = DEAD.saturating_mul(1 << self.deaths.min(8)).min(DEAD_LONGEST);
            self.deaths += 1;
            self.state = State::Dead { until: now + long };
            return Found::Dead;
        }
        self.state = State::Open { probes, hold: now + retry.delay(failure.class, probes, 0, jitter) };
        Found::Held
    }

    /// An attempt begins.
    pub fn started(&mut self, now: Instant) {
        if self.is_new() {
            self.tried = Some(now);
        }
    }

    /// Until when the first connection is likely to stand; `None` where none is being made, or it takes longer already.
    pub fn expected(&self, now: Instant) -> Option<Instant> {
        self.tried.filter(|_| self.is_new()).map(|tried| tried + EXPECTED).filter(|at| *at > now)
    }

    /// A connection stands, or an answer came.
    pub fn reached(&mut self) {
        if self.state != State::Reached || self.row > 0 {
            *self = Breaker { state: State::Reached, ..Breaker::default() };
        }
    }

    /// Time passes: a dead host may be tried once more.
    pub fn tick(&mut self, now: Instant) {
        if let State::Dead { until } = self.state
            && until <= now
        {
            self.state = State::Open { probes: u32::MAX - 1, hold: now };
        }
    }

    /// Whether only one transfer may run.
    pub fn is_single(&self) -> bool {
        self.state != State::Reached
    }

    /// Whether nothing is known yet: the first attempt is on its way, or still to come.
    pub fn is_new(&self) -> bool {
        self.state == State::New
    }

    /// Whether an attempt now is one to an unreachable host.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Until when nothing starts.
    pub fn hold(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Open { hold, .. } if hold > now => Some(hold),
            _ => None,
        }
    }

    /// Failures since it was last reached.
    pub fn row(&self) -> u32 {
        self.row
    }

    /// Why jobs fail without an attempt; `None`: they do not.
    pub fn dead(&self) -> Option<Failure> {
        let (State::Dead { .. }, Some(last)) = (self.state, &self.last) else { return None };
        let message =
            format!("given up: its host cannot be reached, {} failures in a row, the last: {}", self.row, last.message);
        Some(Failure { message, ..Failure::clone(last) })
    }

    /// Whether jobs fail without an attempt.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, State::Dead { .. })
    }

    /// Until when this should be remembered.
    pub fn busy_until(&self) -> Option<Instant> {
        match self.state {
            State::Open { hold: until, .. } | State::Dead { until } => Some(until),
            State::New | State::Reached => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::RETRY;
    use super::*;
    use crate::job::ErrorClass;

    fn refused() -> Failure {
        Failure::new(ErrorClass::Connect, 7, "connection refused")
    }

    #[test]
    fn a_host_that_never_answered_is_given_up_after_one_urls_attempts() {
        let (mut now, mut breaker) = (Instant::now(), Breaker::default());
        let mut holds = Vec::new();
        for _ in 0..4 {
            assert!(breaker.is_single());
            assert_eq!(breaker.unreachable(&refused(), 0, &RETRY, 1.0, now), Found::Held);
            let hold = breaker.hold(now).expect("held");
            holds.push((hold - now).as_secs());
            now = hold;
        }
        assert_eq!(holds, [2, 4, 8, 16]);
        assert_eq!(breaker.unreachable(&refused(), 0, &RETRY, 1.0, now), Found::Dead);
        let failure = breaker.dead().expect("dead");
        assert_eq!((failure.class, failure.exitcode), (ErrorClass::Connect, 7));
        assert!(failure.message.contains("5 failures in a row, the last: connection refused"), "{}", failure.message);
    }

    #[test]
    fn one_that_answered_before_needs_three_in_a_row_with_nobody_served() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        breaker.reached();
        for (running, expected) in [(7, Found::Same), (6, Found::Same), (1, Found::Same), (0, Found::Held)] {
            assert!(!breaker.is_single());
            assert_eq!(breaker.unreachable(&refused(), running, &RETRY, 0.5, now), expected);
        }
        breaker.reached();
        assert_eq!(breaker.unreachable(&refused(), 0, &RETRY, 0.5, now), Found::Same, "counted from anew");
        assert_eq!(breaker.unreachable(&refused(), 0, &RETRY, 0.5, now), Found::Same);
    }

    #[test]
    fn budgets_follow_the_retries() {
        for (retries, class, attempts) in [
            (4, ErrorClass::Connect, 5),
            (9, ErrorClass::Connect, 10),
            (0, ErrorClass::Connect, 3),
            (4, ErrorClass::Dns, 3),
            (0, ErrorClass::Dns, 1),
        ] {
            let (mut now, mut breaker) = (Instant::now(), Breaker::default());
            let retry = Retry { retries, ..RETRY };
            let mut made = 1;
            while breaker.unreachable(&Failure::new(class, 6, ""), 0, &retry, 0.5, now) != Found::Dead {
                now = breaker.hold(now).unwrap_or(now);
                made += 1;
            }
            assert_eq!(made, attempts, "{retries} {class:?}");
        }
    }

    #[test]
    fn a_dead_host_is_tried_once_in_a_while_and_a_success_ends_it() {
        let (mut now, mut breaker) = (Instant::now(), Breaker::default());
        let retry = Retry { retries: 0, ..RETRY };
        let gone = Failure::new(ErrorClass::Dns, 6, "no such host");
        for seconds in [30, 60, 120, 240, 300, 300] {
            assert_eq!(breaker.unreachable(&gone, 0, &retry, 0.5, now), Found::Dead);
            now += Duration::from_secs(seconds - 1);
            breaker.tick(now);
            assert!(breaker.is_dead());
            now += Duration::from_secs(1);
            breaker.tick(now);
            assert!(!breaker.is_dead() && breaker.is_open() && breaker.hold(now).is_none());
        }
        breaker.reached();
        assert!(!breaker.is_single() && breaker.dead().is_none() && breaker.row() == 0);
    }
}
