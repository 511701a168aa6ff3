//! Where jobs come from: the INPUTs of the command line, one after another, and then the daemon's FIFO.
//!
//! Reads no further ahead than one buffer, never blocks, never looks at the clock. Knows nothing of what becomes of a
//! job; whoever wants fewer of them asks less often, and the pipe fills up.
//!
//! A regular file is read to the end that it has when that end is reached: lines appended while it is read count, and
//! of a file that is truncated what was already read counts.

mod fifo;
mod input;
mod json;
mod lines;
mod parse;
#[cfg(test)]
mod properties;
mod shown;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;

use self::fifo::Fifo;
use self::input::{Read, Reader};
use self::lines::{Condition, LIMIT, Line, Lines};
use self::parse::{Parser, Refused, Verdict};
use crate::job::{Failure, Host, Job, Origin, Tries};

pub use self::fifo::InUse;
pub use self::parse::Format;
pub use crate::address::Base;

/// Bytes read at most in one call that finds no job.
const PIECE: usize = 256 * 1024;

/// What a [`Source`] is made from.
#[derive(Debug, Default)]
pub struct Options {
    /// The INPUTs in the order in which they were given.
    pub inputs: Vec<Input>,
    /// What their lines are written in.
    pub format: Format,
    /// What relative URLs are meant from.
    pub base: Option<Base>,
    /// What ends a line.
    pub ending: Ending,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ending {
    /// A newline, perhaps after a carriage return.
    #[default]
    Newline,
    /// A NUL byte.
    Nul,
}

impl Ending {
    fn byte(self) -> u8 {
        match self {
            Ending::Newline => b'\n',
            Ending::Nul => 0,
        }
    }
}

/// One INPUT.
#[derive(Debug)]
pub enum Input {
    /// A line, typed as an argument: a URL, and a name after a TAB. The same rules as for any line.
    Url(String),
    /// A list of URLs: a regular file, or a FIFO that is read to its end.
    Path(PathBuf),
    /// A list of URLs on standard input. At most one.
    Stdin,
    /// The FIFO of a daemon, which never ends and therefore comes last wherever it stands. At most one.
    Daemon(PathBuf),
}

/// The answer to: what is next?
#[derive(Debug)]
pub enum Next {
    /// A job.
    Job(Job),
    /// An accepted line that can be no job: it is to be settled at once.
    Refused(Job, Failure),
    /// Much was read and nothing found in it (comments, blank lines, the tail of an endless line): ask again, but let
    /// others have their turn before.
    Again,
    /// Nothing, until [`Source::fd`] is readable.
    NotNow,
    /// All inputs have ended.
    End,
}

/// How far the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the lines handed out or skipped so far, line ends included.
    pub bytes_read: u64,
    /// Bytes of all inputs; `None` when one of them is a stream.
    pub bytes_total: Option<u64>,
    /// Lines accepted: jobs and refused ones.
    pub lines: u64,
    /// Nothing more will come.
    pub ended: bool,
}

/// All inputs as one sequence of jobs.
pub struct Source {
    waiting: VecDeque<Waiting>,
    current: Option<Reader>,
    /// Read when nothing else is left.
    daemon: Option<Fifo>,
    /// The current input as records name it.
    label: Arc<str>,
    lines: Lines,
    parser: Parser,
    accepted: u64,
    argument_bytes: u64,
    /// [`Lines::consumed`] when the current input began.
    began_at: u64,
    bytes_total: Option<u64>,
    /// Device and inode of each file and FIFO among the inputs.
    files: Vec<(u64, u64)>,
    ended: bool,
}

/// An input whose turn has not come.
enum Waiting {
    Argument {
        text: String,
    },
    /// A regular file. It was opened once to see that it can be; a thousand lists are not held open.
    File {
        path: PathBuf,
        label: Arc<str>,
        size: u64,
    },
    /// A stream. It stays open: a writer that finds its reader gone would be killed.
    Stream(Reader),
}

impl Source {
    /// Opens every input. An error names the one that is missing, unreadable or nothing to read URLs from; when the
    /// FIFO of a daemon is taken, it contains [`InUse`].
    pub fn open(options: Options) -> anyhow::Result<Source> {
        let mut source = Source {
            waiting: VecDeque::with_capacity(options.inputs.len()),
            current: None,
            daemon: None,
            label: Arc::from(""),
            lines: Lines::ending_in(options.ending.byte()),
            parser: Parser::new(options.format, options.base),
            accepted: 0,
            argument_bytes: 0,
            began_at: 0,
            bytes_total: Some(0),
            files: Vec::new(),
            ended: false,
        };
        let mut standard = false;
        for input in options.inputs {
            match input {
                Input::Url(text) => {
                    source.grow(Some(text.len() as u64));
                    source.waiting.push_back(Waiting::Argument { text });
                }
                Input::Path(path) => {
                    let label: Arc<str> = path.to_string_lossy().into();
                    let reader = Reader::open(&path, label.clone())?;
                    source.grow(reader.size());
                    source.files.extend(reader.identity());
                    source.waiting.push_back(match reader.size() {
                        Some(size) => Waiting::File { path, label, size },
                        None => Waiting::Stream(reader),
                    });
                }
                Input::Stdin if standard => bail!("standard input (-) is given twice"),
                Input::Stdin => {
                    standard = true;
                    let reader = Reader::standard(rustix::stdio::stdin(), "-".into())?;
                    source.grow(reader.size());
                    source.files.extend(reader.identity());
                    source.waiting.push_back(Waiting::Stream(reader));
                }
                Input::Daemon(_) if source.daemon.is_some() => bail!("more than one fifo"),
                Input::Daemon(path) => {
                    source.grow(None);
                    let fifo = Fifo::open(path)?;
                    source.files.extend(input::identity(fifo.fd()));
                    source.daemon = Some(fifo);
                }
            }
        }
        Ok(source)
    }

    /// Device and inode of each file and FIFO that is read: nothing else may be written there.
    pub fn files(&self) -> &[(u64, u64)] {
        &self.files
    }

    /// The next job. `now` becomes its time of acceptance. An error when an input can no longer be read.
    ///
    /// After [`Next::NotNow`] everything that was there has been read, so that a watcher that reports only changes
    /// (edge-triggered) misses nothing, however long ago the question before was.
    pub fn next(&mut self, now: Instant) -> anyhow::Result<Next> {
        let mut piece = PIECE;
        loop {
            while let Some(line) = self.lines.take() {
                let verdict = self.parser.parse(line.text, line.condition);
                if let Some(next) = settle(verdict, line, &self.label, self.accepted, now) {
                    self.accepted += 1;
                    return Ok(next);
                }
            }
            if self.lines.ended() {
                self.close();
            }
            if piece == 0 {
                return Ok(Next::Again);
            }
            if let Some(reader) = &mut self.current {
                match reader.read(self.lines.room())? {
                    Read::Bytes(count) => {
                        self.lines.filled(count);
                        piece = piece.saturating_sub(count);
                    }
                    Read::NotNow => return Ok(Next::NotNow),
                    Read::End => self.lines.end(Condition::Whole),
                }
                continue;
            }
            match self.waiting.pop_front() {
                Some(Waiting::Argument { text }) => {
                    if let Some(next) = self.argument(&text, now) {
                        return Ok(next);
                    }
                }
                Some(Waiting::File { path, label, size }) => {
                    let reader = Reader::open(&path, label)?;
                    self.correct(size, reader.size());
                    self.begin(reader);
                }
                Some(Waiting::Stream(reader)) => self.begin(reader),
                None => match &mut self.daemon {
                    None => {
                        self.ended = true;
                        return Ok(Next::End);
                    }
                    Some(fifo) => {
                        if !Arc::ptr_eq(&self.label, fifo.label()) {
                            self.label = fifo.label().clone();
                            self.lines.begin(0);
                        }
                        match fifo.read(self.lines.room())? {
                            fifo::Read::Bytes(count) => {
                                self.lines.filled(count);
                                piece = piece.saturating_sub(count);
                            }
                            fifo::Read::NotNow => return Ok(Next::NotNow),
                            fifo::Read::Replaced => {
                                self.lines.end(Condition::Torn);
                            }
                        }
                    }
                },
            }
        }
    }

    /// What to watch after [`Next::NotNow`]. Another descriptor, perhaps under the same number, when
    /// the input before has ended; that one is closed then.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match (&self.current, &self.daemon) {
            (Some(reader), _) => reader.fd(),
            (None, Some(fifo)) if self.waiting.is_empty() => Some(fifo.fd()),
            _ => None,
        }
    }

    /// How far the reading is.
    pub fn progress(&self) -> Progress {
        let bytes_read = self.argument_bytes + self.lines.consumed();
        Progress {
            bytes_read,
            // A file may have grown.
            bytes_total: self.bytes_total.map(|total| total.max(bytes_read)),
            lines: self.accepted,
            ended: self.ended,
        }
    }

    /// Looks after the daemon's FIFO, every few seconds: when it was removed or replaced, it is made or opened again,
    /// and the answer says so; then [`Source::next`] is to be asked without waiting. An error when something else
    /// stands in its place.
    pub fn check(&mut self) -> anyhow::Result<Option<String>> {
        self.daemon.as_mut().map_or(Ok(None), Fifo::check)
    }

    /// How many lines were written to the daemon's FIFO and not asked for; they are read away. For the end of a run.
    /// At most 16 MiB are looked at, should somebody write as fast as that is read.
    pub fn leftover(&mut self) -> u64 {
        const LOOKED_AT: usize = 16 * 1024 * 1024;
        let mut count = 0;
        let mut seen = 0;
        let Some(fifo) = self.daemon.as_mut().filter(|fifo| Arc::ptr_eq(&self.label, fifo.label())) else {
            return 0;
        };
        loop {
            while self.lines.take().is_some() {
                count += 1;
            }
            match fifo.read(self.lines.room()) {
                Ok(fifo::Read::Bytes(bytes)) if seen < LOOKED_AT => {
                    self.lines.filled(bytes);
                    seen += bytes;
                }
                _ => break,
            }
        }
        self.lines.end(Condition::Torn);
        count + u64::from(self.lines.take().is_some())
    }

    /// A URL on the command line is its own input, of one line, named as it is shown.
    fn argument(&mut self, text: &str, now: Instant) -> Option<Next> {
        self.argument_bytes += text.len() as u64;
        let condition = if text.len() > LIMIT { Condition::TooLong } else { Condition::Whole };
        let verdict = self.parser.plain(text.as_bytes(), condition);
        self.label = match &verdict {
            Verdict::Accepted(request) => request.url.as_str().into(),
            Verdict::Refused(refused) => refused.url.as_str().into(),
            Verdict::Blank => return None,
        };
        // Kept as one line wherever lines are kept; a control character makes it a bad one either way.
        let text = text.replace(['\n', '\r'], "\x0b");
        let line = Line { text: text.as_bytes(), number: 1, condition };
        let next = settle(verdict, line, &self.label, self.accepted, now)?;
        self.accepted += 1;
        Some(next)
    }

    fn begin(&mut self, reader: Reader) {
        self.label = reader.label().clone();
        self.lines.begin(0);
        self.began_at = self.lines.consumed();
        self.current = Some(reader);
    }

    /// The current input has ended and all its lines are handed out.
    fn close(&mut self) {
        match self.current.take() {
            Some(reader) => {
                if let Some(size) = reader.size() {
                    self.correct(size, Some(self.lines.consumed() - self.began_at));
                }
                self.lines.begin(0);
            }
            // The daemon's FIFO was replaced; its lines are counted on.
            None => self.lines.begin(self.lines.number()),
        }
    }

    fn grow(&mut self, bytes: Option<u64>) {
        self.bytes_total = self.bytes_total.zip(bytes).map(|(total, bytes)| total + bytes);
    }

    /// An input that was counted with `believed` bytes has `real` ones.
    fn correct(&mut self, believed: u64, real: Option<u64>) {
        self.bytes_total = self.bytes_total.zip(real).map(|(total, real)| (total - believed) + real);
    }
}

/// The job that `verdict` makes of `line`; `None` for a line that is skipped.
fn settle(verdict: Verdict, line: Line<'_>, source: &Arc<str>, urlnum: u64, now: Instant) -> Option<Next> {
    let origin = || Origin { source: source.clone(), line: line.number };
    match verdict {
        Verdict::Blank => None,
        Verdict::Accepted(request) => Some(Next::Job(Job {
            urlnum,
            origin: origin(),
            // Kept as one line wherever lines are kept: in JSON a newline is white space.
            input_line: line.text.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect(),
            url: request.url,
            request_url: request.address.request_url,
            credentials: request.address.credentials,
            host: request.address.host,
            name: request.name,
            destination: None,
            key: None,
            checksum: request.checksum,
            listed: None,
            particulars: request.particulars,
            hop: None,
            num_retries: 0,
            accepted: now,
            tries: Tries::default(),
        })),
        Verdict::Refused(Refused { url, why, particulars }) => {
            let job = Job {
                urlnum,
                origin: origin(),
                input_line: kept(&line),
                url,
                request_url: String::new(),
                credentials: None,
                host: Host { tls: false, name: Arc::from(""), port: 0 },
                name: None,
                destination: None,
                key: None,
                checksum: None,
                listed: None,
                particulars,
                hop: None,
                num_retries: 0,
                accepted: now,
                tries: Tries::default(),
            };
            Some(Next::Refused(job, Failure::input(why)))
        }
    }
}

/// A refused line as it is kept. Read again, it must be refused again: a line that was too long stays too long,
/// because its beginning alone may be a URL that nobody wanted.
fn kept(line: &Line<'_>) -> Vec<u8> {
    let mut kept = match line.condition {
        Condition::Whole => line.text.to_vec(),
        Condition::TooLong => [&line.text[..LIMIT.min(line.text.len())], b"~"].concat(),
        // Nor may a torn one become whole.
        Condition::Torn => [line.text, b"\x0b"].concat(),
    };
    // Lines that end in NUL may have newlines, and are not to become two.
    kept.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'\x0b');
    kept
}

#[cfg(test)]
mod tests;
