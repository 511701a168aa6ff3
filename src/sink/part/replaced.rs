//! What a published file has replaced, while it may yet come back.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};

use crate::sink::sys::{self, identity};

/// What has the name of a partial file until it is known whether it is needed again.
#[derive(Debug)]
pub struct Replaced {
    identity: (u64, u64),
    /// It is locked like a partial file, so that no other process clears it as one. `None`: it is no file, or cannot be.
    _held: Option<OwnedFd>,
}

impl Replaced {
    /// What has the name `name`, of which this was found out, before it is replaced.
    pub fn hold(dir: &OwnedFd, name: &str, stat: &Stat) -> Replaced {
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let opened = is_file.then(|| sys::open_to_lock(dir, name).ok()).flatten();
        let held = opened.filter(|file| sys::lock(file).is_ok());
        Replaced { identity: identity(stat), _held: held }
    }

    /// Whether it has the name `part`.
    pub fn is_at(&self, dir: &OwnedFd, part: &str) -> bool {
        sys::stat(dir, part).is_ok_and(|now| identity(&now) == self.identity)
    }
}
