//! Standard output, standard error or an output file, written without ever waiting for whoever reads it.
//!
//! `O_NONBLOCK` belongs to the open file description, which standard output shares with the shell and with every
//! other process in the pipeline, so it must not be set there. A pipe or terminal is opened once more through
//! `/proc/self/fd` instead, which gives a description of our own. Where that cannot be done (a socket, a terminal of
//! another user, no `/proc`) `poll` is asked before each small write. A regular file never makes a writer wait and
//! is written as it was inherited: the offset, or `O_APPEND`, is the shell's (`{ a; b; } > log`).
//!
//! Must not know what the bytes mean, nor which room they come from.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, open};
use rustix::termios::isatty;

/// Most bytes handed to a pipe or socket that `poll` called writable: Linux then guarantees room for one page.
const POLLED_CHUNK: usize = 4096;

/// The same for a terminal, where `poll` promises room for a character only and drivers have room for a few hundred.
const POLLED_TERMINAL_CHUNK: usize = 256;

/// An empty queue that grew beyond this many bytes gives its memory back.
const QUEUE_KEPT: usize = 256 * 1024;

/// A descriptor that is written as far as it takes bytes now, with a queue for the rest.
#[derive(Debug)]
pub struct Outlet {
    descriptor: Descriptor,
    kind: Kind,
    way: Way,
    queue: Vec<u8>,
    /// Bytes of `queue` that went out already.
    written: usize,
}

#[derive(Debug)]
enum Descriptor {
    Own(OwnedFd),
    Inherited(BorrowedFd<'static>),
}

/// What is at the other end, as far as waiting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Somebody reads it, perhaps slowly; can be waited on.
    Pipe,
    Terminal,
    Socket,
    /// A regular file, `/dev/null`, `/dev/full`: never makes a writer wait, and cannot be watched by epoll.
    Ready,
}

/// How a write is kept from waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It never waits.
    Direct,
    /// `poll` is asked first.
    Polled,
}

impl Outlet {
    /// Standard output. A closed one shows at the first write.
    pub fn stdout() -> Outlet {
        Outlet::inherited(rustix::stdio::stdout())
    }

    /// Standard error. A closed one shows at the first write.
    pub fn stderr() -> Outlet {
        Outlet::inherited(rustix::stdio::stderr())
    }

    /// A descriptor that nobody shares; it is made non-blocking where that means something.
    ///
    /// # Errors
    /// What `fcntl` says.
    pub fn owned(fd: OwnedFd) -> io::Result<Outlet> {
        let kind = Kind::of(fd.as_fd());
        if kind != Kind::Ready {
            fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Outlet::new(Descriptor::Own(fd), kind, Way::Direct))
    }

    fn inherited(fd: BorrowedFd<'static>) -> Outlet {
        let kind = Kind::of(fd);
        if kind == Kind::Ready || fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)) {
            return Outlet::new(Descriptor::Inherited(fd), kind, Way::Direct);
        }
        match reopen(fd) {
            Ok(own) => Outlet::new(Descriptor::Own(own), kind, Way::Direct),
            Err(_) => Outlet::new(Descriptor::Inherited(fd), kind, Way::Polled),
        }
    }

    fn new(descriptor: Descriptor, kind: Kind, way: Way) -> Outlet {
        Outlet { descriptor, kind, way, queue: Vec::new(), written: 0 }
    }

    /// Writes what is taken now, after whatever is queued, and returns how many bytes of `data` that were.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is taken now; otherwise the error of `write(2)` (`BrokenPipe`, `StorageFull`, …).
    pub fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if self.pending() > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.write_now(data)
    }

    /// Queues `data` behind what is queued. Nothing is written before [`Outlet::flush`].
    pub fn push(&mut self, data: &[u8]) {
        self.queue.extend_from_slice(data);
    }

    /// Writes what is taken now of the queue; that some of it stays is not an error.
    ///
    /// # Errors
    /// The error of `write(2)`, `WouldBlock` excepted. The queue is kept, so that the next call meets the same error.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.pending() > 0 {
            match self.write_now(self.queued()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.pending() == 0 {
            self.clear();
        } else if self.written > self.queue.len() / 2 {
            self.queue.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Writes the queue, waiting for the reader, but no longer than `patience` in all. For the last words of a
    /// program, never inside its loop.
    ///
    /// # Errors
    /// As [`Outlet::flush`].
    pub fn drain(&mut self, patience: Duration) -> io::Result<()> {
        const WAITS: u32 = 8;
        for _ in 0..WAITS {
            self.flush()?;
            if self.pending() == 0 {
                break;
            }
            // An interrupted or refused wait is only a shorter one.
            let _ = writable(self.fd(), patience / WAITS);
        }
        self.flush()
    }

    /// Forgets what is queued.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.written = 0;
        if self.queue.capacity() > QUEUE_KEPT {
            self.queue.shrink_to(QUEUE_KEPT);
        }
    }

    /// What is queued and not written yet.
    pub fn queued(&self) -> &[u8] {
        &self.queue[self.written..]
    }

    /// Bytes queued and not written yet.
    pub fn pending(&self) -> usize {
        self.queue.len() - self.written
    }

    /// The descriptor that is written.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.descriptor {
            Descriptor::Own(fd) => fd.as_fd(),
            Descriptor::Inherited(fd) => *fd,
        }
    }

    /// The descriptor, when it can be waited on for writability. `None` for what is always ready: epoll refuses
    /// regular files and `/dev/null` (EPERM), and they never leave anything pending.
    pub fn waitable(&self) -> Option<BorrowedFd<'_>> {
        (self.kind != Kind::Ready).then(|| self.fd())
    }

    /// Whether a person may be looking at it.
    pub fn is_terminal(&self) -> bool {
        self.kind == Kind::Terminal
    }

    /// Whether both end in the same pipe, terminal or file (`2>&1`), so that lines written to either must be queued
    /// in one place to stay whole.
    pub fn same_stream(&self, other: &Outlet) -> bool {
        match (fstat(self.fd()), fstat(other.fd())) {
            // One terminal has several names, but one device number.
            (Ok(a), Ok(b)) if self.is_terminal() && other.is_terminal() => a.st_rdev == b.st_rdev,
            (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
            _ => false,
        }
    }

    fn write_now(&self, data: &[u8]) -> io::Result<usize> {
        let data = match self.way {
            Way::Direct => data,
            Way::Polled if !writable(self.fd(), Duration::ZERO)? => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Way::Polled if self.kind == Kind::Terminal => &data[..data.len().min(POLLED_TERMINAL_CHUNK)],
            Way::Polled => &data[..data.len().min(POLLED_CHUNK)],
        };
        loop {
            match rustix::io::write(self.fd(), data) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl Kind {
    fn of(fd: BorrowedFd<'_>) -> Kind {
        // A closed descriptor counts as ready: its write fails at once.
        match fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Fifo) => Kind::Pipe,
            Ok(FileType::Socket) => Kind::Socket,
            Ok(FileType::CharacterDevice) if isatty(fd) => Kind::Terminal,
            _ => Kind::Ready,
        }
    }
}

fn reopen(fd: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a write would be taken, or would fail, within `patience`.
fn writable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let patience =
        Timespec { tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: patience.subsec_nanos().into() };
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    match poll(&mut fds, Some(&patience)) {
        Ok(_) => Ok(!fds[0].revents().is_empty()),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    const MANY: usize = 300_000; // more than a pipe's 64 KiB

    fn blocking_pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC).unwrap()
    }

    fn read_some(reader: &OwnedFd) -> usize {
        rustix::io::read(reader, &mut [0; 65536][..]).unwrap()
    }

    /// Both ways to write a pipe without waiting.
    fn ways(writer: OwnedFd) -> [Outlet; 2] {
        let polled = Outlet::new(Descriptor::Own(writer.try_clone().unwrap()), Kind::Pipe, Way::Polled);
        let reopened = Outlet::new(Descriptor::Own(reopen(writer.as_fd()).unwrap()), Kind::Pipe, Way::Direct);
        [polled, reopened]
    }

    #[test]
    fn a_pipe_that_nobody_reads_takes_what_it_can_and_keeps_the_rest_queued() {
        for which in 0..2 {
            let (reader, writer) = blocking_pipe();
            let [polled, reopened] = ways(writer);
            let mut outlet = if which == 0 { polled } else { reopened };
            outlet.push(&vec![b'x'; MANY]);
            outlet.flush().unwrap();
            assert!((1..MANY).contains(&outlet.pending()), "way {which}: {}", outlet.pending());
            let error = outlet.write(b"y").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "nothing may overtake the queue");
            let mut seen = 0;
            while outlet.pending() > 0 {
                seen += read_some(&reader);
                outlet.flush().unwrap();
            }
            assert_eq!(outlet.write(b"y").unwrap(), 1);
            drop(outlet);
            while seen < MANY + 1 {
                seen += read_some(&reader);
            }
        }
    }

    #[test]
    fn reopening_leaves_the_flags_of_the_shared_description_alone() {
        let (_reader, writer) = blocking_pipe();
        let own = reopen(writer.as_fd()).unwrap();
        assert!(fcntl_getfl(&own).unwrap().contains(OFlags::NONBLOCK));
        assert!(!fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_reader_that_went_away_is_a_broken_pipe_and_stays_one() {
        let (reader, writer) = blocking_pipe();
        let mut outlet = Outlet::owned(writer).unwrap();
        drop(reader);
        outlet.push(b"x");
        for _ in 0..2 {
            assert_eq!(outlet.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
        outlet.clear();
        assert_eq!(outlet.pending(), 0);
        outlet.flush().unwrap();
    }

    #[test]
    fn a_full_device_says_so_and_cannot_be_waited_on() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut outlet = Outlet::owned(full.into()).unwrap();
        assert!(outlet.waitable().is_none());
        assert_eq!(outlet.write(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn the_same_pipe_is_one_stream_and_two_pipes_are_two() {
        let (_reader, writer) = blocking_pipe();
        let (_other_reader, other) = blocking_pipe();
        let [a, b] = ways(writer);
        assert!(a.same_stream(&b) && a.waitable().is_some());
        assert!(!a.same_stream(&Outlet::owned(other).unwrap()));
    }

    #[test]
    fn drain_gives_up_on_a_reader_that_does_not_read() {
        let (_reader, writer) = blocking_pipe();
        let mut outlet = Outlet::owned(writer).unwrap();
        outlet.push(&vec![b'x'; MANY]);
        outlet.drain(Duration::from_millis(8)).unwrap();
        assert!(outlet.pending() > 0);
    }

    #[test]
    fn a_large_queue_gives_its_memory_back_when_it_is_empty() {
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let mut outlet = Outlet::owned(null.into()).unwrap();
        outlet.push(&vec![b'x'; 4 * QUEUE_KEPT]);
        outlet.flush().unwrap();
        assert!(outlet.queue.capacity() <= QUEUE_KEPT);
    }
}
