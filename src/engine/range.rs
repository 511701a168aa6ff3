//! Content-Range (RFC 9110, section 14.4), read so strictly that nothing doubtful is put behind bytes that are there.

/// `bytes FIRST-LAST/LENGTH`, with `first <= last < length <= i64::MAX`, the kernel's largest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last one.
    pub last: u64,
    /// Bytes in all.
    pub length: u64,
}

impl ContentRange {
    /// Reads the header's value; `None` for anything else, an unknown length included.
    pub fn parse(value: &str) -> Option<ContentRange> {
        let (unit, range) = value.trim().split_once(' ')?;
        let (range, length) = range.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = ContentRange { first: number(first)?, last: number(last)?, length: number(length)? };
        let fits = range.first <= range.last && range.last < range.length;
        (unit.eq_ignore_ascii_case("bytes") && fits).then_some(range)
    }

    /// Bytes that it is about.
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Digits alone, no sign, and no more than fit.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && i64::try_from(*number).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_read_is_possible(text in "bytes [0-9*+-]{1,20}[-/*][0-9]{0,20}/?[0-9*]{0,20}") {
            if let Some(range) = ContentRange::parse(&text) {
                prop_assert!(range.first <= range.last && range.last < range.length && range.length <= i64::MAX as u64);
                let again = format!("bytes {}-{}/{}", range.first, range.last, range.length);
                prop_assert_eq!(ContentRange::parse(&again), Some(range));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            ContentRange::parse(&text);
        }
    }

    #[test]
    fn only_a_whole_and_possible_range_is_read() {
        for (text, expected) in [
            ("bytes 0-0/1", Some((0, 0, 1))),
            ("bytes 5-9/10", Some((5, 9, 10))),
            ("Bytes 5-9/100", Some((5, 9, 100))),
            ("bytes  5-9/10 ", Some((5, 9, 10))),
            ("bytes 4294967296-4294967297/4294967298", Some((1 << 32, (1 << 32) + 1, (1 << 32) + 2))),
            ("bytes 0-9223372036854775806/9223372036854775807", Some((0, i64::MAX as u64 - 1, i64::MAX as u64))),
            ("bytes 0-9223372036854775807/9223372036854775808", None),
            ("bytes 18446744073709551616-18446744073709551617/18446744073709551618", None),
            ("bytes 99999999999999999999999-9/10", None),
            ("bytes */10", None),
            ("bytes 5-9/*", None),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes 5-9/5", None),
            ("bytes -5-9/10", None),
            ("bytes +5-9/10", None),
            ("bytes 5-/10", None),
            ("bytes -9/10", None),
            ("bytes 5-9", None),
            ("bytes 5-9/", None),
            ("bytes: 5-9/10", None),
            ("bytes=5-9/10", None),
            ("5-9/10", None),
            ("lines 5-9/10", None),
            ("bytes 0x5-9/10", None),
            ("bytes 5-9/10, 12-13/20", None),
            ("", None),
        ] {
            let range = ContentRange::parse(text).map(|range| (range.first, range.last, range.length));
            assert_eq!(range, expected, "{text:?}");
        }
        assert_eq!(ContentRange::parse("bytes 5-9/10").map(|range| range.count()), Some(5));
    }
}
