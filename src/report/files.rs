//! The files that results are kept in: `--results` and `--failed`.
//!
//! Opened at the start, so that a bad path fails before the work, and emptied only when the work begins: a run that
//! stops before that leaves them as they were. A file of whole lines stays one: when an earlier run was cut off in the
//! middle of a line, that line is ended before anything is appended.
//!
//! Must not know what a line says, but for the name that it may lack.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{FileType, OFlags, fstat, ftruncate};
use rustix::io::Errno;

use super::streams::Lost;
use crate::job::Job;
use crate::outlet::Outlet;

/// Who may read a file that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whomever the umask lets.
    Umask,
    /// The owner alone: its lines may hold credentials.
    Private,
}

/// What was in the file before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Goes.
    Truncated,
    /// Stays; lines are added.
    Kept,
}

/// How long a FIFO may be without a reader: `jq . <fifo & fetchmany --results fifo …` starts both at once.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const READER_INTERVAL: Duration = Duration::from_millis(10);

/// Device and inode of a file or FIFO: two paths that lead to the same one are one.
pub type Identity = (u64, u64);

/// The identity of what is open here; `None` for what keeps nothing and may be shared (`/dev/null`, a terminal).
pub fn identity(fd: BorrowedFd<'_>) -> Option<Identity> {
    let stat = fstat(fd).ok()?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    matches!(kind, FileType::RegularFile | FileType::Fifo).then_some((stat.st_dev, stat.st_ino))
}

/// A file of lines, written as far as it takes them.
#[derive(Debug)]
pub struct Lines {
    outlet: Outlet,
    /// Not emptied yet, though it is to be.
    stale: bool,
    path: PathBuf,
    access: Access,
    /// Its kind and path, for errors.
    name: String,
}

impl Lines {
    /// Opens or makes the file at `path` and leaves in it what is there; `kind` says in errors what it is
    /// (`results file`).
    ///
    /// # Errors
    /// When it cannot be opened for writing, or is a FIFO that nobody reads; the error names kind and path.
    pub fn open(kind: &str, path: &Path, access: Access, before: Before) -> anyhow::Result<Lines> {
        let name = format!("{kind} {}", path.display());
        let outlet = open(path, access, before, READER_PATIENCE).with_context(|| format!("open {name}"))?;
        Ok(Lines { outlet, stale: before == Before::Truncated, path: path.to_owned(), access, name })
    }

    /// Opens or makes the file at the same path once more, and goes on at its end: the one that was open may have been
    /// moved away. What that one has not taken goes into the new one.
    ///
    /// # Errors
    /// When it cannot be opened; the error names kind and path, and the file that is open stays.
    pub fn reopen(&mut self) -> anyhow::Result<()> {
        let mut outlet = open(&self.path, self.access, Before::Kept, Duration::ZERO)
            .with_context(|| format!("open {} again", self.name))?;
        // What fails here, fails again in the new one or is over.
        let _ = self.outlet.flush();
        outlet.push(self.outlet.queued());
        self.outlet = outlet;
        Ok(())
    }

    /// Empties the file, when that was asked for. Once, before the first line.
    ///
    /// # Errors
    /// What the file system says; the error names the file.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        let fd = self.outlet.fd();
        let regular = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
        if std::mem::take(&mut self.stale) && fstat(fd).is_ok_and(|stat| regular(stat.st_mode)) {
            ftruncate(fd, 0).with_context(|| format!("empty {}", self.name))?;
        }
        Ok(())
    }

    /// Which file it is.
    pub fn identity(&self) -> Option<Identity> {
        identity(self.outlet.fd())
    }

    /// Its kind and path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues a piece of a line or more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.outlet.push(bytes);
    }

    /// Writes the queue, once a turn.
    ///
    /// # Errors
    /// When the file takes no more; the error names it.
    pub fn flush(&mut self) -> Result<(), Lost> {
        self.outlet.flush().map_err(|error| Lost::Failed(anyhow!(error).context(format!("write {}", self.name))))
    }

    /// Bytes that a slow reader (the file may be a FIFO) has not taken.
    pub fn pending(&self) -> usize {
        self.outlet.pending()
    }
}

/// The line that asks for the same job again, under the same name: on its own it would get a name that another URL has
/// by then, and be skipped.
pub fn again(job: &Job) -> Vec<u8> {
    let line = job.input_line.as_slice();
    let mut again = line.to_vec();
    match (&job.name, &job.particulars) {
        (Some(name), None) if !line.contains(&b'\t') => again.extend([b"\t", name.as_bytes()].concat()),
        (Some(name), Some(particulars)) if !particulars.is_named => {
            let end = line.iter().rposition(|byte| *byte == b'}').unwrap_or(line.len());
            let out = format!(",\"out\":{}}}", serde_json::Value::from(name.as_str()));
            again.splice(end.., out.into_bytes());
        }
        _ => {}
    }
    again.push(b'\n');
    again
}

/// Opens or makes the file at `path`; a FIFO's reader has `patience` to come.
fn open(path: &Path, access: Access, before: Before, patience: Duration) -> anyhow::Result<Outlet> {
    let mode = match access {
        Access::Umask => 0o666,
        Access::Private => 0o600,
    };
    let torn = before == Before::Kept && ends_in_a_line(path);
    let mut options = OpenOptions::new();
    options.create(true).append(before == Before::Kept).write(true).truncate(false).mode(mode);
    // Without it, opening a FIFO waits for its reader, deaf to signals (fifo(7)).
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = open_for_a_reader(&options, path, patience)?;
    let mut outlet = Outlet::owned(file.into())?;
    if torn {
        outlet.push(b"\n");
    }
    Ok(outlet)
}

fn open_for_a_reader(options: &OpenOptions, path: &Path, patience: Duration) -> anyhow::Result<File> {
    let give_up = Instant::now() + patience;
    loop {
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                if Instant::now() >= give_up {
                    bail!("nobody reads it");
                }
                std::thread::sleep(READER_INTERVAL);
            }
            opened => return Ok(opened?),
        }
    }
}

/// Whether the regular file at `path` ends without a line end. A file that cannot be read is taken to be whole.
fn ends_in_a_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        if !path.metadata()?.is_file() {
            return Ok(b'\n');
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn write(path: &Path, access: Access, before: Before, line: &[u8]) {
        let mut lines = Lines::open("results file", path, access, before).unwrap();
        lines.begin().unwrap();
        lines.push(line);
        lines.flush().unwrap();
        assert_eq!(lines.pending(), 0);
    }

    #[test]
    fn a_file_is_truncated_or_continued_after_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let table: [(&str, Before, &str); 5] = [
            ("", Before::Kept, "new\n"),
            ("old\n", Before::Truncated, "new\n"),
            ("old\n", Before::Kept, "old\nnew\n"),
            ("{\"torn", Before::Kept, "{\"torn\nnew\n"),
            ("{\"torn", Before::Truncated, "new\n"),
        ];
        for (old, before, expected) in table {
            fs::write(&path, old).unwrap();
            write(&path, Access::Umask, before, b"new\n");
            assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{old:?} {before:?}");
        }
    }

    #[test]
    fn a_private_file_is_made_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        for before in [Before::Truncated, Before::Kept] {
            let path = dir.path().join(format!("{before:?}"));
            write(&path, Access::Private, before, b"x\n");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one_and_loses_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("r"), dir.path().join("r.1"));
        let mut lines = Lines::open("failed file", &path, Access::Private, Before::Kept).unwrap();
        lines.push(b"first\n");
        fs::rename(&path, &moved).unwrap();
        lines.reopen().unwrap();
        lines.push(b"second\n");
        lines.flush().unwrap();
        // Still there: it is continued.
        lines.reopen().unwrap();
        lines.push(b"third\n");
        lines.flush().unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "first\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\nthird\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = lines.reopen().unwrap_err();
        assert_eq!(error.to_string(), format!("open failed file {} again", path.display()));
        lines.push(b"into the one that is open\n");
        lines.flush().unwrap();
    }

    #[test]
    fn errors_name_the_file() {
        let missing = Path::new("/nonexistent/r.json");
        let error = Lines::open("results file", missing, Access::Umask, Before::Kept).unwrap_err();
        assert_eq!(error.to_string(), "open results file /nonexistent/r.json");
        let mut full = Lines::open("failed file", Path::new("/dev/full"), Access::Umask, Before::Truncated).unwrap();
        full.push(b"x\n");
        let Err(Lost::Failed(error)) = full.flush() else { panic!("/dev/full takes nothing") };
        assert!(format!("{error:#}").starts_with("write failed file /dev/full: No space left"), "{error:#}");
    }
}
