//! The variables of `-w` that are of the record: its keys, and the parts of its URLs.

use std::fmt::Write;

use serde_json::{Map, Value};
use url::Url;

use super::escape;

/// A key of the record.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// As in the record.
    pub name: &'static str,
    /// How it reads when it is `null`.
    unknown: &'static str,
}

const fn variable(name: &'static str, unknown: &'static str) -> Variable {
    Variable { name, unknown }
}

/// Every key of the record.
pub const KEYS: &[Variable] = &[
    variable("urlnum", "0"),
    variable("source", ""),
    variable("line", "0"),
    variable("id", ""),
    variable("result", ""),
    variable("error_class", ""),
    variable("exitcode", "0"),
    variable("errormsg", ""),
    variable("url", ""),
    variable("url_effective", ""),
    variable("filename_effective", ""),
    variable("size", ""),
    variable("sha256", ""),
    variable("resume_from", ""),
    variable("http_code", "000"),
    variable("http_version", "0"),
    variable("content_type", ""),
    variable("size_download", "0"),
    variable("speed_download", "0"),
    variable("num_redirects", "0"),
    variable("num_retries", "0"),
    variable("num_connects", "0"),
    variable("remote_ip", ""),
    variable("remote_port", "0"),
    variable("scheme", ""),
    variable("time_queue", "0.000000"),
    variable("host_paused", ""),
    variable("time_namelookup", "0.000000"),
    variable("time_connect", "0.000000"),
    variable("time_appconnect", "0.000000"),
    variable("time_starttransfer", "0.000000"),
    variable("time_total", "0.000000"),
    variable("conn_id", "-1"),
    variable("xfer_id", "-1"),
];

/// Other names that curl has for a key.
const ALIASES: &[(&str, &str)] = &[("response_code", "http_code")];

/// `%{url.host}` is of the URL as typed, `%{urle.host}` of the last one after redirects.
const URLS: &[(&str, &str)] = &[("url", "url"), ("urle", "url_effective")];

/// A part of a URL, by curl's name. User and password are in no URL here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Of which protocol it is.
    Scheme,
    /// Whom the request goes to.
    Host,
    /// The port, the scheme's own too.
    Port,
    /// The path, which begins with a slash.
    Path,
    /// What stands behind the `?`.
    Query,
    /// What stands behind the `#`.
    Fragment,
}

const PARTS: &[(&str, Part)] = &[
    ("scheme", Part::Scheme),
    ("host", Part::Host),
    ("port", Part::Port),
    ("path", Part::Path),
    ("query", Part::Query),
    ("fragment", Part::Fragment),
];

/// The key that `name` stands for.
pub fn named(name: &str) -> Option<&'static Variable> {
    let key = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, key)| *key);
    KEYS.iter().find(|variable| variable.name == key)
}

/// The key of the URL and the part of it that `name`, such as `url.host`, stands for.
pub fn part(name: &str) -> Option<(&'static str, Part)> {
    let (url, part) = name.split_once('.')?;
    let (_, of) = URLS.iter().find(|(name, _)| *name == url)?;
    let (_, part) = PARTS.iter().find(|(name, _)| *name == part)?;
    Some((of, *part))
}

/// All names of keys.
pub fn listed() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|variable| variable.name).chain(ALIASES.iter().map(|(alias, _)| *alias))
}

/// All names of parts.
pub fn parts() -> impl Iterator<Item = String> {
    URLS.iter().flat_map(|(url, _)| PARTS.iter().map(move |(part, _)| format!("{url}.{part}")))
}

impl Variable {
    /// Appends how it reads in `record`.
    pub fn push(&self, out: &mut String, record: &Map<String, Value>) {
        // Writing to a String does not fail.
        let _ = match record.get(self.name) {
            None | Some(Value::Null) => out.write_str(self.unknown),
            Some(Value::String(text)) => {
                escape::push_str(out, text);
                Ok(())
            }
            Some(value) if self.name.starts_with("time_") => write!(out, "{:.6}", value.as_f64().unwrap_or_default()),
            Some(value) if self.name == "http_code" => write!(out, "{:03}", value.as_u64().unwrap_or_default()),
            Some(value) => write!(out, "{value}"),
        };
    }
}

impl Part {
    /// Appends this part of `url`, if there is one.
    pub fn push(self, out: &mut String, url: Option<&str>) {
        let Some(url) = url.and_then(|url| Url::parse(url).ok()) else { return };
        match self {
            Part::Scheme => escape::push_str(out, url.scheme()),
            Part::Host => escape::push_str(out, url.host_str().unwrap_or_default()),
            Part::Path => escape::push_str(out, url.path()),
            Part::Query => escape::push_str(out, url.query().unwrap_or_default()),
            Part::Fragment => escape::push_str(out, url.fragment().unwrap_or_default()),
            Part::Port => {
                let _ = url.port_or_known_default().map_or(Ok(()), |port| write!(out, "{port}"));
            }
        }
    }
}
