//! The output directory and what is below it, held by descriptors, so that it stays the same directory when its path
//! is renamed or replaced, and so that no symbolic link planted below it is ever walked through.
//!
//! Must not know URLs, nor what the files are for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail};
use rustix::fs::{Access, AtFlags, CWD, OFlags};
use rustix::io::{Errno, Result};

use super::ours::Ours;
use super::probe::{self, Found, Linking, Partials};
use super::sys;
use super::writer::Writer;

/// Directories kept open: enough for the hosts of neighbouring lines, few beside the descriptors of the transfers.
const RECENT: usize = 8;

/// The output directory.
#[derive(Debug)]
pub struct Tree {
    given: PathBuf,
    root: Rc<OwnedFd>,
    /// There is no such directory, and none is made: `root` is another one above it.
    absent: bool,
    /// Directories below it by relative path, the most recent first.
    recent: RefCell<VecDeque<Kept>>,
    /// Turns so far, in each of which one look at a directory is enough.
    turn: Cell<u64>,
    linking: Cell<Linking>,
    partials: Cell<Partials>,
    flushing: Flushing,
    folds_case: bool,
    ours: Ours,
    /// Whether anything may be changed in it.
    is_real: bool,
    writer: Rc<Writer>,
}

/// A directory that is kept open.
#[derive(Debug)]
struct Kept {
    path: String,
    fd: Rc<OwnedFd>,
    /// What it is known by at its path.
    identity: (u64, u64),
    /// The turn in which it was last seen there.
    seen: u64,
}

/// When data count as written, from the earliest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flushing {
    /// When `write` has taken them.
    Never,
    /// After a flush, because errors show only then.
    BeforePublishing,
    /// After a flush of the data, and of the directory with their name.
    Durable,
}

/// Whether missing directories are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They are.
    Make,
    /// They are an error.
    Report,
}

impl Tree {
    /// The directory `given` for a run that makes nothing: one that is missing has no files.
    ///
    /// # Errors
    /// It cannot be opened or written to, or when it is missing, not be made.
    pub fn look(given: PathBuf) -> anyhow::Result<Tree> {
        // A relative path ends in the current directory, which is there.
        let there = given.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
        let there = there.unwrap_or(Path::new("/")).to_owned();
        let absent = there != given;
        Ok(Tree { absent, given, is_real: false, ..Tree::at(there, Flushing::Never, probe::by_looking)? })
    }

    /// Opens the directory `given`, made when it is missing; an empty path is the current directory.
    ///
    /// # Errors
    /// It cannot be made, opened or written to.
    pub fn open(given: PathBuf) -> anyhow::Result<Tree> {
        Tree::make(given, Flushing::Never)
    }

    /// The same, with every file and directory safe from a loss of power before it counts as published.
    ///
    /// # Errors
    /// Those of [`Tree::open`], or what was made cannot be flushed.
    pub fn durable(given: PathBuf) -> anyhow::Result<Tree> {
        Tree::make(given, Flushing::Durable)
    }

    fn make(given: PathBuf, flushing: Flushing) -> anyhow::Result<Tree> {
        let flush = |parent: &Path| match flushing {
            Flushing::Durable => sys::flush_directory(sys::open_directory(CWD, parent, OFlags::empty())?),
            Flushing::Never | Flushing::BeforePublishing => Ok(()),
        };
        sys::make_directories(&given, flush).with_context(|| format!("make output directory {}", given.display()))?;
        Tree::at(given, flushing, probe::by_trying)
    }

    /// The directory `given`, which is there and of which `probe` finds out what it can do.
    fn at(given: PathBuf, flushing: Flushing, probe: fn(&OwnedFd) -> Result<Found>) -> anyhow::Result<Tree> {
        let path = if given.as_os_str().is_empty() { Path::new(".") } else { &given };
        if std::fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
            bail!("output directory {}: it is a file", path.display());
        }
        let root = sys::open_directory(CWD, path, OFlags::empty())
            .with_context(|| format!("open output directory {}", path.display()))?;
        let Found { linking, partials, folds_case, ours } =
            probe(&root).with_context(|| format!("write to output directory {}", path.display()))?;
        let flushing = if probe::is_remote(&root) { flushing.max(Flushing::BeforePublishing) } else { flushing };
        Ok(Tree {
            given,
            root: Rc::new(root),
            absent: false,
            recent: RefCell::new(VecDeque::with_capacity(RECENT)),
            turn: Cell::new(0),
            linking: Cell::new(linking),
            partials: Cell::new(partials),
            flushing,
            folds_case,
            ours,
            is_real: true,
            writer: Rc::default(),
        })
    }

    /// What writes the large files in it.
    pub fn writer(&self) -> &Rc<Writer> {
        &self.writer
    }

    /// The path of `name` as it can be opened from the current directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.given.join(name)
    }

    /// The directory at the relative path `path`; the empty path is the output directory.
    ///
    /// # Errors
    /// Those of `openat` and `mkdirat`; `NOTDIR` also for a symbolic link to a directory.
    pub fn directory(&self, path: &str, missing: Missing) -> Result<Rc<OwnedFd>> {
        if self.absent {
            return Err(Errno::NOENT);
        }
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        let (mut recent, turn) = (self.recent.borrow_mut(), self.turn.get());
        // Another may have its path by now, or none: nothing is to be put where it went.
        let is_there = |kept: &Kept| sys::stat(&*self.root, path).is_ok_and(|now| sys::identity(&now) == kept.identity);
        if let Some(at) = recent.iter().position(|kept| kept.path == path)
            && let Some(found) = recent.remove(at)
            && (found.seen == turn || is_there(&found))
        {
            let fd = Rc::clone(&found.fd);
            recent.push_front(Kept { seen: turn, ..found });
            return Ok(fd);
        }
        let mut dir = Rc::clone(&self.root);
        for component in path.split('/') {
            dir = Rc::new(self.step(&dir, component, missing)?);
        }
        recent.truncate(RECENT - 1);
        let identity = sys::identity(&sys::stat_open(&*dir)?);
        recent.push_front(Kept { path: path.to_owned(), fd: Rc::clone(&dir), identity, seen: turn });
        Ok(dir)
    }

    /// Time passes: what was seen before it may be elsewhere by now.
    pub fn look_again(&self) {
        self.turn.update(|turn| turn + 1);
    }

    /// One component further down.
    fn step(&self, dir: &OwnedFd, component: &str, missing: Missing) -> Result<OwnedFd> {
        match sys::open_directory(dir, component, OFlags::NOFOLLOW) {
            Err(Errno::NOENT) if missing == Missing::Make => {
                sys::make_directory(dir, component)?;
                if self.flushing == Flushing::Durable {
                    sys::flush_directory(dir)?;
                }
                sys::open_directory(dir, component, OFlags::NOFOLLOW)
            }
            result => result,
        }
    }

    /// Whether files without a name can be used.
    pub fn links_unnamed(&self) -> bool {
        self.linking.get() != Linking::Refused
    }

    /// Files without a name are not used any more in this run.
    pub fn give_up_unnamed(&self) {
        self.linking.set(Linking::Refused);
    }

    /// Names a file that has no name; `EXIST` when the name is taken.
    pub fn link(&self, file: &OwnedFd, dir: &OwnedFd, name: &str) -> Result<()> {
        if self.linking.get() == Linking::Descriptor {
            match sys::link(file, "", dir, name, AtFlags::EMPTY_PATH) {
                // Also what a kernel says that does not allow it (ENOENT) or does not know it (EINVAL).
                Err(Errno::NOENT | Errno::INVAL | Errno::PERM) => {}
                result => return result,
            }
        }
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        sys::link(CWD, &own, dir, name, AtFlags::SYMLINK_FOLLOW)?;
        if self.linking.get() == Linking::Descriptor {
            self.linking.set(Linking::Proc);
        }
        Ok(())
    }

    /// Whether a partial file may lie in the directory at `path`, so that it is worth a look.
    pub fn may_have_partials(&self, path: &str) -> bool {
        !path.is_empty() || self.partials.get() == Partials::Possible
    }

    /// A partial file was left behind.
    pub fn left_partial(&self) {
        self.partials.set(Partials::Possible);
    }

    /// Fails when it takes no more files, as far as is known.
    ///
    /// # Errors
    /// `ROFS`: it is read-only. `NOSPC`: it has no room for another byte or another file.
    pub fn check_open(&self) -> Result<()> {
        if rustix::fs::accessat(&*self.root, ".", Access::WRITE_OK, AtFlags::empty()) == Err(Errno::ROFS) {
            return Err(Errno::ROFS);
        }
        match rustix::fs::fstatvfs(&*self.root) {
            // Where files are not counted there are none, be they free or not.
            Ok(stat) if stat.f_bavail == 0 || (stat.f_files > 0 && stat.f_favail == 0) => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    /// Whether names that differ only in case are one name here.
    pub fn folds_case(&self) -> bool {
        self.folds_case
    }

    /// What files of ours look like in it.
    pub fn ours(&self) -> Ours {
        self.ours
    }

    /// Whether what a kill has left in it may be taken away.
    pub fn is_real(&self) -> bool {
        self.is_real
    }

    /// When data count as written, from the earliest on.
    pub fn flushing(&self) -> Flushing {
        self.flushing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn directories_are_made_only_when_asked_and_kept_open_within_bounds() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let tree = Tree::open(dir.path().join("new/out"))?;
        assert_eq!(tree.directory("a/b", Missing::Report).err(), Some(Errno::NOENT));
        for at in 0..3 * RECENT {
            tree.directory(&format!("a/{at}"), Missing::Make)?;
        }
        assert!(dir.path().join("new/out/a/0").is_dir());
        assert_eq!(tree.recent.borrow().len(), RECENT);
        Ok(())
    }

    #[test]
    fn a_directory_that_was_moved_away_is_made_anew() -> anyhow::Result<()> {
        let (dir, archive) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let tree = Tree::open(dir.path().to_owned())?;
        for (moved, at) in [("a/b", 0), ("a", 1), ("a/b", 2)] {
            let before = tree.directory("a/b", Missing::Make)?;
            assert!(Rc::ptr_eq(&before, &tree.directory("a/b", Missing::Make)?), "it is kept");
            std::fs::rename(dir.path().join(moved), archive.path().join(at.to_string()))?;
            tree.look_again();
            assert_eq!(tree.directory("a/b", Missing::Report).err(), Some(Errno::NOENT));
            let after = tree.directory("a/b", Missing::Make)?;
            assert!(sys::is_at(&tree.root, "a/b", &after), "{moved}");
        }
        symlink(archive.path().join("0"), dir.path().join("link"))?;
        std::fs::rename(dir.path().join("a"), archive.path().join("a"))?;
        std::fs::rename(dir.path().join("link"), dir.path().join("a"))?;
        tree.look_again();
        assert_eq!(tree.directory("a/b", Missing::Make).err(), Some(Errno::NOTDIR));
        Ok(())
    }

    #[test]
    fn a_planted_link_is_not_walked_through() -> anyhow::Result<()> {
        let (dir, outside) = (tempfile::tempdir()?, tempfile::tempdir()?);
        std::fs::create_dir(outside.path().join("b"))?;
        symlink(outside.path(), dir.path().join("a"))?;
        let tree = Tree::open(dir.path().to_owned())?;
        for path in ["a", "a/b"] {
            assert_eq!(tree.directory(path, Missing::Make).err(), Some(Errno::NOTDIR), "{path}");
        }
        Ok(())
    }

    #[test]
    fn it_stays_the_same_directory_when_its_path_becomes_another() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let (out, moved) = (dir.path().join("out"), dir.path().join("moved"));
        let tree = Tree::open(out.clone())?;
        std::fs::rename(&out, &moved)?;
        symlink("/nonexistent", &out)?;
        tree.directory("a", Missing::Make)?;
        assert!(moved.join("a").is_dir());
        Ok(())
    }

    #[test]
    fn what_is_no_directory_cannot_be_opened_and_the_path_is_named() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("file"), "x")?;
        symlink("/nonexistent/x", dir.path().join("dangling"))?;
        for name in ["file", "file/below", "dangling"] {
            let error = Tree::open(dir.path().join(name)).expect_err("it is no directory");
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
        Ok(())
    }

    #[test]
    fn partial_files_of_earlier_runs_are_noticed() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        assert!(!Tree::open(dir.path().to_owned())?.may_have_partials(""));
        std::fs::write(dir.path().join("x.part"), "x")?;
        let tree = Tree::open(dir.path().to_owned())?;
        assert!(tree.may_have_partials("") && tree.may_have_partials("a"));
        Ok(())
    }
}
