//! One body on its way into a file.
//!
//! A small body goes into a file that has no name until it is whole; any other into `NAME.part`, locked while it is
//! written. Both get their name in one step that replaces nothing it was not told to. Must not know claims, or which
//! of the user's wishes led here.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use rustix::io::Errno;

use super::fault::{Fault, lack};
use super::hash::Digest;
use super::head::Head;
use super::known::{self, Known};
use super::name::Name;
use super::part::{Part, adopt};
use super::register::Numbering;
use super::sidecar::{Origin, Resume, SideCar};
use super::sys;
use super::tree::{Flushing, Missing, Tree};
use super::writer::Behind;

/// Longest body that is not worth keeping a name for while it arrives: losing it to a kill costs little.
const SMALL: u64 = 1024 * 1024;

/// What may be at the final name when the body is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Nothing.
    Nothing,
    /// Anything but a directory; it is replaced by name, never opened.
    File,
    /// The same; and it can be brought back.
    Reversibly,
}

/// Whether the final name could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The file is there.
    Done,
    /// Something is there already; the body is kept, for another name or for [`OutputFile::remove`].
    Exists,
}

/// A file while it is written.
#[derive(Debug)]
pub struct OutputFile {
    tree: Rc<Tree>,
    /// What its `.part` is called after.
    name: Name,
    /// What it is to be called; in the same directory.
    target: Name,
    replace: Replace,
    /// `None`: not to be continued.
    origin: Option<Origin>,
    /// What describes it while it is not whole; `None`: what is there is not to be kept.
    description: Option<SideCar>,
    /// Bytes that were there when it was opened.
    from: u64,
    /// Bytes written since.
    written: u64,
    /// What writes it once it is large.
    behind: Option<Behind>,
    /// Where it gets another name when its own is taken.
    pub numbering: Option<Numbering>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not opened yet, published, or removed.
    Closed,
    /// `NAME.part` was there already and can be continued; nothing was changed.
    Found(Part),
    /// In the directory, without a name.
    Unnamed(OwnedFd),
    /// Under `NAME.part`.
    Part(Part),
}

impl OutputFile {
    /// A file to become `name` in `tree`, made from `origin` if what is left of it may ever be continued. Opens nothing.
    pub fn new(tree: Rc<Tree>, name: Name, replace: Replace, origin: Option<Origin>) -> OutputFile {
        OutputFile {
            tree,
            target: name.clone(),
            name,
            replace,
            origin,
            description: None,
            from: 0,
            written: 0,
            behind: None,
            numbering: None,
            state: State::Closed,
        }
    }

    /// Its final name.
    pub fn target(&self) -> &Name {
        &self.target
    }

    /// Gives it another final name, in the same directory.
    pub fn retarget(&mut self, target: Name) {
        self.target = target;
    }

    /// Looks for what an earlier attempt or run has left, locks it, and says where it can be continued.
    ///
    /// # Errors
    /// It will not be possible to write it: another process does, or something that is not ours has its name. Or not now.
    pub fn find_partial(&mut self) -> Result<Option<Resume>, Fault> {
        let directory = self.name.directory();
        if !self.tree.may_have_partials(directory) {
            return Ok(None);
        }
        let dir = match self.tree.directory(directory, Missing::Report) {
            Err(errno) if lack(errno).is_some() => return Err(Fault::system("open directory", directory, errno)),
            Err(_) => return Ok(None),
            Ok(dir) => dir,
        };
        let find = |file: &OutputFile| Part::find(&dir, file.name.file(), file.tree.ours(), file.origin.as_ref());
        let found = self.or_aside(find)?;
        Ok(found.map(|(part, resume)| {
            self.state = State::Found(part);
            resume
        }))
    }

    /// Opens it for the body that `head` tells of: behind what was found, or empty. Missing directories are made. What is
    /// content-coded will not be continued.
    ///
    /// # Errors
    /// The file system refuses, another process is writing it, or something that is not ours has its `.part`.
    pub fn open(&mut self, head: &Head) -> Result<(), Fault> {
        let origin = self.origin.as_ref().filter(|_| !head.content_encoding);
        self.description = Some(origin.map_or_else(SideCar::of_nothing, |origin| SideCar::new(origin, head)));
        let (from, length) = (head.from, head.length);
        self.from = from;
        let dir = self.directory()?;
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Found(part) if from > 0 => {
                part.continue_at(from)?;
                self.state = State::Part(part);
                return Ok(());
            }
            // Bytes of the middle have no other place.
            _ if from > 0 => return Err(Fault::local(format!("the partial file of {} is gone", self.name.path()))),
            State::Found(part) => part.clear(&dir)?,
            _ if self.is_small(length) && !self.has_part(&dir) => match sys::open_unnamed(&dir) {
                Ok(file) => {
                    self.state = State::Unnamed(file);
                    return Ok(());
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => self.tree.give_up_unnamed(),
                Err(errno) => return Err(Fault::system("create", self.name.path(), errno)),
            },
            _ => {}
        }
        self.state = State::Part(self.or_aside(|file| file.create_part(&dir))?);
        Ok(())
    }

    /// Tries again under a name that is nobody's, where it may have one, as long as another process is at its own.
    fn or_aside<T>(&mut self, attempt: impl Fn(&OutputFile) -> Result<T, Fault>) -> Result<T, Fault> {
        loop {
            match (attempt(self), &self.numbering) {
                (Err(fault), Some(numbering)) if fault.is_busy() => {
                    let busy = std::mem::replace(&mut self.name, numbering.next()?);
                    if self.target == busy {
                        self.target = self.name.clone();
                    }
                }
                (done, _) => return done,
            }
        }
    }

    fn create_part(&self, dir: &OwnedFd) -> Result<Part, Fault> {
        let description = self.description.clone().unwrap_or_else(SideCar::of_nothing);
        Part::create(dir, self.name.file(), self.tree.ours(), &description)
    }

    fn is_small(&self, length: Option<u64>) -> bool {
        self.replace == Replace::Nothing && length.is_some_and(|length| length <= SMALL) && self.tree.links_unnamed()
    }

    /// Appends `data`. A large file is written behind: errors may show with a later call, the last ones with
    /// [`OutputFile::settle`].
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Fault> {
        if let (None, State::Part(part), true) = (&self.behind, &self.state, self.written > SMALL) {
            self.behind = Behind::new(self.tree.writer(), part.file(), self.from + self.written);
        }
        let written = match &mut self.behind {
            Some(behind) => behind.write(data),
            None => {
                self.tree.writer().itself(|| self.opened().map_or(Err(Errno::BADF), |file| sys::write_all(file, data)))
            }
        };
        self.written += data.len() as u64;
        written.map_err(|errno| self.distrusted(errno))
    }

    /// Whether more may be appended in this turn, be it much: the disk keeps up.
    pub fn has_room(&self, for_many: bool) -> bool {
        let writer = self.tree.writer();
        (!(for_many || self.written > SMALL) || writer.has_room()) && (self.behind.is_some() || writer.has_time())
    }

    /// Whether all that was appended is written, or failed; if not, the writer's bell rings then.
    pub fn poll_settled(&self) -> Poll<()> {
        self.behind.as_ref().map_or(Poll::Ready(()), Behind::poll_settled)
    }

    /// Appends nothing more, and waits no longer than that for what was.
    pub fn break_off(&mut self, until: Instant) {
        if let Some(behind) = self.behind.take() {
            behind.break_off(until);
        }
    }

    /// Waits until all that was appended is written.
    ///
    /// # Errors
    /// The file system refused.
    pub fn settle(&mut self) -> Result<(), Fault> {
        let settled = self.behind.take().map_or(Ok(()), |behind| behind.settle());
        settled.map_err(|errno| self.distrusted(errno))
    }

    /// Reads from the open file; 0 at its end.
    ///
    /// # Errors
    /// The file system refuses, or it is not open.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        // What was there before is there.
        if offset.saturating_add(buffer.len() as u64) > self.from {
            self.settle()?;
        }
        let read = self.opened().map_or(Err(Errno::BADF), |file| sys::read_at(file, buffer, offset));
        read.map_err(|errno| Fault::system("read", self.name.path(), errno))
    }

    /// Sets the modification time of the open file, in Unix seconds. One that the file system cannot keep is left.
    pub fn set_modified(&self, seconds: i64) {
        if let Some(file) = self.opened() {
            // What cannot be set is no reason to lose the body.
            let _ = sys::set_modified(file, seconds);
        }
    }

    /// By what the open file is known again under another name; `None` when it is not open.
    pub fn mark(&self) -> Option<String> {
        self.opened().and_then(|file| sys::stat_open(file).ok()).map(|stat| sys::mark(&stat))
    }

    /// The regular file that has its final name, which may have come in answer to `request`.
    pub fn known(&self, request: Option<&Digest>) -> Option<Known> {
        let dir = self.tree.directory(self.target.directory(), Missing::Report).ok()?;
        Known::of(&dir, self.target.file(), request)
    }

    /// Keeps the entity tag with which it came in answer to `request`, for [`Known`].
    pub fn remember(&self, request: &Digest, etag: &str) {
        if let Some(file) = self.opened() {
            known::remember(file, request, etag);
        }
    }

    /// Gives the whole file its final name.
    ///
    /// # Errors
    /// The file system refuses, or `.part` is not the file that was written; the body stays open.
    pub fn publish(&mut self) -> Result<Published, Fault> {
        self.settle()?;
        self.flush()?;
        let published = self.publish_flushed()?;
        if published == Published::Exists {
            return Ok(published);
        }
        let dir = self.directory()?;
        let flushed = match self.tree.flushing() {
            Flushing::Durable => sys::flush_directory(&*dir),
            Flushing::Never | Flushing::BeforePublishing => Ok(()),
        };
        let state = std::mem::replace(&mut self.state, State::Closed);
        let Err(errno) = flushed else {
            if let State::Part(part) = state {
                part.stay(&dir, self.tree.ours());
            }
            return Ok(published);
        };
        // What is not told is not to be there.
        match state {
            State::Part(part) => part.take_back(&dir, self.target.file(), self.tree.ours()),
            State::Unnamed(file) => sys::unlink_if(&dir, self.target.file(), &file),
            State::Closed | State::Found(_) => {}
        }
        Err(Fault::system("flush the directory of", self.target.path(), errno))
    }

    /// Where errors of the disk show only at a flush, they show here.
    fn flush(&mut self) -> Result<(), Fault> {
        if self.tree.flushing() == Flushing::Never {
            return Ok(());
        }
        let flushed = self.opened().map_or(Ok(()), sys::flush);
        flushed.map_err(|errno| self.distrusted(errno))
    }

    /// The disk told of an error, perhaps one of earlier writes: what is there is not to be continued, nor of any use.
    fn distrusted(&mut self, errno: Errno) -> Fault {
        if let (State::Part(part), Ok(dir)) = (&self.state, self.directory()) {
            part.remove(&dir, self.tree.ours());
        }
        self.description = None;
        Fault::system("write", self.name.path(), errno)
    }

    fn publish_flushed(&mut self) -> Result<Published, Fault> {
        if let State::Unnamed(file) = &self.state {
            match self.link(file) {
                Ok(()) => return Ok(Published::Done),
                Err(Errno::EXIST) => return Ok(Published::Exists),
                Err(errno) if sys::links_nothing(errno) => {
                    self.tree.give_up_unnamed();
                    self.state = State::Part(self.copy_to_part(file)?);
                }
                Err(errno) => return Err(Fault::system("create", self.target.path(), errno)),
            }
        }
        let dir = self.directory()?;
        match &mut self.state {
            State::Part(part) => part.publish(&dir, &self.target, self.tree.ours(), self.replace),
            _ => Err(Fault::system("publish", self.target.path(), Errno::BADF)),
        }
    }

    /// Ends without publishing and leaves the bytes under `NAME.part`.
    pub fn keep(&mut self) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => return,
            State::Found(part) | State::Part(part) => {
                if let Ok(dir) = self.directory() {
                    part.keep(&dir, self.tree.ours());
                }
            }
            State::Unnamed(file) => {
                // A courtesy: without it the bytes are fetched again, which is all that can be lost.
                let _ = self.name_part(file);
            }
        }
        self.tree.left_partial();
    }

    /// Makes the unnamed `file` a partial file.
    fn name_part(&self, file: OwnedFd) -> Result<(), Errno> {
        let Some(description) = &self.description else { return Ok(()) };
        let dir = self.tree.directory(self.name.directory(), Missing::Make)?;
        let link = |part: &str| self.tree.link(&file, &dir, part);
        adopt(&dir, self.name.file(), self.tree.ours(), (&file, description), link)
    }

    /// Ends without publishing and removes the file, if its name is still its own.
    pub fn remove(&mut self) {
        if let State::Part(part) | State::Found(part) = std::mem::replace(&mut self.state, State::Closed)
            && let Ok(dir) = self.directory()
        {
            part.remove(&dir, self.tree.ours());
        }
    }

    /// What is written to.
    fn opened(&self) -> Option<&OwnedFd> {
        match &self.state {
            State::Closed | State::Found(_) => None,
            State::Unnamed(file) => Some(file),
            State::Part(part) => Some(part.file()),
        }
    }

    fn directory(&self) -> Result<Rc<OwnedFd>, Fault> {
        let directory = self.name.directory();
        self.tree.directory(directory, Missing::Make).map_err(|errno| Fault::system("open directory", directory, errno))
    }

    /// A partial file of an earlier attempt or run is used up by going through its name.
    fn has_part(&self, dir: &OwnedFd) -> bool {
        self.tree.may_have_partials(self.name.directory())
            && !matches!(sys::stat(dir, &Part::name_of(self.name.file())), Err(Errno::NOENT))
    }

    /// Gives the unnamed `file` its name.
    fn link(&self, file: &OwnedFd) -> Result<(), Errno> {
        let name = &self.target;
        let dir = self.tree.directory(name.directory(), Missing::Make)?;
        self.tree.link(file, &dir, name.file())
    }

    /// A `.part` with the bytes of the unnamed `file`, which cannot be linked here.
    fn copy_to_part(&self, file: &OwnedFd) -> Result<Part, Fault> {
        let fault = |errno| Fault::system("write", self.name.path(), errno);
        let part = self.create_part(&*self.directory()?)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut offset = 0;
        loop {
            let read = sys::read_at(file, &mut buffer, offset).map_err(fault)?;
            let Some(data) = buffer.get(..read).filter(|data| !data.is_empty()) else { break };
            sys::write_all(part.file(), data).map_err(fault)?;
            offset += data.len() as u64;
        }
        if let Ok(stat) = sys::stat_open(file) {
            // As in set_modified: the time is not worth the body.
            let _ = sys::set_modified(part.file(), stat.st_mtime);
        }
        if self.tree.flushing() != Flushing::Never {
            sys::flush(part.file()).map_err(fault)?;
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests;
