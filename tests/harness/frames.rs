//! HTTP/2 frame by frame (RFC 9113): for everything that a correct server would not send, or not then.

use std::io;
use std::sync::Arc;

use super::authority::Alpn;
use super::raw::{Raw, Step, Wire};
use super::{Authority, Identity};

/// Types of frames.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `:status 200`, as HPACK's static table has it.
pub const STATUS_200: &[u8] = b"\x88";

/// The setting SETTINGS_MAX_CONCURRENT_STREAMS with this value.
pub fn max_streams(count: u32) -> Vec<u8> {
    [&[0, 3], &count.to_be_bytes()[..]].concat()
}

/// A frame as it is sent.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One that came.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// A connection whose preface was read and whose settings were sent.
pub struct Frames<'a> {
    wire: &'a mut dyn Wire,
}

impl Frames<'_> {
    /// Sends one frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.send_bytes(&frame(kind, flags, stream, payload))
    }

    /// Sends several at once.
    pub fn send_bytes(&mut self, frames: &[u8]) -> io::Result<()> {
        self.wire.write_all(frames).and_then(|()| self.wire.flush())
    }

    /// Answers a request.
    pub fn answer(&mut self, stream: u32, body: &[u8]) -> io::Result<()> {
        let whole = [frame(HEADERS, END_HEADERS, stream, STATUS_200), frame(DATA, END_STREAM, stream, body)];
        self.send_bytes(&whole.concat())
    }

    /// The next frame; settings are acknowledged on the way.
    pub fn next(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.wire.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.wire.read_exact(&mut payload)?;
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff,
            payload,
        };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.send(SETTINGS, ACK, 0, &[])?;
        }
        Ok(frame)
    }

    /// The stream of the next request.
    pub fn request(&mut self) -> io::Result<u32> {
        loop {
            let frame = self.next()?;
            if frame.kind == HEADERS {
                return Ok(frame.stream);
            }
        }
    }

    /// The streams of the next requests.
    pub fn requests(&mut self, count: usize) -> io::Result<Vec<u32>> {
        (0..count).map(|_| self.request()).collect()
    }

    /// Answers whatever comes, until the client goes away.
    pub fn serve(&mut self, body: &[u8]) -> io::Result<()> {
        loop {
            let stream = self.request()?;
            self.answer(stream, body)?;
        }
    }

    /// Reads until the client goes away.
    pub fn hang(&mut self) -> io::Result<()> {
        loop {
            self.next()?;
        }
    }
}

/// A server whose connection number n, from 0, does what `script` says; it begins with these settings.
pub fn server(
    identity: &Identity,
    settings: &[u8],
    script: impl Fn(usize, &mut Frames) -> io::Result<()> + Send + Sync + 'static,
) -> Raw {
    let (script, settings) = (Arc::new(script), settings.to_vec());
    Raw::tls(identity.server_config(Alpn::Http2), move |number| {
        let (script, settings) = (script.clone(), settings.clone());
        vec![Step::Speak(Arc::new(move |wire: &mut dyn Wire| {
            wire.read_exact(&mut [0; 24])?;
            let mut frames = Frames { wire };
            frames.send(SETTINGS, 0, 0, &settings)?;
            script(number, &mut frames)
        }))]
    })
}

/// The same with an authority of its own.
pub fn trusted_server(
    script: impl Fn(usize, &mut Frames) -> io::Result<()> + Send + Sync + 'static,
) -> (Authority, Raw) {
    let authority = Authority::new();
    let server = server(&authority.identity(), &max_streams(100), script);
    (authority, server)
}
