//! What the end of an attempt means: a sign about its host, and for its job whether another attempt is worth it, and
//! when.

use std::time::{Duration, Instant};

use crate::job::{self, ErrorClass, Failure, Job, Persistence, Restart};

/// Upper bound of the first delay. With full jitter the mean is half of it, and a server that is back after three
/// seconds is missed by four retries once in 300 times.
const FIRST: Duration = Duration::from_secs(2);
/// The longest delay of the exponential back-off.
const LONGEST: Duration = Duration::from_secs(60);
/// A thousand transfers that fail together would come back together: each that already waits for the same host widens
/// the delay, so that a host gets no more than about a hundred retries a second.
const SPACE: Duration = Duration::from_millis(10);
/// libcurl remembers that a name does not exist for half of `CURLOPT_DNS_CACHE_TIMEOUT`, 60 s by default; an earlier
/// retry cannot succeed.
const NEGATIVE_CACHE: Duration = Duration::from_secs(31);
/// Retries of a failed name lookup, at most: they are long apart, and most such names do not exist.
const DNS_RETRIES: u32 = 2;
/// From this age on a redirect may no longer hold: servers sign where they lead for minutes, or less.
const STALE: Duration = Duration::from_secs(10);
/// How often a URL may be told to come back later.
const PAUSES: u32 = 20;

/// How often and how soon: `--retry`, `--retry-delay`, `--retry-max-time`, `--retry-after-max`.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Attempts after the first.
    pub retries: u32,
    /// A fixed delay; `None`: up to 2 s, doubled with each attempt up to a minute, with full jitter.
    pub delay: Option<Duration>,
    /// No attempt starts later than this after the first.
    pub max_time: Duration,
    /// A host that names a longer time than this is closed.
    pub retry_after_max: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Whether the response is whole and wanted.
    pub outcome: Result<(), &'a Failure>,
    /// The last response's status, if one came.
    pub status: Option<u32>,
    /// What the last response's Retry-After comes to from now on: seconds as given, a date less the response's `Date`;
    /// zero for a date in the past.
    pub retry_after: Option<Duration>,
    /// Whether a request was sent: the connection stood, TLS included.
    pub connected: bool,
    /// Start to the first byte, when one came.
    pub first_byte: Option<Duration>,
    /// Body bytes received.
    pub bytes: u64,
}

/// What an attempt tells about its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answers, be it with a 404.
    Served,
    /// It asks to be left alone for a while: 429, or 503 with Retry-After.
    Busy(u32),
    /// It may have more connections than it wants: 503, or broken off before any answer.
    Refused,
    /// No request could be sent.
    Unreachable,
    /// A deadline passed while it was to answer or to send.
    Late,
    /// This machine had no descriptor, port or buffer left.
    Short,
    /// The disk is full.
    Full,
    /// Nothing.
    Nothing,
}

/// What `attempt` tells about its host.
pub fn sign(attempt: &Attempt<'_>) -> Sign {
    let Err(failure) = attempt.outcome else { return Sign::Served };
    match (failure.class, failure.persistence) {
        (_, Persistence::Shortage(_)) => Sign::Short,
        (_, Persistence::NoSpace) => Sign::Full,
        (_, Persistence::Advancing) => Sign::Served,
        (ErrorClass::Local | ErrorClass::Cancelled | ErrorClass::Input, _) => Sign::Nothing,
        (ErrorClass::Http, _) => match attempt.status {
            Some(status) if job::asks_for_a_pause(status, attempt.retry_after.is_some()) => Sign::Busy(status),
            Some(503) => Sign::Refused,
            // A gateway's word about somebody else.
            Some(502 | 504 | 520..=524) => Sign::Nothing,
            _ => Sign::Served,
        },
        (_, Persistence::Passing) if !attempt.connected => Sign::Unreachable,
        (ErrorClass::Timeout | ErrorClass::Stall, _) => Sign::Late,
        (ErrorClass::Protocol, _) => Sign::Refused,
        (ErrorClass::Partial | ErrorClass::Dns | ErrorClass::Connect, _) => Sign::Nothing,
        // A refused certificate too: somebody is there.
        _ => Sign::Served,
    }
}

/// Whether another attempt can end otherwise.
pub fn may_pass(failure: &Failure, status: Option<u32>) -> bool {
    match (failure.class, status) {
        (ErrorClass::Http, Some(status)) => {
            matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 520..=524)
        }
        _ => failure.persistence != Persistence::Lasting,
    }
}

/// Why another attempt would begin at the first byte again, of what that is done for once.
pub fn restart(job: &Job, failure: &Failure) -> Option<Restart> {
    match (failure.class, failure.persistence) {
        (ErrorClass::Range, Persistence::Passing) => Some(Restart::Unfit),
        (ErrorClass::Checksum, Persistence::Passing) => Some(Restart::Damaged),
        (class, Persistence::OfPart) if !may_be_stale(job, class) => Some(Restart::Refused),
        _ => None,
    }
}

/// Whether `job`, which was refused, had waited so long where a redirect led that this may no longer hold. The URL as it
/// was given leads to another place then.
pub fn may_be_stale(job: &Job, class: ErrorClass) -> bool {
    let waited = job.tries.released.zip(job.tries.led).map(|(released, led)| released.saturating_duration_since(led));
    class == ErrorClass::Http && job.hop.is_some() && waited.is_some_and(|waited| waited >= STALE)
}

impl Retry {
    /// Whether `job`, whose attempt ended with a failure of `class`, has an attempt left.
    pub fn has_left(&self, job: &Job, class: ErrorClass) -> bool {
        let spent = job.num_retries.saturating_sub(job.tries.free);
        spent < if class == ErrorClass::Dns { self.retries.min(DNS_RETRIES) } else { self.retries }
    }

    /// Failed attempts after the first for which a host that cannot be reached is given up: what one URL's retries come
    /// to, but never fewer than three attempts where a connection failed, which can be chance.
    pub fn probes(&self, class: ErrorClass) -> u32 {
        if class == ErrorClass::Dns { self.retries.min(DNS_RETRIES) } else { self.retries.max(2) }
    }

    /// Whether `job` may start as late as `at`.
    pub fn in_time(&self, job: &Job, at: Instant) -> bool {
        job.tries.first.is_none_or(|first| at.saturating_duration_since(first) <= self.max_time)
    }

    /// Whether `job` may be told to wait once more.
    pub fn may_pause(&self, job: &Job) -> bool {
        job.tries.pauses < PAUSES
    }

    /// How long to wait before the next attempt, after `failed` others and with `crowd` jobs waiting for the same host.
    /// `jitter` is in 0..1.
    pub fn delay(&self, class: ErrorClass, failed: u32, crowd: usize, jitter: f64) -> Duration {
        let jittered = || {
            let exponential = FIRST.saturating_mul(1 << failed.min(16)).min(LONGEST);
            let crowded = SPACE.saturating_mul(u32::try_from(crowd).unwrap_or(u32::MAX)).min(LONGEST);
            exponential.max(crowded).mul_f64(jitter)
        };
        match (class, self.delay) {
            (ErrorClass::Dns, Some(delay)) => delay.max(NEGATIVE_CACHE),
            (ErrorClass::Dns, None) => NEGATIVE_CACHE + jittered(),
            (_, Some(delay)) => delay,
            (_, None) => jittered(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RETRY, hop, job};
    use super::*;
    use crate::job::Lack;

    fn failure(class: ErrorClass) -> Failure {
        Failure::new(class, 0, "")
    }

    #[test]
    fn statuses_that_may_pass_are_retried_and_no_others() {
        for status in 300..600 {
            let expected = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524].contains(&status);
            assert_eq!(may_pass(&failure(ErrorClass::Http), Some(status)), expected, "{status}");
        }
    }

    #[test]
    fn what_is_begun_anew_is_begun_for_a_reason() {
        let now = Instant::now();
        let mut job = job(0, "h", now);
        let refused = failure(ErrorClass::Http).of_part();
        assert_eq!(restart(&job, &refused), Some(Restart::Refused));
        for (class, reason) in [(ErrorClass::Range, Restart::Unfit), (ErrorClass::Checksum, Restart::Damaged)] {
            assert_eq!(restart(&job, &failure(class).passing()), Some(reason));
            assert_eq!(restart(&job, &failure(class)), None, "it will be the same");
        }
        assert_eq!(restart(&job, &failure(ErrorClass::Http)), None);
        (job.hop, job.tries.led, job.tries.released) = (Some(hop("other")), Some(now), Some(now + STALE));
        assert_eq!(restart(&job, &refused), None, "the URL leads to another place by now");
    }

    #[test]
    fn classes_that_may_pass_are_retried_and_no_others() {
        use ErrorClass::*;
        for class in ErrorClass::ALL {
            let expected = [Dns, Connect, Tls, Timeout, Stall, Http, Protocol, Partial].contains(&class);
            assert_eq!(may_pass(&failure(class), None), expected, "{class:?}");
        }
        assert!(!may_pass(&failure(Tls).lasting(), None), "a refused certificate");
        assert!(may_pass(&failure(Local).shortage(Lack::Descriptors), None), "no descriptor");
    }

    #[test]
    fn each_end_is_a_sign_about_the_host() {
        use ErrorClass::*;
        let http = |status, retry_after: Option<u64>| (failure(Http), Some(status), retry_after, true);
        for ((failure, status, retry_after, connected), expected) in [
            (http(404, None), Sign::Served),
            (http(500, None), Sign::Served),
            (http(429, None), Sign::Busy(429)),
            (http(429, Some(3)), Sign::Busy(429)),
            (http(503, Some(3)), Sign::Busy(503)),
            (http(503, None), Sign::Refused),
            (http(502, Some(3)), Sign::Nothing),
            ((failure(Dns), None, None, false), Sign::Unreachable),
            ((failure(Connect), None, None, false), Sign::Unreachable),
            ((failure(Tls), None, None, false), Sign::Unreachable),
            ((failure(Timeout), None, None, false), Sign::Unreachable),
            ((failure(Tls).lasting(), None, None, false), Sign::Served),
            ((failure(Connect), Some(302), None, true), Sign::Nothing),
            ((failure(Timeout), None, None, true), Sign::Late),
            ((failure(Stall), Some(200), None, true), Sign::Late),
            ((failure(Protocol), None, None, true), Sign::Refused),
            ((failure(Partial), Some(200), None, true), Sign::Nothing),
            ((failure(TooLarge), Some(200), None, true), Sign::Served),
            ((failure(Local).shortage(Lack::Descriptors), None, None, false), Sign::Short),
            ((failure(Local).no_space(), None, None, true), Sign::Full),
            ((failure(Partial).advancing(), Some(206), None, true), Sign::Served),
            ((failure(Local).passing(), None, None, true), Sign::Nothing),
            ((failure(Local), Some(200), None, true), Sign::Nothing),
            ((failure(Cancelled), None, None, false), Sign::Nothing),
        ] {
            let retry_after = retry_after.map(Duration::from_secs);
            let (first_byte, bytes) = (None, 0);
            let outcome = Err(&failure);
            let attempt = Attempt { outcome, status, retry_after, connected, first_byte, bytes };
            assert_eq!(sign(&attempt), expected, "{failure:?} {status:?} {retry_after:?} {connected}");
        }
    }

    #[test]
    fn the_budget_counts_what_costs_an_attempt() {
        let now = Instant::now();
        for (retries, num_retries, free, class, left) in [
            (4, 0, 0, ErrorClass::Stall, true),
            (4, 3, 0, ErrorClass::Stall, true),
            (4, 4, 0, ErrorClass::Stall, false),
            (4, 12, 9, ErrorClass::Stall, true),
            (4, 1, 0, ErrorClass::Dns, true),
            (4, 2, 0, ErrorClass::Dns, false),
            (1, 1, 0, ErrorClass::Dns, false),
            (0, 0, 0, ErrorClass::Stall, false),
        ] {
            let mut job = job(0, "h", now);
            (job.num_retries, job.tries.free) = (num_retries, free);
            let retry = Retry { retries, ..RETRY };
            assert_eq!(retry.has_left(&job, class), left, "{retries} {num_retries} {free} {class:?}");
        }
    }

    #[test]
    fn no_attempt_starts_later_than_the_limit_after_the_first() {
        let (now, mut job) = (Instant::now(), job(0, "h", Instant::now()));
        assert!(RETRY.in_time(&job, now + RETRY.max_time * 9), "it was never tried");
        job.tries.first = Some(now);
        assert!(RETRY.in_time(&job, now + RETRY.max_time));
        assert!(!RETRY.in_time(&job, now + RETRY.max_time + Duration::from_secs(1)));
    }

    #[test]
    fn delays_double_up_to_a_minute_with_full_jitter() {
        for (failed, longest) in [(0, 2), (1, 4), (2, 8), (4, 32), (5, 60), (40, 60)] {
            let delay = |jitter| RETRY.delay(ErrorClass::Stall, failed, 1, jitter);
            assert_eq!(delay(1.0), Duration::from_secs(longest), "after {failed}");
            assert_eq!(delay(0.0), Duration::ZERO);
        }
    }

    #[test]
    fn a_crowd_spreads_wider() {
        for (crowd, longest_ms) in [(1, 2_000), (200, 2_000), (1_000, 10_000), (1_000_000, 60_000)] {
            let delay = RETRY.delay(ErrorClass::Stall, 0, crowd, 1.0);
            assert_eq!(delay, Duration::from_millis(longest_ms), "{crowd}");
        }
    }

    #[test]
    fn a_given_delay_is_kept_but_a_name_is_not_asked_for_before_libcurl_forgets() {
        let delay = Some(Duration::from_millis(1500));
        let fixed = Retry { delay, ..RETRY };
        for jitter in [0.0, 0.9] {
            assert_eq!(Some(fixed.delay(ErrorClass::Connect, 2, 5_000, jitter)), delay);
        }
        assert_eq!(fixed.delay(ErrorClass::Dns, 0, 0, 0.5), NEGATIVE_CACHE);
        assert_eq!(RETRY.delay(ErrorClass::Dns, 0, 0, 0.5), NEGATIVE_CACHE + Duration::from_secs(1));
    }
}
