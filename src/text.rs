//! Rules about text that several rooms print.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether `c` must not reach a terminal, a log or a file's name as it is: it would control the terminal (C0, C1, DEL),
/// break the line (the line and paragraph separators) or reorder what is shown (the bidirectional controls of UAX #9).
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` as UTF-8: bytes that are none are percent-encoded, as they would be sent.
pub fn readable(text: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut readable = String::with_capacity(text.len() + 16);
            for chunk in text.utf8_chunks() {
                readable.push_str(chunk.valid());
                for byte in chunk.invalid() {
                    // Writing to a String cannot fail.
                    let _ = write!(readable, "%{byte:02X}");
                }
            }
            Cow::Owned(readable)
        }
    }
}

/// A URL that was parsed once, without `user:password@`. Its authority begins after `://` and ends before the next `/`, `?`
/// or `#` (RFC 3986, 3.2).
pub fn without_credentials(url: &str) -> String {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |length| start + length);
    match url[start..end].rfind('@') {
        Some(at) => [&url[..start], &url[start + at + 1..]].concat(),
        None => url.to_owned(),
    }
}

/// A sentence that may quote a URL, be it a bad one, without its credentials. A password may have any character, so
/// everything goes from where the first could begin to the last `@`: rather too much than too little.
pub fn without_quoted_credentials(text: &str) -> String {
    let start = text.find("://").map(|colon| colon + 3).or_else(|| text.find('\'').map(|quote| quote + 1));
    match start.zip(text.rfind('@')) {
        Some((start, at)) if at >= start => [&text[..start], &text[at + 1..]].concat(),
        _ => text.to_owned(),
    }
}

/// What the system says, without its numbers: `(os error 2)` means nothing to a person.
pub fn without_error_numbers(text: &str) -> String {
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" (os error ") {
        said.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = rest.strip_prefix(')').unwrap_or(rest);
    }
    said + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_utf8_are_shown_percent_encoded() {
        assert_eq!(readable(b"http://h/\xff\xc3\x28"), "http://h/%FF%C3(");
        assert_eq!(readable("http://h/ü".as_bytes()), "http://h/ü");
    }

    #[test]
    fn what_commands_a_terminal_or_reorders_a_line_is_hostile_and_no_letter_is() {
        for (from, to, hostile) in [
            ('\0', '\u{1f}', true),
            (' ', '~', false),
            ('\u{7f}', '\u{9f}', true),
            ('\u{a0}', '\u{61b}', false),
            ('\u{61c}', '\u{61c}', true),
            ('\u{61d}', '\u{200d}', false),
            ('\u{200e}', '\u{200f}', true),
            ('\u{2010}', '\u{2027}', false),
            ('\u{2028}', '\u{202e}', true),
            ('\u{202f}', '\u{2065}', false),
            ('\u{2066}', '\u{2069}', true),
            ('\u{206a}', char::MAX, false),
        ] {
            assert!((from..=to).all(|c| is_hostile(c) == hostile), "{from:?} to {to:?}");
        }
    }

    #[test]
    fn the_system_is_quoted_without_its_numbers() {
        for (text, shown) in [
            ("read x: No such file or directory (os error 2)", "read x: No such file or directory"),
            ("a (os error 2), b (os error 17): c", "a, b: c"),
            ("a (b)", "a (b)"),
        ] {
            assert_eq!(without_error_numbers(text), shown);
        }
    }

    #[test]
    fn a_sentence_that_quotes_a_url_keeps_no_credentials() {
        for (text, shown) in [
            ("", ""),
            ("nothing to hide, a@b", "nothing to hide, a@b"),
            ("a@b at http://h/", "a@b at http://h/"),
            ("Unsupported proxy scheme for 'odd://u:p@h:1'", "Unsupported proxy scheme for 'odd://h:1'"),
            ("Unsupported proxy syntax in 'u:p@h:x': Bad", "Unsupported proxy syntax in 'h:x': Bad"),
            ("in 'odd://u:p q'r://s@t@h:1': Bad", "in 'odd://h:1': Bad"),
        ] {
            assert_eq!(without_quoted_credentials(text), shown, "{text}");
        }
    }

    #[test]
    fn an_accepted_url_is_shown_as_typed_without_its_credentials() {
        for (url, shown) in [
            ("http://h/a", "http://h/a"),
            ("HTTP://H/%61#b", "HTTP://H/%61#b"),
            ("http://u:p@h/a", "http://h/a"),
            ("http://u:p@h", "http://h"),
            ("http://u;x:p%40q@h/a@b", "http://h/a@b"),
            ("http://:p@h?x@y", "http://h?x@y"),
            ("http://@h/", "http://h/"),
            ("http://h/a?next=http://u@h/", "http://h/a?next=http://u@h/"),
        ] {
            assert_eq!(without_credentials(url), shown, "{url}");
        }
    }
}
