//! One line → what it asks for. The rules of a list, in the order in which they are tried.
//!
//! A line is data: it is never an option and never a command. Knows nothing of where lines come from, and of the
//! name after the TAB only whether it is text; where that may lead is decided where files are made.

use std::borrow::Cow;

use super::json;
use super::lines::Condition;
use super::shown;
use crate::address::{Address, Addresses, Base};
use crate::job::{Checksum, Particulars};
use crate::text::{readable, without_credentials};

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// White space only, or a comment.
    Blank,
    /// Something to fetch.
    Accepted(Request),
    /// A bad line.
    Refused(Refused),
}

/// A bad line.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its URL so far as it may be shown; bounded.
    pub url: String,
    /// Why it is bad, for a person.
    pub why: Cow<'static, str>,
    /// What was understood of it.
    pub particulars: Option<Box<Particulars>>,
}

/// What lines are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A URL, and a name after a TAB.
    #[default]
    Plain,
    /// A JSON object.
    Json,
}

/// A good line.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The URL as typed, without credentials.
    pub url: String,
    /// The URL as it is sent, to whom, with which credentials.
    pub address: Address,
    /// The output name after the TAB.
    pub name: Option<String>,
    /// What its body must hash to.
    pub checksum: Option<Checksum>,
    /// What only JSON can say.
    pub particulars: Option<Box<Particulars>>,
}

/// Judges lines.
#[derive(Default)]
pub struct Parser {
    format: Format,
    addresses: Addresses,
}

impl Parser {
    /// A parser for lines of this format, whose relative URLs are meant from `base`.
    pub fn new(format: Format, base: Option<Base>) -> Parser {
        Parser { format, addresses: Addresses::new(base) }
    }

    /// What `line`, a text without its line end, asks for.
    pub fn parse(&mut self, line: &[u8], condition: Condition) -> Verdict {
        match self.format {
            Format::Plain => self.plain(line, condition),
            Format::Json => self.json(line, condition),
        }
    }

    /// The same for a plain line, whatever the format of the others.
    pub fn plain(&mut self, line: &[u8], condition: Condition) -> Verdict {
        let blank = condition != Condition::TooLong && line.iter().copied().all(is_white);
        if blank || line.starts_with(b"#") {
            return Verdict::Blank;
        }
        match whole(condition).and_then(|()| self.request(line)) {
            Ok(request) => Verdict::Accepted(request),
            Err(why) => Verdict::Refused(Refused { url: shown::refused(line, condition), why, particulars: None }),
        }
    }

    fn json(&mut self, line: &[u8], condition: Condition) -> Verdict {
        if condition != Condition::TooLong && line.iter().copied().all(is_white) {
            return Verdict::Blank;
        }
        // Of a line that is cut nothing is shown: it is not known what it is.
        let cut = |why| Refused { url: String::new(), why, particulars: Some(Box::default()) };
        match whole(condition).map_err(cut).and_then(|()| json::parse(line, &mut self.addresses)) {
            Ok(request) => Verdict::Accepted(request),
            Err(refused) => Verdict::Refused(refused),
        }
    }

    fn request(&mut self, line: &[u8]) -> Result<Request, Cow<'static, str>> {
        if line.first() == Some(&b'-') {
            return Err("line begins with -: a list holds no options".into());
        }
        let (url, name) = match line.iter().position(|byte| *byte == b'\t') {
            Some(tab) if tab > 0 => (&line[..tab], Some(&line[tab + 1..])),
            _ => (line, None),
        };
        check_url(url)?;
        let name = name.map(checked_name).transpose()?;
        let (url, address) = address_of(url, &mut self.addresses)?;
        Ok(Request { url, address, name, checksum: None, particulars: None })
    }
}

/// Whether the line is all there.
fn whole(condition: Condition) -> Result<(), Cow<'static, str>> {
    match condition {
        Condition::Whole => Ok(()),
        Condition::TooLong => Err("line is longer than 64 KiB".into()),
        Condition::Torn => Err("line breaks off: its FIFO was removed".into()),
    }
}

/// Refuses what no URL has.
pub fn check_url(url: &[u8]) -> Result<(), Cow<'static, str>> {
    match url.first() {
        Some(byte) if is_white(*byte) => Err("white space before the URL".into()),
        _ => refuse_controls(url),
    }
}

/// The URL as it is shown, and where it leads.
pub fn address_of(url: &[u8], addresses: &mut Addresses) -> Result<(String, Address), Cow<'static, str>> {
    // Invisible at the end, and no URL ends in one.
    let url = addresses.absolute(url.trim_ascii_end())?;
    let address = addresses.parse(&url)?;
    Ok((without_credentials(&readable(&url)), address))
}

/// ASCII white space, vertical tab included.
fn is_white(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

/// C0, DEL and, in UTF-8, C1: they would be dropped by the URL parser, end a C string early or reach a terminal.
fn refuse_controls(text: &[u8]) -> Result<(), Cow<'static, str>> {
    let found = if text.is_ascii() {
        // Looks at every byte whatever it finds, which the compiler turns into a few wide instructions.
        if !text.iter().fold(false, |found, byte| found | byte.is_ascii_control()) {
            return Ok(());
        }
        text.iter().find(|byte| byte.is_ascii_control()).map(|byte| char::from(*byte))
    } else {
        text.utf8_chunks().find_map(|chunk| chunk.valid().chars().find(|c| c.is_control()))
    };
    match found {
        None => Ok(()),
        Some('\0') => Err("NUL byte in the line; is this UTF-16? Lists are UTF-8".into()),
        Some(c) => Err(format!("control character U+{:04X} in the line", u32::from(c)).into()),
    }
}

/// The output name as text.
pub fn checked_name(name: &[u8]) -> Result<String, Cow<'static, str>> {
    if name.is_empty() {
        return Err("no output name after the TAB".into());
    }
    match str::from_utf8(name) {
        Err(_) => Err("output name is not UTF-8".into()),
        Ok(name) if name.contains(char::is_control) => Err("control character in the output name".into()),
        Ok(name) => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::LIMIT;
    use super::*;

    fn parse(line: &[u8]) -> Verdict {
        Parser::default().parse(line, Condition::Whole)
    }

    fn why(line: &[u8]) -> String {
        match parse(line) {
            Verdict::Refused(refused) => refused.why.into_owned(),
            other => panic!("{line:?} is {other:?}"),
        }
    }

    #[test]
    fn blank_lines_and_comments_are_skipped() {
        for line in ["", " ", "\t", " \t \x0b\x0c", "#", "# http://h/", "#\x01\0", "#http://h/\tname"] {
            assert_eq!(parse(line.as_bytes()), Verdict::Blank, "{line:?}");
        }
        let long = vec![b'#'; LIMIT + 1];
        assert_eq!(Parser::default().parse(&long, Condition::TooLong), Verdict::Blank);
        assert_eq!(Parser::default().parse(b"#", Condition::Torn), Verdict::Blank);
    }

    #[test]
    fn a_line_is_never_an_option() {
        for line in ["-o/etc/x", "--config=x", "-", "-http://h/", "--"] {
            assert_eq!(why(line.as_bytes()), "line begins with -: a list holds no options", "{line:?}");
        }
        for line in ["  out=../../x", "\tdir=/etc", " http://h/", "\thttp://h/", "\x0bhttp://h/", " # no comment"] {
            assert_eq!(why(line.as_bytes()), "white space before the URL", "{line:?}");
        }
    }

    #[test]
    fn every_control_character_makes_a_line_bad_wherever_it_stands() {
        for code in (0..0x20).chain(0x7f..0xa0).filter(|code| *code != 9) {
            let control = char::from_u32(code).map(String::from).unwrap_or_default();
            for line in [
                format!("http://h/a{control}b"),
                format!("http://h/a{control}"),
                format!("http://h{control}/"),
                format!("ht{control}tp://h/"),
                format!("http://u{control}@h/"),
                format!("http://h/a{control}http://evil/"),
                format!("http://h/ü?{control}"),
                format!("http://h/a\tna{control}me"),
                format!("http://h/a\tname{control}"),
            ] {
                assert!(matches!(parse(line.as_bytes()), Verdict::Refused(_)), "{line:?}");
            }
        }
        assert_eq!(why(b"http://h/a\0http://evil/"), "NUL byte in the line; is this UTF-16? Lists are UTF-8");
        assert_eq!(why(b"http://h/a\x1b[2J"), "control character U+001B in the line");
        assert_eq!(why(b"http://h/\xff\x01"), "control character U+0001 in the line");
    }

    #[test]
    fn a_name_may_follow_a_tab() {
        for (line, expected) in [
            ("http://h/a\tname", Some("name")),
            ("http://h/a\tdir/two words.txt ", Some("dir/two words.txt ")),
            ("http://h/a \tname", Some("name")),
            ("http://h/a\t../x", Some("../x")),
            ("http://h/a\tü", Some("ü")),
            ("http://h/a", None),
            ("http://h/a  ", None),
        ] {
            match parse(line.as_bytes()) {
                Verdict::Accepted(request) => {
                    assert_eq!(request.name.as_deref(), expected, "{line:?}");
                    assert_eq!(
                        (request.url.as_str(), request.address.request_url.as_str()),
                        ("http://h/a", "http://h/a")
                    );
                }
                other => panic!("{line:?} is {other:?}"),
            }
        }
        assert_eq!(why(b"http://h/a\t"), "no output name after the TAB");
        assert_eq!(why(b"http://h/a\tb\tc"), "control character in the output name");
        assert_eq!(why(b"http://h/a\ta\0b"), "control character in the output name");
        assert_eq!(why(b"http://h/a\t\xff"), "output name is not UTF-8");
    }

    #[test]
    fn utf16_is_all_bad_lines_whatever_its_byte_order_and_none_crashes() {
        let text = "http://h/a\r\nhttps://example.com/b\r\nc\r\n";
        let little: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big] {
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                assert!(matches!(parse(line), Verdict::Refused(_)), "{line:?}");
            }
        }
    }

    #[test]
    fn cut_and_torn_lines_are_refused_even_when_they_would_parse() {
        for (condition, message) in [
            (Condition::TooLong, "line is longer than 64 KiB"),
            (Condition::Torn, "line breaks off: its FIFO was removed"),
        ] {
            let verdict = Parser::default().parse(b"http://h/a", condition);
            let refused = Refused { url: "http://h/a".into(), why: message.into(), particulars: None };
            assert_eq!(verdict, Verdict::Refused(refused));
        }
    }

    /// xorshift: the same hostile lines in every run.
    fn random(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as usize
    }

    #[test]
    fn whatever_is_accepted_holds_to_what_others_rely_on() {
        const PARTS: [&[u8]; 30] = [
            b"http",
            b"https",
            b"://",
            b":",
            b"/",
            b"//",
            b"\\",
            b"@",
            b"?",
            b"#",
            b"%",
            b"%40",
            b"%00",
            b"%2e%2e",
            b"..",
            b"h",
            b"example.com",
            b"127.1",
            b"[::1]",
            b"0",
            b"80",
            b"65536",
            b" ",
            b"\t",
            b"\0",
            b"\xff",
            "ü".as_bytes(),
            "\u{202e}".as_bytes(),
            b"user:S3CR3T",
            b"S3CR3T@",
        ];
        let mut parser = Parser::default();
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let mut accepted = 0;
        for round in 0..60_000 {
            let mut line: Vec<u8> = if round % 2 == 0 { b"http://".to_vec() } else { Vec::new() };
            for _ in 0..random(&mut state) % 9 {
                line.extend_from_slice(PARTS[random(&mut state) % PARTS.len()]);
            }
            let Verdict::Accepted(Request { url, address, name, .. }) = parser.parse(&line, Condition::Whole) else {
                continue;
            };
            accepted += 1;
            let sent = &address.request_url;
            assert!(sent.starts_with("http://") || sent.starts_with("https://"), "{line:?}");
            assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()), "{line:?} is sent as {sent}");
            assert!(!sent.contains('#'), "{line:?} is sent as {sent}");
            let authority = sent.split('/').nth(2).unwrap_or_default();
            assert!(!authority.is_empty() && !authority.contains('@'), "{line:?} is sent as {sent}");
            assert!(address.host.port != 0 && !address.host.name.is_empty(), "{line:?}");
            assert!(!url.contains(char::is_control), "{line:?} is shown as {url:?}");
            assert!(name.is_none_or(|name| !name.is_empty() && !name.contains(char::is_control)), "{line:?}");
            // What is sent means the same when it is read again.
            match parser.parse(sent.as_bytes(), Condition::Whole) {
                Verdict::Accepted(again) => assert_eq!(again.address.request_url, *sent),
                other => panic!("{line:?} is sent as {sent}, which is {other:?}"),
            }
        }
        assert!(accepted > 500, "only {accepted} lines were accepted: the test tests little");
    }
}
