//! Files beside a final name: which of them the program takes for its own, and takes away, and which not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Place, Reply, Seen, Server};

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
