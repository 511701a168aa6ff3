//! What broke off is continued where it ended, if the server proves that it is the same; if there is any doubt it is
//! fetched from its first byte. Never is one version put behind another.

mod answers;
mod faults;
mod mirrors;
mod partials;

use crate::harness::{Finished, Place, Reply, Seen, Server};

/// Bytes of a body, and of what arrives before it breaks off.
const LENGTH: usize = 200_000;
const HALF: usize = 100_000;

const TAG: &str = "\"v1\"";

/// Every byte tells its version and roughly where it was.
fn content(version: u8) -> Vec<u8> {
    (0..LENGTH).map(|at| version.wrapping_add((at / 251) as u8)).collect()
}

/// The first half of version 1 and then nothing.
fn broken() -> Reply {
    Reply::ok(&content(1)[..HALF]).then_break().body(&content(1)[HALF..])
}

/// A whole version.
fn whole(version: u8) -> Reply {
    Reply::ok(content(version)).header("etag", format!("\"v{version}\""))
}

/// The rest of version 1 from `from` on, as asked for.
fn rest(from: usize) -> Reply {
    part(&format!("bytes {from}-{}/{LENGTH}", LENGTH - 1)).header("etag", TAG).body(&content(1)[from..])
}

/// A 206 with this Content-Range.
fn part(range: &str) -> Reply {
    Reply::status(206).header("content-range", range)
}

/// The offset that a request asks for.
fn asked(seen: &Seen) -> Option<usize> {
    seen.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// One URL into `out`, with nothing tried again that costs an attempt.
fn run(place: &Place, server: &Server, args: &[&str]) -> Finished {
    retrying(place, server, "0", args)
}

/// The same with so many attempts more.
fn retrying(place: &Place, server: &Server, retries: &str, args: &[&str]) -> Finished {
    let usual = ["--json", "-d", "out", "--retry-delay", "0.01", "--retry", retries];
    place.fetch().args(usual).args(args).arg(server.url("/a")).run()
}

/// A server whose first answer breaks off and whose later ones are made by `later`, and the partial file that it left.
fn left_half(first: Reply, later: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Place, Server) {
    let first = std::sync::Mutex::new(Some(first));
    let server = Server::http(move |seen: &Seen| match first.lock().expect("no panic while held").take() {
        Some(first) => first,
        None => later(seen),
    });
    let place = Place::new();
    let broken = run(&place, &server, &[]);
    broken.assert_exit(1).assert_failed("partial").check_invariants(1);
    assert_eq!(place.read("out/a.part").len(), HALF, "{broken}");
    (place, server)
}

/// The file is there, whole, of this version, and nothing beside it.
#[track_caller]
fn check_whole(place: &Place, run: &Finished, version: u8) {
    run.assert_exit(0).check_invariants(1);
    assert_eq!(place.names("out"), ["a"], "{run}");
    assert!(place.read("out/a") == content(version), "not version {version}\n{run}");
    assert_eq!(run.record()["size"], LENGTH, "{run}");
}

/// `later` answers what was broken off; the file is version `version` in the end, begun anew.
#[track_caller]
fn check_restarted(what: &str, version: u8, requests: usize, later: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
    let (place, server) = left_half(broken().header("etag", TAG), later);
    let run = run(&place, &server, &[]);
    check_whole(&place, &run, version);
    assert!(run.record()["resume_from"].is_null(), "{what}\n{run}");
    let seen = server.seen();
    assert_eq!(seen.len(), 1 + requests, "{what}: {seen:#?}\n{run}");
    assert_eq!(asked(&seen[1]), Some(HALF), "{what}\n{run}");
    assert!(seen[2..].iter().all(|seen| seen.header("range").is_none() && seen.header("if-range").is_none()), "{what}");
}
