//! Redirects and secrets: what is meant for one server is told to no other, and what a server sends along is not used.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use rustls::{ServerConnection, StreamOwned};

use crate::harness::authority::Alpn;
use crate::harness::reply::base64;
use crate::harness::{Authority, Fetch, Finished, Raw, Reply, Seen, Server, Step};

const HOST: &str = "a.test";

/// Where `/from` leads at the moment.
#[derive(Clone, Default)]
struct Target(Arc<Mutex<String>>);

impl Target {
    fn set(&self, location: &str) {
        *self.0.lock().expect("no panic while held") = location.to_owned();
    }

    /// Sends whoever asks for `/from` there; everything else answers with its path.
    fn handler(&self) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
        let target = self.clone();
        move |seen: &Seen| match seen.path.as_str() {
            "/from" => Reply::redirect(302, target.0.lock().expect("no panic while held").as_str()),
            path => Reply::ok(path.to_owned()),
        }
    }
}

/// The ways to have a secret sent, each with what it is on the wire: arguments, user of the URL, header, its value.
fn secrets() -> [(&'static [&'static str], &'static str, &'static str, String); 7] {
    let basic = |text: &str| format!("Basic {}", base64(text.as_bytes()));
    [
        (&["-u", "user:S3CR3T-1"], "", "authorization", basic("user:S3CR3T-1")),
        (&[], "user:S3CR3T-2@", "authorization", basic("user:S3CR3T-2")),
        (&["-H", "Authorization: Bearer S3CR3T-3"], "", "authorization", "Bearer S3CR3T-3".to_owned()),
        (&["-H", "Cookie: id=S3CR3T-4"], "", "cookie", "id=S3CR3T-4".to_owned()),
        (&["--oauth2-bearer", "S3CR3T-5"], "", "authorization", "Bearer S3CR3T-5".to_owned()),
        (&["-b", "id=S3CR3T-6"], "", "cookie", "id=S3CR3T-6".to_owned()),
        (&["--netrc"], "", "authorization", basic("user:S3CR3T-7")),
    ]
}

/// Who is known where: what is for another host is not even sent to that host when a redirect leads there.
const NETRC: &str = "machine a.test login user password S3CR3T-7\n\
                     machine b.test login user password S3CR3T-8\n\
                     default login user password S3CR3T-9\n";

/// What every request of the case is like: the names all lead to this machine, the servers are trusted.
fn fetch(servers: &[&Server], authority: &Authority) -> Fetch {
    let mut fetch = Fetch::recorded().args(["--retry", "0", "--cacert"]).arg(authority.pem());
    let netrc = fetch.place().home().join(".netrc");
    std::fs::write(&netrc, NETRC).expect("write a netrc file");
    std::fs::set_permissions(&netrc, PermissionsExt::from_mode(0o600)).expect("chmod");
    for server in servers {
        for host in [HOST, "b.test"] {
            fetch = fetch.args(["--resolve".to_owned(), server.resolve(host)]);
        }
    }
    fetch
}

#[test]
fn secrets_go_along_to_the_same_origin() {
    let authority = Authority::new();
    let target = Target::default();
    let plain = Server::http(target.handler());
    let secure = Server::tls(&authority.identity(), Alpn::Http2, target.handler());
    for server in [&plain, &secure] {
        for (args, user, header, value) in secrets() {
            for location in ["/to".to_owned(), "to".to_owned(), server.url_as(HOST, "/to")] {
                target.set(&location);
                let url = server.url_as(&format!("{user}{HOST}"), "/from");
                let run = fetch(&[server], &authority).args(args).urls(&[url]).run();
                run.assert_exit(0).check_invariants(1);
                let last = server.seen().pop().expect("a request");
                assert_eq!(last.path, "/to", "{run}");
                assert_eq!(last.header(header), Some(value.as_str()), "{args:?} to {location}\n{run}");
            }
        }
    }
}

#[test]
fn secrets_go_to_no_other_host_port_or_scheme() {
    let authority = Authority::new();
    let target = Target::default();
    let (plain, other_plain) = (Server::http(target.handler()), Server::http(target.handler()));
    let secure = Server::tls(&authority.identity(), Alpn::Http2, target.handler());
    let other_secure = Server::tls(&authority.identity(), Alpn::Http11, target.handler());
    let servers = [&plain, &other_plain, &secure, &other_secure];
    for (what, from, to, host) in [
        ("another host", &plain, &plain, "b.test"),
        ("another port", &plain, &other_plain, HOST),
        ("https after http", &plain, &secure, HOST),
        ("http after https", &secure, &plain, HOST),
        ("another host behind TLS", &secure, &secure, "b.test"),
        ("another port behind TLS", &secure, &other_secure, HOST),
        ("the address instead of the name", &plain, &plain, "127.0.0.1"),
    ] {
        for (args, user, _, _) in secrets() {
            let before: Vec<usize> = servers.iter().map(|server| server.seen().len()).collect();
            target.set(&to.url_as(host, "/to"));
            let url = from.url_as(&format!("{user}{HOST}"), "/from");
            let run = fetch(&servers, &authority).args(args).urls(&[url]).run();
            run.assert_exit(0).check_invariants(1);
            let seen = servers.iter().zip(before).flat_map(|(server, before)| server.seen().split_off(before));
            let (first, second): (Vec<Seen>, Vec<Seen>) = seen.partition(|seen| seen.path == "/from");
            let sent = |seen: &Seen| seen.header("authorization").is_some() || seen.header("cookie").is_some();
            assert_eq!((first.len(), second.len()), (1, 1), "{what}, {args:?}\n{run}");
            assert!(sent(&first[0]), "{what}, {args:?}: it was not sent where it belongs\n{run}");
            assert!(!sent(&second[0]), "{what}, {args:?} {user}: {second:?}\n{run}");
            run.assert_tells_no_secret();
        }
    }
}

/// A proxy that is every server itself, also at the end of its tunnels: `/from` leads to `location`. Whom it was asked
/// for goes to `heads`, and what it was told there.
fn proxy(authority: &Authority, location: &str, heads: &Arc<Mutex<Vec<(Asked, String)>>>) -> Raw {
    let (location, heads) = (location.to_owned(), heads.clone());
    let config = authority.identity().server_config(Alpn::Http11);
    let note = move |asked, head: &str| heads.lock().expect("no panic while held").push((asked, head.to_owned()));
    let serve = move |head: &str| match head.contains("/from ") {
        true => format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"),
        false => "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_owned(),
    };
    Raw::always(vec![Step::Speak(Arc::new(move |wire| {
        let head = read_head(wire)?;
        note(Asked::Proxy, &head);
        if !head.starts_with("CONNECT ") {
            return wire.write_all(serve(&head).as_bytes());
        }
        wire.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut inside = StreamOwned::new(connection, wire);
        let head = read_head(&mut inside)?;
        note(Asked::Server, &head);
        inside.write_all(serve(&head).as_bytes())?;
        inside.flush()
    }))])
}

/// Who was asked, and could read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Proxy,
    Server,
}

fn read_head(wire: &mut (impl Read + ?Sized)) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        wire.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[test]
fn the_password_of_a_proxy_is_told_to_no_other_proxy_and_to_no_server() {
    let authority = Authority::new();
    let (target, user) = (Server::http(|_| Reply::ok("x")), base64(b"user:S3CR3T-1"));
    let (http, https) = ("http://a.test", "https://b.test");
    for (from, to) in [(http, https), (https, http), (http, &target.url("")), (https, &target.url(""))] {
        for is_first in [true, false] {
            let location = format!("{to}/to");
            let heads = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
            let proxies = [0, 1].map(|number| proxy(&authority, &location, &heads[number]));
            // One proxy for each scheme; either that of the first request or the other one has a password.
            let variables = if from == http { ["http_proxy", "https_proxy"] } else { ["https_proxy", "http_proxy"] };
            let mut fetch = Fetch::recorded().args(["-v", "--results", "results", "--retry", "0", "--cacert"]);
            fetch = fetch.arg(authority.pem()).env("no_proxy", "127.0.0.1").urls(&[format!("{from}/from")]);
            for (number, (variable, proxy)) in variables.iter().zip(&proxies).enumerate() {
                let user = if (number == 0) == is_first { "user:S3CR3T-1@" } else { "" };
                fetch = fetch.env(variable, proxy.url("").replace("//", &format!("//{user}")));
            }
            let run = fetch.run();
            run.assert_exit(0).check_invariants(1);
            run.assert_tells_no_secret();
            let context = format!("{from} to {to}, {is_first}\n{run}");
            let heads = heads.map(|heads| heads.lock().expect("no panic while held").clone());
            for (number, heads) in heads.iter().enumerate() {
                let is_used = number == 0 || to != target.url("");
                assert_eq!(heads.is_empty(), !is_used, "{context}");
                for (asked, head) in heads {
                    let is_meant = *asked == Asked::Proxy && (number == 0) == is_first;
                    let line = format!("Proxy-Authorization: Basic {user}\r\n");
                    assert_eq!(head.contains(&line), is_meant, "{asked:?} {head}{context}");
                    assert_eq!(head.contains(&user), is_meant, "{asked:?} {head}{context}");
                }
            }
            let told = |seen: &Seen| seen.headers.iter().any(|(name, _)| name.ends_with("authorization"));
            assert!(!target.seen().iter().any(told), "{:?}\n{context}", target.seen());
        }
    }
    assert_eq!(target.seen().len(), 4, "without a proxy");
}

/// One run for each way in which a redirect to `other` can name a user.
fn redirected_with_a_user(other: &Server, mut judge: impl FnMut(&Server, &Finished)) {
    let target = Target::default();
    for user in ["user:S3CR3T-1@", "S3CR3T-2@", ":S3CR3T-3@", "user%3aS3CR3T-4@", "S3CR3T-5;x:@"] {
        let authority = other.url("/to").replacen("http://", user, 1);
        for location in [format!("http://{authority}"), format!("//{authority}")] {
            for args in [&["-v"][..], &["--json", "-v", "-u", "own:S3CR3T-9"]] {
                let server = Server::http(target.handler());
                target.set(&location);
                let fetch = Fetch::new().args(["-d", "out", "--results", "results"]).args(args);
                let run = fetch.urls(&[server.url("/from")]).run();
                run.check_invariants(1);
                judge(&server, &run);
            }
        }
    }
}

#[test]
fn a_redirect_that_names_a_user_is_not_followed() {
    let other = Server::http(|_| Reply::ok("x"));
    redirected_with_a_user(&other, |server, run| {
        run.assert_exit(1);
        let record = run.place().read_text("results");
        assert!(record.contains(r#""error_class":"redirect""#), "{record}\n{run}");
        assert_eq!(server.seen().len(), 1, "{run}");
    });
    assert!(other.seen().is_empty(), "{:?}", other.seen());
}

#[test]
fn the_user_that_a_redirect_names_is_not_told() {
    let other = Server::http(|_| Reply::ok("x"));
    redirected_with_a_user(&other, |_, run| run.assert_tells_no_secret());
}

#[test]
fn a_redirect_to_two_places_leads_to_neither() {
    for status in [301, 302, 307] {
        let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
            "/a" => Reply::redirect(status, "/one").header("location", "/other").body("somewhere"),
            _ => Reply::ok("a file"),
        });
        let run = Fetch::recorded().args(["--retry", "0"]).arg(server.url("/a")).run();
        run.assert_exit(1).assert_failed("protocol").check_invariants(1);
        assert_eq!(server.paths(), ["/a"], "{run}");
        assert!(run.place().names("out").is_empty(), "{run}");
    }
}

#[test]
fn heads_that_are_large_in_each_of_many_redirects_end_the_chain() {
    let filler = format!("X: {}\r\n", "y".repeat(50 << 10)).repeat(5);
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: /again\r\n{filler}Content-Length: 0\r\n\r\n");
    let server = Raw::always(vec![Step::answer(answer); 200].concat());
    let run = Fetch::recorded().args(["--retry", "0", "--max-redirs", "1000"]).arg(server.url("/a")).run();
    run.assert_exit(1).check_invariants(1);
    let requests = server.received().concat().windows(4).filter(|window| window == b"GET ").count();
    // libcurl takes 6,000 KiB of heads.
    assert!((20..30).contains(&requests), "{requests} requests\n{run}");
    run.assert_failed("protocol");
}
