//! What lies on disk, and who may continue it.

use super::*;
use crate::harness::{Gate, until};

#[test]
fn a_killed_transfer_is_continued_where_it_ended() {
    let large: Vec<u8> = (0..4 << 20).map(|at: u32| (at / 253) as u8).collect();
    let (gate, sent) = (Gate::new(), large.clone());
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| match asked(seen) {
        Some(from) => {
            part(&format!("bytes {from}-{}/{}", sent.len() - 1, sent.len())).header("etag", TAG).body(&sent[from..])
        }
        None => Reply::ok(&sent[..2 << 20]).header("etag", TAG).then_wait(&held).body(&sent[2 << 20..]),
    });
    let place = Place::new();
    let running = place.fetch().args(["--json", "-d", "out"]).arg(server.url("/a")).start();
    until("half of it on disk", || place.tree("out").get("a.part").is_some_and(|part| part.len() == 2 << 20));
    running.kill();
    gate.open();
    assert_eq!(place.names("out"), ["a.part", "a.part.meta"]);
    let run = run(&place, &server, &[]);
    run.assert_exit(0).check_invariants(1);
    assert_eq!(place.names("out"), ["a"], "{run}");
    assert!(place.read("out/a") == large, "{run}");
    let (record, seen) = (run.record(), server.seen());
    assert_eq!((&record["resume_from"], &record["size_download"]), (&(2 << 20).into(), &(2 << 20).into()), "{run}");
    assert_eq!((asked(&seen[1]), seen[1].header("if-range")), (Some(2 << 20), Some(TAG)), "{run}");
}

#[test]
fn a_retry_within_a_run_continues_too() {
    let server = Server::http(|seen: &Seen| match asked(seen) {
        None => broken().header("etag", TAG),
        Some(from) => rest(from),
    });
    let place = Place::new();
    let run = retrying(&place, &server, "1", &[]);
    check_whole(&place, &run, 1);
    assert_eq!((&run.record()["resume_from"], &run.record()["num_retries"]), (&HALF.into(), &1.into()), "{run}");
    assert_eq!(server.seen().len(), 2, "{run}");
}

#[test]
fn what_was_asked_for_differently_is_not_continued() {
    for (args, continued) in [
        (&["--compressed"][..], false),
        (&["-H", "Accept: text/plain"], false),
        (&["-H", "If-Range: \"x\""], false),
        (&["--no-resume"], false),
        (&["-H", "X-Other: y"], true),
        (&[], true),
    ] {
        let (place, server) = left_half(broken().header("etag", TAG), |seen| match asked(seen) {
            Some(from) => rest(from),
            None => whole(1),
        });
        let run = run(&place, &server, args);
        check_whole(&place, &run, 1);
        let expected = continued.then_some(HALF);
        assert_eq!(asked(&server.seen()[1]), expected, "{args:?}\n{run}");
    }
}

#[test]
fn a_partial_file_that_is_too_long_is_fetched_anew() {
    let (place, server) = left_half(broken().header("etag", TAG), |seen| match asked(seen) {
        Some(_) => Reply::status(500),
        None => whole(1),
    });
    place.write("out/a.part", [content(1), content(1)].concat());
    check_whole(&place, &run(&place, &server, &[]), 1);
    // Longer than what the server has by now.
    check_restarted("it shrank", 3, 2, |seen| match asked(seen) {
        Some(_) => Reply::status(416).header("content-range", "bytes */10"),
        None => whole(3),
    });
}

#[test]
fn a_partial_file_that_is_whole_already_is_published_when_the_server_agrees() {
    let (place, server) = left_half(broken().header("etag", TAG), |seen| rest(asked(seen).expect("a range")));
    place.write("out/a.part", content(1));
    let run = run(&place, &server, &[]);
    check_whole(&place, &run, 1);
    assert_eq!(run.record()["size_download"], 1, "{run}");
}

#[test]
fn a_partial_file_without_a_description_that_fits_is_fetched_anew() {
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 9] = [
        ("empty", |_| String::new()),
        ("torn", |meta| meta[..meta.len() / 2].to_owned()),
        ("blank", |_| "\u{0}".repeat(100_000)),
        ("of another url", |meta| meta.replace("/a\"", "/b\"")),
        ("of another file", |meta| meta.replace("\"file\":\"", "\"file\":\"1")),
        ("older", |meta| meta.replace("\"format\":4", "\"format\":3")),
        ("newer", |meta| meta.replace("\"format\":4", "\"format\":5")),
        ("of another length", |meta| meta.replace("200000", "7")),
        ("with a line break", |meta| meta.replace("v1", "v1\\r\\nX: y")),
    ];
    for (what, change) in changes {
        let (place, server) = left_half(broken().header("etag", TAG), |seen| match asked(seen) {
            Some(from) => rest(from),
            None => whole(1),
        });
        let meta = place.read_text("out/a.part.meta");
        assert_ne!(change(&meta), meta, "{what}");
        place.write("out/a.part.meta", change(&meta));
        let run = run(&place, &server, &[]);
        check_whole(&place, &run, 1);
        assert_eq!(asked(&server.seen()[1]), None, "{what}\n{run}");
    }
}

#[test]
fn a_hole_in_a_partial_file_is_not_taken_for_data() {
    let (place, server) = left_half(broken().header("etag", TAG), |seen| rest(asked(seen).expect("a range")));
    let file = std::fs::OpenOptions::new().write(true).open(place.path("out/a.part")).expect("open it");
    // As after a crash of the machine: the length was kept, the data were not.
    file.set_len(8192).expect("shorten it");
    file.set_len(LENGTH as u64 - 1).expect("lengthen it");
    let run = run(&place, &server, &[]);
    check_whole(&place, &run, 1);
    assert_eq!(asked(&server.seen()[1]), Some(8192), "{run}");
}

#[test]
fn two_runs_at_once_never_mix_their_bytes() {
    let gate = Gate::new();
    let held = gate.clone();
    let (place, server) = left_half(broken().header("etag", TAG), move |seen| match asked(seen) {
        Some(from) => part(&format!("bytes {from}-{}/{LENGTH}", LENGTH - 1))
            .header("etag", TAG)
            .body(&content(1)[from..from + 10])
            .then_wait(&held)
            .body(&content(1)[from + 10..]),
        None => whole(2),
    });
    let first = place.fetch().args(["--json", "-d", "out"]).arg(server.url("/a")).start();
    server.wait("the first to continue", |counts| counts.running == 1);
    until("its first bytes", || place.read("out/a.part").len() == HALF + 10);
    let second = run(&place, &server, &[]);
    second.assert_exit(1).assert_failed("local").assert_stderr_has("1 failed");
    assert!(second.record()["errormsg"].as_str().is_some_and(|why| why.contains("another process")), "{second}");
    gate.open();
    let first = first.finish();
    assert!(place.read("out/a") == content(1), "{first}\n{second}");
    assert_eq!(place.names("out"), ["a"], "{first}\n{second}");
}

#[test]
fn a_description_tells_no_secrets_and_only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::http(|_| broken().header("etag", TAG));
    let place = Place::new();
    let url = server.url("/a").replace("http://", "http://user:S3CR3T-1@");
    let args =
        ["--json", "-d", "out", "--retry", "0", "-H", "Authorization: Bearer S3CR3T-2", "-H", "Cookie: S3CR3T-3"];
    let run = place.fetch().args(args).under_bash(r#"umask 000; exec "$@""#).arg(url).run();
    let meta = place.read_text("out/a.part.meta");
    assert!(meta.contains("/a\"") && !meta.contains("S3CR3T"), "{meta}\n{run}");
    let mode = place.path("out/a.part.meta").metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{run}");
}

#[test]
fn a_run_that_is_stopped_at_once_leaves_what_can_be_continued() {
    use rustix::process::Signal;
    for chunked in [false, true] {
        let gate = Gate::new();
        let server = Server::http(move |seen: &Seen| match asked(seen) {
            Some(from) => rest(from),
            None => {
                let half =
                    Reply::ok(&content(1)[..HALF]).header("etag", TAG).then_wait(&gate).body(&content(1)[HALF..]);
                if chunked { half.chunked() } else { half }
            }
        });
        let place = Place::new();
        let running = place.fetch().args(["--json", "-v", "-d", "out"]).arg(server.url("/a")).start();
        server.wait("the request", |counts| counts.running == 1);
        until("half of it", || descriptors(&running).contains(&HALF));
        running.send_signal(Signal::INT);
        running.wait_for_line(crate::harness::Stream::Err, "once more");
        running.send_signal(Signal::INT);
        let stopped = running.finish();
        stopped.assert_signal(Signal::INT).check_invariants(1);
        assert_eq!(place.names("out"), ["a.part", "a.part.meta"], "{stopped}");
        let run = run(&place, &server, &[]);
        check_whole(&place, &run, 1);
        assert_eq!(run.record()["resume_from"], HALF, "{run}");
    }
}

/// The lengths of the files that it has open, with or without a name.
fn descriptors(running: &crate::harness::Running) -> Vec<usize> {
    let directory = format!("/proc/{}/fd", running.pid().as_raw_nonzero());
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| std::fs::metadata(entry.path()).ok()).map(|file| file.len() as usize).collect()
}

#[test]
fn a_real_server_continues_what_was_killed_and_sends_what_changed_anew() {
    use crate::harness::nginx::Listen;
    let Some(nginx) = crate::harness::Nginx::start(Listen::Localhost) else { return };
    let content = |seed: u32| (0..3u32 << 20).map(|at| ((at + seed) / 253) as u8).collect::<Vec<u8>>();
    for changes in [false, true] {
        let (place, file) = (Place::new(), nginx.root().join(format!("file-{changes}")));
        std::fs::write(&file, content(0)).expect("write a file to be served");
        // A file that has just been changed may change again within the second of its time.
        let an_hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        let age = |time| std::fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(time));
        age(an_hour_ago).expect("make it old");
        let url = nginx.http(&format!("/file-{changes}"));
        let running = place.fetch().args(["--json", "-d", "out", "--limit-rate", "1M"]).arg(&url).start();
        let part = format!("out/file-{changes}.part");
        until("some of it on disk", || place.path(&part).metadata().is_ok_and(|file| file.len() > 200_000));
        running.kill();
        let left = place.read(&part).len() as u64;
        assert!(left < 3 << 20, "all of it came at once");
        if changes {
            std::fs::write(&file, content(1_000_000)).expect("change the file");
        }
        let run = place.fetch().args(["--json", "-d", "out"]).arg(&url).run();
        run.assert_exit(0).check_invariants(1);
        let record = run.record();
        let expected = if changes { content(1_000_000) } else { content(0) };
        assert!(place.read(&format!("out/file-{changes}")) == expected, "{run}");
        assert_eq!(record["http_code"], if changes { 200 } else { 206 }, "{run}");
        if !changes {
            assert_eq!(
                (&record["resume_from"], &record["size_download"]),
                (&left.into(), &((3 << 20) - left).into()),
                "{run}"
            );
        }
    }
}
