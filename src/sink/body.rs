//! One attempt's body, called from libcurl's write callback: counts, enforces the size limit, passes the bytes on.
//!
//! Must not panic and must not read a clock.

use super::digest::Digests;
use super::fault::Fault;
use super::file::OutputFile;
use super::stdout::Spool;
use crate::job::{Checksum, ErrorClass, Failure};

/// libcurl's `CURLE_FILESIZE_EXCEEDED`.
const FILESIZE_EXCEEDED: i32 = 63;

/// What the header of an accepted response says about its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Content-Length, as sent.
    pub length: Option<u64>,
    /// Last-Modified, in Unix seconds.
    pub last_modified: Option<i64>,
    /// Whether the body is content-coded, so that `length` need not be what is written.
    pub content_encoding: bool,
}

/// The body of one attempt. Dropped without [`super::Sink::publish`] or [`super::Sink::abandon`] it leaves what a
/// kill would leave.
#[derive(Debug)]
pub struct Body {
    /// Where its bytes go.
    pub(super) place: Place,
    /// Bytes written.
    pub(super) received: u64,
    /// Whether the disk had no room for it.
    pub(super) disk_full: bool,
    /// Most bytes that may be written.
    limit: Option<u64>,
    digests: Digests,
    /// Its SHA-256, once it is verified and if it was computed.
    sha256: Option<Checksum>,
    stage: Stage,
}

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum Place {
    /// Into a file.
    File(OutputFile),
    /// Aside, until standard output takes them.
    Spool(Spool),
    /// They are only counted.
    Nowhere,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No response was accepted yet.
    New,
    /// Bytes may come; the time of Last-Modified.
    Open(Option<i64>),
    /// All are there.
    Whole,
}

impl Body {
    /// An empty body of at most `limit` bytes.
    pub(super) fn new(place: Place, limit: Option<u64>, digests: Digests) -> Body {
        Body { place, received: 0, disk_full: false, limit, digests, sha256: None, stage: Stage::New }
    }

    /// Opens the file, once, before the first byte of an accepted response. A second call does nothing.
    ///
    /// # Errors
    /// The declared length is over the limit (`too_large`), or the file cannot be opened (`local`).
    pub fn begin(&mut self, head: Head) -> Result<(), Failure> {
        if self.stage != Stage::New {
            return Ok(());
        }
        // What a content-coded body becomes is counted as it comes.
        let length = head.length.filter(|_| !head.content_encoding);
        self.check(length.unwrap_or_default())?;
        if let Place::File(file) = &mut self.place {
            file.open(length).map_err(|fault| self.failed(fault))?;
        }
        self.stage = Stage::Open(head.last_modified);
        Ok(())
    }

    /// Appends `data`; begins with an unknown length when [`Body::begin`] was not called.
    ///
    /// # Errors
    /// The body is over the limit (`too_large`), or cannot be written (`local`).
    pub fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.begin(Head::default())?;
        let received = self.received.saturating_add(data.len() as u64);
        self.check(received)?;
        let written = match &mut self.place {
            Place::File(file) => file.write(data),
            Place::Spool(spool) => spool.write(data),
            Place::Nowhere => Ok(()),
        };
        written.map_err(|fault| self.failed(fault))?;
        self.digests.update(data);
        self.received = received;
        Ok(())
    }

    /// Nothing more comes: compares what came with what was promised. To be called once, before the body is published.
    ///
    /// # Errors
    /// Its hash is another one (`checksum`).
    pub fn verify(&mut self) -> Result<(), Failure> {
        if self.is_begun() {
            self.sha256 = self.digests.finish()?;
        }
        Ok(())
    }

    /// The SHA-256 in hex, where it was computed.
    pub(super) fn sha256(&self) -> Option<String> {
        self.sha256.map(|sha256| sha256.to_string())
    }

    /// Whether a body was begun; what came for a request that asks for none has no size.
    pub(super) fn is_begun(&self) -> bool {
        self.stage != Stage::New
    }

    /// Bytes written so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Nothing more comes: an empty body gets its file, and a file its time.
    pub(super) fn finish(&mut self, remote_time: bool) -> Result<(), Failure> {
        self.begin(Head { length: Some(0), ..Head::default() })?;
        if let (Place::File(file), Stage::Open(Some(modified)), true) = (&self.place, self.stage, remote_time) {
            file.set_modified(modified);
        }
        self.stage = Stage::Whole;
        Ok(())
    }

    /// Notes what `fault` says about the disk, and returns what the job is told.
    pub(super) fn failed(&mut self, fault: Fault) -> Failure {
        self.disk_full |= fault.is_full();
        fault.into_failure()
    }

    fn check(&self, bytes: u64) -> Result<(), Failure> {
        match self.limit {
            Some(limit) if bytes > limit => {
                let message = format!("the body is larger than {limit} bytes");
                Err(Failure::new(ErrorClass::TooLarge, FILESIZE_EXCEEDED, message))
            }
            _ => Ok(()),
        }
    }
}
