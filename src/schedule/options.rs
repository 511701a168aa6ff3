//! What is chosen before a run: how many, how fast, how often, how far ahead.

use super::budget::Budget;
use super::rate::Rate;
use super::retry::Retry;

/// What runs when.
#[derive(Debug, Clone)]
pub struct Options {
    /// Transfers at once.
    pub jobs: Jobs,
    /// Transfers of one host at once. With [`Jobs::Auto`] the most that may be found for it.
    pub per_host: usize,
    /// Starts per time, of all hosts together, retries included.
    pub rate: Option<Rate>,
    /// Starts per time of each host.
    pub rate_per_host: Option<Rate>,
    /// Which failures are tried again, and when.
    pub retry: Retry,
    /// How far the list is read ahead.
    pub window: Window,
    /// How many failures the run goes on with.
    pub budget: Budget,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Transfers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// So many.
    Fixed(usize),
    /// As many as bring something, up to `most`.
    Auto {
        /// What the descriptors allow.
        most: usize,
    },
}

impl Jobs {
    /// More never run at once.
    pub fn most(self) -> usize {
        match self {
            Jobs::Fixed(most) | Jobs::Auto { most } => most,
        }
    }

    /// The same, with another limit.
    pub fn with_most(self, most: usize) -> Jobs {
        match self {
            Jobs::Fixed(_) => Jobs::Fixed(most),
            Jobs::Auto { .. } => Jobs::Auto { most },
        }
    }
}

/// Jobs that are known and do not run: neither bound is passed by more than one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Jobs.
    pub jobs: usize,
    /// Their memory in bytes, the allocator's share not counted: about 400 each, three times the length of the URL, and
    /// the name. All in all a waiting line of 60 characters takes 730 bytes of the process, one of 120 takes 940.
    pub bytes: usize,
    /// What is worth reading so far ahead for.
    pub ahead: Ahead,
}

/// When more is read than about as many lines as there are slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// While there is a slot that no known host may use: a pipe is emptied no faster than it is served.
    Slots,
    /// Also while fewer hosts are known than there are slots: a host further on in the list gets its share even when
    /// one host could use every slot.
    Hosts,
}
