//! The head of a response, read line by line from libcurl's header callback.

use std::time::{Duration, SystemTime};

use super::disposition;
use super::range::ContentRange;
use crate::job::{self, ErrorClass, Failure};
use crate::sink::{Resume, Version};

/// A Retry-After beyond this is nonsense and counts as this: ten years.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The head of a response so far.
#[derive(Debug, Default)]
pub struct Response {
    /// Status; 0 before the first status line, or when it cannot be read.
    pub status: u32,
    /// The blank line after the head came.
    pub complete: bool,
    /// Content-Encoding, lower case, of all its lines; empty for none.
    pub coding: String,
    /// The headers that tell versions of the body apart.
    pub version: Version,
    /// The file name of Content-Disposition.
    pub name: Option<String>,
    length: Option<u64>,
    /// `Some(None)`: there is one, and it is unusable.
    range: Option<Option<ContentRange>>,
    multipart: bool,
    chunked: bool,
    /// HTTP/2 and later, where the end of a body is said.
    is_framed: bool,
    location: Option<Vec<u8>>,
    date: Option<SystemTime>,
    retry_after: Option<RetryAfter>,
}

/// What a response's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// All of what was asked for.
    Whole,
    /// What follows on the bytes that are there.
    Rest(ContentRange),
    /// Nothing, since nothing is newer (304).
    Unmodified,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The rest of a body.
    pub resume: Option<&'a Resume>,
    /// Only what is newer.
    pub newer: bool,
}

/// Retry-After as it was sent (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, Copy)]
enum RetryAfter {
    Delay(Duration),
    Date(SystemTime),
}

impl Response {
    /// Reads one header line, a status line included. Anything that is not understood is ignored.
    pub fn read(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        if line.starts_with(b"HTTP/") {
            let code = line.splitn(3, |byte| *byte == b' ').nth(1).unwrap_or_default();
            let status = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).unwrap_or(0);
            *self = Response { status, is_framed: !line.starts_with(b"HTTP/1"), ..Response::default() };
            return;
        }
        if self.complete {
            return; // a trailer
        }
        if line.is_empty() {
            self.complete = true;
            return;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            self.field(&name.to_ascii_lowercase(), value.trim_ascii());
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match name {
            b"content-length" => self.length = text.parse().ok(),
            b"transfer-encoding" => self.chunked = true,
            b"content-encoding" if !value.is_empty() => {
                // Several lines are one list (RFC 9110, section 5.3).
                if !self.coding.is_empty() {
                    self.coding.push_str(", ");
                }
                self.coding.push_str(&String::from_utf8_lossy(value).to_ascii_lowercase());
            }
            b"last-modified" => self.version.last_modified = Some(text.to_owned()),
            b"etag" => self.version.etag = Some(text.to_owned()),
            b"location" if !value.is_empty() => self.location = Some(value.to_owned()),
            b"date" => {
                self.date = date(text);
                self.version.date = Some(text.to_owned());
            }
            b"content-range" => {
                let range = ContentRange::parse(text).filter(|_| self.range.is_none());
                self.range = Some(range);
            }
            b"content-type" => self.multipart = text.to_ascii_lowercase().starts_with("multipart/byteranges"),
            b"content-disposition" => self.name = disposition::file_name(value),
            b"retry-after" => self.retry_after = retry_after(text),
            _ => {}
        }
    }

    /// The body's length as sent, where it is known before the end.
    pub fn declared(&self) -> Option<u64> {
        self.length.filter(|_| !self.chunked)
    }

    /// Whether nothing but the end of its connection tells where its body ends, so that it may as well have broken off.
    pub fn ends_with_its_connection(&self) -> bool {
        let has_end = self.is_framed || self.chunked || self.length.is_some() || matches!(self.status, 204 | 205);
        // A decoder knows the end of what it decodes.
        !has_end && self.is_identity()
    }

    /// Whether the body is sent as it is.
    pub fn is_identity(&self) -> bool {
        matches!(self.coding.as_str(), "" | "identity")
    }

    /// Where this leads, when it is a whole head that does. What was not modified (304) leads nowhere.
    pub fn leads(&self) -> Option<&[u8]> {
        let is_redirect = matches!(self.status, 300..=303 | 305..=399) && self.complete;
        self.location.as_deref().filter(|_| is_redirect)
    }

    /// Whether its host is to be left alone for a while.
    pub fn asks_for_a_pause(&self) -> bool {
        job::asks_for_a_pause(self.status, self.retry_after.is_some())
    }

    /// How long to keep away, as the server asks. A date counts from the response's own `Date`, so that a clock that
    /// is wrong on either side does not matter; one in the past is zero.
    pub fn retry_after(&self) -> Option<Duration> {
        let after = match self.retry_after? {
            RetryAfter::Delay(delay) => delay,
            RetryAfter::Date(then) => {
                let now = self.date.unwrap_or_else(SystemTime::now);
                then.duration_since(now).unwrap_or_default()
            }
        };
        Some(after.min(LONGEST_RETRY_AFTER))
    }

    /// What this response's body is, if it is what was asked for.
    pub fn accept(&self, asked: Asked<'_>) -> Result<Accepted, Failure> {
        match (self.status, asked.resume) {
            // libcurl takes what came for the head when the connection is closed inside it.
            _ if !self.complete => Err(Failure::new(ErrorClass::Protocol, 8, "the head of the response breaks off")),
            (206, Some(resume)) => self.rest(resume).map(Accepted::Rest).map_err(|why| cannot_continue(why).passing()),
            (206, None) => Err(cannot_continue("the server sent a part that was not asked for (206)")),
            (416, Some(_)) => Err(cannot_continue("the server has no such range (416)").passing()),
            // It says that it is whole and that it is not; without a range to ask for it has no reason to.
            (200..=299, Some(_)) if self.range.is_some() => {
                Err(cannot_continue("the server answered a range with 200 and Content-Range").passing())
            }
            (304, _) if asked.newer => Ok(Accepted::Unmodified),
            (200..=299, _) => Ok(Accepted::Whole),
            (0..=199, _) => Err(Failure::new(ErrorClass::Protocol, 8, "no final response")),
            (status, resume) => {
                let failure = Failure::new(ErrorClass::Http, 22, format!("the server answered {status}"));
                Err(if resume.is_some() && may_be_of_the_range(status) { failure.of_part() } else { failure })
            }
        }
    }

    /// The range of a 206, when its bytes are what follows on those that are there.
    fn rest(&self, resume: &Resume) -> Result<ContentRange, &'static str> {
        let Some(range) = self.range.flatten() else { return Err("the 206 has no usable Content-Range") };
        if self.multipart || range.first != resume.from {
            return Err("the 206 begins elsewhere than asked for");
        }
        if resume.length.is_some_and(|length| length != range.length) {
            return Err("the file has another length now");
        }
        if self.declared().is_some_and(|declared| declared != range.count()) {
            return Err("the 206 contradicts itself about its length");
        }
        if !self.is_identity() {
            return Err("the 206 is content-coded");
        }
        if resume.version.as_ref().is_some_and(|version| !version.is(&self.version)) {
            return Err("the file may have changed");
        }
        Ok(range)
    }
}

/// Whether the status may be about how it was asked, and not about what was asked for.
fn may_be_of_the_range(status: u32) -> bool {
    matches!(status, 400 | 403 | 405 | 406 | 412 | 428 | 431 | 501)
}

/// `CURLE_RANGE_ERROR`.
fn cannot_continue(why: &str) -> Failure {
    Failure::new(ErrorClass::Range, 33, why)
}

/// An HTTP-date in any of its three forms.
fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Seconds, or a date; eight digits are seconds too. What some send against the standard, parts of a second, counts as a
/// whole one.
fn retry_after(text: &str) -> Option<RetryAfter> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
        return date(text).map(RetryAfter::Date);
    }
    // More digits than fit are a very long time.
    let seconds: u64 = whole.parse().unwrap_or(u64::MAX);
    let more = u64::from(part.bytes().any(|byte| byte != b'0'));
    Some(RetryAfter::Delay(Duration::from_secs(seconds.saturating_add(more))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str]) -> Response {
        let mut response = Response::default();
        for line in lines {
            response.read(line.as_bytes());
        }
        response
    }

    #[test]
    fn a_status_line_begins_a_new_head() {
        let last =
            response(&["HTTP/1.1 302 Found\r\n", "Location: /x\r\n", "Content-Length: 9\r\n", "HTTP/2 200 \r\n"]);
        assert_eq!((last.status, last.length, last.location), (200, None, None));
    }

    #[test]
    fn lengths_are_read_only_where_they_hold() {
        for (header, declared) in [
            ("Content-Length: 12", Some(12)),
            ("content-length:12", Some(12)),
            ("Content-Length: -1", None),
            ("Content-Length: 1e3", None),
            ("Content-Length: 99999999999999999999999", None),
            ("Content-Type: 5", None),
        ] {
            assert_eq!(response(&["HTTP/1.1 200 OK", header]).declared(), declared, "{header}");
        }
        let chunked = response(&["HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"]);
        assert_eq!(chunked.declared(), None);
    }

    #[test]
    fn only_whole_successful_responses_are_accepted() {
        for (status, class) in [
            ("200", None),
            ("204", None),
            ("206", Some(ErrorClass::Range)),
            ("304", Some(ErrorClass::Http)),
            ("301", Some(ErrorClass::Http)),
            ("404", Some(ErrorClass::Http)),
            ("503", Some(ErrorClass::Http)),
            ("999", Some(ErrorClass::Http)),
            ("99", Some(ErrorClass::Protocol)),
            ("abc", Some(ErrorClass::Protocol)),
        ] {
            let verdict = response(&[&format!("HTTP/1.1 {status} reason"), "\r\n"]).accept(Asked::default());
            assert_eq!(verdict.err().map(|failure| failure.class), class, "{status}");
        }
        let broken = response(&["HTTP/1.1 200 OK", "Content-Le"]).accept(Asked::default());
        assert_eq!(broken.err().map(|failure| failure.class), Some(ErrorClass::Protocol));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_own_clock() {
        let noon = "Date: Sun, 06 Nov 1994 12:00:00 GMT";
        for (lines, seconds) in [
            (&["Retry-After: 3"][..], Some(3)),
            (&["Retry-After: 0"], Some(0)),
            (&["Retry-After: 1.5"], Some(2)),
            (&["Retry-After: 3.0"], Some(3)),
            (&["Retry-After: .5"], None),
            (&["Retry-After: 1.5.0"], None),
            (&["retry-after:  120 "], Some(120)),
            (&["Retry-After: 19941106"], Some(19_941_106)),
            (&["Retry-After: 99999999999999999999999999"], Some(LONGEST_RETRY_AFTER.as_secs())),
            (&["Retry-After: Sun, 06 Nov 1994 12:00:05 GMT", noon], Some(5)),
            (&[noon, "Retry-After: Sun, 06 Nov 1994 12:00:05 GMT"], Some(5)),
            (&[noon, "Retry-After: Sun, 06 Nov 1994 11:00:00 GMT"], Some(0)),
            (&["Retry-After: Sun, 06 Nov 1994 11:00:00 GMT"], Some(0)),
            (&["Retry-After: -5"], None),
            (&["Retry-After: soon"], None),
            (&["Retry-After:"], None),
            (&[noon], None),
        ] {
            let mut response = response(&["HTTP/1.1 503 Busy"]);
            lines.iter().for_each(|line| response.read(line.as_bytes()));
            assert_eq!(response.retry_after().map(|after| after.as_secs()), seconds, "{lines:?}");
        }
    }

    #[test]
    fn codings_of_several_lines_are_one_list() {
        for (lines, coding) in [
            (&["Content-Encoding: GZIP"][..], "gzip"),
            (&["Content-Encoding: gzip", "content-encoding: deflate"], "gzip, deflate"),
            (&["Content-Encoding:", "Content-Encoding: gzip", "Content-Encoding: "], "gzip"),
        ] {
            let mut response = response(&["HTTP/1.1 200 OK"]);
            lines.iter().for_each(|line| response.read(line.as_bytes()));
            assert_eq!(response.coding, coding, "{lines:?}");
        }
    }

    #[test]
    fn a_retry_after_of_an_earlier_response_does_not_count() {
        let last = response(&["HTTP/1.1 503 Busy", "Retry-After: 9", "", "HTTP/1.1 200 OK", ""]);
        assert_eq!(last.retry_after(), None);
    }

    #[test]
    fn trailers_change_nothing() {
        let head = ["HTTP/1.1 200 OK", "Content-Length: 5", "\r\n", "Content-Length: 9", "Content-Encoding: gzip"];
        let response = response(&head);
        assert_eq!((response.declared(), response.coding.as_str()), (Some(5), ""));
    }
}
