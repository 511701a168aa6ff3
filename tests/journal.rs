//! The journal: what is settled is not fetched again, however the list changed and however the run before ended.

mod rewrite;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::command::Stdin;
use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server, Stream, echo};

const HEADER: &str = "fetchmany-journal 1\n";

/// A run in `place` with the journal `j`.
fn journaled(place: &Place) -> Fetch {
    place.fetch().args(["--json", "-d", "out", "--journal", "j", "--retry", "0"])
}

/// What the journal says of each job at last, in the order of those lines.
fn words(place: &Place) -> Vec<String> {
    let text = place.read_text("j");
    let lines: Vec<Vec<&str>> =
        text.strip_prefix(HEADER).expect("a journal").lines().map(|line| line.split(' ').collect()).collect();
    let is_last = |(at, line): &(usize, &Vec<&str>)| !lines[at + 1..].iter().any(|later| later[1] == line[1]);
    lines.iter().enumerate().filter(is_last).map(|(_, line)| line[0].to_owned()).collect()
}

#[track_caller]
fn reason(run: &Finished, urlnum: usize) -> String {
    run.records()[urlnum]["errormsg"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_same_command_again_skips_what_is_done_also_where_its_file_is_gone() {
    let (server, place) = (echo(), Place::new());
    let urls = ["/a", "/b", "/c"].map(|path| server.url(path));
    let run = journaled(&place).urls(&urls).run();
    run.assert_exit(0).check_invariants(3);
    assert_eq!(words(&place), ["ok", "ok", "ok"]);
    fs::remove_file(place.path("out/b")).expect("there");
    for how in ["skip", "overwrite", "rename", "fail"] {
        let again = journaled(&place).args(["--if-exists", how]).urls(&urls).run();
        again.assert_exit(0);
        assert_eq!(again.results(), ["skipped"; 3], "{again}");
        assert_eq!(reason(&again, 1), "the journal has it: done before");
        let name = again.records()[1]["filename_effective"].clone();
        assert_eq!(
            name.as_str(),
            Some("out/b").filter(|_| how != "rename"),
            "its number was found at its end\n{again}"
        );
    }
    assert_eq!(place.names("out"), ["a", "c"]);
    assert_eq!(server.paths().len(), 3);
    assert_eq!(words(&place).len(), 3, "what is skipped is not written again");
}

#[test]
fn failures_that_may_pass_are_tried_again_and_others_only_when_asked_for() {
    let well = Arc::new(AtomicBool::new(false));
    let server = Server::http({
        let well = well.clone();
        move |seen: &Seen| match seen.path.as_str() {
            _ if well.load(Ordering::Relaxed) => Reply::ok("well"),
            "/big" => Reply::ok("more than eight bytes"),
            path => Reply::status(path[1..].parse().expect("a status")),
        }
    });
    let place = Place::new();
    let mut list: Vec<String> =
        ["/404", "/410", "/big", "/429", "/408", "/503", "/500"].map(|path| server.url(path)).into();
    list.push("no URL".to_owned());
    list.push(format!("{}\t../out", server.url("/404")));
    let fetch = || journaled(&place).args(["--max-filesize", "8", "--retry-max-time", "0.1", "-j", "1"]).urls(&list);
    let first = fetch().run();
    first.assert_exit(1).check_invariants(9);
    assert_eq!(first.results(), ["failed"; 9], "{first}");
    let count = server.paths().len();

    let again = fetch().run();
    let (s, f) = ("skipped", "failed");
    assert_eq!(again.assert_exit(1).results(), [s, s, s, f, f, f, f, s, s], "{again}");
    assert_eq!(reason(&again, 0), "the journal has it: failed before, and would again (--retry-failed)");
    assert!(again.records()[0]["filename_effective"].is_null(), "there is no such file\n{again}");
    again.assert_stderr_has("5 skipped (5 failed in an earlier run)");
    again.assert_stderr_has("the same command goes on, and with --retry-failed tries again all that failed");
    assert_eq!(server.paths().len(), count + 4);

    let all = fetch().arg("--retry-failed").run();
    assert_eq!(all.assert_exit(1).results(), [f; 9], "{all}");
    well.store(true, Ordering::Relaxed);
    let all = fetch().arg("--retry-failed").run();
    assert_eq!(all.assert_exit(1).results(), ["ok", "ok", "ok", "ok", "ok", "ok", "ok", f, f], "{all}");
    let last = fetch().run();
    assert_eq!(last.assert_exit(0).results(), [s; 9], "{last}");
}

#[test]
fn lists_may_be_reordered_edited_and_longer() {
    let (server, place) = (echo(), Place::new());
    // Two of one name: which of them has it depends on the order.
    let list = ["/x/name", "/y/name", "/a", "/b"].map(|path| server.url(path));
    journaled(&place).urls(&list).run().assert_exit(0).check_invariants(4);
    let tree = place.tree("out");
    let mut other: Vec<String> = list.iter().rev().cloned().collect();
    other.insert(0, "# a comment".to_owned());
    other[1] = server.url("/c");
    other.insert(3, format!("{}\tnamed", server.url("/a")));
    let again = journaled(&place).urls(&other).run();
    assert_eq!(again.assert_exit(0).results(), ["ok", "skipped", "ok", "skipped", "skipped"], "{again}");
    let mut grown = tree.clone();
    grown.insert("c".to_owned(), b"/c".to_vec());
    grown.insert("named".to_owned(), b"/a".to_vec());
    assert_eq!(place.tree("out"), grown);
    assert_eq!(server.paths().len(), 6);
}

#[test]
fn names_that_go_by_the_line_move_with_it_and_that_is_told_at_the_start() {
    let (server, place) = (echo(), Place::new());
    let fetch = |args: &[&str], paths: &[&str]| {
        let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
        place.fetch().args(["--json", "-d", "out"]).args(args).urls(&urls).run()
    };
    let by_line = ["-o", "{line}{ext}", "--journal", "j"];
    fetch(&by_line, &["/a.x", "/b.x"]).assert_exit(0).assert_stderr_has("with {line} they have others when lines move");
    let longer = fetch(&by_line, &["/a.x", "/b.x", "/c.x"]);
    assert_eq!(longer.assert_exit(0).results(), ["skipped", "skipped", "ok"], "{longer}");
    // All have names by which the journal does not know them, and which others have.
    let moved = fetch(&by_line, &["/new.x", "/a.x", "/b.x", "/c.x"]);
    assert_eq!(moved.assert_exit(0).results(), ["ok"; 4], "{moved}");
    for args in [&["--journal", "j"][..], &["-o", "{line}{ext}"]] {
        let run = fetch(args, &["/a.x"]);
        assert!(!run.assert_exit(0).stderr_text().contains("{line}"), "{run}");
    }
}

#[test]
fn a_journal_has_no_credentials_and_is_its_owner_s_alone() {
    let (server, place) = (echo(), Place::new());
    let url = server.url("/a?token=S3CR3T").replace("http://", "http://me:S3CR3T@");
    let run = journaled(&place).under_bash("umask 0; exec \"$@\"").urls(&[url, "S3CR3T".to_owned()]).run();
    run.assert_exit(1);
    assert!(!place.read_text("j").contains("S3CR3T"));
    assert_eq!(fs::metadata(place.path("j")).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(words(&place), ["failed", "ok"]);
}

#[test]
fn results_and_failed_lines_are_continued() {
    let (server, place) = (echo(), Place::new());
    let fetch = |path: &str| {
        let files = ["--results", "r", "--failed", "f", "-d", "out", "--journal", "j", "-q"];
        place.fetch().args(files).urls(&[server.url(path), path.to_owned()]).run()
    };
    fetch("/a").assert_exit(1);
    fetch("/b").assert_exit(1);
    assert_eq!(place.read_text("f"), "/a\n/b\n");
    let results = place.read_text("r");
    let results: Vec<Value> = results.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(results.iter().filter(|record| record["result"] == "ok").count(), 2);
    assert_eq!(results.len(), 4);
}

#[test]
fn a_second_process_on_the_same_journal_is_refused() {
    let gate = Gate::new();
    let server = Server::http({
        let gate = gate.clone();
        move |_: &Seen| Reply::ok("x").held_by(&gate)
    });
    let place = Place::new();
    let first = journaled(&place).urls(&[server.url("/a")]).start();
    server.wait("the first run", |counts| counts.requests.len() == 1);
    let second = journaled(&place).urls(&[server.url("/a")]).run();
    second.assert_exit(3).assert_stderr_has("another fetchmany is using journal j");
    gate.open();
    first.finish().assert_exit(0).check_invariants(1);
    assert_eq!(server.paths().len(), 1);
}

#[test]
fn what_cannot_be_a_journal_is_refused_before_anything_is_fetched() {
    let server = echo();
    for (journal, message) in [
        ("missing/j", "open journal missing/j: No such file or directory"),
        (".", "open journal .: Is a directory"),
        ("/dev/null", "journal /dev/null is no regular file"),
        ("link", "open journal link: it is a symbolic link"),
        ("garbage", "garbage is no journal; it is left as it is"),
        ("urls.txt", "urls.txt is no journal; it is left as it is"),
    ] {
        let place = Place::new();
        place.write("garbage", "garbage\n");
        std::os::unix::fs::symlink("target", place.path("link")).expect("make a link");
        let fetch = place.fetch().args(["-d", "out", "--journal", journal, "--results", "r"]);
        let run = fetch.urls(&[server.url("/a")]).run();
        run.assert_exit(2).assert_stderr_has(message);
        assert!(!place.exists("target") && !place.exists("r"));
        assert_eq!(place.read_text("garbage"), "garbage\n");
    }
    let place = Place::new();
    for (args, message) in [
        (["--journal", "j", "--results", "j"], "results file j is also the journal"),
        (["--journal", "j", "--failed", "j"], "failed file j is also the journal"),
        (["--journal", "j", "j", "j"], "journal j is also an INPUT"),
    ] {
        place.write("j", HEADER);
        place
            .fetch()
            .args(args)
            .args(["-d", "out"])
            .urls(&[server.url("/a")])
            .run()
            .assert_exit(2)
            .assert_stderr_has(message);
        assert_eq!(place.read_text("j"), HEADER);
    }
    place
        .fetch()
        .args(["--retry-failed"])
        .urls(&[server.url("/a")])
        .run()
        .assert_exit(2)
        .assert_stderr_has("--journal");
    assert!(server.paths().is_empty());
}

#[test]
fn a_journal_that_takes_no_more_ends_the_run_and_the_next_goes_on() {
    for error in ["ENOSPC", "EIO"] {
        let (server, place) = (echo(), Place::new());
        let urls: Vec<String> = (0..20).map(|number| server.url(&format!("/{number}"))).collect();
        let fetch = || journaled(&place).args(["-j", "1"]).urls(&urls);
        // The first line is that of the file itself; then there are two for each job.
        let Some(disturbed) = fetch().inject_at("j", &format!("write:error={error}:when=7+")) else { return };
        let run = disturbed.run();
        run.assert_exit(3).check_invariants(20);
        run.assert_stderr_has("write journal j: ");
        run.assert_stderr_has("the journal cannot be written; 1 running transfers are cancelled");
        assert!(server.paths().len() <= 4, "{:?}", server.paths());
        let ok = run.results().iter().filter(|result| *result == "ok").count();
        assert!(run.results().iter().all(|result| result == "ok" || result == "cancelled"), "{run}");
        // What was put in place when it could not be said any more was announced.
        assert_eq!((ok, &*words(&place).join(" ")), (3, "ok ok put"), "{run}");
        let again = fetch().run();
        again.assert_exit(0);
        assert_eq!(again.results().iter().filter(|result| *result == "ok").count(), 17, "{again}");
        assert_eq!(reason(&again, 2), "the journal has it: done before", "{again}");
        assert_eq!(place.names("out").len(), 20);
    }
    // Not even its first line fits.
    for fault in ["openat:error=ENOSPC", "write:error=ENOSPC", "fdatasync:error=EIO", "openat:error=EROFS"] {
        let (server, place) = (echo(), Place::new());
        // By its whole path, or strace does not know it again.
        let fetch = place.fetch().args(["-d", "out", "--journal"]).arg(place.path("j")).urls(&[server.url("/a")]);
        let Some(fetch) = fetch.inject_at("j", fault) else { return };
        fetch.run().assert_exit(3).assert_stderr_has("open journal ");
        assert!(server.paths().is_empty());
    }
}

#[test]
fn a_body_is_published_before_the_journal_has_it_and_told_after() {
    for (how, named) in [("skip", "linkat("), ("overwrite", "renameat(")] {
        let (server, place) = (echo(), Place::new());
        let fetch = journaled(&place).args(["--if-exists", how]).urls(&[server.url("/a")]);
        let Some(fetch) = fetch.strace(["-e", "trace=linkat,renameat,renameat2,write"]) else { return };
        fetch.run().assert_exit(0);
        let trace = place.trace();
        let at = |what: &str| {
            trace.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {trace:#?}"))
        };
        let order = [at("\"put "), at(named), at("\"ok "), at("\"{\\\"urlnum")];
        assert!(order.is_sorted(), "{order:?} {trace:#?}");
        assert!(!trace.iter().any(|line| line.contains("sync")));
    }
}

#[test]
fn a_torn_end_costs_the_lines_it_had_and_no_other() {
    let (server, place) = (echo(), Place::new());
    let urls: Vec<String> = (0..4).map(|number| server.url(&format!("/{number}"))).collect();
    let fetch = || journaled(&place).args(["-j", "1"]).urls(&urls);
    fetch().run().assert_exit(0);
    // Without what is said beforehand.
    let lines = place.read_text("j");
    let lines: Vec<&str> = lines.lines().filter(|line| !line.starts_with("put ")).collect();
    let whole = (lines.join("\n") + "\n").into_bytes();
    for (damage, done) in [
        (whole[..whole.len() - 1].to_vec(), 3),
        (whole[..whole.len() - 40].to_vec(), 2),
        (whole[..whole.len() - 72].to_vec(), 2),
        (whole[..5].to_vec(), 0),
        ([&whole[..whole.len() - 30], &[0; 4000]].concat(), 3),
        ([&whole[..], &[0; 4000]].concat(), 4),
        ([&whole[..], &whole[whole.len() - 50..]].concat(), 4),
        ([&whole[..], b"\xff\xfe garbage \0\n"].concat(), 4),
    ] {
        place.write("j", &damage);
        let again = fetch().args(["--if-exists", "overwrite"]).run();
        again.assert_exit(0);
        assert_eq!(again.results().iter().filter(|result| *result == "skipped").count(), done, "{damage:?}\n{again}");
        let last = fetch().run();
        assert_eq!(last.assert_exit(0).results(), ["skipped"; 4], "{last}");
    }
    assert!(fetch().run().stderr_text().contains("journal j: 1 damaged lines are ignored"));
}

#[test]
fn a_line_that_a_kill_has_cut_off_never_becomes_another_url_nor_a_broken_record() {
    let (server, place) = (echo(), Place::new());
    let url = server.url("/404");
    place.write("failed", format!("{url}\nhttp://127.0.0.1/abc"));
    place.write("r", "{\"url\":\"http://127.0.0.1/abcdef\",\"resu");
    let args = ["--journal", "j", "--results", "r", "--failed", "failed", "-d", "out", "--retry", "0"];
    let run = place.fetch().args(args).urls(&["http://127.0.0.1:1/refused", &url]).run();
    run.assert_exit(1);
    let failed = place.read_text("failed");
    assert!(failed.starts_with(&format!("{url}\n# cut off: http://127.0.0.1/abc\nhttp://")), "{failed}");
    let records = place.read_text("r");
    assert!(records.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{records}");
    assert_eq!(records.lines().count(), 2, "{records}");
}

#[test]
fn journals_hold_without_files_and_for_a_daemon() {
    let (server, place) = (echo(), Place::new());
    for (number, args) in [&["--discard"][..], &["-o", "-"], &["--tree"], &["-o", "{hash}{ext}"]].iter().enumerate() {
        let fetch =
            || place.fetch().args(["--journal", "j", "--results", "r"]).args(*args).urls(&[server.url("/a.txt")]);
        fetch().run().assert_exit(0);
        let again = fetch().run();
        again.assert_exit(0);
        // Without files there is no name; each template has its own.
        assert_eq!(server.count("/a.txt"), [1, 1, 2, 3][number], "{args:?}\n{again}");
    }
    let daemon = journaled(&place).args(["--fifo", "fifo"]).stdin(Stdin::Null).start();
    crate::harness::until("the pipe", || place.exists("fifo"));
    let write = |line: String| fs::write(place.path("fifo"), line).expect("write to the pipe");
    write(format!("{}\n", server.url("/d")));
    daemon.wait_for_lines(Stream::Out, 1);
    fs::remove_file(place.path("out/d")).expect("there");
    write(format!("{}\n", server.url("/d")));
    daemon.wait_for_lines(Stream::Out, 2);
    daemon.send_signal(rustix::process::Signal::TERM);
    let run = daemon.finish();
    assert_eq!(run.assert_exit(0).results(), ["ok", "skipped"], "{run}");
}

#[test]
fn of_several_lines_alike_one_is_done_and_a_failure_is_not_mistaken_for_it() {
    let place = Place::new();
    let server = Server::http(|seen: &Seen| if seen.earlier == 0 { Reply::status(500) } else { Reply::ok("x") });
    let urls = [server.url("/a"), server.url("/a")];
    let run = journaled(&place).urls(&urls).run();
    assert_eq!(run.assert_exit(1).results(), ["failed", "skipped"], "{run}");
    let run = journaled(&place).urls(&urls).run();
    assert_eq!(run.assert_exit(0).results(), ["ok", "skipped"], "{run}");
}

#[test]
fn two_users_at_one_url_are_two_jobs() {
    let (server, place) =
        (Server::http(|seen: &Seen| Reply::ok(format!("{:?}", seen.header("authorization")))), Place::new());
    let urls = ["alice:S3CR3T-1@", "bob:S3CR3T-2@"].map(|user| server.url("/me").replace("//", &format!("//{user}")));
    for result in ["ok", "skipped"] {
        let run = journaled(&place).urls(&urls).run();
        run.assert_exit(0).check_invariants(2);
        assert_eq!(run.results(), [result; 2], "{run}");
    }
    assert_eq!(place.names("out").len(), 2);
    // Another password is the same user's.
    let changed = urls.map(|url| url.replace("S3CR3T", "S3CR3T-NEW"));
    assert_eq!(journaled(&place).urls(&changed).run().results(), ["skipped"; 2]);
}

#[test]
fn lines_that_are_dropped_are_no_duplicates_of_each_other() {
    let (server, place) = (echo(), Place::new());
    let urls = [server.url("/a"), server.url("/a")];
    for (result, requests) in [("ok", 2), ("skipped", 2)] {
        let fetch = place.fetch().args(["--json", "--discard", "-j", "1", "--journal", "j"]).urls(&urls);
        let run = fetch.run();
        run.assert_exit(0);
        assert_eq!(run.results(), [result; 2], "{run}");
        assert_eq!(server.paths().len(), requests, "{run}");
    }
}

#[test]
fn a_dry_run_neither_makes_a_journal_nor_waits_for_one_nor_mends_it() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| Reply::ok(seen.path.clone()).held_by(&held));
    let place = Place::new();
    let url = server.url("/a");
    let dry = || journaled(&place).args(["--dry-run"]).arg(&url).run();
    dry().assert_exit(0);
    assert!(!place.exists("j"));
    let running = journaled(&place).arg(&url).start();
    server.wait("the request", |counts| counts.running == 1);
    dry().assert_exit(0);
    gate.open();
    running.finish().assert_exit(0);
    let torn = format!("{}ok 0123", place.read_text("j"));
    place.write("j", &torn);
    dry().assert_exit(0);
    assert_eq!(place.read_text("j"), torn);
}

#[test]
fn a_body_whose_last_bytes_could_not_be_written_is_neither_announced_nor_put_anywhere() {
    let server = Server::http(|_: &Seen| Reply::ok(vec![b'x'; 4 << 20]));
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        eprintln!("skipped: on one core nobody writes beside the loop");
        return;
    }
    let place = Place::new();
    // As it fails only after a while, all the rest has arrived by then.
    let fetch = journaled(&place).urls(&[server.url("/a")]).inject("pwrite64:error=EIO:delay_enter=300000:when=1");
    let Some(fetch) = fetch else { return };
    let run = fetch.run();
    run.assert_exit(1).assert_failed("local").check_invariants(1);
    assert_eq!(words(&place), ["open"], "{run}");
    assert!(!place.exists("out/a") && !place.read_text("j").contains("put "), "{run}");
}
