//! What people have in their fingers from curl and its kind: it works, or a sentence says what does.

use crate::harness::{Fetch, Finished, Place, Reply, Seen, Server, echo, raw::refusing_url};

/// One line, and nothing else.
#[track_caller]
fn assert_says(run: &Finished, told: &str) {
    run.assert_exit(2).assert_stderr_has(told);
    assert!(run.stdout.is_empty(), "{run}");
    let text = run.stderr_text();
    assert!(text.starts_with("fetchmany: ") && text.trim_end().lines().count() == 1, "{run}");
    assert!(!text.contains("error:") && !text.contains("os error"), "{run}");
}

#[test]
fn the_last_of_several_values_counts() {
    let server = echo();
    for args in [
        &["-j", "5", "-j", "6"][..],
        &["-4", "-6", "-4"],
        &["-k", "-k"],
        &["--http2", "--http1.1"],
        &["--http2-prior-knowledge", "--http2", "--http1.1"],
        &["--max-failures", "1", "--fail-early", "--max-failures", "2%"],
        &["--retry", "1", "--retry", "2", "--max-redirs", "1", "--max-redirs", "2"],
        &["--if-exists", "fail", "--if-exists", "overwrite"],
        &["--max-redirs", "3", "--proto-redir", "=https", "--no-location"],
    ] {
        Fetch::recorded().args(args).arg(server.url("/a")).run().assert_exit(0);
    }
    let run =
        Fetch::recorded().args(["-A", "one", "-A", "two", "-H", "X-A: 1", "-H", "X-B: 2"]).arg(server.url("/b")).run();
    run.assert_exit(0);
    let seen = server.seen().pop().expect("a request");
    assert_eq!(["user-agent", "x-a", "x-b"].map(|name| seen.header(name)), [Some("two"), Some("1"), Some("2")]);
    // On the loopback interface the server listens on IPv4 alone.
    let localhost =
        |args: &[&str]| Fetch::recorded().args(args).args(["--retry", "0", &server.url_as("localhost", "/a")]);
    localhost(&["-4", "-6"]).run().assert_exit(1);
    localhost(&["-6", "-4"]).run().assert_exit(0);
    let prior = Fetch::recorded().args(["--http1.1", "--http2-prior-knowledge"]).arg(server.url("/a")).run();
    assert_eq!(prior.record()["http_version"], "2", "{prior}");
}

#[test]
fn redirects_are_followed_or_not_as_was_said_last() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/from" => Reply::redirect(302, "/to"),
        path => Reply::ok(path.to_owned()),
    });
    for (args, code) in [
        (&["--max-redirs", "3", "--no-location"][..], 1),
        (&["--no-location", "--max-redirs", "3"], 0),
        (&["--no-location", "--proto-redir", "=http"], 0),
    ] {
        Fetch::recorded().args(args).arg(server.url("/from")).run().assert_exit(code);
    }
}

#[test]
fn of_the_ways_to_name_a_user_the_last_counts() {
    let server = Server::http(|seen: &Seen| match seen.header("authorization") {
        None => Reply::unauthorized(),
        Some(_) => Reply::ok("x"),
    });
    let first_shows_it = |args: &[&str]| {
        let url = server.url("/a");
        Fetch::recorded().args(["-u", "u:S3CR3T", "--retry", "0"]).args(args).arg(url).run();
        server.seen().last().expect("a request").header("authorization").is_some()
    };
    assert!(first_shows_it(&["--digest", "--basic"]));
    assert!(!first_shows_it(&["--basic", "--digest"]));
    assert!(first_shows_it(&["--digest", "--anyauth", "--basic"]));
}

#[test]
fn letters_of_curl_that_ask_for_what_is_done_anyway_are_taken() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/from" => Reply::redirect(302, "/to"),
        path => Reply::ok(path.to_owned()),
    });
    for args in [
        &["-fsSL"][..],
        &["-L", "-O"],
        &["-ZgRJ"],
        &["--fail", "--silent", "--show-error", "--location", "--remote-name-all", "--parallel", "--create-dirs"],
        &["--no-progress-meter", "-s", "-s"],
    ] {
        let run = Fetch::new().args(args).arg(server.url("/from")).run();
        run.assert_exit(0);
        assert_eq!(run.place().names("."), ["from"], "{run}");
        assert!(run.stdout_text().contains("from"), "{run}");
    }
    let place = Place::new();
    place.write("conf", "-L\n-s\n--location");
    place.fetch().args(["--config", "conf"]).arg(server.url("/from")).run().assert_exit(0);
}

#[test]
fn options_that_others_have_are_explained_and_nothing_harmful_is_suggested() {
    for (given, told) in [
        (&["--parallel-max", "9"][..], "it is called --jobs here"),
        (&["--parallel-max=9"], "it is called --jobs here"),
        (&["-i"], "--json"),
        (&["-i", "list"], "a list is an INPUT"),
        (&["-C", "-"], "by default"),
        (&["--tlsv1.2"], "TLS 1.2 at least"),
        (&["--socks5", "h:1"], "--proxy socks5h://host:1080"),
        (&["--ntlm"], "--anyauth"),
        (&["--dns-servers", "1.1.1.1"], "--doh-url"),
        (&["-G"], "write the query into the URL"),
        (&["--get"], "write the query into the URL"),
        (&["--path-as-is"], "there is no --path-as-is here: dots"),
        (&["-Q", "x"], "fetchmany: there is no -Q here (see fetchmany --help)"),
        (&["-l"], "there is no -l here (see"),
        (&["-a"], "there is no -a here (see"),
        (&["-t", "x"], "there is no -t here (see"),
        (&["--alt-svc", "x"], "there is no --alt-svc here (see"),
        (&["--locaton"], "there is --location"),
        (&["--no-progress"], "see --progress"),
        (&["--raw"], "see --compressed"),
        (&["--tcp-nodelay"], "by default"),
        (&["--keepalive-time", "2"], "there is no --keepalive-time here"),
        (&["--no-keepalive"], "there is no --no-keepalive here"),
        (&["--post301"], "redirects are followed as browsers do"),
        (&["--ca-path", "x"], "--cacert takes one PEM file"),
        (&["--retry-failed"], "--retry-failed: it goes with --journal FILE"),
        (&["--key", "x"], "--key: it goes with --cert FILE"),
        (&["--pass", "x"], "--pass: it goes with --cert FILE"),
        (&["--retry=x"], "'--retry <N>': a number of attempts"),
        (&["-I", "-X", "GET"], "--head is a method already"),
        (&["-X", "GET", "-I"], "--head is a method already"),
        (&["--pinnedpubkey", "sha256//zz"], "--pinnedpubkey sha256//zz: a hash is sha256//"),
        (&["--wait", "1"], "--rate"),
        (&["--tries", "3"], "--retry"),
        (&["--timeout", "3"], "--max-time"),
        (&["--capath", "dir"], "--cacert"),
        (&["--ciphers", "x"], "there is no --ciphers here: OpenSSL chooses"),
        (&["--next"], "one set of options"),
        (&["--stderr", "f"], "2> FILE"),
        (&["--local-port", "1"], "--interface"),
        (&["--variable", "a=b"], "there is no --variable here"),
        (&["--disable"], "it is called --no-config here"),
        (&["--retyr", "3"], "there is --retry"),
        (&["--retry-d", "3"], "there is --retry-delay"),
        (&["--netrc-optional"], "it is called --netrc here"),
        (&["--ouput-dir", "x"], "there is --output-dir"),
        (&["--no-such-thing"], "unexpected argument '--no-such-thing' found (see fetchmany --help)"),
        (&["--if-exists", "ovrwrite"], "possible values: skip, overwrite, rename, fail, update]; a similar value"),
        (&["-m", "-1"], "'-1' for '--max-time"),
        (&["--retry", "-1"], "'-1' for '--retry <N>': a number"),
        (&["-I", "-o", "x"], "HEAD"),
        (&["-o", "a", "http://h.invalid/a", "-o", "b"], "after a TAB"),
        (&["--generate", "nonsense"], "possible values"),
    ] {
        let run = Fetch::new().args(given).arg("http://h.invalid/").run();
        assert_says(&run, told);
        for harmful in ["--discard", "--null"] {
            assert!(!run.stderr_text().contains(harmful), "{run}");
        }
    }
}

#[test]
fn what_is_nearly_right_is_answered_with_what_is() {
    let url = "http://h.invalid/";
    for (args, told) in [
        (&["-o", "/tmp/x", url][..], "write -d /tmp -o x"),
        (&["-o", "sub/", url], "for a directory write -d \"sub/\""),
        (&["-d", "file", url], "output directory file: it is a file"),
        (&["-d", "@file", url], "curl's -d sends data"),
        (&["-d", "{\"a\":1}", url], "curl's -d sends data"),
        (&["--json", "{\"a\":1}", url], "--input-format"),
        (&["localhost:8901/a"], "to fetch it, write https://localhost:8901/a"),
        (&["myhost:8901/a"], "to fetch it, write https://myhost:8901/a"),
        (&["example.com/a"], "to fetch it, write https://example.com/a"),
        (&["missing-list"], "open input missing-list: No such file or directory\n"),
        (&["--aws-sigv4", "", "-u", "k:s", url], "--aws-sigv4: it is empty"),
        (&["--interface", "nope0", url], "--interface nope0: there is no such network interface"),
        (&["--interface", "if!nope0", url], "--interface if!nope0"),
        (&["-x", "foo://x", url], "--proxy: a proxy is http, https, socks,"),
        (&["-x", "127.0.0.1:99999", url], "--proxy: a port is a number"),
        (&["-u", "@missing", url], "--user: read missing: No such file or directory\n"),
    ] {
        let place = Place::new();
        place.write("file", "");
        let run = place.fetch().args(args).run();
        match args {
            // This machine's fault, by the table of exit codes.
            ["-d", "file", _] => drop(run.assert_exit(3).assert_stderr_has(told)),
            _ => assert_says(&run, told),
        }
    }
    let server = echo();
    let run = Fetch::new().args(["-d", "a=b", "--digest"]).arg(server.url("/a")).run();
    run.assert_exit(0).assert_stderr_has("curl's -d sends data").assert_stderr_has("--digest");
    assert!(run.place().exists("a=b/a"), "{run}");
}

#[test]
fn a_bad_proxy_of_the_environment_is_named_by_its_variable() {
    let server = echo();
    for (name, value) in [
        ("http_proxy", "foo://x"),
        ("https_proxy", "127.0.0.1:99999"),
        ("HTTPS_PROXY", "http://[::"),
        ("ALL_PROXY", "u:S3CR3T@h:x"),
        ("all_proxy", "http://"),
    ] {
        let fetch = || Fetch::recorded().env(name, value).arg(server.url("/a"));
        let run = fetch().run();
        assert_says(&run, &format!("fetchmany: {name}: "));
        assert!(!run.stderr_text().contains("S3CR3T"), "{run}");
        fetch().args(["--noproxy", "*"]).run().assert_exit(0);
        fetch().env("NO_PROXY", "*").run().assert_exit(0);
        fetch().args(["-x", ""]).run().assert_exit(0);
    }
    // Anybody who may send a header to a CGI program may set this one.
    Fetch::recorded().env("HTTP_PROXY", "foo://x").arg(server.url("/a")).run().assert_exit(0);
    assert_eq!(server.seen().len(), 16);
}

#[test]
fn proxies_of_the_environment_count_as_for_curl() {
    let proxy = echo();
    let refusing = refusing_url();
    for (name, direct) in [("http_proxy", false), ("ALL_PROXY", false), ("all_proxy", false), ("HTTP_PROXY", true)] {
        let fetch = || Fetch::recorded().args(["--retry", "0"]).env(name, proxy.url("")).arg(format!("{refusing}a"));
        fetch().run().assert_exit(i32::from(direct));
        fetch().env("NO_PROXY", "127.0.0.1").run().assert_exit(1);
        fetch().env("no_proxy", "example.com").run().assert_exit(i32::from(direct));
    }
}

#[test]
fn zeros_and_units_mean_what_they_mean_to_curl() {
    let server = echo();
    for args in [
        &["--limit-rate", "0"][..],
        &["--limit-rate-per-host", "0"],
        &["-Y", "0"],
        &["-y", "0"],
        &["-Y", "0", "-y", "1"],
        &["--happy-eyeballs-timeout-ms", "0"],
        &["--rate", "10"],
        &["--rate", "10/d"],
        &["-m", "0"],
    ] {
        Fetch::recorded().args(args).arg(server.url("/a")).run().assert_exit(0);
    }
}
