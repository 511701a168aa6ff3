//! What an output directory can do, found out before anything is fetched.
//!
//! Must not know what is kept in it.

use std::os::fd::OwnedFd;

use rustix::fs::{Access, AtFlags, Dir, OFlags};
use rustix::io::{Errno, Result};

use super::sys;

/// Entries of the output directory looked at when it is opened, a few milliseconds' worth.
const ENTRIES_LOOKED_AT: usize = 10_000;

/// A name that no file has, also in the other case, and that the next run removes should this one be killed.
const PROBE: &str = ".fetchmany-case.part";

/// File systems that report a full disk only when the data are flushed: NFS, SMB, CIFS, SMB2, AFS (`statfs(2)`).
const REMOTE: [u32; 5] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x5346_414f];

/// How a file that has no name gets one, from the best way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linking {
    /// `linkat` with `AT_EMPTY_PATH`: since Linux 6.10 for everybody, before that with `CAP_DAC_READ_SEARCH`.
    Descriptor,
    /// `linkat` through `/proc/self/fd`.
    Proc,
    /// Not at all: the file system has no such files, or they cannot be linked.
    Refused,
}

/// Whether partial files may lie in the output directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partials {
    /// They cannot.
    None,
    /// They may.
    Possible,
}

/// Proves that files can be made in `root`, without leaving one, and finds out how; also such a file.
pub fn linking(root: &OwnedFd) -> Result<(Linking, Option<OwnedFd>)> {
    match sys::create_private_unnamed(root) {
        Ok(file) => Ok((Linking::Descriptor, Some(file))),
        // EOPNOTSUPP from the file system; the others from kernels before O_TMPFILE (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            rustix::fs::accessat(root, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?;
            Ok((Linking::Refused, None))
        }
        Err(error) => Err(error),
    }
}

/// Whether a file is found under its name in the other case. Some file systems do that in some directories alone, so
/// only trying tells. Also the file that was made for it.
pub fn folds_case(root: &OwnedFd) -> Result<(bool, Option<OwnedFd>)> {
    let probe = match sys::create_private(root, PROBE) {
        // A killed run has left it.
        Err(Errno::EXIST) => None,
        made => Some(made?),
    };
    let found = rustix::fs::accessat(root, PROBE.to_ascii_uppercase(), Access::EXISTS, AtFlags::empty()).is_ok();
    match sys::unlink(root, PROBE) {
        // Another process at the same point has removed it.
        Ok(()) | Err(Errno::NOENT) => Ok((found, probe)),
        Err(error) => Err(error),
    }
}

/// Whether the file system of `root` tells of a full disk only when the data are flushed.
pub fn is_remote(root: &OwnedFd) -> bool {
    rustix::fs::fstatfs(root).is_ok_and(|stat| REMOTE.contains(&(stat.f_type as u32)))
}

/// Looks for partial files that earlier runs left; in a large directory they are always possible.
pub fn partials(root: &OwnedFd) -> Result<Partials> {
    let listing = sys::open(root, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    for (at, entry) in Dir::new(listing)?.enumerate() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if at >= ENTRIES_LOOKED_AT || name.ends_with(b".part") || name.ends_with(b".part.meta") {
            return Ok(Partials::Possible);
        }
    }
    Ok(Partials::None)
}
