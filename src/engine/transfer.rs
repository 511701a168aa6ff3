//! One attempt as libcurl's callbacks see it: reads the response's head, decides whether its body is wanted, and
//! hands the bytes to the sink.
//!
//! Callbacks record the first thing that went wrong and stop the transfer; they never panic and read no clock. A
//! panic here would be swallowed and every later callback of the program skipped.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::IntoRawFd;
use std::rc::Rc;

use curl::easy::{Handler, WriteError};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::coding::Decoder;
use super::ffi;
use crate::job::{ErrorClass, Failure};
use crate::sink::{Body, Head};

/// An error page up to this size is read to its end, so that the connection can be used again.
const ERROR_BODY_MAX: u64 = 64 * 1024;

/// libcurl reads the body of a redirect before it follows, to keep the connection; up to this size.
const REDIRECT_BODY_MAX: u64 = 1024 * 1024;

/// What the transfers of one engine tell it between turns.
#[derive(Default)]
pub struct Tidings {
    /// Tokens of transfers whose connection came to stand since the last turn.
    pub connected: RefCell<Vec<usize>>,
    /// Body bytes received by all transfers so far.
    pub received: Cell<u64>,
}

/// What kind of body may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A whole body, stored as it was sent.
    AsSent,
    /// A whole body, stored decoded.
    Decoded,
    /// None: a HEAD request.
    Nothing,
}

/// libcurl's handler for one attempt.
pub struct Transfer {
    token: usize,
    tidings: Rc<Tidings>,
    expect: Expect,
    /// The last response's head so far.
    response: Response,
    /// Responses with a final status seen so far, redirects included.
    responses: u64,
    /// Body bytes received, those of error pages too.
    received: u64,
    connected: Cell<bool>,
    /// `None` once the attempt is over.
    body: Option<Body>,
    /// How the body is decoded, once its first byte or its end has come.
    decoder: Option<Decoder>,
    failure: Option<Failure>,
    /// Why no socket could be opened.
    socket_error: Option<io::Error>,
}

/// The head of a response.
#[derive(Debug, Default)]
struct Response {
    status: u32,
    /// The blank line after the head came.
    complete: bool,
    length: Option<u64>,
    chunked: bool,
    /// Content-Encoding, lower case; empty for none.
    coding: String,
    last_modified: Option<i64>,
    location: bool,
}

impl Transfer {
    /// An attempt that hands its bytes to `body`.
    pub fn new(token: usize, tidings: Rc<Tidings>, expect: Expect, body: Body) -> Self {
        Transfer {
            token,
            tidings,
            expect,
            response: Response::default(),
            responses: 0,
            received: 0,
            connected: Cell::new(false),
            body: Some(body),
            decoder: None,
            failure: None,
            socket_error: None,
        }
    }

    /// A number that changes whenever something moved: bytes, responses, the connection. A drip of header lines or
    /// interim responses is no progress.
    pub fn progress(&self) -> u64 {
        self.received.wrapping_add(self.responses).wrapping_add(u64::from(self.connected.get()))
    }

    /// Whether the request went out.
    pub fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Body bytes received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Body bytes that are to come in all, where the server said so.
    pub fn expected(&self) -> Option<u64> {
        self.response.declared()
    }

    /// The last response's status; 0 before the first.
    pub fn status(&self) -> u32 {
        self.response.status
    }

    /// Whether the last response was a redirect that names a target.
    pub fn was_redirected(&self) -> bool {
        (300..400).contains(&self.response.status) && self.response.location && self.response.complete
    }

    /// Why no socket could be opened, when that is what happened.
    pub fn socket_error(&self) -> Option<&io::Error> {
        self.socket_error.as_ref()
    }

    /// Ends the callbacks' part: the body, and what the callbacks found wrong. `whole` says that libcurl saw the
    /// response to its end.
    pub fn finish(&mut self, whole: bool) -> (Option<Body>, Result<(), Failure>) {
        let verdict = match self.failure.take() {
            Some(failure) => Err(failure),
            None if whole => self.last(),
            None => Ok(()),
        };
        (self.body.take(), verdict)
    }

    /// Accepts the response once: the first body byte, or the end of an empty one, is about to be handled.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.decoder.is_some() {
            return Ok(());
        }
        self.response.accept()?;
        let decoder = match self.expect {
            Expect::Decoded => Decoder::new(&self.response.coding)?,
            Expect::AsSent | Expect::Nothing => Decoder::Identity,
        };
        let plain = matches!(decoder, Decoder::Identity);
        self.decoder = Some(decoder);
        if self.expect == Expect::Nothing {
            return Ok(());
        }
        let head = Head {
            length: self.response.declared().filter(|_| plain),
            last_modified: self.response.last_modified,
            content_encoding: !self.response.coding.is_empty(),
        };
        self.body()?.begin(head)
    }

    /// Body bytes came.
    fn take(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.begin()?;
        match (&mut self.decoder, &mut self.body) {
            (Some(decoder), Some(body)) => decoder.decode(data, |plain| body.write(plain)),
            _ => Err(over()),
        }
    }

    /// The response ended.
    fn last(&mut self) -> Result<(), Failure> {
        self.begin()?;
        match (&mut self.decoder, &mut self.body) {
            (_, _) if self.expect == Expect::Nothing => Ok(()),
            (Some(decoder), Some(body)) => decoder.finish(|plain| body.write(plain)),
            _ => Err(over()),
        }
    }

    fn body(&mut self) -> Result<&mut Body, Failure> {
        self.body.as_mut().ok_or_else(over)
    }
}

/// Bytes after the end: libcurl does not send them, and they would have nowhere to go.
fn over() -> Failure {
    Failure::local("the transfer is over")
}

impl Response {
    /// Reads one header line, a status line included. Anything that is not understood is ignored.
    fn read(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        if line.starts_with(b"HTTP/") {
            let code = line.splitn(3, |byte| *byte == b' ').nth(1).unwrap_or_default();
            let status = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).unwrap_or(0);
            *self = Response { status, ..Response::default() };
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
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        let value = value.trim_ascii();
        let text = || std::str::from_utf8(value).ok();
        match name {
            name if name.eq_ignore_ascii_case(b"content-length") => {
                self.length = text().and_then(|length| length.parse().ok());
            }
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => self.chunked = true,
            name if name.eq_ignore_ascii_case(b"content-encoding") => {
                self.coding = String::from_utf8_lossy(value).to_ascii_lowercase();
            }
            name if name.eq_ignore_ascii_case(b"last-modified") => {
                self.last_modified = text()
                    .and_then(|date| httpdate::parse_http_date(date).ok())
                    .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                    .and_then(|since| i64::try_from(since.as_secs()).ok());
            }
            name if name.eq_ignore_ascii_case(b"location") => self.location = !value.is_empty(),
            _ => {}
        }
    }

    /// The body's length as sent, where it is known before the end.
    fn declared(&self) -> Option<u64> {
        self.length.filter(|_| !self.chunked)
    }

    /// Whether this response's body is what was asked for.
    fn accept(&self) -> Result<(), Failure> {
        match self.status {
            // libcurl takes what came for the head when the connection is closed inside it.
            _ if !self.complete => Err(Failure::new(ErrorClass::Protocol, 8, "the head of the response breaks off")),
            206 => Err(Failure::new(ErrorClass::Range, 33, "the server sent a part that was not asked for (206)")),
            200..=299 => Ok(()),
            0..=199 => Err(Failure::new(ErrorClass::Protocol, 8, "no final response")),
            status => Err(Failure::new(ErrorClass::Http, 22, format!("the server answered {status}"))),
        }
    }
}

impl Handler for Transfer {
    fn header(&mut self, line: &[u8]) -> bool {
        let complete = self.response.complete;
        self.response.read(line);
        if self.response.complete && !complete && self.response.status >= 200 {
            self.responses += 1;
        }
        if self.failure.is_none()
            && self.was_redirected()
            && self.response.declared().is_some_and(|length| length > REDIRECT_BODY_MAX)
        {
            let message = format!("the redirect has a body of more than {REDIRECT_BODY_MAX} bytes: not followed");
            self.failure = Some(Failure::new(ErrorClass::Redirect, 47, message));
        }
        self.failure.is_none()
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let count = data.len() as u64;
        self.received += count;
        self.tidings.received.set(self.tidings.received.get().wrapping_add(count));
        if self.failure.is_none()
            && let Err(failure) = self.take(data)
        {
            self.failure = Some(failure);
        }
        match &self.failure {
            None => Ok(data.len()),
            // The page that explains an error is dropped; a short one is read to its end.
            Some(failure)
                if failure.class == ErrorClass::Http
                    && self.received <= ERROR_BODY_MAX
                    && self.response.declared().is_none_or(|length| length <= ERROR_BODY_MAX) =>
            {
                Ok(data.len())
            }
            Some(_) => Ok(0),
        }
    }

    fn open_socket(&mut self, family: i32, kind: i32, protocol: i32) -> Option<curl_sys::curl_socket_t> {
        let kind = SocketType::from_raw(kind as u32);
        let family = AddressFamily::from_raw(family as u16);
        let protocol = std::num::NonZeroU32::new(protocol as u32).map(rustix::net::Protocol::from_raw);
        match rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol) {
            Ok(socket) => Some(socket.into_raw_fd()),
            Err(errno) => {
                self.socket_error = Some(errno.into());
                None
            }
        }
    }

    fn debug(&mut self, _kind: curl::easy::InfoType, _data: &[u8]) {}
}

impl ffi::Prereq for Transfer {
    fn connected(&self) {
        if !self.connected.replace(true) {
            self.tidings.connected.borrow_mut().push(self.token);
        }
    }
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
        assert_eq!((last.status, last.length, last.location), (200, None, false));
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
            let verdict = response(&[&format!("HTTP/1.1 {status} reason"), "\r\n"]).accept();
            assert_eq!(verdict.err().map(|failure| failure.class), class, "{status}");
        }
        let broken = response(&["HTTP/1.1 200 OK", "Content-Le"]).accept();
        assert_eq!(broken.err().map(|failure| failure.class), Some(ErrorClass::Protocol));
    }

    #[test]
    fn trailers_change_nothing() {
        let head = ["HTTP/1.1 200 OK", "Content-Length: 5", "\r\n", "Content-Length: 9", "Content-Encoding: gzip"];
        let response = response(&head);
        assert_eq!((response.declared(), response.coding.as_str()), (Some(5), ""));
    }

    #[test]
    fn dates_that_cannot_be_a_file_time_are_ignored() {
        for (date, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1901 00:00:00 GMT", None),
            ("yesterday", None),
        ] {
            let head = response(&["HTTP/1.1 200 OK", &format!("Last-Modified: {date}")]);
            assert_eq!(head.last_modified, seconds, "{date}");
        }
    }
}
