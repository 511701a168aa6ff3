//! What lies in the output directory and is not ours is neither continued, nor published, nor overwritten; what is ours is
//! known again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use rustix::process::Signal;

use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server, Stream, until};

const TAG: &str = "\"v1\"";
const LENGTH: usize = 2 << 20;
const HALF: usize = 1 << 20;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 251) as u8).collect()
}

/// Sends the second half of `/a` after `gate`, or at once what is asked for; other paths are small.
fn halting(gate: &Gate) -> Server {
    let gate = gate.clone();
    Server::http(move |seen: &Seen| {
        let from = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let reply = match (seen.path.as_str(), from) {
            ("/a", Some(from)) => {
                let from: usize = from;
                let range = format!("bytes {from}-{}/{LENGTH}", LENGTH - 1);
                Reply::status(206).header("content-range", range).body(&content()[from..])
            }
            ("/a", None) => Reply::ok(&content()[..HALF]).then_wait(&gate).body(&content()[HALF..]),
            (path, _) => Reply::ok(path.to_owned()),
        };
        reply.header("etag", TAG)
    })
}

fn fetch(place: &Place, server: &Server, paths: &[&str]) -> Fetch {
    let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    place.fetch().args(["--json", "-d", "out", "--retry", "0"]).urls(&urls)
}

/// A run of `/a` that was killed in the middle of it.
fn killed(place: &Place, server: &Server) {
    let running = fetch(place, server, &["/a"]).start();
    until("half of it on disk", || place.tree("out").get("a.part").is_some_and(|part| part.len() == HALF));
    running.kill();
}

/// `/a` failed, saying that `a.part` is in the way and `why`; the other URL did not.
#[track_caller]
fn check_refused(run: &Finished, why: &str) {
    run.assert_exit(1).check_invariants(2);
    assert_eq!(run.results(), ["failed", "ok"], "{run}");
    let record = &run.records()[0];
    assert_eq!(record["error_class"], "local", "{run}");
    let message = record["errormsg"].as_str().unwrap_or_default();
    assert!(message.starts_with("a.part is there and ") && message.contains(why), "{message}");
    assert!(!run.place().exists("out/a"), "{run}");
}

#[test]
fn a_file_of_the_users_at_the_name_of_a_partial_file_is_left_alone_and_named() {
    let gate = Gate::new();
    gate.open();
    for args in [&[][..], &["--no-resume"], &["--if-exists", "overwrite"]] {
        let (place, server) = (Place::new(), halting(&gate));
        place.write("out/a.part", "my own notes");
        let run = fetch(&place, &server, &["/a", "/b"]).args(args).run();
        check_refused(&run, "not known to be ours, without a.part.meta: move or remove it");
        assert_eq!(place.read("out/a.part"), b"my own notes", "{run}");
        // Done as it was told.
        fs::remove_file(place.path("out/a.part")).expect("it is there");
        fetch(&place, &server, &["/a", "/b"]).args(args).run().assert_exit(0);
        assert!(place.read("out/a") == content());
        assert_eq!(place.names("out"), ["a", "b"]);
    }
}

#[test]
fn an_empty_file_that_a_kill_left_before_it_was_described_is_in_nobodys_way() {
    let gate = Gate::new();
    gate.open();
    let (place, server) = (Place::new(), halting(&gate));
    place.write("out/a.part", "");
    fetch(&place, &server, &["/a"]).run().assert_exit(0);
    assert_eq!(place.names("out"), ["a"]);
}

#[test]
fn what_took_the_place_of_a_partial_file_is_never_continued() {
    for is_killed in [false, true] {
        let gate = Gate::new();
        let (place, server) = (Place::new(), halting(&gate));
        let running = fetch(&place, &server, &["/a"]).start();
        until("half of it on disk", || place.tree("out").get("a.part").is_some_and(|part| part.len() == HALF));
        fs::remove_file(place.path("out/a.part")).expect("it is there");
        place.write("out/a.part", "canary");
        if is_killed {
            running.kill();
            gate.open();
        } else {
            gate.open();
            let run = running.finish();
            run.assert_exit(1).assert_failed("local");
            assert_eq!(place.names("out"), ["a.part"], "nothing says that it is ours\n{run}");
        }
        let run = fetch(&place, &server, &["/a", "/b"]).run();
        if is_killed {
            // With the description there it is taken for the remains of a copy.
            run.assert_exit(0);
            assert!(place.read("out/a") == content(), "{run}");
        } else {
            check_refused(&run, "not known to be ours");
            assert_eq!(place.read("out/a.part"), b"canary", "{run}");
        }
        assert!(server.seen().iter().all(|seen| seen.header("range").is_none()), "{run}");
    }
}

#[test]
fn a_partial_file_is_continued_where_it_lies_and_fetched_anew_where_it_was_copied() {
    for is_copied in [false, true] {
        let gate = Gate::new();
        let (place, server) = (Place::new(), halting(&gate));
        killed(&place, &server);
        gate.open();
        if is_copied {
            fs::rename(place.path("out"), place.path("before")).expect("move it");
            let mut copy = std::process::Command::new("cp");
            assert!(copy.args(["-a", "before", "out"]).current_dir(place.work()).status().expect("cp").success());
        } else {
            fs::rename(place.path("out"), place.path("moved")).expect("move it");
            fs::rename(place.path("moved"), place.path("out")).expect("and back");
        }
        let run = fetch(&place, &server, &["/a"]).run();
        run.assert_exit(0).check_invariants(1);
        assert!(place.read("out/a") == content(), "{run}");
        let from = (!is_copied).then_some(HALF as u64);
        assert_eq!(run.record()["resume_from"].as_u64(), from, "{run}");
        assert_eq!(place.names("out"), ["a"], "{run}");
    }
}

#[test]
fn what_others_own_is_never_continued_and_what_they_may_have_written_is_fetched_anew() {
    let open = |place: &Place, name: &str, mode: u32| {
        fs::set_permissions(place.path(name), PermissionsExt::from_mode(mode)).expect("change its mode");
    };
    type Plant<'a> = &'a dyn Fn(&Place);
    let is_root = rustix::process::geteuid().is_root();
    let give = |place: &Place, name: &str| chown(place.path(name), Some(4711), None).expect("give it away");
    let cases: [(&str, Plant<'_>, Option<&str>); 8] = [
        ("another's", &|place| give(place, "out/a.part"), Some("belongs to another user")),
        (
            "described by another",
            &|place| give(place, "out/a.part.meta"),
            Some("ours: a.part.meta belongs to another user"),
        ),
        (
            "described by whom it may concern",
            &|place| open(place, "out/a.part.meta", 0o660),
            Some("ours: a.part.meta can be written by others"),
        ),
        (
            "beside a directory",
            &|place| {
                fs::remove_file(place.path("out/a.part.meta")).expect("it is there");
                fs::create_dir(place.path("out/a.part.meta")).expect("make it");
            },
            Some("ours: a.part.meta is no regular file"),
        ),
        (
            "described under two names",
            &|place| {
                fs::hard_link(place.path("out/a.part.meta"), place.path("other")).expect("link it");
            },
            None,
        ),
        (
            "in a directory that was copied by links",
            &|place| {
                let mut copy = std::process::Command::new("cp");
                assert!(copy.args(["-al", "out", "copy"]).current_dir(place.work()).status().expect("cp").success());
            },
            None,
        ),
        ("open to others", &|place| open(place, "out/a.part", 0o666), None),
        (
            "under two names",
            &|place| {
                fs::hard_link(place.path("out/a.part"), place.path("other")).expect("link it");
            },
            None,
        ),
    ];
    for (what, plant, why) in cases {
        if what.contains("another") && !is_root {
            println!("skipped: only root can give files away");
            continue;
        }
        let gate = Gate::new();
        let (place, server) = (Place::new(), halting(&gate));
        killed(&place, &server);
        gate.open();
        plant(&place);
        let before = place.read("out/a.part");
        let run = fetch(&place, &server, &["/a", "/b"]).run();
        match why {
            Some(why) => {
                check_refused(&run, why);
                assert!(place.read("out/a.part") == before, "{what}\n{run}");
            }
            None => {
                run.assert_exit(0).check_invariants(2);
                assert!(place.read("out/a") == content(), "{what}\n{run}");
                assert_eq!(place.names("out"), ["a", "b"], "{what}\n{run}");
                let copied = place.exists("copy").then(|| place.read("copy/a.part"));
                assert!(copied.is_none_or(|copied| copied == before), "{what}\n{run}");
            }
        }
        assert!(server.seen().iter().all(|seen| seen.header("range").is_none()), "{what}\n{run}");
    }
}

#[test]
fn under_an_open_umask_a_partial_file_is_continued_all_the_same() {
    let gate = Gate::new();
    let (place, server) = (Place::new(), halting(&gate));
    let fetch = || fetch(&place, &server, &["/a"]).under_bash(r#"umask 000; exec "$@""#);
    let running = fetch().start();
    until("half of it on disk", || place.tree("out").get("a.part").is_some_and(|part| part.len() == HALF));
    running.kill();
    gate.open();
    let run = fetch().run();
    assert_eq!(run.assert_exit(0).record()["resume_from"], HALF, "{run}");
}

#[test]
fn what_a_kill_left_beside_a_published_file_is_taken_away_without_a_journal_too() {
    let gate = Gate::new();
    gate.open();
    let cases: [(&[&str], bool); 6] = [
        (&[], false),
        (&["--tree"], false),
        (&["-J"], false),
        (&["--if-exists", "update"], true),
        (&["--if-exists", "overwrite", "--sync"], true),
        (&["--if-exists", "rename"], true),
    ];
    for (args, is_there) in cases {
        let (place, server) = (Place::new(), halting(&gate));
        if is_there {
            place.write("out/a", "before");
        }
        let fetch = || fetch(&place, &server, &["/a"]).args(args);
        // The first takes away what the directory was tried with.
        let Some(disturbed) = fetch().inject("unlinkat:signal=KILL:when=2") else { return };
        let run = disturbed.run();
        assert!(place.names("out").iter().any(|name| name.ends_with(".part.meta")), "{args:?}\n{run}");
        let run = fetch().run();
        run.assert_exit(0);
        assert!(
            place.names("out").iter().all(|name| !name.contains(".part")),
            "{args:?} {:?}\n{run}",
            place.names("out")
        );
    }
}

#[test]
fn a_link_or_a_fifo_that_was_replaced_is_taken_away_after_a_kill() {
    let gate = Gate::new();
    gate.open();
    for is_link in [true, false] {
        let (place, server) = (Place::new(), halting(&gate));
        place.write("out/before", "");
        let name = place.path("out/a");
        if is_link {
            std::os::unix::fs::symlink("nowhere", name).expect("make a link");
        } else {
            let made = std::process::Command::new("mkfifo").arg(name).status();
            assert!(made.expect("mkfifo").success());
        }
        let fetch = || fetch(&place, &server, &["/a"]).args(["--if-exists", "overwrite", "--sync"]);
        let Some(disturbed) = fetch().inject("fsync:signal=KILL:when=1") else { return };
        let run = disturbed.run();
        assert_eq!(place.names("out"), ["a", "a.part", "a.part.meta", "before"], "{run}");
        let run = fetch().run();
        run.assert_exit(0);
        assert!(place.read("out/a") == content(), "{run}");
        assert_eq!(place.names("out"), ["a", "before"], "{run}");
    }
}

#[test]
fn a_process_that_comes_late_does_not_take_the_description_of_anothers_partial_file_away() {
    // It stops when it has found nothing, and when it has published.
    for call in ["openat", "/rename"] {
        let (open, closed) = (Gate::new(), Gate::new());
        open.open();
        let (place, server, halted) = (Place::new(), halting(&open), halting(&closed));
        // There may be partial files.
        place.write("out/b.part", "");
        let args = ["--if-exists", "overwrite"];
        let options =
            ["-P", "a.part", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:signal=STOP:when=1")];
        let Some(late) = fetch(&place, &server, &["/a"]).args(args).strace(options) else { return };
        let late = late.start();
        until("it stops", || place.trace().iter().any(|line| line.contains("a.part")));
        let running = fetch(&place, &halted, &["/a"]).args(args).start();
        until("half of it on disk", || place.tree("out").get("a.part").is_some_and(|part| part.len() == HALF));
        running.kill();
        late.send_signal(Signal::CONT);
        late.finish().assert_exit(0);
        let run = fetch(&place, &server, &["/a"]).args(args).run();
        run.assert_exit(0);
        assert!(place.read("out/a") == content(), "{run}");
        assert_eq!(place.names("out"), ["a", "b.part"], "{run}");
    }
}

#[test]
fn no_download_takes_the_place_of_a_file_of_the_run_itself() {
    // By its name in the URL and by that which the server gives.
    let server = Server::http(|seen: &Seen| {
        let last = seen.path.rsplit('/').next().unwrap_or_default();
        let reply = Reply::ok(vec![b'!'; 5000]);
        match seen.path.strip_prefix("/given/") {
            Some(_) => reply.header("content-disposition", format!("attachment; filename={last}")),
            None => reply,
        }
    });
    let options = [
        ("--journal", "j", "the journal"),
        ("--results", "r", "the results file"),
        ("--failed", "f", "the failed file"),
        ("--cookie-jar", "jar", "the cookie jar"),
        ("--checksum-file", "sums", "the checksum file"),
        ("--netrc-file", "netrc", "the netrc file"),
        ("--config", "conf", "the config file"),
        ("-w", "%output{w}%{url}\\n", "a write-out file"),
        ("", "urls.txt", "an INPUT"),
    ];
    for (prefix, extra) in [("/", &[][..]), ("/given/u/", &["-J"])] {
        let place = Place::new();
        place.write("sums", format!("{}  other\n", "0".repeat(64)));
        let netrc = place.write("netrc", "machine h login a password b\n");
        fs::set_permissions(netrc, PermissionsExt::from_mode(0o600)).expect("make it private");
        place.write("conf", "--retry 0\n");
        let mut fetch = place.fetch().args(["-d", ".", "--if-exists", "overwrite"]).args(extra);
        let mut urls = vec![server.url("/good")];
        for (option, value, _) in options.iter().filter(|(option, ..)| !option.is_empty()) {
            fetch = fetch.args([*option, *value]);
        }
        let name =
            |value: &str| value.strip_prefix("%output{").and_then(|rest| rest.split('}').next().map(str::to_owned));
        for (_, value, _) in options {
            urls.push(server.url(&format!("{prefix}{}", name(value).unwrap_or_else(|| value.to_owned()))));
        }
        let run = fetch.urls(&urls).run();
        run.assert_exit(1);
        let records: Vec<serde_json::Value> =
            place.read_text("r").lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
        assert_eq!(records.len(), urls.len(), "{run}");
        for ((_, _, what), url) in options.iter().zip(&urls[1..]) {
            let record = records.iter().find(|record| record["url"] == **url).expect("a record");
            let why = record["errormsg"].as_str().unwrap_or_default();
            assert_eq!(record["error_class"], "local", "{url}: {record}");
            assert!(why.ends_with(&format!(" is {what} of this run")), "{url}: {why}");
        }
        assert_eq!(place.read("good").len(), 5000, "{run}");
        assert_eq!(place.read_text("conf"), "--retry 0\n", "{run}");
        assert!(place.read_text("jar").starts_with("# Netscape"), "{run}");
        assert!(place.read_text("j").starts_with("fetchmany-journal"), "{run}");
    }
}

#[test]
fn a_file_of_the_run_is_known_by_what_it_is_too_and_otherwise_kept_as_any_other() {
    let server = Server::http(|_| Reply::ok("new"));
    for (policy, result, names) in
        [("overwrite", "failed", &["j"][..]), ("skip", "skipped", &["j"]), ("rename", "ok", &["j", "j.1"])]
    {
        let place = Place::new();
        fs::create_dir(place.path("real")).expect("make a directory");
        std::os::unix::fs::symlink("real", place.path("out")).expect("link it");
        let args = ["--json", "-d", "out", "--journal", "real/j", "--if-exists", policy];
        let run = place.fetch().args(args).arg(server.url("/j")).run();
        assert_eq!(run.results(), [result], "{run}");
        assert_eq!(place.names("real"), names, "{run}");
        assert!(place.read_text("real/j").starts_with("fetchmany-journal"), "{run}");
    }
}

#[test]
fn a_description_that_another_process_is_about_to_take_away_costs_an_attempt() {
    let (place, gate) = (Place::new(), Gate::new());
    let server = halting(&gate);
    killed(&place, &server);
    gate.open();
    fs::remove_file(place.path("out/a.part")).expect("remove it");
    let held = fs::File::open(place.path("out/a.part.meta")).expect("open it");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("lock it");
    let running = fetch(&place, &server, &["/a"]).args(["-v", "--retry", "1"]).start();
    running.wait_for_line(Stream::Err, "local: create a.part.meta");
    drop(held);
    let run = running.finish();
    run.assert_exit(0).check_invariants(1);
    assert!(place.read("out/a") == content() && place.names("out") == ["a"], "{run}");
}
