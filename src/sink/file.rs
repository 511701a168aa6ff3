//! One body on its way into a file.
//!
//! A small body goes into a file that has no name until it is whole; any other into `NAME.part`, locked while it is
//! written. Both get their name in one step that replaces nothing it was not told to. Must not know URLs, claims or
//! which of the user's wishes led here.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{FileType, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::fault::Fault;
use super::sys;
use super::tree::{Flushing, Missing, Tree};

/// Longest body that is not worth keeping a name for while it arrives: losing it to a kill costs little.
const SMALL: u64 = 1024 * 1024;

/// How often a `.part` is opened again because somebody else has just published or removed it.
const OPEN_TRIES: u32 = 8;

/// A relative path, split into directory and file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    path: String,
    /// Where the file name begins.
    file: usize,
}

impl Name {
    /// The path `path`, with `/` between its components.
    pub fn new(path: String) -> Name {
        let file = path.rfind('/').map_or(0, |at| at + 1);
        Name { path, file }
    }

    /// All of it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The directory, empty for the output directory itself.
    pub fn directory(&self) -> &str {
        self.path[..self.file].trim_end_matches('/')
    }

    /// The file name in that directory.
    pub fn file(&self) -> &str {
        &self.path[self.file..]
    }

    /// The name while the body is not whole.
    fn part(&self) -> String {
        format!("{}.part", self.file())
    }
}

/// What may be at the final name when the body is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Nothing.
    Nothing,
    /// Anything but a directory; it is replaced by name, never opened.
    File,
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
    name: Name,
    replace: Replace,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not opened yet, published, or removed.
    Closed,
    /// In the directory, without a name.
    Unnamed(OwnedFd),
    /// Under `NAME.part`, locked.
    Part(Part),
}

/// A partial file that has its name.
#[derive(Debug)]
struct Part {
    file: OwnedFd,
    /// Device and inode, by which it is known again under its name.
    identity: (u64, u64),
}

impl OutputFile {
    /// A file to become `name` in `tree`. Opens nothing.
    pub fn new(tree: Rc<Tree>, name: Name, replace: Replace) -> OutputFile {
        OutputFile { tree, name, replace, state: State::Closed }
    }

    /// Its final name, unless [`OutputFile::publish`] was told another.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Opens it, empty, for a body of `length` bytes if that is known. Missing directories are made.
    ///
    /// # Errors
    /// The file system refuses, another process is writing it, or something that is no file has the name of its
    /// `.part`.
    pub fn open(&mut self, length: Option<u64>) -> Result<(), Fault> {
        let small = self.replace == Replace::Nothing && length.is_some_and(|length| length <= SMALL);
        match self.open_once(small) {
            // A directory we kept open may have been removed since.
            Err(fault) if fault.errno() == Some(Errno::NOENT) && self.tree.forget(self.name.directory()) => {
                self.open_once(small)
            }
            result => result,
        }
    }

    fn open_once(&mut self, small: bool) -> Result<(), Fault> {
        let dir = self.directory()?;
        // A partial file of an earlier attempt or run is used up by going through its name.
        if small && self.tree.links_unnamed() && !self.has_part(&dir) {
            match sys::open_unnamed(&dir) {
                Ok(file) => {
                    self.state = State::Unnamed(file);
                    return Ok(());
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => self.tree.give_up_unnamed(),
                Err(errno) => return Err(Fault::system("create", self.name.path(), errno)),
            }
        }
        self.state = State::Part(self.open_part(&dir)?);
        Ok(())
    }

    /// Appends `data`.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Fault> {
        let written = match &self.state {
            State::Closed => Err(Errno::BADF),
            State::Unnamed(file) | State::Part(Part { file, .. }) => sys::write_all(file, data),
        };
        written.map_err(|errno| Fault::system("write", self.name.path(), errno))
    }

    /// Sets the modification time of the open file, in Unix seconds. One that the file system cannot keep is left.
    pub fn set_modified(&self, seconds: i64) {
        if let State::Unnamed(file) | State::Part(Part { file, .. }) = &self.state {
            // What cannot be set is no reason to lose the body.
            let _ = sys::set_modified(file, seconds);
        }
    }

    /// Gives the whole file the name `name`, which is in the same directory as its own.
    ///
    /// # Errors
    /// The file system refuses, or `.part` is not the file that was written; the body stays open.
    pub fn publish(&mut self, name: &Name) -> Result<Published, Fault> {
        if self.tree.flushing() == Flushing::BeforePublishing
            && let State::Unnamed(file) | State::Part(Part { file, .. }) = &self.state
        {
            sys::flush(file).map_err(|errno| Fault::system("write", self.name.path(), errno))?;
        }
        if let State::Unnamed(file) = &self.state {
            match self.link(file, name) {
                Ok(()) => {
                    self.state = State::Closed;
                    return Ok(Published::Done);
                }
                Err(Errno::EXIST) => return Ok(Published::Exists),
                Err(errno) if is_refusal(errno) => {
                    self.tree.give_up_unnamed();
                    self.state = State::Part(self.copy_to_part(file)?);
                }
                Err(errno) => return Err(Fault::system("create", name.path(), errno)),
            }
        }
        let State::Part(part) = &self.state else {
            return Err(Fault::system("publish", name.path(), Errno::BADF));
        };
        let published = self.rename(part, name)?;
        if published == Published::Done {
            self.state = State::Closed;
        }
        Ok(published)
    }

    /// Ends without publishing and leaves the bytes under `NAME.part`.
    pub fn keep(&mut self) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => return,
            State::Part(_) => {}
            State::Unnamed(file) => {
                // A courtesy: without it the bytes are fetched again, which is all that can be lost.
                if let Ok(dir) = self.directory() {
                    let _ = self.tree.link(&file, &dir, &self.name.part());
                }
            }
        }
        self.tree.left_partial();
    }

    /// Ends without publishing and removes the file, if its name is still its own.
    pub fn remove(&mut self) {
        if let State::Part(part) = std::mem::replace(&mut self.state, State::Closed)
            && let Ok(dir) = self.directory()
            && part.is_at(&dir, &self.name.part())
        {
            // It is locked, so nobody else of our kind takes it now; if it cannot be removed it is a partial file.
            let _ = sys::unlink(&dir, &self.name.part());
        }
    }

    fn directory(&self) -> Result<Rc<OwnedFd>, Fault> {
        let directory = self.name.directory();
        self.tree.directory(directory, Missing::Make).map_err(|errno| Fault::system("open directory", directory, errno))
    }

    fn has_part(&self, dir: &OwnedFd) -> bool {
        self.tree.may_have_partials(self.name.directory())
            && !matches!(sys::stat(dir, &self.name.part()), Err(Errno::NOENT))
    }

    /// Opens `NAME.part`, locks and empties it.
    fn open_part(&self, dir: &OwnedFd) -> Result<Part, Fault> {
        let part = self.name.part();
        let fault = |errno| Fault::system("open", &part, errno);
        // NONBLOCK and NOCTTY are for what is no regular file and is refused below.
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        for _ in 0..OPEN_TRIES {
            let file = sys::open(dir, part.as_str(), flags).map_err(fault)?;
            let stat = sys::stat_open(&file).map_err(fault)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Fault::local(format!("{part} is there and is no regular file")));
            }
            match sys::lock(&file) {
                // File systems without locks are used without them.
                Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(Fault::local(format!("another process is writing {part}")));
                }
                Err(errno) => return Err(fault(errno)),
            }
            // Who held the lock until now may have published the file: then it is whole, and not to be emptied.
            let now = match sys::stat(dir, &part) {
                Ok(now) if identity(&now) == identity(&stat) => now,
                _ => continue,
            };
            if now.st_nlink > 1 {
                // Another name for something that is not ours, or a publication by link that was killed half-way.
                sys::unlink(dir, &part).map_err(fault)?;
                continue;
            }
            if now.st_size > 0 {
                sys::truncate(&file).map_err(fault)?;
            }
            return Ok(Part { file, identity: identity(&stat) });
        }
        Err(Fault::local(format!("another process is using {part}")))
    }

    /// Gives the unnamed `file` its name.
    fn link(&self, file: &OwnedFd, name: &Name) -> Result<(), Errno> {
        let dir = self.tree.directory(name.directory(), Missing::Make)?;
        match self.tree.link(file, &dir, name.file()) {
            Err(Errno::NOENT) if self.tree.forget(name.directory()) => {
                let dir = self.tree.directory(name.directory(), Missing::Make)?;
                self.tree.link(file, &dir, name.file())
            }
            result => result,
        }
    }

    /// A `.part` with the bytes of the unnamed `file`, which cannot be linked here.
    fn copy_to_part(&self, file: &OwnedFd) -> Result<Part, Fault> {
        let fault = |errno| Fault::system("write", self.name.path(), errno);
        let part = self.open_part(&*self.directory()?)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut offset = 0;
        loop {
            let read = sys::read_at(file, &mut buffer, offset).map_err(fault)?;
            let Some(data) = buffer.get(..read).filter(|data| !data.is_empty()) else { break };
            sys::write_all(&part.file, data).map_err(fault)?;
            offset += data.len() as u64;
        }
        if let Ok(stat) = sys::stat_open(file) {
            // As in set_modified: the time is not worth the body.
            let _ = sys::set_modified(&part.file, stat.st_mtime);
        }
        Ok(part)
    }

    /// Renames `.part`, which is open as `open`.
    fn rename(&self, open: &Part, name: &Name) -> Result<Published, Fault> {
        let dir = self.directory()?;
        let part = self.name.part();
        if !open.is_at(&dir, &part) {
            return Err(Fault::local(format!("{part} was moved or replaced while it was written")));
        }
        let renamed = match self.replace {
            Replace::File => sys::rename(&dir, &part, name.file(), RenameFlags::empty()),
            Replace::Nothing => rename_noreplace(&dir, &part, name.file()),
        };
        match renamed {
            Ok(()) => Ok(Published::Done),
            Err(Errno::EXIST) if self.replace == Replace::Nothing => Ok(Published::Exists),
            Err(errno) => Err(Fault::system("publish", name.path(), errno)),
        }
    }
}

/// Renames, or says `EXIST`, by the best means the file system has.
fn rename_noreplace(dir: &OwnedFd, part: &str, name: &str) -> Result<(), Errno> {
    match sys::rename(dir, part, name, RenameFlags::NOREPLACE) {
        // NFS among others has no flags (rename(2)).
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        result => return result,
    }
    match sys::link(dir, part, dir, name, rustix::fs::AtFlags::empty()) {
        // exFAT and some in user space have neither.
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Ok(()) => return sys::unlink(dir, part),
        result => return result,
    }
    // A look and a rename are microseconds apart, which is all that can be had there.
    match sys::stat(dir, name) {
        Err(Errno::NOENT) => sys::rename(dir, part, name, RenameFlags::empty()),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

/// Whether an error from naming an unnamed file says that this does not work here, not that no file would.
fn is_refusal(errno: Errno) -> bool {
    use Errno as E;
    matches!(errno, E::NOENT | E::PERM | E::ACCESS | E::XDEV | E::OPNOTSUPP | E::INVAL | E::NOSYS | E::LOOP | E::MLINK)
}

impl Part {
    /// Whether `name` is this file.
    fn is_at(&self, dir: &OwnedFd, name: &str) -> bool {
        sys::stat(dir, name).is_ok_and(|stat| identity(&stat) == self.identity)
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::MemfdFlags;

    #[test]
    fn a_file_that_cannot_be_linked_is_copied_and_nothing_is_replaced() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let tree = Rc::new(Tree::open(dir.path().to_owned())?);
        let name = Name::new("a/x".to_owned());
        let mut file = OutputFile::new(Rc::clone(&tree), name.clone(), Replace::Nothing);
        // It is on another file system, so linkat says EXDEV.
        let elsewhere = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC)?;
        sys::write_all(&elsewhere, &[b'x'; 200_000])?;
        sys::set_modified(&elsewhere, 1_000_000_000)?;
        file.state = State::Unnamed(elsewhere);
        let publish = |file: &mut OutputFile, name: &Name| {
            file.publish(name).map_err(|fault| anyhow::anyhow!(fault.into_failure().message))
        };
        std::fs::create_dir(dir.path().join("a"))?;
        std::fs::write(dir.path().join("a/x"), "before")?;
        assert_eq!(publish(&mut file, &name)?, Published::Exists);
        assert_eq!(std::fs::read(dir.path().join("a/x"))?, b"before");
        assert_eq!(publish(&mut file, &Name::new("a/y".to_owned()))?, Published::Done);
        assert!(!tree.links_unnamed());
        assert_eq!(std::fs::read(dir.path().join("a/y"))?, [b'x'; 200_000]);
        let modified = std::fs::metadata(dir.path().join("a/y"))?.modified()?;
        assert_eq!(modified.duration_since(std::time::UNIX_EPOCH)?.as_secs(), 1_000_000_000);
        assert_eq!(std::fs::read_dir(dir.path().join("a"))?.count(), 2);
        Ok(())
    }
}
