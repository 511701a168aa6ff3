//! The journal's file: opened, locked, replayed, appended to, and written anew when most of it is out of date.
//!
//! Whatever a kill or a power failure left of its end is no reason to refuse it: what follows the last whole line is cut
//! off before anything is appended. A file that does not begin as a journal does is somebody else's, and never touched.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};

use super::line::{self, ANY_HEADER, HEADER, LONGEST, Line, SHORTEST};
use super::puts::Puts;
use super::table::{Filling, Table};
use crate::replacement::Place;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// Where a file is looked into to find out how long its table will be, and at how many bytes each time.
const SAMPLES: u64 = 8;
const SAMPLE: usize = 1 << 14;

/// A shorter file is never written anew.
const WORTHWHILE: u64 = 4096;

/// How often the file is opened again because another process has just written it anew.
const OPEN_TRIES: u32 = 8;

/// Why the file cannot be a journal.
#[derive(Debug)]
pub enum Trouble {
    /// It is not one, or cannot be opened: the command line is wrong.
    NotOne(anyhow::Error),
    /// Another process has it, or the disk has no room: this machine stops the run.
    Local(anyhow::Error),
    /// Nobody waits any longer for it to be read.
    Stopped(anyhow::Error),
}

/// What a replay found, beside what it put into the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Bodies of which it is not known whether they were put where they belong.
    pub puts: Puts,
    /// Whole lines that nobody has written so.
    pub damaged: u64,
    /// Bytes up to the end of the last whole line.
    pub whole: u64,
    /// Lines behind the first.
    pub lines: u64,
}

impl Replayed {
    /// Whether writing it anew would leave less than a third of its lines: a job that was done once has two, or three
    /// for two names.
    pub fn is_mostly_stale(&self, settled: &Table) -> bool {
        self.whole > WORTHWHILE && self.lines > 3 * settled.len() as u64
    }
}

/// The open file, locked for this process.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    /// Bytes of whole lines in it.
    length: u64,
}

/// Asked now and then while a long file is read or written: whether somebody still waits for it.
pub type GoesOn<'a> = &'a dyn Fn() -> bool;

/// Reads the file at `path` into `settled` as it is, whoever is using it; also says its device and inode.
pub fn look(path: &Path, settled: &mut Table, goes_on: GoesOn<'_>) -> Result<(Replayed, (u64, u64)), Trouble> {
    let (file, identity) = open(options().append(false), path)?;
    Ok((replay(&file, path, settled, goes_on)?, identity))
}

impl Locked {
    /// Opens or makes the file and locks it.
    pub fn open(path: &Path) -> Result<Locked, Trouble> {
        for _ in 0..OPEN_TRIES {
            let (file, identity) = open(options().create(true), path)?;
            lock(&file, path)?;
            // Who held the lock until now may have put another file in its place.
            if path.symlink_metadata().is_ok_and(|now| (now.dev(), now.ino()) == identity) {
                return Ok(Locked { path: path.to_owned(), file, identity, length: 0 });
            }
        }
        Err(Trouble::Local(anyhow!("another process is using journal {}", path.display())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Reads everything into `settled`, cuts off what follows the last whole line, and begins a file that is empty.
    pub fn replay(&mut self, settled: &mut Table, goes_on: GoesOn<'_>) -> Result<Replayed, Trouble> {
        let read = replay(&self.file, &self.path, settled, goes_on)?;
        self.length = read.whole;
        let length = self.file.metadata().map_err(|error| cannot(error, &self.path))?.len();
        if read.whole < length {
            self.cut().map_err(|error| cannot(error, &self.path))?;
        }
        if read.whole == 0 {
            // Once, so that a power failure leaves no file of NULs, which would be refused.
            self.append(HEADER).and_then(|()| self.file.sync_data()).map_err(|error| cannot(error, &self.path))?;
        }
        Ok(read)
    }

    /// Appends whole lines. What a full disk took of them is cut off again.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines).inspect_err(|_| {
            // If this fails too, the next run cuts it off.
            let _ = self.cut();
        })?;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Whether all that was written is still at its path.
    pub fn is_there(&self) -> bool {
        let is_it = |found: &Metadata| {
            (found.dev(), found.ino(), found.len()) == (self.identity.0, self.identity.1, self.length)
        };
        self.path.symlink_metadata().is_ok_and(|found| is_it(&found))
    }

    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.length)
    }

    /// Puts a file with `settled` and `puts` alone in its place, which is locked before it is there, and belongs to the
    /// same user and group with the same permissions.
    ///
    /// # Errors
    /// What the file system says, or nobody waits for it; the old file is still there, and still the journal.
    pub fn rewrite(&mut self, settled: &Table, puts: &Puts, goes_on: GoesOn<'_>) -> io::Result<()> {
        let old = self.file.metadata()?;
        let (file, (length, identity)) = Place::of(&self.path)?.replace(|file| {
            let new = file.metadata()?;
            if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                fchown(file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(old.permissions())?;
            exclude(file)?;
            Ok((write(&mut Waited(file, goes_on), settled, puts)?, (new.dev(), new.ino())))
        })?;
        *self = Locked { path: std::mem::take(&mut self.path), file, identity, length };
        Ok(())
    }
}

/// How the file is opened: for its owner alone, not through a link, and without waiting for what is no file.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.read(true).append(true).mode(0o600).custom_flags(flags.bits().cast_signed());
    options
}

/// The open file with its device and inode.
fn open(options: &OpenOptions, path: &Path) -> Result<(File, (u64, u64)), Trouble> {
    let file = options.open(path).map_err(|error| cannot(error, path))?;
    let found = file.metadata().map_err(|error| cannot(error, path))?;
    if !found.is_file() {
        return Err(Trouble::NotOne(anyhow!("journal {} is no regular file", path.display())));
    }
    Ok((file, (found.dev(), found.ino())))
}

fn lock(file: &File, path: &Path) -> Result<(), Trouble> {
    exclude(file).map_err(|errno| match errno {
        Errno::WOULDBLOCK => Trouble::Local(anyhow!("another fetchmany is using journal {}", path.display())),
        errno => cannot(errno.into(), path),
    })
}

/// Locks the file for this process alone, or says `WOULDBLOCK`.
fn exclude(file: &File) -> rustix::io::Result<()> {
    match retry_on_intr(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
        // A file system without locks is used without them.
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        locked => locked,
    }
}

/// Writes a whole journal; returns its length.
fn write(file: &mut impl Write, settled: &Table, puts: &Puts) -> io::Result<u64> {
    let mut length = 0;
    let mut lines = HEADER.to_vec();
    for (key, state) in settled.iter() {
        line::push(&mut lines, state, key);
        if lines.len() >= PIECE {
            file.write_all(&lines)?;
            length += lines.len() as u64;
            lines.clear();
        }
    }
    puts.push(&mut lines);
    file.write_all(&lines)?;
    Ok(length + lines.len() as u64)
}

/// Reads the whole of `file`, which is at `path`, into `settled`.
fn replay(file: &File, path: &Path, settled: &mut Table, goes_on: GoesOn<'_>) -> Result<Replayed, Trouble> {
    let length = file.metadata().map_err(|error| cannot(error, path))?.len();
    let count = jobs(file, length).map_err(|error| cannot(error, path))?;
    let read = read(&mut Waited(file, goes_on), &mut settled.fill(count)).map_err(|error| match error {
        _ if !goes_on() => stopped(path),
        Unreadable::Io(error) => cannot(error, path),
        Unreadable::Garbage => Trouble::NotOne(anyhow!("{} is no journal; it is left as it is", path.display())),
        Unreadable::Version(version) => Trouble::NotOne(anyhow!(
            "journal {} has format {version}, which this version does not know",
            path.display()
        )),
    })?;
    settled.shrink();
    Ok(read)
}

/// What became of a journal for which nobody waits.
pub fn stopped(path: &Path) -> Trouble {
    Trouble::Stopped(anyhow!("stopped while journal {} was read", path.display()))
}

/// A file that fails as soon as nobody waits for it.
struct Waited<'a>(&'a File, GoesOn<'a>);

impl Waited<'_> {
    fn file(&self) -> io::Result<&File> {
        if (self.1)() { Ok(self.0) } else { Err(io::Error::other("stopped")) }
    }
}

impl Read for Waited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(buffer)
    }
}

impl Write for Waited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// About how many jobs the lines are about, by a look at a few of them: those about bodies are beside others.
fn jobs(file: &File, length: u64) -> io::Result<usize> {
    let mut sample = vec![0; SAMPLE];
    let (mut bytes, mut lines) = (0, 0);
    for at in 0..SAMPLES {
        let read = file.read_at(&mut sample, length / SAMPLES * at)?;
        bytes += read as u64;
        lines += sample[..read].split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"put ")).count() as u64;
    }
    // What is no journal is not to be taken for a long one.
    let count = (lines * (length / bytes.max(1) + 1)).min(length / SHORTEST as u64);
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Why what was read is no journal.
#[derive(Debug)]
pub enum Unreadable {
    /// The kernel says so.
    Io(io::Error),
    /// It does not begin as one.
    Garbage,
    /// Of another format, whose number this is.
    Version(String),
}

/// Replays what `from` holds.
pub fn read(from: &mut impl Read, settled: &mut Filling<'_>) -> Result<Replayed, Unreadable> {
    let mut replayed = Replayed::default();
    let mut buffer = vec![0; PIECE];
    // Bytes at the front of the buffer that are no whole line yet, and whether that line is too long to be one.
    let (mut kept, mut hopeless) = (0, false);
    let mut offset = 0;
    loop {
        let count = match from.read(&mut buffer[kept..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Unreadable::Io(error)),
        };
        let end = kept + count;
        let mut start = 0;
        if replayed.whole == 0 {
            match header(&buffer[..end], count == 0)? {
                Some(length) => start = length,
                None if count == 0 => return Ok(replayed),
                None => {
                    kept = end;
                    continue;
                }
            }
            replayed.whole = start as u64;
        }
        while let Some(length) = buffer[start..end].iter().position(|byte| *byte == b'\n') {
            let line = &buffer[start..start + length];
            let is_tail = std::mem::take(&mut hopeless);
            match line::parse(line).filter(|_| !is_tail) {
                Some(Line::Is(state, key)) => {
                    settled.insert(key, state);
                    replayed.puts.settled(key);
                }
                Some(Line::Put { key, mark, path }) => replayed.puts.put(key, mark, path),
                None => replayed.damaged += 1,
            }
            start += length + 1;
            replayed.lines += 1;
            replayed.whole = offset + start as u64;
        }
        if count == 0 {
            return Ok(replayed);
        }
        if end - start > LONGEST {
            // Only whether it ends is of interest.
            hopeless = true;
            offset += (end - start) as u64;
            kept = 0;
        } else {
            buffer.copy_within(start..end, 0);
            kept = end - start;
        }
        offset += start as u64;
    }
}

/// The length of the first line; `None` when it is not whole, which at the end is as good as an empty file.
fn header(begin: &[u8], at_end: bool) -> Result<Option<usize>, Unreadable> {
    if begin.starts_with(HEADER) {
        return Ok(Some(HEADER.len()));
    }
    if HEADER.starts_with(begin) {
        return Ok(None);
    }
    match begin.strip_prefix(ANY_HEADER) {
        Some(version) if version.contains(&b'\n') || version.len() > LONGEST || at_end => {
            let version = version.split(|byte| *byte == b'\n').next().unwrap_or_default();
            Err(Unreadable::Version(String::from_utf8_lossy(&version[..version.len().min(16)]).into_owned()))
        }
        Some(_) => Ok(None),
        None => Err(Unreadable::Garbage),
    }
}

/// An error that the kernel gave: room can be made, anything else is for who wrote the command line.
fn cannot(error: io::Error, path: &Path) -> Trouble {
    use io::ErrorKind as Kind;
    let local = matches!(error.kind(), Kind::StorageFull | Kind::QuotaExceeded | Kind::ReadOnlyFilesystem)
        || matches!(Errno::from_io_error(&error), Some(Errno::IO | Errno::MFILE | Errno::NFILE | Errno::NOMEM));
    let link = Errno::from_io_error(&error) == Some(Errno::LOOP);
    let error = anyhow::Error::new(error);
    let error = if link { error.context("it is a symbolic link, or behind a circle of them") } else { error };
    let error = error.context(format!("open journal {}", path.display()));
    if local { Trouble::Local(error) } else { Trouble::NotOne(error) }
}
