//! One host: the jobs that wait for it and everything that decides when the next one may start.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::auto::Auto;
use super::breaker::Breaker;
use super::pace::Pace;
use super::pause::Pause;
use super::ramp::Ramp;
use super::rate::{Bucket, Rate};
use crate::job::{ErrorClass, Failure, Host, Job};

/// So many jobs of one host, and as many as may run, can be at the hosts that redirects led to before no more are
/// started: those wait there, perhaps with a URL that holds for minutes alone.
const AWAY: usize = 64;

/// What holds for every host.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Transfers of one host at once.
    pub per_host: usize,
    /// Starts of one host per time.
    pub rate: Option<Rate>,
}

/// A job that waits.
#[derive(Debug)]
struct Waiting {
    job: Job,
    /// What it takes in memory.
    bytes: usize,
    /// The host's clock of pauses when it began to wait.
    paused: Duration,
}

/// The jobs of one host.
#[derive(Debug)]
pub struct Queue {
    /// Whose jobs these are.
    pub host: Host,
    /// Released before, but not asked for; or a redirect led here. Their places are older than all others.
    first: VecDeque<Box<Waiting>>,
    /// They were tried and may be tried again; they go before new ones, or their partial files would lie about.
    again: VecDeque<Box<Waiting>>,
    fresh: VecDeque<Box<Waiting>>,
    /// The disk had no room for them: not before nothing else is left.
    last: VecDeque<Box<Waiting>>,
    /// In back-off, by time, then in the order in which they came.
    delayed: BTreeMap<(Instant, u64), Box<Waiting>>,
    /// Memory of all of them.
    bytes: usize,
    /// Transfers that run.
    running: usize,
    /// Its jobs that redirects led to other hosts, and that wait or run there.
    pub away: usize,
    /// Whether the one that runs is an attempt to an unreachable host.
    pub is_probing: bool,
    /// 429 and Retry-After.
    pub pause: Pause,
    /// Slow start.
    pub ramp: Ramp,
    /// The space between starts that it bears.
    pub pace: Pace,
    /// Whether it can be reached.
    pub breaker: Breaker,
    /// `--rate-per-host`.
    pub bucket: Bucket,
    /// `-j auto`.
    pub auto: Option<Box<Auto>>,
    is_pause_told: bool,
}

/// Whether a host's next job may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// No job waits.
    Empty,
    /// So many may start now.
    Start(usize),
    /// Not before.
    At(Instant),
    /// When a transfer of the host ends or connects.
    Event,
    /// When nothing else is left.
    Last,
    /// Never: its jobs fail.
    Fail,
}

impl Queue {
    /// A host without jobs.
    pub fn new(host: Host, auto: Option<Auto>) -> Queue {
        Queue {
            host,
            first: VecDeque::new(),
            again: VecDeque::new(),
            fresh: VecDeque::new(),
            last: VecDeque::new(),
            delayed: BTreeMap::new(),
            bytes: 0,
            running: 0,
            away: 0,
            is_probing: false,
            pause: Pause::default(),
            ramp: Ramp::default(),
            pace: Pace::default(),
            breaker: Breaker::default(),
            bucket: Bucket::default(),
            auto: auto.map(Box::new),
            is_pause_told: false,
        }
    }

    /// A job that was not tried yet.
    pub fn push(&mut self, job: Job, now: Instant) {
        let waiting = self.wrap(job, now);
        self.fresh.push_back(waiting);
    }

    /// A job that is tried again, or that a redirect led here, as soon as the host allows it.
    pub fn push_again(&mut self, job: Job, now: Instant) {
        let waiting = self.wrap(job, now);
        self.stand(waiting);
    }

    fn stand(&mut self, waiting: Box<Waiting>) {
        let queue = if waiting.job.hop.is_some() { &mut self.first } else { &mut self.again };
        queue.push_back(waiting);
    }

    /// A job that was released, and is to be released again before all others.
    pub fn push_first(&mut self, job: Job, now: Instant) {
        let waiting = self.wrap(job, now);
        self.first.push_front(waiting);
    }

    /// A job that is tried again after [`Queue::release_last`].
    pub fn push_last(&mut self, job: Job, now: Instant) {
        let waiting = self.wrap(job, now);
        self.last.push_back(waiting);
    }

    /// The next of those may be tried again as soon as the host allows it.
    pub fn release_last(&mut self) {
        if let Some(waiting) = self.last.pop_front() {
            self.stand(waiting);
        }
    }

    /// A job that is tried again at `at`; `sequence` keeps the order of equals.
    pub fn push_delayed(&mut self, job: Job, at: Instant, sequence: u64, now: Instant) {
        let waiting = self.wrap(job, now);
        self.delayed.insert((at, sequence), waiting);
    }

    fn wrap(&mut self, job: Job, now: Instant) -> Box<Waiting> {
        let text = job.input_line.capacity() + job.url.capacity() + job.request_url.capacity();
        let names = job.name.as_ref().map_or(0, String::capacity)
            + job.destination.as_ref().map_or(0, |destination| destination.as_os_str().len());
        let hop = job.hop.as_ref().map_or(0, |hop| size_of_val(&**hop) + 2 * (hop.url.len() + hop.from.len()));
        let bytes = size_of::<Waiting>() + text + names + hop;
        self.bytes += bytes;
        Box::new(Waiting { job, bytes, paused: self.pause.clock(now) })
    }

    fn unwrap(&mut self, waiting: Waiting, now: Instant) -> Job {
        let Waiting { mut job, bytes, paused } = waiting;
        self.bytes -= bytes;
        let paused = self.pause.clock(now).saturating_sub(paused);
        if !paused.is_zero() {
            *job.tries.host_paused.get_or_insert_default() += paused;
        }
        job
    }

    /// Takes the next job for an attempt that starts now.
    pub fn start(&mut self, rate: Option<Rate>, now: Instant) -> Option<Job> {
        // A host that refuses one URL again and again may serve the others.
        let waiting = self.first.pop_front().or_else(|| match self.pause.is_vain() {
            true => self.fresh.pop_front().or_else(|| self.again.pop_front()),
            false => self.again.pop_front().or_else(|| self.fresh.pop_front()),
        });
        let mut job = self.unwrap(*waiting?, now);
        job.tries.first.get_or_insert(now);
        job.tries.released = Some(now);
        self.running += 1;
        self.ramp.started(self.running, now);
        self.pace.started(now);
        self.breaker.started(now);
        if let Some(rate) = rate {
            self.bucket.take(rate, now);
        }
        Some(job)
    }

    /// An attempt ended.
    pub fn end(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Takes the next job to be failed; delayed ones too.
    pub fn take_failing(&mut self, now: Instant) -> Option<Job> {
        let waiting = self.first.pop_front().or_else(|| self.again.pop_front()).or_else(|| self.fresh.pop_front());
        let waiting = waiting.or_else(|| self.delayed.pop_first().map(|(_, waiting)| waiting));
        let waiting = waiting.or_else(|| self.last.pop_front())?;
        Some(self.unwrap(*waiting, now))
    }

    /// Takes every job.
    pub fn drain(&mut self, now: Instant) -> Vec<Job> {
        std::iter::from_fn(|| self.take_failing(now)).collect()
    }

    /// Time passes: delayed jobs become ready, a dead host may be tried once more.
    pub fn tick(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            self.again.push_back(first.remove());
        }
        self.breaker.tick(now);
    }

    /// Transfers that may run at once.
    pub fn limit(&self, per_host: usize) -> usize {
        if self.breaker.is_single() {
            return 1;
        }
        let cap = self.auto.as_ref().map_or(per_host, |auto| auto.window().min(per_host));
        self.ramp.limit(cap)
    }

    /// Whether the next job may start.
    pub fn gate(&self, limits: &Limits, now: Instant) -> Gate {
        if self.waiting() == 0 {
            return Gate::Empty;
        }
        if self.breaker.is_dead() || self.pause.closed(now).is_some() {
            return Gate::Fail;
        }
        let ready = self.ready();
        if ready == 0 {
            return self.delayed.first_key_value().map_or(Gate::Last, |((at, _), _)| Gate::At(*at));
        }
        if let Some(at) = self.held_until(now) {
            return Gate::At(at);
        }
        // Where redirects lead is not ready for more: by the time it is, what was asked for now may no longer hold.
        let ready = if self.away < limits.per_host + AWAY { ready } else { self.first.len() };
        if ready == 0 {
            return Gate::Event;
        }
        let mut slots = self.limit(limits.per_host).saturating_sub(self.running);
        if slots == 0 {
            let may_be_more = !self.breaker.is_single() && self.running < limits.per_host;
            match self.ramp.stuck_until().filter(|_| may_be_more) {
                Some(at) if at > now => return Gate::At(at),
                Some(_) => slots = 1,
                None => return Gate::Event,
            }
        }
        match self.waits_until(limits, now) {
            Some(at) => Gate::At(at),
            None => Gate::Start(slots.min(ready)),
        }
    }

    /// When its jobs may be released again, where it is paused or could not be reached.
    pub fn held_until(&self, now: Instant) -> Option<Instant> {
        self.pause.until(now).max(self.breaker.hold(now))
    }

    /// When its next job may be released, where something other than slots holds it up.
    pub fn waits_until(&self, limits: &Limits, now: Instant) -> Option<Instant> {
        let rate = limits.rate.and_then(|rate| self.bucket.ready_at(rate));
        rate.max(self.pace.ready_at()).filter(|at| *at > now).max(self.held_until(now))
    }

    /// Whether a redirect led here, or a release was in vain: that is not to wait for what was not asked for yet.
    pub fn is_urgent(&self) -> bool {
        !self.first.is_empty()
    }

    /// Whether a person is to be told that it is paused: once.
    pub fn tell_pause(&mut self) -> bool {
        !std::mem::replace(&mut self.is_pause_told, true)
    }

    /// What jobs fail with that are not tried, or not tried again.
    pub fn failure(&self, now: Instant) -> Option<Failure> {
        if let Some(closed) = self.pause.closed(now) {
            let message = format!("given up: its host {}", closed.reason.text(closed.status));
            return Some(Failure::new(ErrorClass::Http, 22, message));
        }
        self.breaker.dead()
    }

    /// Jobs that wait for nothing but their host.
    pub fn ready(&self) -> usize {
        self.first.len() + self.again.len() + self.fresh.len()
    }

    /// Jobs that wait for their own time.
    pub fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// All jobs that wait.
    pub fn waiting(&self) -> usize {
        self.ready() + self.delayed.len() + self.last.len()
    }

    /// What they take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Transfers that run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Jobs of the host that run, here or where redirects led.
    pub fn occupied(&self) -> usize {
        self.running + self.away
    }

    /// Until when the host must not be forgotten.
    pub fn busy_until(&self) -> Option<Instant> {
        self.pause.busy_until().max(self.breaker.busy_until()).max(self.bucket.busy_until())
    }

    /// Gives memory back when nothing waits.
    pub fn shrink(&mut self) {
        self.first = VecDeque::new();
        self.again = VecDeque::new();
        self.fresh = VecDeque::new();
        self.last = VecDeque::new();
    }
}
