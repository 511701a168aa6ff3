//! Files that are there already and may be old, and files that must outlast a loss of power.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::harness::{Finished, Gate, Place, Reply, Seen, Server, until};

const OLD: &str = "Tue, 01 Feb 2022 10:20:30 GMT";
const NEW: &str = "Wed, 02 Feb 2022 10:20:30 GMT";

/// One URL into `out`, replaced if there is a newer one.
fn update(place: &Place, server: &Server) -> Finished {
    place.fetch().args(["--json", "-d", "out", "--retry", "0", "--if-exists", "update"]).arg(server.url("/a")).run()
}

/// A server that has what it has since `modified`, and knows when to say so.
fn dated(modified: &'static str, body: &'static str) -> Server {
    let time = httpdate::parse_http_date(modified).expect("a date");
    Server::http(move |seen: &Seen| {
        let since = seen.header("if-modified-since").and_then(|date| httpdate::parse_http_date(date).ok());
        match since.is_some_and(|since| since >= time) {
            true => Reply::status(304),
            false => Reply::ok(body).header("last-modified", modified),
        }
    })
}

fn modified(place: &Place) -> SystemTime {
    place.path("out/a").metadata().expect("it is there").modified().expect("a time")
}

#[test]
fn a_file_is_replaced_only_by_a_newer_one() {
    let place = Place::new();
    let (old, new) = (dated(OLD, "old"), dated(NEW, "newer"));
    let first = update(&place, &old);
    first.assert_exit(0).check_invariants(1);
    assert_eq!(old.seen()[0].header("if-modified-since"), None, "there is nothing yet\n{first}");
    let second = update(&place, &old);
    second.assert_exit(0).check_invariants(1);
    let record = second.record();
    assert_eq!((&record["result"], &record["http_code"]), (&"skipped".into(), &304.into()), "{second}");
    assert_eq!(record["filename_effective"], "out/a", "{second}");
    assert_eq!(old.seen()[1].header("if-modified-since"), Some(OLD), "{second}");
    let third = update(&place, &new);
    third.assert_exit(0).check_invariants(1);
    assert_eq!((third.results(), place.read_text("out/a")), (vec!["ok".to_owned()], "newer".to_owned()), "{third}");
    assert_eq!(modified(&place), httpdate::parse_http_date(NEW).expect("a date"));
    assert_eq!(place.names("out"), ["a"], "{third}");
}

#[test]
fn a_server_that_knows_no_conditions_is_believed_about_its_times() {
    let place = Place::new();
    update(&place, &dated(OLD, "old")).assert_exit(0);
    for (modified, result, content) in [(OLD, "skipped", "old"), (NEW, "ok", "other")] {
        let server = Server::http(move |_| Reply::ok("other").header("last-modified", modified));
        let run = update(&place, &server);
        run.assert_exit(0).check_invariants(1);
        assert_eq!((run.results(), place.read_text("out/a")), (vec![result.to_owned()], content.to_owned()), "{run}");
    }
    let server = Server::http(|_| Reply::ok("without a time"));
    assert_eq!(update(&place, &server).results(), ["ok"]);
}

/// One line of JSON into `out`, replaced if there is a newer one.
fn update_line(place: &Place, args: &[&str], line: &serde_json::Value) -> Finished {
    let usual = ["--json", "-d", "out", "--retry", "0", "--if-exists", "update", "--input-format", "json"];
    place.fetch().args(usual).args(args).list(format!("{line}\n")).run()
}

#[test]
fn where_nothing_newer_is_asked_for_what_comes_is_compared() {
    for (args, more) in [
        (&["-J"][..], serde_json::json!({})),
        (&[], serde_json::json!({"headers": {"X-Token": "1"}})),
        (&[], serde_json::json!({"method": "PUT"})),
        (&[], serde_json::json!({"body": "what?"})),
        (&["-J"], serde_json::json!({"body": "what?"})),
        (&["-J", "--no-resume"], serde_json::json!({})),
    ] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen: &Seen| {
            let reply = Reply::ok("other").header("content-disposition", "attachment; filename=a");
            match seen.path.as_str() {
                // The rest never comes: whoever waits for it does not end.
                "/old" => {
                    let large = Reply::ok(vec![b'x'; 1 << 20]).header("content-disposition", "attachment; filename=a");
                    large.header("last-modified", OLD).then_wait(&held).body("end")
                }
                "/new" => reply.header("last-modified", NEW),
                _ => reply,
            }
        });
        let place = Place::new();
        for (path, result, content) in
            [("/old", "skipped", "mine"), ("/new", "ok", "other"), ("/timeless", "ok", "other")]
        {
            let file = place.write("out/a", "mine");
            let time = httpdate::parse_http_date(OLD).expect("a date");
            std::fs::File::options()
                .write(true)
                .open(file)
                .and_then(|file| file.set_modified(time))
                .expect("make it old");
            let mut line = more.clone();
            line["url"] = server.url(path).into();
            if args.is_empty() {
                line["out"] = "a".into();
            }
            let run = update_line(&place, args, &line);
            run.assert_exit(0).check_invariants(1);
            assert_eq!(
                (run.results(), place.read_text("out/a")),
                (vec![result.into()], content.into()),
                "{line}\n{run}"
            );
            assert_eq!((place.names("out"), &run.record()["filename_effective"]), (vec!["a".into()], &"out/a".into()));
            assert_eq!(server.seen().pop().expect("a request").header("if-modified-since"), None, "{line}\n{run}");
        }
        gate.open();
    }
}

#[test]
fn a_tag_counts_also_where_nothing_newer_is_asked_for() {
    let place = Place::new();
    if !keeps_attributes(&place) {
        return;
    }
    let server = Server::http(|seen: &Seen| {
        let etag = if seen.header("x-version") == Some("2") { "\"2\"" } else { "\"1\"" };
        Reply::ok(seen.path.clone()).header("etag", etag).header("content-disposition", "attachment; filename=a")
    });
    let line =
        |path, version| serde_json::json!({"url": server.url(path), "headers": {"X-Version": version}, "out": "a"});
    for (args, line, result) in [
        (&["-J"][..], serde_json::json!({"url": server.url("/1")}), "ok"),
        (&["-J"], serde_json::json!({"url": server.url("/1")}), "skipped"),
        (&[], line("/1", "1"), "ok"),
        (&[], line("/1", "1"), "skipped"),
        (&[], line("/1", "2"), "ok"),
        (&[], line("/1", "2"), "skipped"),
        (&[], line("/2", "2"), "ok"),
    ] {
        let run = update_line(&place, args, &line);
        run.assert_exit(0).check_invariants(1);
        assert_eq!(run.results(), [result], "{line}\n{run}");
        assert_eq!(server.seen().pop().expect("a request").header("if-none-match"), None, "{line}\n{run}");
    }
}

/// A server that knows its versions by their tags alone, and when to say so.
fn tagged(etag: &'static str, body: &'static str) -> Server {
    Server::http(move |seen: &Seen| match seen.header("if-none-match") == Some(etag) {
        true => Reply::status(304),
        false => Reply::ok(body).header("etag", etag),
    })
}

/// Whether files can have attributes here.
fn keeps_attributes(place: &Place) -> bool {
    let file = std::fs::File::open(place.write("probe", "")).expect("open it");
    let kept = rustix::fs::fsetxattr(&file, "user.probe", b"x", rustix::fs::XattrFlags::empty()).is_ok();
    if !kept {
        eprintln!("skipped: files have no extended attributes here");
    }
    kept
}

#[test]
fn a_file_is_known_by_the_tag_that_it_came_with() {
    let place = Place::new();
    if !keeps_attributes(&place) {
        return;
    }
    // The same address for both versions.
    let version = Arc::new(AtomicUsize::new(0));
    let now = version.clone();
    let server = Server::http(move |seen: &Seen| {
        let (etag, body) = [("\"1\"", "one"), ("W/\"2\"", "two")][now.load(Ordering::Relaxed)];
        match seen.header("if-none-match") == Some(etag) {
            true => Reply::status(304),
            // Older than any file, which counts only where there are no tags.
            false => Reply::ok(body).header("etag", etag).header("last-modified", OLD),
        }
    });
    for (number, sent, result, content) in [
        (0, None, "ok", "one"),
        (0, Some("\"1\""), "skipped", "one"),
        (1, Some("\"1\""), "ok", "two"),
        (1, Some("W/\"2\""), "skipped", "two"),
    ] {
        version.store(number, Ordering::Relaxed);
        let run = update(&place, &server);
        run.assert_exit(0).check_invariants(1);
        let seen = server.seen().pop().expect("a request");
        assert_eq!(seen.header("if-none-match"), sent, "{run}");
        assert_eq!((run.record()["result"].as_str(), &*place.read_text("out/a")), (Some(result), content), "{run}");
        assert_eq!(place.names("out"), ["a"], "{run}");
    }
    // It is not as it came any more, and newer than what the server has.
    place.write("out/a", "edited");
    assert_eq!(update(&place, &server).results(), ["skipped"]);
    assert_eq!(server.seen().pop().expect("a request").header("if-none-match"), None);
}

#[test]
fn a_tag_is_not_told_to_others() {
    let place = Place::new();
    if !keeps_attributes(&place) {
        return;
    }
    let (one, other) = (tagged("\"1\"", "one"), tagged("\"1\"", "other"));
    update(&place, &one).assert_exit(0);
    let usual = ["--json", "-d", "out", "--if-exists", "update"];
    place.fetch().args(usual).args(["-H", "Accept: text/plain"]).arg(one.url("/a")).run().assert_exit(0);
    place.fetch().args(usual).arg(one.url("/b\ta")).run().assert_exit(0);
    place.fetch().args(usual).args(["-H", "If-None-Match: \"mine\""]).arg(one.url("/a")).run().assert_exit(0);
    update(&place, &other).assert_exit(0);
    let sent: Vec<_> =
        one.seen().iter().chain(&other.seen()).map(|seen| seen.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(sent, [None, None, None, Some("\"mine\"".to_owned()), None]);
}

#[test]
fn a_server_that_knows_no_conditions_is_believed_about_its_tags() {
    let place = Place::new();
    if !keeps_attributes(&place) {
        return;
    }
    let etag = Arc::new(Mutex::new("\"1\""));
    let now = etag.clone();
    let server = Server::http(move |_| Reply::ok("body").header("etag", *now.lock().expect("no panic while held")));
    assert_eq!(update(&place, &server).results(), ["ok"]);
    assert_eq!(update(&place, &server).results(), ["skipped"]);
    *etag.lock().expect("no panic while held") = "\"2\"";
    assert_eq!(update(&place, &server).results(), ["ok"]);
}

#[test]
fn a_file_whose_time_is_no_http_date_is_fetched_all_the_same() {
    for seconds in [-1_000_000_000i64, 253_402_300_800] {
        let place = Place::new();
        place.write("out/a", "old");
        let offset = Duration::from_secs(seconds.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        let time = if seconds < 0 { epoch - offset } else { epoch + offset };
        let file = std::fs::File::options().write(true).open(place.path("out/a")).expect("open it");
        if file.set_modified(time).is_err() {
            continue;
        }
        let run = update(&place, &dated(NEW, "new"));
        run.assert_exit(0).check_invariants(1);
    }
}

#[test]
fn what_is_no_file_is_replaced_by_name_or_left() {
    let place = Place::new();
    place.write("out/other", "");
    symlink("../../canary/canary.txt", place.path("out/a")).expect("make a link");
    let server = dated(OLD, "body");
    let run = update(&place, &server);
    run.assert_exit(0);
    assert_eq!(
        (place.read_text("out/a"), server.seen()[0].header("if-modified-since")),
        ("body".into(), None),
        "{run}"
    );
    assert_eq!(place.outside()["canary/canary.txt"], b"still here", "{run}");
    let place = Place::new();
    place.write("out/a/inside", "still here");
    update(&place, &server).assert_exit(1).assert_failed("local").check_invariants(1);
}

#[test]
fn an_update_that_breaks_off_leaves_the_old_file_and_is_continued() {
    let server = Server::http(|seen: &Seen| match seen.header("range") {
        None => Reply::ok(vec![b'x'; 100_000]).header("etag", "\"v2\"").then_break().body(vec![b'y'; 100_000]),
        Some("bytes=100000-") => Reply::status(206)
            .header("content-range", "bytes 100000-199999/200000")
            .header("etag", "\"v2\"")
            .body(vec![b'y'; 100_000]),
        Some(_) => Reply::status(416),
    });
    let place = Place::new();
    place.write("out/a", "old");
    update(&place, &server).assert_exit(1).assert_failed("partial").check_invariants(1);
    assert_eq!(place.read("out/a"), b"old");
    let run = update(&place, &server);
    run.assert_exit(0).check_invariants(1);
    assert_eq!((place.read("out/a").len(), place.names("out")), (200_000, vec!["a".to_owned()]), "{run}");
}

#[test]
fn a_304_that_nobody_asked_for_is_a_failure() {
    let server = Server::http(|_| Reply::status(304));
    let place = Place::new();
    update(&place, &server).assert_exit(1).assert_failed("http").check_invariants(1);
}

/// The numbers of the lines of the trace that have all these words.
fn lines_with(place: &Place, words: &[&str]) -> Vec<usize> {
    let has = |line: &str| words.iter().all(|word| line.contains(word));
    place.trace().iter().enumerate().filter(|(_, line)| has(line)).map(|(number, _)| number).collect()
}

#[test]
fn with_sync_the_data_come_before_the_name_and_the_name_before_the_record() {
    for (length, naming) in [(1000, "linkat("), (2 << 20, "renameat2(")] {
        let server = Server::http(move |_| Reply::ok(vec![b'x'; length]));
        let place = Place::new();
        let args = ["--json", "--sync", "-d", "new/out", "--journal", "j"];
        let calls = ["-y", "-e", "trace=?mkdir,mkdirat,fsync,fdatasync,linkat,renameat2,write"];
        let Some(fetch) = place.fetch().args(args).arg(server.url("/a")).strace(calls) else { return };
        let run = fetch.run();
        run.assert_exit(0).check_invariants(1);
        let first =
            |words: &[&str]| lines_with(&place, words).first().copied().unwrap_or_else(|| panic!("{words:?}\n{run}"));
        let order = [
            first(&["mkdir", "\"new\""]),
            first(&[" fsync(", "/work>"]),
            first(&["mkdir", "\"new/out\""]),
            first(&[" fsync(", "/new>"]),
            first(&["fdatasync(", "/out/"]),
            first(&[naming, "= 0"]),
            first(&[" fsync(", "/out>"]),
            first(&["write(", "/j>", "ok "]),
            first(&["write(", "urlnum"]),
        ];
        assert!(order.is_sorted(), "{order:?} {:#?}", place.trace());
    }
}

#[test]
fn data_that_cannot_be_flushed_are_not_published_and_not_continued() {
    for error in ["EIO", "ENOSPC"] {
        for length in [1000, 2 << 20] {
            let server = Server::http(move |_| Reply::ok(vec![b'x'; length]).header("etag", "\"v\""));
            let place = Place::new();
            let fetch = place.fetch().args(["--json", "--sync", "-d", "out", "--retry", "0"]).arg(server.url("/a"));
            let Some(fetch) = fetch.inject(&format!("fdatasync:error={error}:when=1")) else { return };
            let run = fetch.run();
            run.assert_exit(if error == "EIO" { 1 } else { 3 }).assert_failed("local").check_invariants(1);
            assert!(!place.exists("out/a") && !place.exists("out/a.part.meta"), "{:?}\n{run}", place.names("out"));
            let again = place.fetch().args(["--json", "--sync", "-d", "out"]).arg(server.url("/a")).run();
            again.assert_exit(0).check_invariants(1);
            assert_eq!((server.seen()[1].header("range"), place.names("out").len()), (None, 1), "{again}");
        }
    }
}

#[test]
fn a_name_that_cannot_be_flushed_is_taken_back() {
    for (policy, is_there) in [("skip", false), ("overwrite", true), ("overwrite", false)] {
        for length in [1000, 2 << 20] {
            let server = Server::http(move |_| Reply::ok(vec![b'x'; length]));
            let place = Place::new();
            // The directory is there: the first flush of one is for a name in it.
            let prepare = || {
                fs::create_dir_all(place.path("out")).expect("make it");
                if is_there {
                    place.write("out/a", "old");
                }
            };
            prepare();
            let before = place.tree("out");
            let args = ["--json", "--sync", "-d", "out", "--journal", "j", "--retry", "0", "--if-exists", policy];
            let fetch = || place.fetch().args(args).arg(server.url("/a"));
            let Some(disturbed) = fetch().inject("fsync:error=EIO:when=1") else { return };
            let run = disturbed.run();
            run.assert_exit(1).assert_failed("local").check_invariants(1);
            assert!(place.tree("out") == before, "{:?}\n{run}", place.names("out"));
            fetch().run().assert_exit(0).check_invariants(1);
            assert_eq!((place.names("out"), place.read("out/a").len()), (vec!["a".to_owned()], length));
            // A kill beside the flush leaves nothing but the file.
            fs::remove_dir_all(place.path("out")).expect("there");
            fs::remove_file(place.path("j")).expect("there");
            prepare();
            let Some(killed) = fetch().inject("fsync:signal=KILL:when=1") else { return };
            let run = killed.run();
            assert_eq!(place.read("out/a").len(), length, "{run}");
            assert_eq!(fetch().run().assert_exit(0).results(), ["skipped"]);
            assert_eq!((place.names("out"), place.read("out/a").len()), (vec!["a".to_owned()], length), "{run}");
        }
    }
}

#[test]
fn what_another_run_has_begun_is_not_exchanged_for_a_file_whose_name_cannot_be_flushed() {
    let whole = vec![b'x'; 2 << 20];
    let sent = whole.clone();
    let requests = AtomicUsize::new(0);
    let server = Server::http(move |_| match requests.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::ok(sent.clone()),
        _ => Reply::ok(&sent[..1 << 20]).then_break().body(&sent[1 << 20..]),
    });
    let place = Place::new();
    place.write("out/a", "old");
    let args = ["--json", "-d", "out", "--retry", "0", "--if-exists", "overwrite"];
    let fetch = || place.fetch().args(args).arg(server.url("/a"));
    let Some(slow) = fetch().arg("--sync").inject("fsync:error=EIO:delay_enter=3000000:when=1") else { return };
    let slow = slow.start();
    until("the new file has its name", || place.read("out/a") == whole);
    // In that time it breaks off, however it begins.
    fetch().run().assert_exit(1);
    slow.finish().assert_exit(1).assert_failed("local");
    assert!(place.read("out/a") == b"old", "{:?}", place.names("out"));
}
