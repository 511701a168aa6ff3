//! Checksums: what was promised is what is published, or nothing is.

use std::io::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::harness::{Fetch, Gate, Place, Reply, Seen, Server, until};

/// Of `good`.
const SHA256: &str = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c";
const SHA1: &str = "fc19318dd13128ce14344d066510a982269c241b";

fn good() -> Server {
    Server::http(|_: &Seen| Reply::ok("good"))
}

/// A run in `place` that verifies against the file `sums`.
fn verified(place: &Place, sums: impl AsRef<[u8]>) -> Fetch {
    place.write("sums", sums);
    place.fetch().args(["--json", "-d", "out", "--checksum-file", "sums", "--retry-delay", "0"])
}

#[test]
fn a_body_with_the_promised_checksum_is_published() {
    let server = good();
    let place = Place::new();
    let sums = format!("{SHA256}  ./a\n{SHA1} *dir/b\nSHA256 (c) = {SHA256}\n");
    let lines = ["/a", "/b\tdir/b", "/c", "/d"].map(|line| server.url(line));
    let run = verified(&place, sums).urls(&lines).run();
    run.assert_exit(0).check_invariants(4);
    let sha256 = |value: &Value| value["sha256"].as_str().map(str::to_owned);
    let told: Vec<_> = run.records().iter().map(sha256).collect();
    let computed = Some(SHA256.to_owned());
    assert_eq!(told, [computed.clone(), None, computed, None], "{run}");
    run.assert_stderr_has("1 files are not in the checksum file: not verified");
    assert_eq!(place.names("out"), ["a", "c", "d", "dir/b"]);
}

#[test]
fn what_an_earlier_attempt_has_left_of_a_continued_file_is_hashed_too() {
    const LENGTH: usize = 6_000_000;
    let body: Vec<u8> = (0..LENGTH).map(|at| (at / 251) as u8).collect();
    let digits: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    // Of what is left, less comes than there is to be read back, and then more.
    for left in [LENGTH - 1000, 5_000_000, 1_000_000, 1] {
        let served = body.clone();
        let server = Server::http(move |seen: &Seen| {
            let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
            let reply = match range.and_then(|from| from.parse::<usize>().ok()) {
                None => Reply::ok(&served[..left]).then_break().body(&served[left..]),
                Some(from) => Reply::status(206)
                    .header("content-range", format!("bytes {from}-{}/{LENGTH}", LENGTH - 1))
                    .body(&served[from..]),
            };
            reply.header("etag", "\"v1\"")
        });
        let place = Place::new();
        let run = verified(&place, format!("{digits}  a\n")).arg(server.url("/a")).run();
        run.assert_exit(0).check_invariants(1);
        assert!(place.read("out/a") == body, "{run}");
        // What had come when the connection broke may not all have been read.
        assert!(run.record()["resume_from"].as_u64().is_some_and(|from| from > 0 && from <= left as u64), "{run}");
        assert_eq!(run.record()["sha256"], digits, "{run}");
    }
}

#[test]
fn while_the_long_beginning_of_a_continued_file_is_hashed_others_go_on() {
    const LENGTH: usize = 192 << 20;
    let place = Place::new();
    let (asked, sent) = (Gate::new(), Gate::new());
    let (reached, last) = (asked.clone(), sent.clone());
    let server = Server::http(move |seen: &Seen| match (seen.path.as_str(), seen.header("range")) {
        ("/a", None) => Reply::ok("x").header("etag", "\"v1\"").then_wait(&last).body(vec![b'x'; LENGTH - 1]),
        ("/a", Some(_)) => {
            reached.open();
            let range = format!("bytes {}-{}/{LENGTH}", LENGTH - 1, LENGTH - 1);
            Reply::status(206).header("content-range", range).header("etag", "\"v1\"").body("x")
        }
        _ => Reply::ok("good").held_by(&asked),
    });
    let running = place.fetch().args(["-d", "out"]).arg(server.url("/a")).start();
    until("its beginning on disk", || place.exists("out/a.part.meta") && place.tree("out")["a.part"] == b"x");
    running.kill();
    sent.open();
    let mut part = std::fs::File::create(place.path("out/a.part")).expect("open what it left");
    let content = vec![b'x'; 1 << 20];
    let mut hash = Sha256::new();
    for _ in 0..LENGTH >> 20 {
        part.write_all(&content).expect("write");
        hash.update(&content);
    }
    part.set_len(LENGTH as u64 - 1).expect("all but the last byte");
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let others = (0..20).map(|number| format!("/small-{number}"));
    let urls: Vec<String> = ["/a".to_owned()].into_iter().chain(others).map(|path| server.url(&path)).collect();
    let run = verified(&place, format!("{digits}  a\n")).args(["-j", "2"]).urls(&urls).run();
    run.assert_exit(0);
    let order: Vec<Value> = run.json().into_iter().map(|record| record["urlnum"].clone()).collect();
    // Each of them is asked for when the one before has come.
    let before = order.iter().position(|number| *number == 0).expect("its record");
    assert!(before > 3, "only {before} came while it was hashed\n{run}");
    assert_eq!(run.records()[0]["resume_from"], LENGTH - 1, "{run}");
}

#[test]
fn another_body_is_fetched_once_more_and_never_published() {
    let server = || {
        Server::http(|seen: &Seen| match seen.path.as_str() {
            "/once" if seen.earlier > 0 => Reply::ok("good"),
            "/long" => Reply::ok(vec![b'x'; 3_000_000]).chunked(),
            _ => Reply::ok("evil"),
        })
    };
    for digits in [SHA256, SHA1, "755f85c2723bb39381c7379a604160d8"] {
        let (server, place) = (server(), Place::new());
        place.write("out/there", "before");
        let names = ["bad", "once", "long", "there"];
        let sums: String = names.iter().map(|name| format!("{digits}  {name}\n")).collect();
        let urls = names.map(|name| server.url(&format!("/{name}")));
        let run = verified(&place, sums).args(["--if-exists", "overwrite"]).urls(&urls).run();
        run.assert_exit(1).check_invariants(4);
        assert_eq!(run.results(), ["failed", "ok", "failed", "failed"], "{run}");
        let records = run.records();
        for record in records.iter().filter(|record| record["result"] == "failed") {
            assert_eq!(record["error_class"], "checksum", "{run}");
            assert_eq!((&record["num_retries"], &record["sha256"]), (&1.into(), &Value::Null), "{run}");
            let why = record["errormsg"].as_str().unwrap_or_default();
            assert!(why.starts_with("the ") && why.ends_with(&format!(", not {digits}")), "{why}");
        }
        assert_eq!(records[1]["num_retries"], 1);
        assert_eq!(server.count("/bad"), 2);
        assert_eq!(place.names("out"), ["once", "there"], "not even a partial file is kept");
        assert_eq!(place.read_text("out/there"), "before");
    }
    let (server, place) = (server(), Place::new());
    verified(&place, format!("{SHA256}  bad")).args(["--retry", "0"]).urls(&[server.url("/bad")]).run().assert_exit(1);
    assert_eq!(server.count("/bad"), 1);
}

#[test]
fn what_is_damaged_is_fetched_once_more_also_where_it_could_not_be_continued_before() {
    let (body, other) = (vec![b'x'; 200_000], vec![b'y'; 200_000]);
    let digits: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let server = Server::http(move |seen: &Seen| match (seen.header("range"), seen.earlier) {
        (Some(_), _) => Reply::status(416),
        (None, 0) => Reply::ok(&body[..100_000]).header("etag", "\"v\"").then_break().body(&body[100_000..]),
        (None, 2) => Reply::ok(&*other),
        (None, _) => Reply::ok(&*body),
    });
    let place = Place::new();
    let run = verified(&place, format!("{digits}  a\n")).arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    let asked: Vec<bool> = server.seen().iter().map(|seen| seen.header("range").is_some()).collect();
    assert_eq!(asked, [false, true, false, false], "{run}");
}

#[test]
fn every_result_has_its_sha256_when_asked_for() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/empty" => Reply::ok(""),
        "/coded" => Reply::status(200).gzip(b"good"),
        _ => Reply::ok("good"),
    });
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let urls = ["/a", "/empty", "/coded"].map(|path| server.url(path));
    for (args, told) in [
        (&["-d", "out"][..], [Some(SHA256), Some(EMPTY), Some(SHA256)]),
        (&["--discard"], [Some(SHA256), Some(EMPTY), Some(SHA256)]),
        (&["-I"], [None, None, None]),
    ] {
        let run = Fetch::new().args(["--json", "--sha256", "--compressed"]).args(args).urls(&urls).run();
        run.assert_exit(0);
        let found: Vec<Value> = run.records().iter().map(|record| record["sha256"].clone()).collect();
        assert_eq!(found, told.map(|told| told.map_or(Value::Null, Value::from)), "{args:?}\n{run}");
    }
    let run = Fetch::new().args(["--results", "r", "--sha256", "-o", "-"]).urls(&urls[..1]).run();
    run.assert_exit(0);
    assert!(run.place().read_text("r").contains(SHA256));
}

#[test]
fn a_checksum_file_that_is_missing_or_garbled_is_refused_before_anything_is_fetched() {
    let server = good();
    for (sums, message) in [
        (format!("{SHA256}  a\nwhatever\n"), "sums:2: no line of a checksum file"),
        (format!("{SHA256}  a\n{SHA1}  a\n"), "sums:2: another checksum of \"a\" came before"),
        ("# nothing\n".to_owned(), "the checksum file sums names no file"),
        (format!("{SHA256}{SHA256}  a\n"), "sums:1: 128 hex digits: only SHA-256, SHA-1 and MD5 are known"),
    ] {
        verified(&Place::new(), sums).urls(&[server.url("/a")]).run().assert_exit(2).assert_stderr_has(message);
    }
    for (args, message) in [
        (&["--checksum-file", "missing"][..], "read the checksum file missing: No such file or directory"),
        (&["--checksum-file", "sums", "-o", "-"], "--checksum-file"),
        (&["--checksum-file", "sums", "--discard"], "--checksum-file"),
    ] {
        let fetch = Fetch::new().args(args).urls(&[server.url("/a")]);
        fetch.place().write("sums", format!("{SHA256}  a\n"));
        fetch.run().assert_exit(2).assert_stderr_has(message);
    }
    assert!(server.paths().is_empty());
}

#[test]
fn a_journal_does_not_settle_what_was_damaged() {
    let server = Server::http(|seen: &Seen| Reply::ok(if seen.earlier < 2 { "evil" } else { "good" }));
    let place = Place::new();
    let fetch = || verified(&place, format!("{SHA256}  a\n")).args(["--journal", "j"]).urls(&[server.url("/a")]).run();
    fetch().assert_exit(1).assert_failed("checksum");
    assert_eq!(fetch().assert_exit(0).results(), ["ok"]);
    assert_eq!(fetch().assert_exit(0).results(), ["skipped"]);
}

#[test]
fn the_name_that_a_file_gets_in_the_end_is_the_one_that_the_checksum_file_is_asked_for() {
    let bad = "0".repeat(64);
    let (md5, sha256) = ("755f85c2723bb39381c7379a604160d8", SHA256);
    // What the file says of `url`, the name in the URL, and of `real`, the one that the server gives.
    for (sums, result, requests, unlisted) in [
        (format!("{sha256}  real\n"), "ok", 1, false),
        (format!("{bad}  real\n"), "failed", 2, false),
        (format!("{md5}  real\n"), "ok", 1, false),
        (format!("{bad}  url\n{sha256}  real\n"), "ok", 1, false),
        (format!("{sha256}  url\n{bad}  real\n"), "failed", 2, false),
        (format!("{bad}  url\n"), "failed", 2, false),
        (format!("{sha256}  other\n"), "ok", 1, true),
    ] {
        let server = Server::http(|_: &Seen| {
            Reply::ok("good").header("content-disposition", "attachment; filename=real").header("etag", "\"v\"")
        });
        let place = Place::new();
        let run = verified(&place, &sums).arg("-J").arg(server.url("/url")).run();
        run.check_invariants(1);
        assert_eq!((run.results(), server.seen().len()), (vec![result.to_owned()], requests), "{sums}\n{run}");
        assert_eq!(place.exists("out/real"), result == "ok", "{sums}\n{run}");
        assert_eq!(run.stderr_text().contains("not in the checksum file"), unlisted, "{sums}\n{run}");
        if result == "failed" {
            run.assert_failed("checksum");
        }
    }
}

#[test]
fn a_file_with_a_number_has_the_checksum_of_that_name_or_else_of_the_one_that_was_taken() {
    let bad = "0".repeat(64);
    for (sums, result) in [
        (format!("{SHA256}  a\n"), "ok"),
        (format!("{bad}  a\n"), "failed"),
        (format!("{bad}  a\n{SHA256}  a.1\n"), "ok"),
        (format!("{SHA256}  a\n{bad}  a.1\n"), "failed"),
        (format!("{SHA256}  a\n{SHA1}  a.1\n"), "ok"),
    ] {
        for appears_late in [false, true] {
            let gate = Gate::new();
            let held = gate.clone();
            let server = Server::http(move |_: &Seen| Reply::ok("go").then_wait(&held).body("od"));
            let place = Place::new();
            if !appears_late {
                place.write("out/a", "before");
                gate.open();
            } else if sums.starts_with(&bad) {
                // It is found out before it has a number.
                continue;
            }
            let fetch = verified(&place, &sums).args(["--if-exists", "rename", "--retry", "0"]).arg(server.url("/a"));
            let running = fetch.start();
            server.wait("the request", |counts| counts.running > 0 || !appears_late);
            if appears_late {
                place.write("out/a", "meanwhile");
                gate.open();
            }
            let run = running.finish();
            assert_eq!(run.results(), [result], "{appears_late} {sums}\n{run}");
            assert_eq!(place.exists("out/a.1"), result == "ok", "{appears_late} {sums}\n{run}");
        }
    }
}
