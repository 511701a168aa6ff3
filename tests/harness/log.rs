//! What a server saw: every request with its connection and its times, and how many there were at once.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::wait::BOUND;

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// `Host` or `:authority`.
    pub host: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// `"1.0"`, `"1.1"`, `"2"`.
    pub version: &'static str,
    /// Number of the connection, from 0.
    pub connection: usize,
    /// How many requests for this path there were before it.
    pub earlier: usize,
    /// How many requests were being answered when it came, this one among them.
    pub running: usize,
    /// When its head was there.
    pub started: Instant,
    /// When the last byte of the answer was handed over, or the client went away.
    pub ended: Option<Instant>,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What there was so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Every request in the order of arrival.
    pub requests: Vec<Seen>,
    /// Requests being answered now.
    pub running: usize,
    /// The most there ever were at once.
    pub most_running: usize,
    /// Connections accepted since the start.
    pub connections: usize,
    /// Connections open now.
    pub open: usize,
    /// The most there ever were at once.
    pub most_open: usize,
    /// Connections that have ended, or whose client was told so.
    pub farewells: usize,
}

impl Counts {
    /// Requests for this path, query included.
    pub fn of(&self, path: &str) -> usize {
        self.requests.iter().filter(|seen| seen.path == path).count()
    }

    /// Connections that carried a request.
    pub fn used_connections(&self) -> usize {
        self.requests.iter().map(|seen| seen.connection).collect::<HashSet<_>>().len()
    }
}

/// Shared between a server and its case.
#[derive(Default)]
pub struct Log {
    counts: Mutex<Counts>,
    changed: Condvar,
}

impl Log {
    /// Looks at, or changes, what there was so far, and wakes whoever waits.
    pub fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let value = change(&mut self.lock());
        self.changed.notify_all();
        value
    }

    /// Returns once `met` holds; fails the case, naming `what`, when it never does.
    #[track_caller]
    pub fn wait(&self, what: &str, met: impl Fn(&Counts) -> bool) {
        let counts = self.lock();
        let (counts, time) = self
            .changed
            .wait_timeout_while(counts, BOUND, |counts| !met(counts))
            .unwrap_or_else(|held| held.into_inner());
        assert!(!time.timed_out(), "the server waited {BOUND:?} for {what}; it saw {:#?}", counts.requests);
    }

    /// Notes an accepted connection and gives its number.
    pub fn connected(self: &Arc<Log>) -> Connection {
        let number = self.with(|counts| {
            counts.connections += 1;
            counts.open += 1;
            counts.most_open = counts.most_open.max(counts.open);
            counts.connections - 1
        });
        Connection { log: self.clone(), number, parted: false }
    }

    /// Notes a request; it runs until the guard is dropped.
    pub fn requested(self: &Arc<Log>, seen: &mut Seen) -> InFlight {
        let number = self.with(|counts| {
            counts.running += 1;
            (seen.earlier, seen.running) = (counts.of(&seen.path), counts.running);
            counts.requests.push(seen.clone());
            counts.most_running = counts.most_running.max(counts.running);
            counts.requests.len() - 1
        });
        InFlight { log: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A handler that failed an assertion poisons it; the case still wants to see what there was.
        self.counts.lock().unwrap_or_else(|held| held.into_inner())
    }
}

/// An open connection.
pub struct Connection {
    log: Arc<Log>,
    /// From 0.
    pub number: usize,
    parted: bool,
}

impl Connection {
    /// Notes that the client was told of the end.
    pub fn part(&mut self) {
        let first = !std::mem::replace(&mut self.parted, true);
        self.log.with(|counts| counts.farewells += usize::from(first));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.part();
        self.log.with(|counts| counts.open -= 1);
    }
}

/// A request being answered.
pub struct InFlight {
    log: Arc<Log>,
    number: usize,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.log.with(|counts| {
            counts.running -= 1;
            counts.requests[self.number].ended = Some(Instant::now());
        });
    }
}
