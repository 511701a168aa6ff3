//! What of a URL may be shown: everything but user and password.
//!
//! Works on text, not on parsed URLs, because lines that are no URL are shown too. Where a line leaves open what in
//! it is a password, too much is hidden rather than too little. Escaping for a terminal is done where it is printed.

use super::lines::Condition;
use crate::text::readable;

/// Longest URL that is kept of a refused line, in bytes. Enough to recognise it by.
const BOUND: usize = 2048;

/// The beginning of a refused line, up to the TAB before its name, without anything that may be a password.
pub fn refused(line: &[u8], condition: Condition) -> String {
    let line = readable(line);
    let start = authority(&line);
    let end = line[start..].find(['/', '?', '#']).map(|length| start + length);
    let before = &line[..start];
    let after = match end {
        // The line was cut inside what may still be a user and a password.
        None if condition != Condition::Whole => "",
        _ => {
            let searched =
                if may_hide_more(&line, start, end) { &line[start..] } else { &line[start..end.unwrap_or(line.len())] };
            &line[searched.rfind('@').map_or(start, |at| start + at + 1)..]
        }
    };
    let mut shown = [before, after].concat();
    if let Some(tab) = shown.find('\t') {
        shown.truncate(tab);
    }
    if shown.len() > BOUND {
        let end = (0..=BOUND).rev().find(|index| shown.is_char_boundary(*index)).unwrap_or(0);
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// Whether a password may go on behind what looks like the end of the authority, which begins at `start`.
fn may_hide_more(line: &str, start: usize, end: Option<usize>) -> bool {
    let authority = &line[start..end.unwrap_or(line.len())];
    match authority.rsplit_once(':') {
        // `http://user:pass/word@host/`: no URL, yet a password. What follows the colon is no port.
        Some((_, port)) => !port.bytes().all(|byte| byte.is_ascii_digit()),
        // `https/user:password@host/`: what comes first is no host.
        None => {
            !line[..start].ends_with("://")
                && line[start..].rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        }
    }
}

/// Where the authority would begin: after a scheme, its colon and any slashes, of whichever number and direction. The
/// colon may have been forgotten.
fn authority(line: &str) -> usize {
    let slash = line.find(['/', '\\']).filter(|slash| line[slash + 1..].starts_with(['/', '\\']));
    if let Some(slash) = slash.filter(|slash| line[..*slash].bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return line.len() - line[slash..].trim_start_matches(['/', '\\']).len();
    }
    let after_scheme = line.find(':').map_or(0, |colon| colon + 1);
    let start = if line[after_scheme..].starts_with(['/', '\\']) { after_scheme } else { 0 };
    line.len() - line[start..].trim_start_matches(['/', '\\']).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_line_shows_no_password_wherever_it_stands() {
        for line in [
            "http://u:S3CR3T@h:0/",
            "http://u:S3CR3T@h:99999/",
            "ftp://u:S3CR3T@h/x",
            "u:S3CR3T@h/x",
            "//u:S3CR3T@h/x",
            "http:/u:S3CR3T@h/x",
            "http:u:S3CR3T@h/x",
            "http:///u:S3CR3T@h/x",
            "http:\\\\u:S3CR3T@h\\x",
            "http://u:S3CR3T@x@h/",
            "http://u:x@S3CR3T@h/",
            "http://u:S3CR3T/x@h/",
            "http://u:x/S3CR3T@h/",
            "http://u:x#S3CR3T?@h/",
            "http://u:x\tS3CR3T@h/",
            "http://u:S3CR3T\tx@h/",
            " http://u:S3CR3T@h/x",
            "-http://u:S3CR3T@h/x",
            "http://[u:S3CR3T@h/x",
            "https//u:S3CR3T@h/x",
            "https//S3CR3T@h/x",
            "https/u:S3CR3T@h/x",
            "https;//u:S3CR3T@h/x",
            "https//u:S3CR3T/x@h/",
            "h ttps://u:S3CR3T@h/x",
        ] {
            let shown = refused(line.as_bytes(), Condition::Whole);
            assert!(!shown.contains("S3CR3T"), "{line:?} is shown as {shown:?}");
        }
    }

    #[test]
    fn a_refused_line_is_shown_up_to_its_name_and_bounded() {
        for (line, shown) in [
            ("ftp://h/x\tname", "ftp://h/x"),
            ("ftp://h:21/x@y", "ftp://h:21/x@y"),
            ("http://h:0/x@y\tu@v", "http://h:0/x@y"),
            ("http://[::1]:0/x@y", "http://[::1]:0/x@y"),
            ("http:///x", "http:///x"),
            ("example.com/x@y", "example.com/x@y"),
            ("example.com/x:1", "example.com/x:1"),
            ("https//h/x@y:1", "https//h/x@y:1"),
            ("", ""),
            ("://", "://"),
        ] {
            assert_eq!(refused(line.as_bytes(), Condition::Whole), shown, "{line}");
        }
        let long = format!("http://h/{}", "ü".repeat(5000));
        let shown = refused(long.as_bytes(), Condition::Whole);
        assert!(shown.len() <= BOUND + '…'.len_utf8() && shown.ends_with('…'));
    }

    #[test]
    fn a_line_cut_before_its_host_is_certain_shows_no_more_than_its_scheme() {
        let cut = [b"http://u:".as_slice(), &[b'x'; 70_000]].concat();
        assert_eq!(refused(&cut, Condition::TooLong), "http://");
        assert_eq!(refused(b"http://u:S3CR", Condition::Torn), "http://");
        assert_eq!(refused(b"http://h/S3", Condition::Torn), "http://h/S3");
    }
}
