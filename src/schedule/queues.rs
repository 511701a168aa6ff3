//! All hosts: who may start next, whose time comes when, who may be forgotten.
//!
//! Whoever may start stands in line, those with the fewest running transfers first, then in turn: a slow host does not
//! end up with every slot just because its transfers keep theirs longer. Every change of a host goes through
//! [`Queues::refresh`], which puts it where it belongs; a decision touches one host and costs O(log n).

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

use super::queue::{Gate, Limits, Queue};
use crate::job::{Host, Job};

/// Hosts without jobs that are remembered, at most: what is known of them saves a few lookups and keeps pauses. Those
/// whose pauses last longest are forgotten last.
const REMEMBERED: usize = 8_192;
/// A host without jobs is forgotten after so long: what was learned is no longer true.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// A host's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(u32);

/// The hosts.
#[derive(Debug)]
pub struct Queues {
    limits: Limits,
    ids: HashMap<Host, HostId>,
    hosts: Vec<Option<Box<Entry>>>,
    free: Vec<HostId>,
    /// Hosts that may start a job now, by [`Line`].
    lines: [BTreeSet<Place>; 3],
    timers: BTreeSet<(Instant, HostId)>,
    paused: BTreeSet<(Instant, HostId)>,
    /// Hosts without jobs, by when they may be forgotten.
    idle: BTreeSet<(Instant, HostId)>,
    /// Hosts whose jobs are to fail.
    failing: BTreeSet<HostId>,
    totals: Totals,
    turn: u64,
    /// Hosts looked at, to prove that decisions stay cheap.
    #[cfg(test)]
    pub looked: u64,
}

#[derive(Debug)]
struct Entry {
    queue: Queue,
    turn: u64,
    standing: Standing,
}

/// Transfers that run, here and where redirects led; turn; host: the order in a line.
type Place = (usize, u64, HostId);

/// Where a host stands, so that it is found there again.
#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    place: Option<(Line, Place)>,
    timer: Option<Instant>,
    paused: Option<Instant>,
    idle: Option<Instant>,
    is_failing: bool,
    totals: Totals,
}

/// Sums over all hosts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Jobs that wait.
    pub waiting: usize,
    /// Of those, the ones that wait for a slot alone, the run's or their host's.
    pub ready: usize,
    /// Of those, the ones that wait for the run's, or will as soon as the first connection to their host stands.
    pub startable: usize,
    /// Hosts with ready jobs.
    pub hosts: usize,
    /// Of those, the ones whose first connection is being made.
    pub connecting: usize,
    /// Ready jobs that may start when these stand.
    pub behind: usize,
    /// Memory of the jobs.
    pub bytes: usize,
}

/// Which hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Those where redirects led: what was begun goes on before what was not.
    Urgent = 0,
    /// Those that answer, or were not tried yet.
    Reachable = 1,
    /// Those that could not be reached.
    Unreachable = 2,
}

impl Queues {
    /// No hosts.
    pub fn new(limits: Limits) -> Queues {
        Queues {
            limits,
            ids: HashMap::new(),
            hosts: Vec::new(),
            free: Vec::new(),
            lines: Default::default(),
            timers: BTreeSet::new(),
            paused: BTreeSet::new(),
            idle: BTreeSet::new(),
            failing: BTreeSet::new(),
            totals: Totals::default(),
            turn: 0,
            #[cfg(test)]
            looked: 0,
        }
    }

    /// The limits of every host.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Sums over all hosts.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Hosts that are known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The host, if it is known.
    pub fn find(&self, host: &Host) -> Option<HostId> {
        self.ids.get(host).copied()
    }

    /// The host; `make` makes its queue when it is new.
    pub fn find_or_insert(&mut self, host: &Host, make: impl FnOnce(Host) -> Queue) -> HostId {
        if let Some(id) = self.find(host) {
            return id;
        }
        self.turn += 1;
        let entry = Box::new(Entry { queue: make(host.clone()), turn: self.turn, standing: Standing::default() });
        let id = self.free.pop().unwrap_or_else(|| {
            self.hosts.push(None);
            HostId(u32::try_from(self.hosts.len() - 1).unwrap_or(u32::MAX))
        });
        self.hosts[id.0 as usize] = Some(entry);
        self.ids.insert(host.clone(), id);
        id
    }

    /// The queue of `id`. Whoever changes it calls [`Queues::refresh`].
    pub fn get(&mut self, id: HostId) -> &mut Queue {
        &mut self.entry(id).queue
    }

    fn entry(&mut self, id: HostId) -> &mut Entry {
        self.hosts[id.0 as usize].as_mut().expect("ids are taken back when their host is forgotten")
    }

    /// The host that is next in `line`.
    pub fn first(&self, line: Line) -> Option<HostId> {
        self.lines[line as usize].first().map(|(_, _, id)| *id)
    }

    /// The next host of those that answer: one with the fewest running. Of two with as many, the one where redirects led.
    pub fn next_reachable(&self) -> Option<(HostId, Line)> {
        let first = |line: Line| self.lines[line as usize].first().map(|(running, _, id)| (*running, *id, line));
        let lines = [Line::Urgent, Line::Reachable].into_iter().filter_map(first);
        lines.min_by_key(|(running, ..)| *running).map(|(_, id, line)| (id, line))
    }

    /// Transfers of the host that run, here and where redirects led.
    pub fn occupied(&self, id: HostId) -> usize {
        self.hosts[id.0 as usize].as_ref().map_or(0, |entry| entry.queue.occupied())
    }

    /// Starts the next job of a host that [`Queues::first`] named. `None` when it may not after all.
    pub fn start(&mut self, id: HostId, now: Instant) -> Option<Job> {
        self.turn += 1;
        let (turn, rate) = (self.turn, self.limits.rate);
        let entry = self.entry(id);
        entry.turn = turn;
        let job = entry.queue.start(rate, now);
        self.refresh(id, now);
        job
    }

    /// A host whose jobs are to fail.
    pub fn failing(&self) -> Option<HostId> {
        self.failing.first().copied()
    }

    /// Whether any host may start a job.
    pub fn is_startable(&self) -> bool {
        self.lines.iter().any(|line| !line.is_empty())
    }

    /// When a host's time comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Looks at every host whose time has come.
    pub fn wake(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now
        {
            self.refresh(id, now);
            debug_assert_ne!(self.timers.first(), Some(&(at, id)), "a time that has come is not waited for");
        }
    }

    /// The hosts that are paused or wait to be tried again, those that go on soonest first.
    pub fn paused(&self, now: Instant) -> impl DoubleEndedIterator<Item = (Instant, &Queue)> {
        self.paused.range((Excluded((now, HostId(u32::MAX))), Unbounded)).filter_map(|(until, id)| {
            let entry = self.hosts[id.0 as usize].as_ref()?;
            Some((*until, &entry.queue))
        })
    }

    /// Takes every job of every host.
    pub fn drain(&mut self, now: Instant) -> Vec<Job> {
        let mut jobs = Vec::new();
        for index in 0..self.hosts.len() {
            if let Some(entry) = &mut self.hosts[index] {
                jobs.append(&mut entry.queue.drain(now));
                self.refresh(HostId(index as u32), now);
            }
        }
        jobs
    }

    /// Puts a host where it belongs after anything about it changed.
    pub fn refresh(&mut self, id: HostId, now: Instant) {
        #[cfg(test)]
        (self.looked += 1);
        let limits = self.limits;
        let entry = self.entry(id);
        entry.queue.tick(now);
        let gate = entry.queue.gate(&limits, now);
        let standing = entry.stands(id, gate, limits.per_host, now);
        let before = std::mem::replace(&mut entry.standing, standing);
        if standing.idle.is_some() && before.idle.is_none() {
            entry.queue.shrink();
        }
        if before.place != standing.place {
            if let Some((line, place)) = before.place {
                self.lines[line as usize].remove(&place);
            }
            if let Some((line, place)) = standing.place {
                self.lines[line as usize].insert(place);
            }
        }
        for (set, before, after) in [
            (&mut self.timers, before.timer, standing.timer),
            (&mut self.paused, before.paused, standing.paused),
            (&mut self.idle, before.idle, standing.idle),
        ] {
            if before != after {
                before.map(|at| set.remove(&(at, id)));
                after.map(|at| set.insert((at, id)));
            }
        }
        match (before.is_failing, standing.is_failing) {
            (false, true) => drop(self.failing.insert(id)),
            (true, false) => drop(self.failing.remove(&id)),
            _ => {}
        }
        self.totals.replace(before.totals, standing.totals);
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, id)) = self.idle.first().copied()
            && (at <= now || self.idle.len() > REMEMBERED)
        {
            self.idle.pop_first();
            if let Some(entry) = self.hosts[id.0 as usize].take() {
                entry.standing.paused.map(|at| self.paused.remove(&(at, id)));
                self.ids.remove(&entry.queue.host);
                self.free.push(id);
            }
        }
    }
}

impl Entry {
    fn stands(&self, id: HostId, gate: Gate, per_host: usize, now: Instant) -> Standing {
        let queue = &self.queue;
        let line = match (queue.breaker.is_open(), queue.is_urgent()) {
            (true, _) => Line::Unreachable,
            (false, true) => Line::Urgent,
            (false, false) => Line::Reachable,
        };
        let startable = if let Gate::Start(slots) = gate { slots } else { 0 };
        // Whoever is paused or cannot be reached may be so for long: that is no reason not to read on.
        let is_live = matches!(gate, Gate::Start(_) | Gate::Event) && line != Line::Unreachable;
        let expected = queue.breaker.expected(now).filter(|_| is_live && queue.running() > 0);
        let behind = queue.ready().min(per_host.saturating_sub(queue.running()));
        let is_idle = gate == Gate::Empty && queue.occupied() == 0;
        Standing {
            place: (startable > 0).then_some((line, (queue.occupied(), self.turn, id))),
            timer: if let Gate::At(at) = gate { Some(at) } else { expected },
            paused: queue.held_until(now),
            idle: is_idle.then(|| queue.busy_until().map_or(now, |until| until.max(now)) + FORGOTTEN),
            is_failing: gate == Gate::Fail,
            totals: Totals {
                waiting: queue.waiting(),
                ready: if is_live { queue.ready() } else { 0 },
                startable: match gate {
                    Gate::Start(_) | Gate::Event if queue.breaker.is_new() => behind,
                    _ if is_live => startable,
                    _ => 0,
                },
                hosts: usize::from(is_live),
                connecting: usize::from(expected.is_some()),
                behind: expected.map_or(0, |_| behind),
                bytes: queue.bytes(),
            },
        }
    }
}

impl Totals {
    fn replace(&mut self, before: Totals, after: Totals) {
        let replace = |sum: &mut usize, before: usize, after: usize| *sum = *sum + after - before;
        replace(&mut self.waiting, before.waiting, after.waiting);
        replace(&mut self.ready, before.ready, after.ready);
        replace(&mut self.startable, before.startable, after.startable);
        replace(&mut self.hosts, before.hosts, after.hosts);
        replace(&mut self.connecting, before.connecting, after.connecting);
        replace(&mut self.behind, before.behind, after.behind);
        replace(&mut self.bytes, before.bytes, after.bytes);
    }
}
