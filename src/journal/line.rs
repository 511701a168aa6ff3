//! A line of the journal: a word and a key. And the first line, by which a file is known to be a journal.
//!
//! Must not know files.

use sha2::{Digest as _, Sha256};

/// The first line; its number is that of the format.
pub const HEADER: &[u8] = b"fetchmany-journal 1\n";

/// The beginning of the first line of every format.
pub const ANY_HEADER: &[u8] = b"fetchmany-journal ";

/// The longest line that can be one of ours, with its line end.
pub const LONGEST: usize = 64;

/// What a job is known by: 127 bits of a SHA-256. Of ten million, two are alike once in 10²⁴ journals, and nobody can
/// write a list in which two are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u128);

/// How a settled job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The body is where it belongs.
    Ok,
    /// It would fail again.
    Failed,
}

impl Key {
    /// The job that fetches `url` into `name`.
    pub fn of_url(url: &str, name: &str) -> Key {
        // No URL as it is sent has a space or a line end in it.
        Key::of(&[b"url ", url.as_bytes(), b"\n", name.as_bytes()])
    }

    /// A line that can be no job.
    pub fn of_line(line: &[u8]) -> Key {
        Key::of(&[b"line ", line])
    }

    fn of(parts: &[&[u8]]) -> Key {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        let half = hash.finalize().iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        Key::of_bits(half)
    }

    /// The lowest bit is left to [`super::table`].
    fn of_bits(bits: u128) -> Key {
        Key(bits & !1)
    }

    /// All 128 bits, the lowest of which is 0.
    pub fn bits(self) -> u128 {
        self.0
    }

    /// The same as bytes.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl From<[u8; 16]> for Key {
    fn from(bytes: [u8; 16]) -> Key {
        Key::of_bits(u128::from_be_bytes(bytes))
    }
}

/// Appends the line for `key`; no state is that of a job that may not fail the next time.
pub fn push(out: &mut Vec<u8>, state: Option<State>, key: Key) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let word: &[u8] = match state {
        Some(State::Ok) => b"ok ",
        Some(State::Failed) => b"failed ",
        None => b"passing ",
    };
    out.extend_from_slice(word);
    out.extend(key.bytes().iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
    out.push(b'\n');
}

/// What a byte that is no hex digit has in [`VALUES`].
const NO_DIGIT: u8 = 16;

/// The value of each byte as a hex digit; a long journal has hundreds of millions of them.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// What a line without its line end says; `None` for one that nobody has written so.
pub fn parse(line: &[u8]) -> Option<(Option<State>, Key)> {
    let (state, digits) = match line {
        [b'o', b'k', b' ', digits @ ..] => (Some(State::Ok), digits),
        [b'f', b'a', b'i', b'l', b'e', b'd', b' ', digits @ ..] => (Some(State::Failed), digits),
        [b'p', b'a', b's', b's', b'i', b'n', b'g', b' ', digits @ ..] => (None, digits),
        _ => return None,
    };
    let digits: &[u8; 32] = digits.try_into().ok()?;
    let mut bytes = [0; 16];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < NO_DIGIT).then(|| (state, Key::from(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_pushed() {
        let key = Key::of_url("http://h/a", "a");
        for state in [Some(State::Ok), Some(State::Failed), None] {
            let mut line = Vec::new();
            push(&mut line, state, key);
            assert!(line.len() <= LONGEST && line.ends_with(b"\n"));
            line.pop();
            assert_eq!(parse(&line), Some((state, key)));
            assert_eq!(parse(&line[..line.len() - 1]), None, "torn");
            assert_eq!(parse(&[&line[..], b"0"].concat()), None, "run together");
            assert_eq!(parse(&line.to_ascii_uppercase()), None);
        }
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&[0; 35]), None);
    }

    #[test]
    fn keys_differ_by_url_by_name_and_by_kind() {
        let keys = [
            Key::of_url("http://h/a", "a"),
            Key::of_url("http://h/a", "b"),
            Key::of_url("http://h/b", "a"),
            Key::of_url("http://h/a", ""),
            Key::of_line(b"http://h/a"),
            Key::of_line(b"http://h/a\na"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
            assert_eq!(key.bits() & 1, 0);
            assert_eq!(Key::from(key.bytes()), *key);
        }
    }

    /// The key of a job is in every journal there is: it may never change.
    #[test]
    fn a_key_is_part_of_a_sha256() {
        let mut line = Vec::new();
        push(&mut line, Some(State::Ok), Key::of_url("http://h/a", "dir/a"));
        assert_eq!(line, b"ok b3b1bf38eec92adb9d93bbf94f8ee046\n");
    }
}
