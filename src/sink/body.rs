//! One attempt's body, called from libcurl's write callback: counts, enforces the size limit, passes the bytes on.
//!
//! Must not panic, and reads no clock but to tell how long a write took.

mod hashing;

use std::borrow::Cow;
use std::task::Poll;

use super::Claim;
use super::digest::{Digests, Promises};
use super::fault::Fault;
use super::file::OutputFile;
use super::hash::Digest;
use super::head::Head;
use super::known::Known;
use super::name::Name;
use super::register::Renaming;
use super::sidecar::Resume;
use super::stdout::Spool;
use crate::job::{Checksum, ErrorClass, Failure};

/// A part of what is missing that is worth a request of its own, where a hundredth of the whole is more.
const ADVANCE: u64 = 64 * 1024;

/// libcurl's `CURLE_WEIRD_SERVER_REPLY`, the nearest for a body that is not the one promised.
const WEIRD_SERVER_REPLY: i32 = 8;
/// libcurl's `CURLE_FILESIZE_EXCEEDED`.
const FILESIZE_EXCEEDED: i32 = 63;

/// libcurl's `CURLE_PARTIAL_FILE`.
const PARTIAL_FILE: i32 = 18;

/// The body of one attempt. Dropped without [`super::Sink::publish`] or [`super::Sink::abandon`] it leaves what a
/// kill would leave.
#[derive(Debug)]
pub struct Body {
    /// Where its bytes go.
    pub(super) place: Place,
    /// Whether only a newer one than what has its name is wanted.
    pub(super) is_update: bool,
    /// What the finished file is asked to differ from.
    pub(super) unless: Option<Known>,
    /// What is asked for, where the finished file is to be known by its tag.
    pub(super) tagged: Option<Digest>,
    /// How a name is taken that only the response brings.
    pub(super) renaming: Option<Renaming>,
    /// Whether the disk had no room for it, or takes nothing at all.
    pub(super) disk_shut: bool,
    /// Why it is known that nothing can be written.
    pub(super) refusal: Option<Failure>,
    /// Where it is to be continued.
    pub(super) resume: Option<Resume>,
    /// Bytes that were there before.
    from: u64,
    /// Bytes written behind them.
    received: u64,
    /// Bytes of the finished file, where a continued one must have so many.
    length: Option<u64>,
    /// Most bytes that may be written.
    limit: Option<u64>,
    /// What it must hash to.
    promises: Promises,
    digests: Digests,
    /// Why what was there before could not be hashed.
    unread: Option<Failure>,
    /// Its SHA-256, once it is verified and if it was computed.
    sha256: Option<Checksum>,
    /// How many there must be.
    promised: Option<u64>,
    /// The entity tag of what comes.
    etag: Option<String>,
    stage: Stage,
}

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum Place {
    /// Into a file.
    File(Box<OutputFile>),
    /// Aside, until standard output takes them.
    Spool(Spool),
    /// They are only counted.
    Nowhere,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// No response was accepted yet.
    New,
    /// Bytes may come; the time of Last-Modified.
    Open(Option<i64>),
    /// All are there.
    Whole,
    /// None are wanted, and why.
    Unwanted(Cow<'static, str>),
}

impl Body {
    /// A body of at most `limit` bytes, which continues what its place has of it.
    pub(super) fn new(mut place: Place, limit: Option<u64>, promises: Promises) -> Body {
        let found = match &mut place {
            Place::File(file) => file.find_partial(),
            Place::Spool(_) | Place::Nowhere => Ok(None),
        };
        let disk_shut = found.as_ref().is_err_and(Fault::is_of_shut_disk);
        let (resume, refusal) = match found {
            Ok(resume) => (resume, None),
            Err(fault) => (None, Some(fault.into_failure())),
        };
        Body {
            place,
            is_update: false,
            unless: None,
            tagged: None,
            renaming: None,
            disk_shut,
            refusal,
            resume,
            from: 0,
            received: 0,
            length: None,
            limit,
            digests: promises.digests(None),
            promises,
            unread: None,
            sha256: None,
            promised: None,
            etag: None,
            stage: Stage::New,
        }
    }

    /// Why nothing is to be asked for: it could not be written.
    pub fn refusal(&self) -> Option<&Failure> {
        self.refusal.as_ref()
    }

    /// The partial file that is there: only the rest of the same version may follow.
    pub fn resume(&self) -> Option<&Resume> {
        self.resume.as_ref()
    }

    /// The file that is there: only another one is wanted.
    pub fn unless(&self) -> Option<&Known> {
        self.unless.as_ref()
    }

    /// Opens the file, once, before the first byte of an accepted response. A second call does nothing.
    ///
    /// # Errors
    /// The declared length is over the limit (`too_large`), or the file cannot be opened (`local`).
    pub fn begin(&mut self, head: Head) -> Result<(), Failure> {
        if self.stage != Stage::New {
            return Ok(());
        }
        let mut head = head.continuing(self.resume.as_ref());
        if let (Some(renaming), Place::File(file)) = (&self.renaming, &mut self.place) {
            match renaming.settle(file, head.name.as_deref()) {
                // What was promised of the other name is not looked at any more.
                Claim::Fetch => self.digests = self.promises.digests(Some(file.target().path())),
                Claim::Skip(why) => {
                    self.unwanted(why);
                    return Ok(());
                }
                Claim::Refuse(failure) => return Err(failure),
            }
        }
        // Not every server was asked for a newer one, or knows how to say that it has none.
        if let (true, Place::File(file)) = (self.is_update, &self.place)
            && file.known(self.tagged.as_ref()).is_some_and(|there| there.is(&head))
        {
            self.unwanted("the server has nothing newer".into());
            return Ok(());
        }
        // What a content-coded body becomes is counted as it comes, and never continued.
        head.length = head.length.filter(|_| !head.content_encoding);
        self.check(head.length.unwrap_or_default())?;
        head.length.map_or(Ok(()), |length| self.compare(length))?;
        if let Place::File(file) = &mut self.place {
            file.open(&head).map_err(|fault| self.failed(fault))?;
        }
        self.from = head.from;
        self.length = head.length.filter(|_| head.from > 0);
        self.stage = Stage::Open(head.version.modified());
        self.etag = head.version.etag;
        Ok(())
    }

    /// The response says that there is nothing newer, or something else makes its body useless. That is no failure.
    pub fn unwanted(&mut self, why: Cow<'static, str>) {
        self.stage = Stage::Unwanted(why);
    }

    /// Whether no bytes are wanted any more.
    pub fn is_unwanted(&self) -> bool {
        matches!(self.stage, Stage::Unwanted(_))
    }

    /// Whether bytes may come, a few or many: the disk keeps up. If not, a later turn may have room again; where none
    /// would begin by itself, [`super::Sink::bell`] tells.
    pub fn has_room(&self, for_many: bool) -> bool {
        if let Place::File(file) = &self.place { file.has_room(for_many) } else { true }
    }

    /// Nothing more comes: whether all of it is written, or failed. If not, [`super::Sink::bell`] tells when it is.
    pub fn poll_settled(&self) -> Poll<()> {
        if let Place::File(file) = &self.place { file.poll_settled() } else { Poll::Ready(()) }
    }

    /// Appends `data`; begins with an unknown length when [`Body::begin`] was not called.
    ///
    /// # Errors
    /// The body is over the limit (`too_large`), or cannot be written (`local`).
    pub fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.begin(Head::default())?;
        if self.is_unwanted() {
            return Ok(());
        }
        let received = self.received.saturating_add(data.len() as u64);
        self.check(self.from.saturating_add(received))?;
        let written = match &mut self.place {
            Place::File(file) => file.write(data),
            Place::Spool(spool) => spool.write(data),
            Place::Nowhere => Ok(()),
        };
        written.map_err(|fault| self.failed(fault))?;
        self.received = received;
        self.hash(data)
    }

    /// The response has ended; `is_open_ended`: where it was to end nobody knows.
    ///
    /// # Errors
    /// There is less than there must be: the rest is to be asked for, where it may have broken off (`partial`), and otherwise
    /// it is not what was promised (`checksum`).
    pub fn end(&self, is_open_ended: bool) -> Result<(), Failure> {
        match self.length.or(self.promised.filter(|_| is_open_ended)) {
            Some(length) if self.size() < length => {
                let message = format!("{} of {length} bytes are there", self.size());
                let failure = Failure::new(ErrorClass::Partial, PARTIAL_FILE, message);
                let is_worth_it = self.length.is_some() && self.received >= ADVANCE.min(length.div_ceil(100));
                Err(if is_worth_it { failure.advancing() } else { failure })
            }
            _ => self.compare(self.size()),
        }
    }

    /// There must be exactly so many bytes.
    pub(super) fn promise(mut self, size: Option<u64>) -> Body {
        self.promised = size;
        self
    }

    /// Whether a body that is said to have `size` bytes can be the one that was promised.
    fn compare(&self, size: u64) -> Result<(), Failure> {
        match self.promised {
            Some(promised) if promised != size => {
                let message = format!("the body has {size} bytes instead of {promised}");
                Err(Failure::new(ErrorClass::Checksum, WEIRD_SERVER_REPLY, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether a body was begun; what came for a request that asks for none has no size.
    pub(super) fn is_begun(&self) -> bool {
        matches!(self.stage, Stage::Open(_) | Stage::Whole)
    }

    /// Why no body was wanted.
    pub(super) fn why_unwanted(&self) -> Option<Cow<'static, str>> {
        match &self.stage {
            Stage::Unwanted(why) => Some(why.clone()),
            Stage::New | Stage::Open(_) | Stage::Whole => None,
        }
    }

    /// Throws away what an earlier attempt has left; the name that the file would have had, or has.
    pub(super) fn discard(&mut self) -> Option<Name> {
        let Place::File(file) = &mut self.place else { return None };
        file.remove();
        Some(file.target().clone())
    }

    /// Bytes that are there.
    pub fn size(&self) -> u64 {
        self.from + self.received
    }

    /// Where it was continued.
    pub(super) fn resumed_from(&self) -> Option<u64> {
        Some(self.from).filter(|from| *from > 0)
    }

    /// Nothing more comes: waits until all of it is written.
    ///
    /// # Errors
    /// It was not (`local`).
    pub(super) fn settle(&mut self) -> Result<(), Failure> {
        let settled = match &mut self.place {
            Place::File(file) => file.settle(),
            Place::Spool(_) | Place::Nowhere => Ok(()),
        };
        settled.map_err(|fault| self.failed(fault))
    }

    /// Nothing more comes: an empty body gets its file, and a file its time and its tag. What failed once fails again.
    pub(super) fn finish(&mut self, remote_time: bool) -> Result<(), Failure> {
        let finished = self.refusal.clone().map_or_else(|| self.finish_once(remote_time), Err);
        self.refusal = finished.clone().err();
        finished
    }

    fn finish_once(&mut self, remote_time: bool) -> Result<(), Failure> {
        self.begin(Head { length: Some(0), ..Head::default() })?;
        self.settle()?;
        if let (Place::File(file), Stage::Open(Some(modified)), true) = (&self.place, &self.stage, remote_time) {
            file.set_modified(*modified);
        }
        if let (Place::File(file), Some(request), Some(etag)) = (&self.place, &self.tagged, &self.etag) {
            file.remember(request, etag);
        }
        if self.is_begun() {
            self.stage = Stage::Whole;
        }
        Ok(())
    }

    /// Notes what `fault` says about the disk, and returns what the job is told.
    pub(super) fn failed(&mut self, fault: Fault) -> Failure {
        self.disk_shut |= fault.is_of_shut_disk();
        fault.into_failure()
    }

    fn check(&self, bytes: u64) -> Result<(), Failure> {
        match self.limit {
            Some(limit) if bytes > limit => {
                let message = format!("the body is larger than {limit} bytes");
                Err(Failure::new(ErrorClass::TooLarge, FILESIZE_EXCEEDED, message))
            }
            _ => match self.promised {
                Some(promised) if bytes > promised => {
                    let message = format!("the body has more than {promised} bytes");
                    Err(Failure::new(ErrorClass::Checksum, WEIRD_SERVER_REPLY, message))
                }
                _ => Ok(()),
            },
        }
    }
}
