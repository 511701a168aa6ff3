//! Numbers as people read them: sizes, rates, counts, durations.
//!
//! Must not know where they are shown.

use std::fmt;
use std::time::Duration;

pub use indicatif::{HumanBytes as Bytes, HumanCount as Count};

/// Bytes a second: `12.30 MiB/s`.
pub struct Rate(pub f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A float cast saturates: no rate overflows.
        write!(f, "{}/s", Bytes(self.0 as u64))
    }
}

/// A duration in at most six columns: `0.12s`, `12.3s`, `1m20s`, `2h03m`, `3d04h`.
pub struct Time(pub Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let text = if self.0 < Duration::from_millis(9_995) {
            format!("{:.2}s", self.0.as_secs_f64())
        } else if self.0 < Duration::from_millis(59_950) {
            format!("{:.1}s", self.0.as_secs_f64())
        } else if seconds < 3600 {
            // 59.95 s and above are rounded up to the minute.
            let seconds = seconds.max(60);
            format!("{}m{:02}s", seconds / 60, seconds % 60)
        } else if seconds < 86_400 {
            format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60)
        } else {
            format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24)
        };
        f.pad(&text)
    }
}

/// An estimate of the time left, no finer than estimates are: `1s`, `24s`, `1m20s`, `12m`, `2h03m`, `3d04h`.
pub struct Left(pub Duration);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded up: what is left is never nothing.
        let seconds = self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0);
        match seconds {
            0..60 => write!(f, "{seconds}s"),
            60..600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            600..3600 => write!(f, "{}m", seconds / 60),
            _ => Time(Duration::from_secs(seconds)).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_short_and_does_not_lie_by_rounding() {
        let table = [
            (0, "0.00s"),
            (120, "0.12s"),
            (9_990, "9.99s"),
            (9_996, "10.0s"),
            (12_340, "12.3s"),
            (59_949, "59.9s"),
            (59_999, "1m00s"),
            (80_000, "1m20s"),
            (3_599_999, "59m59s"),
            (7_380_000, "2h03m"),
            (273_600_000, "3d04h"),
        ];
        for (millis, expected) in table {
            assert_eq!(Time(Duration::from_millis(millis)).to_string(), expected);
        }
        assert_eq!(format!("{:>7}", Time(Duration::from_secs(80))), "  1m20s");
    }

    #[test]
    fn an_estimate_is_in_whole_seconds_and_beyond_ten_minutes_in_minutes() {
        let table = [
            (0, "0s"),
            (3_300, "4s"),
            (59_000, "59s"),
            (59_001, "1m00s"),
            (80_000, "1m20s"),
            (601_000, "10m"),
            (3_599_000, "59m"),
            (7_380_000, "2h03m"),
            (273_600_000, "3d04h"),
        ];
        for (millis, expected) in table {
            assert_eq!(Left(Duration::from_millis(millis)).to_string(), expected);
        }
    }

    #[test]
    fn a_rate_of_any_size_can_be_shown() {
        assert_eq!(Rate(12_900_000.0).to_string(), "12.30 MiB/s");
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Rate(odd).to_string().ends_with("B/s"));
        }
    }
}
