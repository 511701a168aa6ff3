//! What the engine learned about hosts: since when their addresses are known, which one libcurl forgot, and whether they
//! multiplex.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::job::Host;

/// Hosts remembered at once, at most; at least half as many of those that were asked for last.
const REMEMBERED: usize = 65_536;
/// For so long a name's addresses are taken for good, as in libcurl; then the next transfer looks it up again.
const ADDRESSES_LAST: Duration = Duration::from_secs(60);

/// Hosts by name, in two generations: when the young are many, the old are forgotten and the young grow old. Whoever is
/// asked for is young again.
#[derive(Default)]
pub struct Hosts {
    young: HashMap<Host, Known>,
    old: HashMap<Host, Known>,
}

struct Known {
    looked_up: Instant,
    forgotten: Option<IpAddr>,
    multiplexes: Option<bool>,
}

impl Hosts {
    /// Whether a transfer that starts now is to have the host's name looked up, whatever libcurl remembers.
    pub fn look_up(&mut self, host: &Host, now: Instant) -> bool {
        if let Some(known) = self.old.remove(host) {
            self.remember(host, known);
        }
        if let Some(known) = self.young.get_mut(host) {
            let due = now.saturating_duration_since(known.looked_up) >= ADDRESSES_LAST;
            if due {
                (known.looked_up, known.forgotten) = (now, None);
            }
            return due;
        }
        self.remember(host, Known { looked_up: now, forgotten: None, multiplexes: None });
        true
    }

    fn remember(&mut self, host: &Host, known: Known) {
        if self.young.len() >= REMEMBERED / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(host.clone(), known);
    }

    fn get(&self, host: &Host) -> Option<&Known> {
        self.young.get(host).or_else(|| self.old.get(host))
    }

    fn get_mut(&mut self, host: &Host) -> Option<&mut Known> {
        self.young.get_mut(host).or_else(|| self.old.get_mut(host))
    }

    /// The connection to this address stood before the lookup of both families was done. libcurl breaks that off then
    /// and remembers nothing: every other transfer would look the name up by itself.
    pub fn forgotten(&mut self, host: &Host, address: IpAddr) {
        if let Some(known) = self.get_mut(host) {
            known.forgotten = Some(address);
        }
    }

    /// The address that libcurl is to be told.
    pub fn address(&self, host: &Host) -> Option<IpAddr> {
        self.get(host).and_then(|known| known.forgotten)
    }

    /// The name could not be resolved, or nobody answers there: that is not to be remembered.
    pub fn missed(&mut self, host: &Host) {
        self.young.remove(host);
        self.old.remove(host);
    }

    /// A response told the version.
    pub fn learned(&mut self, host: &Host, multiplexes: bool) {
        if let Some(known) = self.get_mut(host) {
            known.multiplexes = Some(multiplexes);
        }
    }

    /// Whether a new transfer should rather wait for a stream than open a connection: unless the host is known not
    /// to multiplex.
    pub fn may_multiplex(&self, host: &Host) -> bool {
        self.get(host).and_then(|known| known.multiplexes) != Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { tls: true, name: name.into(), port: 443 }
    }

    #[test]
    fn a_name_is_looked_up_at_first_and_again_after_a_while() {
        let start = Instant::now();
        let mut hosts = Hosts::default();
        assert!(hosts.look_up(&host("a"), start));
        assert!(hosts.look_up(&host("b"), start));
        for (seconds, due) in [(0, false), (59, false), (60, true), (61, false), (119, false), (120, true)] {
            assert_eq!(hosts.look_up(&host("a"), start + Duration::from_secs(seconds)), due, "after {seconds} s");
        }
    }

    #[test]
    fn a_name_that_was_not_found_is_looked_up_by_the_next_who_wants_it() {
        let now = Instant::now();
        let mut hosts = Hosts::default();
        hosts.look_up(&host("a"), now);
        hosts.missed(&host("a"));
        assert!(hosts.look_up(&host("a"), now));
    }

    #[test]
    fn an_address_that_libcurl_forgot_is_told_until_it_is_old_or_wrong() {
        let (start, address) = (Instant::now(), IpAddr::from([127, 0, 0, 1]));
        for is_wrong in [false, true] {
            let mut hosts = Hosts::default();
            hosts.look_up(&host("a"), start);
            hosts.look_up(&host("b"), start);
            assert_eq!(hosts.address(&host("a")), None);
            hosts.forgotten(&host("a"), address);
            assert_eq!((hosts.address(&host("a")), hosts.address(&host("b"))), (Some(address), None));
            match is_wrong {
                true => hosts.missed(&host("a")),
                false => assert!(hosts.look_up(&host("a"), start + ADDRESSES_LAST)),
            }
            assert_eq!(hosts.address(&host("a")), None);
        }
    }

    #[test]
    fn a_host_is_taken_to_multiplex_until_it_shows_that_it_does_not() {
        let mut hosts = Hosts::default();
        assert!(hosts.may_multiplex(&host("a")));
        hosts.look_up(&host("a"), Instant::now());
        assert!(hosts.may_multiplex(&host("a")));
        hosts.learned(&host("a"), false);
        assert!(!hosts.may_multiplex(&host("a")));
        hosts.learned(&host("a"), true);
        assert!(hosts.may_multiplex(&host("a")));
    }

    #[test]
    fn memory_of_hosts_is_bounded_and_those_asked_for_lately_stay() {
        let now = Instant::now();
        let mut hosts = Hosts::default();
        for number in 0..REMEMBERED * 2 + 1 {
            assert!(hosts.look_up(&host(&number.to_string()), now));
            assert_eq!(hosts.look_up(&host("busy"), now), number == 0, "after {number}");
            assert!(hosts.young.len() + hosts.old.len() <= REMEMBERED);
        }
        for (number, is_new) in [(0, true), (REMEMBERED * 2 - REMEMBERED / 2 + 2, false), (REMEMBERED * 2, false)] {
            assert_eq!(hosts.look_up(&host(&number.to_string()), now), is_new, "{number}");
        }
    }
}
