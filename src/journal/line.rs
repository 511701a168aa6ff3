//! A line of the journal: a word and a key. And the first line, by which a file is known to be a journal.
//!
//! Must not know files.

use sha2::{Digest as _, Sha256};

use crate::job::Key;

/// The first line; its number is that of the format.
pub const HEADER: &[u8] = b"fetchmany-journal 1\n";

/// The beginning of the first line of every format.
pub const ANY_HEADER: &[u8] = b"fetchmany-journal ";

/// The longest line that can be one of ours, with its line end: a path is no longer than the kernel opens.
pub const LONGEST: usize = 8192;

/// Bytes of the line that says least.
pub const SHORTEST: usize = "ok \n".len() + 32;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is to be done, under this name, which is nobody else's.
    Open,
    /// The body is where it belongs.
    Ok,
    /// It would fail again.
    Failed,
    /// The body is where it belongs, under another name than this.
    Alias,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// How far the job is.
    Is(State, Key),
    /// Its body is about to be put at `path`, where it is known again by `mark`.
    Put {
        /// The job.
        key: Key,
        /// A word without spaces.
        mark: &'a str,
        /// No line end is in it.
        path: &'a str,
    },
}

/// What a line is known by that can be no job.
pub fn key_of_line(line: &[u8]) -> Key {
    let hash = Sha256::new().chain_update(b"line ").chain_update(line).finalize();
    Key::from(hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
}

/// Appends the line that says how far the job is.
pub fn push(out: &mut Vec<u8>, state: State, key: Key) {
    push_word(out, state.word(), key);
    out.push(b'\n');
}

/// Appends the line that says that its body is about to be put at `path`.
pub fn push_put(out: &mut Vec<u8>, key: Key, mark: &str, path: &str) {
    push_word(out, "put", key);
    for text in [mark, path] {
        out.push(b' ');
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'\n');
}

fn push_word(out: &mut Vec<u8>, word: &str, key: Key) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(key.bits().to_be_bytes()) {
        *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    }
    out.extend_from_slice(word.as_bytes());
    out.push(b' ');
    out.extend_from_slice(&digits);
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Ok => "ok",
            State::Failed => "failed",
            State::Alias => "alias",
        }
    }
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
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (state, rest) = match line {
        [b'o', b'k', b' ', rest @ ..] => (State::Ok, rest),
        [b'p', b'u', b't', b' ', rest @ ..] => return parse_put(rest),
        [b'o', b'p', b'e', b'n', b' ', rest @ ..] => (State::Open, rest),
        [b'f', b'a', b'i', b'l', b'e', b'd', b' ', rest @ ..] => (State::Failed, rest),
        [b'a', b'l', b'i', b'a', b's', b' ', rest @ ..] => (State::Alias, rest),
        _ => return None,
    };
    Some(Line::Is(state, parse_key(rest.try_into().ok()?)?))
}

fn parse_put(rest: &[u8]) -> Option<Line<'_>> {
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let (mark, path) = std::str::from_utf8(rest).ok()?.strip_prefix(' ')?.split_once(' ')?;
    Some(Line::Put { key: parse_key(key)?, mark, path })
}

fn parse_key(digits: &[u8; 32]) -> Option<Key> {
    let mut bytes = [0; 16];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < NO_DIGIT).then(|| Key::from(u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_pushed() {
        let key = Key::of(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        let mut line = Vec::new();
        for state in [State::Open, State::Ok, State::Failed, State::Alias] {
            line.clear();
            push(&mut line, state, key);
            assert!((SHORTEST..=LONGEST).contains(&line.len()) && line.ends_with(b"\n"));
            line.pop();
            assert_eq!(parse(&line), Some(Line::Is(state, key)));
            assert_eq!(parse(&line[..line.len() - 1]), None, "torn");
            assert_eq!(parse(&[&line[..], b"0"].concat()), None, "run together");
            assert_eq!(parse(&line.to_ascii_uppercase()), None);
        }
        for path in ["a", "dir/a name, ü", ""] {
            line.clear();
            push_put(&mut line, key, "1-2-3.4", path);
            line.pop();
            assert_eq!(parse(&line), Some(Line::Put { key, mark: "1-2-3.4", path }));
        }
        assert_eq!(parse(&line[..line.len() - 2]), None, "torn");
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&[0; 35]), None);
    }

    /// What stands for jobs is in every journal there is: it may never change.
    #[test]
    fn a_line_of_today_is_one_of_tomorrow() {
        let mut line = Vec::new();
        push(&mut line, State::Ok, Key::from(u128::from_be_bytes(*b"0123456789abcdef")));
        assert_eq!(line, b"ok 30313233343536373839616263646564\n");
        line.clear();
        push_put(&mut line, Key::from(u128::from_be_bytes([0x44; 16])), "1-2-3.4", "a b");
        assert_eq!(line, b"put 44444444444444444444444444444444 1-2-3.4 a b\n");
    }
}
