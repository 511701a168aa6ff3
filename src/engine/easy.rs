//! A job and the run's options become a configured easy handle; [`super::auth`], [`super::route`] and [`super::tls`] do
//! their parts of it.
//!
//! A fresh handle for every attempt: option state that survives in a reused handle and reaches the next host is the
//! largest class of libcurl's recent vulnerabilities, and a new handle costs microseconds.

use std::ffi::CStr;
use std::time::Duration;

use curl::easy::{Easy2, HttpVersion, List};

use super::auth::Identity;
use super::coding;
use super::ffi;
use super::redirect::Rules;
use super::route::{Names, Route};
use super::throttle::Bandwidth;
use super::tls::Tls;
use super::transfer::Transfer;
use crate::job::{Host, Job};

/// Receive buffer, shared by all transfers of a multi handle. With 16 KiB, the default, large bodies take several times
/// the CPU; from 512 KiB to 1 MiB a tenth is gained, from there to 4 MiB a twelfth. A turn of one transfer is up to eleven
/// buffers long, but only where its sender fills them as fast as they are emptied.
const BUFFER_SIZE: usize = 4 * 1024 * 1024;

/// How requests are made; the same for all transfers.
#[derive(Debug, Clone)]
pub struct Options {
    /// Extra request headers, `Name: value`; a bare `Name:` removes libcurl's own.
    pub headers: Vec<String>,
    /// User-Agent.
    pub user_agent: String,
    /// Referer.
    pub referer: Option<Referer>,
    /// Who asks.
    pub identity: Identity,
    /// Cookies that are sent as given, `name=value; name=value`.
    pub cookie: Option<String>,
    /// Cookies to begin with, where they are kept at all: lines of a Netscape cookie file.
    pub jar: Option<Vec<String>>,
    /// How servers are reached.
    pub route: Route,
    /// Certificates.
    pub tls: Tls,
    /// HTTP versions offered.
    pub http: Http,
    /// Whether bodies are asked for and decoded in a content coding.
    pub coding: Coding,
    /// Whether bodies are fetched or only heads.
    pub method: Method,
    /// Sent in its place.
    pub custom_method: Option<String>,
    /// Redirects followed.
    pub redirects: Rules,
    /// Schemes that may be asked for, by URLs and by redirects.
    pub schemes: Schemes,
    /// Limit for name lookup, connection and TLS handshake together.
    pub connect_timeout: Duration,
    /// Bandwidth.
    pub bandwidth: Bandwidth,
}

/// The header of this name.
#[derive(Debug, Clone)]
pub struct Referer {
    /// What is sent with the first request.
    pub url: Option<String>,
    /// Whether redirects are sent the URL before them.
    pub follows: bool,
}

/// Schemes that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schemes {
    /// http and https.
    Both,
    /// http alone.
    Http,
    /// https alone.
    Https,
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
    /// HTTP/2 at once, without TLS too.
    PriorKnowledge,
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

impl Schemes {
    /// Whether `host` may be asked.
    pub fn allow(self, host: &Host) -> bool {
        match self {
            Schemes::Both => true,
            Schemes::Http => !host.tls,
            Schemes::Https => host.tls,
        }
    }

    fn list(self) -> &'static CStr {
        match self {
            Schemes::Both => c"http,https",
            Schemes::Http => c"http",
            Schemes::Https => c"https",
        }
    }
}

/// What differs between two attempts of the same run.
pub struct Setup<'a> {
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

/// An easy handle for one attempt, ready to be added.
pub fn configure(
    options: &Options,
    setup: &Setup<'_>,
    token: usize,
    transfer: Transfer,
) -> Result<Easy2<Transfer>, curl::Error> {
    let mut easy = Easy2::new(transfer);
    // libcurl returns this token as CURLINFO_PRIVATE, to the socket callback too.
    ffi::set_token(&mut easy, token)?;
    ffi::on_connected(&mut easy)?;
    ffi::schemes(&mut easy, options.schemes.list())?;
    easy.url(setup.job.target_url())?;
    easy.useragent(&options.user_agent)?;
    let sizes = easy.get_ref().permit().sizes(BUFFER_SIZE);
    easy.buffer_size(sizes.map_or(BUFFER_SIZE, |sizes| sizes.write))?;
    if let Some(sizes) = sizes {
        easy.get_mut().receive_buffer = sizes.ahead;
        // The limit itself never holds, since the transfer pauses before; with it libcurl lets an HTTP/2 stream send no
        // more than so much ahead, instead of 10 MiB.
        easy.max_recv_speed(sizes.speed)?;
    }
    easy.connect_timeout(options.connect_timeout)?;
    options.tls.apply(&mut easy)?;
    match options.http {
        Http::Negotiated => easy.http_version(HttpVersion::V2TLS)?,
        Http::Http11 => easy.http_version(HttpVersion::V11)?,
        Http::Http2 => easy.http_version(HttpVersion::V2)?,
        Http::PriorKnowledge => easy.http_version(HttpVersion::V2PriorKnowledge)?,
    }
    if setup.connection == Connection::Close {
        easy.forbid_reuse(true)?;
    }
    if setup.pipewait {
        easy.pipewait(true)?;
    }
    method(options, setup.job, &mut easy)?;
    if options.coding == Coding::Decoded {
        easy.accept_encoding(coding::ACCEPTED)?;
        // Decoded here: see there.
        easy.http_content_decoding(false)?;
    }
    options.identity.apply(setup.job, &mut easy)?;
    if let Some(referer) = &options.referer {
        let before = setup.job.hop.as_ref().filter(|_| referer.follows).map(|hop| &hop.from);
        if let Some(url) = before.or(referer.url.as_ref()) {
            easy.referer(url)?;
        }
    }
    if let Some(cookie) = options.cookie.as_ref().filter(|_| !setup.job.is_elsewhere()) {
        easy.cookie(cookie)?;
    }
    ffi::share_cookies(&mut easy)?;
    headers(options, setup.job, &mut easy)?;
    options.route.apply(setup.job, setup.names, &mut easy)?;
    Ok(easy)
}

/// Headers that are meant for the origin of a job's URL alone.
const PRIVATE: [&str; 3] = ["authorization", "cookie", "host"];

/// The headers of all requests, but for those that the job's own replace; these; and those that ask for the rest of a
/// body or for a newer one.
fn headers(options: &Options, job: &Job, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
    let own = job.particulars.as_ref().map_or(&[][..], |particulars| &particulars.headers);
    let is_replaced = |header: &&String| own.iter().any(|own| name(own).eq_ignore_ascii_case(name(header)));
    let is_kept = |header: &&String| {
        !job.is_elsewhere() || !PRIVATE.iter().any(|private| name(header).eq_ignore_ascii_case(private))
    };
    let mut headers = List::new();
    for header in options.headers.iter().filter(|header| !is_replaced(header)).chain(own).filter(is_kept) {
        headers.append(header)?;
    }
    let body = easy.get_ref().body();
    let range = body.and_then(|body| body.resume()).map(|resume| format!("{}-", resume.from));
    let version = body.and_then(|body| body.resume()).and_then(|resume| resume.version.as_ref()?.strong());
    let there = body.and_then(|body| body.unless());
    if let Some(version) = version {
        headers.append(&format!("If-Range: {version}"))?;
    }
    if let Some(there) = there {
        headers.append(&format!("If-Modified-Since: {}", httpdate::fmt_http_date(there.modified)))?;
        if let Some(etag) = &there.etag {
            headers.append(&format!("If-None-Match: {etag}"))?;
        }
    }
    let any = !options.headers.is_empty() || !own.is_empty() || version.is_some() || there.is_some();
    if let Some(range) = range {
        // Not CURLOPT_RESUME_FROM, with which libcurl judges the answer by itself, and wrongly: 416 and a body that is
        // as long as the file here are successes to it. This only sends the header.
        easy.range(&range)?;
    }
    if any { easy.http_headers(headers) } else { Ok(()) }
}

/// The name of a header in libcurl's form: `Name: value`, `Name:` or `Name;`.
fn name(header: &str) -> &str {
    header.split([':', ';']).next().unwrap_or_default().trim()
}

/// The method, and the body that goes with it. A HEAD request is one whatever the job says.
fn method(options: &Options, job: &Job, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
    if options.method == Method::Head {
        return easy.nobody(true);
    }
    let particulars = job.particulars.as_deref();
    let body = particulars.and_then(|particulars| particulars.body.as_ref());
    let stays_behind = job.hop.as_ref().is_some_and(|hop| hop.without_body);
    if let Some(body) = body.filter(|_| !stays_behind) {
        easy.post(true)?;
        easy.post_fields_copy(body)?;
    }
    let named = particulars.and_then(|particulars| particulars.method.as_ref()).or(options.custom_method.as_ref());
    // What libcurl does by itself it also does not do where the body stayed behind. A name that was given is kept.
    let by_itself = if body.is_some() { "POST" } else { "GET" };
    named.filter(|method| *method != by_itself).map_or(Ok(()), |method| easy.custom_request(method))
}
