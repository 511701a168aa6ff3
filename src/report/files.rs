//! The files that results are kept in: `--results` and `--failed`.
//!
//! Opened at the start, so that a bad path fails before the work, and emptied only when the work begins: a run that
//! stops before that leaves them as they were. A file of whole lines stays one: when an earlier run was cut off in the
//! middle of a line, what is there of it is made harmless before anything is appended.
//!
//! Must not know what a line says, but for the name that it may lack.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{FileType, OFlags, fstat, ftruncate};
use rustix::io::Errno;
use serde::de::IgnoredAny;

use super::streams::Lost;
use crate::job::Job;
use crate::outlet::Outlet;

/// What a file's lines are. It decides who may read a file that is made, and what becomes of the beginning of a line that
/// nobody will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Records in JSON: one that is torn is cut off.
    Records,
    /// Lines of a list: they may hold credentials, so they are for their owner alone, and the beginning of a URL may be
    /// another URL, so it becomes a comment.
    Jobs,
    /// What only the user knows; a line is ended.
    Text,
}

/// A longer last line is not looked at; it is ended.
const LONGEST_TORN: u64 = 1 << 20;

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
    content: Content,
    /// Its kind and path, for errors.
    name: String,
}

impl Lines {
    /// Opens or makes the file at `path` and leaves in it what is there; `kind` says in errors what it is
    /// (`results file`).
    ///
    /// # Errors
    /// When it cannot be opened for writing, or is a FIFO that nobody reads; the error names kind and path.
    pub fn open(kind: &str, path: &Path, content: Content, before: Before) -> anyhow::Result<Lines> {
        let name = format!("{kind} {}", path.display());
        let outlet = open(path, content, before, READER_PATIENCE).with_context(|| format!("open {name}"))?;
        Ok(Lines { outlet, stale: before == Before::Truncated, path: path.to_owned(), content, name })
    }

    /// Opens or makes the file at the same path once more, and goes on at its end: the one that was open may have been
    /// moved away. What that one has not taken goes into the new one.
    ///
    /// # Errors
    /// When it cannot be opened; the error names kind and path, and the file that is open stays.
    pub fn reopen(&mut self) -> anyhow::Result<()> {
        let mut outlet = open(&self.path, self.content, Before::Kept, Duration::ZERO)
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
fn open(path: &Path, content: Content, before: Before, patience: Duration) -> anyhow::Result<Outlet> {
    let mode = match content {
        Content::Records | Content::Text => 0o666,
        Content::Jobs => 0o600,
    };
    if before == Before::Kept {
        // Where it cannot be mended it cannot be written either, or is no regular file.
        let _ = mend(path, content);
    }
    let mut options = OpenOptions::new();
    options.create(true).append(before == Before::Kept).write(true).truncate(false).mode(mode);
    // Without it, opening a FIFO waits for its reader, deaf to signals (fifo(7)).
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = open_for_a_reader(&options, path, patience)?;
    Ok(Outlet::owned(file.into())?)
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

/// Has the regular file at `path` end with a line end, in the way that its `content` asks for.
fn mend(path: &Path, content: Content) -> io::Result<()> {
    let length = path.metadata().ok().filter(std::fs::Metadata::is_file).map_or(0, |found| found.len());
    if length == 0 {
        return Ok(());
    }
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let looked_at = length.min(LONGEST_TORN);
    let mut end = vec![0; looked_at as usize];
    file.read_exact_at(&mut end, length - looked_at)?;
    let torn = match end.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => &end[at + 1..],
        None if looked_at == length => &end[..],
        None => return file.write_all_at(b"\n", length),
    };
    let from = length - torn.len() as u64;
    let is_record = torn.starts_with(b"{");
    match content {
        _ if torn.is_empty() => Ok(()),
        Content::Records | Content::Jobs if is_record && serde_json::from_slice::<IgnoredAny>(torn).is_err() => {
            file.set_len(from)
        }
        Content::Jobs if !is_record && !torn.starts_with(b"#") => {
            file.write_all_at(&[b"# cut off: ", torn, b"\n"].concat(), from)
        }
        Content::Records | Content::Jobs | Content::Text => file.write_all_at(b"\n", length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn write(path: &Path, content: Content, before: Before, line: &[u8]) {
        let mut lines = Lines::open("results file", path, content, before).unwrap();
        lines.begin().unwrap();
        lines.push(line);
        lines.flush().unwrap();
        assert_eq!(lines.pending(), 0);
    }

    #[test]
    fn a_file_is_truncated_or_continued_after_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let table: [(&str, Content, Before, &str); 13] = [
            ("", Content::Records, Before::Kept, "new\n"),
            ("old\n", Content::Records, Before::Truncated, "new\n"),
            ("old\n", Content::Records, Before::Kept, "old\nnew\n"),
            ("{}\n{\"torn", Content::Records, Before::Kept, "{}\nnew\n"),
            ("{\"torn", Content::Records, Before::Kept, "new\n"),
            ("{\"whole\":1}", Content::Records, Before::Kept, "{\"whole\":1}\nnew\n"),
            ("theirs", Content::Records, Before::Kept, "theirs\nnew\n"),
            ("{\"torn", Content::Records, Before::Truncated, "new\n"),
            ("a\nhttp://h/to", Content::Jobs, Before::Kept, "a\n# cut off: http://h/to\nnew\n"),
            ("# a", Content::Jobs, Before::Kept, "# a\nnew\n"),
            ("{\"url\":\"http://h/to", Content::Jobs, Before::Kept, "new\n"),
            ("{\"url\":1}", Content::Jobs, Before::Kept, "{\"url\":1}\nnew\n"),
            ("{torn", Content::Text, Before::Kept, "{torn\nnew\n"),
        ];
        for (old, content, before, expected) in table {
            fs::write(&path, old).unwrap();
            write(&path, content, before, b"new\n");
            assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{old:?} {content:?} {before:?}");
        }
        // Too long to be a line of ours.
        fs::write(&path, vec![b'x'; 3 << 20]).unwrap();
        write(&path, Content::Jobs, Before::Kept, b"new\n");
        assert_eq!(fs::read(&path).unwrap()[3 << 20..], *b"\nnew\n");
    }

    #[test]
    fn a_private_file_is_made_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        for before in [Before::Truncated, Before::Kept] {
            let path = dir.path().join(format!("{before:?}"));
            write(&path, Content::Jobs, before, b"x\n");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one_and_loses_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("r"), dir.path().join("r.1"));
        let mut lines = Lines::open("failed file", &path, Content::Jobs, Before::Kept).unwrap();
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
        let error = Lines::open("results file", missing, Content::Records, Before::Kept).unwrap_err();
        assert_eq!(error.to_string(), "open results file /nonexistent/r.json");
        let mut full = Lines::open("failed file", Path::new("/dev/full"), Content::Records, Before::Truncated).unwrap();
        full.push(b"x\n");
        let Err(Lost::Failed(error)) = full.flush() else { panic!("/dev/full takes nothing") };
        assert!(format!("{error:#}").starts_with("write failed file /dev/full: No space left"), "{error:#}");
    }
}
