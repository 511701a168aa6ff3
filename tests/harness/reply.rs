//! An answer of [`Server`](super::Server): status, headers, and a body that comes at once, in pieces, or only when
//! the case lets it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Semaphore;

/// Something servers wait at until the case opens it. Closed at first.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate(Arc::new(Semaphore::new(0)))
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.close();
    }

    /// Lets `count` through.
    pub fn let_through(&self, count: usize) {
        self.0.add_permits(count);
    }

    pub(super) async fn pass(&self) {
        // A closed semaphore is an open gate.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// A piece of a body, or what happens between two.
pub(super) enum Part {
    Bytes(Vec<u8>),
    Wait(Gate),
    Pause(Duration),
    Break,
}

/// One answer, being put together.
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) held: Option<Gate>,
    pub(super) delay: Option<Duration>,
    pub(super) parts: Vec<Part>,
    pub(super) chunked: bool,
}

impl Reply {
    /// This status and no body.
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), held: None, delay: None, parts: Vec::new(), chunked: false }
    }

    /// 200 and this body with its length.
    pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply::status(200).body(body)
    }

    /// A redirect to this Location.
    pub fn redirect(status: u16, location: impl Into<String>) -> Reply {
        Reply::status(status).header("location", location)
    }

    /// 401 for HTTP Basic authentication.
    pub fn unauthorized() -> Reply {
        Reply::status(401).header("www-authenticate", "Basic realm=\"test\"").body("who are you?")
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds bytes to the body.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Reply {
        self.parts.push(Part::Bytes(bytes.into()));
        self
    }

    /// Does not tell the length.
    pub fn chunked(mut self) -> Reply {
        self.chunked = true;
        self
    }

    /// Sends nothing at all, not even the head, before the gate opens.
    pub fn held_by(mut self, gate: &Gate) -> Reply {
        self.held = Some(gate.clone());
        self
    }

    /// Sends nothing at all before this time has passed.
    pub fn after(mut self, delay: Duration) -> Reply {
        self.delay = Some(delay);
        self
    }

    /// Waits at the gate before the rest of the body.
    pub fn then_wait(mut self, gate: &Gate) -> Reply {
        self.parts.push(Part::Wait(gate.clone()));
        self
    }

    /// Takes this time before the rest of the body.
    pub fn then_pause(mut self, time: Duration) -> Reply {
        self.parts.push(Part::Pause(time));
        self
    }

    /// Breaks the connection off (HTTP/2: the stream) instead of ending the body.
    pub fn then_break(mut self) -> Reply {
        self.parts.push(Part::Break);
        self
    }

    /// Sends the body gzip-coded, which it says.
    pub fn gzip(self, plain: &[u8]) -> Reply {
        self.header("content-encoding", "gzip").body(gzip(plain))
    }

    pub(super) fn length(&self) -> u64 {
        let bytes = |part: &Part| if let Part::Bytes(bytes) = part { bytes.len() as u64 } else { 0 };
        self.parts.iter().map(bytes).sum()
    }
}

/// RFC 1952, as small as can be.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("into memory");
    encoder.finish().expect("into memory")
}

/// RFC 4648, for the Authorization headers that servers expect.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { DIGITS[index as usize] as char } else { '=' });
        }
    }
    text
}

#[test]
fn the_digits_are_those_of_the_standard() {
    for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}
