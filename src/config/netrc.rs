//! A netrc file: users and passwords by host, as the manual page of ftp(1) has it.
//!
//! Only entries that name their host count. A file that others may read, or have written, is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::job::Credentials;

/// Entries by host, in lower case, in the order of the file.
pub type Entries = BTreeMap<String, Vec<Credentials>>;

/// Reads the file at `path`; an error names it.
pub fn read(path: &Path) -> anyhow::Result<Entries> {
    private(path).and_then(|text| parse(&text)).with_context(|| format!("netrc {}", path.display()))
}

fn private(path: &Path) -> anyhow::Result<String> {
    let metadata = std::fs::metadata(path)?;
    // Not opened: opening a pipe may take for ever.
    if !metadata.is_file() {
        bail!("not a regular file");
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        bail!("it belongs to somebody else");
    }
    if metadata.mode() & 0o077 != 0 {
        bail!("others may read it (mode {:03o}): chmod 600 it", metadata.mode() & 0o777);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    // `None` where the entry is `default`, or none was begun.
    let mut current: Option<(String, Credentials)> = None;
    let mut in_macro = false;
    for (line, number) in text.lines().zip(1..) {
        if in_macro || line.trim_start().starts_with('#') {
            in_macro &= !line.trim().is_empty();
            continue;
        }
        let mut words = words(line).with_context(|| format!("line {number}"))?.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("line {number}: nothing follows {word:?}"));
            match word.as_str() {
                "machine" => {
                    keep(&mut entries, current.take());
                    let host = value()?.to_ascii_lowercase();
                    current = Some((host, Credentials { user: String::new(), password: String::new() }));
                }
                "default" => keep(&mut entries, current.take()),
                "login" => {
                    let user = value()?;
                    current.iter_mut().for_each(|(_, it)| it.user.clone_from(&user));
                }
                "password" => {
                    let password = value()?;
                    current.iter_mut().for_each(|(_, it)| it.password.clone_from(&password));
                }
                "account" => drop(value()?),
                "macdef" => {
                    in_macro = true;
                    break;
                }
                // Not repeated: it may be a password that stands in the wrong place.
                _ => bail!("line {number}: a word that is none of machine, login, password, account, macdef, default"),
            }
        }
    }
    keep(&mut entries, current);
    Ok(entries)
}

fn keep(entries: &mut Entries, entry: Option<(String, Credentials)>) {
    if let Some((host, credentials)) = entry {
        entries.entry(host).or_default().push(credentials);
    }
}

/// The words of a line; one in double quotes may have spaces, and `\` before any character.
fn words(line: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, length) = match rest.strip_prefix('"') {
            None => {
                let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..length].to_owned(), length)
            }
            Some(quoted) => {
                let mut word = String::new();
                let mut inside = quoted.char_indices();
                let end = loop {
                    match inside.next() {
                        Some((at, '"')) => break at,
                        Some((_, '\\')) => word.extend(inside.next().map(|(_, c)| c)),
                        Some((_, c)) => word.push(c),
                        None => bail!("a quote is not closed"),
                    }
                };
                (word, end + 2)
            }
        };
        if word.contains(char::is_control) {
            bail!("control character");
        }
        words.push(word);
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String, String)> {
        let entries = parse(text).unwrap();
        let flat = entries.iter().flat_map(|(host, all)| all.iter().map(move |it| (host.clone(), it)));
        flat.map(|(host, it)| (host, it.user.clone(), it.password.clone())).collect()
    }

    #[test]
    fn entries_are_found_however_they_are_laid_out() {
        let entry = |host: &str, user: &str, password: &str| (host.to_owned(), user.to_owned(), password.to_owned());
        for (text, expected) in [
            ("machine h login u password p", vec![entry("h", "u", "p")]),
            ("machine H\n  login u\n\tpassword p\n", vec![entry("h", "u", "p")]),
            ("machine h password p login u account a", vec![entry("h", "u", "p")]),
            ("# machine x\nmachine h login \"u v\" password \"p\\\"q\"", vec![entry("h", "u v", "p\"q")]),
            ("machine a login 1\nmachine b login 2", vec![entry("a", "1", ""), entry("b", "2", "")]),
            ("machine a login 1 password x machine a login 2", vec![entry("a", "1", "x"), entry("a", "2", "")]),
            ("default login u password p", vec![]),
            ("machine h login u\ndefault login x password y", vec![entry("h", "u", "")]),
            ("macdef m\nmachine x login y\n\nmachine h login u", vec![entry("h", "u", "")]),
            ("", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_netrc_is_refused_and_not_repeated() {
        for text in ["machine", "machine h login", "S3CR3T", "machine h login u S3CR3T", "machine h login \"S3CR3T"] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains("line 1") && !error.contains("S3CR3T"), "{text:?}: {error}");
        }
    }
}
