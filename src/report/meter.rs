//! How fast it goes now and how long it will take, from counters sampled at each drawing.
//!
//! Must not read the clock, and must not know what the counters count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples closer together than this replace each other.
const SPACING: Duration = Duration::from_millis(500);

/// The rate is the mean over this time: calm enough to read, quick enough to show a stall.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The time left is told from this much of the past: whole files settle less evenly than bytes arrive.
const ETA_WINDOW: Duration = Duration::from_secs(30);

/// Below this span a rate would be noise.
const LEAST_SPAN: Duration = Duration::from_millis(400);

/// A longer estimate is no information; a century also keeps the arithmetic far from overflow.
const LONGEST_ETA: f64 = 100.0 * 365.0 * 86_400.0;

/// The recent past of a run.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    bytes: u64,
    /// Part of the run that is done, from 0 to 1, where that is known.
    fraction: Option<f64>,
}

impl Meter {
    /// At the start, when nothing has moved.
    pub fn new(now: Instant) -> Meter {
        Meter { began: now, samples: VecDeque::from([Sample { at: now, bytes: 0, fraction: Some(0.0) }]) }
    }

    /// Takes the counters of `now`: bytes so far, and which part of the run is done.
    pub fn sample(&mut self, now: Instant, bytes: u64, fraction: Option<f64>) {
        let sample = Sample { at: now, bytes, fraction };
        let count = self.samples.len();
        if count >= 2 && now.saturating_duration_since(self.samples[count - 2].at) < SPACING {
            self.samples[count - 1] = sample;
        } else {
            self.samples.push_back(sample);
        }
        while self.samples.len() > 2 && now.saturating_duration_since(self.samples[1].at) >= ETA_WINDOW {
            self.samples.pop_front();
        }
    }

    /// Bytes a second over the last seconds. `None` before there is a past.
    pub fn rate(&self) -> Option<f64> {
        let last = self.samples.back()?;
        let span = |sample: &&Sample| last.at.saturating_duration_since(sample.at);
        // The youngest sample that is as old as the window, or the oldest there is.
        let first = self.samples.iter().rev().find(|sample| span(sample) >= RATE_WINDOW).or(self.samples.front())?;
        let span = span(&first);
        (span >= LEAST_SPAN).then(|| last.bytes.saturating_sub(first.bytes) as f64 / span.as_secs_f64())
    }

    /// Bytes a second since the start. `None` before there is a past that [`Meter::rate`] has forgotten.
    pub fn mean(&self) -> Option<f64> {
        let last = self.samples.back()?;
        let span = last.at.saturating_duration_since(self.began);
        (span > RATE_WINDOW).then(|| last.bytes as f64 / span.as_secs_f64())
    }

    /// Time left at the pace of the last half minute. `None` when that cannot be told, or nothing moves.
    pub fn eta(&self) -> Option<Duration> {
        let last = self.samples.back()?;
        let done = last.fraction?;
        let (first, before) = self.samples.iter().find_map(|sample| Some((sample, sample.fraction?)))?;
        let span = last.at.saturating_duration_since(first.at);
        if span < LEAST_SPAN || done <= before {
            return None;
        }
        let seconds = (1.0 - done).max(0.0) * span.as_secs_f64() / (done - before);
        (seconds < LONGEST_ETA).then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run sampled ten times a second for `seconds`, with counters as functions of the time.
    fn run(seconds: u64, bytes: impl Fn(f64) -> u64, fraction: impl Fn(f64) -> Option<f64>) -> Meter {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for tick in 1..=seconds * 10 {
            let at = Duration::from_millis(tick * 100);
            meter.sample(start + at, bytes(at.as_secs_f64()), fraction(at.as_secs_f64()));
        }
        meter
    }

    #[test]
    fn a_steady_run_has_a_steady_rate_and_an_honest_eta() {
        let meter = run(60, |t| (t * 1e6) as u64, |t| Some(t / 240.0));
        assert!((meter.rate().unwrap() - 1e6).abs() < 1e4, "{:?}", meter.rate());
        assert!((meter.eta().unwrap().as_secs_f64() - 180.0).abs() < 2.0, "{:?}", meter.eta());
    }

    #[test]
    fn a_stall_shows_within_seconds() {
        let meter = run(20, |t| (t.min(14.0) * 1e6) as u64, |t| Some(t.min(14.0) / 240.0));
        assert_eq!(meter.rate(), Some(0.0));
        assert_eq!(meter.mean(), Some(0.7 * 1e6), "and the mean stays");
    }

    #[test]
    fn what_cannot_be_told_is_not_told() {
        let young = Meter::new(Instant::now());
        assert_eq!((young.rate(), young.mean(), young.eta()), (None, None, None));
        assert_eq!(run(5, |_| 1000, |_| None).mean(), None, "the rate is the mean");
        assert_eq!(run(10, |_| 0, |_| None).eta(), None, "no total");
        assert_eq!(run(60, |_| 0, |_| Some(0.5)).eta(), None, "nothing moves");
        assert_eq!(run(10, |_| 0, |t| Some(t * 1e-15)).eta(), None, "for ever");
        assert_eq!(run(10, |_| 0, |t| Some(t / 10.0)).eta(), Some(Duration::ZERO));
    }

    #[test]
    fn memory_is_bounded_and_a_clock_that_stands_still_does_no_harm() {
        let most = 2 * ETA_WINDOW.as_millis() / SPACING.as_millis();
        assert!(run(300, |_| 0, |_| None).samples.len() as u128 <= most);
        let now = Instant::now();
        let mut meter = Meter::new(now);
        for _ in 0..1000 {
            meter.sample(now, u64::MAX, Some(1.0));
        }
        assert_eq!((meter.rate(), meter.eta()), (None, None));
        assert_eq!(meter.samples.len(), 2);
    }
}
