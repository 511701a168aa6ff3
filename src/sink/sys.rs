//! System calls as this room makes them: repeated when a signal interrupts them, descriptors closed on exec and
//! never 0, 1 or 2 (somebody may have started us with those closed, and writes to them blindly).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags, SeekFrom, Stat, StatxFlags, Timespec, Timestamps,
    UTIME_OMIT, XattrFlags,
};
use rustix::io::{Errno, Result, retry_on_intr};

use super::ours::for_others;

/// What new files may at most be; the umask is taken off.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// What new files for their owner alone may at most be.
const PRIVATE_MODE: Mode = Mode::from_raw_mode(0o600);

/// What new directories may at most be; the umask is taken off.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

/// How a file is opened that may be something else: it is not followed, waited for or made our terminal.
pub const CAREFULLY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// `openat`. Files it creates have [`FILE_MODE`].
pub fn open(dir: impl AsFd, name: impl rustix::path::Arg + Copy, flags: OFlags) -> Result<OwnedFd> {
    above_standard(retry_on_intr(|| rustix::fs::openat(&dir, name, flags | OFlags::CLOEXEC, FILE_MODE))?)
}

/// The same of a file that is to be locked: for writing, where that is allowed, since some file systems lock nothing else.
pub fn open_to_lock(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    match open(&dir, name, OFlags::RDWR | CAREFULLY) {
        Err(Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => open(&dir, name, OFlags::RDONLY | CAREFULLY),
        opened => opened,
    }
}

/// Whether the open file can be written.
pub fn is_writable(file: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::RDWR))
}

/// A new file for its owner alone; `EXIST` when the name is taken, be it by a link.
pub fn create_private(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    above_standard(retry_on_intr(|| rustix::fs::openat(&dir, name, flags, PRIVATE_MODE))?)
}

/// The same without a name.
pub fn create_private_unnamed(dir: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    above_standard(retry_on_intr(|| rustix::fs::openat(&dir, ".", flags, PRIVATE_MODE))?)
}

/// A directory that is only walked through and written into, not listed.
pub fn open_directory(dir: impl AsFd, name: impl rustix::path::Arg + Copy, flags: OFlags) -> Result<OwnedFd> {
    open(dir, name, flags | OFlags::PATH | OFlags::DIRECTORY)
}

/// A file in `dir` that has no name yet.
pub fn open_unnamed(dir: impl AsFd) -> Result<OwnedFd> {
    open(dir, ".", OFlags::TMPFILE | OFlags::RDWR)
}

/// The same descriptor with a number above those of the standard streams.
pub fn above_standard(fd: OwnedFd) -> Result<OwnedFd> {
    match fd.as_raw_fd() {
        0..=2 => rustix::io::fcntl_dupfd_cloexec(&fd, 3),
        _ => Ok(fd),
    }
}

/// Writes all of `data`, whatever the kernel takes at a time.
pub fn write_all(fd: impl AsFd, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        match retry_on_intr(|| rustix::io::write(&fd, data))? {
            // Not for regular files, but a loop must not depend on that.
            0 => return Err(Errno::IO),
            written => data = data.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Writes all of `data` at `offset`; the position of the file stays.
pub fn write_all_at(fd: impl AsFd, mut data: &[u8], mut offset: u64) -> Result<()> {
    while !data.is_empty() {
        match retry_on_intr(|| rustix::io::pwrite(&fd, data, offset))? {
            0 => return Err(Errno::IO),
            written => {
                data = data.get(written..).unwrap_or_default();
                offset += written as u64;
            }
        }
    }
    Ok(())
}

/// Reads once at `offset`.
pub fn read_at(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    retry_on_intr(|| rustix::io::pread(&fd, &mut *buffer, offset))
}

/// What `name` is, not following a link.
pub fn stat(dir: impl AsFd, name: &str) -> Result<Stat> {
    retry_on_intr(|| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW))
}

/// What is open.
pub fn stat_open(fd: impl AsFd) -> Result<Stat> {
    retry_on_intr(|| rustix::fs::fstat(&fd))
}

/// Device and inode, by which a file is known under all its names.
pub fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Makes a directory; that it is there already is not an error.
pub fn make_directory(dir: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<()> {
    match retry_on_intr(|| rustix::fs::mkdirat(&dir, name, DIRECTORY_MODE)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Makes a directory and those above it, where they are missing. After each `made` is told where.
pub fn make_directories(path: &Path, made: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    for path in missing.into_iter().rev() {
        make_directory(CWD, path)?;
        made(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Whether an error from naming an unnamed file says that this does not work here, not that no file would.
pub fn links_nothing(errno: Errno) -> bool {
    use Errno as E;
    matches!(errno, E::NOENT | E::PERM | E::ACCESS | E::XDEV | E::OPNOTSUPP | E::INVAL | E::NOSYS | E::LOOP | E::MLINK)
}

/// Gives the file `from` in `source` the further name `to` in `target`.
pub fn link(source: impl AsFd, from: &str, target: impl AsFd, to: &str, flags: AtFlags) -> Result<()> {
    retry_on_intr(|| rustix::fs::linkat(&source, from, &target, to, flags))
}

/// Renames within one directory.
pub fn rename(dir: impl AsFd, from: &str, to: &str, flags: RenameFlags) -> Result<()> {
    match flags.is_empty() {
        true => retry_on_intr(|| rustix::fs::renameat(&dir, from, &dir, to)),
        false => retry_on_intr(|| rustix::fs::renameat_with(&dir, from, &dir, to, flags)),
    }
}

/// Removes a name of a file.
pub fn unlink(dir: impl AsFd, name: &str) -> Result<()> {
    retry_on_intr(|| rustix::fs::unlinkat(&dir, name, AtFlags::empty()))
}

/// Cuts a file off at `length`, and writes on from there.
pub fn continue_at(fd: impl AsFd, length: u64) -> Result<()> {
    retry_on_intr(|| rustix::fs::ftruncate(&fd, length))?;
    rustix::fs::seek(&fd, SeekFrom::Start(length)).map(drop)
}

/// Where the data of a file that is not empty end, or its first hole is. Moves its position.
pub fn first_hole(fd: impl AsFd) -> Result<u64> {
    rustix::fs::seek(&fd, SeekFrom::Hole(0))
}

/// What is in a directory.
pub fn entries(dir: impl AsFd) -> Result<Dir> {
    Dir::new(open(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// Whether one of the names in a directory is as `is_it` says.
pub fn has_entry(dir: impl AsFd, is_it: impl Fn(&str) -> bool) -> bool {
    let Ok(entries) = entries(dir) else { return false };
    entries.map_while(Result::ok).any(|entry| entry.file_name().to_str().is_ok_and(&is_it))
}

/// Locks the open file for this description, or says `WOULDBLOCK`.
pub fn lock(fd: impl AsFd) -> Result<()> {
    retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive))
}

/// Waits until the data are where the file system keeps them.
pub fn flush(fd: impl AsFd) -> Result<()> {
    retry_on_intr(|| rustix::fs::fdatasync(&fd))
}

/// Waits until what is in the directory is where the file system keeps it.
pub fn flush_directory(dir: impl AsFd) -> Result<()> {
    // It is open only to walk through.
    let open = open(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    retry_on_intr(|| rustix::fs::fsync(&open))
}

/// The extended attribute `name`, of at most `longest` bytes.
pub fn attribute(fd: impl AsFd, name: &str, longest: usize) -> Result<Vec<u8>> {
    let mut value = vec![0; longest];
    let length = retry_on_intr(|| rustix::fs::fgetxattr(&fd, name, value.as_mut_slice()))?;
    value.truncate(length);
    Ok(value)
}

/// Sets the extended attribute `name`.
pub fn set_attribute(fd: impl AsFd, name: &str, value: &[u8]) -> Result<()> {
    retry_on_intr(|| rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty()))
}

/// What a file keeps when it gets another name, and no other file has: a number that is used again comes with another
/// time, as does another content.
pub fn mark(stat: &Stat) -> String {
    format!("{:x}-{:x}-{:x}.{:x}", stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
}

/// What a file keeps while it is written, renamed and published, and no other file has: a number that is used again comes
/// with another time of birth. Its permissions for others are part of it, since whom they let may have written it.
pub fn birth(fd: impl AsFd) -> Result<String> {
    birth_of(fd, "", AtFlags::EMPTY_PATH)
}

/// The same of what has this name, not following a link.
pub fn birth_at(dir: impl AsFd, name: &str) -> Result<String> {
    birth_of(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn birth_of(fd: impl AsFd, name: &str, flags: AtFlags) -> Result<String> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let (inode, mode, born) = match retry_on_intr(|| rustix::fs::statx(&fd, name, flags, mask)) {
        Ok(found) => {
            let is_known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
            let born = is_known.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec));
            (found.stx_ino, u32::from(found.stx_mode), born)
        }
        // Kernels before 4.11, and containers that do not know it yet.
        Err(Errno::NOSYS | Errno::PERM) => {
            let found = retry_on_intr(|| rustix::fs::statat(&fd, name, flags))?;
            (found.st_ino, found.st_mode, None)
        }
        Err(errno) => return Err(errno),
    };
    let (seconds, nanoseconds) = born.unwrap_or_default();
    Ok(format!("{inode:x}-{seconds:x}.{nanoseconds:x}-{:o}", for_others(mode)))
}

/// Whether what is open has the name `name`.
pub fn is_at(dir: &OwnedFd, name: &str, open: &OwnedFd) -> bool {
    stat(dir, name).is_ok_and(|named| stat_open(open).is_ok_and(|open| identity(&named) == identity(&open)))
}

/// Takes the name `name` from the open `file`, if it has it.
pub fn unlink_if(dir: &OwnedFd, name: &str, file: &OwnedFd) {
    if is_at(dir, name, file) {
        // The disk has told of an error already.
        let _ = unlink(dir, name);
    }
}

/// Sets the modification time, in Unix seconds.
pub fn set_modified(fd: impl AsFd, seconds: i64) -> Result<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 } };
    retry_on_intr(|| rustix::fs::futimens(&fd, &times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_of_a_standard_stream_is_moved_up() -> anyhow::Result<()> {
        let null = open(rustix::fs::CWD, "/dev/null", OFlags::RDWR)?;
        assert!(above_standard(null)?.as_raw_fd() > 2);
        Ok(())
    }
}
