//! When a run has failed often enough to stop: `--max-failures`, `--fail-early`.

use crate::job::Outcome;

/// A share of failures is judged from so many settled jobs on: of the first few, one is already too many per cent.
const FEWEST: u64 = 100;

/// How many failures a run goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Budget {
    /// Any number.
    #[default]
    Unlimited,
    /// So many; one more stops the run. 0 is `--fail-early`.
    Count(u64),
    /// So many in a hundred of those that ended ok or failed, judged from the hundredth on.
    Percent(f64),
}

/// What was settled so far.
#[derive(Debug, Default)]
pub struct Spent {
    ok: u64,
    failed: u64,
    told: bool,
}

impl Spent {
    /// Counts one settled job. Some, once, with the reason, when the run is to stop. Skipped and cancelled jobs do not
    /// count.
    pub fn settled(&mut self, budget: Budget, outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) | Outcome::Cancelled(_) => return None,
        }
        let settled = self.ok + self.failed;
        let over = match budget {
            Budget::Unlimited => false,
            Budget::Count(most) => self.failed > most,
            Budget::Percent(most) => settled >= FEWEST && self.failed as f64 * 100.0 > most * settled as f64,
        };
        if !over || self.told {
            return None;
        }
        self.told = true;
        Some(match budget {
            Budget::Count(0) => "one failed (--fail-early)".to_owned(),
            Budget::Percent(most) => format!("{} of {settled} failed (--max-failures {most}%)", self.failed),
            Budget::Count(most) => format!("{} failed (--max-failures {most})", self.failed),
            Budget::Unlimited => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Failure;

    /// After how many of `outcomes` (`f` failed, `o` ok, `s` skipped) the run stops.
    fn stops(budget: Budget, outcomes: impl Iterator<Item = char>) -> Option<usize> {
        let mut spent = Spent::default();
        let mut stopped = None;
        for (index, outcome) in outcomes.enumerate() {
            let outcome = match outcome {
                'f' => Outcome::Failed(Failure::local("")),
                'o' => Outcome::Ok,
                _ => Outcome::Skipped("".into()),
            };
            if spent.settled(budget, &outcome).is_some() {
                assert_eq!(stopped, None, "said twice");
                stopped = Some(index + 1);
            }
        }
        stopped
    }

    #[test]
    fn the_run_stops_with_the_failure_that_is_one_too_many() {
        for (budget, outcomes, expected) in [
            (Budget::Unlimited, "ffffff", None),
            (Budget::Count(0), "oosfff", Some(4)),
            (Budget::Count(2), "fofsoff", Some(6)),
            (Budget::Count(2), "fofsoo", None),
            (Budget::Percent(10.0), "ffffff", None),
        ] {
            assert_eq!(stops(budget, outcomes.chars()), expected, "{budget:?} {outcomes}");
        }
    }

    #[test]
    fn a_share_is_judged_from_the_hundredth_on_without_the_skipped() {
        let every = |nth: usize| (1..=1000).map(move |index| if index % nth == 0 { 'f' } else { 'o' });
        assert_eq!(stops(Budget::Percent(10.0), every(10)), None);
        assert_eq!(stops(Budget::Percent(10.0), every(9)), Some(100));
        assert_eq!(stops(Budget::Percent(0.0), (0..200).map(|index| if index == 150 { 'f' } else { 'o' })), Some(151));
        let skipped = (0..500).map(|index| if index < 400 { 's' } else { 'f' });
        assert_eq!(stops(Budget::Percent(50.0), skipped), Some(500));
    }
}
