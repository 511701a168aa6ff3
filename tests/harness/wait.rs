//! Waiting for something that has no descriptor to wait on: a file that appears, a counter that moves.

use std::time::{Duration, Instant};

/// How long anything may take before a case is given up; far above what a loaded machine needs.
pub const BOUND: Duration = Duration::from_secs(60);

/// Returns once `met` holds; fails the case, naming `what`, when it never does.
#[track_caller]
pub fn until(what: &str, met: impl FnMut() -> bool) {
    until_within(BOUND, what, met);
}

/// The same for what takes longer.
#[track_caller]
pub fn until_within(bound: Duration, what: &str, mut met: impl FnMut() -> bool) {
    let give_up = Instant::now() + bound;
    while !met() {
        assert!(Instant::now() < give_up, "waited {bound:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
