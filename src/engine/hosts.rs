//! What the engine learned about hosts: whether one was reached yet, and whether it multiplexes.
//!
//! The first transfers to a new host would each look up its name and open a connection, although the first one may
//! turn out to carry them all. So one goes ahead, and the others wait until its connection stands or fails.
//! `CURLOPT_PIPEWAIT` alone does not do: libcurl releases its waiters one at a time.

use std::collections::HashMap;

use crate::job::Host;

/// Hosts remembered at once; past it everything is forgotten and learned again.
const REMEMBERED: usize = 65_536;

/// Per host: what is known, and who waits to know it.
pub struct Hosts<W> {
    hosts: HashMap<Host, State<W>>,
    waiting: usize,
}

enum State<W> {
    /// A first transfer is on its way; these wait for it.
    New {
        waiting: Vec<W>,
    },
    Reached {
        multiplexes: Option<bool>,
    },
}

impl<W> Hosts<W> {
    /// Knows nothing.
    pub fn new() -> Self {
        Hosts { hosts: HashMap::new(), waiting: 0 }
    }

    /// Gives `transfer` back when it may start now: it is the first to its host, or the host was reached before.
    /// Otherwise it is kept until [`Hosts::reached`].
    pub fn admit(&mut self, host: &Host, transfer: W) -> Option<W> {
        if let Some(state) = self.hosts.get_mut(host) {
            return match state {
                State::New { waiting } => {
                    waiting.push(transfer);
                    self.waiting += 1;
                    None
                }
                State::Reached { .. } => Some(transfer),
            };
        }
        if self.hosts.len() >= REMEMBERED {
            self.hosts.retain(|_, state| matches!(state, State::New { .. }));
        }
        self.hosts.insert(host.clone(), State::New { waiting: Vec::new() });
        Some(transfer)
    }

    /// The first transfer's connection stands, or it ended: whoever waited may start.
    pub fn reached(&mut self, host: &Host) -> Vec<W> {
        let Some(state @ State::New { .. }) = self.hosts.get_mut(host) else { return Vec::new() };
        let State::New { waiting } = std::mem::replace(state, State::Reached { multiplexes: None }) else {
            return Vec::new();
        };
        self.waiting -= waiting.len();
        waiting
    }

    /// A response told the version.
    pub fn learned(&mut self, host: &Host, multiplexes: bool) {
        if let Some(State::Reached { multiplexes: known }) = self.hosts.get_mut(host) {
            *known = Some(multiplexes);
        }
    }

    /// Whether a new transfer should rather wait for a stream than open a connection: unless the host is known not
    /// to multiplex.
    pub fn may_multiplex(&self, host: &Host) -> bool {
        !matches!(self.hosts.get(host), Some(State::Reached { multiplexes: Some(false) }))
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
        let mut hosts = Hosts::new();
        assert_eq!(hosts.admit(&host("a"), 1), Some(1));
        assert_eq!(hosts.admit(&host("a"), 2), None);
        assert_eq!(hosts.admit(&host("b"), 3), Some(3), "other hosts are not held");
        assert_eq!(hosts.admit(&host("a"), 4), None);
        assert_eq!(hosts.waiting(), 2);
        assert_eq!(hosts.reached(&host("a")), [2, 4]);
        assert_eq!(hosts.admit(&host("a"), 5), Some(5));
        assert_eq!(hosts.reached(&host("a")), [] as [i32; 0]);
        assert_eq!(hosts.waiting(), 0);
    }

    #[test]
    fn a_host_is_taken_to_multiplex_until_it_shows_that_it_does_not() {
        let mut hosts = Hosts::<()>::new();
        assert!(hosts.may_multiplex(&host("a")));
        hosts.admit(&host("a"), ());
        hosts.reached(&host("a"));
        assert!(hosts.may_multiplex(&host("a")));
        hosts.learned(&host("a"), false);
        assert!(!hosts.may_multiplex(&host("a")));
        hosts.learned(&host("a"), true);
        assert!(hosts.may_multiplex(&host("a")));
    }

    #[test]
    fn what_waits_can_be_taken_back() {
        let mut hosts = Hosts::new();
        hosts.admit(&host("a"), 1);
        hosts.admit(&host("a"), 2);
        assert_eq!(hosts.take_waiting(), [2]);
        assert_eq!(hosts.admit(&host("a"), 3), Some(3));
    }

    #[test]
    fn memory_of_hosts_is_bounded() {
        let mut hosts = Hosts::new();
        for number in 0..REMEMBERED * 2 + 1 {
            let host = host(&number.to_string());
            hosts.admit(&host, ());
            hosts.reached(&host);
        }
        assert!(hosts.hosts.len() <= REMEMBERED);
    }
}
