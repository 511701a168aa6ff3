//! `--dry-run`: what would happen, and nothing that does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use crate::harness::{Fetch, Place, Reply, Server};

fn server() -> Server {
    Server::http(|_| Reply::ok("x"))
}

#[test]
fn it_tells_what_would_be_fetched_to_where_and_why_not_the_others() {
    let server = server();
    let place = Place::new();
    place.write("out/there", "already");
    place.write("failed", "an older run\n");
    place.write("results", "an older run\n");
    let before = place.tree(".");
    let lines = [
        server.url("/new"),
        server.url("/there"),
        server.url("/new"),
        server.url("/dir/new"),
        format!("{}\tsub/name", server.url("/x")),
        "nonsense".to_owned(),
        format!("{}\t../outside", server.url("/y")),
    ];
    let files = ["--failed", "failed", "--results", "results"];
    let run =
        place.fetch().args(["--json", "-d", "out", "--dry-run"]).args(files).args(&lines[..5]).args(&lines[5..6]).run();
    // An argument without :// is a file.
    run.assert_exit(2);
    let run = place.fetch().args(["--json", "-d", "out", "--dry-run"]).args(files).urls(&lines).run();
    run.assert_exit(1).assert_stderr_has("dry run: 3 would be fetched, 2 failed (2 input), 2 skipped");
    let told: Vec<_> = run
        .records()
        .iter()
        .map(|record| {
            let text = |key: &str| record[key].as_str().unwrap_or("-").to_owned();
            (text("result"), text("filename_effective"), text("errormsg"))
        })
        .collect();
    let would = "would be fetched";
    for (at, result, name, why) in [
        (0, "skipped", "out/new", would),
        (1, "skipped", "out/there", "a file of this name exists"),
        (2, "skipped", "out/new", "duplicate of an earlier line"),
        (3, "skipped", "out/new-", would),
        (4, "skipped", "out/sub/name", would),
        (5, "failed", "-", "no scheme"),
        (6, "failed", "-", ""),
    ] {
        let (told_result, told_name, told_why) = &told[at];
        assert_eq!(told_result, result, "line {at}\n{run}");
        assert!(told_name.starts_with(name) && told_why.contains(why), "line {at}\n{run}");
    }
    let mut after = place.tree(".");
    after.remove("urls.txt");
    assert_eq!(after, before, "nothing is written\n{run}");
    assert!(server.seen().is_empty(), "nothing is asked for");
}

#[test]
fn the_names_are_those_of_the_real_run() {
    let server = server();
    let lines: Vec<String> =
        ["/a.txt", "/b/a.txt", "/c/", "/d", "/d/e", "/a.txt?x"].map(|path| server.url(path)).into();
    for args in [&[][..], &["--tree"], &["-o", "{hash:2}/{hash}{ext}"], &["-o", "same"], &["--if-exists", "rename"]] {
        let place = Place::new();
        place.write("out/a.txt", "there");
        let fetch = || place.fetch().args(["--json", "-d", "out"]).args(args).urls(&lines);
        let names = |run: &crate::harness::Finished| -> Vec<_> {
            run.records().iter().map(|record| record["filename_effective"].clone()).collect()
        };
        let dry = fetch().arg("--dry-run").run();
        let real = fetch().run();
        assert_eq!(names(&dry), names(&real), "{dry}\n{real}");
    }
}

#[test]
fn an_output_directory_that_is_missing_is_not_made_and_one_that_cannot_be_is_told_of() {
    let server = server();
    let url = server.url("/a");
    for args in [&["-d", "new/out"][..], &["--discard"], &["-o", "-"], &["-o", "{hash}"]] {
        let run = Fetch::new().args(["--dry-run"]).args(args).args([&url, &url]).run();
        run.assert_exit(0).assert_stderr_has("would be fetched");
        assert!(run.place().tree(".").is_empty(), "{run}");
    }
    let run = Fetch::new().args(["--dry-run", "-o", "{hash}", &url, &url]).run();
    run.assert_stderr_has("1 would be fetched, 1 skipped");
    let place = Place::new();
    place.write("file", "no directory");
    place.fetch().args(["--dry-run", "-d", "file/below", &url]).run().assert_exit(3);
    // Nor is anything advised.
    let place = Place::new();
    place.write("a", "there");
    let run = place.fetch().args(["--dry-run", "--if-exists", "fail", &url]).run();
    run.assert_exit(1).assert_stderr_has("dry run: 0 would be fetched, 1 failed (1 local)");
    assert!(!run.stderr_text().contains("run again"), "{run}");
    Fetch::new().args(["--dry-run", "--fifo", "pipe"]).run().assert_exit(2);
    assert!(server.seen().is_empty());
}

#[test]
fn nothing_is_made_in_the_output_directory_or_above_it_not_even_for_a_moment() {
    let server = server();
    let place = Place::new();
    place.write("out/there", "already");
    // The times of directories: the smallest step of them may be longer than a run.
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let directory = |name: &str| fs::File::open(place.path(name)).expect("it is there");
    for name in ["out", ""] {
        directory(name).set_modified(old).expect("set its time");
    }
    for args in [["-d", "out"], ["-d", "new/out"], ["-d", "out/new"]] {
        place.fetch().arg("--dry-run").args(args).arg(server.url("/a")).run().assert_exit(0);
        for name in ["out", ""] {
            let modified = directory(name).metadata().and_then(|metadata| metadata.modified()).expect("a time");
            assert_eq!(modified, old, "{args:?}: {name:?}");
        }
    }
    // What cannot be written is told of all the same.
    fs::set_permissions(place.path("out"), fs::Permissions::from_mode(0o555)).expect("make it read-only");
    for dir in ["out", "out/new"] {
        let fetch = place.fetch().args(["--dry-run", "-d", dir]).arg(server.url("/a"));
        let Some(fetch) = fetch.held_to_permissions() else { return };
        fetch.run().assert_exit(3).assert_stderr_has("write to output directory");
    }
}

#[test]
fn a_person_and_a_format_are_told_the_same() {
    let server = server();
    let url = server.url("/a");
    let run = Fetch::new().args(["--dry-run", "-d", "out", &url]).run();
    run.assert_exit(0);
    assert!(run.stdout_text().starts_with("fetch ") && run.stdout_text().contains("  out/a  "), "{run}");
    let run = Fetch::new().args(["--dry-run", "-w", "%{filename_effective}\\n%output{file}x", "-d", "out", &url]).run();
    assert_eq!(run.assert_exit(0).stdout_text(), "out/a\n");
    assert!(run.place().tree(".").is_empty(), "{run}");
}

#[test]
fn a_journal_is_asked_and_not_written() {
    let server = server();
    let place = Place::new();
    let journaled = |args: &[&str]| place.fetch().args(["--json", "-d", "out", "--journal", "log"]).args(args);
    let url = |path: &str| server.url(path);
    journaled(&["--dry-run"]).urls(&[url("/a"), "nonsense".to_owned()]).run().assert_exit(1);
    assert!(!place.exists("log"), "none is made");
    journaled(&[]).urls(&[url("/a")]).run().assert_exit(0);
    let before = place.read("log");
    let run = journaled(&["--dry-run"]).urls(&[url("/a"), url("/b"), "nonsense".to_owned()]).run();
    run.assert_exit(1).assert_stderr_has("1 would be fetched, 1 failed (1 input), 1 skipped");
    assert!(run.records()[0]["errormsg"].as_str().is_some_and(|why| why.contains("journal")), "{run}");
    assert_eq!(place.read("log"), before, "{run}");
}
