//! The words every room uses: what is to be fetched ([`Job`]), how that ended ([`Outcome`], [`Failure`]) and
//! everything that is known about it afterwards ([`Settled`]).
//!
//! Plain data on `std` alone. Nothing here does anything; a `Job` is moved from owner to owner, never flagged.

mod checksum;
mod extra;
mod failure;
mod hop;
mod key;
mod particulars;
mod restart;
#[cfg(test)]
mod testing;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use checksum::Checksum;
pub use extra::{Datum, Extra};
pub use failure::{ErrorClass, Failure, Lack, Persistence};
pub use hop::Hop;
pub use key::{FREE_BITS, Hashed, Key};
pub use particulars::{Id, Mirror, Particulars};
pub use restart::{Restart, Restarts};

/// One accepted input line on its way to its single result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Number among the accepted lines of this run, from 0.
    pub urlnum: u64,
    /// The INPUT it came from and the line in it.
    pub origin: Origin,
    /// The line as it was read, without its line end, for `--failed`. The only field that may hold credentials
    /// besides [`Job::credentials`].
    pub input_line: Vec<u8>,
    /// The URL as it is shown and recorded: as typed, credentials removed. Not escaped for a terminal.
    pub url: String,
    /// The URL as it is sent: parsed, serialised again, without user, password and fragment. Empty when the line
    /// was refused.
    pub request_url: String,
    /// User and password from the URL.
    pub credentials: Option<Credentials>,
    /// Whom the first request goes to; hosts are scheduled apart.
    pub host: Host,
    /// Where a redirect led; the next request goes there. A retry that costs an attempt begins at the URL again.
    pub hop: Option<Box<Hop>>,
    /// The output name that followed a TAB, as given. Without one, the claimed name where another run, of this line
    /// alone, would choose differently.
    pub name: Option<String>,
    /// Where the body goes below the output directory; set when the name is claimed. `None` for standard output
    /// and for discarded bodies.
    pub destination: Option<PathBuf>,
    /// By what the journal knows it from run to run. Set when its name is claimed, where there is a journal.
    pub key: Option<Key>,
    /// What its body must hash to, as its own line says.
    pub checksum: Option<Checksum>,
    /// The same as `--checksum-file` says of its name; set when that is claimed. Few have it, and many wait.
    pub listed: Option<Box<Checksum>>,
    /// What its line says beyond that; `None` for a plain line.
    pub particulars: Option<Box<Particulars>>,
    /// Attempts that ended and were given back.
    pub num_retries: u32,
    /// What its attempts so far mean for the next one; kept by the schedule.
    pub tries: Tries,
    /// When the line was accepted.
    pub accepted: Instant,
}

/// What a job's attempts so far mean for the next one. New jobs have the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// When its first attempt was released.
    pub first: Option<Instant>,
    /// When its last attempt was released.
    pub released: Option<Instant>,
    /// When a redirect led on last.
    pub led: Option<Instant>,
    /// When the attempt ended that is tried again; `None` otherwise.
    pub ended: Option<Instant>,
    /// The status that its last attempt was answered with.
    pub status: Option<u32>,
    /// Of [`Job::num_retries`], those that cost no attempt.
    pub free: u32,
    /// Of those, the ones its host asked for: 429, or 503 with Retry-After.
    pub pauses: u32,
    /// Why it was started from its first byte again.
    pub restarts: Restarts,
    /// The disk had no room for it beside others.
    pub crowded_out: bool,
    /// How long it waited while its host was paused; `None`: never.
    pub host_paused: Option<Duration>,
}

/// Where a line came from: `list.txt:12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The INPUT as given; `-` for standard input.
    pub source: Arc<str>,
    /// The physical line, from 1.
    pub line: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)
    }
}

/// User and password, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name; may be empty.
    pub user: String,
    /// Password; may be empty.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The unit of politeness: one scheme, host name and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    /// `true` for https.
    pub tls: bool,
    /// Host name or address literal as libcurl sees it: lower case, punycode, IPv6 in brackets.
    pub name: Arc<str>,
    /// TCP port, the scheme's default filled in.
    pub port: u16,
}

/// Whether a response asks for its whole host to be left alone: 429, or 503 with Retry-After.
pub fn asks_for_a_pause(status: u32, names_a_time: bool) -> bool {
    status == 429 || (status == 503 && names_a_time)
}

/// As a person writes it: the scheme's own port is left out.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => f.write_str(&self.name),
            (_, port) => write!(f, "{}:{port}", self.name),
        }
    }
}

/// How a job ended. Exactly one for every accepted line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The body is whole and where it belongs.
    Ok,
    /// It was tried, or could not be tried, and is not there.
    Failed(Failure),
    /// Nothing had to be done, and why.
    Skipped(Cow<'static, str>),
    /// The run was stopped first, and how.
    Cancelled(Cow<'static, str>),
}

/// Why a job is skipped in a dry run that would have been fetched in another.
pub const WOULD_BE_FETCHED: &str = "would be fetched";

/// Why a job is skipped that an earlier run has not got either, and that is not tried again: there is no file of it.
pub const FAILED_BEFORE: &str = "the journal has it: failed before, and would again (--retry-failed)";

/// Why a job is skipped whose file has a name that is not known before the file is there: nobody knows which.
pub const DONE_ELSEWHERE: &str = "the journal has it: done before, under another name";

/// What libcurl measured in the last attempt; named as curl's `--write-out` names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// URL of the last request after redirects, without credentials.
    pub url_effective: Option<String>,
    /// Last status; `None` when no response came.
    pub http_code: Option<u32>,
    /// `"1.0"`, `"1.1"`, `"2"`.
    pub http_version: Option<&'static str>,
    /// Content-Type as sent.
    pub content_type: Option<String>,
    /// Body bytes received.
    pub size_download: u64,
    /// Mean bytes a second over the transfer.
    pub speed_download: Option<u64>,
    /// Redirects followed.
    pub num_redirects: Option<u32>,
    /// Connections opened.
    pub num_connects: Option<u32>,
    /// Peer address.
    pub remote_ip: Option<String>,
    /// Peer port.
    pub remote_port: Option<u16>,
    /// `http` or `https`, of the last request.
    pub scheme: Option<String>,
    /// Start to name resolved.
    pub time_namelookup: Option<Duration>,
    /// Start to TCP connected.
    pub time_connect: Option<Duration>,
    /// Start to TLS established; zero without TLS.
    pub time_appconnect: Option<Duration>,
    /// Start to the first byte.
    pub time_starttransfer: Option<Duration>,
    /// Start to the end.
    pub time_total: Option<Duration>,
    /// libcurl's connection id.
    pub conn_id: Option<i64>,
    /// libcurl's transfer id.
    pub xfer_id: Option<i64>,
    /// What `-w` asks for beyond that, in the order in which it does.
    pub extras: Vec<Datum>,
}

/// What is on disk (or went out) at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Path that can be opened from the current directory; `None` for standard output and discarded bodies.
    pub filename: Option<PathBuf>,
    /// Bytes of the finished body.
    pub size: Option<u64>,
    /// Offset at which an earlier partial file was continued.
    pub resume_from: Option<u64>,
    /// Hex digest, when one was computed.
    pub sha256: Option<String>,
}

/// Where a whole body is about to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement<'a> {
    /// Its path below the output directory.
    pub path: &'a str,
    /// What stands for that name, as in [`Job::key`]; `None`: it is the one that the job is known by.
    pub name: Option<u64>,
    /// By what the file is known again when it is there. A word without spaces.
    pub mark: String,
}

/// A job at its end, with all that its record tells.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The job.
    pub job: Job,
    /// How it ended.
    pub outcome: Outcome,
    /// The last attempt; `None` when nothing was sent.
    pub stats: Option<Stats>,
    /// The body.
    pub saved: Saved,
    /// From acceptance to the start of the last attempt (to the end, when there was none).
    pub time_queue: Duration,
}
