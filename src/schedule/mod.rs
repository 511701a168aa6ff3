//! What runs when. Pure: no I/O, no clock, no randomness but a seeded one, no libcurl.
//!
//! Jobs come in as they are read, leave when they may start, and come back when an attempt failed; the verdict is
//! settled or tried again later.

mod retry;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use retry::{Options as Retry, Verdict};

use crate::job::{Failure, Job};

/// What runs when.
#[derive(Debug, Clone)]
pub struct Options {
    /// Transfers at once.
    pub jobs: usize,
    /// Which failures are tried again, and when.
    pub retry: Retry,
    /// Seed of the jitter.
    pub seed: u64,
}

/// The jobs that are not running.
pub struct Schedule {
    options: Options,
    ready: VecDeque<Job>,
    /// By time, then in the order in which they came.
    delayed: BTreeMap<(Instant, u64), Job>,
    sequence: u64,
    jitter: fastrand::Rng,
}

impl Schedule {
    /// No jobs yet.
    pub fn new(options: Options) -> Schedule {
        let jitter = fastrand::Rng::with_seed(options.seed);
        Schedule { options, ready: VecDeque::new(), delayed: BTreeMap::new(), sequence: 0, jitter }
    }

    /// Whether more jobs should be read: so many are known that no slot waits for the reader, never more than a few
    /// times the number of slots.
    pub fn wants_more(&self) -> bool {
        self.ready.len() < self.options.jobs && self.delayed.len() < self.options.jobs.saturating_mul(4)
    }

    /// A job that was read.
    pub fn push(&mut self, job: Job) {
        self.ready.push_back(job);
    }

    /// The next job that may start. Those whose time has come go before new ones.
    pub fn next(&mut self, now: Instant) -> Option<Job> {
        match self.delayed.first_entry() {
            Some(first) if first.key().0 <= now => Some(first.remove()),
            _ => self.ready.pop_front(),
        }
    }

    /// When the next delayed job may start.
    pub fn deadline(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// Whether a job whose attempt ended with `failure` is tried again. `status` is the response's, if one came.
    pub fn verdict(&mut self, job: &Job, failure: &Failure, status: Option<u32>) -> Verdict {
        retry::verdict(&self.options.retry, job.num_retries, failure, status, self.jitter.f64())
    }

    /// Gives a job back for another attempt after `delay`.
    pub fn retry(&mut self, mut job: Job, delay: Duration, now: Instant) {
        job.num_retries += 1;
        self.sequence += 1;
        self.delayed.insert((now + delay, self.sequence), job);
    }

    /// Takes everything that waits, in input order.
    pub fn drain(&mut self) -> Vec<Job> {
        let delayed = std::mem::take(&mut self.delayed).into_values();
        let mut jobs: Vec<Job> = self.ready.drain(..).chain(delayed).collect();
        jobs.sort_by_key(|job| job.urlnum);
        jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ErrorClass, Host, Origin};

    fn schedule(jobs: usize) -> Schedule {
        let retry = Retry { retries: 2, delay: Some(Duration::from_secs(1)) };
        Schedule::new(Options { jobs, retry, seed: 1 })
    }

    fn job(urlnum: u64, now: Instant) -> Job {
        Job {
            urlnum,
            origin: Origin { source: "list".into(), line: urlnum + 1 },
            input_line: Vec::new(),
            url: String::new(),
            request_url: String::new(),
            credentials: None,
            host: Host { tls: false, name: "h".into(), port: 80 },
            name: None,
            destination: None,
            num_retries: 0,
            accepted: now,
        }
    }

    #[test]
    fn jobs_start_in_input_order() {
        let now = Instant::now();
        let mut schedule = schedule(10);
        for urlnum in 0..3 {
            schedule.push(job(urlnum, now));
        }
        let order: Vec<_> = std::iter::from_fn(|| schedule.next(now)).map(|job| job.urlnum).collect();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn a_retried_job_waits_its_delay_and_then_goes_first() {
        let now = Instant::now();
        let mut schedule = schedule(10);
        let failure = Failure::new(ErrorClass::Connect, 7, "refused");
        let Verdict::Retry(delay) = schedule.verdict(&job(0, now), &failure, None) else { panic!("not retried") };
        assert_eq!(delay, Duration::from_secs(1));
        schedule.retry(job(0, now), delay, now);
        schedule.push(job(1, now));
        assert_eq!(schedule.deadline(), Some(now + delay));
        assert_eq!(schedule.next(now).map(|job| job.urlnum), Some(1));
        assert_eq!(schedule.next(now), None);
        let again = schedule.next(now + delay).expect("due");
        assert_eq!((again.urlnum, again.num_retries), (0, 1));
    }

    #[test]
    fn reading_stops_when_enough_is_known() {
        let now = Instant::now();
        let mut schedule = schedule(4);
        let mut read = 0;
        while schedule.wants_more() {
            schedule.push(job(read, now));
            read += 1;
        }
        assert_eq!(read, 4);
        schedule.next(now);
        assert!(schedule.wants_more());
        for urlnum in 0..16 {
            schedule.retry(job(urlnum, now), Duration::from_secs(60), now);
        }
        assert!(!schedule.wants_more(), "waiting retries hold the reader back too");
    }

    #[test]
    fn what_waits_is_given_back_in_input_order() {
        let now = Instant::now();
        let mut schedule = schedule(4);
        schedule.push(job(5, now));
        schedule.retry(job(2, now), Duration::from_secs(60), now);
        assert_eq!(schedule.drain().iter().map(|job| job.urlnum).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(schedule.len(), 0);
    }
}
