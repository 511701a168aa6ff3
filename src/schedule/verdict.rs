//! What becomes of a job whose attempt failed: whether it is tried again, and when.

use std::time::Instant;

use super::Schedule;
use super::queue::Queue;
use super::queues::HostId;
use super::retry::{self, Attempt, Sign};
use crate::job::{ErrorClass, Failure, Job, Persistence, Restart};

/// What becomes of a job whose attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt's outcome is the job's.
    Settled(Job),
    /// The job failed, and this says more about it than the attempt's own failure.
    Failed(Job, Failure),
    /// It is tried again; the schedule has it.
    Kept,
}

/// Whether another attempt follows, and what it costs.
enum Again {
    /// None.
    No,
    /// None, and this is why.
    Never(String),
    /// Before all others of its host, since nothing was sent: that was no attempt.
    First,
    /// As soon as its host allows, for nothing.
    Free,
    /// The same, when nothing else is left.
    Last,
    /// As soon as its host allows, for nothing, since the host asked for it.
    Paused,
    /// As soon as its host allows.
    Probe,
    /// Not before.
    At(Instant),
}

impl Schedule {
    /// The attempt of `job` at the host `id` ended with `failure`, a `sign` of that.
    pub(super) fn verdict(
        &mut self,
        id: HostId,
        sign: Sign,
        mut job: Job,
        failure: &Failure,
        attempt: &Attempt<'_>,
        now: Instant,
    ) -> Verdict {
        let again = self.again(id, sign, &job, failure, attempt, now);
        match again {
            Again::No => return Verdict::Settled(job),
            Again::Never(message) => return Verdict::Failed(job, Failure { message, ..failure.clone() }),
            Again::First => {
                self.keep(id, job, Queue::push_first, now);
                return Verdict::Kept;
            }
            Again::Free => job.tries.free += 1,
            Again::Last => self.room.waits(&mut job),
            Again::Paused => (job.tries.free, job.tries.pauses) = (job.tries.free + 1, job.tries.pauses + 1),
            Again::Probe | Again::At(_) => {}
        }
        (job.num_retries, job.tries.ended) = (job.num_retries + 1, Some(now));
        retry::restart(&job, failure).into_iter().for_each(|reason| job.tries.restarts.add(reason));
        match again {
            Again::At(at) => self.delay(job, at, now),
            Again::Last => self.keep(id, job, Queue::push_last, now),
            _ => self.keep(id, job, Queue::push_again, now),
        }
        Verdict::Kept
    }

    fn again(
        &mut self,
        id: HostId,
        sign: Sign,
        job: &Job,
        failure: &Failure,
        attempt: &Attempt<'_>,
        now: Instant,
    ) -> Again {
        let class = failure.class;
        let restart = retry::restart(job, failure).filter(|reason| !job.tries.restarts.has(*reason));
        match (sign, failure.persistence) {
            (Sign::Busy(status), _) => self.after_pause(id, status, job, failure, now),
            (Sign::Short, _) if self.is_hopeless(now) => Again::No,
            (Sign::Short, _) => Again::Free,
            (Sign::Full, _) if self.room.was_alone(job) || !self.options.retry.in_time(job, now) => Again::No,
            (Sign::Full, _) => Again::Last,
            (_, Persistence::Held) => Again::First,
            (_, Persistence::Advancing) => Again::Free,
            _ if matches!(restart, Some(Restart::Unfit | Restart::Refused)) => Again::Free,
            (Sign::Unreachable, _) if self.queues.get(id).breaker.is_single() => self.probe(id, class, job, now),
            _ => self.later(id, job, failure, attempt, now),
        }
    }

    fn after_pause(&mut self, id: HostId, status: u32, job: &Job, failure: &Failure, now: Instant) -> Again {
        let (retry, queue) = (&self.options.retry, self.queues.get(id));
        if let Some(why) = queue.failure(now) {
            return Again::Never(why.message);
        }
        let until = queue.pause.until(now).unwrap_or(now);
        if retry.may_pause(job) && retry.in_time(job, until) {
            return Again::Paused;
        }
        let times = job.tries.pauses + 1;
        Again::Never(format!("{}: told to come back later {times} times ({status})", failure.message))
    }

    /// At a host of which nobody knows whether it can be reached.
    fn probe(&mut self, id: HostId, class: ErrorClass, job: &Job, now: Instant) -> Again {
        let (retry, breaker) = (&self.options.retry, &self.queues.get(id).breaker);
        let hold = breaker.hold(now).unwrap_or(now);
        match !breaker.is_dead() && retry.has_left(job, class) && retry.in_time(job, hold) {
            true => Again::Probe,
            false => Again::No,
        }
    }

    /// One of the attempts that a job has.
    fn later(&mut self, id: HostId, job: &Job, failure: &Failure, attempt: &Attempt<'_>, now: Instant) -> Again {
        let (retry, class) = (&self.options.retry, failure.class);
        let is_spent = class == ErrorClass::Checksum && job.tries.restarts.has(Restart::Damaged);
        let may_pass = retry::may_pass(failure, attempt.status) || retry::may_be_stale(job, class);
        if is_spent || !may_pass || !retry.has_left(job, class) {
            return Again::No;
        }
        let failed = job.num_retries.saturating_sub(job.tries.free);
        let at = now + retry.delay(class, failed, self.queues.get(id).delayed(), self.jitter.f64());
        if retry.in_time(job, at) { Again::At(at) } else { Again::No }
    }

    /// `job` waits until `at`, and begins at its own host again.
    fn delay(&mut self, mut job: Job, at: Instant, now: Instant) {
        // Where it led may have been meant for this attempt alone.
        job.hop = None;
        self.sequence += 1;
        let (home, sequence) = (self.host(&job.host, now), self.sequence);
        self.queues.get(home).push_delayed(job, at, sequence, now);
        self.queues.refresh(home, now);
    }
}
