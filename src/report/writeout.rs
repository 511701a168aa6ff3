//! `-w FORMAT`: the result of a URL in the user's own words, with the variables of curl's `--write-out`.
//!
//! A variable is a key of the record, or a part of one of its URLs. What is not known reads as curl prints it: 0 for
//! its numbers, nothing for text. Text from outside is escaped as everywhere.
//!
//! Must not know where a piece of text goes, beyond which of the destinations it is for.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Map, Value};

use super::extras;
use super::variables::{self, Part, Variable};
use crate::job::{Datum, Extra};

/// Everything between two marks, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
    files: Vec<File>,
    extras: Vec<Extra>,
}

/// A file that `%output{…}` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// As typed.
    pub path: PathBuf,
    /// `>>`: what is in it stays.
    pub append: bool,
}

/// Where the text that follows goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Where results go.
    Results,
    /// Standard error.
    Stderr,
    /// One of [`Format::files`].
    File(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Key(&'static Variable),
    Part {
        of: &'static str,
        part: Part,
    },
    Json,
    /// One of [`Format::extras`].
    Extra(usize),
    To(To),
    /// What follows is for failures alone.
    OnError,
}

impl Format {
    /// A format as it is typed: `@FILE` is in a file, `@-` on standard input.
    ///
    /// # Errors
    /// It cannot be read, or is none; the error names the file.
    pub fn open(typed: &str) -> anyhow::Result<Format> {
        let text = match typed.strip_prefix('@') {
            None => typed.to_owned(),
            Some("-") => std::io::read_to_string(std::io::stdin()).context("read standard input")?,
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("read {path}"))?,
        };
        Format::parse(&text).map_err(anyhow::Error::msg)
    }

    /// Reads curl's syntax: `%{name}`, `%%`, `\n`, `\r`, `\t`, `%{json}`, `%{stdout}`, `%{stderr}`, `%{onerror}`,
    /// `%header{NAME}`, `%output{FILE}` and `%output{>>FILE}`.
    ///
    /// # Errors
    /// A variable that is not known here, or a brace that is not closed.
    pub fn parse(format: &str) -> Result<Format, String> {
        let mut parsed = Format { pieces: Vec::new(), files: Vec::new(), extras: Vec::new() };
        let mut text = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['%', '\\']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let word = |start| braced(rest, start);
            let (length, piece) = if let Some(name) = word("%{")? {
                (name.len() + 3, Some(parsed.variable(name)?))
            } else if let Some(path) = word("%output{")? {
                (path.len() + 9, Some(Piece::To(To::File(parsed.file(path)?))))
            } else if let Some(name) = word("%header{")? {
                (name.len() + 9, Some(parsed.extra(extras::header(name))))
            } else {
                // As curl has it, in which what means nothing stands for itself.
                let pair = rest.char_indices().nth(2).map_or(rest, |(end, _)| &rest[..end]);
                text.push_str(match pair {
                    "%%" => "%",
                    "\\n" => "\n",
                    "\\r" => "\r",
                    "\\t" => "\t",
                    other => other,
                });
                (pair.len(), None)
            };
            if let Some(piece) = piece {
                parsed.text(&mut text);
                parsed.pieces.push(piece);
            }
            rest = &rest[length..];
        }
        text.push_str(rest);
        parsed.text(&mut text);
        Ok(parsed)
    }

    /// The files that are written to, each once.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// What it needs to know of transfers beyond the record, in the order in which [`Format::write`] is given it.
    pub fn extras(&self) -> &[Extra] {
        &self.extras
    }

    /// The same for a run that writes nothing: what is for files is dropped.
    pub fn without_files(self) -> Format {
        Format { files: Vec::new(), ..self }
    }

    /// Whether [`Format::write`] needs the record's line of JSON.
    pub fn has_json(&self) -> bool {
        self.pieces.contains(&Piece::Json)
    }

    fn variable(&mut self, name: &str) -> Result<Piece, String> {
        extras::named(name).map_or_else(|| Piece::of(name), |extra| Ok(self.extra(extra)))
    }

    fn extra(&mut self, extra: Extra) -> Piece {
        self.extras.push(extra);
        Piece::Extra(self.extras.len() - 1)
    }

    fn text(&mut self, text: &mut String) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(text)));
        }
    }

    /// The number of the file at `path`.
    fn file(&mut self, path: &str) -> Result<usize, String> {
        let (path, append) = path.strip_prefix(">>").map_or((path, false), |path| (path.trim_start(), true));
        if path.is_empty() {
            return Err("%output{}: it needs the name of a file".to_owned());
        }
        let path = PathBuf::from(path);
        let known = self.files.iter().position(|file| file.path == path);
        Ok(known.unwrap_or_else(|| {
            self.files.push(File { path, append });
            self.files.len() - 1
        }))
    }

    /// Hands out what is to be said of `record`, whose one line of JSON is `json`, and of `data`,
    /// what the [`Format::extras`] were.
    pub fn write(&self, record: &Map<String, Value>, json: &str, data: &[Datum], mut out: impl FnMut(To, &str)) {
        let mut to = To::Results;
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Key(variable) => variable.push(&mut text, record),
                Piece::Part { of, part } => part.push(&mut text, record.get(*of).and_then(Value::as_str)),
                Piece::Json => text.push_str(json),
                Piece::Extra(index) => extras::push(&mut text, &self.extras[*index], data.get(*index)),
                Piece::OnError if record.get("exitcode").is_some_and(|code| *code == 0) => break,
                Piece::OnError => {}
                Piece::To(next) => {
                    if !text.is_empty() {
                        out(to, &text);
                        text.clear();
                    }
                    to = *next;
                }
            }
        }
        if !text.is_empty() {
            out(to, &text);
        }
    }
}

/// What stands between `start`, with which `text` begins, and the next brace.
fn braced<'a>(text: &'a str, start: &str) -> Result<Option<&'a str>, String> {
    let Some(rest) = text.strip_prefix(start) else { return Ok(None) };
    match rest.find('}') {
        Some(end) => Ok(Some(&rest[..end])),
        None => Err(format!("{start} is not closed by a brace")),
    }
}

impl Piece {
    fn of(name: &str) -> Result<Piece, String> {
        if let Some((_, piece)) = MARKS.iter().find(|(mark, _)| *mark == name) {
            return Ok(piece.clone());
        }
        if let Some((of, part)) = variables::part(name) {
            return Ok(Piece::Part { of, part });
        }
        variables::named(name).map(Piece::Key).ok_or_else(|| {
            let listed = variables::listed().chain(extras::names()).chain(MARKS.iter().map(|(mark, _)| *mark));
            let listed = listed.collect::<Vec<_>>().join(", ");
            format!("unknown variable %{{{name}}}; there are {listed}, url.host and the like, %header{{NAME}}, %output{{FILE}}")
        })
    }
}

/// What stands in braces and is no variable.
const MARKS: &[(&str, Piece)] = &[
    ("json", Piece::Json),
    ("stdout", Piece::To(To::Results)),
    ("stderr", Piece::To(To::Stderr)),
    ("onerror", Piece::OnError),
];

/// Everything that a variable can be called, in the order of the alphabet.
pub fn names() -> Vec<String> {
    let names = variables::listed().chain(extras::names()).map(str::to_owned);
    let mut names: Vec<String> = names.chain(variables::parts()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Settled;
    use crate::report::{fixture, record};
    use crate::text::is_hostile;

    /// All that goes to each destination.
    fn written(format: &str, settled: &Settled) -> Vec<(To, String)> {
        let format = Format::parse(format).unwrap_or_else(|error| panic!("{format}: {error}"));
        let mut all = Vec::new();
        format.write(&record::object(settled).unwrap(), "{}", &[], |to, text| all.push((to, text.to_owned())));
        all
    }

    fn text(format: &str, settled: &Settled) -> String {
        written(format, settled).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn every_key_of_the_record_is_a_variable_and_nothing_else() {
        let mut keys: Vec<_> = record::object(&fixture::ok()).unwrap().keys().cloned().collect();
        let mut names: Vec<_> = variables::KEYS.iter().map(|variable| variable.name.to_owned()).collect();
        keys.sort();
        names.sort();
        assert_eq!(keys, names);
    }

    #[test]
    fn variables_read_as_curl_prints_them() {
        for (format, expected) in [
            ("%{http_code} %{response_code}", "200 200"),
            ("%{time_total}|%{time_namelookup}|%{time_queue}", "1.200000|0.001234|0.000500"),
            ("%{size_download} %{speed_download} %{num_connects}", "12900000 10750000 2"),
            ("%{url}\\t%{content_type}\\r\\n", "https://example.com/file.bin\tapplication/octet-stream\r\n"),
            ("%{remote_ip}:%{remote_port} %{http_version} %{scheme}", "192.0.2.7:443 2 https"),
            ("%{urle.host} %{url.port} %{url.path} %{url.query}.", "cdn.example.com 443 /file.bin ."),
            ("%{exitcode}%{errormsg}%{onerror} failed", "0"),
            ("100%% %x \\x \\\\n %é \\é % \\", "100% %x \\x \\\\n %é \\é % \\"),
            ("%{json}\\n", "{}\n"),
            ("", ""),
        ] {
            assert_eq!(text(format, &fixture::ok()), expected, "{format}");
        }
        for (format, expected) in [
            ("%{http_code} %{num_connects} %{time_total} %{size} %{conn_id}", "000 0 0.000000  -1"),
            ("%{remote_ip}%{remote_port}%{content_type}%{http_version}", "00"),
            ("%{exitcode}%{onerror} %{errormsg}", "42 interrupted"),
        ] {
            assert_eq!(text(format, &fixture::cancelled()), expected, "{format}");
        }
    }

    #[test]
    fn text_goes_where_the_marks_say_and_a_file_is_opened_once() {
        let format = "a%{stderr}b%output{x}c%{stdout}d%output{>>y}e%output{x}f";
        let expected = [
            (To::Results, "a"),
            (To::Stderr, "b"),
            (To::File(0), "c"),
            (To::Results, "d"),
            (To::File(1), "e"),
            (To::File(0), "f"),
        ];
        assert_eq!(written(format, &fixture::ok()), expected.map(|(to, text)| (to, text.to_owned())));
        let files = Format::parse(format).unwrap().files().to_vec();
        assert_eq!(
            files.iter().map(|file| (file.path.to_str().unwrap(), file.append)).collect::<Vec<_>>(),
            [("x", false), ("y", true)]
        );
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_it() {
        for (format, named) in [
            ("%{nonsense}", "%{nonsense}"),
            ("%{url.user}", "%{url.user}"),
            ("%{http_code", "%{ is not closed"),
            ("%output{}", "%output{}"),
            ("%header{x", "%header{ is not closed"),
        ] {
            let error = Format::parse(format).unwrap_err();
            assert!(error.contains(named), "{format}: {error}");
        }
        let listed = Format::parse("%{x}").unwrap_err();
        for name in ["http_code", "certs", "onerror", "%header{NAME}", "%output{FILE}"] {
            assert!(listed.contains(name), "{listed}");
        }
    }

    #[test]
    fn text_from_outside_is_escaped_and_credentials_are_nowhere() {
        // The one that has lines.
        let others = names().into_iter().filter(|name| name != "header_json");
        let all: String = others.map(|name| format!("%{{{name}}} ")).collect();
        for settled in [fixture::hostile(), fixture::ok()] {
            let text = text(&all, &settled);
            assert!(!text.chars().any(is_hostile) && !text.contains("S3CR3T"), "{text:?}");
        }
    }
}
