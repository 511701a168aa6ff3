//! The result record: one JSON object a line, the same on standard output and in `--results`.
//!
//! Every key is in every record, in the order of [`Record`]'s fields; what is not known is `null`. The format only
//! grows. curl's `--write-out` names are used where curl has one. Times are seconds with microseconds, sizes bytes.
//!
//! Strings are escaped further than JSON asks for: DEL, C1, bidirectional controls and line separators become `\uXXXX`
//! too, which every parser turns back into what it was, and which no terminal acts upon.
//!
//! Must not know where the record goes.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::job::{ErrorClass, Id, Outcome, Settled};
use crate::text::is_hostile;

/// `exitcode` of a cancelled job: libcurl's nearest is `CURLE_ABORTED_BY_CALLBACK`, the application said stop.
const ABORTED: i32 = 42;

/// The keys, in their order.
#[derive(Serialize)]
struct Record<'a> {
    /// Number among the accepted lines, from 0.
    urlnum: u64,
    /// INPUT as given, `-` for standard input.
    source: &'a str,
    /// Physical line in it, from 1.
    line: u64,
    /// The `id` of a JSON input line. Lines of plain text have none.
    #[serde(serialize_with = "id")]
    id: Option<&'a Id>,
    /// `ok`, `failed`, `skipped` or `cancelled`.
    result: &'static str,
    /// Which part of the world failed; `null` unless failed or cancelled.
    error_class: Option<&'static str>,
    /// libcurl's code, 0 when ok or skipped.
    exitcode: i32,
    /// Why it is not `ok`; also why it was skipped.
    errormsg: Option<&'a str>,
    /// As typed, without credentials.
    url: &'a str,
    /// Of the last request.
    url_effective: Option<&'a str>,
    /// Can be opened from the current directory; bytes that are not UTF-8 are replaced.
    filename_effective: Option<Cow<'a, str>>,
    /// Bytes of the finished body.
    size: Option<u64>,
    /// Hex digest, when one was computed.
    sha256: Option<&'a str>,
    /// Offset at which an earlier partial file was continued.
    resume_from: Option<u64>,
    /// Last status.
    http_code: Option<u32>,
    /// `"1.1"`, `"2"`.
    http_version: Option<&'static str>,
    /// As sent.
    content_type: Option<&'a str>,
    /// Body bytes received in the last attempt.
    size_download: Option<u64>,
    /// Bytes a second.
    speed_download: Option<u64>,
    /// Redirects followed.
    num_redirects: Option<u32>,
    /// Attempts after the first.
    num_retries: u32,
    /// Connections opened.
    num_connects: Option<u32>,
    /// Peer address.
    remote_ip: Option<&'a str>,
    /// Peer port.
    remote_port: Option<u16>,
    /// `http` or `https`.
    scheme: Option<&'a str>,
    /// From acceptance to the start of the last attempt.
    #[serde(serialize_with = "seconds")]
    time_queue: Option<Duration>,
    /// Seconds for which a pause of its host delayed it; `null` when none did.
    #[serde(serialize_with = "seconds")]
    host_paused: Option<Duration>,
    #[serde(serialize_with = "seconds")]
    time_namelookup: Option<Duration>,
    #[serde(serialize_with = "seconds")]
    time_connect: Option<Duration>,
    #[serde(serialize_with = "seconds")]
    time_appconnect: Option<Duration>,
    #[serde(serialize_with = "seconds")]
    time_starttransfer: Option<Duration>,
    #[serde(serialize_with = "seconds")]
    time_total: Option<Duration>,
    /// libcurl's connection id.
    conn_id: Option<i64>,
    /// libcurl's transfer id.
    xfer_id: Option<i64>,
}

/// Appends the record of `settled` with its line end.
///
/// # Errors
/// None that is known: memory takes every byte, and every key is a string.
pub fn push(out: &mut Vec<u8>, settled: &Settled) -> serde_json::Result<()> {
    let record = Record::of(settled);
    record.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Ndjson))?;
    out.push(b'\n');
    Ok(())
}

/// The record of `settled` by its keys, not escaped.
///
/// # Errors
/// None that is known.
pub fn object(settled: &Settled) -> serde_json::Result<Map<String, Value>> {
    match serde_json::to_value(Record::of(settled))? {
        Value::Object(object) => Ok(object),
        _ => Ok(Map::new()),
    }
}

impl<'a> Record<'a> {
    fn of(settled: &'a Settled) -> Record<'a> {
        let Settled { job, outcome, stats, saved, time_queue } = settled;
        let stats = stats.as_ref();
        let (result, error_class, exitcode, errormsg) = match outcome {
            Outcome::Ok => ("ok", None, 0, None),
            Outcome::Failed(failure) => {
                ("failed", Some(failure.class.as_str()), failure.exitcode, Some(failure.message.as_str()))
            }
            Outcome::Skipped(reason) => ("skipped", None, 0, Some(reason.as_ref())),
            Outcome::Cancelled(reason) => {
                ("cancelled", Some(ErrorClass::Cancelled.as_str()), ABORTED, Some(reason.as_ref()))
            }
        };
        Record {
            urlnum: job.urlnum,
            source: &job.origin.source,
            line: job.origin.line,
            id: job.particulars.as_ref().and_then(|particulars| particulars.id.as_ref()),
            result,
            error_class,
            exitcode,
            errormsg,
            url: &job.url,
            url_effective: stats.and_then(|stats| stats.url_effective.as_deref()),
            filename_effective: saved.filename.as_ref().map(|path| path.to_string_lossy()),
            size: saved.size,
            sha256: saved.sha256.as_deref(),
            resume_from: saved.resume_from,
            http_code: stats.and_then(|stats| stats.http_code),
            http_version: stats.and_then(|stats| stats.http_version),
            content_type: stats.and_then(|stats| stats.content_type.as_deref()),
            size_download: stats.map(|stats| stats.size_download),
            speed_download: stats.and_then(|stats| stats.speed_download),
            num_redirects: stats.and_then(|stats| stats.num_redirects),
            num_retries: job.num_retries,
            num_connects: stats.and_then(|stats| stats.num_connects),
            remote_ip: stats.and_then(|stats| stats.remote_ip.as_deref()),
            remote_port: stats.and_then(|stats| stats.remote_port),
            scheme: stats.and_then(|stats| stats.scheme.as_deref()),
            time_queue: Some(*time_queue),
            host_paused: job.tries.host_paused,
            time_namelookup: stats.and_then(|stats| stats.time_namelookup),
            time_connect: stats.and_then(|stats| stats.time_connect),
            time_appconnect: stats.and_then(|stats| stats.time_appconnect),
            time_starttransfer: stats.and_then(|stats| stats.time_starttransfer),
            time_total: stats.and_then(|stats| stats.time_total),
            conn_id: stats.and_then(|stats| stats.conn_id),
            xfer_id: stats.and_then(|stats| stats.xfer_id),
        }
    }
}

/// A string is escaped like any other; numbers and truth values are harmless as they are.
fn id<S: Serializer>(id: &Option<&Id>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        None => serializer.serialize_none(),
        Some(Id::Text(text)) => serializer.serialize_str(text),
        Some(Id::Literal(literal)) => {
            RawValue::from_string(literal.clone()).map_err(S::Error::custom)?.serialize(serializer)
        }
    }
}

/// Whole microseconds, as curl has them: a float of nanoseconds would show digits that nothing measured.
fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_micros() as f64 / 1e6).serialize(serializer)
}

/// Compact JSON whose strings are harmless to print.
struct Ndjson;

impl Formatter for Ndjson {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // serde_json has escaped C0 already; everything else that is hostile is DEL or not ASCII.
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_hostile) {
            let (clean, tail) = rest.split_at(at);
            writer.write_all(clean.as_bytes())?;
            let mut chars = tail.chars();
            if let Some(c) = chars.next() {
                // All of them are below U+10000: one code unit.
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    const KEYS: [&str; 34] = [
        "urlnum",
        "source",
        "line",
        "id",
        "result",
        "error_class",
        "exitcode",
        "errormsg",
        "url",
        "url_effective",
        "filename_effective",
        "size",
        "sha256",
        "resume_from",
        "http_code",
        "http_version",
        "content_type",
        "size_download",
        "speed_download",
        "num_redirects",
        "num_retries",
        "num_connects",
        "remote_ip",
        "remote_port",
        "scheme",
        "time_queue",
        "host_paused",
        "time_namelookup",
        "time_connect",
        "time_appconnect",
        "time_starttransfer",
        "time_total",
        "conn_id",
        "xfer_id",
    ];

    fn line(settled: &Settled) -> String {
        let mut out = Vec::new();
        push(&mut out, settled).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn parsed(settled: &Settled) -> Value {
        serde_json::from_str(&line(settled)).unwrap()
    }

    #[test]
    fn every_record_has_every_key_in_the_same_order() {
        for settled in [fixture::ok(), fixture::failed(), fixture::skipped(), fixture::cancelled(), fixture::hostile()]
        {
            let text = line(&settled);
            let places: Vec<_> = KEYS.iter().map(|key| text.find(&format!("\"{key}\":"))).collect();
            assert!(places.iter().all(Option::is_some), "{text}");
            assert!(places.is_sorted(), "{text}");
            assert_eq!(parsed(&settled).as_object().unwrap().len(), KEYS.len());
            assert_eq!(text.matches('\n').count(), 1);
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn a_fetched_file_tells_all_that_is_known() {
        let record = parsed(&fixture::ok());
        let expected = serde_json::json!({
            "urlnum": 7, "source": "list.txt", "line": 12, "id": null, "result": "ok", "error_class": null,
            "exitcode": 0, "errormsg": null, "url": "https://example.com/file.bin",
            "url_effective": "https://cdn.example.com/file.bin", "filename_effective": "data/file.bin",
            "size": 12_900_000, "sha256": null, "resume_from": null, "http_code": 200, "http_version": "2",
            "content_type": "application/octet-stream", "size_download": 12_900_000,
            "speed_download": 10_750_000, "num_redirects": 1, "num_retries": 1, "num_connects": 2,
            "remote_ip": "192.0.2.7", "remote_port": 443, "scheme": "https", "time_queue": 0.0005,
            "host_paused": null, "time_namelookup": 0.001234, "time_connect": 0.02, "time_appconnect": 0.045,
            "time_starttransfer": 0.09, "time_total": 1.2, "conn_id": 3, "xfer_id": 9,
        });
        assert_eq!(record, expected);
    }

    #[test]
    fn outcomes_map_to_result_class_code_and_message() {
        let table = [
            (fixture::failed(), "failed", Some("http"), 22, "the server says 404 Not Found"),
            (fixture::skipped(), "skipped", None, 0, "exists"),
            (fixture::cancelled(), "cancelled", Some("cancelled"), 42, "interrupted"),
        ];
        for (settled, result, class, code, message) in table {
            let record = parsed(&settled);
            assert_eq!(record["result"], result);
            assert_eq!(record["error_class"].as_str(), class);
            assert_eq!(record["exitcode"], code);
            assert_eq!(record["errormsg"], message);
        }
    }

    #[test]
    fn hostile_text_is_harmless_to_print_and_comes_back_when_parsed() {
        let settled = fixture::hostile();
        let text = line(&settled);
        assert!(!text.trim_end_matches('\n').chars().any(is_hostile), "{text:?}");
        let record = parsed(&settled);
        assert_eq!(record["url"], settled.job.url);
        assert_eq!(record["content_type"].as_str(), settled.stats.unwrap().content_type.as_deref());
        assert!(record["filename_effective"].as_str().unwrap().starts_with("\u{fffd}\u{fffd}\u{1b}"));
    }

    #[test]
    fn credentials_of_the_input_line_are_in_no_record() {
        assert!(!line(&fixture::ok()).contains("S3CR3T"));
    }
}
