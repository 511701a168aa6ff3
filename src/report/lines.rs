//! The line per URL that a person reads: outcome, status, size, time, name, URL, and the reason when it is not ok.
//! A skipped URL has its line too: there is one for every line of the list. And the line about its connection, for those
//! who asked for more.
//!
//! Must not know where the line goes; it is told whether it may use colour.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use unicode_width::UnicodeWidthStr;

use super::units::{Bytes, Time};
use super::{escape, fit};
use crate::job::{Outcome, Settled, WOULD_BE_FETCHED};

/// A URL with less room than this is left out where it may be.
const LEAST_URL: usize = 20;

/// Columns of the outcome.
const WORD: usize = 9;

/// Whether the reader's terminal shows colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// No escape sequences at all.
    Plain,
    /// The outcome is coloured.
    Colored,
}

/// Appends the line of `settled`, without its line end. Never holds a control character from outside. With `columns` it is for
/// a person at a terminal as wide as that: a URL whose file is named is cut, or left out, where both do not fit.
pub fn push(out: &mut String, settled: &Settled, paint: Paint, columns: Option<usize>) {
    let (word, color) = match &settled.outcome {
        Outcome::Ok => ("ok", "\x1b[32m"),
        Outcome::Failed(_) => ("failed", "\x1b[31m"),
        // A dry run: what is to be told from the rest at a glance.
        Outcome::Skipped(why) if why == WOULD_BE_FETCHED => ("fetch", "\x1b[36m"),
        Outcome::Skipped(_) => ("skipped", "\x1b[2m"),
        Outcome::Cancelled(_) => ("cancelled", "\x1b[33m"),
    };
    // Writing to a String does not fail.
    let _ = match paint {
        Paint::Plain => write!(out, "{word:<WORD$}"),
        Paint::Colored => write!(out, "{color}{word:<WORD$}\x1b[0m"),
    };
    let start = out.len();
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
    // A line of JSON that is none has no URL either.
    let mut url = String::new();
    escape::push_str(&mut url, if settled.job.url.is_empty() { "-" } else { &settled.job.url });
    let reason = match &settled.outcome {
        Outcome::Ok => 0,
        Outcome::Skipped(reason) => 2 + reason.width(),
        // All of it is wanted, and most have no file.
        Outcome::Failed(_) | Outcome::Cancelled(_) => usize::MAX,
    };
    let left = columns.filter(|_| settled.saved.filename.is_some() && reason < usize::MAX);
    let left = left.map(|columns| columns.saturating_sub(WORD + out[start..].width() + 2 + reason));
    match left.filter(|left| url.width() > *left) {
        None => out.extend(["  ", &url]),
        Some(left) if left >= LEAST_URL => out.extend(["  ", &fit::url(&url, left)]),
        Some(_) => {}
    }
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

/// Appends the line about the last attempt's connection, without its line end; `false` when there was none. What is not
/// known, or did not happen because the connection was there already, is left out.
pub fn push_connection(out: &mut String, settled: &Settled) -> bool {
    let Some((stats, ip)) = settled.stats.as_ref().and_then(|stats| Some((stats, stats.remote_ip.as_ref()?))) else {
        return false;
    };
    out.push_str("fetchmany: ");
    escape::push_str(out, &settled.job.url);
    out.push_str(": ");
    escape::push_str(out, ip);
    // Writing to a String does not fail.
    if let Some(port) = stats.remote_port {
        let _ = write!(out, " port {port}");
    }
    if let Some(version) = stats.http_version {
        let _ = write!(out, ", HTTP/{version}");
    }
    out.push_str(if stats.num_connects == Some(0) { ", connection used again" } else { ", new connection" });
    for (what, time) in [
        ("name", stats.time_namelookup),
        ("connected", stats.time_connect),
        ("TLS", stats.time_appconnect),
        ("first byte", stats.time_starttransfer),
        ("end", stats.time_total),
    ] {
        if let Some(time) = time.filter(|time| !time.is_zero()) {
            let _ = write!(out, ", {what} {:.3}", time.as_secs_f64());
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::Stats;
    use crate::report::fixture;
    use crate::text::is_hostile;

    fn line(settled: &Settled, paint: Paint) -> String {
        let mut out = String::new();
        push(&mut out, settled, paint, None);
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
    fn on_a_terminal_the_url_of_what_has_a_file_gives_way() {
        let line = |settled: &Settled, columns| {
            let mut out = String::new();
            push(&mut out, settled, Paint::Colored, Some(columns));
            out.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
        };
        let begin = "ok         200    12.30 MiB   1.20s  data/file.bin";
        for (columns, expected) in [
            (80, "  https://example.com/file.bin"),
            (79, "  example.com/file.bin"),
            (72, "  example.com/file.bin"),
            (71, ""),
            (40, ""),
            (0, ""),
        ] {
            assert_eq!(line(&fixture::ok(), columns), format!("{begin}{expected}"), "{columns}");
        }
        assert!(line(&fixture::skipped(), 88).ends_with("  data/file.bin  https://example.com/file.bin  exists"));
        assert!(line(&fixture::skipped(), 80).ends_with("  data/file.bin  example.com/file.bin  exists"));
        assert!(line(&fixture::skipped(), 70).ends_with("  data/file.bin  exists"));
        // What failed is told in full, and so is what has no other name.
        let mut discarded = fixture::ok();
        discarded.saved.filename = None;
        for settled in [fixture::failed(), fixture::cancelled(), discarded] {
            assert!(line(&settled, 40).contains("  https://example.com/file.bin"));
        }
    }

    #[test]
    fn a_line_about_the_connection_tells_what_is_known_of_it() {
        let connection = |settled: &Settled| {
            let mut out = String::new();
            push_connection(&mut out, settled).then_some(out)
        };
        let expected = "fetchmany: https://example.com/file.bin: 192.0.2.7 port 443, HTTP/2, new connection, name 0.001, \
                        connected 0.020, TLS 0.045, first byte 0.090, end 1.200";
        assert_eq!(connection(&fixture::ok()).as_deref(), Some(expected));
        let mut again = fixture::ok();
        let (num_connects, zero) = (Some(0), Some(Duration::ZERO));
        again.stats = again.stats.map(|stats| Stats {
            num_connects,
            time_namelookup: zero,
            time_connect: zero,
            time_appconnect: zero,
            ..stats
        });
        let expected = "192.0.2.7 port 443, HTTP/2, connection used again, first byte 0.090, end 1.200";
        assert!(connection(&again).unwrap().ends_with(expected));
        for without in [fixture::failed(), fixture::skipped()] {
            assert_eq!(connection(&without), None);
        }
        assert!(!connection(&fixture::hostile()).unwrap().chars().any(is_hostile));
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
        assert!(!text.chars().any(is_hostile), "{text:?}");
        assert!(text.contains(r"\xff\xfe\x1b]0;x\x07\u{9b}2J\u{202e}\r\n\x00\x7f\u{85}\u{2028}"), "{text}");
    }
}
