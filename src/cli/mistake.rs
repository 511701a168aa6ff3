//! What is said about a command line that means nothing: clap's message in one line, and what to do instead.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::foreign;

/// Options whose values are not repeated.
const SECRET: [&str; 1] = ["--header"];
/// An option is meant that differs in one letter of so many.
const LETTERS_FOR_ONE_WRONG: usize = 4;
/// Letters that may be the beginning of an option.
const LEAST_BEGINNING: usize = 3;

/// The message in one line. `longs` are the options that there are, with their dashes.
pub fn sentence(mut error: clap::Error, longs: &[String]) -> String {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return "this belongs on the command line".to_owned();
    }
    if let Some(said) = foreign(&error) {
        return said;
    }
    suggest(&mut error, longs);
    explain_head(&mut error);
    hide(&mut error);
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut said = String::new();
    let told = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    for line in text.lines().map(str::trim).take_while(told).filter(|line| !line.is_empty()) {
        let tip = line.strip_prefix("tip: ");
        let joint = match tip {
            _ if said.is_empty() => "",
            Some(_) => "; ",
            None if said.ends_with(':') || line.starts_with('[') => " ",
            None => ", ",
        };
        said.push_str(joint);
        said.push_str(tip.unwrap_or(line));
    }
    said
}

/// The option that nobody knows, without its value.
fn unknown(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(unknown)) if error.kind() == ErrorKind::UnknownArgument => unknown.split('=').next(),
        _ => None,
    }
}

/// Says about an option that others have what does it here.
fn foreign(error: &clap::Error) -> Option<String> {
    let unknown = unknown(error)?;
    let instead = foreign::instead(unknown)?;
    Some(match instead.strip_prefix("there is none") {
        Some(why) => format!("there is no {unknown} here{why}"),
        None => format!("{unknown}: {instead}"),
    })
}

/// Says about any other unknown option which one is written nearly like it. What clap finds similar may do harm:
/// `--discard` for `--disable`.
fn suggest(error: &mut clap::Error, longs: &[String]) {
    let Some(unknown) = unknown(error) else { return };
    let near = longs.iter().filter(|long| is_near(unknown, long));
    let nearest = near.min_by_key(|long| distance(unknown, long));
    let tip = nearest.map(|long| StyledStr::from(format!("there is {long}")));
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::Suggested);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tip.into_iter().collect()));
}

/// Whether each URL seems to be given its name, as in curl's `-o FILE URL -o FILE URL`. Here the last would name all.
pub fn names_each_url(typed: &[OsString], inputs: usize) -> bool {
    let is_output = |word: &&OsString| {
        word.to_str().is_some_and(|word| word.starts_with("-o") || word == "--output" || word.starts_with("--output="))
    };
    inputs > 1 && typed.iter().filter(is_output).count() > 1
}

/// The one option whose conflicts need a reason: to others `-I -o FILE` writes the headers.
fn explain_head(error: &mut clap::Error) {
    let args = format!("{:?} {:?}", error.get(ContextKind::InvalidArg), error.get(ContextKind::PriorArg));
    if error.kind() == ErrorKind::ArgumentConflict && args.contains("\"--head") {
        let tip = match args.contains("\"--request") {
            true => "--head is a method already",
            false => "HEAD requests bring nothing to write; --json tells what is known of an answer",
        };
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
}

fn hide(error: &mut clap::Error) {
    let is_secret = |arg: &ContextValue| match arg {
        ContextValue::String(arg) => SECRET.iter().any(|secret| arg.starts_with(secret)),
        _ => false,
    };
    let may_be_url = |value: &ContextValue| matches!(value, ContextValue::String(value) if value.contains('@'));
    // One that takes no value may have got what was meant for another, and so may one that swallowed the next word.
    let hidden = error.kind() == ErrorKind::TooManyValues
        || error.get(ContextKind::InvalidArg).is_some_and(is_secret)
        || error.get(ContextKind::InvalidValue).is_some_and(may_be_url);
    if hidden && error.get(ContextKind::InvalidValue).is_some() {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
}

/// Whether `word` is the beginning of `option`, or hardly differs.
fn is_near(word: &str, option: &str) -> bool {
    let [word, option] = [word, option].map(|text| text.trim_start_matches('-'));
    (word.len() >= LEAST_BEGINNING && option.starts_with(word))
        || distance(word, option) <= word.len().max(option.len()) / LETTERS_FOR_ONE_WRONG
}

/// Letters to leave out, to add, to replace or to exchange with their neighbours.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            table[i][j] = match (i, j) {
                (0, length) | (length, 0) => length,
                _ => {
                    let replaced = table[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                    let least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    let crossed = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                    if crossed { least.min(table[i - 2][j - 2] + 1) } else { least }
                }
            };
        }
    }
    table[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_hardly_different_is_near() {
        for (word, option, near) in [
            ("--job", "--jobs", true),
            ("--usr", "--user", true),
            ("--ouput-dir", "--output-dir", true),
            ("--retyr", "--retry", true),
            ("--check", "--checksum-file", true),
            ("--proxy-key", "--proxy", false),
            ("--disable", "--discard", false),
            ("--ciphers", "--cert", false),
            ("--wait", "--head", false),
            ("--tries", "--tree", false),
            ("--ntlm", "--null", false),
            ("--get", "--key", false),
            ("--no", "--no-config", false),
        ] {
            assert_eq!(is_near(word, option), near, "{word} {option}");
        }
    }
}
