//! The disk is full: what did not fit beside others waits until they are gone, and fails when it does not fit alone.

use std::collections::VecDeque;
use std::time::Instant;

use super::Schedule;
use super::queues::{HostId, Line};
use crate::job::{Host, Job};

/// Who waits for room.
#[derive(Debug)]
pub struct Room {
    /// The hosts of those that wait, once for each.
    waiting: VecDeque<Host>,
    /// So many of them are tried at once: one, and twice as many with each that fitted.
    at_once: usize,
    /// The one that began while nothing else ran, if nothing has begun since.
    alone: Option<u64>,
}

impl Default for Room {
    fn default() -> Room {
        Room { waiting: VecDeque::new(), at_once: 1, alone: None }
    }
}

impl Room {
    /// `job` starts while `running` others run.
    pub fn started(&mut self, job: &Job, running: usize) {
        self.alone = (running == 0).then_some(job.urlnum);
    }

    /// Whether nothing else ran at any time of the attempt of `job` that just ended: nobody can make room for it.
    pub fn was_alone(&self, job: &Job) -> bool {
        self.alone == Some(job.urlnum)
    }

    /// `job` did not fit beside others, and waits, which costs no attempt.
    pub fn waits(&mut self, job: &mut Job) {
        (job.tries.free, job.tries.crowded_out) = (job.tries.free + 1, true);
        self.waiting.push_back(job.target().clone());
        self.at_once = 1;
    }

    /// Whether any job waits.
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// `job` found room.
    pub fn fitted(&mut self, job: &Job) {
        if job.tries.crowded_out {
            self.at_once = self.at_once.saturating_mul(2);
        }
    }

    /// The hosts that may each try one of those that wait.
    fn release(&mut self) -> VecDeque<Host> {
        let rest = self.waiting.split_off(self.at_once.min(self.waiting.len()));
        std::mem::replace(&mut self.waiting, rest)
    }
}

impl Schedule {
    /// The next of those that wait for room, when nothing else runs or could. Some hosts may be paused by now, others have failed
    /// all their jobs: they hold up nobody.
    pub(super) fn next_last(&mut self, now: Instant) -> Option<(HostId, Line)> {
        while self.running == 0 && self.room.is_waited_for() {
            for host in self.room.release() {
                if let Some(id) = self.queues.find(&host) {
                    self.queues.get(id).release_last();
                    self.queues.refresh(id, now);
                }
            }
            if let Some(next) = self.next_host() {
                return Some(next);
            }
        }
        None
    }
}
