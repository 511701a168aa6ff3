//! The file name of a Content-Disposition (RFC 6266, RFC 8187), as the server gave it: whoever uses it makes it safe.

use percent_encoding::percent_decode;

/// The file name in the header's value: `filename*` where it can be read, else `filename`.
pub fn file_name(value: &[u8]) -> Option<String> {
    let mut plain = None;
    let mut extended = None;
    for (name, value) in parameters(value) {
        match name.as_str() {
            "filename" => plain = plain.or(Some(value)),
            "filename*" => extended = extended.or_else(|| decoded(&value)),
            _ => {}
        }
    }
    extended.or_else(|| plain.map(|value| text(&value)))
}

/// The parameters behind the disposition type, which itself does not matter.
fn parameters(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut rest = value.iter().copied().peekable();
    let mut found = Vec::new();
    // Up to the first semicolon is the type; some servers leave it out, and begin with a parameter.
    let mut first = true;
    while rest.peek().is_some() {
        let mut name = Vec::new();
        while let Some(byte) = rest.next_if(|byte| !matches!(byte, b';' | b'=')) {
            name.push(byte);
        }
        let has_value = rest.next() == Some(b'=');
        let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
        if !has_value {
            first = false;
            continue;
        }
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        let mut value = Vec::new();
        if rest.next_if_eq(&b'"').is_some() {
            while let Some(byte) = rest.next().filter(|byte| *byte != b'"') {
                // Of the escapes only those are undone that quoting needs: `C:\path` is meant as it stands.
                let escaped = if byte == b'\\' { rest.next_if(|next| matches!(next, b'"' | b'\\')) } else { None };
                value.push(escaped.unwrap_or(byte));
            }
            while rest.next_if(|byte| *byte != b';').is_some() {}
        } else {
            while let Some(byte) = rest.next_if(|byte| *byte != b';') {
                value.push(byte);
            }
            value = value.trim_ascii().to_vec();
        }
        rest.next_if_eq(&b';');
        // `attachment filename=x`, which is what some mean by it.
        let name = if first { name.rsplit(' ').next().unwrap_or_default().to_owned() } else { name };
        found.push((name, value));
        first = false;
    }
    found
}

/// `charset'language'percent-encoded`, in one of the two character sets that RFC 8187 and its predecessor name.
fn decoded(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(encoded).collect();
    match charset.to_ascii_lowercase().as_slice() {
        b"utf-8" => String::from_utf8(bytes).ok(),
        b"iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

/// UTF-8 where it is that, else ISO-8859-1, which fits everything.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_name_is_read_in_all_its_forms() {
        for (header, expected) in [
            (&b"attachment; filename=\"a b.txt\""[..], Some("a b.txt")),
            (b"attachment; filename=a.txt", Some("a.txt")),
            (b"attachment;filename = a.txt ; x=y", Some("a.txt")),
            (b"ATTACHMENT; FILENAME=a.txt", Some("a.txt")),
            (b"inline; size=3; filename=\"a;b=c.txt\"; x=1", Some("a;b=c.txt")),
            (b"filename=a.txt", Some("a.txt")),
            (b"attachment filename=a.txt", Some("a.txt")),
            (b"attachment; filename=\"a\\\"b\\\\c.txt\"", Some("a\"b\\c.txt")),
            (b"attachment; filename=\"C:\\dir\\a.txt\"", Some("C:\\dir\\a.txt")),
            (b"attachment; filename=\"../../.ssh/x\"", Some("../../.ssh/x")),
            (b"attachment; filename*=UTF-8''b%C3%BCcher.pdf", Some("b\u{fc}cher.pdf")),
            (b"attachment; filename*=utf-8'de'%e2%82%ac", Some("\u{20ac}")),
            (b"attachment; filename*=ISO-8859-1''b%fccher", Some("b\u{fc}cher")),
            (b"attachment; filename=plain; filename*=UTF-8''better", Some("better")),
            (b"attachment; filename*=UTF-8''better; filename=plain", Some("better")),
            (b"attachment; filename*=UTF-8''%ff; filename=plain", Some("plain")),
            (b"attachment; filename*=KOI8-R''x; filename=plain", Some("plain")),
            (b"attachment; filename*=nonsense; filename=plain", Some("plain")),
            (b"attachment; filename*=UTF-8''..%2f..%2fx", Some("../../x")),
            (b"attachment; filename=first; filename=second", Some("first")),
            (b"attachment; filename=\"b\xc3\xbccher\"", Some("b\u{fc}cher")),
            (b"attachment; filename=\"b\xfccher\"", Some("b\u{fc}cher")),
            (b"attachment; filename=\"open", Some("open")),
            (b"attachment; filename=\"\"", Some("")),
            (b"attachment; filename=", Some("")),
            (b"attachment; filename", None),
            (b"attachment; myfilename=x", None),
            (b"attachment", None),
            (b";;;===\"\"\"", None),
            (b"", None),
        ] {
            assert_eq!(file_name(header).as_deref(), expected, "{}", header.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_whatever_make_it_panic_or_hang(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            file_name(&header);
        }

        #[test]
        fn no_combination_of_its_words_makes_it_panic_or_hang(header in "(filename|[*=\"\\\\;' %]|UTF-8''|attachment|\\PC){0,20}") {
            file_name(header.as_bytes());
        }

        #[test]
        fn what_is_quoted_or_encoded_comes_back(name in "\\PC{1,40}") {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("attachment; filename=\"{quoted}\"; x=y");
            prop_assert_eq!(file_name(header.as_bytes()), Some(name.clone()));
            let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
            let header = format!("attachment; filename=x; filename*=UTF-8''{encoded}");
            prop_assert_eq!(file_name(header.as_bytes()), Some(name));
        }
    }
}
