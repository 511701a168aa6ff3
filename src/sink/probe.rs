//! What an output directory can do, found out before anything is fetched.
//!
//! Must not know what is kept in it.

use std::os::fd::OwnedFd;

use rustix::fs::{Access, AtFlags, FileType, Stat};
use rustix::io::{Errno, Result};

use super::names::PART;
use super::ours::Ours;
use super::sys;

/// Entries of the output directory looked at when it is opened, a few milliseconds' worth.
const ENTRIES_LOOKED_AT: usize = 10_000;

/// What the name of a probe begins with; it ends like that of a partial file.
const BEGIN: &str = ".fetchmany-case-";

/// How often another is made because somebody has taken it away.
const TRIES: u32 = 8;

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

/// What was found out.
#[derive(Debug)]
pub struct Found {
    /// How a file gets its name.
    pub linking: Linking,
    /// Whether there are partial files.
    pub partials: Partials,
    /// Whether names that differ only in case are one name.
    pub folds_case: bool,
    /// What files of ours look like.
    pub ours: Ours,
}

/// Proves that files can be made in `root`, without leaving one, and finds out the rest in the same way.
///
/// # Errors
/// They cannot.
pub fn by_trying(root: &OwnedFd) -> Result<Found> {
    let (linking, unnamed) = linking(root)?;
    let (folds_case, named) = folds_case(root).map_or((false, None), |(folds, file)| (folds, Some(file)));
    let ours = Ours::by(unnamed.or(named).as_ref());
    let partials = partials(root, ours).unwrap_or(Partials::Possible);
    Ok(Found { linking, partials, folds_case, ours })
}

/// The same for a run that makes nothing, as far as it can be seen from outside.
///
/// # Errors
/// `root` is not to be written to.
pub fn by_looking(root: &OwnedFd) -> Result<Found> {
    is_writable(root)?;
    let folds_case = finds_other_case(root).unwrap_or(false);
    Ok(Found { linking: Linking::Refused, partials: Partials::Possible, folds_case, ours: Ours::by(None) })
}

fn is_writable(root: &OwnedFd) -> Result<()> {
    rustix::fs::accessat(root, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())
}

/// Finds out how files in `root` get their names; also such a file.
fn linking(root: &OwnedFd) -> Result<(Linking, Option<OwnedFd>)> {
    match sys::create_private_unnamed(root) {
        Ok(file) => Ok((Linking::Descriptor, Some(file))),
        // EOPNOTSUPP from the file system; the others from kernels before O_TMPFILE (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            is_writable(root)?;
            Ok((Linking::Refused, None))
        }
        Err(error) => Err(error),
    }
}

/// Whether a file is found under its name in the other case. Some file systems do that in some directories alone, so
/// only trying tells; it is tried in `root`, from which the directories that are made below have it. Also the file that
/// was made for it.
fn folds_case(root: &OwnedFd) -> Result<(bool, OwnedFd)> {
    for _ in 0..TRIES {
        let name = unheard_of();
        let probe = sys::create_private(root, &name)?;
        // Where there are no locks, or not yet, another process takes it for one that a kill has left.
        let _ = sys::lock(&probe);
        let found = rustix::fs::accessat(root, name.to_ascii_uppercase(), Access::EXISTS, AtFlags::empty()).is_ok();
        match sys::unlink(root, &name) {
            // That it was not found says something only if it was there.
            Err(Errno::NOENT) => {}
            unlinked => return unlinked.map(|()| (found, probe)),
        }
    }
    Err(Errno::AGAIN)
}

/// Whether the first entry of `root` that can tell is found under its name in the other case.
fn finds_other_case(root: &OwnedFd) -> Result<bool> {
    for entry in sys::entries(root)?.take(ENTRIES_LOOKED_AT) {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let upper = name.to_ascii_uppercase();
        let other = if upper == name { name.to_ascii_lowercase() } else { upper };
        // Of several names of one file each may be its own.
        let stat = sys::stat(root, name)?;
        if other != name && (stat.st_nlink == 1 || FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
            let is_it = |found: Stat| (found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino);
            return Ok(sys::stat(root, &other).is_ok_and(is_it));
        }
    }
    Ok(false)
}

/// A name for a probe that no file has, nor another process gives one, whichever machine it is on.
fn unheard_of() -> String {
    format!("{BEGIN}{:016x}{PART}", fastrand::u64(..))
}

/// Whether a probe may be called so.
fn is_probe(name: &str) -> bool {
    let random = name.strip_prefix(BEGIN).and_then(|name| name.strip_suffix(PART));
    random.is_some_and(|random| random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Takes away a probe that a kill has left.
fn sweep(root: &OwnedFd, name: &str, ours: Ours) {
    if let Ok(file) = sys::open_to_lock(root, name)
        && let Ok(stat) = sys::stat_open(&file)
        && ours.keeps(&stat)
        && stat.st_size == 0
        && sys::lock(&file) != Err(Errno::WOULDBLOCK)
    {
        // One that stays does no harm.
        let _ = sys::unlink(root, name);
    }
}

/// Whether the file system of `root` tells of a full disk only when the data are flushed.
pub fn is_remote(root: &OwnedFd) -> bool {
    rustix::fs::fstatfs(root).is_ok_and(|stat| REMOTE.contains(&(stat.f_type as u32)))
}

/// Looks for partial files that earlier runs left; in a large directory they are always possible. Probes of theirs are
/// taken away.
fn partials(root: &OwnedFd, ours: Ours) -> Result<Partials> {
    let mut partials = Partials::None;
    for (at, entry) in sys::entries(root)?.enumerate() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if let Some(probe) = std::str::from_utf8(name).ok().filter(|name| is_probe(name)) {
            sweep(root, probe, ours);
        } else if name.ends_with(b".part") || name.ends_with(b".part.meta") {
            partials = Partials::Possible;
        }
        if at >= ENTRIES_LOOKED_AT {
            return Ok(Partials::Possible);
        }
    }
    Ok(partials)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, OFlags};

    use super::*;

    #[test]
    fn names_of_one_file_in_both_cases_do_not_make_them_one_name() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = sys::open_directory(CWD, dir.path(), OFlags::empty())?;
        fs::write(dir.path().join("a"), "")?;
        assert!(!finds_other_case(&root)?);
        fs::hard_link(dir.path().join("a"), dir.path().join("A"))?;
        assert!(!finds_other_case(&root)?);
        fs::write(dir.path().join("B"), "")?;
        fs::write(dir.path().join("b"), "")?;
        assert!(!by_looking(&root)?.folds_case);
        Ok(())
    }

    #[test]
    fn probes_that_a_kill_has_left_are_taken_away_and_nothing_else() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = sys::open_directory(CWD, dir.path(), OFlags::empty())?;
        let ours = Ours::by(None);
        let (left, full, held) = (unheard_of(), unheard_of(), unheard_of());
        fs::write(dir.path().join(".fetchmany-case.part"), "mine")?;
        fs::write(dir.path().join(".fetchmany-case-mine.part"), "")?;
        fs::write(dir.path().join(&full), "mine")?;
        drop(sys::create_private(&root, &left)?);
        let running = sys::create_private(&root, &held)?;
        sys::lock(&running)?;
        assert!(!folds_case(&root)?.0);
        assert_eq!(partials(&root, ours)?, Partials::Possible);
        let is_there = |name: &str| dir.path().join(name).exists();
        assert!(is_there(".fetchmany-case.part") && is_there(".fetchmany-case-mine.part"));
        assert!(is_there(&full) && is_there(&held) && !is_there(&left));
        assert_eq!(fs::read_dir(dir.path())?.count(), 4);
        Ok(())
    }
}
