//! What runs when. Pure: no I/O, no clock, no randomness but a seeded one, no libcurl.
//!
//! Jobs come in as they are read and wait in a queue per host; [`Schedule::next`] lets one start when the run, its host
//! and the rates allow; [`Schedule::ended`] takes it back with how its attempt ended, and keeps it when it is worth
//! another. What an end tells about a host changes how that host is treated, and no other:
//!
//! - [`queues`]: hosts in turn, those with the fewest running transfers first; [`queue`]: one host's jobs.
//! - [`verdict`]: whether a job is tried again, and when; [`retry`]: which failures are worth it, and the delays.
//! - [`pause`]: 429 and Retry-After; [`ramp`]: the slow start after it, and hosts that refuse some connections;
//!   [`pace`]: hosts that limit their rate.
//! - [`breaker`]: hosts that cannot be reached.
//! - [`rate`]: starts per time. [`local`]: this machine's own limits; [`room`]: a full disk. [`auto`]: `-j auto`. [`budget`]: when to give up.

mod auto;
mod breaker;
mod budget;
mod learn;
mod local;
mod notes;
mod options;
mod pace;
mod pause;
mod queue;
mod queues;
mod ramp;
mod rate;
mod retry;
mod room;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::{Duration, Instant};

pub use budget::Budget;
pub use notes::{Level, Note};
pub use options::{Ahead, Jobs, Options, Window};
pub use rate::Rate;
pub use retry::{Attempt, Retry};
pub use verdict::Verdict;

use self::auto::Auto;
use self::budget::Spent;
use self::local::Local;
use self::notes::Notes;
use self::queue::{Limits, Queue};
use self::queues::{HostId, Line, Queues};
use self::rate::Bucket;
use self::room::Room;
use crate::job::{Failure, Host, Job, Outcome};

/// A run that is being stopped waits so long for a rate, and for no pause at all.
const SOON: Duration = Duration::from_secs(1);

/// Transfers that `-j auto` begins with in all, and for each host.
const AUTO_FIRST: usize = 32;
const AUTO_FIRST_HOST: usize = 8;
/// Lines read ahead at least, where few run.
const AHEAD: usize = 64;

/// What is to be done with a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This job starts. It comes back through [`Schedule::ended`], whatever happens to it.
    Start(Job),
    /// This job fails without an attempt: its host is closed or dead. It takes no slot and does not come back.
    Fail(Job, Failure),
    /// Nothing may start before [`Schedule::deadline`], or before something ends, connects or is read.
    Wait,
}

/// A host that is left alone for a while, for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused<'a> {
    /// The host.
    pub host: &'a Host,
    /// The status that paused it; `None`: it could not be reached.
    pub status: Option<u32>,
    /// When it goes on.
    pub until: Instant,
    /// Its jobs that wait.
    pub waiting: usize,
}

/// The jobs that are not running, and what is known about their hosts.
pub struct Schedule {
    options: Options,
    queues: Queues,
    /// Transfers that run, and of those the attempts to unreachable hosts.
    running: usize,
    probing: usize,
    bucket: Bucket,
    local: Local,
    room: Room,
    auto: Option<Auto>,
    spent: Spent,
    notes: Notes,
    /// Nothing may start before, whatever the hosts say.
    held: Option<Instant>,
    is_draining: bool,
    is_window_told: bool,
    is_shortage_told: bool,
    is_full_told: bool,
    sequence: u64,
    jitter: fastrand::Rng,
}

impl Schedule {
    /// No jobs yet.
    pub fn new(options: Options, now: Instant) -> Schedule {
        let auto = match options.jobs {
            Jobs::Fixed(_) => None,
            // One slow host's deadlines must not slow the others: only when half of all ran into one.
            Jobs::Auto { most } => Some(Auto::new(AUTO_FIRST, most, 2, now)),
        };
        Schedule {
            queues: Queues::new(Limits { per_host: options.per_host.max(1), rate: options.rate_per_host }),
            running: 0,
            probing: 0,
            bucket: Bucket::default(),
            local: Local::default(),
            room: Room::default(),
            auto,
            spent: Spent::default(),
            notes: Notes::default(),
            held: None,
            is_draining: false,
            is_window_told: false,
            is_shortage_told: false,
            is_full_told: false,
            sequence: 0,
            jitter: fastrand::Rng::with_seed(options.seed),
            options,
        }
    }

    /// Whether another line should be read: until about as many are known as run; and more, up to the window, while the
    /// next one may bring a host that is missing ([`Ahead`]).
    pub fn wants_more(&self) -> bool {
        let (known, limit) = (self.queues.totals(), self.jobs_limit());
        if self.is_draining || !self.has_room() {
            return false;
        }
        if known.ready < limit.max(AHEAD) {
            return true;
        }
        let is_short_of_hosts = self.options.window.ahead == Ahead::Hosts && known.hosts < limit;
        self.held.is_none() && (known.startable < limit.saturating_sub(self.running) || is_short_of_hosts)
    }

    fn has_room(&self) -> bool {
        let (known, window) = (self.queues.totals(), self.options.window);
        known.waiting == 0 || (known.waiting < window.jobs && known.bytes < window.bytes)
    }

    /// A job that was read.
    pub fn push(&mut self, job: Job, now: Instant) {
        let id = self.host(&job.host, now);
        self.queues.get(id).push(job, now);
        self.queues.refresh(id, now);
        if !self.has_room() && !self.is_window_told {
            self.is_window_told = true;
            let known = self.queues.totals();
            let (jobs, hosts, kib) = (known.waiting, known.hosts, known.bytes / 1024);
            let plural = if hosts == 1 { "" } else { "s" };
            self.notes
                .detail(format!("{jobs} lines of {hosts} host{plural} wait ({kib} KiB): no further ahead is read"));
        }
    }

    fn host(&mut self, host: &Host, now: Instant) -> HostId {
        let per_host = self.queues.limits().per_host;
        let auto = self.auto.is_some().then(|| Auto::new(AUTO_FIRST_HOST, per_host, 20, now));
        self.queues.find_or_insert(host, |host| Queue::new(host, auto))
    }

    /// What may happen now. To be asked until it says [`Next::Wait`].
    pub fn next(&mut self, now: Instant) -> Next {
        self.queues.wake(now);
        if let Some((job, failure)) = self.next_failing(now) {
            return Next::Fail(job, failure);
        }
        self.held = self.hold(now);
        while self.held.is_none() && self.running < self.jobs_limit() {
            let next = self.next_host().or_else(|| self.next_last(now));
            let Some((id, line)) = next.filter(|(id, _)| self.has_slot_for(*id)) else { break };
            let Some(job) = self.queues.start(id, now) else { continue };
            self.room.started(&job, self.running);
            self.running += 1;
            if line == Line::Unreachable {
                self.probing += 1;
                self.queues.get(id).is_probing = true;
            }
            if let Some(rate) = self.options.rate {
                self.bucket.take(rate, now);
            }
            return Next::Start(job);
        }
        Next::Wait
    }

    fn next_failing(&mut self, now: Instant) -> Option<(Job, Failure)> {
        while let Some(id) = self.queues.failing() {
            let queue = self.queues.get(id);
            let failing = queue.failure(now).and_then(|failure| Some((queue.take_failing(now)?, failure)));
            self.queues.refresh(id, now);
            if let Some((job, mut failure)) = failing {
                if job.is_elsewhere() {
                    failure.message += &format!(" (a redirect leads to {})", notes::name(job.target()));
                }
                self.came_back(&job, now);
                return Some((job, failure));
            }
        }
        None
    }

    /// Attempts to unreachable hosts take a quarter of the slots, unless nobody else can use them: they last as long as
    /// the connect timeout.
    fn next_host(&self) -> Option<(HostId, Line)> {
        let first = |line| self.queues.first(line).map(|id| (id, line));
        let share = (self.jobs_limit() / 4).max(1);
        match self.queues.next_reachable() {
            Some(reachable) if self.probing >= share => Some(reachable),
            reachable => first(Line::Unreachable).or(reachable),
        }
    }

    /// Whether a host may take another slot. Its share, one part of as many as there are hosts, is always its own; the shares
    /// of those whose first connection is being made are kept for a moment, or whoever was quicker would have their slots,
    /// and keep them for as long as its transfers take.
    fn has_slot_for(&self, id: HostId) -> bool {
        let (known, limit) = (self.queues.totals(), self.jobs_limit());
        let share = limit / known.hosts.max(1);
        let kept = (known.connecting * share.saturating_sub(1)).min(known.behind);
        self.running + kept < limit || self.queues.occupied(id) < share
    }

    /// What holds every host.
    fn hold(&self, now: Instant) -> Option<Instant> {
        let rate = self.options.rate.and_then(|rate| self.bucket.ready_at(rate)).filter(|at| *at > now);
        rate.max(self.local.until(now))
    }

    /// When [`Schedule::next`] may have another answer although nothing ended, connected or was read.
    pub fn deadline(&self) -> Option<Instant> {
        let is_startable = self.queues.is_startable() || self.room.is_waited_for();
        let has_slot = is_startable && self.running < self.jobs_limit();
        let held = self.held.filter(|_| has_slot);
        [held, self.queues.deadline()].into_iter().flatten().min()
    }

    /// A connection to `host` stands: the other jobs that wait for it may go.
    pub fn connected(&mut self, host: &Host, now: Instant) {
        if let Some(id) = self.queues.find(host) {
            self.reached(id);
            self.queues.refresh(id, now);
        }
    }

    /// A job's attempt ended; its slot is free.
    pub fn ended(&mut self, job: Job, attempt: &Attempt<'_>, now: Instant) -> Verdict {
        self.running = self.running.saturating_sub(1);
        self.came_back(&job, now);
        let Some(id) = self.queues.find(job.target()) else { return Verdict::Settled(job) };
        let sign = retry::sign(attempt);
        self.queues.get(id).end();
        self.learn(id, sign, &job, attempt, now);
        let verdict = match attempt.outcome {
            Err(failure) if !self.is_draining => self.verdict(id, sign, job, failure, attempt, now),
            _ => Verdict::Settled(job),
        };
        self.queues.refresh(id, now);
        verdict
    }

    /// A redirect led `job` on: it waits at that host, before those that were not asked for yet. When nothing that takes
    /// its time is waited for any more, and that host would have it wait, it is given back.
    pub fn follow(&mut self, mut job: Job, now: Instant) -> Option<Job> {
        job.tries.led = Some(now);
        let id = self.host(job.target(), now);
        let limits = self.queues.limits();
        if self.is_draining {
            let (hold, queue) = (self.hold(now), self.queues.get(id));
            if queue.held_until(now).is_some() || hold.max(queue.waits_until(&limits, now)) > Some(now + SOON) {
                return Some(job);
            }
        }
        self.keep(id, job, Queue::push_again, now);
        self.queues.refresh(id, now);
        None
    }

    /// `job` waits at the host `id`, which may not be its own.
    fn keep(&mut self, id: HostId, job: Job, push: fn(&mut Queue, Job, Instant), now: Instant) {
        if job.is_elsewhere() {
            let home = self.host(&job.host, now);
            self.queues.get(home).away += 1;
            self.queues.refresh(home, now);
        }
        push(self.queues.get(id), job, now);
    }

    /// `job` is no longer where a redirect led it, if one did.
    fn came_back(&mut self, job: &Job, now: Instant) {
        if let Some(home) = self.queues.find(&job.host).filter(|_| job.is_elsewhere()) {
            let queue = self.queues.get(home);
            queue.away = queue.away.saturating_sub(1);
            self.queues.refresh(home, now);
        }
    }

    /// Counts a job that was settled, here or elsewhere. Some, once, with the reason, when there were too many
    /// failures: nothing more should start.
    pub fn settled(&mut self, outcome: &Outcome) -> Option<String> {
        self.spent.settled(self.options.budget, outcome)
    }

    /// Takes everything that waits, in input order. From then on nothing is tried again, and nothing starts but what
    /// redirects lead on.
    pub fn drain(&mut self, now: Instant) -> Vec<Job> {
        self.is_draining = true;
        let mut jobs = self.queues.drain(now);
        jobs.iter().for_each(|job| self.came_back(job, now));
        jobs.sort_by_key(|job| job.urlnum);
        jobs
    }

    /// Transfers that run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.queues.totals().waiting
    }

    /// Transfers that may run: `-j`, or where `-j auto` is, less what this machine's limits take.
    pub fn jobs_limit(&self) -> usize {
        let limit = match (self.options.jobs, &self.auto) {
            (Jobs::Fixed(jobs), _) => jobs,
            (Jobs::Auto { most }, auto) => auto.as_ref().map_or(most, Auto::window),
        };
        self.local.limit(limit.max(1))
    }

    /// The hosts that are paused, or could not be reached and are tried again; those that go on soonest first.
    pub fn paused(&self, now: Instant) -> impl Iterator<Item = Paused<'_>> {
        self.queues.paused(now).map(move |(until, queue)| Paused {
            host: &queue.host,
            status: queue.pause.until(now).map(|_| queue.pause.status()),
            until,
            waiting: queue.waiting(),
        })
    }

    /// For how long the host that goes on last, of those that jobs wait for, is paused.
    pub fn longest_pause(&self, now: Instant) -> Duration {
        let last = self.queues.paused(now).rev().find(|(_, queue)| queue.waiting() > 0);
        last.map_or(Duration::ZERO, |(until, _)| until.saturating_duration_since(now))
    }

    /// What happened that no single job tells, for people.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.notes.take()
    }
}
