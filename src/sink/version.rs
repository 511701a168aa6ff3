//! Which version of a resource a body is of, and whether that can be told from another one: RFC 9110, sections 8.8
//! and 13.1.5.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// The headers that tell versions apart, as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// ETag; empty when it was no text.
    pub etag: Option<String>,
    /// Last-Modified.
    pub last_modified: Option<String>,
    /// Date.
    pub date: Option<String>,
}

impl Version {
    /// What `If-Range` names this version by. A weak entity tag stands for bodies that differ, and where there is a
    /// tag the time does not count; a time counts only when a second had passed, in which another version would have
    /// got another time.
    pub fn strong(&self) -> Option<&str> {
        match (&self.etag, &self.last_modified, &self.date) {
            (Some(etag), _, _) => Some(etag.as_str()).filter(|etag| is_strong(etag)),
            (None, Some(modified), Some(date)) => {
                let earlier = httpdate::parse_http_date(modified).ok()?;
                let later = httpdate::parse_http_date(date).ok()?;
                let is_older = later.duration_since(earlier).is_ok_and(|age| age.as_secs() >= 1);
                // It is sent as it came.
                (is_older && modified.bytes().all(|byte| matches!(byte, b' '..=b'~'))).then_some(modified)
            }
            _ => None,
        }
    }

    /// Last-Modified in seconds since 1970, where a file can have that time.
    pub fn modified(&self) -> Option<i64> {
        let time = httpdate::parse_http_date(self.last_modified.as_deref()?).ok()?;
        i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
    }

    /// Whether `other` is known to be this version.
    pub fn is(&self, other: &Version) -> bool {
        self.strong().is_some()
            && match &self.etag {
                Some(etag) => other.etag.as_ref() == Some(etag),
                None => other.last_modified == self.last_modified,
            }
    }
}

/// `"…"` without control characters, spaces or quotes inside.
fn is_strong(etag: &str) -> bool {
    let inside = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.is_some_and(|text| text.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'~')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 12:00:01 GMT";

    fn version(etag: &str, modified: &str, date: &str) -> Version {
        let some = |text: &str| Some(text.to_owned()).filter(|text| text != "-");
        Version { etag: some(etag), last_modified: some(modified), date: some(date) }
    }

    #[test]
    fn only_a_strong_validator_names_a_version() {
        for (etag, modified, date, strong) in [
            ("\"x\"", "-", "-", Some("\"x\"")),
            ("\"\"", "-", "-", Some("\"\"")),
            ("\"x\"", NOON, NOON, Some("\"x\"")),
            ("W/\"x\"", "-", "-", None),
            ("W/\"x\"", NOON, LATER, None),
            ("", NOON, LATER, None),
            ("x", "-", "-", None),
            ("\"", "-", "-", None),
            ("\"x\" ", "-", "-", None),
            ("\"x\"y\"", "-", "-", None),
            ("\"x\r\nA: b\"", "-", "-", None),
            ("\"ü\"", "-", "-", None),
            ("-", NOON, LATER, Some(NOON)),
            ("-", NOON, NOON, None),
            ("-", LATER, NOON, None),
            ("-", NOON, "-", None),
            ("-", "yesterday", LATER, None),
            ("-", NOON, "today", None),
            ("-", "-", LATER, None),
            ("-", "-", "-", None),
        ] {
            assert_eq!(version(etag, modified, date).strong(), strong, "{etag} {modified} {date}");
        }
    }

    #[test]
    fn dates_that_cannot_be_a_file_time_are_ignored() {
        for (date, seconds) in [
            (NOON, Some(784_123_200)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 01 Jan 1901 00:00:00 GMT", None),
            ("yesterday", None),
            ("-", None),
        ] {
            assert_eq!(version("-", date, "-").modified(), seconds, "{date}");
        }
    }

    #[test]
    fn a_version_is_another_unless_its_validator_is_the_same() {
        let tagged = version("\"x\"", NOON, LATER);
        assert!(tagged.is(&version("\"x\"", "-", "-")));
        assert!(!tagged.is(&version("\"y\"", NOON, LATER)));
        assert!(!tagged.is(&version("W/\"x\"", NOON, LATER)));
        assert!(!tagged.is(&version("-", NOON, LATER)), "it does not say");
        let timed = version("-", NOON, LATER);
        assert!(timed.is(&version("-", NOON, NOON)));
        assert!(!timed.is(&version("-", LATER, LATER)));
        assert!(!timed.is(&Version::default()));
        assert!(!version("W/\"x\"", "-", "-").is(&version("W/\"x\"", "-", "-")));
    }
}
