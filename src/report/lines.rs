//! The line per URL that a person reads: outcome, status, size, time, name, URL, and the reason when it is not ok.
//! A skipped URL has its line too: there is one for every line of the list.
//!
//! Must not know where the line goes; it is told whether it may use colour.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use super::escape;
use super::units::{Bytes, Time};
use crate::job::{Outcome, Settled};

/// Whether the reader's terminal shows colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// No escape sequences at all.
    Plain,
    /// The outcome is coloured.
    Colored,
}

/// Appends the line of `settled`, without its line end. Never holds a control character from outside.
pub fn push(out: &mut String, settled: &Settled, paint: Paint) {
    let (word, color) = match &settled.outcome {
        Outcome::Ok => ("ok", "\x1b[32m"),
        Outcome::Failed(_) => ("failed", "\x1b[31m"),
        Outcome::Skipped(_) => ("skipped", "\x1b[2m"),
        Outcome::Cancelled(_) => ("cancelled", "\x1b[33m"),
    };
    // Writing to a String does not fail.
    let _ = match paint {
        Paint::Plain => write!(out, "{word:<9}"),
        Paint::Colored => write!(out, "{color}{word:<9}\x1b[0m"),
    };
    let stats = settled.stats.as_ref();
    let _ = match stats.and_then(|stats| stats.http_code) {
        Some(code) => write!(out, "  {code:>3}"),
        None => write!(out, "    -"),
    };
    let received = stats.map(|stats| stats.size_download).filter(|bytes| *bytes > 0);
    let _ = match settled.saved.size.or(received) {
        // `1023.99 KiB` is the longest.
        Some(bytes) => write!(out, "  {:>11}", Bytes(bytes).to_string()),
        None => write!(out, "  {:>11}", '-'),
    };
    let _ = match stats.and_then(|stats| stats.time_total) {
        Some(time) => write!(out, "  {:>6}", Time(time)),
        None => write!(out, "  {:>6}", '-'),
    };
    out.push_str("  ");
    match &settled.saved.filename {
        Some(name) => escape::push_bytes(out, name.as_os_str().as_bytes()),
        None => out.push('-'),
    }
    out.push_str("  ");
    escape::push_str(out, &settled.job.url);
    match &settled.outcome {
        Outcome::Ok => {}
        Outcome::Failed(failure) => {
            let _ = write!(out, "  {}: ", failure.class.as_str());
            escape::push_str(out, &failure.message);
            // A URL from the command line is its own source.
            if *settled.job.origin.source != *settled.job.url {
                out.push_str(" (");
                escape::push_str(out, &settled.job.origin.source);
                let _ = write!(out, ":{})", settled.job.origin.line);
            }
        }
        Outcome::Skipped(reason) | Outcome::Cancelled(reason) => {
            out.push_str("  ");
            escape::push_str(out, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn line(settled: &Settled, paint: Paint) -> String {
        let mut out = String::new();
        push(&mut out, settled, paint);
        out
    }

    #[test]
    fn a_line_shows_what_became_of_the_url() {
        let table = [
            (fixture::ok(), "ok         200    12.30 MiB   1.20s  data/file.bin  https://example.com/file.bin"),
            (
                fixture::failed(),
                "failed     404        162 B   0.12s  -  https://example.com/file.bin  http: the server says 404 Not Found (list.txt:12)",
            ),
            (
                fixture::skipped(),
                "skipped      -    12.30 MiB       -  data/file.bin  https://example.com/file.bin  exists",
            ),
            (fixture::cancelled(), "cancelled    -            -       -  -  https://example.com/file.bin  interrupted"),
        ];
        for (settled, expected) in table {
            assert_eq!(line(&settled, Paint::Plain), expected);
        }
    }

    #[test]
    fn colour_touches_the_outcome_alone() {
        let text = line(&fixture::failed(), Paint::Colored);
        assert!(text.starts_with("\x1b[31mfailed   \x1b[0m  404"), "{text:?}");
        assert_eq!(text.matches('\x1b').count(), 2);
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_raw() {
        let text = line(&fixture::hostile(), Paint::Plain);
        assert!(!text.chars().any(escape::is_hostile), "{text:?}");
        assert!(text.contains(r"\xff\xfe\x1b]0;x\x07\u{9b}2J\u{202e}\r\n\x00\x7f\u{85}\u{2028}"), "{text}");
    }
}
