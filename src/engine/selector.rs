//! libcurl's sockets on mio's `Poll`.
//!
//! epoll keeps descriptors, libcurl keeps sockets, and numbers are used again: a socket can be closed and its number
//! given to the next one between two calls. So each wish of libcurl becomes one `epoll_ctl` at once, inside the
//! callback, and every mismatch has its answer: adding what is there modifies it, modifying what is not there adds
//! it, and removing what is gone is fine. mio is always edge-triggered, and libcurl expects level-triggered events:
//! [`Selector::rearm`] after each action makes epoll report again what is still ready.

use std::cell::RefCell;
use std::io;
use std::os::fd::RawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::ffi::Watch;

/// A socket that could not be watched, and the transfer it belongs to (0: libcurl's own).
pub struct Unwatched {
    /// The transfer's token.
    pub token: usize,
    /// The socket.
    pub fd: RawFd,
    /// What `epoll_ctl` said.
    pub error: io::Error,
}

/// The sockets that are watched. A socket's mio token is its number.
pub struct Selector {
    registry: Registry,
    /// By descriptor.
    sockets: RefCell<Vec<Socket>>,
    unwatched: RefCell<Vec<Unwatched>>,
    connected: RefCell<Vec<usize>>,
}

/// What epoll was last told about a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    /// Nothing.
    Unknown,
    /// libcurl wants nothing of it at the moment: its connection is idle, or was closed. Taking it out and adding it
    /// again for the next transfer would be two system calls, so it stays in until it is closed; what epoll reports
    /// of it meanwhile is ignored.
    Idle,
    /// libcurl waits for this. The token is that of the transfer for which it last said so.
    Watched(Interest, usize),
}

impl Selector {
    /// Registers with `registry`.
    pub fn new(registry: Registry) -> Self {
        Selector { registry, sockets: RefCell::default(), unwatched: RefCell::default(), connected: RefCell::default() }
    }

    /// libcurl's socket callback. A refusal is kept for [`Selector::unwatched`].
    pub fn watch(&self, token: usize, fd: RawFd, watch: Watch) {
        let Ok(index) = usize::try_from(fd) else { return };
        let mut sockets = self.sockets.borrow_mut();
        if sockets.len() <= index {
            sockets.resize(index + 1, Socket::Unknown);
        }
        let interest = match watch {
            Watch::In => Interest::READABLE,
            Watch::Out => Interest::WRITABLE,
            Watch::InOut => Interest::READABLE | Interest::WRITABLE,
            Watch::Remove => {
                if sockets[index] != Socket::Unknown {
                    sockets[index] = Socket::Idle;
                }
                return;
            }
        };
        let done = match sockets[index] {
            Socket::Unknown => self.add(fd, interest),
            Socket::Idle | Socket::Watched(..) => self.modify(fd, interest),
        };
        // A connect is over when the socket can be written; what follows waits for the other end.
        if watch == Watch::In && matches!(sockets[index], Socket::Watched(Interest::WRITABLE, _)) {
            self.connected.borrow_mut().push(token);
        }
        sockets[index] = match done {
            Ok(()) => Socket::Watched(interest, token),
            Err(error) => {
                self.unwatched.borrow_mut().push(Unwatched { token, fd, error });
                Socket::Unknown
            }
        };
    }

    /// Makes epoll report `fd` again if it is still ready. For sockets of this selector only; anything else is
    /// left alone.
    pub fn rearm(&self, fd: RawFd) {
        if let Some(interest) = self.interest(fd) {
            // A socket that was closed meanwhile has nothing to report.
            let _ = self.registry.reregister(&mut SourceFd(&fd), Token(fd as usize), interest);
        }
    }

    /// Whether libcurl waits for something of `fd`.
    pub fn contains(&self, fd: RawFd) -> bool {
        self.interest(fd).is_some()
    }

    /// The sockets libcurl waits for, each with the token of the transfer for which it last said so.
    pub fn watched(&self) -> Vec<(RawFd, usize)> {
        let sockets = self.sockets.borrow();
        let watched = sockets.iter().enumerate().filter_map(|(fd, socket)| match socket {
            Socket::Watched(_, token) => Some((fd as RawFd, *token)),
            Socket::Unknown | Socket::Idle => None,
        });
        watched.collect()
    }

    /// The sockets that could not be watched since the last call.
    pub fn unwatched(&self) -> Vec<Unwatched> {
        self.unwatched.take()
    }

    /// The transfers whose socket came to be connected since the last call; some that only sent much are among them.
    pub fn connected(&self) -> Vec<usize> {
        self.connected.take()
    }

    /// Forgets every socket, after the multi handle they belonged to has closed them.
    pub fn clear(&self) {
        self.sockets.take();
        self.unwatched.take();
        self.connected.take();
    }

    fn interest(&self, fd: RawFd) -> Option<Interest> {
        let index = usize::try_from(fd).ok()?;
        match self.sockets.borrow().get(index) {
            Some(Socket::Watched(interest, _)) => Some(*interest),
            _ => None,
        }
    }

    fn add(&self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let token = Token(fd as usize);
        match self.registry.register(&mut SourceFd(&fd), token, interest) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.registry.reregister(&mut SourceFd(&fd), token, interest)
            }
            done => done,
        }
    }

    fn modify(&self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let token = Token(fd as usize);
        match self.registry.reregister(&mut SourceFd(&fd), token, interest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.registry.register(&mut SourceFd(&fd), token, interest)
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn selector() -> (mio::Poll, Selector) {
        let poll = mio::Poll::new().expect("epoll");
        let registry = poll.registry().try_clone().expect("dup");
        (poll, Selector::new(registry))
    }

    fn readable(poll: &mut mio::Poll) -> Vec<usize> {
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
        events.iter().filter(|event| event.is_readable()).map(|event| event.token().0).collect()
    }

    #[test]
    fn what_is_still_ready_is_reported_again_only_after_rearming() {
        let (mut poll, selector) = selector();
        let (mut ours, mut theirs) = UnixStream::pair().expect("pair");
        let fd = ours.as_raw_fd();
        selector.watch(1, fd, Watch::In);
        theirs.write_all(b"two bytes").expect("write");
        assert_eq!(readable(&mut poll), [fd as usize]);
        assert_eq!(readable(&mut poll), [] as [usize; 0], "edge-triggered");
        ours.read_exact(&mut [0; 1]).expect("read");
        selector.rearm(fd);
        assert_eq!(readable(&mut poll), [fd as usize]);
    }

    #[test]
    fn a_closed_descriptor_whose_number_is_used_again_is_added_anew() {
        let (mut poll, selector) = selector();
        let (ours, _theirs) = UnixStream::pair().expect("pair");
        let (again, mut other) = UnixStream::pair().expect("pair");
        let fd = ours.as_raw_fd();
        selector.watch(1, fd, Watch::In);
        // Closes the first socket, which epoll then forgets, and gives its number to the second.
        let mut number = std::os::fd::OwnedFd::from(ours);
        rustix::io::dup2(&again, &mut number).expect("dup2");
        selector.watch(2, fd, Watch::InOut);
        other.write_all(b"x").expect("write");
        assert_eq!(readable(&mut poll), [fd as usize]);
        assert!(selector.unwatched().is_empty());
    }

    #[test]
    fn a_descriptor_that_epoll_already_has_is_modified() {
        let (mut poll, selector) = selector();
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        let fd = ours.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(99), Interest::WRITABLE).expect("register");
        selector.watch(1, fd, Watch::In);
        theirs.write_all(b"x").expect("write");
        assert_eq!(readable(&mut poll), [fd as usize]);
        assert!(selector.unwatched().is_empty());
    }

    #[test]
    fn removing_a_closed_descriptor_is_fine_and_twice_too() {
        let (_poll, selector) = selector();
        let (ours, _theirs) = UnixStream::pair().expect("pair");
        let fd = ours.as_raw_fd();
        selector.watch(1, fd, Watch::In);
        drop(ours);
        selector.watch(1, fd, Watch::Remove);
        selector.watch(1, fd, Watch::Remove);
        assert!(!selector.contains(fd));
        assert!(selector.unwatched().is_empty());
    }

    #[test]
    fn an_idle_socket_is_watched_again_by_one_call_also_when_its_number_is_another_sockets_now() {
        let (mut poll, selector) = selector();
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        let fd = ours.as_raw_fd();
        selector.watch(1, fd, Watch::In);
        selector.watch(1, fd, Watch::Remove);
        selector.rearm(fd);
        theirs.write_all(b"x").expect("write");
        selector.watch(2, fd, Watch::In);
        assert_eq!(readable(&mut poll), [fd as usize], "what came while it was idle is reported");
        selector.watch(2, fd, Watch::Remove);
        let (again, mut other) = UnixStream::pair().expect("pair");
        let mut number = std::os::fd::OwnedFd::from(ours);
        rustix::io::dup2(&again, &mut number).expect("dup2");
        selector.watch(3, fd, Watch::In);
        other.write_all(b"x").expect("write");
        assert_eq!(readable(&mut poll), [fd as usize]);
        assert!(selector.unwatched().is_empty());
    }

    #[test]
    fn a_descriptor_that_cannot_be_watched_is_told_with_its_transfer() {
        let (_poll, selector) = selector();
        let file = std::fs::File::open("/proc/self/exe").expect("open"); // epoll refuses regular files: EPERM
        selector.watch(7, file.as_raw_fd(), Watch::In);
        let unwatched = selector.unwatched();
        assert_eq!(unwatched.iter().map(|one| (one.token, one.fd)).collect::<Vec<_>>(), [(7, file.as_raw_fd())]);
        assert!(!selector.contains(file.as_raw_fd()));
    }
}
