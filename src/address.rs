//! The text of a URL → where the request goes.
//!
//! The `url` crate parses as browsers do (WHATWG): it strips TABs, takes `http:///x` and `http:x` for host `x` and a
//! backslash for a slash. curl refuses those, and so do we, before the crate sees them: a line must not be fetched
//! from another place than the one it seems to name. Knows nothing of lines and names.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::job::{Credentials, Host};
use crate::text::readable;

/// Schemes that are written without `//`: a line that begins with one is no forgotten `https://`.
const WITHOUT_SLASHES: [&str; 10] =
    ["about", "blob", "cid", "data", "file", "javascript", "magnet", "mailto", "news", "urn"];

/// Longest scheme that is repeated in a message.
const SCHEME_SHOWN: usize = 32;

/// What a URL means to those who fetch it.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    /// The URL serialised again, without user, password and fragment.
    pub request_url: String,
    /// User and password, percent-decoded.
    pub credentials: Option<Credentials>,
    /// Whom the request goes to.
    pub host: Host,
}

/// What relative URLs are meant from (`--base-url`).
#[derive(Debug, Clone)]
pub struct Base(Url);

impl Base {
    /// The base that `text` names, or why it names none.
    pub fn parse(text: &str) -> Result<Base, Cow<'static, str>> {
        if text.contains(char::is_control) {
            return Err("control character".into());
        }
        Addresses::default().parse(text.as_bytes())?;
        Url::parse(text).map(Base).map_err(|error| error.to_string().into())
    }
}

/// Parses URLs; remembers the last host, because a list names the same one many times in a row.
#[derive(Default)]
pub struct Addresses {
    base: Option<Base>,
    last: Option<Host>,
}

impl Addresses {
    /// Relative URLs are meant from `base`; without it they are none.
    pub fn new(base: Option<Base>) -> Addresses {
        Addresses { base, last: None }
    }

    /// `text` as an absolute URL (RFC 3986, 5.2), where it is relative and there is a base.
    pub fn absolute<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>, Cow<'static, str>> {
        let Some(Base(base)) = self.base.as_ref().filter(|_| is_relative(text)) else { return Ok(Cow::Borrowed(text)) };
        match text.strip_prefix(b"//") {
            Some(after_slashes) => check_authority(after_slashes)?,
            None => check_path(text)?,
        }
        let joined = base.join(&readable(text)).map_err(|error| error.to_string())?;
        Ok(Cow::Owned(String::from(joined).into_bytes()))
    }

    /// The address that `text` names, or why it names none, for a person. The message quotes at most a scheme.
    pub fn parse(&mut self, text: &[u8]) -> Result<Address, Cow<'static, str>> {
        let after_slashes = after_scheme(text)?;
        check_authority(&text[after_slashes..])?;
        let mut url = Url::parse(&readable(text)).map_err(|error| error.to_string())?;
        let credentials = credentials(&url)?;
        if credentials.is_some() {
            // These cannot fail: an http URL has a host.
            let _ = url.set_password(None);
            let _ = url.set_username("");
        }
        if url.fragment().is_some() {
            url.set_fragment(None);
        }
        let host = self.host(&url)?;
        Ok(Address { request_url: url.into(), credentials, host })
    }

    fn host(&mut self, url: &Url) -> Result<Host, Cow<'static, str>> {
        let name = host_name(url)?;
        let tls = url.scheme() == "https";
        // RFC 9110, 4.2.1: http and https always have a port.
        let port = url.port_or_known_default().unwrap_or(0);
        if port == 0 {
            return Err("port 0 cannot be connected to".into());
        }
        match &self.last {
            Some(last) if last.tls == tls && last.port == port && *last.name == *name => Ok(last.clone()),
            _ => {
                let host = Host { tls, name: Arc::from(name), port };
                self.last = Some(host.clone());
                Ok(host)
            }
        }
    }
}

/// Where the authority begins: after a scheme that we speak and exactly two slashes.
fn after_scheme(text: &[u8]) -> Result<usize, Cow<'static, str>> {
    let missing = || Err("no scheme: write https://… or http://…".into());
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return missing();
    };
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let Some(scheme) = scheme_name(scheme) else {
        return missing();
    };
    if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return match rest {
            [b'/', b'/', ..] => Ok(colon + 3),
            _ => Err("two slashes must follow the scheme: write https://… or http://…".into()),
        };
    }
    let plain = WITHOUT_SLASHES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !plain && !rest.starts_with(b"//") {
        // `localhost:8080/x`, `user:password@host`: the colon is not a scheme's.
        return missing();
    }
    if scheme.len() > SCHEME_SHOWN {
        return Err("unsupported scheme: only http and https are fetched".into());
    }
    let scheme = scheme.to_ascii_lowercase();
    Err(format!("unsupported scheme {scheme}: only http and https are fetched").into())
}

/// Whether `text` has no scheme: no colon, or none before the path begins.
fn is_relative(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| b":/?#".contains(byte));
    end.is_none_or(|end| text[end] != b':')
}

/// `bytes` as the name of a scheme (RFC 3986, 3.1).
fn scheme_name(bytes: &[u8]) -> Option<&str> {
    let (first, rest) = bytes.split_first()?;
    let rest_fits = rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    if first.is_ascii_alphabetic() && rest_fits { str::from_utf8(bytes).ok() } else { None }
}

/// Refuses what the parser would read more kindly than curl. `text` begins after `://`.
fn check_authority(text: &[u8]) -> Result<(), Cow<'static, str>> {
    let end = text.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let end = end.unwrap_or(text.len());
    let (authority, rest) = text.split_at(end);
    if authority.is_empty() {
        return Err("no host after the two slashes".into());
    }
    if authority.contains(&b'\\') {
        return Err("backslash before the path".into());
    }
    if authority.contains(&b' ') {
        return Err("space before the path".into());
    }
    if authority.iter().filter(|byte| **byte == b'@').count() > 1 {
        // curl ends the password at the first, browsers at the last.
        return Err("more than one @ before the path: write %40 in user and password".into());
    }
    if str::from_utf8(authority).is_err() {
        return Err("host, user or password is not UTF-8".into());
    }
    check_path(rest)
}

/// Refuses the other slash, which the parser would turn into this one.
fn check_path(rest: &[u8]) -> Result<(), Cow<'static, str>> {
    // In a query a backslash stays what it is.
    let backslash = rest.iter().position(|byte| *byte == b'\\');
    if backslash.is_some_and(|index| !rest[..index].iter().any(|byte| b"?#".contains(byte))) {
        return Err("backslash in the path: write / or %5C".into());
    }
    Ok(())
}

/// User and password, when the URL has one of them.
fn credentials(url: &Url) -> Result<Option<Credentials>, Cow<'static, str>> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return Ok(None);
    }
    let decode = |text| match percent_decode_str(text).decode_utf8() {
        Ok(text) if text.contains(char::is_control) => Err("control character in user or password"),
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("user or password is not UTF-8"),
    };
    Ok(Some(Credentials { user: decode(user)?, password: decode(password.unwrap_or_default())? }))
}

/// The host's name for politeness: one machine, one name, so far as the text tells.
fn host_name(url: &Url) -> Result<Cow<'_, str>, Cow<'static, str>> {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            // `example.com.` is the absolute form of `example.com` (RFC 1034, 3.1).
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                return Err("no host after the two slashes".into());
            }
            // libcurl refuses more characters than the WHATWG parser does; this is stricter than both.
            match name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._~".contains(*c)) {
                Some(bad) => Err(format!("character {bad:?} in the host name").into()),
                None => Ok(Cow::Borrowed(name)),
            }
        }
        // `::ffff:127.0.0.1` is the same machine as 127.0.0.1 (RFC 4291, 2.5.5.2).
        Some(url::Host::Ipv6(address)) => match address.to_ipv4_mapped() {
            Some(address) => Ok(Cow::Owned(address.to_string())),
            None => Ok(Cow::Owned(format!("[{address}]"))),
        },
        Some(url::Host::Ipv4(address)) => Ok(Cow::Owned(address.to_string())),
        None => Err("no host after the two slashes".into()),
    }
}

#[cfg(test)]
mod tests;
