//! What a file that is there is known by, so that only another one is fetched: its time, and the entity tag that it
//! came with.
//!
//! The tag is kept in an extended attribute of the file itself. There it litters nothing, goes where the file goes, and is
//! gone when the file is; where there are no attributes the time alone has to do. It names no URL.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, OFlags, Stat};

use super::hash::Digest;
use super::head::Head;
use super::sys;

/// The attribute: the file's time when it was whole, what the request was, and the tag.
const ATTRIBUTE: &str = "user.fetchmany.etag";

/// Digits by which a request is known.
const REQUEST_DIGITS: usize = 16;

/// A longer attribute is not ours, and a longer tag is not kept.
const LONGEST: usize = 1024;

/// HTTP's dates end with the year 9999.
const LAST: u64 = 253_402_300_799;

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// When it was modified.
    pub modified: SystemTime,
    /// The entity tag that it came with, if nobody has changed it since.
    pub etag: Option<String>,
    /// It came in answer to another request: its time says nothing about this one's.
    came_otherwise: bool,
}

impl Known {
    /// The regular file `name`; its tag if it came in answer to `request`.
    pub fn of(dir: &OwnedFd, name: &str, request: Option<&Digest>) -> Option<Known> {
        let stat = sys::stat(dir, name).ok().filter(is_file)?;
        let seconds = u64::try_from(stat.st_mtime).ok()?;
        let modified = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(LAST)))?;
        let came = request.and_then(|request| read(dir, name, request));
        let came_otherwise = came == Some(Came::Otherwise);
        let etag = if let Some(Came::With(etag)) = came { Some(etag) } else { None };
        Some(Known { modified, etag, came_otherwise })
    }

    /// Whether what `head` tells of is this file: not every server says so by itself. Where both have a tag the time does
    /// not count (RFC 9110, section 13.2.2).
    pub fn is(&self, head: &Head) -> bool {
        if let (Some(there), Some(offered)) = (&self.etag, &head.version.etag) {
            return weak(there) == weak(offered);
        }
        if self.came_otherwise {
            return false;
        }
        let seconds = head.version.modified().and_then(|seconds| u64::try_from(seconds).ok());
        let there = self.modified.duration_since(UNIX_EPOCH).ok();
        there.zip(seconds).is_some_and(|(there, offered)| offered <= there.as_secs())
    }
}

/// Keeps the tag with which the whole `file` came in answer to `request`. What cannot be kept is asked for again.
pub fn remember(file: &OwnedFd, request: &Digest, etag: &str) {
    if let Ok(stat) = sys::stat_open(file)
        && is_tag(etag)
    {
        let _ = sys::set_attribute(
            file,
            ATTRIBUTE,
            format!("{}{} {etag}", unchanged(&stat), request.hex(REQUEST_DIGITS)).as_bytes(),
        );
    }
}

/// How a file came that is as it came.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// In answer to this request, with this tag.
    With(String),
    /// In answer to another.
    Otherwise,
}

fn read(dir: &OwnedFd, name: &str, request: &Digest) -> Option<Came> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = sys::open(dir, name, flags).ok()?;
    let stat = sys::stat_open(&file).ok().filter(is_file)?;
    let attribute = String::from_utf8(sys::attribute(&file, ATTRIBUTE, LONGEST).ok()?).ok()?;
    let (came, etag) = attribute.strip_prefix(&unchanged(&stat))?.split_once(' ')?;
    match came == request.hex(REQUEST_DIGITS) {
        true => is_tag(etag).then(|| Came::With(etag.to_owned())),
        false => Some(Came::Otherwise),
    }
}

/// What must not have changed.
fn unchanged(stat: &Stat) -> String {
    format!("{}.{:09} {} ", stat.st_mtime, stat.st_mtime_nsec, stat.st_size)
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// An entity tag that can be sent as it is (RFC 9110, section 8.8.3), and kept.
fn is_tag(etag: &str) -> bool {
    let inside = weak(etag).strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    etag.len() <= LONGEST / 2 && inside.is_some_and(|text| text.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'~')))
}

/// A tag without its mark of weakness, which does not matter here.
fn weak(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::tree::{Missing, Tree};
    use crate::sink::version::Version;

    #[test]
    fn a_tag_is_known_while_the_file_is_as_it_came_and_for_that_request_alone() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let fd = Tree::open(dir.path().to_owned())?.directory("", Missing::Report)?;
        let (request, path) = (Digest::of("http://h/a"), dir.path().join("a"));
        let known = || Known::of(&fd, "a", Some(&request)).and_then(|known| known.etag);
        for (etag, kept) in [("\"x\"", true), ("W/\"x\"", true), ("\"\"", true), ("x", false), ("\"x\r\nA: b\"", false)]
        {
            std::fs::write(&path, "body")?;
            remember(&OwnedFd::from(std::fs::File::open(&path)?), &request, etag);
            if kept && sys::attribute(std::fs::File::open(&path)?, ATTRIBUTE, LONGEST).is_err() {
                return Ok(()); // no attributes here
            }
            assert_eq!(known().as_deref(), kept.then_some(etag));
            if let Some(there) = Known::of(&fd, "a", Some(&Digest::of("http://h/b"))) {
                let last_modified = Some("Thu, 01 Jan 1970 00:16:40 GMT".to_owned());
                let older = Head { version: Version { last_modified, ..Version::default() }, ..Head::default() };
                assert_eq!((&there.etag, there.is(&older)), (&None, !kept), "its time is that of another answer");
            }
            std::fs::write(&path, "another")?;
            assert_eq!(known(), None, "it was changed");
            std::fs::remove_file(&path)?;
        }
        Ok(())
    }

    #[test]
    fn what_is_offered_is_there_already_when_its_tag_is_or_without_one_its_time() {
        let known = |etag: Option<&str>| Known {
            modified: UNIX_EPOCH + Duration::from_secs(1000),
            etag: etag.map(str::to_owned),
            came_otherwise: false,
        };
        let then = "Thu, 01 Jan 1970 00:16:40 GMT";
        let later = "Thu, 01 Jan 1970 00:16:41 GMT";
        for (there, offered, modified, is) in [
            (Some("\"x\""), Some("\"x\""), Some(later), true),
            (Some("\"x\""), Some("W/\"x\""), None, true),
            (Some("\"x\""), Some("\"y\""), Some(then), false),
            (Some("\"x\""), None, Some(then), true),
            (None, Some("\"x\""), Some(then), true),
            (None, Some("\"x\""), Some(later), false),
            (None, None, None, false),
            (None, None, Some("-"), false),
        ] {
            let last_modified = modified.map(str::to_owned);
            let version = Version { etag: offered.map(str::to_owned), last_modified, ..Version::default() };
            let head = Head { version, ..Head::default() };
            assert_eq!(known(there).is(&head), is, "{there:?} {offered:?} {modified:?}");
        }
    }
}
