//! The journal: an append-only file with a line for every job that was settled, so that the same command goes on where
//! an earlier run ended, however that ended.
//!
//! A job is known by a hash of its output name and one of its URL, never by its place in the list, which may be edited,
//! reordered or longer by then. The name is its own from then on: no other URL gets it in a later run. A hash says
//! nothing about the URL: no credentials, no signed query can leak from here.
//!
//! ```text
//! fetchmany-journal 1
//! open 77aa01…                it is not done, or may not fail the next time; its name is its own
//! put 0f8e4c… MARK PATH       its body is about to be put there, where MARK tells it from any other file
//! ok 0f8e4c…                  the body is where it belongs
//! failed 77aa01…              it would fail again
//! alias 0f8e4c…               the body is where it belongs, under another name, which has a line of its own
//! ```
//!
//! It is written that bodies are put somewhere before they are, that they were before the result is told, and of a name
//! that somebody was refused whose it is before anything is fetched by another. So wherever a kill comes between two of
//! these steps, the next run finds out what is on disk and whose it is. Nothing is flushed to the disk for the sake of a
//! line: what a power failure takes off the end of the file is fetched again.
//!
//! Must not know how jobs are run, nor touch any other file but the one that takes its place when most of its lines are
//! out of date.

mod file;
mod line;
mod puts;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::bail;

use self::file::Locked;
use self::line::State;
use self::puts::Puts;
use self::table::Table;
use crate::job::{
    DONE_ELSEWHERE, ErrorClass, FAILED_BEFORE, Failure, Job, Key, Outcome, Persistence, Placement, Settled,
};

pub use self::file::{GoesOn, Trouble};

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
    /// Where it is, with its device and inode.
    place: Option<(PathBuf, (u64, u64))>,
    /// What is written to; `None` where nothing is.
    file: Option<Locked>,
    book: Rc<RefCell<Book>>,
    retry_failed: bool,
    damaged: u64,
    /// Why it was not written anew, though most of it is out of date. It is only to save room: the longer file is as good.
    not_rewritten: Option<std::io::Error>,
    /// Bodies of which the run before did not say whether they are where they belong.
    puts: Puts,
    /// What stands for the names that bodies are getting, by job, where it is another than the one it is known by.
    placed: HashMap<Key, u64>,
}

/// What the file says, and is about to.
#[derive(Debug, Default)]
struct Book {
    settled: Table,
    /// Lines of this turn, not written yet.
    lines: Vec<u8>,
    is_written: bool,
}

impl Book {
    fn note(&mut self, state: State, key: Key) {
        self.settled.insert(key, state);
        self.push(state, key);
    }

    fn push(&mut self, state: State, key: Key) {
        if self.is_written {
            line::push(&mut self.lines, state, key);
        }
    }
}

/// Whose names are.
#[derive(Debug)]
pub struct Names(Rc<RefCell<Book>>);

impl Names {
    /// Whose the name is, of this run's too if they are settled.
    pub fn owner(&self, name: u64) -> Option<u64> {
        self.0.borrow().settled.owner(name)
    }

    /// The name stays its owner's, who is not settled, in later runs.
    pub fn keep(&self, name: u64, owner: u64) {
        let (book, key) = (&mut self.0.borrow_mut(), Key::of(name, owner));
        if book.settled.get(key).is_none() {
            book.note(State::Open, key);
        }
    }
}

impl Journal {
    /// Opens or makes the file, locks it, and reads what it has. Where most of it is out of date, it is written anew.
    ///
    /// # Errors
    /// It cannot be used as a journal, or not by this process now, or nothing `goes_on` any more while it is read; the
    /// error names it.
    pub fn open(options: Options, goes_on: GoesOn<'_>) -> Result<Journal, Trouble> {
        let Options { path, retry_failed, read_only } = options;
        let (mut book, mut file, mut place, mut damaged, mut puts) = (Book::default(), None, None, 0, Puts::default());
        let mut not_rewritten = None;
        // One that is not there has nothing to say.
        if let Some(path) = path.filter(|path| !read_only || path.exists()) {
            let (replayed, identity) = if read_only {
                file::look(&path, &mut book.settled, goes_on)?
            } else {
                let mut locked = Locked::open(&path)?;
                let replayed = locked.replay(&mut book.settled, goes_on)?;
                if replayed.is_mostly_stale(&book.settled) {
                    not_rewritten = locked.rewrite(&book.settled, &replayed.puts, goes_on).err();
                }
                let identity = locked.identity();
                (file, book.is_written) = (Some(locked), true);
                (replayed, identity)
            };
            if !goes_on() {
                return Err(file::stopped(&path));
            }
            (place, damaged, puts) = (Some((path, identity)), replayed.damaged, replayed.puts);
        }
        let book = Rc::new(RefCell::new(book));
        Ok(Journal { place, file, book, retry_failed, damaged, not_rewritten, puts, placed: HashMap::new() })
    }

    /// The file's path, device and inode: nothing else may be read or written there.
    pub fn identity(&self) -> Option<(&Path, (u64, u64))> {
        self.place.as_ref().map(|(path, identity)| (path.as_path(), *identity))
    }

    /// Whose names are, where there is a journal.
    pub fn names(&self) -> Option<Names> {
        self.place.as_ref().map(|_| Names(Rc::clone(&self.book)))
    }

    /// Whether the same command goes on where this run ends.
    pub fn is_kept(&self) -> bool {
        self.place.is_some()
    }

    /// What a person should know about the file.
    pub fn note(&self) -> Option<String> {
        let path = self.place.as_ref()?.0.display();
        (self.damaged > 0).then(|| format!("journal {path}: {} damaged lines are ignored", self.damaged))
    }

    /// What a person may want to know besides.
    pub fn detail(&self) -> Option<String> {
        let (path, error) = (self.place.as_ref()?.0.display(), self.not_rewritten.as_ref()?);
        Some(format!("journal {path} stays as long as it is, though most of it is out of date: {error}"))
    }

    /// Settles what the run before put in place and did not come to say. `recognize` is given a path and a mark, and says
    /// what stands for that name when that file has it.
    pub fn catch_up(&mut self, recognize: impl Fn(&str, &str) -> Option<u64>) {
        for (key, put) in std::mem::take(&mut self.puts) {
            if let Some(name) = recognize(&put.path, &put.mark) {
                self.note_done(key, name);
            }
        }
    }

    /// Why nothing needs to be done for `job`, which is known by its key, or without one by its line.
    pub fn skip(&self, job: &mut Job) -> Option<Cow<'static, str>> {
        self.place.as_ref()?;
        let key = *job.key.get_or_insert_with(|| line::key_of_line(&job.input_line));
        match self.book.borrow().settled.get(key)? {
            State::Open => None,
            State::Ok => Some("the journal has it: done before".into()),
            State::Alias => Some(DONE_ELSEWHERE.into()),
            State::Failed if self.retry_failed => None,
            State::Failed => Some(FAILED_BEFORE.into()),
        }
    }

    /// Whether it is told what happens.
    pub fn is_written(&self) -> bool {
        self.file.is_some()
    }

    /// Notes where the body of `job` is about to be put. It may be when [`Journal::flush`] has written that.
    pub fn place(&mut self, job: &Job, placement: &Placement<'_>) {
        let (Some(_), Some(key)) = (&self.file, job.key) else { return };
        if let Some(name) = placement.name {
            self.placed.insert(key, name);
        }
        line::push_put(&mut self.book.borrow_mut().lines, key, &placement.mark, placement.path);
    }

    /// Notes how a job ended. Written by the next [`Journal::flush`].
    pub fn record(&mut self, settled: &Settled) {
        let (Some(_), Some(key)) = (&self.file, settled.job.key) else { return };
        let name = self.placed.remove(&key).unwrap_or(key.name());
        let status = settled.stats.as_ref().and_then(|stats| stats.http_code);
        let state = match &settled.outcome {
            Outcome::Ok => State::Ok,
            Outcome::Failed(failure) if is_final(failure, status) && !settled.job.is_at_mirror() => State::Failed,
            Outcome::Failed(_) => State::Open,
            // Nothing was done, so nothing is known; what made it so is asked again.
            Outcome::Skipped(_) | Outcome::Cancelled(_) => return,
        };
        match state {
            // Lines without a name are no duplicates of each other in one run.
            State::Ok | State::Failed if settled.job.destination.is_none() => {
                self.book.borrow_mut().push(state, key);
            }
            State::Ok => self.note_done(key, name),
            State::Open | State::Failed | State::Alias => self.book.borrow_mut().note(state, key),
        }
    }

    /// The job is done, and its file has the name that `name` stands for.
    fn note_done(&self, key: Key, name: u64) {
        let mut book = self.book.borrow_mut();
        book.note(if name == key.name() { State::Ok } else { State::Alias }, key);
        if name != key.name() {
            book.note(State::Ok, key.with_name(name));
        }
    }

    /// Writes what was noted, once a turn, before results are told.
    ///
    /// # Errors
    /// The file takes no more, which it is not asked for again; the error names it.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let book = &mut *self.book.borrow_mut();
        let Some(file) = self.file.as_mut().filter(|_| !book.lines.is_empty()) else { return Ok(()) };
        let written = file.append(&book.lines);
        book.lines.clear();
        if let Err(error) = written {
            let error = anyhow::Error::new(error).context(format!("write journal {}", file.path().display()));
            (self.file, book.is_written) = (None, false);
            return Err(error);
        }
        Ok(())
    }

    /// Proves at the end that the next run finds what was written.
    ///
    /// # Errors
    /// It does not: somebody did something to the file meanwhile.
    pub fn prove(&self) -> anyhow::Result<()> {
        match &self.file {
            Some(file) if !file.is_there() => {
                bail!("journal {} was moved, removed or changed while it was used", file.path().display())
            }
            _ => Ok(()),
        }
    }
}

/// Whether it would fail in the same way tomorrow: the server says that the request is wrong, the line is, or the body is
/// longer than it may be. What is said of a part need not hold for the whole, and everything else, this machine's
/// troubles and refused certificates too, can be put right without a change to the list.
fn is_final(failure: &Failure, status: Option<u32>) -> bool {
    match failure.class {
        ErrorClass::Input | ErrorClass::TooLarge => true,
        ErrorClass::Http if failure.persistence != Persistence::OfPart => {
            status.is_some_and(|status| (400..500).contains(&status) && ![408, 425, 429].contains(&status))
        }
        _ => false,
    }
}
