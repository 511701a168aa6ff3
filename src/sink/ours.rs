//! What a file of ours looks like in the output directory, so that none is taken for ours that somebody else has put there.
//!
//! Found out by making one: where files have the owner and the mode of the mount, or root is nobody, ours have them, too.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};

use super::sys;

/// Write permission for others than the owner.
const OTHERS: u32 = 0o022;

/// What may be done with a file, and by whom.
const PERMISSIONS: u32 = 0o777;

/// The most that a private file of ours permits where files have their own modes.
const PRIVATE: u32 = 0o600;

/// The marks of our files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours {
    owner: u32,
    /// What a private file permits.
    private: u32,
}

impl Ours {
    /// As of `probe`, a private file that this process has just made; without it, as they should be.
    pub fn by(probe: Option<&OwnedFd>) -> Ours {
        match probe.and_then(|probe| sys::stat_open(probe).ok()) {
            Some(stat) => Ours { owner: stat.st_uid, private: stat.st_mode & PERMISSIONS | PRIVATE },
            None => Ours { owner: rustix::process::geteuid().as_raw(), private: PRIVATE },
        }
    }

    /// Whether its owner is who owns what we make.
    pub fn owns(&self, stat: &Stat) -> bool {
        stat.st_uid == self.owner
    }

    /// What says that it is no file of ours, to follow its name; it may have other names.
    pub fn objection(&self, stat: &Stat) -> Option<&'static str> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            Some("is no regular file")
        } else if !self.owns(stat) {
            Some("belongs to another user")
        } else if stat.st_mode & OTHERS & !self.private != 0 {
            Some("can be written by others")
        } else {
            None
        }
    }

    /// Whether nobody else can have written it or has another name for it.
    pub fn keeps(&self, stat: &Stat) -> bool {
        self.objection(stat).is_none() && stat.st_nlink == 1
    }

    /// Whether it looks like a private file that we have made.
    pub fn is_private(&self, stat: &Stat) -> bool {
        self.keeps(stat) && stat.st_mode & PERMISSIONS & !self.private == 0
    }
}

/// The permissions that a file must have kept to be continued.
pub fn for_others(mode: u32) -> u32 {
    mode & OTHERS
}
