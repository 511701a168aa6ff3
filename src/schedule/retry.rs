//! Settled, or tried again after a while: one function of the failure and the attempts so far.

use std::time::Duration;

use crate::job::{ErrorClass, Failure, Persistence};

/// The longest delay of the exponential back-off.
const LONGEST: Duration = Duration::from_secs(60);

/// How often and how soon.
#[derive(Debug, Clone)]
pub struct Options {
    /// Attempts after the first.
    pub retries: u32,
    /// A fixed delay; `None`: one second, doubled with each attempt, with full jitter.
    pub delay: Option<Duration>,
}

/// What becomes of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The failure stands.
    Settled,
    /// Another attempt, after this long.
    Retry(Duration),
}

/// The verdict on an attempt that ended with `failure` (and `status`, where a response came) after `retries` others.
/// `jitter` is in 0..1.
pub fn verdict(options: &Options, retries: u32, failure: &Failure, status: Option<u32>, jitter: f64) -> Verdict {
    if retries >= options.retries || !may_pass(failure, status) {
        return Verdict::Settled;
    }
    Verdict::Retry(options.delay.unwrap_or_else(|| backoff(retries).mul_f64(jitter)))
}

/// Whether another attempt can end otherwise.
fn may_pass(failure: &Failure, status: Option<u32>) -> bool {
    match (failure.class, status) {
        (ErrorClass::Http, Some(status)) => {
            matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524)
        }
        _ => failure.persistence == Persistence::Passing,
    }
}

/// Upper bound of the delay after `retries` retries.
fn backoff(retries: u32) -> Duration {
    Duration::from_secs(1).saturating_mul(1 << retries.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { retries: 4, delay: None };

    fn failure(class: ErrorClass) -> Failure {
        Failure::new(class, 0, "")
    }

    #[test]
    fn statuses_that_may_pass_are_retried_and_no_others() {
        for status in 300..600 {
            let retried = verdict(&OPTIONS, 0, &failure(ErrorClass::Http), Some(status), 0.5) != Verdict::Settled;
            let expected = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524].contains(&status);
            assert_eq!(retried, expected, "{status}");
        }
    }

    #[test]
    fn classes_that_may_pass_are_retried_and_no_others() {
        for (class, retried) in [
            (ErrorClass::Input, false),
            (ErrorClass::Dns, true),
            (ErrorClass::Connect, true),
            (ErrorClass::Tls, true),
            (ErrorClass::Timeout, true),
            (ErrorClass::Stall, true),
            (ErrorClass::Redirect, false),
            (ErrorClass::Protocol, true),
            (ErrorClass::Partial, true),
            (ErrorClass::Range, false),
            (ErrorClass::Checksum, false),
            (ErrorClass::TooLarge, false),
            (ErrorClass::Local, false),
            (ErrorClass::Cancelled, false),
        ] {
            let verdict = verdict(&OPTIONS, 0, &failure(class), None, 0.5);
            assert_eq!(verdict != Verdict::Settled, retried, "{class:?}");
        }
    }

    #[test]
    fn what_the_engine_knows_better_counts() {
        let refused = failure(ErrorClass::Tls).lasting();
        assert_eq!(verdict(&OPTIONS, 0, &refused, None, 0.5), Verdict::Settled);
        let no_descriptor = failure(ErrorClass::Local).passing();
        assert_ne!(verdict(&OPTIONS, 0, &no_descriptor, None, 0.5), Verdict::Settled);
    }

    #[test]
    fn the_budget_ends() {
        let stalled = failure(ErrorClass::Stall);
        assert_ne!(verdict(&OPTIONS, 3, &stalled, None, 0.5), Verdict::Settled);
        assert_eq!(verdict(&OPTIONS, 4, &stalled, None, 0.5), Verdict::Settled);
        let never = Options { retries: 0, delay: None };
        assert_eq!(verdict(&never, 0, &stalled, None, 0.5), Verdict::Settled);
    }

    #[test]
    fn delays_double_up_to_a_minute_with_full_jitter() {
        let many = Options { retries: 100, delay: None };
        let delay = |retries, jitter| match verdict(&many, retries, &failure(ErrorClass::Stall), None, jitter) {
            Verdict::Retry(delay) => delay,
            Verdict::Settled => panic!("settled"),
        };
        for (retries, longest) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (40, 60)] {
            assert_eq!(delay(retries, 1.0), Duration::from_secs(longest), "after {retries}");
            assert_eq!(delay(retries, 0.0), Duration::ZERO);
        }
    }

    #[test]
    fn a_given_delay_is_kept() {
        let fixed = Options { retries: 4, delay: Some(Duration::from_millis(1500)) };
        for jitter in [0.0, 0.9] {
            let verdict = verdict(&fixed, 2, &failure(ErrorClass::Connect), None, jitter);
            assert_eq!(verdict, Verdict::Retry(Duration::from_millis(1500)));
        }
    }
}
