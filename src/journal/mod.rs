//! The journal: an append-only file with a line for every job that was settled, so that the same command goes on where
//! an earlier run ended, however that ended.
//!
//! A job is known by a hash of its URL and its output name, never by its place in the list, which may be edited,
//! reordered or longer by then. The hash says nothing about the URL: no credentials, no signed query can leak from here.
//!
//! ```text
//! fetchmany-journal 1
//! ok 0f8e4c…                  the body is where it belongs
//! failed 77aa01…              it would fail again
//! passing 77aa01…             it failed, and may not the next time
//! ```
//!
//! A line is written after the body was published and before the result is told: a kill between two of these steps
//! repeats work and never claims work that is not on disk. Nothing is flushed to the disk for the sake of a line: what
//! a power failure takes off the end of the file is fetched again.
//!
//! Must not know how jobs are run, nor touch any other file but the one beside it that takes its place when most of
//! its lines are out of date.

mod file;
mod line;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use self::file::Locked;
use self::line::{Key, State};
use self::table::Table;
use crate::job::{ErrorClass, Failure, Job, Outcome, Settled};

pub use self::file::Trouble;

/// What the user wants of this room.
#[derive(Debug)]
pub struct Options {
    /// The file; without one nothing is remembered.
    pub path: Option<PathBuf>,
    /// Whether what failed for good is tried again.
    pub retry_failed: bool,
    /// Whether the file is only asked: a dry run notes nothing.
    pub read_only: bool,
}

/// What is settled, in this run and in those before.
#[derive(Debug)]
pub struct Journal {
    file: Option<Locked>,
    settled: Table,
    retry_failed: bool,
    read_only: bool,
    /// Lines of this turn, not written yet.
    lines: Vec<u8>,
    damaged: u64,
}

impl Journal {
    /// Opens or makes the file, locks it, and reads what it has. Where most of it is out of date, it is written anew.
    ///
    /// # Errors
    /// It cannot be used as a journal, or not by this process now; the error names it.
    pub fn open(options: Options) -> Result<Journal, Trouble> {
        let Options { path, retry_failed, read_only } = options;
        let (settled, lines) = (Table::default(), Vec::new());
        let mut journal = Journal { file: None, settled, retry_failed, read_only, lines, damaged: 0 };
        // One that is not there has nothing to say.
        if let Some(path) = path.filter(|path| !read_only || path.exists()) {
            let mut file = Locked::open(&path, read_only)?;
            let replayed = file.replay(&mut journal.settled)?;
            journal.damaged = replayed.damaged;
            if !read_only && replayed.is_mostly_stale(&journal.settled) {
                // It is only to save room: where it fails, the longer file is as good.
                let _ = file.rewrite(&journal.settled);
            }
            journal.file = Some(file);
        }
        Ok(journal)
    }

    /// The file's path, device and inode: nothing else may be read or written there.
    pub fn identity(&self) -> Option<(&Path, (u64, u64))> {
        self.file.as_ref().map(|file| (file.path(), file.identity()))
    }

    /// What a person should know about the file.
    pub fn note(&self) -> Option<String> {
        let path = self.file.as_ref()?.path().display();
        (self.damaged > 0).then(|| format!("journal {path}: {} damaged lines are ignored", self.damaged))
    }

    /// Why nothing needs to be done for `job`, whose output name is `name`. Without a name, the line itself is what it
    /// is known by.
    pub fn skip(&self, job: &mut Job, name: Option<&str>) -> Option<Cow<'static, str>> {
        self.file.as_ref()?;
        let key = match name {
            Some(name) => Key::of_url(&job.identity(), name),
            None => Key::of_line(&job.input_line),
        };
        job.key = Some(key.bytes());
        match self.settled.get(key)? {
            State::Ok => Some("the journal has it: done before".into()),
            State::Failed if self.retry_failed => None,
            State::Failed => Some("the journal has it: failed before, and would again (--retry-failed)".into()),
        }
    }

    /// Notes how a job ended. Written by the next [`Journal::flush`].
    pub fn record(&mut self, settled: &Settled) {
        let (Some(_), Some(key), false) = (&self.file, settled.job.key, self.read_only) else { return };
        let key = Key::from(key);
        let status = settled.stats.as_ref().and_then(|stats| stats.http_code);
        let state = match &settled.outcome {
            Outcome::Ok => Some(State::Ok),
            Outcome::Failed(failure) if is_final(failure, status) && !settled.job.is_at_mirror() => Some(State::Failed),
            Outcome::Failed(_) => None,
            // Nothing was done, so nothing is known; what made it so is asked again.
            Outcome::Skipped(_) | Outcome::Cancelled(_) => return,
        };
        line::push(&mut self.lines, state, key);
        match state {
            // Lines without a name are no duplicates of each other in one run.
            Some(_) if settled.job.destination.is_none() => {}
            Some(state) => self.settled.insert(key, state),
            None => self.settled.remove(key),
        }
    }

    /// Writes what was noted, once a turn, before results are told.
    ///
    /// # Errors
    /// The file takes no more, which it is not asked for again; the error names it.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| !self.lines.is_empty()) else { return Ok(()) };
        let written = file.append(&self.lines);
        self.lines.clear();
        if let Err(error) = written {
            let error = anyhow::Error::new(error).context(format!("write journal {}", file.path().display()));
            self.file = None;
            return Err(error);
        }
        Ok(())
    }
}

/// Whether it would fail in the same way tomorrow: the server says that the request is wrong, the line is, or the body is
/// longer than it may be. Everything else, this machine's troubles and refused certificates too, can be put right
/// without a change to the list.
fn is_final(failure: &Failure, status: Option<u32>) -> bool {
    match failure.class {
        ErrorClass::Input | ErrorClass::TooLarge => true,
        ErrorClass::Http => {
            status.is_some_and(|status| (400..500).contains(&status) && ![408, 425, 429].contains(&status))
        }
        _ => false,
    }
}
