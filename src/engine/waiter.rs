//! Waiting: mio's `Poll` for libcurl's sockets and for the descriptors of other rooms.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

/// Events taken from the kernel in one turn.
pub const EVENTS: usize = 1024;
/// The mio tokens of [`Wake`]s; descriptors are far below.
const WAKE_BASE: usize = usize::MAX - 8;

/// Descriptors of other rooms that the engine waits on as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The source can be read.
    Source,
    /// Standard output can be written.
    Stdout,
    /// The disk took what was waited for.
    Disk,
    /// A signal came that ends the program.
    Interrupt,
    /// A signal came that asks for something else.
    Request,
}

impl Wake {
    const ALL: [Wake; 5] = [Wake::Source, Wake::Stdout, Wake::Disk, Wake::Interrupt, Wake::Request];

    fn token(self) -> Token {
        Token(WAKE_BASE + self as usize)
    }
}

/// What a wait brought.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// The clock, read once, after the wait.
    pub now: Instant,
    /// The source can be read.
    pub source: bool,
    /// Standard output can be written.
    pub stdout: bool,
    /// A signal came.
    pub signal: bool,
    /// The kernel may have more: there was no room for all that happened.
    pub full: bool,
}

/// A socket of libcurl's on which something happened.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The socket.
    pub fd: RawFd,
    /// Readable, or closed by the peer.
    pub input: bool,
    /// Writable.
    pub output: bool,
    /// In error.
    pub error: bool,
    /// Closed by the peer.
    pub closed: bool,
}

/// The event queue.
pub struct Waiter {
    poll: Poll,
    events: Events,
    watched: [Option<RawFd>; Wake::ALL.len()],
}

impl Waiter {
    /// An empty event queue.
    pub fn new() -> anyhow::Result<Waiter> {
        let poll = Poll::new().context("create the event queue")?;
        Ok(Waiter { poll, events: Events::with_capacity(EVENTS), watched: [None; Wake::ALL.len()] })
    }

    /// Where sockets are registered, with their number as token.
    pub fn registry(&self) -> anyhow::Result<Registry> {
        self.poll.registry().try_clone().context("create the event queue")
    }

    /// Has `wake` told whenever `fd` becomes ready, and at once when it is ready now.
    pub fn watch(&mut self, wake: Wake, fd: BorrowedFd<'_>) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let interest = match wake {
            Wake::Stdout => Interest::WRITABLE,
            Wake::Source | Wake::Disk | Wake::Interrupt | Wake::Request => Interest::READABLE,
        };
        // The descriptor that was watched before is not taken out: it is closed, which took it out, and its number may
        // be another's by now; or it is open and wakes the loop once more than needed.
        let registry = self.poll.registry();
        if self.watched[wake as usize].replace(fd) == Some(fd) {
            match registry.reregister(&mut SourceFd(&fd), wake.token(), interest) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => return done,
            }
        }
        match registry.register(&mut SourceFd(&fd), wake.token(), interest) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                registry.reregister(&mut SourceFd(&fd), wake.token(), interest)
            }
            done => done,
        }
    }

    /// Waits for at most `timeout`, and puts the sockets on which something happened into `ready`.
    pub fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> anyhow::Result<Turn> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            waited => waited.context("wait for events")?,
        }
        let mut turn = Turn { now: Instant::now(), source: false, stdout: false, signal: false, full: false };
        ready.clear();
        let mut count = 0;
        for event in &self.events {
            count += 1;
            match event.token().0.checked_sub(WAKE_BASE).and_then(|index| Wake::ALL.get(index)) {
                Some(Wake::Source) => turn.source = true,
                Some(Wake::Stdout) => turn.stdout = true,
                Some(Wake::Interrupt | Wake::Request) => turn.signal = true,
                Some(Wake::Disk) => {} // the next turn sees
                None => ready.push(Ready {
                    fd: event.token().0 as RawFd,
                    input: event.is_readable() || event.is_read_closed(),
                    output: event.is_writable() || event.is_write_closed(),
                    error: event.is_error(),
                    closed: event.is_read_closed(),
                }),
            }
        }
        turn.full = count == self.events.capacity();
        Ok(turn)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn watching_again_tells_again_what_is_still_ready() {
        let mut waiter = Waiter::new().expect("event queue");
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        theirs.write_all(b"x").expect("write");
        let mut ready = Vec::new();
        for _ in 0..2 {
            waiter.watch(Wake::Source, ours.as_fd()).expect("watched");
            let turn = waiter.wait(Some(Duration::ZERO), &mut ready).expect("waited");
            assert!(turn.source && !turn.stdout && !turn.signal);
            let turn = waiter.wait(Some(Duration::ZERO), &mut ready).expect("waited");
            assert!(!turn.source, "edge-triggered");
        }
        assert!(ready.is_empty());
    }

    #[test]
    fn another_descriptor_takes_the_place_of_a_closed_one() {
        let mut waiter = Waiter::new().expect("event queue");
        let (first, _kept) = UnixStream::pair().expect("pair");
        let (second, mut theirs) = UnixStream::pair().expect("pair");
        waiter.watch(Wake::Source, first.as_fd()).expect("watched");
        // The second under the number of the first.
        let mut number = std::os::fd::OwnedFd::from(first);
        rustix::io::dup2(&second, &mut number).expect("dup2");
        drop(second);
        waiter.watch(Wake::Source, number.as_fd()).expect("watched");
        theirs.write_all(b"x").expect("write");
        assert!(waiter.wait(Some(Duration::ZERO), &mut Vec::new()).expect("waited").source);
    }
}
