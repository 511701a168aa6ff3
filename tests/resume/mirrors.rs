//! What was begun at one place of a line and is continued at another: only where a checksum says in the end that it is
//! the same.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;

fn digits(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One line with a mirror, and the SHA-256 of version 1 where it is `promised`.
fn fetch(place: &Place, url: String, mirror: String, promised: bool) -> Finished {
    let mut line = json!({"url": url, "mirrors": [mirror], "out": "a"});
    if promised {
        line["sha256"] = digits(&content(1)).into();
    }
    let usual = ["--json", "-d", "out", "--retry", "0", "--retry-delay", "0.01", "--input-format", "json"];
    place.fetch().args(usual).urls(&[line.to_string()]).run()
}

/// Version 1, from where it is asked for, under an entity tag of its own.
fn other_server(seen: &Seen) -> Reply {
    let reply = match asked(seen) {
        Some(from) => part(&format!("bytes {from}-{}/{LENGTH}", LENGTH - 1)).body(&content(1)[from..]),
        None => Reply::ok(content(1)),
    };
    reply.header("etag", "\"other\"")
}

#[test]
fn what_a_mirror_began_is_continued_at_the_url_itself_in_the_next_run() {
    for (promised, from) in [(true, Some(HALF)), (false, None)] {
        let server = Server::http(|seen: &Seen| match (seen.path.as_str(), seen.earlier) {
            ("/a", 0) => Reply::status(404),
            ("/a", _) => other_server(seen),
            _ => broken().header("etag", TAG),
        });
        let place = Place::new();
        let first = fetch(&place, server.url("/a"), server.url("/mirror"), promised);
        first.assert_exit(1).assert_failed("partial").check_invariants(1);
        assert_eq!(place.names("out"), ["a.part", "a.part.meta"], "{first}");
        let second = fetch(&place, server.url("/a"), server.url("/mirror"), promised);
        check_whole(&place, &second, 1);
        let last = server.seen().pop().expect("a request");
        assert_eq!((last.path.as_str(), asked(&last), last.header("if-range")), ("/a", from, None), "{second}");
        assert_eq!(second.record()["resume_from"].as_u64(), from.map(|from| from as u64), "{second}");
    }
}

#[test]
fn what_breaks_off_is_continued_at_the_mirror_in_the_same_run() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        // Without a validator: the checksum is one.
        "/a" => broken(),
        _ => other_server(seen),
    });
    let place = Place::new();
    let run = fetch(&place, server.url("/a"), server.url("/mirror"), true);
    check_whole(&place, &run, 1);
    let paths: Vec<_> = server.seen().iter().map(|seen| (seen.path.clone(), asked(seen))).collect();
    let (_, from) = &paths[1];
    assert_eq!(paths.len(), 2, "{run}");
    // What had come when it broke off may not all have been read.
    assert!(from.is_some_and(|from| from > 0 && from <= HALF), "{paths:?}\n{run}");
}

#[test]
fn a_mirror_with_other_bytes_is_found_out_and_asked_for_all_of_them_once() {
    // Of the same length, and of another.
    for length in [LENGTH, LENGTH + 1] {
        let server = Server::http(move |seen: &Seen| match (seen.path.as_str(), asked(seen)) {
            ("/a", _) => broken().header("etag", TAG),
            (_, Some(from)) => part(&format!("bytes {from}-{}/{length}", length - 1)).body(vec![b'y'; length - from]),
            (_, None) => Reply::ok(content(1)),
        });
        let place = Place::new();
        let line = json!({
            "url": server.url("/a"), "mirrors": [server.url("/mirror")], "out": "a", "sha256": digits(&content(1)),
        });
        let usual = ["--json", "-d", "out", "--retry", "1", "--retry-delay", "0.01", "--input-format", "json"];
        let run = place.fetch().args(usual).urls(&[line.to_string()]).run();
        check_whole(&place, &run, 1);
        assert!(run.record()["resume_from"].is_null(), "{run}");
        let last: Vec<_> = server.seen().iter().filter(|seen| seen.path == "/mirror").map(asked).collect();
        assert!(matches!(last[..], [Some(_), None]), "{last:?}\n{run}");
    }
}

#[test]
fn what_was_begun_for_a_checksum_is_not_continued_without_it() {
    let server = Server::http(|seen: &Seen| match seen.earlier {
        0 => broken().header("etag", TAG),
        _ => asked(seen).map_or_else(|| whole(1), rest),
    });
    let place = Place::new();
    let mirror = crate::harness::raw::refusing_url();
    fetch(&place, server.url("/a"), mirror.clone(), true).assert_exit(1);
    assert!(place.exists("out/a.part.meta"));
    let run = fetch(&place, server.url("/a"), mirror, false);
    check_whole(&place, &run, 1);
    assert_eq!(asked(&server.seen()[1]), None, "{run}");
}
