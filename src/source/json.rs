//! One line of JSON → what it asks for: a URL, and what is particular about its request and its body.
//!
//! Strict: an unknown key is a mistake, and a line with a mistake fetches nothing. Messages name the key and never
//! repeat a value, which may be secret.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::lines::Condition;
use super::parse::{Refused, Request, address_of, check_url, checked_name};
use super::shown;
use crate::address::{Address, Addresses};
use crate::job::{Checksum, Id, Mirror, Particulars};

/// What a message says about a mistake.
type Why = Cow<'static, str>;

/// The keys of an object and their values, in their order, doubled ones too.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<'de>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// What `line`, a JSON object, asks for.
pub fn parse(line: &[u8], addresses: &mut Addresses) -> Result<Request, Refused> {
    let mut particulars = Particulars::default();
    let mut url = String::new();
    match request(line, addresses, &mut url, &mut particulars) {
        Ok(request) => Ok(Request { particulars: Some(Box::new(particulars)), ..request }),
        Err(why) => {
            let url = shown::refused(url.as_bytes(), Condition::Whole);
            Err(Refused { url, why, particulars: Some(Box::new(particulars)) })
        }
    }
}

/// Fills in `url` and `particulars` as far as it comes: a record of a mistake has them too.
fn request(
    line: &[u8],
    addresses: &mut Addresses,
    url: &mut String,
    particulars: &mut Particulars,
) -> Result<Request, Why> {
    let text = str::from_utf8(line).map_err(|_| "not UTF-8")?;
    if !text.trim_start().starts_with('{') {
        return Err("not a JSON object".into());
    }
    let Pairs(pairs) =
        serde_json::from_str(text).map_err(|error| format!("not valid JSON (column {})", error.column()))?;
    // First, so that the record of any other mistake tells which line it was.
    for (key, value) in &pairs {
        match key.as_str() {
            "url" => *url = string("url", value).unwrap_or_default(),
            "id" => particulars.id = id(value)?,
            _ => {}
        }
    }
    let mut name = None;
    let mut checksum: Option<Checksum> = None;
    let mut mirrors = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in &pairs {
        if seen.contains(&key.as_str()) {
            return Err(format!("key {key:?} is there twice").into());
        }
        seen.push(key);
        if value.get() == "null" && KEYS.contains(&key.as_str()) && key != "url" {
            continue;
        }
        match key.as_str() {
            "url" => *url = string(key, value)?,
            "id" => {}
            "out" => name = Some(checked_name(string(key, value)?.as_bytes())?),
            "headers" => particulars.headers = headers(value)?,
            "sha256" | "sha1" | "md5" => {
                let this = digest(key, &string(key, value)?)?;
                // The strongest counts.
                checksum = Some(checksum.map_or(this, |that| if that.bits() > this.bits() { that } else { this }));
            }
            "size" => particulars.size = Some(of(value).ok_or("\"size\" is not a number of bytes")?),
            "method" => particulars.method = Some(method(string(key, value)?)?),
            "body" => particulars.body = Some(string(key, value)?.into_bytes()),
            "mirrors" => mirrors = of::<Vec<String>>(value).ok_or("\"mirrors\" is not a list of URLs")?,
            unknown => return Err(format!("unknown key {unknown:?}").into()),
        }
    }
    if !seen.contains(&"url") {
        return Err("there is no \"url\"".into());
    }
    let (url, address) = place(url, addresses)?;
    particulars.is_named = name.is_some();
    particulars.mirrors = mirrors
        .iter()
        .map(|mirror| {
            let (_, address) = place(mirror, addresses).map_err(|why| format!("mirror: {why}"))?;
            let (request_url, credentials, host) = (address.request_url, address.credentials, address.host);
            Ok(Mirror { request_url, credentials, host })
        })
        .collect::<Result<VecDeque<_>, Why>>()?;
    Ok(Request { url, address, name, checksum, particulars: None })
}

fn place(url: &str, addresses: &mut Addresses) -> Result<(String, Address), Why> {
    check_url(url.as_bytes())?;
    address_of(url.as_bytes(), addresses)
}

/// The keys that a line may have.
const KEYS: [&str; 11] = ["url", "out", "headers", "sha256", "sha1", "md5", "size", "method", "body", "mirrors", "id"];

fn of<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn string(key: &str, value: &RawValue) -> Result<String, Why> {
    of(value).ok_or_else(|| format!("{key:?} is not a string").into())
}

/// Any scalar; comes back in the record.
fn id(value: &RawValue) -> Result<Option<Id>, Why> {
    match value.get().as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'{' | b'[') | None => Err("\"id\" is no scalar".into()),
        Some(b'"') => string("id", value).map(|id| Some(Id::Text(id))),
        Some(_) => Ok(Some(Id::Literal(value.get().to_owned()))),
    }
}

/// `{"Name": "value"}` in libcurl's form; null takes a header away.
fn headers(value: &RawValue) -> Result<Vec<String>, Why> {
    let Pairs(pairs) = of(value).ok_or("\"headers\" is not an object")?;
    let mut headers = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let value: Option<String> = of(value).ok_or_else(|| format!("header {name:?} is neither a string nor null"))?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("{name:?} is not the name of a header").into());
        }
        if name.eq_ignore_ascii_case("range") {
            return Err(format!("header {name:?}: only whole files are fetched").into());
        }
        if value.as_ref().is_some_and(|value| value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')) {
            return Err(format!("control character in the header {name:?}").into());
        }
        headers.push(match value.as_deref().map(str::trim) {
            None => format!("{name}:"),
            // How libcurl is told to send one without a value.
            Some("") => format!("{name};"),
            Some(value) => format!("{name}: {value}"),
        });
    }
    Ok(headers)
}

/// A byte of a method or of a header's name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn method(method: String) -> Result<String, Why> {
    match method.as_str() {
        "HEAD" => Err("\"method\": HEAD is sent with --head".into()),
        "CONNECT" => Err("\"method\": CONNECT is for proxies".into()),
        _ if !method.is_empty() && method.bytes().all(is_token) => Ok(method),
        _ => Err("\"method\" is not a word such as GET".into()),
    }
}

fn digest(key: &str, digits: &str) -> Result<Checksum, Why> {
    let checksum = Checksum::from_hex(digits.as_bytes());
    let fits = checksum.filter(|checksum| checksum.kind().replace('-', "").eq_ignore_ascii_case(key));
    let wanted = match key {
        "md5" => 32,
        "sha1" => 40,
        _ => 64,
    };
    fits.ok_or_else(|| format!("{key:?} must have {wanted} hex digits").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        super::parse(line.as_bytes(), &mut Addresses::default()).map_err(|refused| refused.why.into_owned())
    }

    #[test]
    fn a_line_says_everything_that_it_may() {
        let line = r#" {"url": "http://u:p@h/a", "out": "d/n", "headers": {"X": "1", "Y": null, "Z": ""}, "size": 5,
            "sha1": "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", "md5": "d41d8cd98f00b204e9800998ecf8427e",
            "method": "PUT", "body": "b", "mirrors": ["http://m/1", "http://m/2"], "id": 1e400}"#;
        let request = parse(line).unwrap();
        assert_eq!((request.url.as_str(), request.name.as_deref()), ("http://h/a", Some("d/n")));
        assert_eq!(request.address.credentials.unwrap().user, "u");
        assert_eq!(request.checksum.unwrap().kind(), "SHA-1");
        let particulars = request.particulars.unwrap();
        assert_eq!(particulars.headers, ["X: 1", "Y:", "Z;"]);
        assert_eq!((particulars.method.as_deref(), particulars.body.as_deref()), (Some("PUT"), Some(&b"b"[..])));
        assert_eq!((particulars.size, particulars.id), (Some(5), Some(Id::Literal("1e400".into()))));
        let mirrors: Vec<_> = particulars.mirrors.iter().map(|mirror| mirror.request_url.as_str()).collect();
        assert_eq!(mirrors, ["http://m/1", "http://m/2"]);
        let nothing =
            parse(r#"{"url":"http://h/","out":null,"headers":null,"size":null,"id":null,"sha256":null}"#).unwrap();
        assert_eq!((nothing.name, nothing.checksum), (None, None));
        assert_eq!(nothing.particulars.map(|it| *it), Some(Particulars::default()));
    }

    #[test]
    fn mistakes_are_named_by_their_key_and_not_repeated() {
        for (line, why) in [
            ("http://h/", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("\"S3CR3T\"", "not a JSON object"),
            ("{\"url\":\"http://h/\"", "not valid JSON"),
            ("{\"url\":\"http://h/\"} x", "not valid JSON"),
            ("{\"url\":S3CR3T}", "not valid JSON"),
            ("{}", "there is no \"url\""),
            ("{\"url\":null}", "\"url\" is not a string"),
            ("{\"url\":\"ftp://h/\"}", "unsupported scheme ftp"),
            ("{\"url\":\"http://h/\\u0000\"}", "NUL byte"),
            ("{\"url\":\"http://h/\",\"URL\":\"x\"}", "unknown key \"URL\""),
            ("{\"url\":\"http://h/\",\"sha512\":\"S3CR3T\"}", "unknown key \"sha512\""),
            ("{\"url\":\"http://h/\",\"x\\u001b\":null}", "unknown key \"x\\u{1b}\""),
            ("{\"url\":\"http://h/\",\"url\":\"http://h/\"}", "key \"url\" is there twice"),
            ("{\"url\":\"http://h/\",\"size\":\"S3CR3T\"}", "\"size\" is not a number of bytes"),
            ("{\"url\":\"http://h/\",\"size\":-1}", "\"size\" is not a number of bytes"),
            ("{\"url\":\"http://h/\",\"size\":1.5}", "\"size\" is not a number of bytes"),
            ("{\"url\":\"http://h/\",\"sha256\":\"S3CR3T\"}", "\"sha256\" must have 64 hex digits"),
            (
                "{\"url\":\"http://h/\",\"sha256\":\"d41d8cd98f00b204e9800998ecf8427e\"}",
                "\"sha256\" must have 64 hex digits",
            ),
            ("{\"url\":\"http://h/\",\"id\":{}}", "\"id\" is no scalar"),
            ("{\"url\":\"http://h/\",\"out\":\"\"}", "no output name"),
            ("{\"url\":\"http://h/\",\"out\":\"a\\nb\"}", "control character in the output name"),
            ("{\"url\":\"http://h/\",\"headers\":[\"S3CR3T\"]}", "\"headers\" is not an object"),
            ("{\"url\":\"http://h/\",\"headers\":{\"X\":[\"S3CR3T\"]}}", "header \"X\" is neither"),
            ("{\"url\":\"http://h/\",\"headers\":{\"X: S\":\"\"}}", "is not the name of a header"),
            (
                "{\"url\":\"http://h/\",\"headers\":{\"X\":\"S3CR3T\\r\\nY: 1\"}}",
                "control character in the header \"X\"",
            ),
            (
                "{\"url\":\"http://h/\",\"headers\":{\"range\":\"S3CR3T\"}}",
                "header \"range\": only whole files are fetched",
            ),
            ("{\"url\":\"http://h/\",\"method\":\"GET /\"}", "\"method\" is not"),
            ("{\"url\":\"http://h/\",\"method\":\"HEAD\"}", "--head"),
            ("{\"url\":\"http://h/\",\"body\":{}}", "\"body\" is not a string"),
            ("{\"url\":\"http://h/\",\"mirrors\":\"http://m/\"}", "\"mirrors\" is not a list"),
            ("{\"url\":\"http://h/\",\"mirrors\":[\"ftp://S3CR3T@m/\"]}", "mirror: unsupported scheme ftp"),
        ] {
            let found = parse(line).unwrap_err();
            assert!(found.contains(why) && !found.contains("S3CR3T"), "{line}: {found}");
        }
    }

    #[test]
    fn a_mistake_still_tells_url_and_id() {
        let line = br#"{"id":"x","nope":1,"url":"http://u:S3CR3T@h/a"}"#;
        let refused = super::parse(line, &mut Addresses::default()).unwrap_err();
        assert_eq!(refused.url, "http://h/a");
        assert_eq!(refused.particulars.unwrap().id, Some(Id::Text("x".into())));
    }
}
