//! `NAME.part`: a partial file that has a name, locked while it is ours, and its description.
//!
//! A partial file that is not empty has a description of ours beside it, whenever the program is killed: without one it
//! is somebody else's, and left alone. The description names the file that it is of, so that bytes are never continued
//! that came there in another way; one whose file has gone is taken away where it is met. Must not know what is asked of
//! servers.

mod replaced;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use self::replaced::Replaced;
use super::fault::{Fault, lack};
use super::file::{Published, Replace};
use super::name::Name;
use super::names::PART;
use super::ours::Ours;
use super::sidecar::{Origin, Resume, SideCar};
use super::sys::{self, identity};

/// How often it is opened again because somebody else has just published or removed it.
const OPEN_TRIES: u32 = 8;

/// How it is opened; what is no regular file is refused.
const FLAGS: OFlags = OFlags::RDWR.union(sys::CAREFULLY);

/// A partial file that has its name, and is ours until it is dropped.
#[derive(Debug)]
pub struct Part {
    file: Arc<OwnedFd>,
    /// Its own name.
    name: String,
    /// Device and inode, by which it is known again under its name.
    identity: (u64, u64),
    /// What was there under the name that it got.
    before: Before,
}

/// What a published file has replaced.
#[derive(Debug)]
enum Before {
    Nothing,
    /// Something that has its name now.
    Swapped(Replaced),
    /// Something that is gone.
    Lost,
}

/// What is there under the name of a partial file, ours now; `None`: it had another name, or none, before it could be
/// locked.
type Opened = Option<(Part, Stat)>;

impl Part {
    /// The name of the partial file of `name`.
    pub fn name_of(name: &str) -> String {
        format!("{name}{PART}")
    }

    /// An empty partial file of `name`, with this description. One of ours that is there is taken away first.
    ///
    /// # Errors
    /// The file system refuses, another process is writing it, or something that is not ours has its name.
    pub fn create(dir: &OwnedFd, name: &str, ours: Ours, description: &SideCar) -> Result<Part, Fault> {
        let part = Part::name_of(name);
        for _ in 0..OPEN_TRIES {
            let made = match sys::open(dir, part.as_str(), OFlags::CREATE | OFlags::EXCL | FLAGS) {
                Ok(file) => Part::lock(dir, file, part.clone())?,
                Err(Errno::EXIST) => match Part::open(dir, part.clone())? {
                    Some((open, stat)) => {
                        open.check(dir, ours, &stat)?;
                        open.clear(dir)?;
                        continue;
                    }
                    None => continue,
                },
                Err(errno) => return Err(Fault::system("create", &part, errno)),
            };
            if let Some((open, _)) = made {
                let described = sys::birth(&open.file).and_then(|file| description.write(dir, &part, &file, ours));
                let Err(errno) = described else { return Ok(open) };
                // Empty it is nobody's.
                open.remove(dir, ours);
                let meta = SideCar::name(&part);
                return Err(match SideCar::objection(dir, &part, ours) {
                    Ok(Some(why)) => Fault::local(format!("{meta} is there and {why}: move or remove it")),
                    _ => Fault::system("create", &meta, errno),
                });
            }
        }
        Err(Fault::local(format!("another process is using {part}")))
    }

    /// The partial file of `name`, when it can be continued for `origin`, and where. Changes nothing but that a description
    /// without its file is taken away.
    ///
    /// # Errors
    /// Another process is writing it, something that is not ours has its name, or there is want of what comes back, and it
    /// may be continued then.
    pub fn find(
        dir: &OwnedFd,
        name: &str,
        ours: Ours,
        origin: Option<&Origin>,
    ) -> Result<Option<(Part, Resume)>, Fault> {
        let (part, stat) = match Part::open(dir, Part::name_of(name)) {
            Ok(Some((part, stat))) => (part, stat),
            Ok(None) => return Ok(None),
            Err(fault) => {
                Part::tidy(dir, name, ours);
                let is_none_of_ours = fault.errno().is_none() && !is_gone(dir, &Part::name_of(name));
                // What else is in the way is found out when it is opened to be written.
                return if is_none_of_ours || fault.is_busy() || fault.is_passing() { Err(fault) } else { Ok(None) };
            }
        };
        part.check(dir, ours, &stat)?;
        if stat.st_nlink != 1 || stat.st_size == 0 || !sys::is_writable(&part.file) {
            return Ok(None);
        }
        // What a crash of the machine has kept from the disk is a hole, or past the end.
        let size = sys::first_hole(&part.file).or_else(|_| u64::try_from(stat.st_size));
        let description = match SideCar::open(dir, &part.name) {
            Err(errno) if lack(errno).is_some() => {
                return Err(Fault::system("open", &SideCar::name(&part.name), errno));
            }
            opened => opened.ok().and_then(|file| SideCar::of(&file, ours)),
        };
        let resume = || {
            let birth = sys::birth(&part.file).ok()?;
            description.filter(|found| found.is_of(&birth))?.resume(origin?, size.ok()?)
        };
        Ok(resume().map(|resume| (part, resume)))
    }

    /// Whether another process is writing the partial file of `name`, as far as is known.
    pub fn is_busy(dir: &OwnedFd, name: &str) -> bool {
        Part::open(dir, Part::name_of(name)).is_err_and(|fault| fault.is_busy())
    }

    /// Whether it may be taken away: it is ours, and empty or described as such.
    fn check(&self, dir: &OwnedFd, ours: Ours, stat: &Stat) -> Result<(), Fault> {
        let name = &self.name;
        if !ours.owns(stat) {
            return Err(Fault::local(format!("{name} is there and belongs to another user: have it moved away")));
        }
        if stat.st_size > 0 {
            let meta = SideCar::name(name);
            let why = match SideCar::objection(dir, name, ours) {
                Ok(None) => return Ok(()),
                Ok(Some(objection)) => format!(": {meta} {objection}"),
                Err(_) => format!(", without {meta}"),
            };
            return Err(Fault::local(format!("{name} is there and not known to be ours{why}: move or remove it")));
        }
        Ok(())
    }

    fn open(dir: &OwnedFd, name: String) -> Result<Opened, Fault> {
        match sys::open_to_lock(dir, &name) {
            Ok(file) => Part::lock(dir, file, name),
            Err(errno) => Err(Fault::system("open", &name, errno)),
        }
    }

    /// Makes the open `file` ours alone, if it still has its name then.
    fn lock(dir: &OwnedFd, file: OwnedFd, name: String) -> Result<Opened, Fault> {
        let fault = |errno| Fault::system("open", &name, errno);
        let stat = sys::stat_open(&file).map_err(fault)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Fault::local(format!("{name} is there and is no regular file")));
        }
        match sys::lock(&file) {
            // File systems without locks are used without them.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(Errno::WOULDBLOCK) => return Err(Fault::busy(&name)),
            Err(errno) => return Err(fault(errno)),
        }
        // Who held the lock until now may have published the file: then it is whole, and not to be touched.
        match sys::stat(dir, &name) {
            Ok(now) if identity(&now) == identity(&stat) => {
                let identity = identity(&stat);
                Ok(Some((Part { file: Arc::new(file), name, identity, before: Before::Nothing }, now)))
            }
            _ => Ok(None),
        }
    }

    /// The open file.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Takes its name away, if that is still its own, so that its bytes are never continued. It stays locked.
    pub fn clear(&self, dir: &OwnedFd) -> Result<(), Fault> {
        let removed =
            self.is_at_its_name(dir).and_then(|is_it| if is_it { sys::unlink(dir, &self.name) } else { Ok(()) });
        removed.map_err(|errno| Fault::system("remove", &self.name, errno))
    }

    /// Goes on behind the first `from` bytes; what is behind them is thrown away.
    pub fn continue_at(&self, from: u64) -> Result<(), Fault> {
        sys::continue_at(&self.file, from).map_err(|errno| Fault::system("continue", &self.name, errno))
    }

    /// Renames it, whole, to `name`. If that fails it keeps its description: another run has only to ask for its last byte.
    ///
    /// # Errors
    /// The file system refuses, or what has its name is not the file that was written.
    pub fn publish(&mut self, dir: &OwnedFd, name: &Name, ours: Ours, replace: Replace) -> Result<Published, Fault> {
        if !self.is_at_its_name(dir).map_err(|errno| Fault::system("look at", &self.name, errno))? {
            self.disown(dir, ours);
            return Err(Fault::local(format!("{} was moved or replaced while it was written", self.name)));
        }
        let renamed = match replace {
            Replace::File => sys::rename(dir, &self.name, name.file(), RenameFlags::empty()),
            Replace::Reversibly => self.swap(dir, name.file()),
            Replace::Nothing => rename_noreplace(dir, &self.name, name.file()),
        };
        match renamed {
            Ok(()) => {
                // What has its own name now is not to be taken for somebody else's.
                if !matches!(self.before, Before::Swapped(_)) {
                    // Where both were names of it, rename(2) has done nothing.
                    let _ = self.clear(dir);
                    self.undescribe(dir, ours);
                }
                Ok(Published::Done)
            }
            Err(Errno::EXIST) if replace == Replace::Nothing => Ok(Published::Exists),
            Err(errno) => Err(Fault::system("publish", name.path(), errno)),
        }
    }

    /// Renames it to `name`, and the file that has that name to its own; without such a file it is only renamed, and so
    /// it is where the file system cannot swap two.
    fn swap(&mut self, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
        let before = match sys::stat(dir, name) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Err(Errno::ISDIR),
            Ok(stat) => {
                let replaced = Replaced::hold(dir, name, &stat);
                match sys::rename(dir, &self.name, name, RenameFlags::EXCHANGE) {
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOENT) => Before::Lost,
                    result => return result.map(|()| self.before = Before::Swapped(replaced)),
                }
            }
            Err(Errno::NOENT) => Before::Nothing,
            Err(_) => Before::Lost,
        };
        sys::rename(dir, &self.name, name, RenameFlags::empty()).map(|()| self.before = before)
    }

    /// It stays where it was published: what it has replaced is not needed any more.
    pub fn stay(self, dir: &OwnedFd, ours: Ours) {
        if let Before::Swapped(replaced) = &self.before {
            let held = SideCar::hold(dir, &self.name, ours);
            // Who holds it takes both away.
            if !matches!(held, Err(Errno::WOULDBLOCK)) && replaced.is_at(dir, &self.name) {
                // What stays is met by the next run.
                let _ = sys::unlink(dir, &self.name);
            }
            drop(held);
            self.undescribe(dir, ours);
        }
    }

    /// Takes it back from `name`, where it was published, and removes it; what it has replaced is there again. What was lost,
    /// be it to another process, stays replaced: without both there would be nothing.
    pub fn take_back(self, dir: &OwnedFd, name: &str, ours: Ours) {
        match &self.before {
            Before::Nothing => sys::unlink_if(dir, name, &self.file),
            Before::Swapped(replaced) => {
                if replaced.is_at(dir, &self.name) {
                    // Where it fails, what is at its own name is not it, and stays.
                    let _ = sys::rename(dir, &self.name, name, RenameFlags::EXCHANGE);
                }
                self.remove(dir, ours);
            }
            Before::Lost => {}
        }
    }

    /// Takes away what a kill has left of the publication of `name`: the description, and what has the name of the partial
    /// file, be that the same file or the one that was replaced, under whichever name.
    pub fn tidy(dir: &OwnedFd, name: &str, ours: Ours) {
        let part = Part::name_of(name);
        let is_published = |found: SideCar| {
            let is_it = |name: &str| sys::birth_at(dir, name).is_ok_and(|birth| found.is_of(&birth));
            is_it(name) || !(is_gone(dir, &part) || is_it(&part)) && sys::has_entry(dir, is_it)
        };
        undescribe(dir, &part, ours, |held| {
            if SideCar::of(held, ours).is_some_and(is_published) {
                Part::discard(dir, &part);
            }
            is_gone(dir, &part)
        });
    }

    /// Takes away what has the name `part` and is not on its way, whatever it is.
    fn discard(dir: &OwnedFd, part: &str) {
        let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let is_ours_to_take = match sys::stat(dir, part) {
            Ok(stat) if is_file(&stat) => match Part::open(dir, part.to_owned()) {
                // It is open until its name is gone, and locked.
                Ok(Some((open, _))) => return drop(open.clear(dir)),
                Ok(None) => false,
                // None of ours is like that.
                Err(fault) => matches!(fault.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::TXTBSY)),
            },
            // A link or a FIFO, which had the final name. A directory is not unlinked.
            Ok(_) => true,
            Err(_) => false,
        };
        if is_ours_to_take {
            let _ = sys::unlink(dir, part);
        }
    }

    /// Leaves it for a later attempt, if its name is still its own.
    pub fn keep(self, dir: &OwnedFd, ours: Ours) {
        if self.is_at_its_name(dir) == Ok(false) {
            self.disown(dir, ours);
        }
    }

    /// Removes it, if its name is still its own.
    pub fn remove(&self, dir: &OwnedFd, ours: Ours) {
        if self.is_at_its_name(dir) == Ok(false) {
            self.disown(dir, ours);
        } else if self.clear(dir).is_ok() {
            self.undescribe(dir, ours);
        }
    }

    /// What has its name is not it, and its description must not say so.
    fn disown(&self, dir: &OwnedFd, ours: Ours) {
        let Ok(birth) = sys::birth(&self.file) else { return };
        undescribe(dir, &self.name, ours, |held| {
            self.is_at_its_name(dir) == Ok(false) && SideCar::of(held, ours).is_some_and(|found| found.is_of(&birth))
        });
    }

    /// Its name is gone, and so is what described it, unless there is another file by now.
    fn undescribe(&self, dir: &OwnedFd, ours: Ours) {
        match SideCar::hold(dir, &self.name, ours) {
            Ok(None) | Err(Errno::EXIST | Errno::WOULDBLOCK) => {}
            // Where it cannot even be opened, nobody would come by again to take it away: here it was its own a moment ago.
            Ok(Some(_)) | Err(_) => {
                if is_gone(dir, &self.name) && SideCar::objection(dir, &self.name, ours) == Ok(None) {
                    let _ = sys::unlink(dir, &SideCar::name(&self.name));
                }
            }
        }
    }

    /// Whether its name is still its own. Where the file system does not say, it may be.
    fn is_at_its_name(&self, dir: &OwnedFd) -> Result<bool, Errno> {
        match sys::stat(dir, &self.name) {
            Err(Errno::NOENT) => Ok(false),
            found => found.map(|stat| identity(&stat) == self.identity),
        }
    }
}

/// Gives the unnamed `file` the name of the partial file of `name`, by `link`, if nothing has it. The description comes
/// first: without it nobody would know whose the file is.
///
/// # Errors
/// The file system refuses.
pub fn adopt(
    dir: &OwnedFd,
    name: &str,
    ours: Ours,
    (file, description): (&OwnedFd, &SideCar),
    link: impl FnOnce(&str) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let part = Part::name_of(name);
    if !is_gone(dir, &part) {
        return Err(Errno::EXIST);
    }
    undescribe(dir, &part, ours, |_| is_gone(dir, &part));
    // Nobody else can have it; as elsewhere, a file system without locks is used without them.
    let _ = sys::lock(file);
    let birth = sys::birth(file)?;
    let named = description.create(dir, &part, &birth).and_then(|()| {
        // Another process may have taken it away, with no file beside it yet.
        let held = SideCar::hold(dir, &part, ours)?;
        let is_there = |held: &OwnedFd| SideCar::of(held, ours).is_some_and(|found| found.is_of(&birth));
        if held.as_ref().is_some_and(is_there) { link(&part) } else { Err(Errno::EXIST) }
    });
    named.inspect_err(|_| undescribe(dir, &part, ours, |_| is_gone(dir, &part)))
}

/// Takes the description beside `part` away, where there is one of ours, if `is_stale` says so, which is asked when nobody
/// else can take it away or replace it. One that stays does no harm, and is met again; that of a file would be missed.
fn undescribe(dir: &OwnedFd, part: &str, ours: Ours, is_stale: impl FnOnce(&OwnedFd) -> bool) {
    if let Ok(Some(held)) = SideCar::hold(dir, part, ours)
        && is_stale(&held)
    {
        let _ = sys::unlink(dir, &SideCar::name(part));
    }
}

/// Whether nothing has the name `part`.
fn is_gone(dir: &OwnedFd, part: &str) -> bool {
    matches!(sys::stat(dir, part), Err(Errno::NOENT))
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

#[cfg(test)]
mod tests;
