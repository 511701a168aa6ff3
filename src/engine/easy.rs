//! A job and the run's options become a configured easy handle: every `setopt` of the program.
//!
//! A fresh handle for every attempt: option state that survives in a reused handle and reaches the next host is the
//! largest class of libcurl's recent vulnerabilities, and a new handle costs microseconds.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use curl::easy::{Auth, Easy2, HttpVersion, IpResolve, List};

use super::coding;
use super::ffi;
use super::pace::Limits;
use super::transfer::Transfer;
use crate::job::{Credentials, Job};

/// Receive buffer, shared by all transfers of a multi handle. With 16 KiB, the default, large bodies take several times
/// the CPU; from 512 KiB to 1 MiB a tenth is gained, from there to 4 MiB a sixth. A turn of one transfer is up to eleven
/// buffers long, but only where its sender fills them as fast as they are emptied.
const BUFFER_SIZE: usize = 4 * 1024 * 1024;

/// Addresses older than this are thrown away when the cache is pruned.
const NAMES_LAST: Duration = Duration::from_secs(60);

/// How requests are made; the same for all transfers.
#[derive(Debug, Clone)]
pub struct Options {
    /// Extra request headers, `Name: value`; a bare `Name:` removes libcurl's own.
    pub headers: Vec<String>,
    /// User-Agent.
    pub user_agent: String,
    /// User and password for servers; those of the URL come first.
    pub credentials: Option<Credentials>,
    /// Proxy, in curl's syntax. `None`: as the environment says.
    pub proxy: Option<String>,
    /// Whether certificates are verified.
    pub verify: Verify,
    /// PEM file of certificate authorities. `None`: the system's.
    pub cacert: Option<PathBuf>,
    /// `HOST:PORT:ADDRESS[,ADDRESS]…`, in curl's syntax.
    pub resolve: Vec<String>,
    /// HTTP versions offered.
    pub http: Http,
    /// Address families used.
    pub family: Family,
    /// Whether bodies are asked for and decoded in a content coding.
    pub coding: Coding,
    /// Whether bodies are fetched or only heads.
    pub method: Method,
    /// Redirects followed.
    pub max_redirs: u32,
    /// Limit for name lookup, connection and TLS handshake together.
    pub connect_timeout: Duration,
    /// Bandwidth.
    pub pace: Limits,
}

/// Certificate checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Chain and name.
    Full,
    /// None (`--insecure`).
    Nothing,
}

/// HTTP versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Negotiated,
    /// HTTP/1.1 only.
    Http11,
    /// HTTP/2, by upgrade without TLS.
    Http2,
}

/// Address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// Content codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Bytes are stored as sent.
    AsSent,
    /// gzip and deflate are asked for, and decoded.
    Decoded,
}

/// Request methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
}

/// What differs between two attempts of the same run.
pub struct Attempt<'a> {
    /// The job.
    pub job: &'a Job,
    /// Wait for a stream on a connection that is being made, rather than open another.
    pub pipewait: bool,
    /// What libcurl does about addresses it knows.
    pub names: Names,
    /// What becomes of the connection afterwards.
    pub connection: Connection,
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It is kept for the next transfer.
    Keep,
    /// It is closed: nobody is likely to want it, and to find room for it libcurl would look at all the others.
    Close,
}

/// Use of libcurl's cache of addresses. Its own expiry goes through the whole cache at every lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Addresses do not age.
    Keep,
    /// The same, and this host has this one.
    Tell(IpAddr),
    /// This host's are looked up again.
    Renew,
    /// The same, and old ones of all hosts are thrown away: once in a while, so that the cache does not grow for ever.
    Prune,
}

/// Receive buffer where a bandwidth limit holds: what libcurl has read counts only when it is handed on.
const SLOW_BUFFER_SIZE: usize = 16 * 1024;

/// An easy handle for one attempt, ready to be added.
pub fn configure(
    options: &Options,
    attempt: &Attempt<'_>,
    token: usize,
    transfer: Transfer,
) -> Result<Easy2<Transfer>, curl::Error> {
    let mut easy = Easy2::new(transfer);
    // libcurl returns this token as CURLINFO_PRIVATE, to the socket callback too.
    ffi::set_token(&mut easy, token)?;
    ffi::on_connected(&mut easy)?;
    ffi::only_http(&mut easy)?;
    ffi::refuse_username_in_url(&mut easy)?;
    easy.url(&attempt.job.request_url)?;
    easy.useragent(&options.user_agent)?;
    match options.pace.lowest() {
        None => easy.buffer_size(BUFFER_SIZE)?,
        Some(rate) => {
            easy.buffer_size(SLOW_BUFFER_SIZE)?;
            // A quarter of a second in the kernel, which takes twice the number.
            let ahead = usize::try_from(rate / 8).unwrap_or(usize::MAX).clamp(16 * 1024, 4 * 1024 * 1024);
            easy.get_mut().set_receive_buffer(ahead);
        }
    }
    easy.connect_timeout(options.connect_timeout)?;
    easy.follow_location(true)?;
    easy.max_redirections(options.max_redirs)?;
    tls(options, &mut easy)?;
    match options.http {
        Http::Negotiated => easy.http_version(HttpVersion::V2TLS)?,
        Http::Http11 => easy.http_version(HttpVersion::V11)?,
        Http::Http2 => easy.http_version(HttpVersion::V2)?,
    }
    if attempt.connection == Connection::Close {
        easy.forbid_reuse(true)?;
    }
    if attempt.pipewait {
        easy.pipewait(true)?;
    }
    match options.family {
        Family::Any => {}
        Family::V4 => easy.ip_resolve(IpResolve::V4)?,
        Family::V6 => easy.ip_resolve(IpResolve::V6)?,
    }
    if options.method == Method::Head {
        easy.nobody(true)?;
    }
    if options.coding == Coding::Decoded {
        easy.accept_encoding(coding::ACCEPTED)?;
        // Decoded here: see there.
        easy.http_content_decoding(false)?;
    }
    if let Some(credentials) = attempt.job.credentials.as_ref().or(options.credentials.as_ref()) {
        easy.http_auth(Auth::new().basic(true))?;
        easy.username(&credentials.user)?;
        easy.password(&credentials.password)?;
    }
    if let Some(proxy) = &options.proxy {
        easy.proxy(proxy)?;
    }
    headers(options, &mut easy)?;
    names(options, attempt, &mut easy)?;
    Ok(easy)
}

/// The headers given, and those that ask for the rest of a body or for a newer one.
fn headers(options: &Options, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
    let mut headers = List::new();
    for header in &options.headers {
        headers.append(header)?;
    }
    let body = easy.get_ref().body();
    let range = body.and_then(|body| body.resume()).map(|resume| format!("{}-", resume.from));
    let version = body.and_then(|body| body.resume()).and_then(|resume| resume.version.strong());
    let newer = body.and_then(|body| body.unless_modified_since());
    if let Some(version) = version {
        headers.append(&format!("If-Range: {version}"))?;
    }
    if let Some(time) = newer {
        headers.append(&format!("If-Modified-Since: {}", httpdate::fmt_http_date(time)))?;
    }
    let any = !options.headers.is_empty() || version.is_some() || newer.is_some();
    if let Some(range) = range {
        // Not CURLOPT_RESUME_FROM, with which libcurl judges the answer by itself, and wrongly: 416 and a body that is
        // as long as the file here are successes to it. This only sends the header, to where redirects lead too.
        easy.range(&range)?;
    }
    if any { easy.http_headers(headers) } else { Ok(()) }
}

fn names(options: &Options, attempt: &Attempt<'_>, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
    match attempt.names {
        Names::Keep | Names::Tell(_) | Names::Renew => ffi::names_do_not_age(easy)?,
        Names::Prune => easy.dns_cache_timeout(NAMES_LAST)?,
    }
    let mut entries = List::new();
    let host = &attempt.job.host;
    // First: what --resolve gives stays.
    let first = match attempt.names {
        // An IPv6 address is no name, and its colons would be misread.
        _ if host.name.starts_with('[') => None,
        Names::Keep => None,
        Names::Tell(IpAddr::V4(address)) => Some(format!("+{}:{}:{address}", host.name, host.port)),
        Names::Tell(IpAddr::V6(address)) => Some(format!("+{}:{}:[{address}]", host.name, host.port)),
        Names::Renew | Names::Prune => Some(format!("-{}:{}", host.name, host.port)),
    };
    for entry in first.iter().chain(&options.resolve) {
        entries.append(entry)?;
    }
    if first.is_some() || !options.resolve.is_empty() {
        easy.resolve(entries)?;
    }
    Ok(())
}

fn tls(options: &Options, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
    ffi::no_capath(easy)?;
    if let Some(cacert) = &options.cacert {
        easy.cainfo(cacert)?;
    }
    if options.verify == Verify::Nothing {
        easy.ssl_verify_peer(false)?;
        easy.ssl_verify_host(false)?;
    }
    Ok(())
}
