//! The run as the driver shows it to this room, at each drawing.
//!
//! Must not know how it is drawn.

use std::time::{Duration, Instant};

use super::escape;
use super::tally::Tally;
use super::units::Count;

/// The run as it is now, from counters.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Transfers running.
    pub in_flight: usize,
    /// Transfers that may run, where `-j auto` finds that number.
    pub limit: Option<usize>,
    /// Jobs queued or delayed.
    pub waiting: usize,
    /// Hosts that asked to be left alone for a while.
    pub pauses: Option<Pauses<'a>>,
    /// Body bytes of the whole run, running transfers included.
    pub received: u64,
    /// Bytes of the list read so far.
    pub list_bytes: u64,
    /// Bytes of the whole list, where that is known.
    pub list_total: Option<u64>,
    /// Lines accepted so far.
    pub lines: u64,
    /// No more lines will come.
    pub list_ended: bool,
    /// Nothing more is started: what runs is waited for, and how long the list would take means nothing.
    pub stopping: bool,
    /// The running transfers; those that run longest are enough.
    pub active: &'a [Active<'a>],
}

/// Hosts that are paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses<'a> {
    /// How many.
    pub hosts: usize,
    /// The one that goes on first. Outside text, escaped here.
    pub name: &'a str,
    /// The status that paused the one that goes on first.
    pub status: u32,
    /// For how long it still waits.
    pub first: Duration,
}

/// A running transfer.
#[derive(Debug, Clone, Copy)]
pub struct Active<'a> {
    /// Its job's number.
    pub urlnum: u64,
    /// Name or URL. Outside text, escaped here.
    pub label: &'a str,
    /// Body bytes so far.
    pub received: u64,
    /// Body bytes in all, where that is known.
    pub expected: Option<u64>,
    /// When it started.
    pub started: Instant,
}

impl Progress<'_> {
    /// How many run: `60 running`, or of how many that may: `60 of 64 running`.
    pub fn running(&self) -> String {
        let count = Count(self.in_flight as u64);
        match self.limit {
            None => format!("{count} running"),
            Some(limit) => format!("{count} of {} running", Count(limit as u64)),
        }
    }

    /// Which hosts wait, why and how long, in at most `room` bytes: `example.com paused (429) 12s`, or without its name
    /// `2 hosts paused (429) 12s`.
    pub fn paused(&self, room: usize) -> Option<String> {
        let Pauses { hosts, name, status, first } = self.pauses?;
        let why = format!("paused ({status}) {}s", first.as_secs_f64().ceil());
        let mut shown = String::new();
        escape::push_str(&mut shown, name);
        let (named, counted) = match hosts {
            1 => (format!("{shown} {why}"), format!("1 host {why}")),
            _ => {
                let (hosts, others) = (Count(hosts as u64), Count(hosts as u64 - 1));
                (format!("{shown} and {others} more {why}"), format!("{hosts} hosts {why}"))
            }
        };
        Some(if named.len() <= room { named } else { counted })
    }

    /// Which part of the run is done, from 0 to 1. Before the end of the list is read, its bytes stand for its lines;
    /// `None` when its length is not known either (a pipe), and when it is not to be done any more.
    pub fn fraction(&self, tally: &Tally) -> Option<f64> {
        let running: f64 = self.active.iter().filter_map(Active::part).sum();
        let done = ((tally.settled() as f64 + running) / self.lines.max(1) as f64).min(1.0);
        match self.list_total {
            _ if self.stopping => None,
            _ if self.list_ended && self.lines == 0 => Some(1.0),
            _ if self.list_ended => Some(done),
            Some(total) if total > 0 => Some(done * (self.list_bytes as f64 / total as f64).min(1.0)),
            _ => None,
        }
    }
}

impl Active<'_> {
    /// Which part of the body has come, where its length is known.
    pub fn part(&self) -> Option<f64> {
        let expected = self.expected.filter(|expected| *expected > 0)?;
        Some((self.received as f64 / expected as f64).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_part_done_is_told_from_what_is_known() {
        let mut tally = Tally::default();
        tally.count(&fixture::ok());
        let half = [Active { urlnum: 1, label: "", received: 512, expected: Some(1024), started: Instant::now() }];
        // Lines, whether the list ended, its bytes read and in all, transfers half done; the part.
        let table = [
            (4, true, (100, Some(100)), 0, Some(0.25)),
            (4, true, (100, None), 1, Some(0.375)),
            (0, true, (0, Some(0)), 0, Some(1.0)),
            (1, true, (100, None), 1, Some(1.0)),
            (4, false, (100, None), 0, None),
            (4, false, (0, Some(0)), 0, None),
            (2, false, (50, Some(100)), 0, Some(0.25)),
            (1, false, (200, Some(100)), 1, Some(1.0)),
        ];
        for (lines, list_ended, (list_bytes, list_total), running, expected) in table {
            let active = &half[..running];
            let progress = Progress {
                in_flight: active.len(),
                limit: None,
                waiting: 0,
                pauses: None,
                received: 0,
                list_bytes,
                list_total,
                lines,
                list_ended,
                stopping: false,
                active,
            };
            assert_eq!(progress.fraction(&tally), expected, "{progress:?}");
        }
    }

    #[test]
    fn pauses_and_limits_are_put_in_words() {
        let pauses = |hosts, millis| {
            Some(Pauses { hosts, name: "example.com", status: 429, first: Duration::from_millis(millis) })
        };
        let progress = Progress {
            in_flight: 1200,
            limit: None,
            waiting: 0,
            pauses: None,
            received: 0,
            list_bytes: 0,
            list_total: None,
            lines: 0,
            list_ended: false,
            stopping: false,
            active: &[],
        };
        assert_eq!((progress.running().as_str(), progress.paused(80)), ("1,200 running", None));
        let progress = Progress { limit: Some(2000), pauses: pauses(1, 11_200), ..progress };
        assert_eq!(progress.running(), "1,200 of 2,000 running");
        assert_eq!(progress.paused(28).as_deref(), Some("example.com paused (429) 12s"));
        assert_eq!(progress.paused(27).as_deref(), Some("1 host paused (429) 12s"));
        let progress = Progress { pauses: pauses(2, 500), ..progress };
        assert_eq!(progress.paused(80).as_deref(), Some("example.com and 1 more paused (429) 1s"));
        assert_eq!(progress.paused(30).as_deref(), Some("2 hosts paused (429) 1s"));
    }

    #[test]
    fn a_body_without_a_length_has_no_parts() {
        let active = |received, expected| Active { urlnum: 0, label: "", received, expected, started: Instant::now() };
        assert_eq!(active(5, None).part(), None);
        assert_eq!(active(5, Some(0)).part(), None);
        assert_eq!(active(5, Some(10)).part(), Some(0.5));
        assert_eq!(active(50, Some(10)).part(), Some(1.0));
    }
}
