//! What `-w` asks of a transfer beyond what every record tells: headers as they come, numbers when it is over.

use std::rc::Rc;
use std::time::Duration;

use curl::easy::Easy2;
use curl::multi::Easy2Handle;

use super::ffi;
use super::info::{Long, Off, Text};
use super::transfer::Transfer;
use crate::job::{Datum, Extra};

/// The headers of the last response that were asked for.
#[derive(Debug, Default)]
pub struct Headers {
    asked: Rc<[Extra]>,
    /// Name, in lower case, and value, in the order in which they came.
    fields: Vec<(String, String)>,
    complete: bool,
}

impl Headers {
    /// None so far; what `asked` needs is kept.
    pub fn new(asked: Rc<[Extra]>) -> Headers {
        Headers { asked, ..Headers::default() }
    }

    /// Reads a line of a response's head. A status line begins a new one.
    pub fn read(&mut self, line: &[u8]) {
        if self.asked.is_empty() {
            return;
        }
        let line = line.trim_ascii_end();
        if line.starts_with(b"HTTP/") {
            (self.complete, self.fields) = (false, Vec::new());
            return;
        }
        self.complete |= line.is_empty();
        let Some(colon) = line.iter().position(|byte| *byte == b':').filter(|_| !self.complete) else { return };
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        if self.asked.iter().any(|extra| extra.needs(&name)) {
            let value = String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned();
            self.fields.push((name, value));
        }
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// curl's form, to the byte: an object in which each name has the list of its values.
    fn json(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.fields {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let member = |name: &&str| {
            let values: Vec<String> = self.values(name).map(quoted).collect();
            format!("{}:[{}]", quoted(name), values.join(","))
        };
        format!("{{{}\n}}", names.iter().map(member).collect::<Vec<_>>().join(",\n"))
    }
}

impl Extra {
    /// Whether the header `name` is to be kept for it.
    fn needs(&self, name: &str) -> bool {
        match self {
            Extra::Header(asked, _) => asked == name,
            Extra::HeaderJson | Extra::NumHeaders => true,
            _ => false,
        }
    }
}

/// Has libcurl keep what it would not without being asked.
pub fn ask(easy: &mut Easy2<Transfer>, asked: &[Extra]) {
    if asked.iter().any(|extra| matches!(extra, Extra::Certs | Extra::NumCerts)) {
        // A TLS library that cannot tell has shown none.
        let _ = easy.certinfo(true);
    }
}

/// What became of everything that was asked, in its order.
pub fn read(easy: &Easy2Handle<Transfer>, asked: &[Extra]) -> Vec<Datum> {
    let number = |info| Datum::Number(ffi::long(easy, info).unwrap_or_default());
    let text = |info| Datum::Text(ffi::text(easy, info).unwrap_or_default());
    let sum = |value: Option<i64>| Datum::Sum(value.unwrap_or_default());
    let time = |info| Datum::Time(Duration::from_micros(ffi::off(easy, info).map_or(0, |micros| micros.max(0) as u64)));
    // Each certificate itself comes without a name, and with a line end.
    let line = |field: String| field.strip_prefix("Cert:").unwrap_or(&field).trim_end().to_owned();
    let certificates = || ffi::certificates(easy).into_iter().flatten().map(line).collect::<Vec<_>>().join("\n");
    let headers = easy.get_ref().headers();
    let one = |extra: &Extra| match extra {
        Extra::Header(name, None) => Datum::Text(headers.values(name).next().unwrap_or_default().to_owned()),
        Extra::Header(name, Some(between)) => Datum::Text(headers.values(name).collect::<Vec<_>>().join(between)),
        Extra::HeaderJson => Datum::Text(headers.json()),
        Extra::NumHeaders => Datum::Number(headers.fields.len() as i64),
        Extra::Certs => Datum::Text(certificates()),
        Extra::NumCerts => Datum::Number(ffi::certificates(easy).len() as i64),
        Extra::FtpEntryPath => Datum::Text(String::new()),
        Extra::HttpConnect => number(Long::HttpConnectcode),
        Extra::LocalIp => text(Text::LocalIp),
        Extra::LocalPort => number(Long::LocalPort),
        Extra::Method => text(Text::EffectiveMethod),
        Extra::ProxyUsed => number(Long::UsedProxy),
        Extra::ProxySslVerifyResult => number(Long::ProxySslVerifyResult),
        Extra::RedirectUrl => text(Text::RedirectUrl),
        Extra::Referer => text(Text::Referer),
        Extra::SizeHeader => sum(ffi::long(easy, Long::HeaderSize)),
        Extra::SizeRequest => sum(ffi::long(easy, Long::RequestSize)),
        Extra::SizeUpload => sum(ffi::off(easy, Off::SizeUpload)),
        Extra::SpeedUpload => Datum::Number(ffi::off(easy, Off::SpeedUpload).unwrap_or_default()),
        Extra::SslVerifyResult => number(Long::SslVerifyResult),
        Extra::TimePosttransfer => time(Off::PosttransferTime),
        Extra::TimePretransfer => time(Off::PretransferTime),
        Extra::TimeRedirect => Datum::Before(Duration::ZERO),
        Extra::TlsEarlydata => sum(ffi::off(easy, Off::EarlydataSent)),
    };
    asked.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_responses_headers_are_kept_as_far_as_they_are_asked_for() {
        let mut headers = Headers::new(Rc::new([Extra::Header("x-a".to_owned(), None)]));
        for line in
            ["HTTP/1.1 302 Found", "X-A: old", "", "HTTP/1.1 200 OK", "x-A:  1 ", "Date: x", "X-a: 2", "", "X-A: t"]
        {
            headers.read(format!("{line}\r\n").as_bytes());
        }
        assert_eq!(headers.fields, [("x-a".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())]);
        assert_eq!(headers.json(), "{\"x-a\":[\"1\",\"2\"]\n}");
    }
}
