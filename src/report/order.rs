//! `--ordered`: results wait until all before them were told.
//!
//! What waits is bounded: see [`Order::keeps_up`]. Must not know what is told of a result.

use std::collections::BTreeMap;

use crate::job::{Outcome, Settled};

/// How far reading may be ahead of the oldest line that has no result yet. As much as the schedule takes anyway.
const MOST_LINES: u64 = 16_384;

/// Bytes of results that may wait for an older one before reading stops. Lines may be long.
const MOST_BYTES: usize = 16 << 20;

/// Results that wait for their turn.
#[derive(Debug, Default)]
pub struct Order {
    /// The number of the line whose turn it is.
    next: u64,
    held: BTreeMap<u64, Settled>,
    bytes: usize,
}

impl Order {
    /// Whether the result of line `urlnum` may be told now.
    pub fn is_next(&self, urlnum: u64) -> bool {
        urlnum == self.next
    }

    /// Keeps a result until it is its turn.
    pub fn hold(&mut self, settled: Settled) {
        self.bytes += size(&settled);
        self.held.insert(settled.job.urlnum, settled);
    }

    /// The one whose turn it was has been told. Returns the following one if it has waited.
    pub fn advance(&mut self) -> Option<Settled> {
        self.next += 1;
        let settled = self.held.remove(&self.next)?;
        self.bytes -= size(&settled);
        Some(settled)
    }

    /// The next one of those that have waited in vain, at the end of a run that was broken off.
    pub fn rest(&mut self) -> Option<Settled> {
        self.held.pop_first().map(|(_, settled)| settled)
    }

    /// Whether another line may be read when `lines` were accepted. What was read may run, so the oldest will end.
    pub fn keeps_up(&self, lines: u64) -> bool {
        lines.saturating_sub(self.next) < MOST_LINES && self.bytes < MOST_BYTES
    }
}

/// What a result takes while it waits, about.
fn size(settled: &Settled) -> usize {
    let Settled { job, outcome, .. } = settled;
    let message = match outcome {
        Outcome::Failed(failure) => failure.message.len(),
        _ => 0,
    };
    size_of::<Settled>() + job.input_line.len() + job.url.len() + job.request_url.len() + message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn line(urlnum: u64, bytes: usize) -> Settled {
        let mut settled = fixture::ok();
        settled.job.urlnum = urlnum;
        settled.job.input_line = vec![b'x'; bytes];
        settled
    }

    #[test]
    fn results_come_in_the_order_of_their_lines() {
        let mut order = Order::default();
        let mut told = Vec::new();
        for urlnum in [2, 1, 4, 0, 3, 5] {
            if !order.is_next(urlnum) {
                order.hold(line(urlnum, 0));
                continue;
            }
            told.push(urlnum);
            while let Some(next) = order.advance() {
                told.push(next.job.urlnum);
            }
        }
        assert_eq!(told, [0, 1, 2, 3, 4, 5]);
        assert_eq!((order.bytes, order.held.len()), (0, 0));
    }

    #[test]
    fn reading_stops_when_the_oldest_is_far_behind_or_much_waits() {
        let mut order = Order::default();
        assert!(order.keeps_up(0) && order.keeps_up(MOST_LINES - 1) && !order.keeps_up(MOST_LINES));
        order.hold(line(1, MOST_BYTES));
        assert!(!order.keeps_up(2));
        assert!(order.advance().is_some());
        assert!(order.keeps_up(MOST_LINES));
    }

    #[test]
    fn what_waited_in_vain_is_told_at_the_end() {
        let mut order = Order::default();
        for urlnum in [7, 3] {
            order.hold(line(urlnum, 0));
        }
        let rest: Vec<_> = std::iter::from_fn(|| order.rest()).map(|settled| settled.job.urlnum).collect();
        assert_eq!(rest, [3, 7]);
    }
}
