//! Opening what a list is read from, and reading it without ever blocking.
//!
//! Regular files are always ready and cannot be watched. FIFOs, pipes, sockets and terminals are read until they
//! would block; then their descriptor is to be watched. Knows nothing of lines.

use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::lines::Condition;
use super::shown::refused;

/// Endings of files that lists are kept in, more likely than a host's.
const LISTS: [&str; 5] = [".txt", ".list", ".lst", ".csv", ".urls"];

/// What one attempt to read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, more than none.
    Bytes(usize),
    /// Nothing for now.
    NotNow,
    /// The input has ended.
    End,
}

/// An open input.
#[derive(Debug)]
pub struct Reader {
    descriptor: Descriptor,
    kind: Kind,
    label: Arc<str>,
    size: Option<u64>,
}

#[derive(Debug)]
enum Descriptor {
    Own(OwnedFd),
    /// Standard input itself. Never closed: its number would be given to the next file that is opened.
    Standard(BorrowedFd<'static>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A regular file, or nothing at all (`/dev/null`): never blocks.
    File,
    /// Something that may have to be waited for.
    Stream { end: End, blocking: Blocking },
}

/// What a read of no bytes means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end.
    AtZero,
    /// The end, once a writer has been there: a FIFO opened without waiting for one also reads as nothing before
    /// the first (fifo(7)).
    AtHangUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocking {
    /// `O_NONBLOCK` is set on a description of our own.
    Never,
    /// It belongs to others too, and setting the flag would change it for them: ask before each read.
    Ask,
}

impl Reader {
    /// Opens the list at `path`. A FIFO is opened without waiting for a writer.
    pub fn open(path: &Path, label: Arc<str>) -> anyhow::Result<Reader> {
        // What cannot be opened may have been meant as a URL, and have a password.
        let context = || format!("open input {}", refused(label.as_bytes(), Condition::Whole));
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let descriptor = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NXIO) => bail!("{}: it is a socket or has no device behind it", context()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) if instead(&label).is_some() => {
                bail!("{}: no such file{}", context(), instead(&label).unwrap_or_default())
            }
            opened => opened.with_context(context)?,
        };
        let end = End::AtHangUp;
        let (kind, size) = examine(descriptor.as_fd(), end, Blocking::Never).with_context(context)?;
        Ok(Reader { descriptor: Descriptor::Own(descriptor), kind, label, size })
    }

    /// Takes over standard input, or another descriptor that belongs to others as well.
    pub fn standard(descriptor: BorrowedFd<'static>, label: Arc<str>) -> anyhow::Result<Reader> {
        let context = || "open standard input";
        let mode = rustix::fs::fcntl_getfl(descriptor).with_context(context)?;
        if mode & OFlags::RWMODE == OFlags::WRONLY {
            bail!("{}: it is open for writing only", context());
        }
        let (kind, size) = examine(descriptor, End::AtZero, Blocking::Ask).with_context(context)?;
        if kind == Kind::File {
            // Not opened again: it is to be read from where it stands.
            return Ok(Reader { descriptor: Descriptor::Standard(descriptor), kind, label, size });
        }
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let (descriptor, blocking) = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(own) => (Descriptor::Own(own), Blocking::Never),
            // A socket, another user's pipe, or no /proc.
            Err(_) => (Descriptor::Standard(descriptor), Blocking::Ask),
        };
        Ok(Reader { descriptor, kind: Kind::Stream { end: End::AtZero, blocking }, label, size })
    }

    /// The input as records name it.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Bytes from where it stood when it was opened; `None` for a stream.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Device and inode, see [`identity`].
    pub fn identity(&self) -> Option<(u64, u64)> {
        identity(self.descriptor.as_fd())
    }

    /// What to watch after [`Read::NotNow`]; `None` for what is always ready.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self.kind {
            Kind::File => None,
            Kind::Stream { .. } => Some(self.descriptor.as_fd()),
        }
    }

    /// Reads what is there, at most all of `buffer`, which must not be empty.
    pub fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<Read> {
        let descriptor = self.descriptor.as_fd();
        if let Kind::Stream { blocking: Blocking::Ask, .. } = self.kind
            && events(descriptor).with_context(|| self.reading())?.is_empty()
        {
            return Ok(Read::NotNow);
        }
        loop {
            match retry_on_intr(|| rustix::io::read(descriptor, &mut *buffer)) {
                Ok(0) => {}
                Ok(count) => return Ok(Read::Bytes(count)),
                Err(Errno::AGAIN) => return Ok(Read::NotNow),
                Err(error) => return Err(error).with_context(|| self.reading()),
            }
            if !matches!(self.kind, Kind::Stream { end: End::AtHangUp, .. }) {
                return Ok(Read::End);
            }
            let events = events(descriptor).with_context(|| self.reading())?;
            if events.contains(PollFlags::IN) {
                // A writer came between the read and the question.
                continue;
            }
            // Linux reports the hang-up only of a writer that came after the FIFO was opened.
            return Ok(if events.contains(PollFlags::HUP) { Read::End } else { Read::NotNow });
        }
    }

    fn reading(&self) -> String {
        format!("read input {}", self.label)
    }
}

impl Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Own(descriptor) => descriptor.as_fd(),
            Descriptor::Standard(descriptor) => descriptor.as_fd(),
        }
    }
}

/// What to write instead of a name of no file that was perhaps meant as something else.
fn instead(text: &str) -> Option<String> {
    if text.starts_with(['{', '[']) {
        return Some(
            "; --json prints results as JSON, and JSON input gives requests a body (--input-format)".to_owned(),
        );
    }
    let has_user = text.split_once('@').is_some_and(|(user, _)| user.contains(':'));
    match may_be_a_url(text) {
        true => Some(format!(" (to fetch it, write https://{text})")),
        // Not repeated: it may be a password.
        false if has_user || text.starts_with("http") && text.contains(":/") => {
            Some(" (a URL begins with https:// or http://)".to_owned())
        }
        false => None,
    }
}

/// Whether a name of no file begins like the name of a host. One with a user is not repeated in a hint.
fn may_be_a_url(text: &str) -> bool {
    let (host, rest) = text.split_once('/').unwrap_or((text, ""));
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_host = name.contains('.') || name == "localhost" || (port.is_some() && !rest.is_empty());
    let is_list = rest.is_empty() && LISTS.iter().any(|ending| name.ends_with(ending));
    is_host && name.split('.').all(is_name) && port.is_none_or(|port| port.parse::<u16>().is_ok()) && !is_list
}

/// Device and inode of a file or FIFO; `None` for what anybody may share, as a terminal or `/dev/null`.
pub fn identity(descriptor: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(descriptor).ok()?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    matches!(kind, FileType::RegularFile | FileType::Fifo).then_some((stat.st_dev, stat.st_ino))
}

/// What can be read at once, and whether the writers are gone.
fn events(descriptor: BorrowedFd<'_>) -> rustix::io::Result<PollFlags> {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    retry_on_intr(|| rustix::event::poll(&mut polled, Some(&at_once)))?;
    Ok(polled[0].revents())
}

/// The kind of an open descriptor and its size, or why it is no list.
fn examine(descriptor: BorrowedFd<'_>, end: End, blocking: Blocking) -> anyhow::Result<(Kind, Option<u64>)> {
    let stat = rustix::fs::fstat(descriptor)?;
    let stream = Kind::Stream { end, blocking };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let offset = rustix::fs::tell(descriptor)?;
            // Some files open and cannot be read (/proc/self/mem): better known now than in the middle of a run.
            retry_on_intr(|| rustix::io::pread(descriptor, &mut [0; 1], offset))?;
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            Ok((Kind::File, Some(size.saturating_sub(offset))))
        }
        FileType::Fifo => Ok((stream, None)),
        FileType::Socket => Ok((Kind::Stream { end: End::AtZero, blocking }, None)),
        FileType::CharacterDevice if is_null(&stat) => Ok((Kind::File, Some(0))),
        FileType::CharacterDevice if descriptor.is_terminal() => {
            Ok((Kind::Stream { end: End::AtZero, blocking }, None))
        }
        // /dev/zero is one endless line.
        FileType::CharacterDevice | FileType::BlockDevice => bail!("it is a device"),
        FileType::Directory => bail!("it is a directory"),
        FileType::Symlink | FileType::Unknown => bail!("it is no file, FIFO, socket or terminal"),
    }
}

fn is_null(stat: &Stat) -> bool {
    rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == stat.st_rdev)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, SeekFrom, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use rustix::fs::{CWD, mkfifoat};

    use super::*;

    fn open(path: &Path) -> anyhow::Result<Reader> {
        Reader::open(path, path.to_string_lossy().into())
    }

    /// As standard input is: open for as long as the process lives.
    fn standard(descriptor: impl Into<OwnedFd>) -> anyhow::Result<Reader> {
        let leaked: &'static OwnedFd = Box::leak(Box::new(descriptor.into()));
        Reader::standard(leaked.as_fd(), "-".into())
    }

    fn read(reader: &mut Reader) -> (Read, Vec<u8>) {
        let mut buffer = [0; 64];
        let outcome = reader.read(&mut buffer).expect("readable");
        let count = if let Read::Bytes(count) = outcome { count } else { 0 };
        (outcome, buffer[..count].to_vec())
    }

    #[test]
    fn what_cannot_be_a_list_is_refused_at_the_start_and_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        let missing = directory.path().join("missing");
        for (path, reason) in [
            (directory.path(), "directory"),
            (&missing, "No such file"),
            (&socket, "socket"),
            (Path::new("/dev/zero"), "device"),
            (Path::new("/dev/urandom"), "device"),
            (Path::new("/proc/self/mem"), "error"),
        ] {
            let error = format!("{:#}", open(path).expect_err("no list"));
            assert!(error.contains(&*path.to_string_lossy()) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn an_empty_device_and_a_file_are_always_ready() {
        let mut null = open(Path::new("/dev/null")).expect("opens");
        assert_eq!(read(&mut null).0, Read::End);
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(b"http://h/").expect("written");
        let mut reader = open(file.path()).expect("opens");
        assert!(reader.fd().is_none());
        assert_eq!(reader.size(), Some(9));
        assert_eq!(read(&mut reader), (Read::Bytes(9), b"http://h/".to_vec()));
        assert_eq!(read(&mut reader).0, Read::End);
    }

    #[test]
    fn a_fifo_without_a_writer_is_waited_for_and_ends_with_its_last_writer() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
        let mut reader = open(&path).expect("opens without a writer");
        assert!(reader.fd().is_some());
        assert_eq!(read(&mut reader).0, Read::NotNow);
        let mut first = File::options().write(true).open(&path).expect("a writer");
        assert_eq!(read(&mut reader).0, Read::NotNow);
        first.write_all(b"a").expect("written");
        assert_eq!(read(&mut reader), (Read::Bytes(1), b"a".to_vec()));
        let mut second = File::options().write(true).open(&path).expect("another writer");
        drop(first);
        assert_eq!(read(&mut reader).0, Read::NotNow);
        second.write_all(b"b").expect("written");
        drop(second);
        assert_eq!(read(&mut reader), (Read::Bytes(1), b"b".to_vec()));
        assert_eq!(read(&mut reader).0, Read::End);
    }

    #[test]
    fn a_writer_that_came_and_went_in_silence_ends_a_fifo() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
        let mut reader = open(&path).expect("opens");
        drop(File::options().write(true).open(&path).expect("a writer"));
        assert_eq!(read(&mut reader).0, Read::End);
    }

    #[test]
    fn a_process_substitution_is_read_to_its_end_even_when_its_writer_has_left() {
        let (output, input) = rustix::pipe::pipe().expect("a pipe");
        rustix::io::write(&input, b"http://h/\n").expect("written");
        drop(input);
        let mut reader = open(Path::new(&format!("/dev/fd/{}", output.as_raw_fd()))).expect("opens");
        assert_eq!(read(&mut reader).0, Read::Bytes(10));
        assert_eq!(read(&mut reader).0, Read::End);
    }

    #[test]
    fn standard_input_is_read_without_touching_the_flags_of_its_owner() {
        let (output, input) = rustix::pipe::pipe().expect("a pipe");
        let other = output.try_clone().expect("a second descriptor of the same description");
        let mut reader = standard(output).expect("opens");
        assert_eq!(read(&mut reader).0, Read::NotNow);
        rustix::io::write(&input, b"abc").expect("written");
        assert_eq!(read(&mut reader), (Read::Bytes(3), b"abc".to_vec()));
        assert_eq!(read(&mut reader).0, Read::NotNow);
        let flags = rustix::fs::fcntl_getfl(&other).expect("flags");
        assert!(!flags.contains(OFlags::NONBLOCK));
        drop(input);
        assert_eq!(read(&mut reader).0, Read::End);
    }

    #[test]
    fn a_socket_as_standard_input_is_asked_before_it_is_read() {
        let (mut theirs, ours) = UnixStream::pair().expect("sockets");
        let mut reader = standard(ours).expect("opens");
        assert!(matches!(reader.kind, Kind::Stream { blocking: Blocking::Ask, .. }));
        assert_eq!(read(&mut reader).0, Read::NotNow);
        theirs.write_all(b"abc").expect("written");
        assert_eq!(read(&mut reader), (Read::Bytes(3), b"abc".to_vec()));
        assert_eq!(read(&mut reader).0, Read::NotNow);
        drop(theirs);
        assert_eq!(read(&mut reader).0, Read::End);
    }

    #[test]
    fn a_fifo_as_standard_input_ends_although_its_writer_left_before_it_was_opened_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let shell = rustix::fs::open(&path, flags, Mode::empty()).expect("as a shell opens it");
        let mut writer = File::options().write(true).open(&path).expect("a writer");
        writer.write_all(b"a").expect("written");
        drop(writer);
        let mut reader = standard(shell).expect("opens");
        assert_eq!(read(&mut reader).0, Read::Bytes(1));
        assert_eq!(read(&mut reader).0, Read::End);
    }

    #[test]
    fn a_file_as_standard_input_is_read_from_where_it_stands() {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(b"header\nhttp://h/\n").expect("written");
        file.seek(SeekFrom::Start(7)).expect("moved");
        let mut reader = standard(file).expect("opens");
        assert_eq!(reader.size(), Some(10));
        assert_eq!(read(&mut reader).1, b"http://h/\n");
    }

    #[test]
    fn standard_input_that_cannot_be_read_is_refused() {
        let (_output, input) = rustix::pipe::pipe().expect("a pipe");
        assert!(standard(input).is_err());
        assert!(standard(File::open("/").expect("a directory")).is_err());
        assert!(standard(File::open("/dev/zero").expect("a device")).is_err());
    }
}
