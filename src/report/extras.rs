//! The variables of `-w` that are in no record: their names, and how they read.

use std::fmt::Write;

use super::escape;
use crate::job::{Datum, Extra};

/// Every one that has a name of its own, how it reads where nothing is known.
const NAMES: &[(&str, Extra, &str)] = &[
    ("certs", Extra::Certs, ""),
    ("ftp_entry_path", Extra::FtpEntryPath, ""),
    ("header_json", Extra::HeaderJson, "{\n}"),
    ("http_connect", Extra::HttpConnect, "000"),
    ("local_ip", Extra::LocalIp, ""),
    ("local_port", Extra::LocalPort, "0"),
    ("method", Extra::Method, ""),
    ("num_certs", Extra::NumCerts, "0"),
    ("num_headers", Extra::NumHeaders, "0"),
    ("proxy_ssl_verify_result", Extra::ProxySslVerifyResult, "0"),
    ("proxy_used", Extra::ProxyUsed, "0"),
    ("redirect_url", Extra::RedirectUrl, ""),
    ("referer", Extra::Referer, ""),
    ("size_header", Extra::SizeHeader, "0"),
    ("size_request", Extra::SizeRequest, "0"),
    ("size_upload", Extra::SizeUpload, "0"),
    ("speed_upload", Extra::SpeedUpload, "0"),
    ("ssl_verify_result", Extra::SslVerifyResult, "0"),
    ("time_posttransfer", Extra::TimePosttransfer, "0.000000"),
    ("time_pretransfer", Extra::TimePretransfer, "0.000000"),
    ("time_redirect", Extra::TimeRedirect, "0.000000"),
    ("tls_earlydata", Extra::TlsEarlydata, "0"),
];

/// The one that is called `name`.
pub fn named(name: &str) -> Option<Extra> {
    NAMES.iter().find(|(known, ..)| *known == name).map(|(_, extra, _)| extra.clone())
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, ..)| *name)
}

/// What is between the braces of `%header{…}`: `NAME`, or curl's `NAME:all:SEPARATOR`.
pub fn header(typed: &str) -> Extra {
    match typed.split_once(":all:") {
        Some((name, separator)) => Extra::Header(name.to_ascii_lowercase(), Some(separator.to_owned())),
        None => Extra::Header(typed.to_ascii_lowercase(), None),
    }
}

/// Appends what `extra` was; `None` where no request was made.
pub fn push(out: &mut String, extra: &Extra, datum: Option<&Datum>) {
    // Writing to a String does not fail.
    let _ = match (extra, datum) {
        (_, None) => {
            let unknown = NAMES.iter().find(|(_, known, _)| known == extra).map_or("", |(.., unknown)| unknown);
            out.write_str(unknown)
        }
        (Extra::HttpConnect, Some(Datum::Number(number))) => write!(out, "{number:03}"),
        (_, Some(Datum::Number(number) | Datum::Sum(number))) => write!(out, "{number}"),
        (_, Some(Datum::Time(time) | Datum::Before(time))) => write!(out, "{:.6}", time.as_secs_f64()),
        // It is quoted as JSON is; its line ends are its own.
        (Extra::HeaderJson, Some(Datum::Text(json))) => out.write_str(json),
        (Extra::Certs, Some(Datum::Text(lines))) => {
            for line in lines.lines() {
                escape::push_str(out, line);
                out.push('\n');
            }
            Ok(())
        }
        (_, Some(Datum::Text(text))) => {
            escape::push_str(out, text);
            Ok(())
        }
    };
}
