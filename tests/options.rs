//! curl's request options: each does to every request what it does for curl.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use sha2::{Digest, Sha256};

use crate::harness::authority::Alpn;
use crate::harness::raw::refusing_url;
use crate::harness::reply::base64;
use crate::harness::{Authority, Fetch, Finished, Place, Reply, Seen, Server, echo};

fn fetch_one(args: &[&str], url: &str) -> Finished {
    let run = Fetch::recorded().args(["--retry", "0"]).args(args).arg(url).run();
    run.check_invariants(1);
    run
}

fn last(server: &Server) -> Seen {
    server.seen().pop().expect("a request")
}

fn write_private(place: &Place, name: &str, content: &str, mode: u32) {
    let path = place.write(name, content);
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

#[test]
fn a_referer_is_sent_and_follows_redirects_where_that_is_asked_for() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/from" => Reply::redirect(302, "/to"),
        path => Reply::ok(path.to_owned()),
    });
    let from = server.url("/from");
    for (given, first, second) in [
        ("http://r.test/", Some("http://r.test/"), Some("http://r.test/")),
        ("http://r.test/;auto", Some("http://r.test/"), Some(from.as_str())),
        (";auto", None, Some(from.as_str())),
    ] {
        let before = server.seen().len();
        // The user in the URL is told to nobody.
        fetch_one(&["-e", given], &from.replace("//", "//user:S3CR3T@")).assert_exit(0);
        let seen = server.seen().split_off(before);
        assert_eq!((seen[0].header("referer"), seen[1].header("referer")), (first, second), "{given}");
    }
}

#[test]
fn headers_may_stand_in_a_file() {
    let server = echo();
    let fetch = Fetch::recorded().args(["-H", "@headers", "-H", "X-Three: 3"]).arg(server.url("/a"));
    fetch.place().write("headers", "X-One: 1\r\n\nX-Two: 2");
    fetch.run().assert_exit(0);
    let seen = last(&server);
    let sent = ["x-one", "x-two", "x-three"].map(|name| seen.header(name));
    assert_eq!(sent, [Some("1"), Some("2"), Some("3")]);
}

#[test]
fn the_method_is_the_one_that_is_asked_for() {
    let server = echo();
    for (args, method) in
        [(&["-X", "OPTIONS"][..], "OPTIONS"), (&["-X", "POST"], "POST"), (&["-X", "GET"], "GET"), (&[], "GET")]
    {
        fetch_one(args, &server.url("/a")).assert_exit(0);
        assert_eq!(last(&server).method, method);
    }
}

#[test]
fn a_bearer_token_comes_from_the_command_line_a_file_or_the_environment() {
    let server = echo();
    let fetch = || {
        let fetch = Fetch::recorded().arg(server.url("/a"));
        fetch.place().write("token", "T0KEN\n");
        fetch
    };
    for fetch in [
        fetch().args(["--oauth2-bearer", "T0KEN"]),
        fetch().args(["--oauth2-bearer", "@token"]),
        fetch().env("FETCHMANY_OAUTH2_BEARER", "T0KEN"),
    ] {
        fetch.run().assert_exit(0);
        assert_eq!(last(&server).header("authorization"), Some("Bearer T0KEN"));
    }
}

#[test]
fn a_user_comes_from_a_file_or_the_environment_too() {
    let server = echo();
    let fetch = || {
        let fetch = Fetch::recorded().arg(server.url("/a"));
        fetch.place().write("user", "user:pass:word\n");
        fetch
    };
    for fetch in [fetch().args(["-u", "@user"]), fetch().env("FETCHMANY_USER", "user:pass:word")] {
        fetch.run().assert_exit(0);
        let expected = format!("Basic {}", base64(b"user:pass:word"));
        assert_eq!(last(&server).header("authorization"), Some(expected.as_str()));
    }
}

#[test]
fn digest_answers_a_challenge_and_anyauth_takes_the_safest() {
    const DIGEST: &str = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
    let server = Server::http(|seen: &Seen| match (seen.header("authorization"), seen.path.as_str()) {
        (Some(sent), "/digest") if sent.starts_with("Digest ") && sent.contains("username=\"u\"") => Reply::ok("in"),
        (Some(sent), "/basic") if sent.starts_with("Basic ") => Reply::ok("in"),
        (Some(_), _) => Reply::status(403),
        (None, "/digest") => Reply::status(401)
            .header("www-authenticate", "Basic realm=\"r\"")
            .header("www-authenticate", DIGEST)
            .body("who?"),
        (None, _) => Reply::unauthorized(),
    });
    for (args, path) in [
        (&["-u", "u:S3CR3T", "--digest"][..], "/digest"),
        (&["-u", "u:S3CR3T", "--anyauth"], "/digest"),
        (&["-u", "u:S3CR3T", "--anyauth"], "/basic"),
        (&["-u", "u:S3CR3T", "--basic"], "/basic"),
    ] {
        let run = fetch_one(args, &server.url(path));
        run.assert_exit(0);
        assert_eq!(run.place().read(&format!("out{path}")), b"in", "{args:?}");
        assert_eq!(run.record()["size"], 2, "{run}");
    }
    fetch_one(&["-u", "u:S3CR3T", "--digest"], &server.url("/basic")).assert_exit(1).assert_failed("http");
}

#[test]
fn requests_are_signed_for_aws() {
    let server = echo();
    let run = fetch_one(&["-u", "KEY:S3CR3T", "--aws-sigv4", "aws:amz:eu-1:s3"], &server.url("/a"));
    run.assert_exit(0);
    let sent = last(&server).header("authorization").expect("a signature").to_owned();
    assert!(sent.starts_with("AWS4-HMAC-SHA256 Credential=KEY/") && sent.contains("/eu-1/s3/aws4_request"), "{sent}");
    assert!(!sent.contains("S3CR3T"), "{sent}");
}

#[test]
fn a_netrc_counts_for_exactly_its_hosts() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/away" => Reply::redirect(302, format!("http://b.test:{}/b", seen.host.rsplit(':').next().expect("a port"))),
        path => Reply::ok(path.to_owned()),
    });
    let netrc = "machine A.test login one password S3CR3T-1\nmachine a.test login two password S3CR3T-2\n\
                 machine b.test login b password S3CR3T-3\ndefault login all password S3CR3T-4\n";
    let fetch = |url: String| {
        let fetch = Fetch::recorded().args(["--retry", "0", "--netrc-file", "netrc"]);
        write_private(fetch.place(), "netrc", netrc, 0o600);
        let fetch =
            ["a.test", "b.test", "c.test"].iter().fold(fetch, |it, host| it.args(["--resolve", &server.resolve(host)]));
        fetch.urls(&[url])
    };
    let basic = |text: &str| Some(format!("Basic {}", base64(text.as_bytes())));
    for (url, expected) in [
        (server.url_as("a.test", "/a"), basic("one:S3CR3T-1")),
        (server.url_as("two@a.test", "/a"), basic("two:S3CR3T-2")),
        (server.url_as("three@a.test", "/a"), basic("three:")),
        (server.url_as("own:word@a.test", "/a"), basic("own:word")),
        (server.url_as("c.test", "/a"), None),
        // Nothing goes along, and nothing is added for the host that the server names.
        (server.url_as("a.test", "/away"), None),
    ] {
        fetch(url.clone()).run().assert_exit(0);
        assert_eq!(last(&server).header("authorization").map(str::to_owned), expected, "{url}");
    }
}

#[test]
fn a_netrc_that_others_may_read_is_refused_and_home_is_where_it_is_looked_for() {
    let server = echo();
    let content = format!("machine 127.0.0.1 login u password S3CR3T{}", "");
    for (mode, code) in [(0o600, 0), (0o400, 0), (0o644, 2), (0o640, 2), (0o602, 2)] {
        let place = Place::new();
        write_private(&place, "netrc", &content, mode);
        let run = place.fetch().args(["--json", "-d", "out", "--netrc-file", "netrc"]).arg(server.url("/a")).run();
        run.assert_exit(code);
        assert_eq!(run.stderr_text().contains("netrc: others may read it"), code == 2, "{mode:o}\n{run}");
    }
    let fetch = Fetch::recorded().arg("-n").arg(server.url("/a"));
    // Of no account.
    write_private(fetch.place(), ".netrc", &content.replace("S3CR3T", "wrong"), 0o600);
    let home = fetch.place().home().join(".netrc");
    std::fs::write(&home, &content).expect("write a netrc");
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o600)).expect("chmod");
    fetch.run().assert_exit(0);
    assert_eq!(last(&server).header("authorization"), Some(format!("Basic {}", base64(b"u:S3CR3T")).as_str()));
    Fetch::recorded().arg("--netrc").arg(server.url("/a")).run().assert_exit(2).assert_stderr_has(".netrc");
}

#[test]
fn a_netrc_behind_a_link_is_judged_by_what_it_is() {
    let server = echo();
    for (mode, code) in [(0o600, 0), (0o644, 2)] {
        let place = Place::new();
        write_private(&place, "real", "machine 127.0.0.1 login u password S3CR3T", mode);
        std::os::unix::fs::symlink("real", place.path("netrc")).expect("make a link");
        let run = place.fetch().args(["--json", "-d", "out", "--netrc-file", "netrc"]).arg(server.url("/a")).run();
        run.assert_exit(code);
        assert!(!run.stderr_text().contains("S3CR3T"), "{run}");
    }
    assert_eq!(last(&server).header("authorization"), Some(format!("Basic {}", base64(b"u:S3CR3T")).as_str()));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn only_the_schemes_allowed_are_used() {
    let authority = Authority::new();
    let secure = Server::tls(&authority.identity(), Alpn::Http2, |_| Reply::ok("x"));
    let to = secure.url("/to");
    let plain = Server::http(move |_| Reply::redirect(302, to.clone()));
    let pem = authority.pem().display().to_string();
    let fetch = |args: &[&str], url: String| fetch_one(&[args, &["--cacert", &pem]].concat(), &url);
    fetch(&["--proto", "=https"], secure.url("/a")).assert_exit(0);
    fetch(&["--proto", "=https"], plain.url("/a")).assert_exit(1).assert_failed("input");
    assert!(plain.seen().is_empty());
    fetch(&["--proto", "-https"], plain.url("/a")).assert_exit(1).assert_failed("redirect");
    fetch(&["--proto-redir", "=http"], plain.url("/a")).assert_exit(1).assert_failed("redirect");
    fetch(&["--proto-redir", "=https"], plain.url("/a")).assert_exit(0);
}

#[test]
fn redirects_are_not_followed_where_they_are_not_wanted() {
    let server = Server::http(|_| Reply::redirect(302, "/to"));
    let run = fetch_one(&["--no-location"], &server.url("/from"));
    run.assert_exit(1).assert_failed_with("http", 22);
    assert_eq!((&run.record()["http_code"], server.seen().len()), (&302.into(), 1), "{run}");
}

#[test]
fn requests_go_to_another_end_where_that_is_asked_for() {
    let server = echo();
    let to = format!("a.test:80:127.0.0.1:{}", server.port());
    fetch_one(&["--connect-to", &to], "http://a.test/a").assert_exit(0);
    assert_eq!(last(&server).host, "a.test");
}

#[test]
fn a_unix_socket_takes_the_place_of_addresses() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("socket")).expect("bind a socket");
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("read");
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").expect("answer");
        String::from_utf8(request).expect("text")
    });
    let run = place.fetch().args(["--json", "-d", "out", "--unix-socket", "socket", "http://name.test/a"]).run();
    run.assert_exit(0);
    assert_eq!(place.read("out/a"), b"hi");
    assert!(serving.join().expect("it served").contains("Host: name.test\r\n"));
}

#[test]
fn transfers_come_from_the_address_given() {
    let server = echo();
    fetch_one(&["--interface", "127.0.0.1"], &server.url("/a")).assert_exit(0);
    // TEST-NET-1 is nobody's (RFC 5737).
    for other in ["192.0.2.77", "host!192.0.2.77"] {
        let run = Fetch::recorded().args(["--interface", other, &server.url("/b")]).run();
        run.assert_exit(2).assert_stderr_has(&format!("--interface {other}: "));
    }
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn hosts_may_be_asked_without_the_proxy() {
    let server = echo();
    fetch_one(&["-x", &refusing_url(), "--noproxy", "127.0.0.1"], &server.url("/a")).assert_exit(0);
    fetch_one(&["-x", &refusing_url(), "--noproxy", "example.com"], &server.url("/a")).assert_exit(1);
}

#[test]
fn only_servers_with_a_pinned_key_are_trusted() {
    let authority = Authority::new();
    let identity = authority.identity();
    let (der, pem) = identity.public_key();
    let server = Server::tls(&identity, Alpn::Http2, |_| Reply::ok("x"));
    let place = Place::new();
    place.write("server.pub", pem);
    place.write("other.pub", authority.identity().public_key().1);
    let fetch = |pin: &str| {
        let fetch = place.fetch().args(["--discard", "--json", "--pinnedpubkey", pin, "--cacert"]).arg(authority.pem());
        fetch.arg(server.url("/a")).run()
    };
    let pin = |key: &[u8]| format!("sha256//{}", base64(&Sha256::digest(key)));
    for wrong in [&pin(b"another key"), "other.pub"] {
        fetch(wrong).assert_exit(1).assert_failed_with("tls", 90);
    }
    assert!(server.seen().is_empty());
    for right in [&pin(&der), &format!("{};{}", pin(b"another key"), pin(&der)), "server.pub"] {
        fetch(right).assert_exit(0).check_invariants(1);
    }
    fetch("missing.pub").assert_exit(2).assert_stderr_has("missing.pub");
}

#[test]
fn http2_is_spoken_at_once_where_it_is_known() {
    let server = echo();
    let urls: Vec<String> = (0..20).map(|number| server.url(&format!("/{number}"))).collect();
    let run = Fetch::recorded().args(["--http2-prior-knowledge", "-j", "20"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(20);
    assert!(server.seen().iter().all(|seen| seen.version == "2"), "{run}");
    assert!(run.records().iter().all(|record| record["http_version"] == "2"), "{run}");
}

#[test]
fn a_transfer_that_is_too_slow_is_given_up() {
    let gate = crate::harness::Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("some").then_wait(&held).body("more"));
    let run = fetch_one(&["-y", "1", "-Y", "1k"], &server.url("/a"));
    run.assert_exit(1).assert_failed_with("timeout", 28);
    assert!(run.record()["errormsg"].as_str().is_some_and(|text| text.contains("--speed-limit")), "{run}");
    gate.open();
    fetch_one(&["-y", "1", "-Y", "1k"], &server.url("/a")).assert_exit(0);
}

#[test]
fn names_are_resolved_over_https() {
    // RFC 1035: id 0, a response; one question, one answer: 127.0.0.1.
    const ANSWER: &[u8] = b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0\x04name\x04test\0\0\x01\0\x01\
                            \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01";
    let authority = Authority::new();
    let resolver = Server::tls(&authority.identity(), Alpn::Http2, |_| {
        Reply::ok(ANSWER).header("content-type", "application/dns-message")
    });
    let server = echo();
    let doh = resolver.url_as("127.0.0.1", "/dns-query");
    let urls = ["/a", "/b", "/c"].map(|path| server.url_as("name.test", path));
    let fetch =
        Fetch::recorded().args(["--retry", "0", "--doh-url", &doh, "--cacert"]).arg(authority.pem()).urls(&urls);
    fetch.run().assert_exit(0).check_invariants(3);
    assert!(resolver.seen().iter().all(|seen| seen.path == "/dns-query" && seen.method == "POST"));
    assert!(!resolver.seen().is_empty());
}

#[test]
fn values_that_mean_nothing_are_refused_before_anything_is_sent() {
    let server = echo();
    for args in [
        &["-X", "GET /x HTTP/1.1\r\nEvil: 1"][..],
        &["-e", "http://h/\r\nEvil: 1"],
        &["-b", "a=b\r\nEvil: 1"],
        &["-b", "missing-file"],
        &["-c", "missing-directory/jar"],
        &["-c", "/dev/null"],
        &["--netrc-file", "missing"],
        &["--oauth2-bearer", "a\nb"],
        &["--oauth2-bearer", "@missing"],
        &["-u", "@missing"],
        &["-H", "@missing"],
        &["-H", "Range: bytes=0-5"],
        &["-H", "range:"],
        &["--proto", "=ftp"],
        &["--proto-redir", "-all"],
        &["--connect-to", "a:b"],
        &["--unix-socket", "missing"],
        &["--doh-url", "http://127.0.0.1/"],
        &["--doh-url", "127.0.0.1"],
        &["--aws-sigv4", "aws:amz"],
        &["--happy-eyeballs-timeout-ms", "soon"],
        &["--key", "key.pem"],
        &["-y", "0.1"],
        &["-c", "-"],
        &["-X", "POST", "-I"],
        &["-X", "HEAD"],
    ] {
        let run = Fetch::recorded().args(args).arg(server.url("/a")).run();
        run.assert_exit(2);
        assert!(!run.stderr.is_empty(), "{run}");
    }
    assert!(server.seen().is_empty());
    for args in [["--happy-eyeballs-timeout-ms", "50"], ["--happy-eyeballs-timeout", "50"]] {
        fetch_one(&args, &server.url("/a")).assert_exit(0);
    }
}
