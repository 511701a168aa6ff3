//! `NAME.part.meta`: that a partial file is ours, and what it is the beginning of, so that nothing else is ever put behind
//! it.
//!
//! JSON, for its owner's eyes only, without user and password. Whatever in it is not understood is as good as nothing.
//! It names the file that it describes: another one under the same name is not continued.
//!
//! Several processes may come by at once. Who takes one away holds it locked from before finding it stale, and only who
//! has the partial file locked replaces one.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{OFlags, Stat};
use rustix::io::{Errno, Result};
use serde::{Deserialize, Serialize};

use super::head::Head;
use super::names::META;
use super::ours::Ours;
use super::sys;
use super::version::Version;
use crate::job::Checksum;

/// Grows with the meaning of the fields.
const FORMAT: u32 = 4;

/// How each begins; `N` is the digit of its format.
const BEGINNING: &[u8] = br#"{"format":N,"file":""#;

/// A longer one is not ours.
const LONGEST: usize = 128 * 1024;

/// How often one is replaced that others make or hold; they do so for a few system calls.
const TRIES: u32 = 8;

/// What a partial file is made from; one that was made from something else is not continued.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The URL as it is sent, without user, password and fragment.
    pub url: String,
    /// Stands for the request options that change what is sent back.
    pub request: Rc<str>,
    /// What the whole must hash to: the same is then had from any URL.
    pub checksum: Option<Checksum>,
}

/// Where a partial file can be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Bytes that are there.
    pub from: u64,
    /// Bytes of the finished file, where known.
    pub length: Option<u64>,
    /// The version they are of; it has a strong validator. `None`: they may be of another server, and the checksum of the
    /// whole says in the end whether they fit.
    pub version: Option<Version>,
    /// The file name that came with this version, as the server gave it.
    pub name: Option<String>,
}

/// The description.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SideCar {
    format: u32,
    /// The [`sys::birth`] of what it describes; empty until it is written.
    file: String,
    url: String,
    request: String,
    checksum: Option<String>,
    length: Option<u64>,
    #[serde(flatten)]
    version: Version,
    /// The file name that its server gave, which is made safe where it is used.
    name: Option<String>,
}

impl SideCar {
    /// Of the body that `head` tells of. It can be continued if something tells it from another.
    pub fn new(origin: &Origin, head: &Head) -> SideCar {
        let checksum = origin.checksum.map(|checksum| checksum.to_string());
        let (url, request) = (origin.url.clone(), origin.request.to_string());
        let Head { length, version, name, .. } = head.clone();
        SideCar { format: FORMAT, file: String::new(), url, request, checksum, length, version, name }
    }

    /// Of a body that is not to be continued.
    pub fn of_nothing() -> SideCar {
        let origin = Origin { url: String::new(), request: Rc::from(""), checksum: None };
        SideCar::new(&origin, &Head::default())
    }

    /// The name of the description of the partial file `part`.
    pub fn name(part: &str) -> String {
        format!("{part}{META}")
    }

    /// Writes it beside `part`, for the file with this [`sys::birth`], which is locked. One of ours that is there is
    /// replaced.
    ///
    /// # Errors
    /// The file system refuses, something that is no description of ours has the name (`EXIST`), or another process has
    /// one there for now (`WOULDBLOCK`).
    pub fn write(&self, dir: &OwnedFd, part: &str, file: &str, ours: Ours) -> Result<()> {
        for _ in 0..TRIES {
            match self.create(dir, part, file) {
                Err(Errno::EXIST) => match SideCar::hold(dir, part, ours) {
                    Ok(None) | Err(Errno::WOULDBLOCK) => {}
                    Ok(Some(_held)) => sys::unlink(dir, &SideCar::name(part))?,
                    Err(errno) => return Err(errno),
                },
                made => return made,
            }
        }
        Err(Errno::WOULDBLOCK)
    }

    /// The same, but `EXIST` where there is one. Where it fails, one that says nothing may be left.
    pub fn create(&self, dir: &OwnedFd, part: &str, file: &str) -> Result<()> {
        let made = sys::create_private(dir, &SideCar::name(part))?;
        let text = serde_json::to_vec(&SideCar { file: file.to_owned(), ..self.clone() }).unwrap_or_default();
        sys::write_all(&made, &text)
    }

    /// The description of ours beside `part`, whatever it says, which nobody else takes away while it is open; `None` when
    /// there is none.
    ///
    /// # Errors
    /// `EXIST` when something that is not ours has the name, `WOULDBLOCK` when another process holds it.
    pub fn hold(dir: &OwnedFd, part: &str, ours: Ours) -> Result<Option<OwnedFd>> {
        let name = SideCar::name(part);
        let file = match sys::open_to_lock(dir, &name) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        let stat = sys::stat_open(&file)?;
        if objection_to(&file, &stat, ours)?.is_some() {
            return Err(Errno::EXIST);
        }
        // File systems without locks are used without them.
        if sys::lock(&file) == Err(Errno::WOULDBLOCK) {
            return Err(Errno::WOULDBLOCK);
        }
        Ok(sys::is_at(dir, &name, &file).then_some(file))
    }

    /// What says that what has the name of a description of `part` is none of ours, to follow that name.
    ///
    /// # Errors
    /// Nothing has the name, or it cannot be told.
    pub fn objection(dir: &OwnedFd, part: &str, ours: Ours) -> Result<Option<&'static str>> {
        let stat = sys::stat(dir, &SideCar::name(part))?;
        if let Some(objection) = ours.objection(&stat) {
            return Ok(Some(objection));
        }
        match SideCar::open(dir, part) {
            // By its looks it is.
            Err(_) if ours.is_private(&stat) => Ok(None),
            opened => objection_to(&opened?, &stat, ours),
        }
    }

    /// Opens what has the name of a description of `part`, to read it.
    pub fn open(dir: &OwnedFd, part: &str) -> Result<OwnedFd> {
        sys::open(dir, SideCar::name(part).as_str(), OFlags::RDONLY | sys::CAREFULLY)
    }

    /// What the open `file` says; `None` when it is none of ours, or not understood.
    pub fn of(file: &OwnedFd, ours: Ours) -> Option<SideCar> {
        let stat = sys::stat_open(file).ok().filter(|stat| ours.keeps(stat))?;
        let length = usize::try_from(stat.st_size).ok().filter(|length| *length <= LONGEST)?;
        let mut text = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = text.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match sys::read_at(file, rest, filled as u64).ok()? {
                0 => return None,
                read => filled += read,
            }
        }
        serde_json::from_slice(&text).ok()
    }

    /// Whether it describes the file with this [`sys::birth`].
    pub fn is_of(&self, birth: &str) -> bool {
        self.file == birth
    }

    /// Where a partial file of `size` bytes goes on, if it was made from `origin`. Of a file that may be whole the
    /// last byte is fetched again: whether it is, only its server can tell.
    pub fn resume(self, origin: &Origin, size: u64) -> Option<Resume> {
        let SideCar { format, url, request, checksum, length, version, name, .. } = self;
        let version = Some(version).filter(|version| url == origin.url && version.strong().is_some());
        let same = match &checksum {
            // Its bytes may be of several servers by now.
            Some(promised) => origin.checksum.is_some_and(|checksum| checksum.to_string() == *promised),
            None => version.is_some(),
        };
        if format != FORMAT || *request != *origin.request || !same || length.is_some_and(|length| size > length) {
            return None;
        }
        let from = length.map_or(size, |length| size.min(length.saturating_sub(1)));
        (from > 0).then_some(Resume { from, length, name: name.filter(|_| version.is_some()), version })
    }
}

/// What says that the open `file`, of which this is known, is no description of ours, to follow its name. One that a kill or
/// a crash of the machine has kept from being written is known by its looks alone.
fn objection_to(file: &OwnedFd, stat: &Stat, ours: Ours) -> Result<Option<&'static str>> {
    if let Some(objection) = ours.objection(stat) {
        return Ok(Some(objection));
    }
    let mut buffer = [0; BEGINNING.len()];
    let length = sys::read_at(file, &mut buffer, 0)?;
    let text = buffer.get(..length).unwrap_or_default();
    let fits = |(byte, wanted): (&u8, &u8)| byte == wanted || (*wanted == b'N' && byte.is_ascii_digit());
    let is_begun = text.iter().zip(BEGINNING).all(fits);
    let is_blank = text.iter().all(|byte| *byte == 0);
    let is_ours = match is_begun && length == BEGINNING.len() {
        true => true,
        false => (is_begun || is_blank) && ours.is_private(stat),
    };
    Ok((!is_ours).then_some("is no description of a partial file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use crate::sink::tree::{Missing, Tree};

    fn found(dir: &OwnedFd, part: &str, ours: Ours) -> Option<SideCar> {
        SideCar::of(&SideCar::open(dir, part).ok()?, ours)
    }

    fn origin() -> Origin {
        Origin { url: "http://h/a".to_owned(), request: "r".into(), checksum: None }
    }

    fn version() -> Version {
        Version { etag: Some("\"x\"".to_owned()), ..Version::default() }
    }

    fn of(length: Option<u64>, version: Version) -> Head {
        Head { length, version, name: Some("../n".to_owned()), ..Head::default() }
    }

    fn described(length: Option<u64>) -> SideCar {
        SideCar::new(&origin(), &of(length, version()))
    }

    #[test]
    fn what_was_written_is_read_and_private_and_anything_else_is_nothing() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let tree = Tree::open(dir.path().to_owned())?;
        let fd = tree.directory("", Missing::Report)?;
        let path = dir.path().join("a.part.meta");
        let ours = tree.ours();
        assert!(found(&fd, "a.part", ours).is_none());
        for _ in 0..2 {
            described(Some(9)).write(&fd, "a.part", "7", ours)?;
        }
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert!(found(&fd, "a.part", ours).is_some_and(|meta| meta.is_of("7") && !meta.is_of("8")));
        let read = found(&fd, "a.part", ours).and_then(|meta| meta.resume(&origin(), 5));
        assert_eq!(
            read,
            Some(Resume { from: 5, length: Some(9), version: Some(version()), name: Some("../n".to_owned()) })
        );
        let text = std::fs::read(&path)?;
        for torn in 0..text.len() {
            std::fs::write(&path, &text[..torn])?;
            assert!(found(&fd, "a.part", ours).is_none(), "torn at {torn}");
            assert_eq!(SideCar::objection(&fd, "a.part", ours), Ok(None), "torn at {torn}");
        }
        for other in ["[]", "{}", "null", "\u{0}\u{0}", "{\"format\":4}", "{\"format\":-1,\"url\":7}"] {
            std::fs::write(&path, other)?;
            assert!(found(&fd, "a.part", ours).is_none(), "{other}");
        }
        std::fs::write(&path, String::from_utf8(text)?.replace("\"format\":4", "\"format\":5,\"more\":{}"))?;
        assert!(found(&fd, "a.part", ours).is_some_and(|newer| newer.resume(&origin(), 5).is_none()));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o620))?;
        assert!(found(&fd, "a.part", ours).is_none());
        assert_eq!(SideCar::objection(&fd, "a.part", ours), Ok(Some("can be written by others")));
        assert_eq!(described(None).write(&fd, "a.part", "", ours), Err(Errno::EXIST));
        std::fs::remove_file(&path)?;
        std::fs::create_dir(&path)?;
        assert!(found(&fd, "a.part", ours).is_none());
        Ok(())
    }

    #[test]
    fn a_part_is_continued_where_it_ends_unless_it_is_something_else() {
        for (length, size, from) in [
            (Some(9), 5, Some(5)),
            (None, 5, Some(5)),
            (Some(9), 9, Some(8)),
            (Some(9), 10, None),
            (Some(9), 0, None),
            (Some(1), 1, None),
            (Some(0), 0, None),
            (None, u64::MAX, Some(u64::MAX)),
        ] {
            let resume = described(length).resume(&origin(), size);
            assert_eq!(resume.map(|resume| resume.from), from, "{size} of {length:?}");
        }
        let others = [Origin { url: "http://h/b".to_owned(), ..origin() }, Origin { request: "s".into(), ..origin() }];
        for other in others {
            assert_eq!(described(None).resume(&other, 5), None);
        }
        let weak = Version { etag: Some("W/\"x\"".to_owned()), ..Version::default() };
        assert_eq!(SideCar::new(&origin(), &of(None, weak.clone())).resume(&origin(), 5), None);
        assert_eq!(SideCar::of_nothing().resume(&origin(), 5), None);
        assert_eq!(SideCar { version: weak, ..described(None) }.resume(&origin(), 5), None, "however it came there");
    }

    #[test]
    fn with_a_checksum_it_is_continued_from_anywhere_and_without_it_not_at_all() {
        let checksum = |digits: &str| Checksum::from_hex(digits.repeat(32).as_bytes());
        let promised = || Origin { checksum: checksum("0"), ..origin() };
        let elsewhere = || Origin { url: "http://h/b".to_owned(), ..promised() };
        let of = |origin: &Origin, version: &Version| SideCar::new(origin, &of(None, version.clone()));
        let unversioned = Some(Resume { from: 5, length: None, version: None, name: None });
        let name = Some("../n".to_owned());
        let versioned = Some(Resume { from: 5, length: None, version: Some(version()), name });
        let none = Version::default();
        assert_eq!(of(&promised(), &version()).resume(&promised(), 5), versioned);
        assert_eq!(of(&promised(), &version()).resume(&elsewhere(), 5), unversioned);
        assert_eq!(of(&promised(), &none).resume(&promised(), 5), unversioned);
        assert_eq!(of(&promised(), &none).resume(&elsewhere(), 5), unversioned);
        let another = Origin { checksum: checksum("1"), ..promised() };
        assert_eq!(of(&promised(), &version()).resume(&another, 5), None);
        assert_eq!(of(&promised(), &version()).resume(&origin(), 5), None, "it may be of several places");
        assert_eq!(of(&origin(), &version()).resume(&promised(), 5), versioned);
        assert_eq!(of(&origin(), &version()).resume(&elsewhere(), 5), None);
    }
}
