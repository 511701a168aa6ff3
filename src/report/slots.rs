//! Which running transfers are shown, and in which row: each keeps its row as long as it runs.
//!
//! Must not know what a row says.

use super::Active;

/// The rows, by the numbers of their jobs.
#[derive(Debug, Default)]
pub struct Slots {
    rows: Vec<u64>,
}

impl Slots {
    /// The transfers for at most `most` rows. Free ones are given to those that run longest; while there are none, the
    /// rows below move up.
    pub fn place<'a>(&mut self, active: &'a [Active<'a>], most: usize) -> Vec<&'a Active<'a>> {
        let mut waiting: Vec<&Active<'_>> = active.iter().filter(|active| !self.has(active)).collect();
        waiting.sort_unstable_by_key(|active| (active.started, active.urlnum));
        let mut waiting = waiting.into_iter();
        self.rows.truncate(most);
        let kept = |urlnum: &u64| active.iter().find(|active| active.urlnum == *urlnum);
        let mut placed: Vec<_> =
            self.rows.iter().filter_map(|urlnum| kept(urlnum).or_else(|| waiting.next())).collect();
        placed.extend(waiting.take(most - placed.len()));
        self.rows.clear();
        self.rows.extend(placed.iter().map(|active| active.urlnum));
        placed
    }

    fn has(&self, active: &Active<'_>) -> bool {
        self.rows.contains(&active.urlnum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// What is shown of the transfers with these numbers, which started in the order of their numbers.
    fn shown(slots: &mut Slots, running: &[u64], most: usize) -> Vec<u64> {
        let origin = Instant::now();
        let one = |urlnum: &u64| Active {
            urlnum: *urlnum,
            label: "",
            received: 0,
            expected: None,
            started: origin + Duration::from_secs(*urlnum),
        };
        let active: Vec<_> = running.iter().map(one).collect();
        slots.place(&active, most).iter().map(|active| active.urlnum).collect()
    }

    #[test]
    fn a_transfer_keeps_its_row_and_a_free_one_goes_to_the_oldest_that_has_none() {
        let mut slots = Slots::default();
        for (running, most, expected) in [
            (&[4, 3, 2, 1, 0][..], 3, &[0, 1, 2][..]),
            (&[0, 2, 3, 4], 3, &[0, 3, 2]),
            (&[2, 3, 4, 5], 3, &[4, 3, 2]),
            (&[2, 4], 3, &[4, 2]),
            (&[2, 4, 6, 7], 3, &[4, 2, 6]),
            // A smaller window, a larger one.
            (&[2, 4, 6, 7], 1, &[4]),
            (&[2, 4, 6, 7], 0, &[]),
            (&[2, 4, 6, 7], 8, &[2, 4, 6, 7]),
            (&[], 8, &[]),
        ] {
            assert_eq!(shown(&mut slots, running, most), expected, "{running:?}, {most} rows");
        }
    }
}
