//! The config file: one option a line, as it would be typed. What is typed wins over it.
//!
//! It is looked for in the user's directory alone, never in the current one: what comes with a list must not decide how
//! it is fetched.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::longs;
use super::mistake::sentence;
use super::origins::Origins;

/// Options that make sense only where they are typed.
const TYPED_ONLY: [&str; 6] = ["inputs", "config", "no_config", "help", "version", "generate"];

/// One line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    number: usize,
    words: Vec<String>,
}

/// The words of the command line with those of the config file among them.
pub struct Merged {
    /// As they would be typed, the program's name first.
    pub words: Vec<OsString>,
    /// Where those stand that were not typed.
    pub origins: Origins,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// What is typed, with the options of the config file before it that it leaves open. `typed` begins with the program's
/// name, and `matches` is what it means alone. An error names the file and the line.
pub fn merged(command: &Command, typed: &[OsString], matches: &ArgMatches) -> Result<Merged, String> {
    let mut merged = Merged { words: typed.to_vec(), origins: Origins::default(), file: None };
    let Some((path, text)) = read(matches)? else { return Ok(merged) };
    merged.file = Some(path.clone());
    let path = path.display();
    let mut command = command.clone();
    command.build();
    let longs = longs(&command);
    let typed_ones: Vec<&Arg> = command.get_arguments().filter(|arg| is_typed(arg, matches)).collect();
    let mut chosen = Vec::new();
    for line in lines(&text).map_err(|error| format!("{path}:{error}"))? {
        let number = line.number;
        let arg = option(&command, &longs, &line.words).map_err(|why| format!("{path}:{number}: {why}"))?;
        let adds = matches!(arg.get_action(), ArgAction::Append);
        let excluded = |other: &&Arg| excludes(&command, arg, other) || excludes(&command, other, arg);
        let typed_too = is_typed(arg, matches);
        if (adds || !typed_too) && !typed_ones.iter().any(excluded) {
            chosen.push(line);
            merged.words = together(typed, &chosen);
            if let Err(error) = command.clone().try_get_matches_from(&merged.words) {
                return Err(format!("{path}:{number}: {}", sentence(error, &longs)));
            }
            if !typed_too {
                merged.origins.add(shown(arg), &path, number, adds);
            }
        }
    }
    Ok(merged)
}

/// The words of `lines` behind the program's name, before everything else: what comes later wins.
fn together(typed: &[OsString], lines: &[Line]) -> Vec<OsString> {
    let mut words = typed.to_vec();
    words.splice(1..1, lines.iter().flat_map(|line| &line.words).map(OsString::from));
    words
}

fn is_typed(arg: &Arg, matches: &ArgMatches) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

fn excludes(command: &Command, arg: &Arg, other: &Arg) -> bool {
    command.get_arg_conflicts_with(arg).iter().any(|conflict| conflict.get_id() == other.get_id())
}

/// The file and what is in it; `None` when there is none, or none is wanted.
fn read(matches: &ArgMatches) -> Result<Option<(PathBuf, String)>, String> {
    if matches.get_flag("no_config") {
        return Ok(None);
    }
    let named = matches.get_one::<PathBuf>("config").cloned();
    let typed = named.is_some();
    let named = named.or_else(|| std::env::var_os("FETCHMANY_CONFIG").map(PathBuf::from));
    let Some(path) = named.clone().or_else(usual).filter(|path| !path.as_os_str().is_empty()) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if named.is_none() && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => {
            let namer = if typed || named.is_none() { "" } else { ", which FETCHMANY_CONFIG names" };
            Err(format!("read the config file {}{namer}: {error}", path.display()))
        }
    }
}

/// `$XDG_CONFIG_HOME/fetchmany/config`, by default below `~/.config`. Relative directories do not count (XDG Base
/// Directory Specification).
fn usual() -> Option<PathBuf> {
    let directory = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join(Path::new("fetchmany/config")))
}

/// The option that the words of a line give, or why they give none.
fn option<'a>(command: &'a Command, longs: &[String], words: &[String]) -> Result<&'a Arg, String> {
    // Not repeated: it may be a value, and secret.
    let first = words.first().filter(|word| word.len() > 1 && word.starts_with('-'));
    let first = first.ok_or("not an option: options begin with - or --")?;
    let alone = command.clone().no_binary_name(true).try_get_matches_from(words);
    let arg = command.get_arguments().find(|arg| is_called(arg, first));
    if let Some(arg) = arg.filter(|arg| TYPED_ONLY.contains(&arg.get_id().as_str())) {
        return Err(format!("{} belongs on the command line", shown(arg)));
    }
    match (alone, arg) {
        (Err(error), _) => Err(sentence(error, longs)),
        (Ok(alone), arg) => {
            let given = command.get_arguments().filter(|arg| is_typed(arg, &alone));
            arg.filter(|_| given.count() == 1).ok_or("one option a line; quote a value with spaces".to_owned())
        }
    }
}

/// Whether `word`, the first of a line, calls for this option.
fn is_called(arg: &Arg, word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => {
            let long = long.split('=').next().unwrap_or_default();
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
        }
        None => {
            let mut shorts = arg.get_short().into_iter().chain(arg.get_all_short_aliases().into_iter().flatten());
            shorts.any(|short| word.chars().nth(1) == Some(short))
        }
    }
}

fn shown(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"))
}

/// The lines that are neither blank nor comments. An error begins with the number of its line.
fn lines(text: &str) -> Result<Vec<Line>, String> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let words = words(line).map_err(|why| format!("{number}: {why}"))?;
        if !words.is_empty() {
            found.push(Line { number, words });
        }
    }
    Ok(found)
}

/// The words of a line as a shell would see them: quotes, `\` before any character outside single quotes, and `#` at
/// the beginning of a word for a comment. Nothing is replaced.
pub(super) fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().push(rest.next().ok_or("nothing follows the backslash")?);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_by_a_shell() {
        for (line, expected) in [
            ("", &[][..]),
            ("  # a comment", &[]),
            ("--jobs 8", &["--jobs", "8"]),
            ("--jobs=8 # eight", &["--jobs=8"]),
            ("-H \"X: a b\"", &["-H", "X: a b"]),
            ("-H 'X: \"a\" \\b'", &["-H", "X: \"a\" \\b"]),
            ("-H \"X: \\\"a\\\" \\\\\"", &["-H", "X: \"a\" \\"]),
            ("-o a\\ b#c", &["-o", "a b#c"]),
            ("-A ''", &["-A", ""]),
            ("--header='a'\"b\"", &["--header=ab"]),
            ("-A $HOME/~", &["-A", "$HOME/~"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line:?}");
        }
        for line in ["-A \"x", "-A 'x", "-A x\\"] {
            assert!(words(line).is_err(), "{line:?}");
        }
    }
}
