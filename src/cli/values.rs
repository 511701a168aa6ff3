//! Values of options: curl's spellings of sizes, times and rates.

use std::time::Duration;

use super::request::Schemes;
use super::{Failures, Jobs};

/// curl's sizes: `10`, `10k`, `1.5M`.
pub fn size(text: &str) -> Result<u64, String> {
    let split = text.len() - text.chars().last().filter(char::is_ascii_alphabetic).map_or(0, char::len_utf8);
    let (number, suffix) = text.split_at(split);
    let unit: f64 = match suffix {
        "" | "b" | "B" => 1.0,
        "k" | "K" => 1024.0,
        "m" | "M" => 1024.0 * 1024.0,
        "g" | "G" => 1024.0 * 1024.0 * 1024.0,
        "t" | "T" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err("a size is a number with an optional k, M, G or T".into()),
    };
    match number.parse::<f64>() {
        Ok(number) if number >= 0.0 && number * unit < 9e18 && number.is_finite() => Ok((number * unit) as u64),
        _ => Err("a size is a number with an optional k, M, G or T".into()),
    }
}

/// curl's times: seconds, with a fraction if need be.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds <= 3e9)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a time is a number of seconds, such as 10 or 2.5".into())
}

/// A deadline: a time that is not too short to mean anything, or zero for none.
pub fn limit(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        limit if !limit.is_zero() && limit < Duration::from_millis(1) => {
            Err("a limit is 0 for none, or at least 0.001 seconds".into())
        }
        limit => Ok(limit),
    }
}

/// A time in which something can be measured, or zero for none.
pub fn seconds_from_one(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        time if !time.is_zero() && time < Duration::from_secs(1) => {
            Err("it is at least 1 second, or 0 for none".into())
        }
        time => Ok(time),
    }
}

/// A number of attempts.
pub fn attempts(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "a number of attempts, such as 4, or 0 for none after the first".into())
}

/// Redirects that are followed when there is no limit: a chain that is longer leads nowhere.
const MOST_REDIRECTS: u32 = 1000;

/// A number of redirects, or -1 for no limit.
pub fn redirects(text: &str) -> Result<u32, String> {
    match text {
        "-1" => Ok(MOST_REDIRECTS),
        _ => text.parse::<u16>().map(u32::from).map_err(|_| "a number from 0 to 65535, or -1 for no limit".into()),
    }
}

/// 1 to 65535, curl's bound.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(count @ 1..=65_535) => Ok(count),
        _ => Err("the number of transfers is from 1 to 65535".into()),
    }
}

/// `auto`, or as [`count`] has it.
pub fn jobs(text: &str) -> Result<Jobs, String> {
    match text {
        "auto" => Ok(Jobs::Auto),
        _ => count(text).map(Jobs::Fixed).map_err(|why| format!("{why}, or auto")),
    }
}

/// `N/s`, `N/m`, `N/h`, `N/d`, as the time between two starts; as in curl, `N` alone is for an hour.
pub fn rate(text: &str) -> Result<Duration, String> {
    let wrong = || "a rate is a number per unit of time, such as 30/s, 100/m, 5/h or 20/d".to_owned();
    let (number, unit) = text.split_once('/').unwrap_or((text, "h"));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    // One in a year is the slowest, a million a second the fastest that means something.
    match seconds / number {
        interval if (1e-6..=3.2e7).contains(&interval) => Ok(Duration::from_secs_f64(interval)),
        _ => Err(wrong()),
    }
}

/// `N` or `N%`.
pub fn failures(text: &str) -> Result<Failures, String> {
    let wrong = || "a number of URLs, or a percentage such as 5%".to_owned();
    match text.strip_suffix('%') {
        None => text.parse().map(Failures::Count).map_err(|_| wrong()),
        Some(percent) => match percent.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Failures::Percent(percent)),
            _ => Err(wrong()),
        },
    }
}

/// `[+]HOST:PORT:ADDRESS[,ADDRESS]…`.
pub fn resolve(text: &str) -> Result<String, String> {
    let wrong = || "it has the form HOST:PORT:ADDRESS".to_owned();
    let mut parts = text.splitn(3, ':');
    let (Some(host), Some(port), Some(addresses)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let is_address = |address: &str| address.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    if host.trim_start_matches('+').is_empty() || port.parse::<u16>().is_err() || !addresses.split(',').all(is_address)
    {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// `HOST1:PORT1:HOST2:PORT2`; each may be empty.
pub fn connect_to(text: &str) -> Result<String, String> {
    let mut brackets = 0;
    let outside = text.chars().filter(|c| {
        brackets += i32::from(*c == '[') - i32::from(*c == ']');
        *c == ':' && brackets == 0
    });
    if outside.count() != 3 || brackets != 0 || text.chars().any(|c| c.is_control() || c == ' ') {
        return Err("it has the form HOST1:PORT1:HOST2:PORT2".into());
    }
    let is_port = |port: &&str| port.is_empty() || port.parse::<u16>().is_ok();
    let last = text.rsplit(':').next().filter(is_port);
    last.map(|_| text.to_owned()).ok_or_else(|| "a port is a number up to 65535".into())
}

/// A method (RFC 9110, 9.1).
pub fn method(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match text {
        "HEAD" => Err("HEAD is sent with --head".into()),
        "CONNECT" => Err("CONNECT is for proxies".into()),
        _ if !text.is_empty() && text.bytes().all(is_token) => Ok(text.to_owned()),
        _ => Err("a method is a word such as GET".into()),
    }
}

/// A header, or `@FILE`. libcurl sends it as it is: a line break would begin a header of its own. A part of a body would be
/// published as if it were whole.
pub fn header(text: &str) -> Result<String, String> {
    if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err("control characters are not allowed".into());
    }
    match text.split_once([':', ';']) {
        _ if text.starts_with('@') => Ok(text.to_owned()),
        Some((name, _)) if name.trim().eq_ignore_ascii_case("range") => {
            Err("Range: only whole files are fetched; what broke off is continued by itself".into())
        }
        Some(_) => Ok(text.to_owned()),
        None => Err("a header has the form \"Name: value\"".into()),
    }
}

/// A number of milliseconds.
pub fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(milliseconds @ 0..=3_600_000) => Ok(Duration::from_millis(milliseconds.into())),
        _ => Err("a number of milliseconds up to 3600000".into()),
    }
}

/// curl's lists of protocols, of which there are two here: `=https`, `-http`, `all,-http`.
pub fn schemes(text: &str) -> Result<Schemes, String> {
    let mut schemes = Schemes { http: true, https: true };
    for item in text.split(',') {
        let (sign, name) = match item.split_at_checked(1) {
            Some((sign @ ("=" | "+" | "-"), name)) => (sign, name),
            _ => ("+", item),
        };
        if sign == "=" {
            schemes = Schemes { http: false, https: false };
        }
        let on = sign != "-";
        match name.to_ascii_lowercase().as_str() {
            "http" => schemes.http = on,
            "https" => schemes.https = on,
            "all" => schemes = Schemes { http: on, https: on },
            // Never used.
            _ if !on => {}
            _ => return Err("only http and https are fetched".into()),
        }
    }
    match schemes {
        Schemes { http: false, https: false } => Err("it leaves neither http nor https".into()),
        schemes => Ok(schemes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_added_removed_and_set() {
        for (text, http, https) in [
            ("=https", false, true),
            ("https", true, true),
            ("-http", false, true),
            ("all,-https", true, false),
            ("-all,https", false, true),
            ("=http,https", true, true),
            ("-ftp,-http", false, true),
            ("=HTTPS", false, true),
        ] {
            assert_eq!(schemes(text), Ok(Schemes { http, https }), "{text}");
        }
        for text in ["", "-all", "=ftp", "http,gopher", "-http,-https", "="] {
            assert!(schemes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_ends_have_four_parts() {
        for (text, good) in [
            ("a.test:80:127.0.0.1:8080", true),
            ("::127.0.0.1:8080", true),
            (":::", true),
            ("a:1:[::1]:2", true),
            ("a:1:b", false),
            ("a:1:b:2:3", false),
            ("a:1:[::1:2", false),
            ("a:1:b:x", false),
        ] {
            assert_eq!(connect_to(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn methods_are_tokens() {
        for (text, good) in
            [("GET", true), ("M-SEARCH", true), ("HEAD", false), ("", false), ("GET /", false), ("A\r\nB", false)]
        {
            assert_eq!(method(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_curls() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("10k", Some(10_240)),
            ("1.5M", Some(1_572_864)),
            ("2G", Some(2_147_483_648)),
            ("1T", Some(1_099_511_627_776)),
            ("", None),
            ("k", None),
            ("-1", None),
            ("1e30", None),
            ("nan", None),
            ("10x", None),
            ("10 é", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text:?}");
        }
    }

    #[test]
    fn times_are_seconds() {
        for (text, time) in [
            ("10", Some(10_000)),
            ("0.5", Some(500)),
            ("0", Some(0)),
            ("0.001", Some(1)),
            ("0.0001", None),
            ("-1", None),
            ("1e400", None),
            ("inf", None),
            ("soon", None),
        ] {
            assert_eq!(limit(text).ok(), time.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn redirects_are_counted_or_as_good_as_endless() {
        for (text, count) in
            [("0", Some(0)), ("10", Some(10)), ("-1", Some(MOST_REDIRECTS)), ("-2", None), ("65536", None), ("", None)]
        {
            assert_eq!(redirects(text).ok(), count, "{text:?}");
        }
    }

    #[test]
    fn fixed_addresses_are_checked() {
        for (text, good) in [
            ("example.com:443:127.0.0.1", true),
            ("example.com:443:127.0.0.1,127.0.0.2", true),
            ("example.com:443:[::1]", true),
            ("example.com:443:::1", true),
            ("+example.com:80:127.0.0.1", true),
            ("example.com", false),
            ("example.com:443", false),
            ("example.com:https:127.0.0.1", false),
            ("example.com:443:localhost", false),
            (":443:127.0.0.1", false),
        ] {
            assert_eq!(resolve(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn job_counts_are_bounded() {
        for (text, good) in [
            ("0", false),
            ("1", true),
            ("65535", true),
            ("65536", false),
            ("1e9", false),
            ("-5", false),
            ("auto", true),
        ] {
            assert_eq!(jobs(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn rates_are_numbers_per_unit_of_time() {
        for (text, millis) in [
            ("1/s", Some(1000)),
            ("20/s", Some(50)),
            ("0.5/s", Some(2000)),
            ("60/m", Some(1000)),
            ("6/h", Some(600_000)),
            ("0/s", None),
            ("-1/s", None),
            ("1e9/s", None),
            ("nan/s", None),
            ("10", Some(360_000)),
            ("24/d", Some(3_600_000)),
            ("", None),
            ("10/w", None),
            ("10/", None),
            ("/s", None),
        ] {
            assert_eq!(rate(text).ok(), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn failures_are_counted_or_a_share() {
        for (text, meaning) in [
            ("0", Some(Failures::Count(0))),
            ("100", Some(Failures::Count(100))),
            ("2.5%", Some(Failures::Percent(2.5))),
            ("101%", None),
            ("-1", None),
            ("%", None),
            ("many", None),
        ] {
            assert_eq!(failures(text).ok(), meaning, "{text:?}");
        }
    }
}
