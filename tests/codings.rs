//! Bodies in a content coding: stored as sent unless `--compressed` asks for them, and then decoded or refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};

use crate::harness::reply::gzip;
use crate::harness::{Fetch, Finished, Gate, Raw, Reply, Seen, Server, Step, Stream};

/// Ten gigabytes in ten megabytes: a hundred members of zeros.
fn bomb() -> Vec<u8> {
    gzip(&vec![0; 100 << 20]).repeat(100)
}

#[test]
fn a_bomb_is_stored_as_it_was_sent() {
    let bomb = bomb();
    let body = bomb.clone();
    let server = Server::http(move |_| Reply::ok(body.clone()).header("content-encoding", "gzip"));
    let run = Fetch::recorded().args(["--max-filesize", "20M"]).arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    assert!(run.place().read("out/a") == bomb, "{run}");
}

#[test]
fn a_bomb_that_is_to_be_decoded_ends_at_the_limit_without_filling_the_memory() {
    let gate = Gate::new();
    let (body, held) = (bomb(), gate.clone());
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/held" => Reply::ok("x").held_by(&held),
        "/chunked" => Reply::ok(body.clone()).chunked().header("content-encoding", "gzip"),
        _ => Reply::ok(body.clone()).header("content-encoding", "gzip"),
    });
    let args = ["--compressed", "--max-filesize", "20M"];
    let urls = ["/held", "/bomb", "/chunked"].map(|path| server.url(path));
    let running = Fetch::recorded().args(args).urls(&urls).start();
    running.wait_for_lines(Stream::Out, 2);
    let peak = running.peak_rss();
    assert!(peak < 64 << 20, "{peak} bytes of memory");
    gate.open();
    let run = running.finish();
    run.assert_exit(1).check_invariants(3);
    for record in &run.records()[1..] {
        assert_eq!((&record["error_class"], &record["exitcode"]), (&"too_large".into(), &63.into()), "{run}");
        assert_eq!(record["num_retries"], 0, "{run}");
    }
    assert_eq!(run.place().names("out"), ["held"], "{run}");
}

/// One attempt at a body with these headers, with and without `--compressed`.
fn fetch(headers: &str, body: &[u8]) -> (Finished, Finished) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n\r\n", body.len());
    let server = Raw::always(Step::answer([head.as_bytes(), body].concat()));
    let fetch = |args: &[&str]| {
        let run = Fetch::recorded().args(["--retry", "0"]).args(args).arg(server.url("/a")).run();
        run.check_invariants(1);
        run
    };
    (fetch(&[]), fetch(&["--compressed"]))
}

/// Stored as sent by default; with `--compressed` what is saved is the plain text, or nothing.
#[track_caller]
fn is_decoded_wholly_or_refused(headers: &str, body: &[u8], plain: &[u8]) {
    let (as_sent, decoded) = fetch(headers, body);
    as_sent.assert_exit(0);
    assert!(as_sent.place().read("out/a") == body, "{headers}\n{as_sent}");
    if decoded.record()["result"] == "ok" {
        assert!(decoded.place().read("out/a") == plain, "{headers}: it is not plain\n{decoded}");
    } else {
        decoded.assert_exit(1).assert_failed_with("protocol", 61);
    }
}

#[test]
fn codings_that_were_not_asked_for_or_are_stacked_are_decoded_wholly_or_refused() {
    let plain = b"plain text".repeat(100);
    let once = gzip(&plain);
    let twice = gzip(&once);
    let six_times = (0..4).fold(twice.clone(), |coded, _| gzip(&coded));
    for (headers, body) in [
        ("Content-Encoding: br", &once),
        ("Content-Encoding: zstd", &once),
        ("Content-Encoding: x-nonsense", &once),
        ("Content-Encoding: gzip, gzip", &twice),
        ("Content-Encoding: gzip, gzip, gzip, gzip, gzip, gzip", &six_times),
    ] {
        is_decoded_wholly_or_refused(headers, body, &plain);
    }
}

#[test]
fn codings_in_several_header_lines_are_one_list() {
    let plain = b"plain text".repeat(100);
    let once = gzip(&plain);
    let twice = gzip(&once);
    for (headers, body) in [
        ("Content-Encoding: gzip\r\nContent-Encoding: gzip", &twice),
        ("Content-Encoding: br\r\nContent-Encoding: gzip", &twice),
        ("Content-Encoding: gzip\r\nContent-Encoding: br", &twice),
        ("Content-Encoding: gzip\r\nContent-Encoding: identity", &once),
        ("Content-Encoding: gzip\r\nX-Other: y\r\nContent-Encoding:", &once),
    ] {
        is_decoded_wholly_or_refused(headers, body, &plain);
    }
}

#[test]
fn the_codings_that_were_asked_for_are_decoded_however_they_are_written() {
    let plain = b"plain text".repeat(10_000);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(&plain).expect("into memory");
    let zlib = zlib.finish().expect("into memory");
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::best());
    bare.write_all(&plain).expect("into memory");
    let bare = bare.finish().expect("into memory");
    let members = plain.chunks(1000).map(gzip).collect::<Vec<_>>().concat();
    for (headers, body) in [
        ("Content-Encoding: gzip", &gzip(&plain)),
        ("content-encoding:GZip", &gzip(&plain)),
        ("Content-Encoding: x-gzip", &gzip(&plain)),
        ("Content-Encoding: gzip", &members),
        ("Content-Encoding: deflate", &zlib),
        ("Content-Encoding: deflate", &bare),
        ("Content-Encoding: identity", &plain),
        ("Content-Encoding:", &plain),
    ] {
        let (_, decoded) = fetch(headers, body);
        decoded.assert_exit(0);
        assert!(decoded.place().read("out/a") == plain, "{headers}\n{decoded}");
        assert_eq!(decoded.record()["size"], plain.len(), "{headers}\n{decoded}");
    }
}
