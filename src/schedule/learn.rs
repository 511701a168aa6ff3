//! What the end of an attempt changes for its host and for the run.

use std::time::Instant;

use super::Schedule;
use super::auto::Served;
use super::breaker::Found;
use super::notes::{name, time};
use super::pause::Asked;
use super::queues::HostId;
use super::retry::{Attempt, Sign};
use crate::job::{ErrorClass, Failure, Job, Persistence};

impl Schedule {
    /// A connection to the host stands.
    pub(super) fn reached(&mut self, id: HostId) {
        self.probed(id);
        self.queues.get(id).breaker.reached();
    }

    fn probed(&mut self, id: HostId) {
        if std::mem::take(&mut self.queues.get(id).is_probing) {
            self.probing = self.probing.saturating_sub(1);
        }
    }

    /// The attempt of `job`, which no longer runs, ended with `sign`.
    pub(super) fn learn(&mut self, id: HostId, sign: Sign, job: &Job, attempt: &Attempt<'_>, now: Instant) {
        self.probed(id);
        let released = job.tries.released.unwrap_or(now);
        self.queues.get(id).ramp.ended(released);
        if attempt.connected || sign == Sign::Served {
            self.reached(id);
        }
        match sign {
            Sign::Served => {
                if attempt.outcome.is_ok() {
                    self.room.fitted(job);
                }
                self.served(id, released, attempt, now);
            }
            Sign::Busy(status) => self.asked(id, status, released, attempt, now),
            Sign::Refused => self.refused(id, released, now),
            Sign::Unreachable => self.unreachable(id, released, attempt, now),
            Sign::Late => {
                if let Some(auto) = &mut self.queues.get(id).auto {
                    auto.late(released, now);
                }
                if let Some(auto) = &mut self.auto {
                    auto.late(released, now);
                }
            }
            Sign::Short => self.short(released, attempt, now),
            Sign::Full => self.full(released, attempt, now),
            Sign::Nothing => {}
        }
    }

    fn served(&mut self, id: HostId, released: Instant, attempt: &Attempt<'_>, now: Instant) {
        let per_host = self.queues.limits().per_host;
        let total = self.running + 1;
        let queue = self.queues.get(id);
        let running = queue.running() + 1;
        let served = Served { released, bytes: attempt.bytes, first_byte: attempt.first_byte, running };
        if queue.pause.served(released) {
            queue.pace.served();
        }
        let cap = match &mut queue.auto {
            Some(auto) => {
                match queue.ramp.is_limiting() {
                    true => auto.suspend(now),
                    false => auto.served(served, now),
                }
                auto.window().min(per_host)
            }
            None => per_host,
        };
        queue.ramp.served(released, cap);
        if let Some(auto) = &mut self.auto {
            auto.served(Served { running: total, ..served }, now);
        }
        self.local.success(self.options.jobs.most());
    }

    /// 429, or 503 with Retry-After.
    fn asked(&mut self, id: HostId, status: u32, released: Instant, attempt: &Attempt<'_>, now: Instant) {
        let jitter = self.jitter.f64();
        let queue = self.queues.get(id);
        let asked = queue.pause.asked(status, attempt.retry_after, released, &self.options.retry, jitter, now);
        if asked == Asked::Known {
            return;
        }
        let running = queue.running() + 1;
        queue.pace.paused(queue.ramp.refused_all());
        queue.ramp.paused(running, now);
        let (host, waiting) = (name(&queue.host), queue.waiting() + 1);
        match asked {
            Asked::Paused(wait) => {
                // What it is told for, without what is added so that not all come back at once.
                let (told, who) = match attempt.retry_after.filter(|named| !named.is_zero()) {
                    Some(named) => (named, "it asked for that"),
                    None => (wait, "it named no time"),
                };
                let wait = if waiting == 1 { "1 URL waits".to_owned() } else { format!("{waiting} URLs wait") };
                let text = format!("{host} answered {status}: paused for {} ({who}), {wait}", time(told));
                // A host that limits its rate pauses every few seconds: once is enough for most people.
                if queue.tell_pause() { self.notes.about_host(text) } else { self.notes.detail(text) }
            }
            Asked::Closed(reason) => {
                self.notes.about_host(format!("{host} {}: its URLs fail", reason.text(status)));
            }
            Asked::Known => {}
        }
    }

    /// It serves some and refuses others: fewer at once.
    fn refused(&mut self, id: HostId, released: Instant, now: Instant) {
        let jitter = self.jitter.f64();
        let retry = &self.options.retry;
        let queue = self.queues.get(id);
        let again = now + retry.delay(ErrorClass::Protocol, queue.ramp.row(), 0, jitter);
        let running = queue.running();
        queue.ramp.refused(running, released, again, now);
    }

    fn unreachable(&mut self, id: HostId, released: Instant, attempt: &Attempt<'_>, now: Instant) {
        let Err(failure) = attempt.outcome else { return };
        let jitter = self.jitter.f64();
        let queue = self.queues.get(id);
        let running = queue.running();
        let found = queue.breaker.unreachable(failure, running, &self.options.retry, jitter, now);
        let (host, row, waiting) = (name(&queue.host), queue.breaker.row(), queue.waiting());
        let hold = queue.breaker.hold(now).map_or_else(Default::default, |hold| hold - now);
        match found {
            Found::Held => self.notes.detail(format!(
                "{host} cannot be reached ({}): one attempt at a time, the next in {}",
                failure.message,
                time(hold)
            )),
            Found::Dead if waiting > 0 => self.notes.about_host(format!(
                "{host} cannot be reached, {row} failures in a row ({}): its URLs fail without an attempt",
                failure.message
            )),
            Found::Dead | Found::Same => {}
        }
        if !self.queues.get(id).breaker.is_single() {
            self.refused(id, released, now);
        }
    }

    /// Whether what this machine is short of will not come back.
    pub(super) fn is_hopeless(&self, now: Instant) -> bool {
        self.local.is_hopeless(self.running, self.options.retry.max_time, now)
    }

    /// This machine has no more to give.
    fn short(&mut self, released: Instant, attempt: &Attempt<'_>, now: Instant) {
        if self.is_hopeless(now) {
            return;
        }
        let Some(most) = self.local.short(self.running, released, now) else { return };
        if let Some(auto) = &mut self.auto {
            auto.halve(now);
        }
        if let (false, Err(Failure { persistence: Persistence::Shortage(lack), message, .. })) =
            (self.is_shortage_told, attempt.outcome)
        {
            self.is_shortage_told = true;
            let lack = lack.as_str();
            self.notes.say(format!(
                "this machine is at a limit, out of {lack} ({message}): {most} transfers at once for a while"
            ));
        }
    }

    /// What did not fit on the disk beside others may fit alone: those that run go on, everything else waits a moment,
    /// and fewer run for a while.
    fn full(&mut self, released: Instant, attempt: &Attempt<'_>, now: Instant) {
        // Alone there is nothing to wait for.
        let lowered = self.running > 0 && self.local.short(self.running, released, now).is_some();
        if let (true, Some(auto)) = (lowered, &mut self.auto) {
            auto.halve(now);
        }
        if let (false, Err(failure)) = (self.is_full_told, attempt.outcome) {
            self.is_full_told = true;
            self.notes
                .say(format!("the disk is full ({}): what does not fit fails, the rest goes on", failure.message));
        }
    }
}
