//! JSON input: what a line may say, what is done about it, and what is said about mistakes. Relative URLs, and lines
//! that end in NUL.

use serde_json::{Value, json};

use crate::harness::command::Stdin;
use crate::harness::raw::refusing_url;
use crate::harness::{Fetch, Finished, Place, Raw, Reply, Seen, Server, Step};

/// Every path but one answers with itself.
fn mostly_echo() -> Server {
    Server::http(|seen: &Seen| match seen.path.as_str() {
        "/missing" => Reply::status(404),
        path => Reply::ok(path.to_owned()),
    })
}

fn fetch(lines: &[Value]) -> Fetch {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    Fetch::recorded().args(["--retry", "0", "--input-format", "json"]).urls(&lines)
}

fn run(lines: &[Value]) -> Finished {
    fetch(lines).run()
}

#[test]
fn a_line_gives_name_and_id_and_the_id_comes_back_as_it_was() {
    let server = mostly_echo();
    let url = |path: &str| server.url(path);
    let list = format!(
        "{{\"url\":{:?},\"id\":\"x\\u001b\\u0085\"}}\n  \r\n {{ \"id\" : 1.50e2, \"out\":\"dir/n\", \"url\":{:?} }} \r\n\
         {{\"url\":{:?},\"id\":true}}\n{{\"url\":{:?},\"id\":null}}\n{{\"url\":{:?},\"id\":12345678901234567890123}}",
        url("/a"),
        url("/b"),
        url("/c"),
        url("/d"),
        url("/missing"),
    );
    let run = Fetch::recorded().args(["--input-format", "json"]).list(list).run();
    run.assert_exit(1).check_invariants(5);
    let text = run.stdout_text();
    for id in
        ["\"id\":\"x\\u001b\\u0085\"", "\"id\":1.50e2", "\"id\":true", "\"id\":null", "\"id\":12345678901234567890123"]
    {
        assert_eq!(text.matches(id).count(), 1, "{id}\n{run}");
    }
    assert_eq!(run.place().names("out"), ["a", "c", "d", "dir/n"]);
}

#[test]
fn a_line_gives_headers_method_and_body() {
    let server = mostly_echo();
    let lines = [
        json!({"url": server.url("/a"), "headers": {"X-One": "own", "x-three": null, "X-Empty": ""}}),
        json!({"url": server.url("/b"), "body": "hello"}),
        json!({"url": server.url("/c"), "body": "{}", "method": "PUT", "headers": {"Content-Type": "application/json"}}),
        json!({"url": server.url("/d"), "method": "OPTIONS"}),
        json!({"url": server.url("/e")}),
    ];
    let args = ["-H", "X-One: all", "-H", "X-Two: all", "-H", "X-Three: all", "-X", "PATCH"];
    fetch(&lines).args(args).run().assert_exit(0).check_invariants(5);
    let seen = |path: &str| server.seen().into_iter().find(|seen| seen.path == path).expect("a request");
    let a = seen("/a");
    let headers = ["x-one", "x-two", "x-three", "x-empty"].map(|name| a.header(name));
    assert_eq!(headers, [Some("own"), Some("all"), None, Some("")]);
    assert_eq!(a.headers.iter().filter(|(name, _)| name == "x-one").count(), 1);
    let methods = ["/a", "/b", "/c", "/d", "/e"].map(|path| seen(path).method);
    assert_eq!(methods, ["PATCH", "PATCH", "PUT", "OPTIONS", "PATCH"]);
    assert_eq!((seen("/b").header("content-length"), seen("/c").header("content-length")), (Some("5"), Some("2")));
    assert_eq!(seen("/c").header("content-type"), Some("application/json"));
}

#[test]
fn a_body_is_posted_and_a_redirect_may_turn_that_into_a_get() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/post" => Reply::redirect(303, "/then"),
        "/again" => Reply::redirect(307, "/then-again"),
        path => Reply::ok(path.to_owned()),
    });
    let lines = ["/post", "/again"].map(|path| json!({"url": server.url(path), "body": "x"}));
    run(&lines).assert_exit(0);
    let method = |path: &str| server.seen().into_iter().find(|seen| seen.path == path).expect("a request").method;
    assert_eq!(["/post", "/then", "/again", "/then-again"].map(method), ["POST", "GET", "POST", "POST"]);
}

#[test]
fn headers_of_a_line_are_not_those_of_another_and_secret_ones_stay_with_their_server() {
    let other = mostly_echo();
    let to = other.url("/to");
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/from" => Reply::redirect(302, to.clone()),
        path => Reply::ok(path.to_owned()),
    });
    let lines = [
        json!({"url": server.url("/from"), "headers": {"Authorization": "Bearer S3CR3T-1", "Cookie": "S3CR3T-2"}}),
        json!({"url": server.url("/plain")}),
    ];
    let run = fetch(&lines).args(["-v", "-j", "1", "--results", "results"]).run();
    run.assert_exit(0);
    let sent = |seen: &Seen| (seen.header("authorization").is_some(), seen.header("cookie").is_some());
    assert_eq!(server.seen().iter().map(sent).collect::<Vec<_>>(), [(true, true), (false, false)]);
    assert_eq!(sent(&other.seen()[0]), (false, false));
    let told = format!("{}{}{}", run.stdout_text(), run.stderr_text(), run.place().read_text("results"));
    assert!(!told.contains("S3CR3T"), "{run}");
}

#[test]
fn a_body_of_another_size_is_a_failure_and_leaves_nothing_unless_it_may_have_broken_off() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/chunked" => Reply::ok("12345").chunked(),
        "/empty" => Reply::ok(""),
        _ => Reply::ok("12345"),
    });
    for (path, size, class, requests) in [
        ("/known", 5, None, 1),
        ("/known", 4, Some("checksum"), 1),
        ("/known", 6, Some("checksum"), 1),
        ("/chunked", 5, None, 1),
        ("/chunked", 4, Some("checksum"), 1),
        ("/chunked", 6, Some("checksum"), 1),
        ("/empty", 0, None, 1),
        ("/empty", 1, Some("checksum"), 1),
    ] {
        let before = server.seen().len();
        let run =
            fetch(&[json!({"url": server.url(path), "size": size})]).args(["--retry", "2", "--retry-delay", "0"]).run();
        run.check_invariants(1);
        assert_eq!(server.seen().len() - before, requests, "{run}");
        let Some(class) = class else {
            run.assert_exit(0);
            continue;
        };
        run.assert_exit(1).assert_failed(class);
        assert_eq!(run.place().names("out"), [""; 0], "{run}");
    }
}

#[test]
fn what_ends_with_its_connection_and_is_too_short_has_broken_off() {
    for (etag, from) in [("etag: \"v\"\r\n", Some(5)), ("", None)] {
        let cut = format!("HTTP/1.1 200 OK\r\n{etag}connection: close\r\n\r\n01234");
        let answer = match from {
            Some(_) => {
                format!("HTTP/1.1 206 OK\r\n{etag}content-range: bytes 5-9/10\r\ncontent-length: 5\r\n\r\n56789")
            }
            None => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789".to_owned(),
        };
        let raw = Raw::start(move |number| Step::answer(if number == 0 { &cut } else { &answer }));
        let run =
            fetch(&[json!({"url": raw.url("/a"), "size": 10})]).args(["--retry", "1", "--retry-delay", "0"]).run();
        run.assert_exit(0).check_invariants(1);
        assert_eq!(run.place().read_text("out/a"), "0123456789", "{run}");
        assert_eq!((&run.record()["resume_from"], &run.record()["num_retries"]), (&json!(from), &json!(1)), "{run}");
    }
}

#[test]
fn mirrors_are_asked_in_order_until_one_has_it() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/wrong" => Reply::ok("wrong size"),
        "/missing" => Reply::status(404),
        path => Reply::ok(path.to_owned()),
    });
    let mirrors = [refusing_url(), server.url("/wrong"), server.url("/good"), server.url("/unasked")];
    let line = json!({"url": server.url("/missing"), "mirrors": mirrors, "size": 5, "id": 7});
    let done = run(&[line]);
    done.assert_exit(0).check_invariants(1);
    let record = done.record();
    assert_eq!(
        (&record["url"], &record["url_effective"]),
        (&server.url("/missing").into(), &server.url("/good").into())
    );
    assert_eq!((&record["num_retries"], &record["id"]), (&3.into(), &7.into()), "{done}");
    assert_eq!(done.place().read_text("out/missing"), "/good");
    assert_eq!(server.paths(), ["/missing", "/wrong", "/good"]);
    // None has it: the last reason counts, and only one record comes.
    let done = run(&[json!({"url": refusing_url(), "mirrors": [server.url("/missing")]})]);
    done.assert_exit(1).assert_failed_with("http", 22).check_invariants(1);
}

#[test]
fn a_mirror_gets_the_attempts_and_the_credentials_that_are_its_own() {
    let server = Server::http(|seen: &Seen| match (seen.path.as_str(), seen.earlier) {
        ("/busy", _) => Reply::status(500),
        ("/recovers", 0) => Reply::status(500),
        (path, _) => Reply::ok(path.to_owned()),
    });
    let line = json!({
        "url": server.url("/busy").replace("//", "//one:S3CR3T-1@"),
        "mirrors": [server.url("/recovers").replace("//", "//two:S3CR3T-2@")],
    });
    let args = ["--retry", "1", "--retry-delay", "0.01", "--json", "-v", "-d", "out", "--input-format", "json"];
    let run = Fetch::new().args(args).urls(&[line.to_string()]).run();
    run.assert_exit(0);
    assert_eq!(server.paths(), ["/busy", "/busy", "/recovers", "/recovers"]);
    let sent: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert!(sent[0] == sent[1] && sent[2] == sent[3] && sent[0] != sent[2] && sent[2].is_some(), "{sent:?}");
    assert_eq!(run.record()["num_retries"], 3, "{run}");
    assert!(!run.stderr_text().contains("S3CR3T") && run.stderr_text().contains("mirror"), "{run}");
}

#[test]
fn a_mistake_is_a_record_that_names_line_and_key_and_the_others_are_fetched() {
    let server = mostly_echo();
    let list = format!(
        "{{\"url\":{url:?}}}\n{{\"url\":{url:?},\"sha265\":\"x\",\"id\":9}}\nhttp://h/S3CR3T\n{{\"url\":\"S3CR3T\n# comment\n{{\"url\":\"x\"}}\n",
        url = server.url("/a")
    );
    let run = Fetch::recorded().args(["--input-format", "json", "--failed", "failed"]).list(&list).run();
    run.assert_exit(1).check_invariants(6);
    let records = run.records();
    assert_eq!(run.results(), ["ok", "failed", "failed", "failed", "failed", "failed"]);
    for record in &records[1..] {
        assert_eq!((&record["error_class"], &record["exitcode"]), (&"input".into(), &3.into()), "{run}");
    }
    let record = &records[1];
    assert_eq!((&record["line"], &record["id"], &record["url"]), (&2.into(), &9.into(), &server.url("/a").into()));
    assert_eq!(record["errormsg"], "unknown key \"sha265\"");
    assert!(!run.stdout_text().contains("S3CR3T") && !run.stderr_text().contains("S3CR3T"), "{run}");
    assert_eq!(run.place().read_text("failed"), list.split_once('\n').expect("lines").1);
}

#[test]
fn lines_that_failed_are_input_again_under_the_name_they_had() {
    let server = Server::http(|seen: &Seen| {
        if seen.earlier == 0 && seen.path != "/a/x" { Reply::status(500) } else { Reply::ok(seen.path.clone()) }
    });
    let lines = [
        json!({"url": server.url("/a/x")}),
        json!({"url": server.url("/b/x"), "id": 1}),
        json!({"url": server.url("/c/x"), "out": "own"}),
    ];
    let first = fetch(&lines).args(["--failed", "failed", "-j", "1"]).run();
    first.assert_exit(1);
    let place = first.place();
    let second = place.fetch().args(["--json", "-d", "out", "--input-format", "json", "failed"]).run();
    second.assert_exit(0);
    assert_eq!(second.results(), ["ok", "ok"], "{second}");
    let bodies: Vec<String> =
        place.tree("out").into_values().map(|body| String::from_utf8(body).expect("text")).collect();
    assert_eq!(bodies.len(), 3, "{second}");
    assert!(["/a/x", "/b/x", "/c/x"].iter().all(|path| bodies.iter().any(|body| body == path)), "{bodies:?}");
}

#[test]
fn json_streams_like_lines() {
    let server = mostly_echo();
    let fetch = Fetch::recorded().args(["--input-format", "json", "-"]).stdin(Stdin::Open);
    let mut running = fetch.start();
    running.write_stdin(format!("{}\n", json!({"url": server.url("/first")})));
    server.wait("the first line being fetched", |counts| counts.of("/first") == 1);
    running.write_stdin(json!({"url": server.url("/second")}).to_string());
    running.close_stdin();
    let run = running.finish();
    run.assert_exit(0).check_invariants(2);
}

#[test]
fn relative_urls_are_fetched_from_the_base_and_nowhere_else() {
    let server = mostly_echo();
    let base = server.url("/dir/").replace("//127", "//u:S3CR3T@127");
    let lines = ["a", "b/c?d", "/e", "../f\tnamed", &server.url("/g"), "x\\y", "-o", "ftp://h/x", "h:80"];
    let run = Fetch::recorded().args(["--base-url", &base, "-j", "1"]).urls(&lines).run();
    run.assert_exit(1).check_invariants(9);
    assert_eq!(server.paths(), ["/dir/a", "/dir/b/c?d", "/e", "/f", "/g"]);
    assert_eq!(run.records()[0]["url"], server.url("/dir/a"));
    assert!(server.seen()[0].header("authorization").is_some() && server.seen()[4].header("authorization").is_none());
    assert!(!run.stdout_text().contains("S3CR3T"), "{run}");
    let lines = [json!({"url": "a", "mirrors": ["b"]}), json!({"url": "/missing", "mirrors": ["found"]})];
    fetch(&lines).args(["--base-url", &server.url("/json/")]).run().assert_exit(0);
    assert!(server.paths().contains(&"/json/found".to_owned()));
    for base in ["dir", "ftp://h/", "http://u:S3CR3T@", ""] {
        let run = Fetch::recorded().args(["--base-url", base, "a"]).run();
        run.assert_exit(2).assert_stderr_has("--base-url: ");
        assert!(!run.stderr_text().contains("S3CR3T"), "{run}");
    }
}

#[test]
fn lines_may_end_in_nul() {
    let server = mostly_echo();
    let list =
        format!("{}\0\0# no\0{}\tna me\0http://h/\nx\0{}\r", server.url("/a"), server.url("/b"), server.url("/c"));
    let run = Fetch::recorded().args(["-0", "--failed", "failed"]).list(list).run();
    run.assert_exit(1).check_invariants(4);
    assert_eq!(run.results(), ["ok", "ok", "failed", "failed"], "{run}");
    assert_eq!(run.records().iter().map(|record| record["line"].as_u64()).collect::<Vec<_>>(), [1, 4, 5, 6].map(Some));
    assert_eq!(run.place().names("out"), ["a", "na me"]);
    assert_eq!(run.place().read_text("failed").lines().count(), 2, "each is one line");
    let pretty = serde_json::to_string_pretty(&json!({"url": server.url("/missing")})).expect("JSON");
    let place = Place::new();
    let args = ["-0", "--json", "--input-format", "json", "--failed", "failed", "-d", "out", "-"];
    let run = place.fetch().args(args).stdin(Stdin::Bytes(format!("{pretty}\0").into_bytes())).run();
    run.assert_exit(1).assert_failed("http");
    assert_eq!(place.read_text("failed").lines().count(), 1);
}

#[test]
fn what_broke_off_is_continued_only_where_the_request_is_like_all_others() {
    let server = Server::http(|seen: &Seen| {
        let reply = Reply::ok(vec![b'x'; 299_000]).header("etag", "\"1\"");
        let reply = if seen.earlier == 0 { reply.then_break() } else { reply };
        reply.body(vec![b'x'; 1000])
    });
    let lines = [
        json!({"url": server.url("/usual"), "id": 1, "size": 300_000}),
        json!({"url": server.url("/headers"), "headers": {"X": "1"}}),
        json!({"url": server.url("/method"), "method": "POST"}),
        json!({"url": server.url("/body"), "body": "x"}),
    ];
    let args = ["--json", "-d", "out", "--input-format", "json", "--retry-delay", "0.01"];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    Fetch::new().args(args).urls(&lines).run().assert_exit(0).check_invariants(4);
    let asked_for_the_rest =
        |path: &str| server.seen().iter().any(|seen| seen.path == path && seen.header("range").is_some());
    assert_eq!(["/usual", "/headers", "/method", "/body"].map(asked_for_the_rest), [true, false, false, false]);
}

#[test]
fn a_body_with_another_hash_is_not_kept_and_a_mirror_must_have_the_same() {
    let server = Server::http(|seen: &Seen| Reply::ok(if seen.path == "/right" { "abc" } else { "abd" }));
    for (key, digits) in [
        ("sha256", "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
        ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),
    ] {
        let refused = run(&[json!({"url": server.url("/wrong"), key: digits})]);
        refused.assert_exit(1).assert_failed("checksum").check_invariants(1);
        assert_eq!(refused.place().names("out"), [""; 0], "{refused}");
        let mirrors = [server.url("/as-wrong"), server.url("/right")];
        let done = run(&[json!({"url": server.url("/wrong"), key: digits, "mirrors": mirrors})]);
        done.assert_exit(0).check_invariants(1);
        assert_eq!(done.place().read_text("out/wrong"), "abc", "{done}");
    }
}

#[test]
fn requests_that_differ_in_what_is_sent_are_no_duplicates() {
    let server = Server::http(|seen: &Seen| Reply::ok(format!("{} {}", seen.method, seen.path)));
    let url = server.url("/api");
    let lines = [
        format!(r#"{{"url":"{url}","body":"1"}}"#),
        format!(r#"{{"url":"{url}","body":"2"}}"#),
        format!(r#"{{"url":"{url}","headers":{{"x-a":"1"}}}}"#),
        format!(r#"{{"url":"{url}"}}"#),
        format!(r#"{{"url":"{url}"}}"#),
    ];
    let place = Place::new();
    for results in [["ok", "ok", "ok", "ok", "skipped"], ["skipped"; 5]] {
        let fetch = place.fetch().args(["--json", "-d", "out", "--journal", "journal", "--input-format", "json", "-"]);
        let run = fetch.stdin(Stdin::Bytes(lines.join("\n").into_bytes())).run();
        run.assert_exit(0);
        assert_eq!(run.results(), results, "{run}");
        assert_eq!(place.names("out").len(), 4, "{run}");
    }
}

#[test]
fn what_only_a_mirror_refuses_for_good_is_tried_again_by_the_next_run() {
    let server = Server::http(|seen: &Seen| match (seen.path.as_str(), seen.earlier) {
        ("/first", 0) => Reply::status(503),
        ("/first", _) => Reply::ok("here"),
        _ => Reply::status(404),
    });
    let line = format!(r#"{{"url":"{}","mirrors":["{}"],"out":"a"}}"#, server.url("/first"), server.url("/gone"));
    let place = Place::new();
    for (code, result) in [(1, "failed"), (0, "ok")] {
        let args = ["--json", "-d", "out", "--journal", "journal", "--retry", "0", "--input-format", "json", "-"];
        let run = place.fetch().args(args).stdin(Stdin::Bytes(line.clone().into_bytes())).run();
        run.assert_exit(code);
        assert_eq!(run.results(), [result], "{run}");
    }
}
