//! Where a response leads: the next request of its job, or why there is none.
//!
//! libcurl follows nothing by itself: the host that a redirect names may be paused, dead or busy, and only the schedule
//! knows. The rules are curl's.

use std::borrow::Cow;

use super::easy::Schemes;
use crate::address::{Addresses, Base};
use crate::job::{ErrorClass, Failure, Hop, Job, Stats};

/// Heads of all responses of a chain, at most; as in libcurl, which has twenty times its limit for one.
const HEADS_MAX: u64 = 20 * 300 * 1024;

/// `CURLE_UNSUPPORTED_PROTOCOL`.
const SCHEME: i32 = 1;
/// `CURLE_URL_MALFORMAT`.
const MALFORMED: i32 = 3;
/// `CURLE_TOO_MANY_REDIRECTS`.
const TOO_MANY: i32 = 47;
/// `CURLE_RECV_ERROR`, which libcurl has for heads that are too large.
const TOO_LARGE: i32 = 56;
/// `CURLE_LOGIN_DENIED`, which libcurl has for URLs that name a user where that is not wanted.
const USER: i32 = 67;

/// A response that names a place to ask instead.
pub struct Answer<'a> {
    /// Its status.
    pub status: u32,
    /// As it was sent; relative to the URL that was asked for.
    pub location: &'a [u8],
    /// Bytes of its head.
    pub head: u64,
    /// What its request measured.
    pub stats: &'a Stats,
}

/// Which redirects are followed.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// So many in a row; `None` for none, not even as a failure of their own.
    pub most: Option<u32>,
    /// Those that lead to these schemes, if they may be asked for at all.
    pub schemes: Schemes,
}

/// The next request of `job` after `answer`. `schemes` may be asked for.
pub fn follow(rules: Rules, schemes: Schemes, job: &Job, answer: &Answer<'_>) -> Result<Hop, Failure> {
    let Some(most) = rules.most else {
        return Err(Failure::new(ErrorClass::Http, 22, format!("the server answered {}", answer.status)));
    };
    let refused = |code, why: Cow<'_, str>| Failure::new(ErrorClass::Redirect, code, format!("not followed: {why}"));
    let before = job.hop.as_deref();
    let stats = job.through(Some(answer.stats.clone())).unwrap_or_default();
    if stats.num_redirects.unwrap_or_default() >= most {
        return Err(Failure::new(ErrorClass::Redirect, TOO_MANY, format!("more than {most} redirects (--max-redirs)")));
    }
    let heads = before.map_or(0, |hop| hop.heads) + answer.head;
    if heads > HEADS_MAX {
        let message = format!("more than {HEADS_MAX} bytes of headers in a chain of redirects");
        return Err(Failure::new(ErrorClass::Protocol, TOO_LARGE, message));
    }
    let mut addresses = Addresses::new(Base::parse(job.target_url()).ok());
    let location = encoded(answer.location);
    let address = addresses.absolute(&location).map(Cow::into_owned).and_then(|url| addresses.parse(&url));
    let address =
        address.map_err(|why| refused(if why.starts_with("unsupported scheme") { SCHEME } else { MALFORMED }, why))?;
    if address.credentials.is_some() {
        return Err(refused(USER, "the redirect names a user".into()));
    }
    if !schemes.allow(&address.host) || !rules.schemes.allow(&address.host) {
        let scheme = if address.host.tls { "https" } else { "http" };
        return Err(refused(SCHEME, format!("the redirect leads to {scheme} (--proto, --proto-redir)").into()));
    }
    Ok(Hop {
        url: address.request_url,
        fragment: location
            .iter()
            .position(|byte| *byte == b'#')
            .map(|at| String::from_utf8_lossy(&location[at + 1..]).into_owned()),
        host: address.host,
        from: job.target_url().to_owned(),
        without_body: before.is_some_and(|hop| hop.without_body) || matches!(answer.status, 301..=303),
        heads,
        stats,
    })
}

/// What servers write into it that is no URL, as curl sends it.
fn encoded(location: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(location.len());
    for byte in location {
        match byte {
            0x21..0x7f if *byte != b'\\' => encoded.push(*byte),
            _ => encoded.extend(format!("%{byte:02X}").bytes()),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Host;

    const RULES: Rules = Rules { most: Some(3), schemes: Schemes::Both };

    fn job(url: &str) -> Job {
        let host = Addresses::default().parse(url.as_bytes()).expect("a URL").host;
        Job { url: url.into(), request_url: url.into(), ..Job::of(host) }
    }

    fn led(job: &Job, status: u32, location: &[u8], rules: Rules) -> Result<Hop, Failure> {
        let answer = Answer { status, location, head: 1000, stats: &Stats::default() };
        follow(rules, Schemes::Both, job, &answer)
    }

    #[test]
    fn locations_are_meant_from_the_url_that_was_asked_for() {
        for (location, url, is_elsewhere) in [
            ("/b", "http://h:81/b", false),
            ("b", "http://h:81/a/b", false),
            ("../../b", "http://h:81/b", false),
            ("?q", "http://h:81/a/x?q", false),
            ("//other/b", "http://other/b", true),
            ("//h:81/b#c", "http://h:81/b", false),
            ("http://H:81/b", "http://h:81/b", false),
            ("http://h/b", "http://h/b", true),
            ("https://h:81/", "https://h:81/", true),
            ("/a b\t\"c", "http://h:81/a%20b%09%22c", false),
            ("/a\\b", "http://h:81/a%5Cb", false),
            ("/b\u{fc}", "http://h:81/b%C3%BC", false),
            ("/b?u=http://x/", "http://h:81/b?u=http://x/", false),
        ] {
            let job = job("http://h:81/a/x?y");
            let hop = led(&job, 302, location.as_bytes(), RULES).expect(location);
            assert_eq!((hop.url.as_str(), hop.from.as_str()), (url, "http://h:81/a/x?y"), "{location}");
            let job = Job { hop: Some(Box::new(hop)), ..job };
            assert_eq!(job.is_elsewhere(), is_elsewhere, "{location}");
        }
        assert_eq!(led(&job("http://h/"), 302, b"/\xff\xfe", RULES).expect("a hop").url, "http://h/%FF%FE");
    }

    #[test]
    fn what_leads_nowhere_is_not_followed() {
        for (location, code) in [
            ("gopher://h/", 1),
            ("file:///etc/passwd", 1),
            ("javascript:alert(1)", 1),
            ("http://", 3),
            ("http://h:99999/", 3),
            ("http://h:0/", 3),
            ("http://good.test\\@evil.test/", 67),
            ("http://u:p@h/", 67),
            ("//u@h/", 67),
        ] {
            let failure = led(&job("https://h/"), 302, location.as_bytes(), RULES).expect_err(location);
            assert_eq!((failure.class, failure.exitcode), (ErrorClass::Redirect, code), "{location}: {failure:?}");
            assert!(!failure.message.contains("u:p"), "{failure:?}");
        }
        for (schemes, location) in [(Schemes::Https, "http://h/"), (Schemes::Http, "https://h/")] {
            let rules = Rules { schemes, ..RULES };
            assert_eq!(led(&job("http://h/"), 302, location.as_bytes(), rules).map_err(|it| it.exitcode), Err(1));
        }
        let rules = Rules { most: None, ..RULES };
        let failure = led(&job("http://h/"), 302, b"/b", rules).expect_err("not followed");
        assert_eq!((failure.class, failure.message.as_str()), (ErrorClass::Http, "the server answered 302"));
    }

    #[test]
    fn a_chain_ends_with_its_last_redirect_or_with_too_large_heads() {
        for (rules, head, redirects, class) in [
            (RULES, 1000, 3, ErrorClass::Redirect),
            (Rules { most: Some(0), ..RULES }, 1000, 0, ErrorClass::Redirect),
            (Rules { most: Some(1000), ..RULES }, 300 * 1024, 20, ErrorClass::Protocol),
        ] {
            let mut job = job("http://h/");
            for _ in 0..redirects {
                let answer = Answer { status: 302, location: b"/b", head, stats: &Stats::default() };
                job.hop = Some(Box::new(follow(rules, Schemes::Both, &job, &answer).expect("a hop")));
            }
            let answer = Answer { status: 302, location: b"/b", head, stats: &Stats::default() };
            let end = follow(rules, Schemes::Both, &job, &answer).map_err(|failure| failure.class);
            assert_eq!(end, Err(class));
            assert_eq!(job.through(None).and_then(|stats| stats.num_redirects), (redirects > 0).then(|| redirects - 1));
        }
    }

    #[test]
    fn a_body_that_stayed_behind_is_not_fetched_again() {
        for (statuses, without_body) in
            [(&[307, 308][..], false), (&[300], false), (&[301], true), (&[303, 307], true), (&[308, 302], true)]
        {
            let mut job = job("http://h/");
            for status in statuses {
                job.hop = Some(Box::new(led(&job, *status, b"/b", RULES).expect("a hop")));
            }
            assert_eq!(job.hop.is_some_and(|hop| hop.without_body), without_body, "{statuses:?}");
        }
    }

    #[test]
    fn hosts_are_the_same_as_those_of_lines() {
        let hop = led(&job("http://h/"), 302, b"http://[::ffff:127.0.0.1]:81/", RULES).expect("a hop");
        assert_eq!(hop.host, Host { tls: false, name: "127.0.0.1".into(), port: 81 });
    }
}
