//! What is sent, and where redirects and proxies lead.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use crate::harness::raw::BlackHole;
use crate::harness::reply::base64;
use crate::harness::{Fetch, Finished, Place, Raw, Reply, Seen, Server, Step, echo};

fn fetch_one(args: &[&str], url: &str) -> Finished {
    let run = Fetch::recorded().args(["--retry", "0"]).args(args).arg(url).run();
    run.check_invariants(1);
    run
}

#[test]
fn redirects_are_followed_and_counted() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/301" => Reply::redirect(301, "/302"),
        "/302" => Reply::redirect(302, "dir/303"),
        "/dir/303" => Reply::redirect(303, "../307").body("a page that is not saved"),
        "/307" => {
            Reply::redirect(307, "//127.0.0.1:PORT/308".replace("PORT", seen.host.rsplit(':').next().expect("a port")))
        }
        "/308" => Reply::redirect(308, "?q"),
        path => Reply::ok(path.to_owned()),
    });
    let run = fetch_one(&[], &server.url("/301"));
    run.assert_exit(0);
    let record = run.record();
    assert_eq!(record["num_redirects"], 5, "{run}");
    assert_eq!(record["url"], server.url("/301"), "{run}");
    assert_eq!(record["url_effective"], server.url("/308?q"), "{run}");
    assert_eq!(run.place().read("out/301"), b"/308?q");
}

#[test]
fn a_redirect_without_end_stops_at_the_limit() {
    let up = "../".repeat(1000);
    for (path, next) in [("/self", "/self"), ("/a", "/b"), ("/deeper", "more/"), ("/some/way/down", &up)] {
        let next = next.to_owned();
        let server =
            Server::http(move |seen: &Seen| Reply::redirect(302, if seen.path == "/b" { "/a" } else { &next }));
        let run = fetch_one(&[], &server.url(path));
        run.assert_exit(1).assert_failed_with("redirect", 47);
        assert_eq!(server.seen().len(), 11, "the first and ten more\n{run}");
        let run = fetch_one(&["--max-redirs", "2"], &server.url(path));
        run.assert_failed_with("redirect", 47);
        assert_eq!(server.seen().len(), 14, "{run}");
    }
}

#[test]
fn a_redirect_to_another_scheme_is_refused_and_nobody_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    listener.set_nonblocking(true).expect("ask without waiting");
    let there = format!("//{}/x", listener.local_addr().expect("an address"));
    let schemes =
        ["ftp", "ftps", "sftp", "scp", "gopher", "smb", "mqtt", "dict", "ws", "telnet", "ldap", "ipfs", "TFTP"];
    let others = ["file:///etc/passwd", "javascript:alert(1)", "data:text/plain,x", "ipfs:x"].map(str::to_owned);
    for location in schemes.map(|scheme| format!("{scheme}:{there}")).into_iter().chain(others) {
        let to = location.clone();
        let server = Server::http(move |_| Reply::redirect(302, to.clone()));
        let run = fetch_one(&[], &server.url("/a"));
        run.assert_exit(1).assert_failed("redirect");
        assert_eq!((server.seen().len(), run.place().names("out").len()), (1, 0), "{location}\n{run}");
        let asked = listener.accept().err().map(|error| error.kind());
        assert_eq!(asked, Some(ErrorKind::WouldBlock), "{location}\n{run}");
    }
}

#[test]
fn a_redirect_that_leads_nowhere_is_a_failure() {
    for location in ["", "http://", "http://127.0.0.1:99999/", "//"] {
        let server = Raw::always(Step::answer(format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nhello"
        )));
        let run = fetch_one(&["--max-redirs", "3"], &server.url("/a"));
        run.assert_exit(1);
    }
}

#[test]
fn a_redirect_with_an_endless_body_is_not_read_to_its_end() {
    let target = echo();
    let to = target.url("/target");
    let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 1000000000000\r\n\r\n");
    let server = Raw::always(vec![Step::ReadHead, Step::Send(head.into_bytes()), Step::SendForever(vec![b'x'; 65536])]);
    let run = fetch_one(&[], &server.url("/a"));
    run.assert_failed("redirect");
    assert_eq!(run.record()["size_download"], 0, "{run}");
}

#[test]
fn headers_are_sent_as_asked() {
    let server = echo();
    fetch_one(&[], &server.url("/plain")).assert_exit(0);
    fetch_one(&["-H", "X-One: 1", "-H", "Accept:", "-A", "Agent/7"], &server.url("/changed")).assert_exit(0);
    let seen = server.seen();
    assert_eq!(seen[0].method, "GET");
    assert!(seen[0].header("user-agent").is_some_and(|agent| agent.starts_with("fetchmany/")), "{:?}", seen[0]);
    assert_eq!(seen[1].header("x-one"), Some("1"));
    assert_eq!(seen[1].header("accept"), None);
    assert_eq!(seen[1].header("user-agent"), Some("Agent/7"));
}

#[test]
fn text_with_a_line_break_is_refused_before_anything_is_sent() {
    let server = echo();
    for args in
        [["-H", "X: y\r\nEvil: 1"], ["-A", "agent\r\nEvil: 1"], ["-u", "u:p\nEvil: 1"], ["-x", "http://h\r\n:1"]]
    {
        let run = Fetch::recorded().args(args).arg(server.url("/a")).run();
        run.assert_exit(2).check_invariants(0);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn head_requests_fetch_nothing() {
    let server = Server::http(
        |seen: &Seen| if seen.path == "/gone" { Reply::status(404).body("x") } else { Reply::ok("12345") },
    );
    let run = Fetch::new().args(["--json", "-I"]).urls(&[server.url("/a"), server.url("/gone")]).run();
    run.assert_exit(1).check_invariants(2);
    assert!(server.seen().iter().all(|seen| seen.method == "HEAD"), "{run}");
    assert_eq!(run.results(), ["ok", "failed"], "{run}");
    assert!(run.records().iter().all(|record| record["size"].is_null()), "{run}");
    assert_eq!(run.place().names("."), ["urls.txt"], "{run}");
}

#[test]
fn authentication_that_is_refused_is_not_tried_again_and_again() {
    let stale = "Digest realm=\"test\", nonce=\"abc\", stale=true, qop=\"auth\"";
    for (status, header, challenge) in [
        (401, "www-authenticate", "Basic realm=\"test\""),
        (401, "www-authenticate", stale),
        (401, "www-authenticate", "Negotiate"),
        (407, "proxy-authenticate", "Basic realm=\"test\""),
        (407, "proxy-authenticate", stale),
    ] {
        let server = Server::http(move |_| Reply::status(status).header(header, challenge).body("who are you?"));
        for args in [&[][..], &["-u", "user:S3CR3T-1"]] {
            let before = server.seen().len();
            let run = Fetch::recorded().args(args).arg(server.url("/a")).run();
            run.assert_exit(1).assert_failed_with("http", 22).check_invariants(1);
            assert_eq!(server.seen().len() - before, 1, "{status} {challenge}\n{run}");
        }
    }
}

#[test]
fn a_user_is_sent_to_the_server_it_is_for() {
    let server =
        Server::http(
            |seen: &Seen| {
                if seen.header("authorization").is_some() { Reply::ok("welcome") } else { Reply::unauthorized() }
            },
        );
    for (args, url, expected) in [
        (&["-u", "user:pass word"][..], server.url("/a"), "user:pass word"),
        (&[], server.url("/b").replace("//", "//us%65r:p%40ss%3Aw%2F@"), "user:p@ss:w/"),
        (&[], server.url("/c").replace("//", "//:only@"), ":only"),
        (&[], server.url("/d").replace("//", "//user;x:p@"), "user;x:p"),
        (&["-u", "other:word"], server.url("/e").replace("//", "//user:pass@"), "user:pass"),
    ] {
        fetch_one(args, &url).assert_exit(0);
        let sent = server.seen().pop().expect("a request").header("authorization").expect("credentials").to_owned();
        assert_eq!(sent, format!("Basic {}", base64(expected.as_bytes())), "{url}");
    }
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let other = echo();
    let (elsewhere, with_user) = (other.url_as("localhost", "/other"), other.url_as("evil:word@localhost", "/named"));
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/a" => Reply::redirect(302, elsewhere.clone()),
        "/b" => Reply::redirect(302, with_user.clone()),
        path => Reply::ok(path.to_owned()),
    });
    let url = |path: &str| server.url(path).replace("//", "//user:S3CR3T-1@");
    let headers = ["-H", "Authorization: Bearer S3CR3T-2", "-H", "Cookie: S3CR3T-3"];
    for (args, path) in [(&[][..], "/a"), (&[], "/b"), (&headers, "/a")] {
        let run = fetch_one(args, &url(path));
        assert!(!String::from_utf8_lossy(&run.stdout).contains("evil:word"), "{run}");
    }
    for seen in other.seen() {
        assert!(!format!("{:?}", seen.headers).contains("S3CR3T") && seen.header("cookie").is_none(), "{seen:?}");
        let secret = base64(b"user:S3CR3T-1");
        assert!(!seen.header("authorization").is_some_and(|value| value.contains(&secret)), "{seen:?}");
    }
}

#[test]
fn a_proxy_is_asked_for_everything() {
    let proxy = Server::http(|seen: &Seen| Reply::ok(seen.path.clone()));
    let address = proxy.url("");
    let run = fetch_one(&["-x", &address], "http://target.invalid/a");
    run.assert_exit(0);
    assert_eq!(run.place().read("out/a"), b"http://target.invalid/a");
}

#[test]
fn proxies_of_the_environment_are_the_ones_that_curl_uses() {
    let proxy = Server::http(|seen: &Seen| Reply::ok(format!("by proxy {}", seen.path)));
    let direct = echo();
    let fetch = |name: &str, value: &str| Fetch::recorded().env(name, value).arg(direct.url("/a")).run();
    let body = |run: &Finished| run.place().read_text("out/a");
    let run = fetch("http_proxy", &proxy.url(""));
    assert_eq!(body(&run), format!("by proxy {}", direct.url("/a")), "{run}");
    let run = fetch("HTTP_PROXY", &proxy.url(""));
    assert_eq!(body(&run), "/a", "{run}");
    let run =
        Fetch::recorded().env("http_proxy", proxy.url("")).env("NO_PROXY", "127.0.0.1").arg(direct.url("/a")).run();
    assert_eq!(body(&run), "/a", "{run}");
}

#[test]
fn a_proxy_that_refuses_is_a_failure_and_the_server_is_not_asked() {
    let target = echo();
    let status = |status: &str| Step::answer(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"));
    let html = "<html>please log in</html>".repeat(100);
    let many = format!("HTTP/1.1 403 No\r\n{}\r\n", "X-Header: y\r\n".repeat(10_000));
    // What the proxy does; the class of a failure to be asked for a page, and for a tunnel.
    for (name, steps, page, tunnel) in [
        ("403", status("403"), "http", "connect"),
        ("407", status("407"), "http", "connect"),
        ("502", status("502"), "http", "connect"),
        ("no HTTP", Step::answer("hello"), "protocol", "protocol"),
        ("ends after the request", Step::answer(""), "protocol", "protocol"),
        ("ends at once", vec![], "protocol", "protocol"),
        ("HTML", Step::answer(format!("HTTP/1.1 511 Log in\r\nContent-Length: 2600\r\n\r\n{html}")), "http", "connect"),
        ("HTML through the tunnel", Step::answer(format!("HTTP/1.1 200 OK\r\n\r\n{html}")), "", "tls"),
        ("10,000 headers", Step::answer(many), "protocol", "protocol"),
    ] {
        let proxy = Raw::always(steps);
        for (url, class) in [(target.url("/a"), page), (target.url("/a").replace("http:", "https:"), tunnel)] {
            let run = fetch_one(&["-x", &proxy.url("")], &url);
            if !class.is_empty() {
                assert_eq!(run.record()["error_class"], class, "{name}\n{run}");
                run.assert_exit(1);
            }
        }
    }
    assert_eq!(target.counts(|counts| counts.connections), 0, "the target was contacted directly");
}

#[test]
fn a_tunnel_that_a_proxy_refuses_is_asked_for_once() {
    for (status, attempts) in [(407, 1), (403, 1), (429, 3), (503, 3)] {
        let proxy = Raw::always(Step::answer(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")));
        let args = ["--retry", "2", "--retry-delay", "0.01", "-x", &proxy.url("")];
        let run = Fetch::recorded().args(args).arg("https://target.invalid/a").run();
        run.assert_exit(1).assert_failed("connect").check_invariants(1);
        assert!(run.record()["errormsg"].as_str().is_some_and(|text| text.contains(&status.to_string())), "{run}");
        assert_eq!(proxy.connections(), attempts, "{status}\n{run}");
    }
}

#[test]
fn a_redirect_to_a_host_that_does_not_answer_is_a_connect_failure() {
    let hole = BlackHole::new();
    let to = hole.url();
    let server = Server::http(move |_| Reply::redirect(302, to.clone()));
    // The silence of a connect is no stall.
    let args = ["--stall-timeout", "0.5", "--connect-timeout", "2"];
    fetch_one(&args, &server.url("/a")).assert_exit(1).assert_failed_with("connect", 28);
}

#[test]
fn only_the_family_that_was_asked_for_is_used() {
    let server = echo();
    let url = server.url_as("a.test", "/a");
    let both = format!("a.test:{}:127.0.0.1,[::1]", server.port());
    let run = fetch_one(&["-4", "--resolve", &both], &url);
    run.assert_exit(0);
    assert_eq!(run.record()["remote_ip"], "127.0.0.1", "{run}");
    fetch_one(&["-6", "--resolve", &both], &url).assert_exit(1);
    fetch_one(&["-6", "--resolve", &server.resolve("a.test")], &url).assert_exit(1);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn resolve_leads_a_name_to_an_address() {
    let server = echo();
    let run = fetch_one(&["--resolve", &server.resolve("a.test")], &server.url_as("a.test", "/a"));
    run.assert_exit(0);
    assert_eq!(run.record()["remote_ip"], "127.0.0.1", "{run}");
}

#[test]
fn cookies_are_not_kept_and_files_lying_about_are_not_read() {
    let server = Server::http(|seen: &Seen| Reply::ok(seen.path.clone()).header("set-cookie", "id=1; Path=/"));
    let place = Place::new();
    for dir in [place.work(), place.home()] {
        std::fs::write(dir.join(".netrc"), "machine 127.0.0.1 login user password S3CR3T-1\n").expect("write");
        std::fs::write(dir.join(".curlrc"), "user-agent = S3CR3T-2\n").expect("write");
        std::fs::write(dir.join(".fetchmanyrc"), "--user-agent S3CR3T-3\n").expect("write");
    }
    let urls = [server.url("/a"), server.url("/b")];
    let run = place.fetch().args(["--json", "-d", "out", "-j", "1"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(2);
    for seen in server.seen() {
        assert!(seen.header("cookie").is_none() && seen.header("authorization").is_none(), "{seen:?}");
        assert!(!format!("{:?}", seen.headers).contains("S3CR3T"), "{seen:?}");
    }
}

#[test]
fn files_lying_about_are_not_even_looked_for() {
    const NAMES: [&str; 7] = [".netrc", "_netrc", ".curlrc", ".fetchmanyrc", "config", "ca.pem", "curl-ca-bundle.crt"];
    let server = echo();
    let place = Place::new();
    for name in NAMES {
        for dir in ["", "out/"] {
            place.write(&format!("{dir}{name}"), "S3CR3T");
        }
    }
    let fetch = place.fetch().args(["--json", "-d", "out"]).arg(server.url("/a"));
    let Some(fetch) = fetch.strace(["-y", "-e", "trace=%file"]) else { return };
    let run = fetch.run();
    run.assert_exit(0).check_invariants(1);
    let trace = place.trace();
    assert!(trace.iter().any(|line| line.contains("\"out\"")), "files are traced: {trace:#?}");
    let quoted = |name: &str| [format!("\"{name}\""), format!("/work/{name}\""), format!("/out/{name}\"")];
    let touched = |line: &&String| NAMES.iter().any(|name| quoted(name).iter().any(|path| line.contains(path)));
    let touched: Vec<_> = trace.iter().filter(touched).collect();
    assert!(touched.is_empty(), "{touched:#?}\n{run}");
}

#[test]
fn an_odd_environment_does_no_harm() {
    let server = echo();
    for (name, value) in
        [("HOME", "/nonexistent"), ("HOME", ""), ("TMPDIR", "/nonexistent"), ("LC_ALL", "xx_YY.bogus"), ("TERM", "")]
    {
        let run = Fetch::recorded().env(name, value).arg(server.url("/a")).run();
        run.assert_exit(0).check_invariants(1);
    }
    let run = Fetch::recorded().under(["env", "-u", "HOME"]).arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    let place = Place::new();
    let out = place.path("out");
    let script = r#"mkdir gone; cd gone; rmdir ../gone; exec "$@""#;
    let run = place.fetch().arg("-d").arg(&out).under_bash(script).arg(server.url("/a")).run();
    run.assert_exit(0);
    assert_eq!(std::fs::read(out.join("a")).expect("the file"), b"/a", "{run}");
}

#[test]
fn option_values_that_mean_nothing_are_refused() {
    for args in [
        ["--resolve", "nonsense"],
        ["--resolve", "a.test:80"],
        ["--resolve", "a.test:x:127.0.0.1"],
        ["-j", "0"],
        ["-j", "-1"],
        ["-j", "many"],
        ["--retry", "x"],
        ["-m", "-1"],
        ["-m", "0.0001"],
        ["--max-redirs", "-2"],
        ["--connect-timeout", "soon"],
        ["--max-filesize", "10Q"],
        ["--if-exists", "maybe"],
        ["--progress", "loud"],
        ["--color", "red"],
        ["-H", "no colon"],
        ["--no-such-option", "x"],
        ["--cacert", "missing.pem"],
    ] {
        let run = Fetch::new().args(args).arg("http://127.0.0.1:9/").run();
        run.assert_exit(2).check_invariants(0);
        assert!(!run.stderr.is_empty() && run.stdout.is_empty(), "{run}");
    }
}

#[test]
fn zeros_mean_what_they_mean_to_curl() {
    let server = Server::http(|seen: &Seen| match (seen.path.as_str(), seen.earlier) {
        ("/again" | "/again-later", 0) => Reply::status(500),
        ("/far", hops) if hops < 30 => Reply::redirect(302, "/far"),
        (path, _) => Reply::ok(path.to_owned()).after(Duration::from_millis(300)),
    });
    for (option, path) in [
        ("-m0", "/a"),
        ("--stall-timeout=0", "/a"),
        ("--connect-timeout=0", "/a"),
        ("--max-filesize=0", "/a"),
        ("--retry-max-time=0", "/again"),
        ("--retry-delay=0", "/again-later"),
        ("--max-redirs=-1", "/far"),
    ] {
        let run = Fetch::recorded().args([option, &server.url(path)]).run();
        run.assert_exit(0).check_invariants(1);
    }
    for (path, count) in [("/again", 2), ("/again-later", 2), ("/far", 31)] {
        assert_eq!(server.count(path), count, "{path}");
    }
}

#[test]
fn an_absurd_number_of_jobs_is_lowered() {
    let server = echo();
    for jobs in ["65536", "1000000000"] {
        let run = Fetch::recorded().args(["-j", jobs]).arg(server.url("/a")).run();
        assert!(run.code() == Some(0) || run.code() == Some(2), "{run}");
    }
}
