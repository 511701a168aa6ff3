//! Names that servers give (`-J`): used as far as they are harmless, and inside the directory only.

use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server};

/// Every path answers with itself, under this name.
fn named(disposition: impl Into<String>) -> Server {
    let disposition = disposition.into();
    Server::http(move |seen: &Seen| Reply::ok(seen.path.clone()).header("content-disposition", disposition.clone()))
}

fn fetch(place: &Place, args: &[&str], server: &Server, paths: &[&str]) -> Finished {
    let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    place.fetch().args(["--json", "-d", "out", "-J", "-j", "1", "--retry", "0"]).args(args).urls(&urls).run()
}

#[test]
fn a_file_has_the_name_that_its_server_gives() {
    for (disposition, name) in [
        ("attachment; filename=\"report 1.pdf\"", "report 1.pdf"),
        ("attachment; filename*=UTF-8''b%C3%BCcher.pdf; filename=x", "bücher.pdf"),
        ("inline", "download"),
        ("attachment; filename=\"\"", "download"),
        ("attachment; filename=\"..\"", "download"),
        ("attachment; filename=\"download\"", "download"),
    ] {
        let run = fetch(&Place::new(), &[], &named(disposition), &["/download?id=1"]);
        run.assert_exit(0).check_invariants(1);
        assert_eq!(run.record()["filename_effective"], format!("out/{name}"), "{disposition}\n{run}");
        assert_eq!(run.place().names("out"), [name], "{disposition}\n{run}");
    }
}

#[test]
fn no_name_that_a_server_gives_leads_out_of_the_directory_or_is_dangerous() {
    let long = "x".repeat(400);
    let names = [
        "../../canary/canary.txt",
        "/etc/passwd",
        "..",
        ".",
        "~/.ssh/authorized_keys",
        ".bashrc",
        "-rf",
        "--config=x",
        "..\\\\..\\\\x",
        "C:\\\\x",
        "a/../../b",
        "x.part",
        "x.part.meta",
        "x.PART",
        "con",
        "%2e%2e%2fx",
        "a;b",
        " ",
        "...",
        long.as_str(),
    ];
    let extended =
        ["..%2f..%2fcanary%2fcanary.txt", "%2e%2e", "a%00b", "%0d%0aX: y", "%1b[2J", "%e2%80%aegpj.exe", "%2froot%2fx"];
    let dispositions = names
        .iter()
        .map(|name| format!("attachment; filename=\"{name}\""))
        .chain(extended.iter().map(|name| format!("attachment; filename*=UTF-8''{name}")));
    for disposition in dispositions {
        let run = fetch(&Place::new(), &[], &named(&disposition), &["/a"]);
        run.assert_exit(0).check_invariants(1);
        let record = run.record();
        let name = record["filename_effective"].as_str().and_then(|name| name.strip_prefix("out/")).expect("inside");
        assert!(!name.contains('/') && !name.starts_with(['.', '-', '~']), "{disposition}\n{run}");
        assert!(!name.chars().any(char::is_control) && name.len() + ".part.meta".len() <= 255, "{disposition}\n{run}");
        let folded = name.to_lowercase();
        assert!(!folded.ends_with(".part") && !folded.ends_with(".part.meta"), "{disposition}\n{run}");
    }
}

#[test]
fn a_name_on_the_line_comes_first_and_without_the_option_headers_name_nothing() {
    let server = named("attachment; filename=theirs");
    let place = Place::new();
    let line = format!("{}\tmine\n", server.url("/a"));
    let run = place.fetch().args(["--json", "-d", "out", "-J"]).list(line).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(place.names("out"), ["mine"], "{run}");
    let run = Fetch::recorded().arg(server.url("/a")).run();
    assert_eq!(run.place().names("out"), ["a"], "{run}");
}

#[test]
fn urls_that_are_given_the_same_name_do_not_share_a_file() {
    let place = Place::new();
    let run = fetch(&place, &[], &named("attachment; filename=same.txt"), &["/1", "/2", "/same.txt"]);
    run.assert_exit(0).check_invariants(3);
    let tree = place.tree("out");
    let mut bodies: Vec<&[u8]> = tree.values().map(Vec::as_slice).collect();
    bodies.sort();
    assert_eq!(bodies, [&b"/1"[..], b"/2", b"/same.txt"], "{run}");
    assert!(tree.keys().all(|name| name.starts_with("same") && name.ends_with(".txt")), "{run}");
}

#[test]
fn what_is_there_already_is_treated_as_asked_when_its_name_is_known() {
    for (policy, result, content) in [
        ("skip", "skipped", "old"),
        ("fail", "failed", "old"),
        ("overwrite", "ok", "/a"),
        ("update", "ok", "/a"),
        ("rename", "ok", "old"),
    ] {
        let place = Place::new();
        place.write("out/there.txt", "old");
        let run = fetch(&place, &["--if-exists", policy], &named("attachment; filename=there.txt"), &["/a"]);
        run.check_invariants(1);
        assert_eq!(
            (run.results(), place.read_text("out/there.txt")),
            (vec![result.to_owned()], content.to_owned()),
            "{run}"
        );
        assert_eq!(place.names("out").len(), if policy == "rename" { 2 } else { 1 }, "{policy}\n{run}");
        if result == "skipped" {
            assert_eq!(run.record()["filename_effective"], "out/there.txt", "{run}");
        }
    }
}

#[test]
fn of_a_large_file_that_is_there_already_only_the_head_is_fetched() {
    let gate = Gate::new();
    let held = gate.clone();
    // The rest never comes: whoever waits for it does not end.
    let server = Server::http(move |_| {
        Reply::ok(vec![b'x'; 1 << 20])
            .header("content-disposition", "attachment; filename=big")
            .then_wait(&held)
            .body("end")
    });
    let place = Place::new();
    place.write("out/big", "old");
    let run = fetch(&place, &[], &server, &["/a"]);
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.results(), ["skipped"], "{run}");
    gate.open();
}

#[test]
fn what_broke_off_is_continued_whatever_its_name_will_be() {
    let server = Server::http(|seen: &Seen| {
        let reply = match seen.header("range") {
            None => Reply::ok(vec![b'x'; 100_000]).then_break().body(vec![b'y'; 100_000]),
            Some(_) => {
                Reply::status(206).header("content-range", "bytes 100000-199999/200000").body(vec![b'y'; 100_000])
            }
        };
        reply.header("etag", "\"v\"").header("content-disposition", "attachment; filename=named.bin")
    });
    let place = Place::new();
    fetch(&place, &[], &server, &["/a"]).assert_exit(1).assert_failed("partial").check_invariants(1);
    let run = fetch(&place, &[], &server, &["/a"]);
    run.assert_exit(0).check_invariants(1);
    assert_eq!(
        (place.names("out"), &run.record()["resume_from"]),
        (vec!["named.bin".to_owned()], &100_000.into()),
        "{run}"
    );
}

const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

/// A server whose first answer to each URL breaks off; with the rest it says no more than it must (RFC 9110, section
/// 15.3.7).
fn terse() -> Server {
    Server::http(|seen: &Seen| match (seen.header("range"), seen.header("if-range")) {
        (Some("bytes=100000-"), Some("\"v\"")) => Reply::status(206)
            .header("content-range", "bytes 100000-199999/200000")
            .header("etag", "\"v\"")
            .body(vec![b'y'; 100_000]),
        _ => Reply::ok(vec![b'x'; 100_000])
            .header("etag", "\"v\"")
            .header("last-modified", NOON)
            .header("content-disposition", "attachment; filename=\"../report.pdf\"")
            .then_break()
            .body(vec![b'y'; 100_000]),
    })
}

#[test]
fn what_was_continued_has_the_name_and_the_time_that_its_beginning_came_with() {
    let bad = format!("{}  report.pdf\n", "0".repeat(64));
    // What the first run is told beside, and whether it is the only one.
    for (args, at_once) in [(&["-J"][..], true), (&["-J"], false), (&[], false)] {
        let (place, server) = (Place::new(), terse());
        let fetch = |args: &[&str]| {
            let usual = ["--json", "-d", "out", "--retry-delay", "0"];
            place.fetch().args(usual).args(args).arg(server.url("/get")).run()
        };
        if !at_once {
            let left = fetch(&[args, &["--retry", "0"]].concat());
            left.assert_exit(1).assert_failed("partial").check_invariants(1);
        }
        let run = fetch(&["-J"]);
        run.assert_exit(0).check_invariants(1);
        assert_eq!(
            (place.names("out"), &run.record()["resume_from"]),
            (vec!["report.pdf".to_owned()], &100_000.into())
        );
        let modified = place.path("out/report.pdf").metadata().and_then(|file| file.modified()).expect("a time");
        assert_eq!(modified, httpdate::parse_http_date(NOON).expect("a date"), "{args:?}\n{run}");
        assert_eq!(fetch(&["-J"]).results(), ["skipped"], "{args:?}\n{run}");
        assert_eq!(place.names("out"), ["report.pdf"]);
    }
    let (place, server) = (Place::new(), terse());
    place.write("sums", bad);
    let run = fetch(&place, &["--checksum-file", "sums", "--retry", "1", "--retry-delay", "0"], &server, &["/get"]);
    run.assert_exit(1).assert_failed("checksum").check_invariants(1);
}

#[test]
fn a_number_that_a_name_got_stays_its_own_when_it_is_tried_again() {
    let server = Server::http(|seen: &Seen| {
        let named = |reply: Reply| reply.header("content-disposition", "attachment; filename=there.bin");
        named(match seen.earlier {
            0 | 1 => Reply::ok("begun").then_break().body("and broken off"),
            _ => Reply::ok("whole"),
        })
    });
    let place = Place::new();
    place.write("out/there.bin", "old");
    let args = ["--if-exists", "rename", "--retry", "2", "--retry-delay", "0.01"];
    let run = fetch(&place, &args, &server, &["/a"]);
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.record()["num_retries"], 2, "{run}");
    assert_eq!(
        (place.names("out"), place.read_text("out/there.1.bin")),
        (vec!["there.1.bin".into(), "there.bin".into()], "whole".into()),
        "{run}"
    );
}

#[test]
fn under_a_tree_the_directories_are_those_of_the_url() {
    let run = fetch(&Place::new(), &["--tree"], &named("attachment; filename=\"x/named\""), &["/dir/a"]);
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.place().names("out"), ["127.0.0.1/dir/named"], "{run}");
}
