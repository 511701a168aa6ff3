//! The group *Request* of the command line and its environment → how requests are made.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use super::identity::identity;
use super::route::route;
use super::secret;
use super::{CURLS_CONNECT_TIMEOUT, standard_input, unless_zero};
use crate::cli::{self, Args, RequestArgs};
use crate::engine::{
    self, Bandwidth, Client, Coding, Http, Method, Redirects, Referer, Request, Schemes, Tls, Token, Verify,
};

/// How requests are made. An error names the option or the file.
pub fn request(args: &mut Args) -> anyhow::Result<Request> {
    let given = &mut args.request;
    check_texts(given)?;
    let (cookie, jar) = cookies(given)?;
    Ok(Request {
        headers: headers(&given.headers)?,
        user_agent: given
            .user_agent
            .take()
            .unwrap_or_else(|| concat!("fetchmany/", env!("CARGO_PKG_VERSION")).to_owned()),
        referer: given.referer.as_deref().map(referer),
        identity: identity(given)?,
        cookie,
        jar,
        tls: tls(given)?,
        http: match (given.http1_1, given.http2, given.http2_prior_knowledge) {
            (true, _, _) => Http::Http11,
            (_, true, _) => Http::Http2,
            (_, _, true) => Http::PriorKnowledge,
            _ => Http::Negotiated,
        },
        coding: if given.compressed { Coding::Decoded } else { Coding::AsSent },
        method: if given.head { Method::Head } else { Method::Get },
        custom_method: given.method.take().filter(|method| method != "GET"),
        redirects: Redirects {
            most: (!given.no_location).then_some(given.max_redirs),
            schemes: schemes(given.proto_redir),
        },
        schemes: schemes(given.proto),
        route: route(given)?,
        connect_timeout: unless_zero(args.connect_timeout).unwrap_or(CURLS_CONNECT_TIMEOUT),
        bandwidth: Bandwidth { total: unless_none(args.limit_rate), per_host: unless_none(args.limit_rate_per_host) },
    })
}

/// curl's zero: no limit.
fn unless_none(rate: Option<u64>) -> Option<u64> {
    rate.filter(|rate| *rate > 0)
}

/// What of `request` changes what a server sends for a URL, in one line; `None` when bodies are not to be continued.
pub fn continued(request: &Request, no_resume: bool) -> Option<String> {
    if no_resume || request.custom_method.is_some() {
        return None;
    }
    let mut said = Vec::new();
    for header in &request.headers {
        let (name, value) = header.split_once([':', ';']).unwrap_or((header, ""));
        let name = name.trim().to_ascii_lowercase();
        // The user's own condition: what comes need not be the file.
        if name.starts_with("if-") {
            return None;
        }
        if name.starts_with("accept") || name == "prefer" || name == "te" {
            said.push(format!("{name}: {}", value.trim()));
        }
    }
    if request.coding == Coding::Decoded {
        said.push("compressed".to_owned());
    }
    said.sort();
    Some(said.join("\n"))
}

/// What libcurl would send, or use, as it is.
fn check_texts(given: &RequestArgs) -> anyhow::Result<()> {
    for (option, value) in [
        ("--user-agent", &given.user_agent),
        ("--referer", &given.referer),
        ("--proxy", &given.proxy),
        ("--noproxy", &given.noproxy),
        ("--interface", &given.interface),
        ("--aws-sigv4", &given.aws_sigv4),
        ("--doh-url", &given.doh_url),
    ] {
        if let Some(value) = value {
            check_text(option, value)?;
        }
    }
    if given.doh_url.as_ref().is_some_and(|url| !url.to_ascii_lowercase().starts_with("https://")) {
        bail!("--doh-url: it begins with https://");
    }
    Ok(())
}

/// libcurl sends option text as it is: a line break would begin a header of its own.
pub fn check_text(option: &str, value: &str) -> anyhow::Result<()> {
    if value.as_bytes().iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        bail!("{option}: control characters are not allowed");
    }
    Ok(())
}

/// `@FILE` stands for what is in FILE. A header may be a secret: an error says where it stands, not what it is.
fn headers(given: &[String]) -> anyhow::Result<Vec<String>> {
    let mut headers = Vec::with_capacity(given.len());
    for header in given {
        let Some(file) = header.strip_prefix('@') else {
            headers.push(header.clone());
            continue;
        };
        let text = standard_input::or_file("--header", Path::new(file))?;
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            headers.push(cli::header(line).map_err(|why| anyhow!("--header @{file}:{number}: {why}"))?);
        }
    }
    Ok(headers)
}

fn referer(given: &str) -> Referer {
    let (url, follows) = given.strip_suffix(";auto").map_or((given, false), |url| (url, true));
    Referer { url: (!url.is_empty()).then(|| url.to_owned()), follows }
}

/// The cookies to send with every request, and those to begin with where cookies are kept.
fn cookies(given: &mut RequestArgs) -> anyhow::Result<(Option<String>, Option<Vec<String>>)> {
    let mut sent = Vec::new();
    if given.cookie_jar.as_deref() == Some(Path::new("-")) {
        bail!("--cookie-jar -: standard output is for results; name a file, or ./- for this one");
    }
    let mut jar = given.cookie_jar.is_some().then(Vec::new);
    for cookie in std::mem::take(&mut given.cookies) {
        if cookie.contains('=') {
            check_text("--cookie", &cookie)?;
            sent.push(cookie);
            continue;
        }
        let lines = jar.get_or_insert_default();
        let path = Path::new(&cookie);
        // The first run that keeps its cookies where the next one finds them; an empty name only has them kept.
        let to_be_made = given.cookie_jar.as_deref() == Some(path) && !path.exists();
        if !cookie.is_empty() && !to_be_made {
            // Not repeated: it may be a cookie.
            if cookie != standard_input::NAME && path.symlink_metadata().is_err() {
                bail!("--cookie: no such file; a cookie has the form name=value");
            }
            lines.extend(cookie_lines(path)?);
        }
    }
    Ok(((!sent.is_empty()).then(|| sent.join("; ")), jar))
}

/// The lines of a Netscape cookie file that are cookies.
fn cookie_lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = standard_input::or_file("--cookie", path)?;
    let is_comment = |line: &str| line.trim().is_empty() || (line.starts_with('#') && !line.starts_with("#HttpOnly_"));
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !is_comment(line)) {
        let is_header = line.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("set-cookie:"));
        if !is_header && line.split('\t').count() < 6 {
            bail!("--cookie {}:{number}: not a line of a Netscape cookie file", path.display());
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

fn tls(given: &mut RequestArgs) -> anyhow::Result<Tls> {
    let verify = if given.insecure { Verify::Nothing } else { Verify::Full };
    let cacert = match given.cacert.take() {
        Some(path) => Some(("--cacert", path)),
        // In curl's order; a variable only counts where anything is verified. Named here, a file is missed before the first
        // request.
        None => ["CURL_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().filter(|_| verify == Verify::Full).find_map(|name| {
            let path = std::env::var_os(name).filter(|path| !path.is_empty())?;
            Some((name, PathBuf::from(path)))
        }),
    };
    if let Some((namer, path)) = &cacert {
        check_authorities(path).with_context(|| format!("{namer}: read the authorities {}", path.display()))?;
    }
    let cacert = cacert.map(|(_, path)| path);
    let client = client(given)?;
    let pinned = given.pinnedpubkey.take();
    pinned.as_deref().map_or(Ok(()), check_pins)?;
    let curves = given.curves.take();
    if let Some(curves) = curves.as_deref().filter(|curves| !engine::curves_are_known(curves)) {
        bail!("--curves {curves}: OpenSSL does not know all of these");
    }
    Ok(Tls { verify, cacert, client, pinned, curves })
}

fn client(given: &mut RequestArgs) -> anyhow::Result<Option<Client>> {
    let (key, pass) = (given.key.take(), given.pass.take());
    let Some(cert) = given.cert.take() else {
        return match (key, pass) {
            (Some(_), _) => bail!("--key: it goes with --cert FILE, which is missing"),
            (None, Some(_)) => bail!("--pass: it goes with --cert FILE, which is missing"),
            (None, None) => Ok(None),
        };
    };
    let (cert, with_it) = certificate(&cert);
    read("--cert", &cert)?;
    let option = if key.is_some() { "--key" } else { "--cert" };
    let file = key.as_deref().unwrap_or(&cert);
    let text = read(option, file)?;
    let password = match secret::typed("--pass", pass)?.or(with_it) {
        Some(password) => Some(password),
        None => secret::environment("FETCHMANY_PASS")?,
    };
    let (file, is_given) = (file.display().to_string(), password.is_some());
    let client = Client { cert, key, password: Token(password.unwrap_or_default()) };
    if !engine::client_is_usable(&client) {
        match (text.contains("ENCRYPTED"), is_given) {
            (true, true) => bail!("{option} {file}: the password does not open the key (--pass, FETCHMANY_PASS)"),
            (true, false) => bail!("{option} {file}: the key needs a password (--pass, FETCHMANY_PASS)"),
            (false, _) => {
                bail!("{option} {file}: there is no key in it (PEM) that belongs to the certificate of --cert")
            }
        }
    }
    Ok(Some(client))
}

/// The path of a public key, or hashes of keys: `sha256//` with 32 bytes in base64, and `;` between them.
fn check_pins(pinned: &str) -> anyhow::Result<()> {
    if !pinned.starts_with("sha256//") {
        return std::fs::read(pinned).map(drop).with_context(|| format!("--pinnedpubkey {pinned}"));
    }
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let is_hash = |pin: &str| {
        let digits = pin.strip_prefix("sha256//").and_then(|hash| hash.strip_suffix('='));
        digits.is_some_and(|digits| digits.len() == 43 && digits.bytes().all(is_digit))
    };
    match pinned.split(';').find(|pin| !is_hash(pin)) {
        Some(pin) => bail!("--pinnedpubkey {pin}: a hash is sha256// and 44 characters of base64"),
        None => Ok(()),
    }
}

/// curl's `FILE[:PASSWORD]`: `\:` and `\\` stand for a colon and a backslash in the name.
pub(super) fn certificate(given: &str) -> (PathBuf, Option<String>) {
    let mut name = String::new();
    let mut rest = given.chars();
    while let Some(c) = rest.next() {
        match c {
            ':' => return (name.into(), Some(rest.as_str().to_owned())),
            '\\' if rest.as_str().starts_with([':', '\\']) => name.extend(rest.next()),
            c => name.push(c),
        }
    }
    (name.into(), None)
}

fn schemes(given: Option<cli::Schemes>) -> Schemes {
    match given {
        Some(cli::Schemes { http: true, https: false }) => Schemes::Http,
        Some(cli::Schemes { http: false, https: true }) => Schemes::Https,
        _ => Schemes::Both,
    }
}

/// A file that an option names, as text.
pub fn read(option: &str, path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{option}: read {}", path.display()))
}

/// libcurl reads the file whenever it needs it, and says so late and once for every transfer if it cannot.
fn check_authorities(path: &Path) -> anyhow::Result<()> {
    // A pipe would be empty when libcurl comes; to open one may take for ever.
    if !std::fs::metadata(path)?.is_file() {
        bail!("not a regular file");
    }
    let is_certificate =
        |line: &[u8]| line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(b"CERTIFICATE-----");
    if !std::fs::read(path)?.split(|byte| *byte == b'\n').any(is_certificate) {
        bail!("there is no certificate in it (PEM)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_would_break_out_of_a_header_is_refused() {
        for (text, good) in
            [("X: y", true), ("X:\ty", true), ("X: y\r\nZ: a", false), ("X: \u{7f}", false), ("a\0b", false)]
        {
            assert_eq!(check_text("--header", text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn a_partial_file_goes_on_only_under_the_options_that_change_nothing_of_it() {
        let continued = |typed: &[&str]| {
            let mut args = cli::typed(&[typed, &["http://h/"]].concat());
            let request = request(&mut args).unwrap();
            continued(&request, args.no_resume)
        };
        let plain = continued(&[]);
        assert_eq!(plain.as_deref(), Some(""));
        for same in
            [&["-H", "X-Other: y"][..], &["-H", "Authorization: S3CR3T"], &["-A", "me"], &["-k"], &["-u", "a:b"]]
        {
            assert_eq!(continued(same), plain, "{same:?}");
        }
        for other in
            [&["--compressed"][..], &["-H", "Accept: text/html"], &["-H", "accept-language: de"], &["-H", "Accept:"]]
        {
            assert!(continued(other).is_some_and(|said| !said.is_empty()), "{other:?}");
        }
        for never in [&["--no-resume"][..], &["-H", "if-range: x"], &["-H", "If-None-Match: x"], &["-X", "POST"]] {
            assert_eq!(continued(never), None, "{never:?}");
        }
        let [one, other] =
            [["-H", "Accept: a", "-H", "Accept-Language: b"], ["-H", "accept-language:b", "-H", "ACCEPT: a"]];
        assert_eq!(continued(&one), continued(&other), "order and case of the names do not matter");
    }

    #[test]
    fn a_certificate_may_have_a_password_after_a_colon() {
        for (given, name, password) in [
            ("a.pem", "a.pem", None),
            ("a.pem:secret", "a.pem", Some("secret")),
            ("a.pem:", "a.pem", Some("")),
            ("a.pem:se:cret", "a.pem", Some("se:cret")),
            ("a\\:b.pem", "a:b.pem", None),
            ("a\\\\b:c", "a\\b", Some("c")),
            ("a\\b", "a\\b", None),
        ] {
            assert_eq!(certificate(given), (name.into(), password.map(str::to_owned)), "{given}");
        }
    }
}
