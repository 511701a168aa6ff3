//! Everything that reads what others wrote, and what holds whatever they wrote. One function a target; a panic is a finding.
//!
//! The program has no library, so its files are taken as they are: this is `src/` with the rooms' doors open and
//! without libcurl.

#![allow(dead_code, unused_imports)]

#[path = "../../src"]
mod program {
    pub mod address;
    pub mod cli;
    pub mod job;
    pub mod replacement;
    pub mod text;

    #[path = "cli"]
    pub mod config {
        pub mod config_file;
        pub mod foreign;
        pub mod mistake;
        pub mod origins;

        pub use super::cli::longs;
    }
    pub mod engine {
        pub mod disposition;
        pub mod range;
        pub mod response;
    }
    pub mod journal {
        pub mod file;
        pub mod line;
        pub mod puts;
        pub mod table;
    }
    pub mod sink {
        pub mod checksums;
        pub mod hash;
        pub mod head;
        pub mod names;
        pub mod ours;
        pub mod sidecar;
        pub mod sys;
        pub mod version;

        pub use sidecar::Resume;
        pub use version::Version;
    }
    pub mod source {
        pub mod json;
        pub mod lines;
        pub mod parse;
        pub mod shown;
    }
}

use std::ffi::OsString;
use std::io::{Read, Write};
use std::time::Duration;

use program::config::config_file;
use program::engine::disposition::file_name;
use program::engine::range::ContentRange;
use program::engine::response::{Asked, Response};
use program::journal::file::{Unreadable, read};
use program::journal::line::{self, HEADER};
use program::journal::table::Table;
use program::sink::checksums::Checksums;
use program::sink::hash::Digest;
use program::sink::{Resume, Version, names};
use program::source::lines::{Condition, LIMIT, Lines};
use program::source::parse::{Format, Parser, Request, Verdict};
use program::{address, cli, job, replacement, sink, text};

/// What is read in pieces of these lengths, in turn.
struct Bits<'a> {
    rest: &'a [u8],
    lengths: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl<'a> Bits<'a> {
    fn of(rest: &'a [u8], lengths: &'a [u8]) -> Bits<'a> {
        Bits { rest, lengths: lengths.iter().cycle() }
    }
}

impl Read for Bits<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // Lines are long where it matters, so the lengths are of all sizes.
        let length = self.lengths.next().map_or(usize::MAX, |length| 1 + usize::from(*length).pow(2));
        let length = length.min(buffer.len()).min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest[..length]);
        self.rest = &self.rest[length..];
        Ok(length)
    }
}

/// The first `count` bytes and what follows.
fn split(data: &[u8], count: usize) -> (&[u8], &[u8]) {
    data.split_at(count.min(data.len()))
}

/// A list comes out the same however it arrives, and what is accepted of it is what the other rooms rely on.
pub fn lines(data: &[u8]) {
    let ([how, ..], data) = split(data, 1) else { return };
    let (lengths, list) = split(data, 4);
    // A letter makes the list long: the limit is 64 KiB.
    let list = if how & 4 == 0 { list.to_vec() } else { stretched(list) };
    let (separator, format) =
        (if how & 1 == 0 { b'\n' } else { 0 }, if how & 2 == 0 { Format::Plain } else { Format::Json });
    let found = split_lines(&list, lengths, separator);
    assert_eq!(found, split_lines(&list, &[], separator), "however it arrives");
    let mut parser = Parser::new(format, None);
    for (line, condition) in found {
        assert!(line.len() <= LIMIT + 1);
        assert_eq!(line.len() > LIMIT, condition == Condition::TooLong);
        match parser.parse(&line, condition) {
            Verdict::Blank => {}
            Verdict::Refused(refused) => assert!(!refused.why.is_empty()),
            Verdict::Accepted(request) => accepted(&request),
        }
    }
}

fn stretched(list: &[u8]) -> Vec<u8> {
    list.iter().flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b'z' { 9000 } else { 1 })).collect()
}

fn split_lines(list: &[u8], lengths: &[u8], separator: u8) -> Vec<(Vec<u8>, Condition)> {
    let (mut lines, mut bits, mut found) = (Lines::ending_in(separator), Bits::of(list, lengths), Vec::new());
    loop {
        while let Some(line) = lines.take() {
            assert_eq!(line.number, found.len() as u64 + 1);
            found.push((line.text.to_vec(), line.condition));
        }
        if lines.ended() {
            assert_eq!(lines.consumed(), list.len() as u64);
            return found;
        }
        match bits.read(lines.room()).expect("it is memory") {
            0 => lines.end(Condition::Whole),
            count => lines.filled(count),
        }
    }
}

fn accepted(request: &Request) {
    let Request { url, address, name, .. } = request;
    let sent = &address.request_url;
    assert!(sent.starts_with("http://") || sent.starts_with("https://"), "{sent:?}");
    assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()) && !sent.contains('#'), "{sent:?}");
    let authority = sent.split('/').nth(2).unwrap_or_default();
    assert!(!authority.is_empty() && !authority.contains('@'), "{sent:?}");
    assert!(address.host.port != 0 && !address.host.name.is_empty(), "{sent:?}");
    assert!(!url.contains(char::is_control), "{url:?}");
    assert!(name.as_ref().is_none_or(|name| !name.is_empty() && !name.contains(char::is_control)), "{name:?}");
    match Parser::default().parse(sent.as_bytes(), Condition::Whole) {
        Verdict::Accepted(again) => assert_eq!(again.address.request_url, *sent),
        other => panic!("{sent:?} is {other:?}"),
    }
}

/// Whatever a URL or a server calls it, its name stays where it belongs and does no harm.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let digest = Digest::of(text);
    safe(&names::finished(names::name(&format!("http://h/{text}")), &digest));
    let tree = names::finished(names::path(&format!("http://h/{text}")), &digest);
    tree.split('/').for_each(safe);
    names::hashed(&tree, &digest, 64).split('/').for_each(safe);
    if let Verdict::Accepted(request) = Parser::default().parse(format!("http://h/{text}").as_bytes(), Condition::Whole)
    {
        names::finished(names::path(&request.address.request_url), &digest).split('/').for_each(safe);
    }
    if let Some(name) = names::suggested(text, &digest) {
        safe(&name);
    }
    if let Ok(path) = names::confined(text) {
        assert!(path == text || path.strip_suffix('_') == Some(text), "{path:?}");
        let sound =
            |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255 && !part.contains(char::is_control);
        assert!(path.split('/').all(sound), "{path:?}");
    }
}

fn safe(component: &str) {
    assert_eq!(names::confined(component).as_deref(), Ok(component), "one whole name");
    assert!(!component.starts_with(['.', '-', '~']) && !component.contains(['/', '\\']), "{component:?}");
    assert!(component.len() + ".part.meta".len() <= 255, "{component:?}");
    assert!(!component.contains(text::is_hostile), "{component:?}");
}

/// The header is read without stumbling, and a name that is quoted or encoded comes back.
pub fn disposition(data: &[u8]) {
    if let Some(name) = file_name(data)
        && let Some(safely) = names::suggested(&name, &Digest::of("http://h/"))
    {
        safe(&safely);
    }
    let Ok(name) = std::str::from_utf8(data) else { return };
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    assert_eq!(file_name(format!("attachment; filename=\"{quoted}\"; x=y").as_bytes()).as_deref(), Some(name));
    let encoded: String = data.iter().map(|byte| format!("%{byte:02X}")).collect();
    let both = format!("attachment; filename=x; filename*=UTF-8''{encoded}");
    assert_eq!(file_name(both.as_bytes()).as_deref(), Some(name));
}

/// What is read is possible, and a 206 that is accepted is about the bytes that follow on those that are there.
pub fn content_range(data: &[u8]) {
    let value = String::from_utf8_lossy(data);
    if let Some(range) = ContentRange::parse(&value) {
        assert!(range.first <= range.last && range.last < range.length && range.length <= i64::MAX as u64);
        assert_eq!(range.count(), range.last - range.first + 1);
        let said = format!("bytes {}-{}/{}", range.first, range.last, range.length);
        assert_eq!(ContentRange::parse(&said), Some(range));
    }
    let (from, head) = split(data, 2);
    let from = from.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let version = Version { etag: Some("\"x\"".into()), ..Version::default() };
    for length in [None, Some(10), Some(from + 1)] {
        let resume = Resume { from, length, version: Some(version.clone()), name: None };
        let mut response = Response::default();
        response.read(b"HTTP/1.1 206 x\r\n");
        head.split_inclusive(|byte| *byte == b'\n').for_each(|line| response.read(line));
        if let Ok(accepted) = response.accept(Asked { resume: Some(&resume), newer: false })
            && let program::engine::response::Accepted::Rest(range) = accepted
        {
            assert_eq!((response.status, range.first), (206, from));
            assert!(length.is_none_or(|length| length == range.length));
            assert!(response.declared().is_none_or(|declared| declared == range.count()));
            assert_eq!(response.version.etag.as_deref(), Some("\"x\""));
        }
    }
}

/// It is no time, or a bounded one; of the first response only, when another follows.
pub fn retry_after(data: &[u8]) {
    const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let (date, value) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&b""[..], data),
    };
    let mut response = Response::default();
    response.read(b"HTTP/1.1 503 x\r\n");
    response.read(&[b"Date: ", date, b"\r\n"].concat());
    response.read(&[b"Retry-After: ", value, b"\r\n"].concat());
    let found = response.retry_after();
    assert!(found.is_none_or(|time| time <= TEN_YEARS), "{found:?}");
    let digits = value.trim_ascii();
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        let seconds =
            digits.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        assert_eq!(found, Some(Duration::from_secs(seconds).min(TEN_YEARS)));
    }
    data.split_inclusive(|byte| *byte == b'\n').for_each(|line| response.read(line));
    let _ = (response.retry_after(), response.accept(Asked { resume: None, newer: true }), response.leads());
    response.read(b"\r\n");
    response.read(b"HTTP/1.1 200 x\r\n");
    assert_eq!(response.retry_after(), None);
}

/// A journal reads the same however it arrives, every whole line counts, and what is not one is refused.
pub fn journal(data: &[u8]) {
    let (lengths, data) = split(data, 4);
    let content = match data.split_first() {
        Some((1.., rest)) => [HEADER, rest].concat(),
        _ => data.to_vec(),
    };
    let (mut whole, mut bitwise) = (Table::default(), Table::default());
    let one = read(&mut &content[..], &mut whole.fill(0));
    let other = read(&mut Bits::of(&content, lengths), &mut bitwise.fill(0));
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other);
            assert_eq!(settled(&whole), settled(&bitwise));
            assert_eq!(settled(&whole), settled(&model(&content[..one.whole as usize])));
            assert!(!content[one.whole as usize..].contains(&b'\n') || one.whole == 0);
        }
        (Err(Unreadable::Garbage), Err(Unreadable::Garbage)) => assert!(!content.starts_with(HEADER)),
        (Err(Unreadable::Version(one)), Err(Unreadable::Version(other))) => assert_eq!(one, other),
        (one, other) => panic!("{one:?} and {other:?}"),
    }
}

fn settled(table: &Table) -> Vec<(u128, u8)> {
    let mut settled: Vec<_> = table.iter().map(|(key, state)| (key.bits(), state as u8)).collect();
    settled.sort_unstable();
    settled
}

/// The same, said simply.
fn model(content: &[u8]) -> Table {
    let mut table = Table::default();
    let lines = content.strip_prefix(HEADER).unwrap_or_default();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        match line::parse(line.strip_suffix(b"\n").unwrap_or(line)) {
            Some(line::Line::Is(state, key)) => table.insert(key, state),
            Some(line::Line::Put { .. }) | None => {}
        }
    }
    table
}

/// A checksum file is refused by the number of a line of it, or each plain line of it counts.
pub fn checksums(data: &[u8]) {
    let lines = || data.split(|byte| *byte == b'\n');
    let checksums = match Checksums::parse(data) {
        Err((line, why)) => {
            assert!((1..=lines().count()).contains(&line) && !why.is_empty(), "{line}: {why}");
            return;
        }
        Ok(checksums) => checksums,
    };
    for line in lines().filter_map(|line| std::str::from_utf8(line).ok()) {
        if let Some((digits, name)) = line.split_once("  ")
            && digits.len() == 64
            && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase())
        {
            let found = checksums.of(name).map(|checksum| checksum.to_string());
            assert!(found.as_ref().is_some_and(|found| found.ends_with(digits)), "{line:?}: {found:?}");
        }
    }
}

/// A config file is refused with its name and line, or its options mean together what they mean when typed.
pub fn config(data: &[u8]) {
    thread_local! {
        static DEFINITION: clap::Command = cli::command();
        static FILE: std::fs::File = std::fs::File::from(memfd());
    }
    let path = FILE.with(|file| {
        use std::os::fd::AsRawFd;
        file.set_len(0)
            .and_then(|()| std::os::unix::fs::FileExt::write_all_at(file, data, 0))
            .expect("write to memory");
        format!("/proc/self/fd/{}", file.as_raw_fd())
    });
    let typed: Vec<OsString> = ["fetchmany", "--config", &path].map(OsString::from).to_vec();
    DEFINITION.with(|command| {
        let matches = command.clone().try_get_matches_from(&typed).expect("it is a command line");
        match config_file::merged(command, &typed, &matches) {
            Err(why) => assert!(why.contains(&path) && !why.contains('\n'), "{why:?}"),
            Ok(merged) => {
                assert!(command.clone().try_get_matches_from(&merged.words).is_ok());
                assert_eq!(merged.words.first(), typed.first());
                assert!(merged.words.ends_with(&typed[1..]));
            }
        }
    });
}

fn memfd() -> std::os::fd::OwnedFd {
    rustix::fs::memfd_create("config", rustix::fs::MemfdFlags::CLOEXEC).expect("memory")
}
