//! What servers answer to a request for the rest.

use std::time::Duration;

use super::*;
use crate::harness::{Fetch, Raw, Step};

#[test]
fn a_version_that_changed_is_fetched_whole() {
    check_restarted("If-Range says no", 2, 1, |_| whole(2));
    check_restarted("ranges are not known", 1, 1, |_| whole(1));
    check_restarted("another version's range", 2, 2, |seen| match asked(seen) {
        Some(from) => rest(from).header("etag", "\"v2\""),
        None => whole(2),
    });
    for etag in ["\"v2\"", "W/\"v1\"", "", "v1"] {
        check_restarted(etag, 2, 2, move |seen| match asked(seen) {
            Some(from) => {
                part(&format!("bytes {from}-{}/{LENGTH}", LENGTH - 1)).header("etag", etag).body(&content(2)[from..])
            }
            None => whole(2),
        });
    }
    check_restarted("it does not say which version", 2, 2, |seen| match asked(seen) {
        Some(from) => part(&format!("bytes {from}-{}/{LENGTH}", LENGTH - 1)).body(&content(2)[from..]),
        None => whole(2),
    });
}

#[test]
fn a_200_as_long_as_the_partial_file_is_a_file_of_its_own() {
    let (place, server) = left_half(broken().header("etag", TAG), |_| Reply::ok(&content(7)[..HALF]));
    let run = run(&place, &server, &[]);
    run.assert_exit(0).check_invariants(1);
    assert!(place.read("out/a") == content(7)[..HALF], "{run}");
}

#[test]
fn a_206_that_does_not_follow_on_what_is_there_is_not_appended() {
    for range in [
        format!("bytes 0-{}/{LENGTH}", LENGTH - 1),
        format!("bytes {}-{}/{LENGTH}", HALF + 1, LENGTH - 1),
        format!("bytes {}-{}/{LENGTH}", HALF - 1, LENGTH - 1),
        format!("bytes {HALF}-{}/{}", LENGTH - 1, LENGTH + 1),
        format!("bytes {HALF}-{}/*", LENGTH - 1),
        format!("bytes */{LENGTH}"),
        format!("bytes {HALF}-{LENGTH}/{LENGTH}"),
        format!("bytes {HALF}-{}/{LENGTH}", HALF - 1),
        format!("bytes {}-{}/{LENGTH}", u128::from(u64::MAX) + 1 + HALF as u128, u128::from(u64::MAX) + 2),
        format!("bytes {HALF}-9223372036854775807/9223372036854775808"),
        format!("{HALF}-{}/{LENGTH}", LENGTH - 1),
        String::new(),
    ] {
        let sent = range.clone();
        check_restarted(&range, 1, 2, move |seen| match asked(seen) {
            Some(from) => part(&sent).header("etag", TAG).body(&content(9)[from..]),
            None => whole(1),
        });
    }
    check_restarted("no Content-Range", 1, 2, |seen| match asked(seen) {
        Some(from) => Reply::status(206).header("etag", TAG).body(&content(9)[from..]),
        None => whole(1),
    });
    check_restarted("two of them", 1, 2, |seen| match asked(seen) {
        Some(from) => rest(from).header("content-range", format!("bytes {from}-{}/{LENGTH}", LENGTH - 1)),
        None => whole(1),
    });
    check_restarted("several ranges", 1, 2, |seen| match asked(seen) {
        Some(from) => rest(from).header("content-type", "multipart/byteranges; boundary=x"),
        None => whole(1),
    });
}

#[test]
fn only_a_206_counts_as_the_rest() {
    for range in [format!("bytes {HALF}-{}/{LENGTH}", LENGTH - 1), format!("bytes */{LENGTH}"), "garbage".to_owned()] {
        let sent = range.clone();
        check_restarted(&range, 1, 2, move |seen| match asked(seen) {
            Some(from) => Reply::ok(&content(1)[from..]).header("etag", TAG).header("content-range", &sent),
            None => whole(1),
        });
    }
}

#[test]
fn a_range_that_cannot_be_satisfied_begins_anew() {
    check_restarted("416", 2, 2, |seen| match asked(seen) {
        Some(_) => Reply::status(416).header("content-range", "bytes */1000").body("no such range"),
        None => whole(2),
    });
}

#[test]
fn a_server_that_never_gives_a_usable_range_costs_one_restart_and_then_attempts() {
    let server = Server::http(|seen: &Seen| match asked(seen) {
        Some(_) => Reply::status(416),
        None => broken().header("etag", TAG),
    });
    let place = Place::new();
    let run = retrying(&place, &server, "2", &[]);
    run.assert_exit(1).check_invariants(1);
    assert!(server.seen().len() <= 5, "{run}");
    assert!(!place.exists("out/a"), "{run}");
}

#[test]
fn a_part_that_was_not_asked_for_is_a_failure() {
    let server = Server::http(|_| rest(HALF));
    let place = Place::new();
    let run = retrying(&place, &server, "3", &[]);
    run.assert_exit(1).assert_failed_with("range", 33).check_invariants(1);
    assert_eq!((server.seen().len(), place.names("out").len()), (1, 0), "{run}");
}

#[test]
fn an_error_about_the_rest_leaves_the_partial_file_for_later() {
    for status in [404, 410, 401, 500] {
        let (place, server) = left_half(broken().header("etag", TAG), move |seen| match seen.earlier {
            1 => Reply::status(status).body("an error page"),
            _ => rest(asked(seen).expect("a range")),
        });
        let failed = run(&place, &server, &[]);
        failed.assert_exit(1).assert_failed_with("http", 22).check_invariants(1);
        assert_eq!(place.read("out/a.part"), content(1)[..HALF], "{status}\n{failed}");
        let again = run(&place, &server, &[]);
        check_whole(&place, &again, 1);
        assert_eq!(again.record()["resume_from"], HALF, "{status}\n{again}");
    }
    let (place, server) = left_half(broken().header("etag", TAG), |seen| match seen.earlier {
        1 => Reply::status(503).body("busy"),
        _ => rest(asked(seen).expect("a range")),
    });
    let run = retrying(&place, &server, "1", &[]);
    check_whole(&place, &run, 1);
    assert_eq!(run.record()["resume_from"], HALF, "{run}");
}

#[test]
fn a_server_that_refuses_ranges_is_asked_for_the_whole() {
    for status in [400, 403, 405, 406, 412, 428, 431, 501] {
        check_restarted(&status.to_string(), 2, 2, move |seen| match asked(seen) {
            Some(_) => Reply::status(status).body("no ranges"),
            None => whole(2),
        });
    }
}

#[test]
fn what_is_there_is_kept_until_a_server_that_refuses_ranges_sends_the_whole() {
    let fetch = |place: &Place, server: &Server, retries| retrying(place, server, retries, &["--journal", "j"]);
    let (place, server) = left_half(broken().header("etag", TAG), |_| Reply::status(403).body("nothing"));
    let run = fetch(&place, &server, "2");
    run.assert_exit(1).assert_failed_with("http", 22).check_invariants(1);
    assert_eq!(place.read("out/a.part"), content(1)[..HALF], "{run}");
    let asks = || server.seen().iter().map(asked).collect::<Vec<_>>();
    assert_eq!(asks(), [None, Some(HALF), None], "{run}");
    // It was asked for the whole, too.
    assert_eq!(fetch(&place, &server, "2").assert_exit(0).results(), ["skipped"]);
    // Nor does it get a range in this run when the whole breaks off.
    let (place, server) = left_half(broken().header("etag", TAG), |seen| match (asked(seen), seen.earlier) {
        (Some(_), _) => Reply::status(403),
        (None, 2) => broken().header("etag", TAG),
        (None, _) => whole(2),
    });
    let run = fetch(&place, &server, "1");
    check_whole(&place, &run, 2);
    assert_eq!(server.seen().iter().map(asked).collect::<Vec<_>>(), [None, Some(HALF), None, None], "{run}");
}

#[test]
fn a_journal_settles_what_is_said_of_the_whole_though_a_part_was_asked_for() {
    for status in [404, 410, 401] {
        let (place, server) = left_half(broken().header("etag", TAG), move |seen| match seen.earlier {
            1 => Reply::status(status),
            _ => rest(asked(seen).expect("a range")),
        });
        run(&place, &server, &["--journal", "j"]).assert_exit(1).assert_failed("http");
        assert_eq!(run(&place, &server, &["--journal", "j"]).assert_exit(0).results(), ["skipped"], "{status}");
        check_whole(&place, &run(&place, &server, &["--journal", "j", "--retry-failed"]), 1);
    }
}

#[test]
fn a_short_206_is_continued_by_another_without_costing_an_attempt() {
    let (place, server) = left_half(broken().header("etag", TAG), |seen| {
        let from = asked(seen).expect("a range");
        let to = (from + 30_000).min(LENGTH);
        part(&format!("bytes {from}-{}/{LENGTH}", to - 1)).header("etag", TAG).body(&content(1)[from..to])
    });
    let run = run(&place, &server, &[]);
    check_whole(&place, &run, 1);
    let from: Vec<_> = server.seen().iter().map(asked).collect();
    assert_eq!(from, [None, Some(100_000), Some(130_000), Some(160_000), Some(190_000)], "{run}");
}

#[test]
fn a_206_that_brings_next_to_nothing_costs_an_attempt() {
    for (bytes, requests) in [(1, 4), (1999, 4), (2000, 51)] {
        let (place, server) = left_half(broken().header("etag", TAG), move |seen| {
            let from = asked(seen).expect("a range");
            let to = (from + bytes).min(LENGTH);
            part(&format!("bytes {from}-{}/{LENGTH}", to - 1)).header("etag", TAG).body(&content(1)[from..to])
        });
        let run = retrying(&place, &server, "2", &[]);
        run.check_invariants(1);
        assert_eq!(server.seen().len(), requests, "{bytes} bytes each\n{run}");
        match requests {
            4 => drop(run.assert_exit(1).assert_failed("partial")),
            _ => drop(run.assert_exit(0)),
        }
    }
}

#[test]
fn only_a_strong_validator_is_worth_a_range() {
    let (old, date) = ("Tue, 01 Feb 2022 10:20:29 GMT", "Tue, 01 Feb 2022 10:20:30 GMT");
    for (headers, expected) in [
        (&[("etag", TAG)][..], Some(TAG)),
        (&[("etag", TAG), ("last-modified", old), ("date", date)], Some(TAG)),
        (&[("last-modified", old), ("date", date)], Some(old)),
        (&[("last-modified", date), ("date", date)], None),
        (&[("last-modified", date), ("date", old)], None),
        (&[("etag", "W/\"v1\"")], None),
        (&[("etag", "W/\"v1\""), ("last-modified", old), ("date", date)], None),
        (&[("etag", "v1")], None),
        (&[("last-modified", "yesterday"), ("date", date)], None),
        (&[("date", date)], None),
    ] {
        let sent: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let with = move |reply: Reply| sent.iter().fold(reply, |reply, (name, value)| reply.header(name, value));
        let first = with(broken());
        let (place, server) = left_half(first, move |seen| match asked(seen) {
            Some(from) => with(part(&format!("bytes {from}-{}/{LENGTH}", LENGTH - 1)).body(&content(1)[from..])),
            None => whole(2),
        });
        let run = run(&place, &server, &[]);
        let seen = server.seen();
        assert_eq!(seen[1].header("if-range"), expected, "{headers:?}\n{run}");
        assert_eq!(asked(&seen[1]), expected.map(|_| HALF), "{headers:?}\n{run}");
        check_whole(&place, &run, if expected.is_some() { 1 } else { 2 });
    }
}

#[test]
fn a_coded_body_is_never_continued() {
    let coded = broken().header("etag", TAG).header("content-encoding", "br");
    let (place, server) = left_half(coded, |seen| match asked(seen) {
        Some(from) => rest(from),
        None => whole(2),
    });
    let again = run(&place, &server, &[]);
    check_whole(&place, &again, 2);
    assert_eq!(asked(&server.seen()[1]), None, "{again}");
    check_restarted("the rest is coded", 2, 2, |seen| match asked(seen) {
        Some(from) => rest(from).header("content-encoding", "gzip"),
        None => whole(2),
    });
}

#[test]
fn a_redirect_to_a_signed_url_keeps_the_range() {
    let server = Server::http(|seen: &Seen| match (seen.path.as_str(), asked(seen)) {
        // What it says of its own version is not of the file.
        ("/a", _) => Reply::redirect(302, format!("/signed?n={}", seen.earlier))
            .header("etag", format!("\"redirect-{}\"", seen.earlier))
            .header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT"),
        (_, None) => broken().header("etag", TAG),
        (_, Some(from)) => rest(from),
    });
    let place = Place::new();
    run(&place, &server, &[]).assert_failed("partial");
    let run = run(&place, &server, &[]);
    check_whole(&place, &run, 1);
    let last = server.seen().pop().expect("a request");
    assert_eq!(
        (last.path.as_str(), asked(&last), last.header("if-range")),
        ("/signed?n=1", Some(HALF), Some(TAG)),
        "{run}"
    );
}

#[test]
fn offsets_above_four_gigabytes_are_offsets() {
    // Four gigabytes, and two terabytes.
    for large in [1 << 32, 1 << 41] {
        check_offset(large + 50, large + 100);
    }
}

#[track_caller]
fn check_offset(from: u64, total: u64) {
    let (place, server) = left_half(broken().header("etag", TAG), move |seen| {
        assert_eq!(asked(seen), Some(from as usize));
        part(&format!("bytes {from}-{}/{total}", total - 1)).header("etag", TAG).body(vec![b'x'; 50])
    });
    let meta = place.read_text("out/a.part.meta").replace("200000", &total.to_string());
    place.write("out/a.part.meta", meta);
    // What is not there reads as zeros; only for this case is it said to be data.
    let fetch = place.fetch().args(["--json", "-d", "out"]).arg(server.url("/a"));
    let Some(fetch) = fetch.inject_at("out/a.part", &format!("lseek:retval={from}:when=1")) else { return };
    let run = fetch.run();
    run.assert_exit(0);
    let file = std::fs::File::open(place.path("out/a")).expect("it is there");
    assert_eq!((file.metadata().expect("its length").len(), &run.record()["size"]), (total, &total.into()), "{run}");
    let mut end = [0; 51];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut end, from - 1).expect("read its end");
    assert!(end[0] == 0 && end[1..] == [b'x'; 50], "{run}");
}

#[test]
fn a_206_that_brings_more_or_less_than_it_says_is_not_whole() {
    let head = format!("HTTP/1.1 206 Partial Content\r\netag: {TAG}\r\ncontent-range: bytes");
    let chunked =
        |length: usize| format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n", "y".repeat(length));
    for length in [5, 15] {
        let first = format!("HTTP/1.1 200 OK\r\netag: {TAG}\r\ncontent-length: 20\r\n\r\n0123456789");
        let second = format!("{head} 10-19/20\r\n{}", chunked(length));
        let answers = [first, second];
        let raw =
            Raw::start(move |number| Step::answer(answers.get(number).map_or("HTTP/1.1 500 no\r\n\r\n", |text| text)));
        let fetch = Fetch::recorded().args(["--retry", "1", "--retry-delay", "0.01"]).bound(Duration::from_secs(30));
        let run = fetch.arg(raw.url("/a")).run();
        run.assert_exit(1).check_invariants(1);
        assert!(!run.place().exists("out/a"), "{length}\n{run}");
    }
}

#[test]
fn the_rest_of_many_files_comes_over_one_connection() {
    use crate::harness::Authority;
    use crate::harness::authority::Alpn;
    let authority = Authority::new();
    // HTTP/2: each first answer breaks its stream off, some ranges are refused, some have changed.
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| match (asked(seen), &seen.path[1..2]) {
        (Some(_), "0") => Reply::status(416),
        (Some(_), "1") => whole(2),
        (Some(from), "2") => rest(from + 1),
        (Some(from), _) => rest(from),
        (None, "0" | "2") if seen.earlier > 0 => whole(1),
        (None, _) => broken().header("etag", TAG),
    });
    let place = Place::new();
    let urls: Vec<String> = (0..40).map(|number| server.url(&format!("/{}-{number}", number % 8))).collect();
    let args = ["--json", "-d", "out", "--retry", "2", "--retry-delay", "0.01", "--cacert"];
    let run = place.fetch().args(args).arg(authority.pem()).urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    for (name, found) in place.tree("out") {
        assert!(found == content(if name.starts_with('1') { 2 } else { 1 }), "{name}\n{run}");
    }
    // How much arrives before a stream is reset is not always the same.
    let resumed = run.records().iter().filter(|record| record["resume_from"].is_u64()).count();
    assert!(place.names("out").len() == 40 && (13..=25).contains(&resumed), "{resumed}\n{run}");
    assert_eq!(run.records()[3]["http_version"], "2", "{run}");
}
