//! What holds for every name and every checksum file. `PROPTEST_CASES=100000 cargo test properties` looks longer.

use proptest::collection::vec;
use proptest::prelude::*;

use super::checksums::Checksums;
use super::hash::Digest;
use super::names;
use super::template::Template;
use super::testing::job;
use crate::job::Checksum;

/// A path of a URL, as a server may choose it.
fn path() -> impl Strategy<Value = String> {
    const WORDS: [&str; 26] = [
        "/",
        "..",
        ".",
        "%2e",
        "%2F",
        "%5c",
        "%00",
        "%0a",
        "%7f",
        "%c2%9b",
        "%E2%80%AE",
        "%ff",
        "%",
        "-",
        "~",
        ".part",
        ".part.meta",
        "\\",
        "ü",
        "\u{202e}",
        "?",
        "a",
        "CON",
        "%25",
        "%2",
        "日本",
    ];
    let word = proptest::sample::select(&WORDS[..]).prop_map(str::to_owned);
    vec(prop_oneof![4 => word, 1 => "[ -~]{0,12}", 1 => "[a-z%.]{200,300}", 1 => any::<String>()], 0..12)
        .prop_map(|parts| format!("/{}", parts.concat()))
}

/// What the file system, a shell and a terminal may be given.
fn check_safe(path: &str) -> Result<(), TestCaseError> {
    let confined = names::confined(path);
    prop_assert_eq!(confined, Ok(path.to_owned()), "stays below the directory, whole");
    for component in path.split('/') {
        prop_assert!(!component.starts_with(['.', '-', '~']), "{path:?}");
        prop_assert!(component.len() + ".part.meta".len() <= 255, "{path:?}");
        prop_assert!(!component.ends_with(".part") && !component.ends_with(".part.meta"), "{path:?}");
    }
    let reorders =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    prop_assert!(!path.contains(|c: char| c.is_control() || c == '\\' || reorders(c)), "{path:?}");
    Ok(())
}

/// A line as sha256sum prints it.
fn printed(name: &str, digits: &str, binary: bool) -> String {
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    format!("{mark}{digits} {}{escaped}\n", if binary { '*' } else { ' ' })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_url_has_a_safe_name(path in path(), host in "[a-z0-9.-]{1,20}") {
        let url = format!("http://{host}{path}");
        for template in ["{name}", "{host}/{path}", "{stem}{ext}", "{host}-{hash}{ext}", "x/{path}"] {
            let template = Template::parse(template).map_err(TestCaseError::fail)?;
            let expanded = template.expand(&job(&url), &Digest::of(&url));
            check_safe(&expanded)?;
            check_safe(&names::hashed(&expanded, &Digest::of(&url), 64))?;
        }
    }

    #[test]
    fn a_given_name_is_refused_or_stays_below_the_directory(
        name in prop_oneof![any::<String>(), "([a.]|/|\\.part|\\.PART|\\.meta){1,9}"],
    ) {
        if let Ok(path) = names::confined(&name) {
            let same = |(part, given): (&str, &str)| part == given || part.strip_suffix('_') == Some(given);
            prop_assert!(path.split('/').count() == name.split('/').count());
            prop_assert!(path.split('/').zip(name.split('/')).all(same), "{path:?} of {name:?}");
            let sound = |part: &str| {
                !matches!(part, "" | "." | "..")
                    && part.len() <= 255
                    && !part.contains(char::is_control)
                    && names::whole_of(part).is_none()
            };
            prop_assert!(path.split('/').all(sound), "{path:?}");
        }
    }

    #[test]
    fn a_checksum_file_says_what_sha256sum_printed(
        files in vec(("[a-zA-Z \\\\\n\r*().=-]{0,20}[a-z]", any::<[u8; 32]>(), any::<bool>()), 1..8),
    ) {
        let digits = |digest: &[u8; 32]| Checksum::Sha256(*digest).to_string();
        let text: String = files.iter().map(|(name, digest, binary)| printed(name, &digits(digest), *binary)).collect();
        if let Ok(checksums) = Checksums::parse(text.as_bytes()) {
            for (name, digest, _) in &files {
                prop_assert_eq!(checksums.of(name), Some(Checksum::Sha256(*digest)), "{:?}", text);
            }
        } else {
            // Only for two digests of one name.
            let mut names: Vec<_> = files.iter().map(|(name, ..)| name).collect();
            names.sort();
            names.dedup();
            prop_assert!(names.len() < files.len(), "{text:?}");
        }
    }

    #[test]
    fn no_checksum_file_makes_its_reader_stumble(bytes in vec(any::<u8>(), 0..200), text in "[0-9a-f]{30,66}[ *\\\\()=\n]{0,4}.{0,9}") {
        let _ = Checksums::parse(&bytes);
        let _ = Checksums::parse(text.as_bytes());
    }
}
