//! Holds the source to the map of the house: who may name whom, which crate has which door, what stands where.
//!
//! The rules are the tables; the rest only reads them. A rule that no longer fits is changed here, in the same
//! commit as the code that breaks it.

use std::fs;
use std::path::{Path, PathBuf};

/// One room or file of `src/` and the others it may name. Imports go down, never sideways, never up.
#[rustfmt::skip]
const MAY_NAME: &[(&str, &[&str])] = &[
    ("main",     &["cli", "config", "driver", "engine", "exit", "fatal", "generate", "job", "outlet", "report", "signals"]),
    ("driver",   &["config", "engine", "exit", "fatal", "jar", "job", "journal", "outlet", "report", "schedule", "signals", "sink", "source"]),
    ("config",   &["cli", "engine", "exit", "job", "journal", "limits", "report", "schedule", "sink", "source"]),
    ("fatal",    &["exit"]),
    ("generate", &["cli"]),
    ("engine",   &["address", "job", "sink", "text"]),
    ("sink",     &["job", "outlet", "text"]),
    ("report",   &["job", "outlet", "text"]),
    ("source",   &["address", "job", "text"]),
    ("address",  &["job", "text"]),
    ("schedule", &["job"]),
    ("journal",  &["job", "replacement"]),
    ("outlet",   &[]),
    ("signals",  &[]),
    ("limits",   &[]),
    ("jar",      &["replacement"]),
    ("replacement", &[]),
    ("cli",      &[]),
    ("exit",     &[]),
    ("job",      &[]),
    ("text",     &[]),
];

/// One crate, one door.
#[rustfmt::skip]
const DOORS: &[(&str, &[&str])] = &[
    ("curl",          &["engine"]),
    ("curl_sys",      &["engine"]),
    ("mio",           &["engine"]),
    ("clap",          &["cli", "generate"]),
    ("clap_complete", &["generate"]),
    ("clap_mangen",   &["generate"]),
    ("indicatif",     &["report"]),
    ("signal_hook",   &["signals"]),
];

/// Rooms that stand on `std` and the crates named here.
const STD_AND: &[(&str, &[&str])] = &[
    ("job", &[]),
    ("text", &[]),
    ("exit", &[]),
    ("cli", &["clap"]),
    ("outlet", &["rustix"]),
    ("replacement", &["rustix", "fastrand"]),
];

/// Where `unsafe` may be written.
const UNSAFE_IN: &str = "src/engine/ffi.rs";

/// No file is longer.
const MOST_LINES: usize = 450;

/// What may stand at the top of the repository; a `*` at the end stands for anything.
#[rustfmt::skip]
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml", "Cargo.lock", "src", "tests", "man", "completions", "README.md", "LICENSE*", "CHANGELOG.md", "CONTRIBUTING.md", "benches",
    ".ci", ".cargo", ".gitignore", "rustfmt.toml", ".git", "target",
];

#[test]
fn rooms_name_only_what_lies_below_them() {
    report(check_sources(names_upward));
}

#[test]
fn every_crate_is_used_behind_its_one_door() {
    report(check_sources(wrong_door));
}

#[test]
fn unsafe_is_written_in_one_file() {
    report(check_sources(unsafe_elsewhere));
}

#[test]
fn every_file_says_what_it_is_for_and_none_is_long() {
    let mut found = check_sources(no_header_or_too_long);
    found.extend(check_files("tests", no_header_or_too_long));
    report(found);
}

#[test]
fn the_top_level_holds_what_is_customary() {
    let allowed = |name: &str| {
        TOP_LEVEL.iter().any(|entry| entry.strip_suffix('*').map_or(*entry == name, |start| name.starts_with(start)))
    };
    let entries = fs::read_dir(root()).expect("read the repository");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    report(
        names.filter(|name| !allowed(name)).map(|name| format!("{name}: not a customary top-level entry")).collect(),
    );
}

#[test]
fn planted_violations_are_found() {
    let planted = |path: &str, text: &str, check: Check| check(&Source::of(path, text)).len();
    for (path, text) in [
        ("src/sink/mod.rs", "use crate::report::Report;"),
        ("src/sink/part.rs", "use crate::{job::Job, engine};"),
        ("src/job.rs", "fn f() { crate::exit::Code::Ok }"),
        ("src/source/mod.rs", "use super::schedule::Queue;"),
        ("src/source/line.rs", "use super::super::schedule;"),
        ("src/engine/easy.rs", "use crate::{job::{Job, Failure}, schedule::Verdict};"),
        ("src/wine_cellar.rs", "fn f() {}"),
    ] {
        assert_eq!(planted(path, text, names_upward), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/driver.rs", "use mio::Poll;"),
        ("src/sink/mod.rs", "fn f() -> ::curl::Error { todo!() }"),
        ("src/config.rs", "use clap;"),
        ("src/job.rs", "use anyhow::Result;"),
    ] {
        assert_eq!(planted(path, text, wrong_door), 1, "{path}: {text}");
    }
    assert_eq!(planted("src/engine/mod.rs", "fn f() { unsafe { g() } }", unsafe_elsewhere), 1);
    assert_eq!(planted("src/exit.rs", "// no header\n", no_header_or_too_long), 1);
    assert_eq!(planted("src/exit.rs", &format!("//! Long.\n{}", "\n".repeat(MOST_LINES)), no_header_or_too_long), 1);
}

#[test]
fn what_is_allowed_is_not_found() {
    for (path, text) in [
        ("src/engine/mod.rs", "use crate::{job::Job, sink::{Body, Head}};\nuse curl::easy::Easy2;\nuse mio::Poll;"),
        ("src/engine/ffi.rs", "// SAFETY: ours\nunsafe { f() }"),
        (
            "src/sink/mod.rs",
            "// crate::engine calls it; unsafe\nconst A: &str = \"use mio::Poll; unsafe // crate::report\";",
        ),
        ("src/sink/part.rs", "/* mio::Poll */ fn f<'a>(c: char) { c == '\"'; super::name(); r#\"curl::easy\"#; }"),
        ("src/job.rs", "#![deny(unsafe_code)]\nuse std::fmt;\nmod tests { use super::*; }"),
        ("src/report/mod.rs", "use self::bars::Bars;\nlet curl::x = 1;".split("\nlet").next().expect("the first line")),
    ] {
        let source = Source::of(path, text);
        let found = [names_upward, wrong_door, unsafe_elsewhere].map(|check| check(&source)).concat();
        assert!(found.is_empty(), "{path}: {found:?}");
    }
}

/// A file and the two ways to read it.
struct Source {
    /// `src/engine/easy.rs`.
    path: String,
    text: String,
    /// The text without comments, strings and white space around `::`, one word or sign a token.
    code: Vec<String>,
}

type Check = fn(&Source) -> Vec<String>;

impl Source {
    fn of(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), code: tokens(&code_only(text)) }
    }

    /// `engine` for `src/engine/easy.rs` and for `src/engine.rs`.
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Folders between `src/` and this file's module: `super` this many times is the crate.
    fn depth(&self) -> usize {
        let below = self.path.trim_start_matches("src/");
        let folders = below.matches('/').count();
        if below.ends_with("/mod.rs") { folders } else { folders + 1 }
    }

    /// The first names of all paths that begin at the crate: by `crate::`, or by enough `super::`.
    fn names_at_the_top(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for at in 0..self.code.len() {
            let supers = self.code[at..].chunks(2).take_while(|pair| *pair == ["super", "::"]).count();
            let continued = at > 0 && self.code[at - 1] == "::";
            if self.code[at] == "crate" && self.code.get(at + 1).is_some_and(|next| next == "::") {
                self.first_names(at + 2, &mut found);
            } else if supers >= self.depth() && !continued && self.room() != "main" {
                self.first_names(at + 2 * supers, &mut found);
            }
        }
        found
    }

    /// The name at `at`, or the first names of each path in the braces there.
    fn first_names<'a>(&'a self, at: usize, found: &mut Vec<&'a str>) {
        let Some(first) = self.code.get(at) else { return };
        if first != "{" {
            found.push(first);
            return;
        }
        let mut open = 0;
        for (index, token) in self.code.iter().enumerate().skip(at) {
            match token.as_str() {
                "{" => open += 1,
                "}" => open -= 1,
                name if open == 1 && ["{", ","].contains(&self.code[index - 1].as_str()) => found.push(name),
                _ => {}
            }
            if open == 0 {
                return;
            }
        }
    }

    /// Names that begin a path, or are imported whole: what may be a crate.
    fn first_words(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for (at, token) in self.code.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |at| self.code[at].as_str());
            let before_that = at.checked_sub(2).map_or("", |at| self.code[at].as_str());
            let after = self.code.get(at + 1).map_or("", String::as_str);
            let is_word = token.starts_with(|c: char| c.is_alphabetic() || c == '_');
            // `::curl` begins a path, `a::curl` does not.
            let begins =
                before != "::" || !before_that.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>');
            if is_word && begins && (after == "::" || before == "use") {
                found.push(token.as_str());
            }
        }
        found
    }
}

fn names_upward(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some((_, below)) = MAY_NAME.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: the room {room} is not in the table", source.path)];
    };
    let is_room = |name: &str| MAY_NAME.iter().any(|(room, _)| *room == name);
    let wrong = |name: &&str| is_room(name) && *name != room && !below.contains(name);
    source
        .names_at_the_top()
        .into_iter()
        .filter(wrong)
        .map(|name| format!("{}: {room} must not name {name}", source.path))
        .collect()
}

fn wrong_door(source: &Source) -> Vec<String> {
    let room = source.room();
    let mut found = Vec::new();
    let std_and = STD_AND.iter().find(|(name, _)| *name == room).map(|(_, crates)| *crates);
    let dependencies = dependencies();
    for name in source.first_words() {
        let behind_its_door =
            DOORS.iter().find(|(krate, _)| *krate == name).is_none_or(|(_, doors)| doors.contains(&room));
        let on_std =
            std_and.is_none_or(|crates| crates.contains(&name) || !dependencies.iter().any(|krate| krate == name));
        if !behind_its_door || !on_std {
            found.push(format!("{}: {room} must not use the crate {name}", source.path));
        }
    }
    found
}

fn unsafe_elsewhere(source: &Source) -> Vec<String> {
    let written = source.path != UNSAFE_IN && source.code.iter().any(|token| token == "unsafe");
    if written { vec![format!("{}: unsafe outside {UNSAFE_IN}", source.path)] } else { Vec::new() }
}

fn no_header_or_too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let mut found = Vec::new();
    if !source.text.starts_with("//!") {
        found.push(format!("{}: does not begin with `//!` and what it is for", source.path));
    }
    if lines > MOST_LINES {
        found.push(format!("{}: {lines} lines, more than {MOST_LINES}", source.path));
    }
    found
}

/// The crates of `[dependencies]`, as code names them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("read Cargo.toml");
    let section = manifest.split("\n[").find_map(|part| part.strip_prefix("dependencies]\n"));
    let names = section.expect("there are dependencies").lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().replace('-', "_")).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check_sources(check: Check) -> Vec<String> {
    check_files("src", check)
}

fn check_files(dir: &str, check: Check) -> Vec<String> {
    let mut files = Vec::new();
    find(&root().join(dir), &mut files);
    assert!(!files.is_empty(), "no files in {dir}/");
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(root()).expect("it is below").to_string_lossy().into_owned();
        found.extend(check(&Source::of(&path, &fs::read_to_string(&file).expect("read a source file"))));
    }
    found
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("read a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn report(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Blanks comments, strings and character literals.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| string(rest, &code)).or_else(|| character(rest));
        match skipped {
            Some(_) => code.push(' '),
            None => code.push(first),
        }
        rest = &rest[skipped.unwrap_or(first.len_utf8())..];
    }
    code
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let mut open = 0;
    for at in 0..rest.len() {
        match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => open += 1,
            Some(b"*/") => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((at + 2).min(rest.len()));
        }
    }
    Some(rest.len())
}

fn string(rest: &str, before: &str) -> Option<usize> {
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let hashes = rest.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len());
    if let Some(hashes) = hashes.filter(|hashes| !in_word && rest[1 + hashes..].starts_with('"')) {
        let end = format!("\"{}", "#".repeat(hashes));
        let body = 2 + hashes;
        return Some(rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()));
    }
    let body = rest.strip_prefix('"')?;
    let mut escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(rest.len(), |at| at + 2))
}

/// A character literal, but no lifetime.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let first = body.chars().next()?;
    let skip = if first == '\\' { 2 } else { first.len_utf8() };
    let tail = body.get(skip..)?;
    let end = if first == '\\' { tail.find('\'')? } else { tail.starts_with('\'').then_some(0)? };
    Some(1 + skip + end + 1)
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in code.chars() {
        let is_word = c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if is_word && in_word => last.push(c),
            Some(last) if (c == ':' && last == ":") || (c == '>' && last == "-") => last.push(c),
            _ if c.is_whitespace() => {}
            _ => tokens.push(c.to_string()),
        }
        in_word = is_word;
    }
    tokens
}
