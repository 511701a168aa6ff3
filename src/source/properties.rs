//! What holds for every list, whatever bytes it is made of. `PROPTEST_CASES=100000 cargo test properties` looks longer.

use proptest::collection::vec;
use proptest::prelude::*;

use super::lines::{Condition, LIMIT, Lines};
use super::parse::{Parser, Request, Verdict};

/// Bytes, and those that mean something more often than chance would have it.
fn text() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: [&[u8]; 12] = [
        b"http://",
        b"https://h/",
        b"\n",
        b"\r\n",
        b"\t",
        b"\xef\xbb\xbf",
        b"#",
        b"%2e",
        b"u:S3CR3T@",
        b"[::1]",
        b"\0",
        b"..",
    ];
    let word = proptest::sample::select(&WORDS[..]).prop_map(<[u8]>::to_vec);
    vec(prop_oneof![3 => word, 1 => vec(any::<u8>(), 0..20), 1 => "[a-z0-9./?&=:@-]{0,20}".prop_map(String::into_bytes)], 0..30)
        .prop_map(|parts| parts.concat())
}

/// The lines of `input` that arrives in pieces of these lengths, then all at once.
fn lines(input: &[u8], pieces: &[usize]) -> Vec<(Vec<u8>, u64, Condition)> {
    let mut lines = Lines::new();
    let (mut found, mut rest, mut pieces) = (Vec::new(), input, pieces.iter());
    loop {
        while let Some(line) = lines.take() {
            found.push((line.text.to_vec(), line.number, line.condition));
        }
        if lines.ended() {
            assert_eq!(lines.consumed(), input.len() as u64);
            return found;
        }
        if rest.is_empty() {
            lines.end(Condition::Whole);
            continue;
        }
        let room = lines.room();
        let count = pieces.next().map_or(usize::MAX, |piece| *piece).min(rest.len()).min(room.len());
        room[..count].copy_from_slice(&rest[..count]);
        lines.filled(count);
        rest = &rest[count..];
    }
}

/// The same, said simply.
fn model(input: &[u8]) -> Vec<(Vec<u8>, u64, Condition)> {
    let mut texts: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    if texts.last() == Some(&&b""[..]) {
        texts.pop();
    }
    let mut found = Vec::new();
    for (number, text) in (1..).zip(texts) {
        let text = if number == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        let end = text.iter().rposition(|byte| *byte != b'\r').map_or(0, |at| at + 1);
        let condition = if end > LIMIT { Condition::TooLong } else { Condition::Whole };
        found.push((text[..end.min(LIMIT + 1)].to_vec(), number, condition));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_are_those_of_the_text_however_it_arrives(input in text(), pieces in vec(1..40usize, 0..60)) {
        prop_assert_eq!(lines(&input, &pieces), model(&input));
    }

    #[test]
    fn long_lines_are_cut_and_no_tail_of_them_is_a_line(lengths in vec(0..200_000usize, 1..4), pieces in vec(1..90_000usize, 0..9)) {
        let input: Vec<u8> = lengths.iter().flat_map(|length| [vec![b'x'; *length], b"\n".to_vec()].concat()).collect();
        prop_assert_eq!(lines(&input, &pieces), model(&input));
    }

    #[test]
    fn a_line_is_refused_or_means_what_others_rely_on(line in text()) {
        let mut parser = Parser::default();
        match parser.parse(&line, Condition::Whole) {
            Verdict::Blank => {}
            Verdict::Refused(refused) => prop_assert!(!refused.why.is_empty()),
            Verdict::Accepted(Request { url, address, name, .. }) => {
                let sent = &address.request_url;
                prop_assert!(sent.starts_with("http://") || sent.starts_with("https://"));
                prop_assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()) && !sent.contains('#'));
                let authority = sent.split('/').nth(2).unwrap_or_default();
                prop_assert!(!authority.is_empty() && !authority.contains('@'));
                prop_assert!(address.host.port != 0 && !address.host.name.is_empty());
                prop_assert!(!url.contains(char::is_control));
                prop_assert!(name.is_none_or(|name| !name.is_empty() && !name.contains(char::is_control)));
                match parser.parse(sent.as_bytes(), Condition::Whole) {
                    Verdict::Accepted(again) => prop_assert_eq!(&again.address.request_url, sent),
                    other => prop_assert!(false, "{} is {:?}", sent, other),
                }
            }
        }
    }

    #[test]
    fn a_password_is_never_shown(scheme in "https?|HTTP|ftp|x", tail in text()) {
        let tail: Vec<u8> = tail.into_iter().filter(|byte| !b"@S".contains(byte)).collect();
        let line = [scheme.as_bytes(), b"://u:S3CR3T@", &tail].concat();
        for condition in [Condition::Whole, Condition::Torn, Condition::TooLong] {
            let shown = match Parser::default().parse(&line, condition) {
                Verdict::Blank => String::new(),
                Verdict::Refused(refused) => refused.url + &refused.why,
                Verdict::Accepted(request) => request.url,
            };
            prop_assert!(!shown.contains("S3CR3T"), "{}", shown);
        }
    }
}
