//! Descriptors: how many transfers this process can have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A socket and a file.
const PER_TRANSFER: u64 = 2;
/// Inputs, outputs, the event queue, libcurl's wake-ups and resolver, connections that are being closed.
const SLACK: u64 = 24;
/// Idle connections that are kept where there are descriptors: to come back to a host costs no handshake, and to find the
/// oldest of them, a walk over all.
const IDLE: u64 = 256;
/// With fewer nothing useful can run: the program needs about 18 for itself.
const FEWEST: u64 = 24;

/// Raises the soft limit on descriptors to the hard one; returns how many may be open now.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let current = if raised.is_ok() { limit.maximum } else { limit.current };
    // None is "unlimited"; the kernel's own ceiling is far above what is asked for.
    current.unwrap_or(1 << 20)
}

/// Descriptors that were open when the program started.
pub fn open() -> u64 {
    match std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        Ok(entries) => entries.count().saturating_sub(1) as u64,
        Err(_) => 3,
    }
}

/// Whether `jobs` transfers and idle connections would use descriptors of 1024 or more.
pub fn reaches_high_descriptors(jobs: usize, open: u64) -> bool {
    (jobs as u64).saturating_mul(PER_TRANSFER).saturating_add(open + SLACK + IDLE) > 1024
}

/// Transfers that fit: `jobs`, or as many as `limit` descriptors with `open` of them taken allow. `None` when there
/// are too few to work with.
pub fn fit(jobs: usize, limit: u64, open: u64) -> Option<usize> {
    if limit < FEWEST || open.saturating_add(FEWEST / 2) > limit {
        return None;
    }
    let free = limit - open;
    // With little to spare, a small run needs less slack than a large one.
    let slack = SLACK.min(free / 2);
    let fit = ((free - slack) / PER_TRANSFER).max(1);
    Some(usize::try_from(fit).unwrap_or(usize::MAX).min(jobs))
}

/// Connections to keep, in use and idle, when `jobs` transfers fit `limit` descriptors with `open` of them taken.
pub fn connections(jobs: usize, limit: u64, open: u64) -> usize {
    let taken = (jobs as u64).saturating_mul(PER_TRANSFER).saturating_add(open + SLACK);
    jobs.saturating_add(limit.saturating_sub(taken).min(IDLE) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_are_fitted_to_the_descriptors() {
        for (jobs, limit, open, fitted) in [
            (200, 20_000, 3, Some(200)),
            (200, 64, 3, Some(18)),
            (10_000, 20_000, 1_100, Some(9_438)),
            (1, 20_000, 3, Some(1)),
            (50, 24, 3, Some(5)),
            (50, 23, 3, None),
            (50, 64, 60, None),
            (8_000, 20_000, 3, Some(8_000)),
        ] {
            assert_eq!(fit(jobs, limit, open), fitted, "-j {jobs}, limit {limit}, {open} open");
        }
    }

    #[test]
    fn idle_connections_are_kept_where_there_are_descriptors() {
        for (jobs, limit, open, kept) in [
            (50, 20_000, 3, 306),
            (1, 20_000, 3, 257),
            (200, 500, 3, 273),
            (200, 430, 3, 203),
            (18, 64, 3, 19),
            (5, 24, 3, 5),
        ] {
            assert_eq!(connections(jobs, limit, open), kept, "-j {jobs}, limit {limit}, {open} open");
        }
    }

    #[test]
    fn high_descriptors_are_reached_by_many_jobs_or_many_open_files() {
        assert!(!reaches_high_descriptors(200, 3));
        assert!(reaches_high_descriptors(400, 3));
        assert!(reaches_high_descriptors(10, 1_100));
    }
}
