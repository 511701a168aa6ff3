//! The daemon's FIFO: made when missing, trusted only when nobody else can write to it, read for ever.
//!
//! It is held open for reading and writing, so that it does not end when its last writer leaves (fifo(7)). Lines of up
//! to `PIPE_BUF` bytes (4096) from several writers at once arrive whole (pipe(7)); longer ones may be mixed up by the
//! kernel. Knows nothing of lines.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

/// Another process reads this FIFO. Found by `downcast_ref` in the error of [`Fifo::open`] and [`Fifo::check`].
#[derive(Debug)]
pub struct InUse;

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another process is reading it")
    }
}

impl std::error::Error for InUse {}

/// What one attempt to read gave. There is no end.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, more than none.
    Bytes(usize),
    /// Nothing for now.
    NotNow,
    /// The FIFO that was removed is empty and closed; what comes next comes from the new one.
    Replaced,
}

/// The daemon's FIFO.
pub struct Fifo {
    path: PathBuf,
    label: Arc<str>,
    current: OwnedFd,
    /// The one that has taken the path of `current`, until that is empty.
    successor: Option<OwnedFd>,
}

impl Fifo {
    /// Opens the FIFO at `path`, makes it (mode 0600) when there is none, and locks it against other daemons.
    pub fn open(path: PathBuf) -> anyhow::Result<Fifo> {
        let label: Arc<str> = path.to_string_lossy().into();
        let (current, _) = open(&path).with_context(|| format!("open fifo {label}"))?;
        Ok(Fifo { path, label, current, successor: None })
    }

    /// The FIFO as records name it.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// What to watch after [`Read::NotNow`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.current.as_fd()
    }

    /// Reads what is there, at most all of `buffer`, which must not be empty.
    pub fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<Read> {
        match retry_on_intr(|| rustix::io::read(&self.current, &mut *buffer)) {
            Ok(count) if count > 0 => Ok(Read::Bytes(count)),
            Ok(_) | Err(Errno::AGAIN) => match self.successor.take() {
                Some(successor) => {
                    self.current = successor;
                    Ok(Read::Replaced)
                }
                None => Ok(Read::NotNow),
            },
            Err(error) => Err(error).with_context(|| format!("read fifo {}", self.label)),
        }
    }

    /// Looks whether the path still leads here, and makes and opens the FIFO again where it does not. Gives what
    /// happened, for a person; the next [`Fifo::read`] brings the new FIFO into use. An error when something else
    /// stands there now.
    pub fn check(&mut self) -> anyhow::Result<Option<String>> {
        let newest = self.successor.as_ref().unwrap_or(&self.current);
        let ours = rustix::fs::fstat(newest).with_context(|| format!("look at fifo {}", self.label))?;
        let there = rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)) {
            return Ok(None);
        }
        let (successor, origin) = open(&self.path).with_context(|| format!("reopen fifo {}", self.label))?;
        self.successor = Some(successor);
        Ok(Some(match origin {
            Origin::Made => format!("fifo {} was removed: made it again", self.label),
            Origin::Found => format!("fifo {} was replaced: reading the new one", self.label),
        }))
    }
}

/// Whether the FIFO was there.
enum Origin {
    Found,
    Made,
}

fn open(path: &Path) -> anyhow::Result<(OwnedFd, Origin)> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mut origin = Origin::Found;
    // Between opening and making, somebody else may make or remove it; not for ever.
    for _ in 0..8 {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fifo) => {
                trust(&rustix::fs::fstat(&fifo)?, rustix::process::geteuid().as_raw()).map_err(|why| anyhow!(why))?;
                lock(&fifo)?;
                return Ok((fifo, origin));
            }
            Err(Errno::NOENT) => match rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR) {
                Ok(()) => origin = Origin::Made,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error).context("make it"),
            },
            Err(Errno::LOOP) => bail!("it is a symbolic link"),
            Err(Errno::ISDIR) => bail!("it is a directory"),
            Err(Errno::NXIO) => bail!("it is a socket or a device"),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("it is removed as fast as it is made")
}

/// Whether this is a FIFO that only `user` can write to: whoever writes to it decides what is fetched. Asked of the
/// open descriptor, so that it cannot be exchanged in between.
fn trust(stat: &Stat, user: u32) -> Result<(), String> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return Err("it is no FIFO".into());
    }
    if stat.st_uid != user {
        return Err(format!("it belongs to user {}, not to us", stat.st_uid));
    }
    if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
        return Err(format!("others can write to it (mode {:03o}): chmod go-w", stat.st_mode & 0o777));
    }
    Ok(())
}

fn lock(fifo: &OwnedFd) -> anyhow::Result<()> {
    match rustix::fs::flock(fifo, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::AGAIN) => Err(InUse.into()),
        Err(error) => Err(error).context("lock it"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("fifo");
        (directory, path)
    }

    fn writer(path: &Path) -> File {
        File::options().write(true).open(path).expect("a writer")
    }

    fn read(fifo: &mut Fifo) -> (Read, Vec<u8>) {
        let mut buffer = [0; 64];
        let outcome = fifo.read(&mut buffer).expect("readable");
        let count = if let Read::Bytes(count) = outcome { count } else { 0 };
        (outcome, buffer[..count].to_vec())
    }

    #[test]
    fn a_missing_fifo_is_made_for_its_owner_alone_and_outlives_its_writers() {
        let (_directory, path) = place();
        let mut fifo = Fifo::open(path.clone()).expect("made");
        assert_eq!(fs::metadata(&path).expect("made").mode() & 0o777, 0o600);
        assert_eq!(read(&mut fifo).0, Read::NotNow);
        for text in ["a", "b"] {
            writer(&path).write_all(text.as_bytes()).expect("written");
            assert_eq!(read(&mut fifo).1, text.as_bytes());
            assert_eq!(read(&mut fifo).0, Read::NotNow);
        }
    }

    #[test]
    fn what_is_no_fifo_is_refused_and_left_alone() {
        let (directory, path) = place();
        let file = directory.path().join("file");
        fs::write(&file, "text").expect("written");
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        let link = directory.path().join("link");
        drop(Fifo::open(path.clone()).expect("made"));
        symlink(&path, &link).expect("a link");
        let dangling = directory.path().join("dangling");
        symlink(directory.path().join("nowhere"), &dangling).expect("a link");
        let elsewhere = directory.path().join("no/such/directory");
        for (path, reason) in [
            (file.as_path(), "no FIFO"),
            (directory.path(), "directory"),
            (&socket, "socket"),
            (&link, "symbolic link"),
            (&dangling, "symbolic link"),
            (&elsewhere, "No such file"),
        ] {
            let error = format!("{:#}", Fifo::open(path.to_owned()).err().expect("refused"));
            assert!(error.contains(&*path.to_string_lossy()) && error.contains(reason), "{error}");
        }
        assert_eq!(fs::read(&file).expect("still there"), b"text");
    }

    #[test]
    fn a_fifo_that_others_can_write_to_is_refused() {
        let (_directory, path) = place();
        drop(Fifo::open(path.clone()).expect("made"));
        for (mode, trusted) in [(0o666, false), (0o620, false), (0o602, false), (0o644, true), (0o600, true)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
            assert_eq!(Fifo::open(path.clone()).is_ok(), trusted, "{mode:o}");
        }
        let stat = rustix::fs::stat(&path).expect("still there");
        assert!(trust(&stat, stat.st_uid).is_ok());
        assert!(trust(&stat, stat.st_uid + 1).is_err(), "a FIFO of another user");
    }

    #[test]
    fn a_second_daemon_is_refused_until_the_first_is_gone() {
        let (_directory, path) = place();
        let first = Fifo::open(path.clone()).expect("made");
        let error = Fifo::open(path.clone()).err().expect("refused");
        assert!(error.downcast_ref::<InUse>().is_some(), "{error:#}");
        drop(first);
        assert!(Fifo::open(path).is_ok());
    }

    #[test]
    fn a_removed_fifo_is_made_again_and_the_old_one_is_read_to_its_end() {
        let (_directory, path) = place();
        let mut fifo = Fifo::open(path.clone()).expect("made");
        assert_eq!(fifo.check().expect("checked"), None);
        writer(&path).write_all(b"old").expect("written");
        fs::remove_file(&path).expect("removed");
        let message = fifo.check().expect("made again").expect("a message");
        assert!(message.contains("was removed"), "{message}");
        assert_eq!(fifo.check().expect("checked"), None);
        writer(&path).write_all(b"new").expect("written");
        assert_eq!(read(&mut fifo).1, b"old");
        assert_eq!(read(&mut fifo).0, Read::Replaced);
        assert_eq!(read(&mut fifo).1, b"new");
        assert_eq!(read(&mut fifo).0, Read::NotNow);
    }

    #[test]
    fn a_replaced_fifo_is_changed_to_and_anything_else_is_an_error() {
        let (directory, path) = place();
        let mut fifo = Fifo::open(path.clone()).expect("made");
        let other = directory.path().join("other");
        drop(Fifo::open(other.clone()).expect("made"));
        fs::rename(&other, &path).expect("replaced");
        let message = fifo.check().expect("changed to").expect("a message");
        assert!(message.contains("was replaced"), "{message}");
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "text").expect("a file");
        assert!(fifo.check().is_err());
        fs::remove_file(&path).expect("removed");
        symlink("/nowhere", &path).expect("a link");
        assert!(fifo.check().is_err());
        assert!(!Path::new("/nowhere").exists());
    }
}
