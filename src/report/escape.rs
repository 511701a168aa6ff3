//! Text from outside made harmless for a terminal, and still readable: what could move the cursor, change the
//! terminal's state or reorder the line becomes a visible escape.
//!
//! Covered are C0, DEL, C1, the bidirectional controls, the line and paragraph separators and bytes that are not
//! UTF-8. A backslash stays as it is: the escapes are for eyes, the JSON record is for programs.
//!
//! Must not know where the text came from: everything from outside is treated alike.

use std::fmt::Write;

use crate::text::is_hostile;

/// Appends `text`, escaped.
pub fn push_str(out: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if !is_hostile(c) => out.push(c),
            c if c.is_ascii() => push_byte(out, c as u8),
            c => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
}

/// Appends `text`, escaped, bytes that are not UTF-8 as `\xff`.
pub fn push_bytes(out: &mut String, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        push_str(out, chunk.valid());
        for byte in chunk.invalid() {
            push_byte(out, *byte);
        }
    }
}

fn push_byte(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = String::new();
        push_bytes(&mut out, bytes);
        out
    }

    #[test]
    fn hostile_text_becomes_visible_and_the_rest_stays() {
        let table: &[(&[u8], &str)] = &[
            (b"plain ~text", "plain ~text"),
            ("bücher 日本".as_bytes(), "bücher 日本"),
            (b"a\nb\rc\td", "a\\nb\\rc\\td"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"nul\0del\x7f", "nul\\x00del\\x7f"),
            ("c1 \u{9b}31m".as_bytes(), "c1 \\u{9b}31m"),
            ("\u{202e}gpj.exe\u{2069}".as_bytes(), "\\u{202e}gpj.exe\\u{2069}"),
            ("a\u{2028}b\u{61c}\u{200f}".as_bytes(), "a\\u{2028}b\\u{61c}\\u{200f}"),
            (b"\xff\xc3(\xe2\x80", "\\xff\\xc3(\\xe2\\x80"),
            (b"back\\slash", "back\\slash"),
            (b"", ""),
        ];
        for (input, expected) in table {
            assert_eq!(escaped(input), *expected, "{input:?}");
        }
    }

    #[test]
    fn no_byte_string_leaves_a_control_character() {
        let mut all: Vec<u8> = (0..=255).collect();
        for c in ['\u{80}', '\u{85}', '\u{9f}', '\u{202a}', '\u{2066}', '\u{200e}'] {
            all.extend(c.to_string().bytes());
        }
        assert!(!escaped(&all).chars().any(is_hostile));
    }
}
