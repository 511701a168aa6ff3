//! The part of the group *Request* that says how to get to servers. What cannot work is refused before anything is sent.

use std::net::{Ipv6Addr, UdpSocket};
use std::path::Path;

use anyhow::{Context, anyhow};

use crate::cli::RequestArgs;
use crate::engine::{Family, Route};

/// Schemes of proxies that libcurl knows.
const PROXIES: [&str; 7] = ["http", "https", "socks", "socks4", "socks4a", "socks5", "socks5h"];

/// Variables that libcurl takes a proxy from; of each group the first that is set counts.
const VARIABLES: [&[&str]; 3] = [&["http_proxy"], &["https_proxy", "HTTPS_PROXY"], &["all_proxy", "ALL_PROXY"]];

/// Where Linux lists the network interfaces.
const INTERFACES: &str = "/sys/class/net";

/// The way to servers. An error names the option or the variable.
pub fn route(given: &mut RequestArgs) -> anyhow::Result<Route> {
    if let Some(socket) = &given.unix_socket {
        std::fs::metadata(socket).with_context(|| format!("--unix-socket {}", socket.display()))?;
    }
    check_proxies(given)?;
    if let Some(interface) = &given.interface {
        check_interface(interface).map_err(|why| anyhow!("--interface {interface}: {why}"))?;
    }
    Ok(Route {
        proxy: given.proxy.take(),
        noproxy: given.noproxy.take(),
        resolve: std::mem::take(&mut given.resolve),
        connect_to: std::mem::take(&mut given.connect_to),
        unix_socket: given.unix_socket.take(),
        interface: given.interface.take(),
        family: match (given.ipv4, given.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        },
        happy_eyeballs: given.happy_eyeballs_timeout_ms,
        doh_url: given.doh_url.take(),
    })
}

/// The proxy given, or else those that the environment names.
fn check_proxies(given: &RequestArgs) -> anyhow::Result<()> {
    if let Some(proxy) = &given.proxy {
        return check_proxy(proxy).map_err(|why| anyhow!("--proxy: {why}"));
    }
    // libcurl takes what is no UTF-8, too.
    let value = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    let variable = |name: &&str| Some((name.to_string(), value(name)?)).filter(|(_, it)| !it.is_empty());
    let noproxy = given.noproxy.clone().or_else(|| ["no_proxy", "NO_PROXY"].iter().find_map(variable).map(|it| it.1));
    if noproxy.as_deref() == Some("*") {
        return Ok(());
    }
    for (name, proxy) in VARIABLES.iter().filter_map(|names| names.iter().find_map(variable)) {
        check_proxy(&proxy).map_err(|why| anyhow!("{name}: {why} (--noproxy '*' uses no proxy)"))?;
    }
    Ok(())
}

/// `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT]`, as libcurl has it; empty for none. The message repeats nothing that may be a
/// password.
fn check_proxy(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    if !PROXIES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        let shown = Some(scheme).filter(|it| it.len() <= 16 && it.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        return Err(format!("a proxy is {}, not {}", PROXIES.join(", "), shown.unwrap_or("this")));
    }
    let end = rest.rfind('@').map_or(0, |at| at + 1);
    let rest = rest[end..].split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address = address.split('%').next().is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
            (if is_address { address } else { "" }, port.strip_prefix(':').or((!port.is_empty()).then_some("none")))
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "[]\"<>^`{|}\\".contains(c)) {
        return Err("no host in it; such as socks5h://host:1080 or host:3128".to_owned());
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(_) if port == Some("") && text.contains("://") => Ok(()),
        Some(_) => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

/// An interface, an address or a host name, in curl's forms: `NAME`, `if!NAME`, `host!NAME`, `ifhost!NAME!HOST`.
fn check_interface(text: &str) -> Result<(), &'static str> {
    let listed = Path::new(INTERFACES);
    // Without the list nobody knows before connecting.
    let is_interface = |name: &str| !listed.is_dir() || (!name.contains('/') && listed.join(name).exists());
    let is_host = |name: &str| UdpSocket::bind((name, 0)).is_ok();
    let parts: Vec<&str> = text.split('!').collect();
    match parts[..] {
        ["if", name] | ["ifhost", name, _] if !is_interface(name) => Err("there is no such network interface"),
        ["host", name] | ["ifhost", _, name] if !is_host(name) => Err("this machine has no such address"),
        [""] => Err("it is empty"),
        // `eth0:1` is another address of eth0.
        [name] if !is_interface(name.split(':').next().unwrap_or(name)) && !is_host(name) => {
            Err("there is no such network interface, and this machine has no such address")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_written_as_curl_has_them() {
        for (text, good) in [
            ("", true),
            ("host", true),
            ("host:3128", true),
            ("http://host", true),
            ("HTTPS://u:p@host:1/", true),
            ("socks5h://127.0.0.1:1080", true),
            ("socks5h://localhost/run/socket", true),
            ("http://[::1]:8080", true),
            ("http://[fe80::1%25eth0]:8080", true),
            ("u:p@ss@host:1", true),
            ("foo://x", false),
            ("ftp://x", false),
            ("127.0.0.1:99999", false),
            ("127.0.0.1:0", false),
            ("127.0.0.1:x", false),
            ("127.0.0.1:", false),
            ("http://127.0.0.1:", true),
            ("http://", false),
            ("http://u:p@", false),
            (":8080", false),
            ("http://[::", false),
            ("http://[x]:1", false),
            ("http://[::1]8080", false),
            ("a b", false),
        ] {
            assert_eq!(check_proxy(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_proxy_that_is_refused_is_not_repeated() {
        for text in ["u:S3CR3T@h:99999", "S3CR3T:x://y", "u:S3CR3T://h", "odd://u:S3CR3T@h", "u:S3CR3T@"] {
            assert!(check_proxy(text).is_err_and(|why| !why.contains("S3CR3T")), "{text}");
        }
    }

    #[test]
    fn interfaces_are_known_before_anything_is_sent() {
        for (text, good) in [
            ("lo", true),
            ("127.0.0.1", true),
            ("localhost", true),
            ("if!lo", true),
            ("host!127.0.0.1", true),
            ("ifhost!lo!127.0.0.1", true),
            ("if!nope0", false),
            ("", false),
            ("192.0.2.77", false),
            ("host!", false),
        ] {
            assert_eq!(check_interface(text).is_ok(), good, "{text}");
        }
    }
}
