//! Hosts that asked to be left alone: nothing that was released before they did is sent afterwards.
//!
//! The schedule releases nothing to a paused host, but what it released earlier may still be connecting. So every
//! transfer has a pass of its host. An answer that asks for a pause ends all passes of that host, while libcurl still
//! reads it; what is released later, when the schedule finds that the time has come, has a new one.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::job::Host;

/// Hosts whose gates are kept before those are forgotten that nobody has a pass of.
const HOSTS: usize = 1024;

/// The gates of all hosts.
#[derive(Default)]
pub struct Gates {
    gates: HashMap<Host, Rc<Cell<u64>>>,
    /// With so many hosts the unused are forgotten.
    prune_at: usize,
}

/// The right to send a request to a host.
pub struct Pass {
    /// How often the host asked to be left alone.
    asked: Rc<Cell<u64>>,
    /// How often it had when this pass was given.
    given: u64,
}

impl Gates {
    /// A pass for a transfer that starts now.
    pub fn pass(&mut self, host: &Host) -> Pass {
        let asked = match self.gates.get(host) {
            Some(asked) => Rc::clone(asked),
            None => {
                if self.gates.len() >= self.prune_at {
                    self.gates.retain(|_, asked| Rc::strong_count(asked) > 1);
                    self.prune_at = (2 * self.gates.len()).max(HOSTS);
                }
                Rc::clone(self.gates.entry(host.clone()).or_default())
            }
        };
        Pass { given: asked.get(), asked }
    }
}

impl Pass {
    /// Whether a request may go out.
    pub fn is_good(&self) -> bool {
        self.asked.get() == self.given
    }

    /// The host asked to be left alone: ends every pass that was given so far.
    pub fn end_all(&self) {
        self.asked.set(self.asked.get().wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { tls: false, name: name.into(), port: 80 }
    }

    #[test]
    fn a_pause_ends_the_passes_of_its_host_and_those_given_later_are_good() {
        let mut gates = Gates::default();
        let [first, second, other] = ["a", "a", "b"].map(|name| gates.pass(&host(name)));
        assert!(first.is_good() && second.is_good() && other.is_good());
        first.end_all();
        assert!(!first.is_good() && !second.is_good() && other.is_good());
        let later = gates.pass(&host("a"));
        assert!(later.is_good() && !second.is_good());
        second.end_all();
        assert!(!later.is_good());
    }

    #[test]
    fn gates_that_nobody_has_a_pass_of_are_forgotten() {
        let mut gates = Gates::default();
        let kept = gates.pass(&host("kept"));
        for number in 0..HOSTS * 3 {
            gates.pass(&host(&number.to_string()));
        }
        assert!(gates.gates.len() <= HOSTS);
        gates.pass(&host("kept")).end_all();
        assert!(!kept.is_good());
    }
}
