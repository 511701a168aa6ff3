//! Files beside a final name: which of them the program takes for its own, and takes away, and which not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Gate, Place, Reply, Seen, Server, until};

const TAG: &str = "\"v1\"";
const LENGTH: usize = 2 << 20;

#[test]
fn a_file_of_the_users_at_the_name_of_a_description_is_left_alone() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/gone" => Reply::status(404),
        "/large" => Reply::ok(vec![b'x'; LENGTH]).header("etag", TAG),
        _ => Reply::ok("small"),
    });
    let nobody = "http://127.0.0.1:1/a".to_owned();
    let small = || server.url("/small");
    // What is there before, and whether the URL does not fail.
    let notes = ("doc.part.meta", "my notes");
    let json = ("doc.part.meta", r#"{"format":"pdf"}"#);
    let empty = ("doc.part.meta", "");
    type Files<'a> = &'a [(&'a str, &'a str)];
    let cases: [(String, Files<'_>, bool); 9] = [
        (small(), &[("doc", "mine"), notes], true),
        (small(), &[("doc", "mine"), empty], true),
        (small(), &[("doc", "mine"), ("doc.part", "mine, too"), json], true),
        (small(), &[notes], true),
        (small(), &[empty], true),
        (small(), &[("doc.part", "mine, too"), notes], false),
        (server.url("/gone"), &[notes], false),
        (server.url("/large"), &[json], false),
        (nobody, &[notes], false),
    ];
    for (url, files, is_done) in cases {
        for is_linked in [false, true] {
            let place = Place::new();
            for (name, text) in files {
                place.write(&format!("out/{name}"), text);
            }
            let meta = place.path("out/doc.part.meta");
            if is_linked {
                fs::set_permissions(&meta, PermissionsExt::from_mode(0o600)).expect("make it private");
                fs::hard_link(&meta, place.path("other")).expect("link it");
            }
            let run = place.fetch().args(["--json", "-d", "out", "--retry", "0"]).list(format!("{url}\tdoc\n")).run();
            run.assert_exit(if is_done { 0 } else { 1 }).check_invariants(1);
            for (name, text) in files {
                assert_eq!(place.read_text(&format!("out/{name}")), *text, "{url} {files:?}\n{run}");
            }
            let wanted = files.len() + usize::from(is_done && files[0].0 != "doc");
            assert_eq!(place.names("out").len(), wanted, "{url} {files:?} {:?}\n{run}", place.names("out"));
        }
    }
}

#[test]
fn a_partial_file_that_cannot_be_written_any_more_is_fetched_anew() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; LENGTH]).header("etag", TAG));
    let place = Place::new();
    for (name, text) in [("a.part", "begun"), ("a.part.meta", r#"{"format":3,"file":"1-2.3-0","url":""#)] {
        let path = place.write(&format!("out/{name}"), text);
        fs::set_permissions(path, PermissionsExt::from_mode(0o400)).expect("make it read-only");
    }
    let fetch = place.fetch().args(["--json", "-d", "out", "--retry", "0"]).arg(server.url("/a"));
    let Some(fetch) = fetch.held_to_permissions() else { return };
    let run = fetch.run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(place.names("out"), ["a"], "{run}");
}

#[test]
fn what_a_file_has_replaced_under_a_name_from_its_server_is_taken_away_after_a_kill() {
    let server = Server::http(|_| {
        let reply = Reply::ok(vec![b'x'; LENGTH]).header("etag", TAG);
        reply.header("content-disposition", "attachment; filename=report")
    });
    for kind in ["file", "link", "fifo"] {
        for journal in [&[][..], &["--journal", "j"]] {
            let place = Place::new();
            let before = place.write("out/report", "before");
            if kind != "file" {
                fs::remove_file(&before).expect("it is there");
                let mut make = std::process::Command::new(if kind == "link" { "ln" } else { "mkfifo" });
                let made = make.args(if kind == "link" { &["-s", "nowhere"][..] } else { &[] }).arg(&before).status();
                assert!(made.expect("it can be run").success());
            }
            let fetch = || {
                let options = ["--json", "-d", "out", "-J", "--sync", "--if-exists", "overwrite", "--retry", "0"];
                place.fetch().args(options).args(journal).arg(server.url("/get"))
            };
            // Between the two names' exchange and the flush of their directory.
            let Some(disturbed) = fetch().inject_at("out", "fsync:signal=KILL:when=1") else { return };
            let run = disturbed.run();
            assert_eq!(place.names("out"), ["get.part", "get.part.meta", "report"], "{kind}\n{run}");
            let run = fetch().run();
            run.assert_exit(0);
            assert_eq!(place.names("out"), ["report"], "{kind} {journal:?}\n{run}");
            assert!(place.read("out/report") == vec![b'x'; LENGTH], "{kind}\n{run}");
        }
    }
}

#[test]
fn a_partial_file_that_has_the_final_name_already_leaves_nothing_when_it_replaces_itself() {
    for sync in [&[][..], &["--sync"]] {
        let gate = Gate::new();
        let held = gate.clone();
        let half = vec![b'x'; LENGTH / 2];
        let server =
            Server::http(move |_| Reply::ok(half.clone()).then_wait(&held).body(half.clone()).header("etag", TAG));
        let place = Place::new();
        let options = ["--json", "-d", "out", "--if-exists", "overwrite"];
        let running = place.fetch().args(options).args(sync).arg(server.url("/a")).start();
        until("half of it on disk", || place.tree("out").get("a.part").is_some_and(|part| part.len() == LENGTH / 2));
        fs::hard_link(place.path("out/a.part"), place.path("out/a")).expect("link it");
        gate.open();
        let run = running.finish();
        run.assert_exit(0);
        assert_eq!(place.names("out"), ["a"], "{sync:?}\n{run}");
        assert_eq!(place.read("out/a").len(), LENGTH, "{run}");
    }
}
