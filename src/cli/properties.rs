//! What holds for every config file, whatever is in it. `PROPTEST_CASES=100000 cargo test properties` looks longer.

use std::ffi::OsString;

use proptest::collection::vec;
use proptest::prelude::*;

use super::config_file::{merged, words};

/// Lines of options, of what is none, and of what means something to whoever splits lines into words.
fn text() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: [&str; 22] = [
        "--jobs",
        "-j",
        "--jobs=8",
        "-Hx: y",
        "--header",
        "--max-time",
        "--no-config",
        "--config",
        "--tree",
        "-d",
        "--json",
        "--",
        "-",
        "http://h/",
        "8",
        "\"",
        "'",
        "\\",
        "#",
        " ",
        "\n",
        "\r\n",
    ];
    let word = proptest::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec());
    let noise = prop_oneof![vec(any::<u8>(), 0..6), "\\PC{0,6}".prop_map(String::into_bytes)];
    let end = prop_oneof![Just(b" ".to_vec()), Just(b"\n".to_vec()), Just(Vec::new())];
    vec(prop_oneof![8 => word, 1 => noise], 0..12)
        .prop_flat_map(move |parts| {
            let count = parts.len();
            (Just(parts), vec(end.clone(), count))
        })
        .prop_map(|(parts, ends)| parts.into_iter().zip(ends).flat_map(|(part, end)| [part, end].concat()).collect())
}

/// `word` as a shell is told that it is one.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_quoted_is_read_as_it_was(line in vec("[^\r\n]{0,12}", 0..5)) {
        let text: Vec<String> = line.iter().map(|word| quoted(word)).collect();
        prop_assert_eq!(words(&text.join(" ")), Ok(line));
    }

    #[test]
    fn no_line_makes_the_splitter_stumble(line in "[ '\"\\\\#a-]{0,20}|\\PC{0,20}") {
        if let Ok(found) = words(&line) {
            let again: Vec<String> = found.iter().map(|word| quoted(word)).collect();
            prop_assert_eq!(words(&again.join(" ")), Ok(found));
        }
    }

    #[test]
    fn a_config_file_is_refused_by_name_or_means_what_it_would_mean_typed(text in text()) {
        let command = super::command();
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(&file, text).expect("write it");
        let path = file.path().display().to_string();
        let typed: Vec<OsString> = ["fetchmany", "--config", &path].map(OsString::from).to_vec();
        let matches = command.clone().try_get_matches_from(&typed).expect("a command line");
        match merged(&command, &typed, &matches) {
            Err(why) => prop_assert!(why.contains(&path) && !why.contains('\n'), "{why:?}"),
            Ok(merged) => {
                prop_assert!(command.try_get_matches_from(&merged.words).is_ok(), "{:?}", merged.words);
                prop_assert_eq!(merged.words.first(), typed.first());
                prop_assert!(merged.words.ends_with(&typed[1..]), "{:?}", merged.words);
            }
        }
    }
}
