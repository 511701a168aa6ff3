//! What became of all jobs so far, counted.
//!
//! Must not know how a count is shown.

use crate::job::{ErrorClass, FAILED_BEFORE, Outcome, Settled, WOULD_BE_FETCHED};

/// Counts of terminal records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Jobs whose body is whole and where it belongs.
    pub ok: u64,
    /// Jobs that needed nothing, or were not to be tried again.
    pub skipped: u64,
    /// Of those, the ones that failed in an earlier run.
    pub failed_before: u64,
    /// Jobs that a run which is not dry would fetch.
    pub planned: u64,
    /// Jobs that the end of the run overtook.
    pub cancelled: u64,
    /// Body bytes received in the last attempts of all settled jobs.
    pub bytes: u64,
    /// Failures by class, in the order of [`ErrorClass::ALL`].
    failed: [u64; ErrorClass::ALL.len()],
}

impl Tally {
    /// Counts one terminal record.
    pub fn count(&mut self, settled: &Settled) {
        match &settled.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Skipped(why) if why == WOULD_BE_FETCHED => self.planned += 1,
            Outcome::Skipped(why) => {
                self.skipped += 1;
                self.failed_before += u64::from(why == FAILED_BEFORE);
            }
            Outcome::Cancelled(_) => self.cancelled += 1,
            Outcome::Failed(failure) => self.failed[failure.class as usize] += 1,
        }
        self.bytes += settled.stats.as_ref().map_or(0, |stats| stats.size_download);
    }

    /// Failures of all classes.
    pub fn failed(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// The classes in which something failed, with their counts.
    pub fn failures(&self) -> impl Iterator<Item = (ErrorClass, u64)> + '_ {
        ErrorClass::ALL.into_iter().zip(self.failed).filter(|(_, count)| *count > 0)
    }

    /// All terminal records.
    pub fn settled(&self) -> u64 {
        self.ok + self.failed() + self.skipped + self.planned + self.cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn every_outcome_is_counted_once_and_failures_by_class() {
        let mut tally = Tally::default();
        for settled in [fixture::ok(), fixture::failed(), fixture::failed(), fixture::skipped(), fixture::cancelled()] {
            tally.count(&settled);
        }
        assert_eq!((tally.ok, tally.failed(), tally.skipped, tally.cancelled), (1, 2, 1, 1));
        assert_eq!(tally.settled(), 5);
        assert_eq!(tally.failures().collect::<Vec<_>>(), [(ErrorClass::Http, 2)]);
        assert_eq!(tally.bytes, 12_900_000 + 2 * 162);
    }

    #[test]
    fn every_class_has_its_own_place() {
        for (place, class) in ErrorClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
        }
    }
}
