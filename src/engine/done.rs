//! Attempts that are over.

use std::task::Poll;
use std::time::{Duration, Instant};

use super::cancelled;
use crate::job::{ErrorClass, Failure, Hop, Job, Stats};
use crate::sink::Body;

/// A job back from its attempt.
pub struct Done {
    /// The job.
    pub job: Job,
    /// Its body; `None` when no handle could be made for it.
    pub body: Option<Body>,
    /// Whether the response is whole and wanted.
    pub result: Result<(), Failure>,
    /// What libcurl measured; `None` when nothing was sent.
    pub stats: Option<Stats>,
    /// How long the last response asked to keep away (Retry-After).
    pub retry_after: Option<Duration>,
    /// Whether a request was sent.
    pub connected: bool,
    /// Where the response leads; whole and wanted is what comes from there.
    pub hop: Option<Box<Hop>>,
    /// When the attempt began.
    pub started: Instant,
}

impl Done {
    /// An attempt that could not begin.
    pub(super) fn unsent(job: Job, failure: Failure, now: Instant) -> Done {
        let (body, stats, retry_after, hop) = (None, None, None, None);
        Done { job, body, result: Err(failure), stats, retry_after, connected: false, hop, started: now }
    }

    /// Nobody waits for it any more: it is cancelled, unless it had failed before and is over with.
    pub(super) fn cancel(&mut self) {
        if self.result.is_ok() || self.poll_settled().is_pending() {
            self.result = Err(cancelled());
        }
    }

    /// Whether what came is where it belongs, unless nobody waits for it any more.
    pub(super) fn poll_settled(&self) -> Poll<()> {
        let is_left = matches!(&self.result, Err(failure) if failure.class == ErrorClass::Cancelled);
        self.body.as_ref().filter(|_| !is_left).map_or(Poll::Ready(()), Body::poll_settled)
    }

    /// [`Body::catch_up`], where the body is of use.
    fn catch_up(&mut self, bytes: &mut u64) -> Poll<()> {
        let body = self.body.as_mut().filter(|_| self.result.is_ok());
        body.map_or(Poll::Ready(()), |body| body.catch_up(bytes))
    }

    /// Whether it can be given back.
    pub(super) fn poll(&mut self, bytes: &mut u64) -> Poll<()> {
        if self.poll_settled().is_pending() { Poll::Pending } else { self.catch_up(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Host;

    #[test]
    fn what_is_cancelled_is_not_whole_any_more_and_a_failure_stays_one() {
        let host = Host { tls: false, name: "h".into(), port: 80 };
        let mut done = Done::unsent(Job::of(host), Failure::local("no file"), Instant::now());
        for (result, class) in [(Ok(()), ErrorClass::Cancelled), (Err(Failure::local("x")), ErrorClass::Local)] {
            done.result = result;
            done.cancel();
            assert_eq!(done.result.as_ref().err().map(|failure| failure.class), Some(class));
        }
    }
}
