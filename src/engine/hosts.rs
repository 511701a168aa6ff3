//! What the engine learned about hosts: whether one was reached yet, and whether it multiplexes.
//!
//! The first transfers to a new host would each look up its name and open a connection, although the first one may
//! turn out to carry them all. So one goes ahead, and the others wait until its connection stands or fails.
//! `CURLOPT_PIPEWAIT` alone does not do: libcurl releases its waiters one at a time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::job::Host;

/// Hosts remembered at once; past it everything is forgotten and learned again.
const REMEMBERED: usize = 65_536;

/// For so long a name's addresses are taken for good, as in libcurl; then the next transfer looks it up again.
const ADDRESSES_LAST: Duration = Duration::from_secs(60);

/// Per host: what is known, and who waits to know it.
pub struct Hosts<W> {
    hosts: HashMap<Host, State<W>>,
    waiting: usize,
}

enum State<W> {
    /// A first transfer is on its way; these wait for it.
    New { waiting: Vec<W> },
    /// A connection stood, at that time.
    Reached { at: Instant, multiplexes: Option<bool> },
}

/// The answer to a transfer that wants to start.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<W> {
    /// The first to its host in a while: it goes ahead, and has the name looked up anew.
    First(W),
    /// Like others before it.
    Next(W),
    /// Kept until [`Hosts::reached`].
    Kept,
}

impl<W> Hosts<W> {
    /// Knows nothing.
    pub fn new() -> Self {
        Hosts { hosts: HashMap::new(), waiting: 0 }
    }

    /// Whether `transfer` may start now.
    pub fn admit(&mut self, host: &Host, transfer: W, now: Instant) -> Admission<W> {
        let lasts = |at: &Instant| now.saturating_duration_since(*at) < ADDRESSES_LAST;
        match self.hosts.get_mut(host) {
            Some(State::New { waiting }) => {
                waiting.push(transfer);
                self.waiting += 1;
                return Admission::Kept;
            }
            Some(State::Reached { at, .. }) if lasts(at) => return Admission::Next(transfer),
            _ => {}
        }
        if self.hosts.len() >= REMEMBERED {
            self.hosts.retain(|_, state| matches!(state, State::New { .. }));
        }
        self.hosts.insert(host.clone(), State::New { waiting: Vec::new() });
        Admission::First(transfer)
    }

    /// The first transfer's connection stands: whoever waited may start.
    pub fn reached(&mut self, host: &Host, now: Instant) -> Vec<W> {
        let Some(state @ State::New { .. }) = self.hosts.get_mut(host) else { return Vec::new() };
        let State::New { waiting } = std::mem::replace(state, State::Reached { at: now, multiplexes: None }) else {
            return Vec::new();
        };
        self.waiting -= waiting.len();
        waiting
    }

    /// The first transfer ended without a connection: whoever waited is given back, and the host is new again.
    pub fn missed(&mut self, host: &Host) -> Vec<W> {
        if !matches!(self.hosts.get(host), Some(State::New { .. })) {
            return Vec::new();
        }
        let Some(State::New { waiting }) = self.hosts.remove(host) else { return Vec::new() };
        self.waiting -= waiting.len();
        waiting
    }

    /// A response told the version.
    pub fn learned(&mut self, host: &Host, multiplexes: bool) {
        if let Some(State::Reached { multiplexes: known, .. }) = self.hosts.get_mut(host) {
            *known = Some(multiplexes);
        }
    }

    /// Whether a new transfer should rather wait for a stream than open a connection: unless the host is known not
    /// to multiplex.
    pub fn may_multiplex(&self, host: &Host) -> bool {
        !matches!(self.hosts.get(host), Some(State::Reached { multiplexes: Some(false), .. }))
    }

    /// Transfers that wait for a first one.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes all that wait; the hosts are new again.
    pub fn take_waiting(&mut self) -> Vec<W> {
        self.waiting = 0;
        let mut all = Vec::new();
        self.hosts.retain(|_, state| match state {
            State::New { waiting } => {
                all.append(waiting);
                false
            }
            State::Reached { .. } => true,
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { tls: true, name: name.into(), port: 443 }
    }

    #[test]
    fn one_transfer_goes_ahead_to_a_new_host_and_the_others_follow() {
        let now = Instant::now();
        let mut hosts = Hosts::new();
        assert_eq!(hosts.admit(&host("a"), 1, now), Admission::First(1));
        assert_eq!(hosts.admit(&host("a"), 2, now), Admission::Kept);
        assert_eq!(hosts.admit(&host("b"), 3, now), Admission::First(3), "other hosts are not held");
        assert_eq!(hosts.admit(&host("a"), 4, now), Admission::Kept);
        assert_eq!(hosts.waiting(), 2);
        assert_eq!(hosts.reached(&host("a"), now), [2, 4]);
        assert_eq!(hosts.admit(&host("a"), 5, now), Admission::Next(5));
        assert_eq!(hosts.reached(&host("a"), now), [] as [i32; 0]);
        assert_eq!(hosts.waiting(), 0);
    }

    #[test]
    fn a_host_that_was_missed_is_new_again() {
        let now = Instant::now();
        let mut hosts = Hosts::new();
        hosts.admit(&host("a"), 1, now);
        hosts.admit(&host("a"), 2, now);
        assert_eq!(hosts.missed(&host("a")), [2]);
        assert_eq!(hosts.waiting(), 0);
        assert_eq!(hosts.admit(&host("a"), 2, now), Admission::First(2));
        hosts.reached(&host("a"), now);
        assert_eq!(hosts.missed(&host("a")), [] as [i32; 0]);
        assert_eq!(hosts.admit(&host("a"), 3, now), Admission::Next(3), "one failure does not undo a host");
    }

    #[test]
    fn addresses_are_looked_up_again_after_a_while() {
        let start = Instant::now();
        let mut hosts = Hosts::new();
        hosts.admit(&host("a"), 1, start);
        hosts.reached(&host("a"), start);
        let (before, after) = (start + ADDRESSES_LAST / 2, start + ADDRESSES_LAST);
        assert_eq!(hosts.admit(&host("a"), 2, before), Admission::Next(2));
        assert_eq!(hosts.admit(&host("a"), 3, after), Admission::First(3));
        assert_eq!(hosts.admit(&host("a"), 4, after), Admission::Kept);
    }

    #[test]
    fn a_host_is_taken_to_multiplex_until_it_shows_that_it_does_not() {
        let now = Instant::now();
        let mut hosts = Hosts::<()>::new();
        assert!(hosts.may_multiplex(&host("a")));
        hosts.admit(&host("a"), (), now);
        hosts.reached(&host("a"), now);
        assert!(hosts.may_multiplex(&host("a")));
        hosts.learned(&host("a"), false);
        assert!(!hosts.may_multiplex(&host("a")));
        hosts.learned(&host("a"), true);
        assert!(hosts.may_multiplex(&host("a")));
    }

    #[test]
    fn what_waits_can_be_taken_back() {
        let now = Instant::now();
        let mut hosts = Hosts::new();
        hosts.admit(&host("a"), 1, now);
        hosts.admit(&host("a"), 2, now);
        assert_eq!(hosts.take_waiting(), [2]);
        assert_eq!(hosts.admit(&host("a"), 3, now), Admission::First(3));
    }

    #[test]
    fn memory_of_hosts_is_bounded() {
        let now = Instant::now();
        let mut hosts = Hosts::new();
        for number in 0..REMEMBERED * 2 + 1 {
            let host = host(&number.to_string());
            hosts.admit(&host, (), now);
            hosts.reached(&host, now);
        }
        assert!(hosts.hosts.len() <= REMEMBERED);
    }
}
