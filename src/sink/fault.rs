//! What went wrong on this machine, in plain words: from an error number to a [`Failure`].

use rustix::io::Errno;

use crate::job::{Failure, Lack};
use crate::text::without_error_numbers;

/// A failed step of writing a body.
#[derive(Debug)]
pub struct Fault {
    failure: Failure,
    errno: Option<Errno>,
}

impl Fault {
    /// `doing` something with `what` met `errno`.
    pub fn system(doing: &str, what: &str, errno: Errno) -> Fault {
        let message = format!("{doing} {what}: {}", reason(errno));
        let failure = Failure::local(message);
        let failure = match lack(errno) {
            Some(lack) => failure.shortage(lack),
            None if is_full(errno) => failure.no_space(),
            // Another process is at it.
            None if errno == Errno::WOULDBLOCK => failure.passing(),
            None => failure,
        };
        Fault { failure, errno: Some(errno) }
    }

    /// Another process is writing `what`.
    pub fn busy(what: &str) -> Fault {
        let failure = Failure::local(format!("another process is writing {what}"));
        Fault { failure, errno: Some(Errno::WOULDBLOCK) }
    }

    /// Something other than the kernel is in the way.
    pub fn local(message: String) -> Fault {
        Fault { failure: Failure::local(message), errno: None }
    }

    /// The error number, when the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// Whether the disk takes nothing more: it, or the user's share of it, is full, or it is read-only.
    pub fn is_of_shut_disk(&self) -> bool {
        self.errno.is_some_and(|errno| is_full(errno) || errno == Errno::ROFS)
    }

    /// Whether another process is at it.
    pub fn is_busy(&self) -> bool {
        self.errno == Some(Errno::WOULDBLOCK)
    }

    /// Whether it is for want of what comes back as other transfers end.
    pub fn is_passing(&self) -> bool {
        self.errno.is_some_and(|errno| lack(errno).is_some())
    }

    /// What the job is told.
    pub fn into_failure(self) -> Failure {
        self.failure
    }
}

/// What the error is for want of, when that comes back as other transfers end.
pub fn lack(errno: Errno) -> Option<Lack> {
    match errno {
        Errno::MFILE | Errno::NFILE => Some(Lack::Descriptors),
        Errno::ADDRNOTAVAIL => Some(Lack::Ports),
        Errno::NOBUFS | Errno::NOMEM => Some(Lack::Memory),
        _ => None,
    }
}

fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT)
}

/// The system's words without its number.
pub fn reason(error: impl Into<std::io::Error>) -> String {
    without_error_numbers(&error.into().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Persistence;

    #[test]
    fn a_fault_names_the_step_the_thing_and_the_reason() {
        let full = Fault::system("write", "a/b.txt", Errno::NOSPC);
        assert!(full.is_of_shut_disk());
        assert_eq!(full.into_failure(), Failure::local("write a/b.txt: No space left on device").no_space());
        let shortage = Fault::system("open", "x", Errno::MFILE);
        assert!(!shortage.is_of_shut_disk());
        assert_eq!(shortage.into_failure().persistence, Persistence::Shortage(Lack::Descriptors));
        let read_only = Fault::system("create", "x", Errno::ROFS);
        assert!(read_only.is_of_shut_disk());
        assert_eq!(read_only.into_failure().persistence, Persistence::Lasting);
    }
}
