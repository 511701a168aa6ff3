//! `NAME.part`: a partial file that has a name, locked while it is ours, and its description.
//!
//! The description goes first and comes last: bytes are never beside the description of others, whenever the program
//! is killed. Must not know what is asked of servers.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::fault::Fault;
use super::file::{Published, Replace};
use super::name::Name;
use super::sidecar::{Origin, Resume, SideCar};
use super::sys;

/// How often it is opened again because somebody else has just published or removed it.
const OPEN_TRIES: u32 = 8;

/// A partial file that has its name, and is ours until it is dropped.
#[derive(Debug)]
pub struct Part {
    file: Arc<OwnedFd>,
    /// Its own name.
    name: String,
    /// Device and inode, by which it is known again under its name.
    identity: (u64, u64),
    /// A description may lie beside it.
    described: bool,
    /// The file that it replaced has its name.
    swapped: bool,
}

/// What is there under the name of a partial file.
enum Opened {
    Ours(Part, Stat),
    /// It had another name, or none, before it could be locked.
    Gone,
}

impl Part {
    /// The name of the partial file of `name`.
    pub fn name_of(name: &str) -> String {
        format!("{name}.part")
    }

    /// An empty partial file of `name`, without description.
    ///
    /// # Errors
    /// The file system refuses, another process is writing it, or something that is no file has its name.
    pub fn create(dir: &OwnedFd, name: &str) -> Result<Part, Fault> {
        let part = Part::name_of(name);
        for _ in 0..OPEN_TRIES {
            match Part::open(dir, part.clone(), OFlags::CREATE)? {
                // Another name for something that is not ours, or a publication by link that was killed half-way.
                Opened::Ours(_, stat) if stat.st_nlink > 1 => {
                    sys::unlink(dir, &part).map_err(|errno| Fault::system("open", &part, errno))?;
                }
                Opened::Ours(mut open, stat) => {
                    open.described = true;
                    open.restart(dir, stat.st_size > 0)?;
                    return Ok(open);
                }
                Opened::Gone => {}
            }
        }
        Err(Fault::local(format!("another process is using {part}")))
    }

    /// The partial file of `name`, when it can be continued for `origin`, and where. Changes nothing.
    ///
    /// # Errors
    /// Another process is writing it, or something that is no file has its name.
    pub fn find(dir: &OwnedFd, name: &str, origin: &Origin) -> Result<Option<(Part, Resume)>, Fault> {
        let (part, stat) = match Part::open(dir, Part::name_of(name), OFlags::empty()) {
            Ok(Opened::Ours(part, stat)) if stat.st_nlink == 1 && stat.st_size > 0 => (part, stat),
            Err(fault) if fault.errno().is_none() => return Err(fault),
            // What else is in the way is found out when it is opened to be written.
            Ok(Opened::Ours(..) | Opened::Gone) | Err(_) => return Ok(None),
        };
        // What a crash of the machine has kept from the disk is a hole, or past the end.
        let size = sys::first_hole(&part.file).or_else(|_| u64::try_from(stat.st_size));
        let resume = SideCar::read(dir, &part.name).zip(size.ok()).and_then(|(found, size)| found.resume(origin, size));
        Ok(resume.map(|resume| (Part { described: true, ..part }, resume)))
    }

    fn open(dir: &OwnedFd, name: String, flags: OFlags) -> Result<Opened, Fault> {
        let fault = |errno| Fault::system("open", &name, errno);
        // NONBLOCK and NOCTTY are for what is no regular file and is refused below.
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = sys::open(dir, name.as_str(), flags).map_err(fault)?;
        let stat = sys::stat_open(&file).map_err(fault)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Fault::local(format!("{name} is there and is no regular file")));
        }
        match sys::lock(&file) {
            // File systems without locks are used without them.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(Errno::WOULDBLOCK) => return Err(Fault::local(format!("another process is writing {name}"))),
            Err(errno) => return Err(fault(errno)),
        }
        // Who held the lock until now may have published the file: then it is whole, and not to be touched.
        match sys::stat(dir, &name) {
            Ok(now) if identity(&now) == identity(&stat) => {
                let identity = identity(&stat);
                Ok(Opened::Ours(Part { file: Arc::new(file), name, identity, described: false, swapped: false }, now))
            }
            _ => Ok(Opened::Gone),
        }
    }

    /// A file without a name, which is about to become the partial file of `name`.
    ///
    /// # Errors
    /// That of `fstat`.
    pub fn adopt(file: OwnedFd, name: &str) -> Result<Part, Errno> {
        // Nobody else can have it; as elsewhere, a file system without locks is used without them.
        let _ = sys::lock(&file);
        let identity = identity(&sys::stat_open(&file)?);
        Ok(Part { file: Arc::new(file), name: Part::name_of(name), identity, described: false, swapped: false })
    }

    /// The open file.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Starts over: without description, and empty where it is not.
    pub fn restart(&mut self, dir: &OwnedFd, is_filled: bool) -> Result<(), Fault> {
        let fault = |errno| Fault::system("empty", &self.name, errno);
        self.undescribe(dir).map_err(fault)?;
        if is_filled {
            sys::continue_at(&self.file, 0).map_err(fault)?;
        }
        self.described = false;
        Ok(())
    }

    /// Goes on behind the first `from` bytes; what is behind them is thrown away.
    pub fn continue_at(&self, from: u64) -> Result<(), Fault> {
        sys::continue_at(&self.file, from).map_err(|errno| Fault::system("continue", &self.name, errno))
    }

    /// Puts a description beside it. Without one the bytes are fetched again, which is all that can be lost.
    pub fn describe(&mut self, dir: &OwnedFd, description: &SideCar) {
        self.described = true;
        if description.write(dir, &self.name).is_err() {
            // What is left of it must not be in the way of the next one.
            let _ = self.undescribe(dir);
        }
    }

    /// Takes the description away: the bytes are not to be continued.
    pub fn undescribe(&self, dir: &OwnedFd) -> Result<(), Errno> {
        if !self.described {
            return Ok(());
        }
        match sys::unlink(dir, &SideCar::name(&self.name)) {
            // A directory describes nothing.
            Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            result => result,
        }
    }

    /// Renames it, whole, to `name`. If that fails it keeps its `description`: another run has only to ask for its last
    /// byte.
    ///
    /// # Errors
    /// The file system refuses, or what has its name is not the file that was written.
    pub fn publish(
        &mut self,
        dir: &OwnedFd,
        name: &Name,
        replace: Replace,
        description: Option<&SideCar>,
    ) -> Result<Published, Fault> {
        if !self.is_at_its_name(dir) {
            return Err(Fault::local(format!("{} was moved or replaced while it was written", self.name)));
        }
        self.undescribe(dir).map_err(|errno| Fault::system("publish", name.path(), errno))?;
        let renamed = match replace {
            Replace::File => sys::rename(dir, &self.name, name.file(), RenameFlags::empty()),
            Replace::Reversibly => self.swap(dir, name.file()),
            Replace::Nothing => rename_noreplace(dir, &self.name, name.file()),
        };
        match renamed {
            Ok(()) => Ok(Published::Done),
            Err(Errno::EXIST) if replace == Replace::Nothing => Ok(Published::Exists),
            Err(errno) => {
                if let Some(description) = description {
                    self.describe(dir, description);
                }
                Err(Fault::system("publish", name.path(), errno))
            }
        }
    }

    /// Renames it to `name`, and the file that has that name to its own; without such a file it is only renamed, and so
    /// it is where the file system cannot swap two.
    fn swap(&mut self, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
        match sys::stat(dir, name) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Err(Errno::ISDIR),
            Ok(_) => match sys::rename(dir, &self.name, name, RenameFlags::EXCHANGE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOENT) => {}
                result => return result.map(|()| self.swapped = true),
            },
            Err(_) => {}
        }
        sys::rename(dir, &self.name, name, RenameFlags::empty())
    }

    /// It stays where it was published: what it has replaced is not needed any more.
    pub fn stay(self, dir: &OwnedFd) {
        if self.swapped {
            // If that fails it is a partial file without a description, which is used up or left alone.
            let _ = sys::unlink(dir, &self.name);
        }
    }

    /// Takes it back from `name`, where it was published, and removes it; what it has replaced is there again.
    pub fn take_back(mut self, dir: &OwnedFd, name: &str) {
        if std::mem::take(&mut self.swapped) {
            // Where it fails, what is at its own name is not it, and stays.
            let _ = sys::rename(dir, &self.name, name, RenameFlags::EXCHANGE);
        }
        self.remove(dir);
    }

    /// Opens what a kill has left of `name`, which was published, and removes it.
    pub fn remove_leftover(dir: &OwnedFd, name: &str) {
        if let Ok(Opened::Ours(part, _)) = Part::open(dir, Part::name_of(name), OFlags::empty()) {
            Part { described: true, ..part }.remove(dir);
        }
    }

    /// Removes it, if its name is still its own.
    pub fn remove(self, dir: &OwnedFd) {
        if self.is_at_its_name(dir) {
            // It is locked, so nobody else of our kind takes it now; if it cannot be removed it is a partial file.
            let _ = self.undescribe(dir);
            let _ = sys::unlink(dir, &self.name);
        }
    }

    fn is_at_its_name(&self, dir: &OwnedFd) -> bool {
        sys::stat(dir, &self.name).is_ok_and(|stat| identity(&stat) == self.identity)
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

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
