//! Names: what a URL is called on disk, and which names given by the user stay below the output directory.
//!
//! Names come from the URL as it was given, never from a redirect or a header. A name is decoded only as far as the
//! text is harmless; what is dangerous stays percent-encoded, as it was. Nothing here touches the file system.

use super::hash::Digest;
use crate::text::is_hostile;

/// What a partial file has behind its name.
pub const PART: &str = ".part";

/// What the description of a partial file has behind that.
pub const META: &str = ".meta";

/// Longest component of a derived path, in bytes: 255, the limit of nearly every file system, less those two.
pub const COMPONENT_MAX: usize = 255 - PART.len() - META.len();

/// Longest directory in a given name: 255 bytes, since no suffix follows.
const DIRECTORY_MAX: usize = 255;

/// The name of a URL whose path ends in `/`.
const INDEX: &str = "index.html";

/// A longer "extension" is a part of the name that happens to follow a dot; it is not kept when a name is cut.
const EXTENSION_MAX: usize = 32;

/// Hex digits of the hash in `stem-HASH.ext`.
const HASH_DIGITS: usize = 8;

/// Bytes at the beginning of a component that stay when it is cut ([`suffixed`], with the shortest hash).
pub const NEVER_CUT: usize = COMPONENT_MAX - EXTENSION_MAX - 1 - HASH_DIGITS;

/// The file name of `url`, a serialised absolute URL without fragment: the last segment of its path, made safe.
/// Not cut to length yet.
pub fn name(url: &str) -> String {
    match segments(url).next_back() {
        Some(last) if !last.is_empty() => guarded(decoded(last)),
        _ => INDEX.to_owned(),
    }
}

/// The whole path of `url` with its directories, each component made safe; empty components are dropped.
pub fn path(url: &str) -> String {
    let mut path = String::new();
    let mut segments = segments(url);
    segments.next_back();
    for directory in segments.filter(|segment| !segment.is_empty()) {
        path.push_str(&guarded(decoded(directory)));
        path.push('/');
    }
    path.push_str(&name(url));
    path
}

/// The segments of the path of `url`, still encoded; without the query.
fn segments(url: &str) -> std::str::Split<'_, char> {
    let after_scheme = url.find("://").map_or(url, |at| &url[at + 3..]);
    let end = after_scheme.find(['?', '#']).unwrap_or(after_scheme.len());
    let start = after_scheme[..end].find('/').map_or(end, |at| at + 1);
    after_scheme[start..end].split('/')
}

/// Decodes the percent escapes whose text is harmless and leaves the others as they are; escapes what is dangerous
/// and was not escaped.
pub fn decoded(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    let mut rest = segment;
    let mut bytes = Vec::new();
    while let Some(first) = rest.chars().next() {
        bytes.clear();
        bytes.extend(rest.as_bytes().chunks_exact(3).map_while(escape));
        if bytes.is_empty() {
            push_escaped(&mut text, first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        // An escape is three ASCII bytes, so byte n of what they stand for was at 3n.
        let (run, after) = rest.split_at(3 * bytes.len());
        let mut at = 0;
        for chunk in bytes.utf8_chunks() {
            for char in chunk.valid().chars() {
                let next = at + 3 * char.len_utf8();
                match harmless(char) {
                    true => text.push(char),
                    false => text.push_str(&run[at..next]),
                }
                at = next;
            }
            let next = at + 3 * chunk.invalid().len();
            text.push_str(&run[at..next]);
            at = next;
        }
        rest = after;
    }
    text
}

/// Appends a character, escaped where it is not harmless.
fn push_escaped(text: &mut String, char: char) {
    match harmless(char) {
        true => text.push(char),
        false => char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push_str(&format!("%{byte:02X}"))),
    }
}

/// The byte that `%XX` stands for.
fn escape(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    match (text.first(), digit(1), digit(2)) {
        (Some(b'%'), Some(high), Some(low)) => u8::try_from(high << 4 | low).ok(),
        _ => None,
    }
}

/// Whether a character may stand in a derived name: not one that separates directories, nor one that is hostile to who
/// lists them.
fn harmless(char: char) -> bool {
    !(matches!(char, '/' | '\\') || is_hostile(char))
}

/// Puts `_` before a component that would be hidden, an option or a home directory, or would not be a name at all.
pub fn guarded(mut component: String) -> String {
    if component.is_empty() || component.starts_with(['.', '-', '~']) {
        component.insert(0, '_');
    }
    component
}

/// The name that a server suggests, made safe: the last component, whichever separator was used, of a name that may be
/// anything. It is no URL: percent escapes in it are left as they are. `None` when nothing is left of it.
pub fn suggested(text: &str, url: &Digest) -> Option<String> {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    if matches!(last, "" | "." | "..") {
        return None;
    }
    let mut name = String::with_capacity(last.len());
    for char in last.chars() {
        push_escaped(&mut name, char);
    }
    Some(finished(guarded(name), url))
}

/// Splits a file name into stem and extension; the extension has its dot, and both together are the name. A name that
/// begins or ends with its only dot has no extension.
pub fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && at + 1 < name.len() => name.split_at(at),
        _ => (name, ""),
    }
}

/// Puts `suffix` between stem and extension of the last component of `path`, and cuts the stem where the component
/// would become too long.
pub fn suffixed(path: &str, suffix: &str) -> String {
    let (directory, name) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
    let (stem, extension) = match split(name) {
        (_, extension) if extension.len() > EXTENSION_MAX => (name, ""),
        parts => parts,
    };
    let room = COMPONENT_MAX.saturating_sub(suffix.len() + extension.len());
    let mut cut = stem.len().min(room);
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{directory}{}{suffix}{extension}", &stem[..cut])
}

/// `stem-HASH.ext`, with the first `digits` hex digits of the URL's hash.
pub fn hashed(path: &str, url: &Digest, digits: usize) -> String {
    suffixed(path, &format!("-{}", url.hex(digits)))
}

/// Makes a derived path fit for a file system: no component that is no name or belongs to a partial file, none too
/// long. A name that is cut gets the hash of its URL, a directory that of its own text.
pub fn finished(path: String, url: &Digest) -> String {
    let whole = |component: &str| {
        !matches!(component, "" | "." | "..") && component.len() <= COMPONENT_MAX && whole_of(component).is_none()
    };
    if path.split('/').all(whole) {
        return path;
    }
    let last = path.split('/').count() - 1;
    let finish = |(at, component): (usize, &str)| {
        let mut component = match component {
            "" | "." | ".." => format!("_{component}"),
            name => unpartial(name.to_owned()),
        };
        if component.len() > COMPONENT_MAX {
            let hash = if at == last { *url } else { Digest::of(&component) };
            component = hashed(&component, &hash, HASH_DIGITS);
        }
        component
    };
    path.split('/').enumerate().map(finish).collect::<Vec<_>>().join("/")
}

/// Of what `name` would be the partial file, or the description of that, if it were ours; in any case, since there are
/// file systems to which `x.PART` is `x.part`, in some directories alone.
pub fn whole_of(name: &str) -> Option<&str> {
    without(without(name, META).unwrap_or(name), PART)
}

fn without<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let (stem, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(stem)
}

/// Names of partial files are ours; a trailing `_` keeps others out of them.
fn unpartial(mut name: String) -> String {
    if whole_of(&name).is_some() {
        name.push('_');
    }
    name
}

/// A name that the user gave for one line, as a path below the output directory. It is used as it is, also with a
/// leading `~`, `-` or `.`, except that [`unpartial`] applies to each component.
///
/// # Errors
/// Why it cannot be used: it is absolute, has a component that is empty, `.`, `..` or too long, or control characters.
pub fn confined(given: &str) -> Result<String, String> {
    if given.is_empty() {
        return Err("the output name is empty".to_owned());
    }
    if given.starts_with('/') {
        return Err("the output name is absolute; it must be relative to the output directory".to_owned());
    }
    if given.chars().any(char::is_control) {
        return Err("the output name has a control character".to_owned());
    }
    let path = given.split('/').map(|component| unpartial(component.to_owned())).collect::<Vec<_>>().join("/");
    let mut components = path.split('/').peekable();
    while let Some(component) = components.next() {
        let longest = if components.peek().is_some() { DIRECTORY_MAX } else { COMPONENT_MAX };
        match component {
            "" => return Err("the output name has an empty component".to_owned()),
            "." | ".." => return Err(format!("the output name has a component {component:?}")),
            long if long.len() > longest => {
                return Err(format!("the output name has a component of {} bytes; {longest} are possible", long.len()));
            }
            _ => {}
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A component that every file system takes and no terminal or shell misreads.
    fn is_safe(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= COMPONENT_MAX
            && !name.starts_with(['.', '-', '~'])
            && name.chars().all(harmless)
            && whole_of(name).is_none()
    }

    proptest! {
        #[test]
        fn every_suggested_name_is_safe(text in any::<String>()) {
            if let Some(name) = suggested(&text, &Digest::of(&text)) {
                prop_assert!(is_safe(&name), "{name:?}");
            }
        }

        #[test]
        fn every_name_of_a_url_is_safe(path in "(/|%2[eEfF]|%[0-9a-f]{2}|[.~-]|\\PC|.part|.meta){0,60}") {
            let digest = Digest::of(&path);
            let url = format!("http://h/{path}");
            prop_assert!(is_safe(&finished(name(&url), &digest)), "{url:?}");
            let tree = finished(super::path(&url), &digest);
            prop_assert!(tree.split('/').all(is_safe), "{tree:?}");
        }
    }

    #[test]
    fn a_url_is_named_by_its_last_segment_as_far_as_that_is_harmless() {
        for (path, expected) in [
            ("/", "index.html"),
            ("", "index.html"),
            ("/?q=a/b", "index.html"),
            ("/dir/", "index.html"),
            ("/a.txt?x=/etc/passwd", "a.txt"),
            ("/a.txt#/f", "a.txt"),
            ("/b%C3%BCcher%20neu.pdf", "bücher neu.pdf"),
            ("/%2e%2e%2fx", "_..%2fx"),
            ("/a%2fb", "a%2fb"),
            ("/a%5cb", "a%5cb"),
            ("/%252e%252e", "%2e%2e"),
            ("/..%c0%af", "_..%c0%af"),
            ("/%2e%2e", "_.."),
            ("/%2E", "_."),
            ("/.bashrc", "_.bashrc"),
            ("/-rf", "_-rf"),
            ("/~", "_~"),
            ("/a%00b", "a%00b"),
            ("/%1b]0;x%07", "%1b]0;x%07"),
            ("/a%7f%C2%9b", "a%7f%C2%9b"),
            ("/a%E2%80%AEtxt.exe", "a%E2%80%AEtxt.exe"),
            ("/%ff%C3%28%41", "%ff%C3(A"),
            ("/100%", "100%"),
            ("/100%zz%4", "100%zz%4"),
            ("/%C3", "%C3"),
            ("/a;b,c=d", "a;b,c=d"),
            ("/con", "con"),
        ] {
            assert_eq!(name(&format!("http://h{path}")), expected, "{path}");
        }
        assert_eq!(decoded("a\u{1b}\u{202e}\\ü"), "a%1B%E2%80%AE%5Cü", "escaped when it was not");
    }

    #[test]
    fn a_path_keeps_its_directories_and_nothing_in_it_climbs() {
        for (given, expected) in [
            ("/a/b/c.txt", "a/b/c.txt"),
            ("/a/b/", "a/b/index.html"),
            ("//a///b", "a/b"),
            ("/..%2f/%2e%2e/.ssh/-x", "_..%2f/_../_.ssh/_-x"),
        ] {
            assert_eq!(path(&format!("https://h:1{given}")), expected, "{given}");
        }
    }

    #[test]
    fn a_name_splits_at_its_last_dot_unless_that_is_all_it_has() {
        for (name, expected) in
            [("a.tar.gz", ("a.tar", ".gz")), ("a", ("a", "")), ("a.", ("a.", "")), (".a", (".a", "")), ("", ("", ""))]
        {
            assert_eq!(split(name), expected, "{name}");
        }
    }

    #[test]
    fn a_long_name_is_cut_before_its_extension_on_a_character_boundary_and_gets_the_hash() {
        let url = Digest::of("http://h/x");
        let hash = url.hex(8);
        assert_eq!(COMPONENT_MAX, 245, "as the manual has it");
        let ok = "n".repeat(COMPONENT_MAX);
        assert_eq!(finished(ok.clone(), &url), ok);
        for name in [format!("{}.html", "n".repeat(251)), "ü".repeat(300), format!("a.{}", "e".repeat(300))] {
            let cut = finished(name.clone(), &url);
            assert!(cut.len() <= COMPONENT_MAX && cut.len() > COMPONENT_MAX - 2, "{cut}");
            assert!(cut.contains(&format!("-{hash}")), "{cut}");
            assert_eq!(cut.ends_with(".html"), name.ends_with(".html"));
        }
        let deep = finished(format!("{}/x", "d".repeat(300)), &url);
        assert!(!deep.contains(&hash), "the files of one directory stay together: {deep}");
    }

    #[test]
    fn names_of_partial_files_are_not_given_to_others() {
        let url = Digest::of("");
        for (given, expected) in [
            ("x.part", "x.part_"),
            ("x.part.meta", "x.part.meta_"),
            ("x.part/y", "x.part_/y"),
            ("x.PART", "x.PART_"),
            ("x.Part.mETA", "x.Part.mETA_"),
            ("ü.pärt", "ü.pärt"),
            (".PART", ".PART_"),
            ("x.parts", "x.parts"),
            ("", "_"),
            ("a/../.", "a/_../_."),
        ] {
            assert_eq!(finished(given.to_owned(), &url), expected);
        }
        let edge = format!("{}.part", "n".repeat(COMPONENT_MAX - 5));
        assert!(finished(edge, &url).len() <= COMPONENT_MAX);
    }

    #[test]
    fn of_a_name_that_a_server_suggests_the_last_component_is_taken_and_made_safe() {
        let url = Digest::of("http://h/x");
        for (given, expected) in [
            ("a.txt", Some("a.txt")),
            ("  a b.txt ", Some("a b.txt")),
            ("../../.ssh/authorized_keys", Some("authorized_keys")),
            ("/etc/passwd", Some("passwd")),
            ("..\\..\\x.exe", Some("x.exe")),
            ("C:\\x", Some("x")),
            (".bashrc", Some("_.bashrc")),
            ("-rf", Some("_-rf")),
            ("~root", Some("_~root")),
            ("...", Some("_...")),
            ("%2e%2e%2fx", Some("%2e%2e%2fx")),
            ("a\0b\x1b[2J\r\n", Some("a%00b%1B[2J")),
            ("a\u{202e}gpj.exe", Some("a%E2%80%AEgpj.exe")),
            ("x.part", Some("x.part_")),
            ("x.PART.Meta", Some("x.PART.Meta_")),
            ("bücher.pdf", Some("bücher.pdf")),
            ("", None),
            (".", None),
            ("..", None),
            ("a/", None),
            ("a/..", None),
            (" ", None),
        ] {
            assert_eq!(suggested(given, &url).as_deref(), expected, "{given:?}");
        }
        let long = suggested(&format!("{}.html", "ü".repeat(300)), &url).expect("a name");
        assert!(long.len() <= COMPONENT_MAX && long.ends_with(".html"), "{long}");
    }

    #[test]
    fn a_given_name_is_used_as_it_is_or_refused() {
        for (given, expected) in [
            ("a", "a"),
            ("a/b/c.txt", "a/b/c.txt"),
            ("~root/x", "~root/x"),
            ("-x", "-x"),
            (".hidden", ".hidden"),
            ("con", "con"),
            ("a\\b", "a\\b"),
            ("...", "..."),
            ("x.part", "x.part_"),
            ("x.pArT", "x.pArT_"),
            ("x.part/y", "x.part_/y"),
            ("x.part.meta/y.part/z", "x.part.meta_/y.part_/z"),
        ] {
            assert_eq!(confined(given), Ok(expected.to_owned()), "{given}");
        }
        let long = "x".repeat(300);
        let longest_file = "x".repeat(COMPONENT_MAX + 1);
        for given in [
            "",
            "../x",
            "/etc/x",
            "..",
            ".",
            "a/../../b",
            "a//b",
            "a/",
            "./a",
            "a\0b",
            "a\nb",
            "a\u{9b}b",
            &long,
            &longest_file,
        ] {
            assert!(confined(given).is_err(), "{given:?}");
        }
    }
}
