//! The run as the driver shows it to this room, at each drawing.
//!
//! Must not know how it is drawn.

use std::time::{Duration, Instant};

use super::meter::Meter;
use super::tally::Tally;
use super::units::{Count, Left};
use super::{escape, fit};
use crate::job::Host;

/// The run as it is now, from counters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress<'a> {
    /// Transfers running.
    pub in_flight: usize,
    /// Transfers that may run, where `-j auto` finds that number.
    pub limit: Option<usize>,
    /// Jobs queued or delayed.
    pub waiting: usize,
    /// Hosts that are left alone for a while.
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
    /// More may come, and none is there now.
    pub input_waits: bool,
    /// Nothing more is started: what runs is waited for, and how long the list would take means nothing.
    pub stopping: bool,
    /// Bodies that are on their way, each counted as far as it has come.
    pub parts: f64,
    /// Running transfers; those that run longest are enough.
    pub active: &'a [Active<'a>],
}

/// Hosts that are paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses<'a> {
    /// How many.
    pub hosts: usize,
    /// The one that goes on first. Outside text, escaped here.
    pub host: &'a Host,
    /// The status that paused the one that goes on first; `None`: it could not be reached.
    pub status: Option<u32>,
    /// For how long it still waits.
    pub first: Duration,
    /// For how long the last one that URLs wait for still does; zero where none wait.
    pub last: Duration,
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
    /// How many run: `60 running`, or of how many that may: `60 of 64 running`. Or that there is nothing to run.
    pub fn running(&self) -> String {
        if self.input_waits && self.in_flight == 0 && self.waiting == 0 {
            return "waiting for input".to_owned();
        }
        let count = Count(self.in_flight as u64);
        match self.limit {
            None => format!("{count} running"),
            Some(limit) => format!("{count} of {} running", Count(limit as u64)),
        }
    }

    /// Which hosts wait, why and how long, in at most `room` columns: `paused: example.com:8080 (429) 24s, and 2 more`.
    pub fn paused(&self, room: usize) -> Option<String> {
        let Pauses { hosts, host, status, first, .. } = self.pauses?;
        let mut name = String::new();
        escape::push_str(&mut name, &host.to_string());
        let why = status.map_or("unreachable".to_owned(), |status| status.to_string());
        let (begin, why) = ("paused: ", format!(" ({why}) {}", Left(first)));
        let (long, short) = match hosts as u64 - 1 {
            0 => Default::default(),
            others => (format!(", and {} more", Count(others)), format!(", +{}", Count(others))),
        };
        let left = |others: &str| room.saturating_sub(begin.len() + why.len() + others.len());
        let others = if fit::end(&name, left(&long)) == name { long } else { short };
        let name = fit::middle(&name, left(&others));
        Some(fit::end(&format!("{begin}{name}{why}{others}"), room))
    }

    /// The time left: not less than the last of the hosts that URLs wait for is paused.
    pub fn eta(&self, meter: &Meter) -> Option<Duration> {
        let pause = self.pauses.map(|pauses| pauses.last).unwrap_or_default();
        meter.eta().map(|eta| eta.max(pause))
    }

    /// Which part of the run is done, from 0 to 1. Before the end of the list is read, its bytes stand for its lines;
    /// `None` when its length is not known either (a pipe), and when it is not to be done any more.
    pub fn fraction(&self, tally: &Tally) -> Option<f64> {
        let done = ((tally.settled() as f64 + self.parts) / self.lines.max(1) as f64).min(1.0);
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
        // Lines, whether the list ended, its bytes read and in all, the parts that have come of bodies; the part.
        let table = [
            (4, true, (100, Some(100)), 0.0, Some(0.25)),
            (4, true, (100, None), 0.5, Some(0.375)),
            (0, true, (0, Some(0)), 0.0, Some(1.0)),
            (1, true, (100, None), 0.5, Some(1.0)),
            (4, false, (100, None), 0.0, None),
            (4, false, (0, Some(0)), 0.0, None),
            (2, false, (50, Some(100)), 0.0, Some(0.25)),
            (1, false, (200, Some(100)), 0.5, Some(1.0)),
        ];
        for (lines, list_ended, (list_bytes, list_total), parts, expected) in table {
            let progress = Progress { list_bytes, list_total, lines, list_ended, parts, ..Progress::default() };
            assert_eq!(progress.fraction(&tally), expected, "{progress:?}");
        }
    }

    #[test]
    fn pauses_and_limits_are_put_in_words() {
        let host = |port| Host { tls: true, name: "example.com".into(), port };
        let (usual, odd) = (host(443), host(8080));
        let pauses = |hosts, host, millis| {
            Some(Pauses { hosts, host, status: Some(429), first: Duration::from_millis(millis), last: Duration::ZERO })
        };
        let progress = Progress { in_flight: 1200, ..Progress::default() };
        assert_eq!((progress.running().as_str(), progress.paused(80)), ("1,200 running", None));
        assert_eq!(Progress { limit: Some(2000), ..progress }.running(), "1,200 of 2,000 running");
        for (hosts, host, millis, room, expected) in [
            (1, &usual, 11_200, 80, "paused: example.com (429) 12s"),
            (1, &odd, 500, 80, "paused: example.com:8080 (429) 1s"),
            (3, &odd, 80_000, 80, "paused: example.com:8080 (429) 1m20s, and 2 more"),
            (3, &odd, 80_000, 40, "paused: example.com:8080 (429) 1m20s, +2"),
            (3, &odd, 80_000, 30, "paused: ..8080 (429) 1m20s, +2"),
            (3, &odd, 80_000, 10, "paused: .."),
        ] {
            let told = Progress { pauses: pauses(hosts, host, millis), ..progress }.paused(room).unwrap();
            assert_eq!(told, expected);
        }
        let unreachable = Pauses { status: None, ..pauses(1, &usual, 500).unwrap() };
        let told = Progress { pauses: Some(unreachable), ..progress }.paused(80);
        assert_eq!(told.as_deref(), Some("paused: example.com (unreachable) 1s"));
    }

    #[test]
    fn a_run_that_has_nothing_to_do_until_more_comes_says_so() {
        let idle = Progress { input_waits: true, ..Progress::default() };
        assert_eq!(idle.running(), "waiting for input");
        for busy in [Progress { in_flight: 1, ..idle }, Progress { waiting: 1, ..idle }, Progress::default()] {
            assert_eq!(busy.running(), format!("{} running", busy.in_flight));
        }
    }

    #[test]
    fn what_is_paused_is_not_done_sooner_than_that() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        meter.sample(now + Duration::from_secs(10), 0, Some(0.5));
        let host = Host { tls: false, name: "h".into(), port: 80 };
        for (seconds, expected) in [(0, 10), (9, 10), (24, 24)] {
            let (first, last) = (Duration::from_secs(1), Duration::from_secs(seconds));
            let pauses = Some(Pauses { hosts: 2, host: &host, status: Some(429), first, last });
            let eta = Progress { pauses, ..Progress::default() }.eta(&meter);
            assert_eq!(eta, Some(Duration::from_secs(expected)));
        }
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
