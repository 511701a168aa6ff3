//! A file that takes the place of another: whole, or not at all, and never through a link.
//!
//! Until it is whole it has no name, so that a kill leaves nothing of it; where a file system has no such files, it has
//! one that nobody else uses, beside the name it is to get. Renaming needs such a name too: a kill at that very moment
//! leaves it.
//!
//! Must not know what is in the file.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::io::{Errno, Result, retry_on_intr};

/// Written at its end, and read.
const FLAGS: OFlags = OFlags::RDWR.union(OFlags::APPEND).union(OFlags::CLOEXEC);

/// How often another name is tried when one is taken. There are 2⁶⁴.
const NAME_TRIES: u32 = 8;

/// The place of a file that is there or not.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    name: OsString,
}

impl Place {
    /// That of the file at `path`.
    ///
    /// # Errors
    /// Its directory is not there, or the path cannot be one of a file.
    pub fn of(path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = retry_on_intr(|| openat(CWD, dir, flags, Mode::empty()))?;
        Ok(Place { dir, name: name.to_owned() })
    }

    /// Proves that a file can be made in its directory, without leaving one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn prove(&self) -> io::Result<()> {
        Ok(self.unnamed().map(drop).or_else(|_| self.named().map(drop))?)
    }

    /// Has `fill` write a new file, for its owner alone unless it says otherwise, and puts that there when it is on the
    /// disk. It may be asked twice. Returns the open file and what `fill` did.
    ///
    /// # Errors
    /// What `fill` or the file system says; what was there is still there.
    pub fn replace<T>(&self, fill: impl Fn(&File) -> io::Result<T>) -> io::Result<(File, T)> {
        let fill = |file: &File| {
            let filled = fill(file)?;
            file.sync_data()?;
            Ok::<_, io::Error>(filled)
        };
        // Whatever speaks against it, a name may help; and if not, says so again.
        if let Ok(file) = self.unnamed() {
            let filled = fill(&file)?;
            if let Ok(temporary) = self.link(&file) {
                temporary.rename()?;
                return Ok((file, filled));
            }
        }
        let (file, temporary) = self.named()?;
        let filled = fill(&file)?;
        temporary.rename()?;
        Ok((file, filled))
    }

    /// A file without a name.
    fn unnamed(&self) -> Result<File> {
        retry_on_intr(|| openat(&self.dir, ".", FLAGS | OFlags::TMPFILE, Mode::RUSR | Mode::WUSR)).map(File::from)
    }

    /// Gives one that has none a name.
    fn link(&self, file: &File) -> Result<Temporary<'_>> {
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        let link = |name: &str| linkat(CWD, &*own, &self.dir, name, AtFlags::SYMLINK_FOLLOW);
        self.with_a_new_name(link).map(|((), temporary)| temporary)
    }

    /// A file that has one from the start.
    fn named(&self) -> Result<(File, Temporary<'_>)> {
        let flags = FLAGS | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let create = |name: &str| openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR);
        self.with_a_new_name(create).map(|(file, temporary)| (File::from(file), temporary))
    }

    /// Has `make` make something of a name that nothing has.
    fn with_a_new_name<T>(&self, make: impl Fn(&str) -> Result<T>) -> Result<(T, Temporary<'_>)> {
        let mut tries = 0..NAME_TRIES;
        loop {
            let name = format!(".fetchmany-{:016x}", fastrand::u64(..));
            match retry_on_intr(|| make(&name)) {
                Err(Errno::EXIST) if tries.next().is_some() => {}
                made => return made.map(|made| (made, Temporary { place: self, name })),
            }
        }
    }
}

/// The name that a file has until it gets that of its place.
struct Temporary<'a> {
    place: &'a Place,
    name: String,
}

impl Temporary<'_> {
    fn rename(self) -> Result<()> {
        let Place { dir, name } = self.place;
        retry_on_intr(|| renameat(dir, &self.name, dir, &**name))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        let _ = unlinkat(&self.place.dir, &self.name, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_is_there_is_replaced_whole_or_not_at_all_and_not_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let [path, link, theirs] = ["file", "link", "theirs"].map(|name| dir.path().join(name));
        std::fs::write(&theirs, "old").unwrap();
        symlink("theirs", &link).unwrap();
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        for path in [&path, &link] {
            let place = Place::of(path).unwrap();
            place.prove().unwrap();
            let write = |mut file: &File| file.write_all(b"new").and(Err::<(), _>(io::Error::other("full")));
            assert_eq!(place.replace(write).unwrap_err().to_string(), "full");
            assert_eq!(std::fs::read_to_string(path).unwrap(), "old");
            let (mut file, told) = place.replace(|mut file| file.write(b"new")).unwrap();
            file.write_all(b", and more").unwrap();
            assert_eq!((told, &*std::fs::read_to_string(path).unwrap()), (3, "new, and more"));
            assert_eq!(path.symlink_metadata().unwrap().permissions().mode(), 0o100_600);
        }
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn where_every_file_has_a_name_it_goes_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(&dir.path().join("file")).unwrap();
        let names =
            || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let (first, second) = (place.named().unwrap(), place.named().unwrap());
        assert_eq!(names().len(), 2);
        assert!(names().iter().all(|name| name.to_string_lossy().starts_with(".fetchmany-")));
        drop(first);
        second.1.rename().unwrap();
        assert_eq!(names(), ["file"]);
    }
}
