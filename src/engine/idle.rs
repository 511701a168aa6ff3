//! Connections that no transfer uses. libcurl looks after them only when it begins a transfer: when there is none to come,
//! those that their peers closed would stay half open for ever, and the others open.
//!
//! Must not know connections.

use std::time::{Duration, Instant};

/// So long after the last transfer idle connections are closed: somebody may want to come back, and their servers have others to
/// serve.
const KEPT: Duration = Duration::from_secs(60);

/// Whether they are still of use.
#[derive(Debug, Default)]
pub struct Idle {
    /// One was closed by its peer.
    has_dead: bool,
    /// `None`: there are none, as far as is known.
    until: Option<Instant>,
}

impl Idle {
    /// A peer closed one.
    pub fn died(&mut self) {
        self.has_dead = true;
    }

    /// Whether all of them are to be closed now, when so many transfers run. To be asked each turn.
    pub fn is_over(&mut self, running: usize, now: Instant) -> bool {
        if running > 0 {
            self.until = Some(now + KEPT);
            return false;
        }
        let is_over = self.has_dead || self.until.is_some_and(|until| until <= now);
        if is_over {
            *self = Idle::default();
        }
        is_over
    }

    /// When they are to be closed, if nothing begins before.
    pub fn deadline(&self, running: usize) -> Option<Instant> {
        self.until.filter(|_| running == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_are_closed_once_when_nothing_has_run_for_a_minute() {
        let now = Instant::now();
        let second = |seconds| now + Duration::from_secs(seconds);
        let mut idle = Idle::default();
        assert!(!idle.is_over(0, now) && idle.deadline(0).is_none(), "there were none");
        assert!(!idle.is_over(2, second(10)) && idle.deadline(2).is_none());
        assert_eq!(idle.deadline(0), Some(second(70)));
        assert!(!idle.is_over(0, second(69)));
        assert!(idle.is_over(0, second(70)) && !idle.is_over(0, second(71)));
        assert_eq!(idle.deadline(0), None);
    }

    #[test]
    fn when_a_peer_closed_one_they_go_as_soon_as_nothing_runs() {
        let now = Instant::now();
        let mut idle = Idle::default();
        idle.is_over(1, now);
        idle.died();
        assert!(!idle.is_over(1, now));
        assert!(idle.is_over(0, now) && !idle.is_over(0, now));
    }
}
