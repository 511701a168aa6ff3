//! libcurl's one timeout as a deadline.
//!
//! The clock is told, never read: [`Timer::now`] is set once a turn. A timeout of 0 is a deadline that has already
//! come; it is served by the next turn, never from inside the callback.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The timer of a multi handle: single, non-repeating, replaced by each new value.
pub struct Timer {
    now: Cell<Instant>,
    deadline: Cell<Option<Instant>>,
}

impl Timer {
    /// No deadline yet.
    pub fn new(now: Instant) -> Self {
        Timer { now: Cell::new(now), deadline: Cell::new(None) }
    }

    /// The turn's time, on which timeouts count.
    pub fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    /// libcurl's wish: call `timeout()` after `timeout`; `None` deletes the deadline. One too far to express is none.
    pub fn set(&self, timeout: Option<Duration>) {
        self.deadline.set(timeout.and_then(|after| self.now.get().checked_add(after)));
    }

    /// When `timeout()` must be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Takes the deadline when it has come. The caller must then call `timeout()`: libcurl does not announce the
    /// same time twice.
    pub fn expired(&self) -> bool {
        match self.deadline.get() {
            Some(deadline) if deadline <= self.now.get() => {
                self.deadline.set(None);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_timeout_replaces_the_old_one_and_none_deletes_it() {
        let start = Instant::now();
        let timer = Timer::new(start);
        timer.set(Some(Duration::from_millis(50)));
        timer.set(Some(Duration::from_millis(20)));
        assert_eq!(timer.deadline(), Some(start + Duration::from_millis(20)));
        timer.set(None);
        assert_eq!(timer.deadline(), None);
        assert!(!timer.expired());
    }

    #[test]
    fn zero_expires_in_the_same_turn_and_only_once() {
        let timer = Timer::new(Instant::now());
        timer.set(Some(Duration::ZERO));
        assert!(timer.expired());
        assert!(!timer.expired());
    }

    #[test]
    fn a_timer_set_again_while_it_is_served_is_kept() {
        let start = Instant::now();
        let timer = Timer::new(start);
        timer.set(Some(Duration::ZERO));
        assert!(timer.expired());
        timer.set(Some(Duration::from_millis(1)));
        assert!(!timer.expired());
        timer.set_now(start + Duration::from_millis(1));
        assert!(timer.expired());
    }

    #[test]
    fn a_timeout_beyond_the_clock_is_no_deadline() {
        let timer = Timer::new(Instant::now());
        timer.set(Some(Duration::MAX));
        assert_eq!(timer.deadline(), None);
    }
}
