//! Bytes to lines, in one buffer of fixed size.
//!
//! However the bytes arrive, a line comes out whole and once. A line over [`LIMIT`] comes out once too, cut; the
//! rest of it is swallowed, so that its tail never passes for a line of its own. Knows nothing of descriptors and
//! nothing of URLs.

/// Longest line that is accepted, in bytes without its line end (64 KiB).
pub const LIMIT: usize = 64 * 1024;

/// U+FEFF in UTF-8; Windows editors put it in front of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes without a newline after which a line is over the limit whatever follows: mark, text and one CR.
const HOPELESS: usize = BYTE_ORDER_MARK.len() + LIMIT + 1;

/// Room for the longest unfinished line and still 64 KiB, a pipe's usual capacity, to read into.
const CAPACITY: usize = HOPELESS + 64 * 1024;

/// What is known of a line besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All of it.
    Whole,
    /// Over [`LIMIT`]; the text is its beginning.
    TooLong,
    /// Its source went away in the middle of it.
    Torn,
}

/// One physical line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The text without byte order mark and line end; at most [`LIMIT`] + 1 bytes.
    pub text: &'a [u8],
    /// Number in its input, from 1.
    pub number: u64,
    /// Whether that is all of it.
    pub condition: Condition,
}

/// The buffer and how far it was understood.
pub struct Lines {
    /// What ends a line.
    separator: u8,
    buffer: Box<[u8]>,
    /// First byte that was not handed out.
    start: usize,
    /// `start..scanned` holds no newline; a line that arrives byte by byte is searched once, not once a byte.
    scanned: usize,
    /// End of what was read.
    end: usize,
    /// Lines handed out of this input.
    number: u64,
    /// Bytes handed out or swallowed, of all inputs.
    consumed: u64,
    /// In the tail of a line that was over the limit.
    swallowing: bool,
    /// Nothing more will be read of this input; what a last line without newline then is.
    ended: Option<Condition>,
    /// The next line is the first of its input, the only place for a byte order mark.
    first: bool,
}

impl Lines {
    /// An empty buffer for lines that end in a newline.
    #[cfg(test)]
    pub fn new() -> Self {
        Lines::ending_in(b'\n')
    }

    /// An empty buffer for lines that end in `separator`.
    pub fn ending_in(separator: u8) -> Self {
        Lines {
            separator,
            buffer: vec![0; CAPACITY].into_boxed_slice(),
            start: 0,
            scanned: 0,
            end: 0,
            number: 0,
            consumed: 0,
            swallowing: false,
            ended: None,
            first: true,
        }
    }

    /// Begins the next input; its first line gets number `after + 1`.
    pub fn begin(&mut self, after: u64) {
        self.consumed += (self.end - self.start) as u64;
        self.start = 0;
        self.scanned = 0;
        self.end = 0;
        self.number = after;
        self.swallowing = false;
        self.ended = None;
        self.first = true;
    }

    /// Where to read to; never empty after [`Lines::take`] gave `None`.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            // Only the unfinished line is moved.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// `count` bytes were read into [`Lines::room`].
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The input ends here. A last line without newline is of `condition`.
    pub fn end(&mut self, condition: Condition) {
        self.ended = Some(condition);
    }

    /// Whether [`Lines::end`] was called for this input.
    pub fn ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Number of the line handed out last; 0 when none was.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes handed out or swallowed, line ends included, since the beginning.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next line; `None` when more must be read, or all is handed out and the input has ended.
    pub fn take(&mut self) -> Option<Line<'_>> {
        loop {
            let start = self.start;
            match self.buffer[self.scanned..self.end].iter().position(|byte| *byte == self.separator) {
                Some(offset) => {
                    let newline = self.scanned + offset;
                    self.consume(newline + 1);
                    if std::mem::take(&mut self.swallowing) {
                        continue;
                    }
                    return Some(self.line(start, newline, Condition::Whole));
                }
                None if self.swallowing => {
                    self.consume(self.end);
                    return None;
                }
                None if self.end - start > HOPELESS => {
                    self.consume(self.end);
                    self.swallowing = true;
                    return Some(self.line(start, self.end, Condition::TooLong));
                }
                None => {
                    self.scanned = self.end;
                    let condition = self.ended?;
                    if start == self.end {
                        return None;
                    }
                    self.consume(self.end);
                    return Some(self.line(start, self.end, condition));
                }
            }
        }
    }

    fn consume(&mut self, to: usize) {
        self.consumed += (to - self.start) as u64;
        self.start = to;
        self.scanned = to;
    }

    fn line(&mut self, start: usize, end: usize, condition: Condition) -> Line<'_> {
        self.number += 1;
        let mut text = &self.buffer[start..end];
        if std::mem::take(&mut self.first) {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        // All of them: a text converted twice ends its lines in CR CR LF, and a line that ended in a CR would not
        // survive being written to a file and read again.
        while self.separator == b'\n'
            && let [rest @ .., b'\r'] = text
        {
            text = rest;
        }
        if text.len() > LIMIT {
            return Line { text: &text[..LIMIT + 1], number: self.number, condition: Condition::TooLong };
        }
        Line { text, number: self.number, condition }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Owned = (Vec<u8>, u64, Condition);

    /// All lines of `input` when it arrives in pieces of `piece` bytes.
    fn split(input: &[u8], piece: usize) -> Vec<Owned> {
        let mut lines = Lines::new();
        let mut found = Vec::new();
        let mut rest = input;
        loop {
            while let Some(line) = lines.take() {
                found.push((line.text.to_vec(), line.number, line.condition));
            }
            if lines.ended() {
                assert_eq!(lines.consumed(), input.len() as u64, "every byte is accounted for");
                return found;
            }
            if rest.is_empty() {
                lines.end(Condition::Whole);
                continue;
            }
            let room = lines.room();
            assert!(!room.is_empty());
            let count = piece.min(rest.len()).min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            lines.filled(count);
            rest = &rest[count..];
        }
    }

    fn whole(lines: &[&[u8]]) -> Vec<Owned> {
        lines.iter().zip(1..).map(|(text, number)| (text.to_vec(), number, Condition::Whole)).collect()
    }

    #[test]
    fn lines_come_out_the_same_however_they_arrive() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b"\n", &[b""]),
            (b"\n\n\n", &[b"", b"", b""]),
            (b"a\nb\n", &[b"a", b"b"]),
            (b"a\nb", &[b"a", b"b"]),
            (b"a\r\nb\r\n", &[b"a", b"b"]),
            (b"a\r\r\nb\r", &[b"a", b"b"]),
            (b"a\rb\n", &[b"a\rb"]),
            (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", &[b"a", b"\xef\xbb\xbfb"]),
            (b"\xef\xbb\xbf", &[b""]),
            (b"\xef\xbb", &[b"\xef\xbb"]),
            (b"\xef\xbb\xbf\xef\xbb\xbfa", &[b"\xef\xbb\xbfa"]),
            (b"a\0b\n\0\n", &[b"a\0b", b"\0"]),
            (b"\xff\xfea\0\n\0", &[b"\xff\xfea\0", b"\0"]),
        ];
        for (input, expected) in cases {
            for piece in [1, 2, 3, 7, usize::MAX] {
                assert_eq!(split(input, piece), whole(expected), "{input:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole_and_one_byte_more_is_not() {
        for (mark, ending) in [("", "\n"), ("", "\r\n"), ("\u{feff}", "\r\n"), ("\u{feff}", "\r")] {
            for (length, condition) in [(LIMIT, Condition::Whole), (LIMIT + 1, Condition::TooLong)] {
                let input = format!("{mark}{}{ending}", "x".repeat(length));
                for piece in [1, 4096, usize::MAX] {
                    let found = split(input.as_bytes(), piece);
                    assert_eq!(found.len(), 1);
                    assert_eq!(found[0].2, condition, "{length} bytes and {ending:?} in pieces of {piece}");
                    assert_eq!(found[0].0.len(), length);
                }
            }
        }
    }

    #[test]
    fn an_endless_line_is_one_line_and_its_tail_is_swallowed() {
        for (length, ending, piece) in [(LIMIT + 9, "\n", 1), (1 << 20, "\n", 4096), (1 << 20, "\n", usize::MAX)] {
            let input = format!("first\n{}{ending}http://good/\n", "x".repeat(length));
            let found = split(input.as_bytes(), piece);
            assert_eq!(found.len(), 3, "{length} in pieces of {piece}");
            assert_eq!(found[1].0, vec![b'x'; LIMIT + 1]);
            assert_eq!(found[1].2, Condition::TooLong);
            assert_eq!(found[2], (b"http://good/".to_vec(), 3, Condition::Whole));
        }
        let unfinished = split(&vec![b'x'; 1 << 20], usize::MAX);
        assert_eq!(unfinished.len(), 1, "also without a newline at the end");
    }

    #[test]
    fn the_next_input_begins_afresh_but_bytes_are_counted_on() {
        let mut lines = Lines::new();
        lines.room()[..4].copy_from_slice(b"a\nbc");
        lines.filled(4);
        assert_eq!(lines.take().map(|line| line.number), Some(1));
        assert_eq!(lines.take(), None);
        lines.end(Condition::Torn);
        assert_eq!(lines.take(), Some(Line { text: b"bc", number: 2, condition: Condition::Torn }));
        assert_eq!(lines.take(), None);
        lines.begin(2);
        lines.room()[..2].copy_from_slice(b"d\n");
        lines.filled(2);
        assert_eq!(lines.take(), Some(Line { text: b"d", number: 3, condition: Condition::Whole }));
        assert_eq!(lines.consumed(), 6);
    }
}
