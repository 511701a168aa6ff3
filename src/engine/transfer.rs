//! One attempt as libcurl's callbacks see it: reads the response's head, decides whether its body is wanted, and
//! hands the bytes to the sink.
//!
//! Callbacks record the first thing that went wrong and stop the transfer; they never panic and decide by no clock.
//! A panic here would be swallowed and every later callback of the program skipped.

use std::cell::{Cell, RefCell};
use std::os::fd::IntoRawFd;
use std::rc::Rc;
use std::time::Duration;

use curl::easy::{Handler, WriteError};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::coding::Decoder;
use super::extras::Headers;
use super::fault::{Callback, Fault, Trap};
use super::ffi::{self, CookieShare};
use super::gate::Pass;
use super::response::{Accepted, Asked, Response};
use super::throttle::Permit;
use crate::job::{ErrorClass, Failure};
use crate::sink::{Body, Head};

/// An error page up to this size is read to its end, so that the connection can be used again.
const ERROR_BODY_MAX: u64 = 64 * 1024;

/// The body of a redirect is read before it is followed, to keep the connection; up to this size.
const REDIRECT_BODY_MAX: u64 = 1024 * 1024;

/// How far a transfer's connection is. Shared with libcurl, which tells when a request goes out.
pub struct Link {
    token: usize,
    tidings: Rc<Tidings>,
    pass: Pass,
    /// The request was not sent, for want of a good pass.
    held: Cell<bool>,
    connected: Cell<bool>,
    /// Connections, or uses of one, that a request went out on.
    requests: Cell<u64>,
}

/// What the transfers of one engine tell it between turns.
#[derive(Default)]
pub struct Tidings {
    /// Tokens of transfers whose connection came to stand since the last turn.
    pub connected: RefCell<Vec<usize>>,
    /// Tokens of transfers that paused, since they came faster than the limits allow.
    pub paused: RefCell<Vec<usize>>,
    /// Tokens of transfers that paused, since they came faster than they can be kept.
    pub crowded: RefCell<Vec<usize>>,
    /// Tokens of transfers whose answer asks for its host to be left alone.
    pub busy: RefCell<Vec<usize>>,
    /// Body bytes received by all transfers so far.
    pub received: Cell<u64>,
    trap: Trap,
}

impl Tidings {
    /// Nothing was said so far.
    pub fn new(fault: Option<Fault>) -> Tidings {
        Tidings { trap: Trap::new(fault, Callback::Write), ..Tidings::default() }
    }
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
    link: Rc<Link>,
    expect: Expect,
    permit: Permit,
    cookies: Option<Rc<CookieShare>>,
    paused: bool,
    /// Sockets opened from now on take at most so many bytes ahead.
    pub receive_buffer: Option<usize>,
    /// The last response's head so far.
    response: Response,
    /// What `-w` asked for.
    headers: Headers,
    /// Responses with a final status seen so far: a challenge, and the answer after it.
    responses: u64,
    /// Bytes of all heads.
    heads: u64,
    /// Body bytes received, those of error pages too.
    received: u64,
    /// The TCP connection stands; TLS or the proxy is not done with it.
    shaking_hands: Cell<bool>,
    /// `None` once the attempt is over.
    body: Option<Body>,
    /// How the body is decoded, once its first byte or its end has come.
    decoder: Option<Decoder>,
    /// Bytes that may yet come, where Content-Range says how many.
    left: Option<u64>,
    failure: Option<Failure>,
    /// Why no socket could be opened.
    socket_error: Option<Errno>,
}

impl Transfer {
    /// An attempt that hands its bytes to `body`.
    pub fn new(
        token: usize,
        tidings: Rc<Tidings>,
        expect: Expect,
        pass: Pass,
        permit: Permit,
        cookies: Option<Rc<CookieShare>>,
        body: Body,
    ) -> Self {
        let (held, connected, requests) = (Cell::new(false), Cell::new(false), Cell::new(0));
        Transfer {
            link: Rc::new(Link { token, tidings, pass, held, connected, requests }),
            expect,
            permit,
            cookies,
            paused: false,
            receive_buffer: None,
            response: Response::default(),
            headers: Headers::default(),
            responses: 0,
            heads: 0,
            received: 0,
            shaking_hands: Cell::new(false),
            body: Some(body),
            decoder: None,
            left: None,
            failure: None,
            socket_error: None,
        }
    }

    /// The same, with its responses' headers kept.
    pub fn keeping(self, headers: Headers) -> Self {
        Transfer { headers, ..self }
    }

    /// What was kept of the last response's headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// A number that changes whenever something moved: bytes, responses, the connection. A drip of header lines or
    /// interim responses is no progress.
    pub fn progress(&self) -> u64 {
        self.received.wrapping_add(self.responses).wrapping_add(self.link.requests.get())
    }

    /// Whether the request went out on the last connection.
    pub fn is_connected(&self) -> bool {
        self.link.connected.get()
    }

    /// Whether the last connection stood, without or before TLS.
    pub fn is_shaking_hands(&self) -> bool {
        self.shaking_hands.get()
    }

    /// The last socket that was opened for it is connected.
    pub fn stands(&self) {
        self.shaking_hands.set(true);
    }

    /// Whether the transfer waits for us: for the limits, or for room where its body goes.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether bytes that come now can be kept.
    pub fn has_room(&self) -> bool {
        // What a decoder makes of a few bytes may be a thousand times as long.
        let may_expand = self.expect == Expect::Decoded && !self.response.coding.is_empty();
        self.body.as_ref().is_none_or(|body| body.has_room(may_expand))
    }

    /// What the transfer must ask before it takes bytes.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// How long the last response asked to keep away.
    pub fn retry_after(&self) -> Option<Duration> {
        self.response.retry_after()
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

    /// Where the last response leads.
    pub fn location(&self) -> Option<&[u8]> {
        self.response.leads()
    }

    /// Bytes of heads received.
    pub fn head_bytes(&self) -> u64 {
        self.heads
    }

    /// The redirect brings too much of what nobody wants.
    fn too_long() -> Failure {
        let message = format!("the redirect has a body of more than {REDIRECT_BODY_MAX} bytes: not followed");
        Failure::new(ErrorClass::Redirect, 47, message)
    }

    /// Why no socket could be opened, when that is what happened.
    pub fn socket_error(&self) -> Option<Errno> {
        self.socket_error
    }

    /// The body, while the attempt is not over.
    pub fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// Ends the callbacks' part: the body, and how the attempt ended if the callbacks know better than libcurl. `whole`
    /// says that libcurl saw the response to its end.
    pub fn finish(&mut self, whole: bool) -> (Option<Body>, Option<Result<(), Failure>>) {
        let verdict = match self.failure.take() {
            Some(failure) => Some(Err(failure)),
            None if self.link.held.get() => Some(Err(held())),
            None if self.is_unwanted() => Some(Ok(())),
            None if whole && self.location().is_some() => Some(Ok(())),
            None if whole => Some(self.last()),
            None => None,
        };
        (self.body.take(), verdict)
    }

    /// Whether the response is accepted, but no bytes of it are wanted.
    fn is_unwanted(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_unwanted)
    }

    /// Accepts the response once: the first body byte, or the end of an empty one, is about to be handled.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.decoder.is_some() {
            return Ok(());
        }
        let body = self.body.as_mut().ok_or_else(over)?;
        let asked = Asked { resume: body.resume(), newer: body.unless().is_some() };
        let accepted = self.response.accept(asked)?;
        let decoder = match self.expect {
            Expect::Decoded => Decoder::new(&self.response.coding)?,
            Expect::AsSent | Expect::Nothing => Decoder::Identity,
        };
        let plain = matches!(decoder, Decoder::Identity);
        self.decoder = Some(decoder);
        if self.expect == Expect::Nothing {
            return Ok(());
        }
        let (from, length) = match accepted {
            Accepted::Whole => (0, self.response.declared().filter(|_| plain)),
            Accepted::Rest(range) => {
                self.left = Some(range.count());
                (range.first, Some(range.length))
            }
            Accepted::Unmodified => {
                body.unwanted("the server has nothing newer".into());
                return Ok(());
            }
        };
        body.begin(Head {
            from,
            length,
            content_encoding: !self.response.is_identity(),
            version: std::mem::take(&mut self.response.version),
            name: self.response.name.take(),
        })
    }

    /// Body bytes came.
    fn take(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.begin()?;
        if let Some(left) = &mut self.left {
            // CURLE_RANGE_ERROR
            let longer = || Failure::new(ErrorClass::Range, 33, "the 206 is longer than it says").passing();
            *left = left.checked_sub(data.len() as u64).ok_or_else(longer)?;
        }
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
            (_, Some(body)) if body.is_unwanted() => Ok(()),
            (Some(decoder), Some(body)) => {
                decoder.finish(|plain| body.write(plain))?;
                body.end(self.response.ends_with_its_connection())
            }
            _ => Err(over()),
        }
    }

    /// Whether what is left of the response is read to its end, so that the connection can be used again.
    fn drops_the_rest(&self) -> bool {
        self.received <= ERROR_BODY_MAX && self.response.declared().is_none_or(|length| length <= ERROR_BODY_MAX)
    }
}

/// Bytes after the end: libcurl does not send them, and they would have nowhere to go.
fn over() -> Failure {
    Failure::local("the transfer is over")
}

/// The host asked to be left alone while the connection was made.
fn held() -> Failure {
    // CURLE_ABORTED_BY_CALLBACK
    Failure::new(ErrorClass::Cancelled, 42, "its host asked to be left alone before the request was sent").held()
}

impl Handler for Transfer {
    fn header(&mut self, line: &[u8]) -> bool {
        self.heads += line.len() as u64;
        let complete = self.response.complete;
        self.response.read(line);
        self.headers.read(line);
        if self.response.complete && !complete && self.response.status >= 200 {
            self.responses += 1;
            // The host's own answer, and not that of a proxy that was asked for a tunnel.
            if self.link.connected.get() && self.response.asks_for_a_pause() {
                self.link.pass.end_all();
                self.link.tidings.busy.borrow_mut().push(self.link.token);
            }
        }
        let leads = self.response.leads().is_some();
        if leads && self.response.declared().is_some_and(|length| length > REDIRECT_BODY_MAX) {
            self.failure.get_or_insert_with(Transfer::too_long);
        }
        self.failure.is_none()
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let count = data.len() as u64;
        let tidings = &self.link.tidings;
        let waits = match self.has_room() {
            false => Some(&tidings.crowded),
            true => (!self.permit.take(count)).then_some(&tidings.paused),
        };
        self.paused = waits.is_some();
        if let Some(waits) = waits {
            // libcurl keeps the bytes and brings them again.
            waits.borrow_mut().push(self.link.token);
            return Err(WriteError::Pause);
        }
        self.received += count;
        let total = &self.link.tidings.received;
        total.set(total.get().wrapping_add(count));
        self.link.tidings.trap.pass(count);
        if self.location().is_some() {
            if self.received <= REDIRECT_BODY_MAX {
                return Ok(data.len());
            }
            self.failure.get_or_insert_with(Transfer::too_long);
        }
        if self.failure.is_none()
            && let Err(failure) = self.take(data)
        {
            self.failure = Some(failure);
        }
        match &self.failure {
            None if !self.is_unwanted() => Ok(data.len()),
            // The page that explains an error is dropped; a short one is read to its end.
            None if self.drops_the_rest() => Ok(data.len()),
            Some(_) if self.response.status >= 400 && self.drops_the_rest() => Ok(data.len()),
            None | Some(_) => Ok(0),
        }
    }

    fn open_socket(&mut self, family: i32, kind: i32, protocol: i32) -> Option<curl_sys::curl_socket_t> {
        let kind = SocketType::from_raw(kind as u32);
        let family = AddressFamily::from_raw(family as u16);
        let protocol = std::num::NonZeroU32::new(protocol as u32).map(rustix::net::Protocol::from_raw);
        match rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol) {
            Ok(socket) => {
                // Connecting, perhaps again, since the first connection was dead.
                self.link.connected.set(false);
                self.shaking_hands.set(false);
                if let Some(bytes) = self.receive_buffer {
                    // Before connecting, which fixes the window. Without it the limit is less even, not wrong.
                    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, bytes);
                }
                Some(socket.into_raw_fd())
            }
            Err(errno) => {
                self.socket_error = Some(errno);
                None
            }
        }
    }

    fn debug(&mut self, _kind: curl::easy::InfoType, _data: &[u8]) {}
}

impl ffi::Linked for Transfer {
    type Link = Link;

    fn link(&self) -> &Rc<Link> {
        &self.link
    }
}

impl ffi::Sharing for Transfer {
    fn cookies(&self) -> Option<&Rc<CookieShare>> {
        self.cookies.as_ref()
    }
}

impl ffi::Prereq for Link {
    fn connected(&self) -> bool {
        if !self.pass.is_good() {
            self.held.set(true);
            return false;
        }
        self.requests.set(self.requests.get().wrapping_add(1));
        if !self.connected.replace(true) {
            self.tidings.connected.borrow_mut().push(self.token);
        }
        true
    }
}
