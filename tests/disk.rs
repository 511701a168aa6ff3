//! A disk that refuses: each step of writing and publishing a file fails in turn. What is told is what is there, and
//! the same command again makes the tree whole.

use serde_json::Value;

use crate::harness::strace::each_in_turn;
use crate::harness::wait::until;
use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server};

/// libcurl hands over 16 KiB at a time: a file of this is written in several pieces.
const LONG: usize = 60_000;

/// The body of a name. Short ones get a known length: such a file has no name until it is whole. Long ones get none.
fn body(name: &str) -> Vec<u8> {
    let length = if name.contains("long") { LONG } else { 1000 };
    name.bytes().cycle().take(length).collect()
}

fn server() -> Server {
    Server::http(|seen: &Seen| {
        let name = &seen.path[1..];
        let reply = Reply::ok(body(name)).header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT");
        if name.contains("long") { reply.chunked() } else { reply }
    })
}

const NAMES: [&str; 4] = ["short-1", "long-1", "short-2", "long-2"];

/// The four in `place`, so many at once.
fn fetch_at_once(jobs: &str, place: &Place, server: &Server) -> Fetch {
    place.fetch().args(["--json", "-d", "out", "-j", jobs]).urls(&NAMES.map(|name| server.url(&format!("/{name}"))))
}

/// The four in `place`, one after another.
fn fetch(place: &Place, server: &Server) -> Fetch {
    fetch_at_once("1", place, server)
}

/// Names of the records with this result.
pub fn names_with(run: &Finished, result: &str) -> Vec<String> {
    let of_result = |record: &Value| record["result"] == result;
    let name =
        |record: &Value| record["url"].as_str().and_then(|url| url.rsplit('/').next()).expect("a name").to_owned();
    run.records().iter().filter(|record| of_result(record)).map(name).collect()
}

/// What is left of a file that is not whole.
fn is_partial(name: &str) -> bool {
    name.ends_with(".part") || name.ends_with(".part.meta")
}

/// One record for each; every file that is there is whole, and there because its record says so. Then the same
/// command, undisturbed, makes the tree whole.
#[track_caller]
fn check(run: &Finished, server: &Server) {
    run.check_invariants(NAMES.len());
    for record in run.records().iter().filter(|record| record["result"] != "ok") {
        assert_eq!((&record["result"], &record["error_class"]), (&"failed".into(), &"local".into()), "{record}\n{run}");
    }
    let ok = names_with(run, "ok");
    for (name, content) in run.place().tree("out") {
        assert!(is_partial(&name) || content == body(&name), "{name} is not whole\n{run}");
        assert!(is_partial(&name) || ok.contains(&name), "{name} is there\n{run}");
    }
    let again = fetch(run.place(), server).run();
    again.assert_exit(0).check_invariants(NAMES.len());
    assert_eq!(run.place().names("out").len(), NAMES.len(), "{:?}\n{again}", run.place().names("out"));
    assert!(NAMES.iter().all(|name| run.place().read(&format!("out/{name}")) == body(name)), "{again}");
}

#[test]
fn a_write_that_fails_costs_the_one_file() {
    for (error, exit) in [("EIO", 1), ("ENOSPC", 3), ("EDQUOT", 3), ("EFBIG", 1)] {
        let server = server();
        // A file that has its name while it is written: that tells its writes from others.
        let fetch = |fault: &str| fetch(&Place::new(), &server).inject_at("out/long-1.part", fault).map(Fetch::run);
        each_in_turn(&format!("write:error={error}"), 1, fetch, |number, run| {
            run.assert_exit(exit).assert_stderr_has("1 failed");
            assert_eq!(names_with(run, "failed"), ["long-1"], "{error}\n{run}");
            assert_eq!(run.place().names("out").len(), 3, "{error} at write {number}\n{run}");
            check(run, &server);
        });
    }
}

#[test]
fn a_write_to_a_file_without_a_name_that_fails_costs_the_one_file() {
    for (error, exit) in [("EIO", 1), ("ENOSPC", 3)] {
        let server = server();
        let place = Place::new();
        let urls: Vec<String> = (0..4).map(|number| server.url(&format!("/short-{number}"))).collect();
        let fetch = place.fetch().args(["--json", "-d", "out", "-j", "1"]).urls(&urls);
        // One after another: a file, its record, and so on.
        let Some(fetch) = fetch.inject(&format!("write:error={error}:when=3")) else { return };
        let run = fetch.run();
        run.assert_exit(exit).check_invariants(4);
        assert_eq!(run.results(), ["ok", "failed", "ok", "ok"], "{run}");
        assert_eq!(run.records()[1]["error_class"], "local", "{run}");
        assert_eq!(place.names("out"), ["short-0", "short-2", "short-3"], "{run}");
        assert_eq!(server.count("/short-1"), 1, "not tried again as if the network had failed\n{run}");
    }
}

#[test]
fn a_file_that_cannot_be_linked_or_renamed_in_the_best_way_is_published_in_another() {
    let server = server();
    for faults in [
        &["linkat:error=EACCES"][..],
        &["linkat:error=EXDEV"],
        &["linkat:error=EOPNOTSUPP"],
        &["linkat:error=EPERM"],
        &["linkat:error=ENOENT"],
        &["linkat:error=EINVAL"],
        &["linkat:error=EMLINK"],
        &["linkat:error=ENOENT:when=1"],
        &["renameat2:error=EINVAL"],
        &["renameat2:error=ENOSYS"],
        &["renameat2:error=EOPNOTSUPP"],
        &["linkat:error=EPERM", "renameat2:error=EINVAL"],
        &["flock:error=ENOLCK"],
        &["utimensat:error=EPERM"],
    ] {
        let place = Place::new();
        let options = faults.iter().flat_map(|fault| ["-e".to_owned(), format!("inject={fault}")]);
        let Some(fetch) = fetch(&place, &server).strace(options) else { return };
        let run = fetch.run();
        run.assert_exit(0);
        assert!(!place.injected().is_empty(), "{faults:?}\n{run}");
        assert_eq!(place.names("out").len(), NAMES.len(), "{faults:?}: {:?}\n{run}", place.names("out"));
        check(&run, &server);
    }
}

#[test]
fn a_file_that_cannot_be_published_at_all_is_a_failure_and_not_there() {
    let server = server();
    for (fault, lost) in [
        ("linkat:error=EIO", &["short-1", "short-2"][..]),
        ("linkat:error=EIO:when=1", &["short-1"]),
        ("renameat2:error=EACCES", &["long-1", "long-2"]),
        ("renameat2:error=EXDEV:when=1", &["long-1"]),
        ("renameat2:error=EIO", &["long-1", "long-2"]),
        ("linkat,renameat2:error=EACCES", &NAMES),
    ] {
        let place = Place::new();
        let Some(fetch) = fetch(&place, &server).inject(fault) else { return };
        let run = fetch.run();
        run.assert_exit(1);
        let mut failed = names_with(&run, "failed");
        failed.sort();
        let mut expected = lost.to_vec();
        expected.sort();
        assert_eq!(failed, expected, "{fault}\n{run}");
        check(&run, &server);
    }
}

#[test]
fn a_partial_file_whose_name_cannot_be_looked_at_is_there_for_the_next_run() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 2 << 20]).header("etag", "\"v\""));
    for first in 1..50 {
        let place = Place::new();
        let fetch = || place.fetch().args(["--json", "-d", "out", "--retry", "0"]).arg(server.url("/large"));
        let fault = format!("inject=newfstatat:error=EIO:when={first}+");
        let Some(run) = fetch().strace(["-P", "large.part", "-e", "trace=newfstatat", "-e", &fault]) else { return };
        let run = run.run();
        if place.injected().is_empty() {
            run.assert_exit(0);
            assert!(first > 2, "its name is never looked at\n{run}");
            return;
        }
        if run.code() == Some(1) {
            run.assert_failed("local");
            assert!(!place.exists("out/large"), "{first}\n{run}");
        }
        let run = fetch().run();
        run.assert_exit(0);
        assert_eq!(place.names("out"), ["large"], "{first}\n{run}");
    }
    panic!("there is no end of such calls");
}

#[test]
fn a_directory_or_file_that_cannot_be_made_costs_its_files_alone() {
    let server = server();
    for (fault, exit, lost) in [
        ("mkdirat:error=ENOSPC:when=1", 3, 1),
        ("mkdirat:error=EACCES", 1, 4),
        ("openat:error=EACCES:when=4", 1, 1),
        ("openat:error=ENOSPC:when=4", 3, 1),
        ("openat:error=EOPNOTSUPP:when=4", 0, 0),
    ] {
        let place = Place::new();
        let args: &[&str] = if fault.starts_with("mkdir") { &["--tree"] } else { &[] };
        // The first three are for a look at the directory.
        let fetch = fetch(&place, &server).args(args);
        let Some(fetch) = fetch.inject_at("out", fault) else { return };
        let run = fetch.run();
        run.assert_exit(exit).check_invariants(NAMES.len());
        assert_eq!(names_with(&run, "failed").len(), lost, "{fault}\n{run}");
        assert!(!place.injected().is_empty(), "{fault}\n{run}");
    }
}

#[test]
fn a_file_that_cannot_be_closed_was_published_before() {
    let server = server();
    for name in ["out/long-1.part", "out/long-1.part.meta", "out"] {
        let place = Place::new();
        let Some(fetch) = fetch(&place, &server).inject_at(name, "close:error=EIO") else { return };
        let run = fetch.run();
        run.assert_exit(0);
        check(&run, &server);
    }
}

#[test]
fn slow_writes_do_not_make_other_transfers_stall() {
    let server = server();
    let place = Place::new();
    let fetch = fetch_at_once("4", &place, &server).args(["--retry", "0", "--stall-timeout", "1"]);
    // Every one takes 200 ms.
    let Some(fetch) = fetch.inject("write:delay_exit=200000") else { return };
    let run = fetch.run();
    run.assert_exit(0);
    check(&run, &server);
}

#[test]
fn an_output_directory_that_is_removed_while_it_is_used_fails_its_files() {
    for length in [1000, 2 << 20] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |_| Reply::ok(vec![b'x'; length]).held_by(&held));
        let running = Fetch::recorded().arg(server.url("/a")).start();
        server.wait("the request", |counts| counts.running == 1);
        std::fs::remove_dir(running.place().path("out")).expect("it is empty");
        gate.open();
        let run = running.finish();
        run.assert_exit(1).assert_failed("local").check_invariants(1);
    }
}

#[test]
fn nothing_is_written_where_a_directory_below_the_output_directory_was_moved() {
    const LENGTH: usize = 2 << 20;
    // The one has a name while it is written, the other none.
    for (length, result) in [(LENGTH, "failed"), (1000, "ok")] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
            "/d/held" => Reply::ok(vec![b'x'; length / 2]).then_wait(&held).body(vec![b'x'; length / 2]),
            path => Reply::ok(path.to_owned()),
        });
        let place = Place::new();
        let urls = ["/d/before", "/d/held", "/d/after"].map(|path| server.url(path));
        let fetch = || place.fetch().args(["--json", "--tree", "-d", "out", "-j", "1", "--retry", "0"]).urls(&urls);
        let running = fetch().start();
        server.wait("the request", |counts| counts.requests.len() == 2);
        if result == "failed" {
            until("half of it on disk", || {
                place.tree("out").iter().any(|(name, part)| name.ends_with("held.part") && part.len() == length / 2)
            });
        }
        std::fs::rename(place.path("out/127.0.0.1"), place.path("archive")).expect("move it");
        gate.open();
        let run = running.finish();
        assert_eq!(run.results(), ["ok", result, "ok"], "{run}");
        for record in run.records().iter().skip(1).filter(|record| record["result"] == "ok") {
            let name = record["filename_effective"].as_str().expect("a name");
            assert!(place.exists(name), "{name}\n{run}");
        }
        assert!(place.tree("archive").keys().all(|name| !name.ends_with("after") && !name.ends_with("held")), "{run}");
        fetch().run().assert_exit(0);
        assert_eq!(place.tree("out").len(), 3, "{run}");
    }
}

#[test]
fn where_a_write_takes_less_than_it_was_given_the_rest_is_written_after_it() {
    const TAKEN: usize = 100;
    let server = server();
    // strace takes so many bytes and writes none of them: all the others must be there, in their order.
    let fault = format!("write:retval={TAKEN}:when=1");
    let run = |args: &[&str], name: &str, stdout: bool| {
        let place = Place::new();
        let mut fetch = place.fetch().args(args).arg(server.url("/long-1"));
        if stdout {
            fetch = fetch.stdout(std::fs::File::create(place.path(name)).expect("make a file"));
        }
        let run = fetch.inject_at(name, &fault)?.run();
        run.assert_exit(0);
        assert_eq!(place.injected().len(), 1, "{run}");
        Some(place)
    };
    let Some(place) = run(&["-d", "out"], "out/long-1.part", false) else { return };
    assert!(place.read("out/long-1") == body("long-1")[TAKEN..]);
    let place = run(&["-o", "-"], "stdout", true).expect("strace is there");
    assert!(place.read("stdout") == body("long-1")[TAKEN..]);
    for (args, stdout) in [(&["--json", "--discard"][..], true), (&["--discard", "--results", "records"], false)] {
        let place = run(args, "records", stdout).expect("strace is there");
        let line = place.read_text("records");
        assert!(!line.starts_with('{') && line.ends_with("}\n"), "{line}");
    }
}

#[test]
fn a_large_file_is_written_beside_what_is_received() {
    let body: Vec<u8> = (0..6_000_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
    let sent = body.clone();
    let server =
        Server::http(move |_| Reply::ok(sent.clone()).header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT"));
    let place = Place::new();
    let part = place.path("out/large.part");
    let options = [std::ffi::OsStr::new("-P"), part.as_os_str(), "-e".as_ref(), "trace=write,pwrite64".as_ref()];
    let fetch = place.fetch().args(["--json", "-d", "out"]).arg(server.url("/large"));
    let Some(fetch) = fetch.strace(options) else { return };
    let run = fetch.run();
    run.assert_exit(0).check_invariants(1);
    assert!(place.read("out/large") == body, "{run}");
    let modified = std::fs::metadata(place.path("out/large")).and_then(|file| file.modified()).expect("it is there");
    let modified = modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert_eq!(modified, 1_643_710_830, "no write came behind it\n{run}");
    let trace = place.trace();
    let writers: std::collections::HashSet<&str> = trace.iter().filter_map(|line| line.split(' ').next()).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(writers.len(), cores.min(2), "{trace:?}");
}

#[test]
fn a_write_behind_that_fails_costs_the_one_file() {
    let server = Server::http(|seen: &Seen| {
        let length = if seen.path == "/large" { 1_500_000 } else { 1000 };
        Reply::ok(seen.path.bytes().cycle().take(length).collect::<Vec<u8>>())
            .header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT")
    });
    for (error, exit) in [("EIO", 1), ("ENOSPC", 3)] {
        let fetch = |place: &Place| {
            let urls = ["/a", "/large", "/b"].map(|path| server.url(path));
            place.fetch().args(["--json", "-d", "out", "-j", "1"]).urls(&urls)
        };
        let faulty = |fault: &str| fetch(&Place::new()).inject_at("out/large.part", fault).map(Fetch::run);
        each_in_turn(&format!("pwrite64:error={error}"), 1, faulty, |number, run| {
            run.assert_exit(exit).assert_stderr_has("1 failed").check_invariants(3);
            assert_eq!(names_with(run, "failed"), ["large"], "{error} at {number}\n{run}");
            assert!(!run.place().exists("out/large.part"), "not to be continued: {error} at {number}\n{run}");
            assert!(!run.place().exists("out/large.part.meta"), "{error} at {number}\n{run}");
            fetch(run.place()).run().assert_exit(0).check_invariants(3);
            let whole: Vec<u8> = b"/large".iter().copied().cycle().take(1_500_000).collect();
            assert!(run.place().read("out/large") == whole, "{error} at {number}");
        });
    }
}

#[test]
fn what_came_is_on_the_disk_although_no_more_comes() {
    let gate = Gate::new();
    let held = gate.clone();
    // Whole pieces of what libcurl hands over: nothing tells that they are the last.
    let server = Server::http(move |_| Reply::ok(vec![b'x'; 2 << 20]).chunked().then_wait(&held).body("y"));
    let place = Place::new();
    let running = place.fetch().args(["--json", "-d", "out"]).arg(server.url("/a")).start();
    until("all that came is in the file", || place.tree("out").get("a.part").is_some_and(|part| part.len() == 2 << 20));
    gate.open();
    running.finish().assert_exit(0).check_invariants(1);
}

#[test]
fn a_file_that_is_too_large_for_the_process_costs_itself_alone() {
    let place = Place::new();
    let server = Server::http(|seen: &Seen| {
        let length = if seen.path == "/large" { 3_000_000 } else { 1000 };
        Reply::ok(vec![b'x'; length]).header("etag", "\"v\"")
    });
    let urls = ["/a", "/large", "/b"].map(|path| server.url(path));
    let fetch = place.fetch().args(["--json", "-d", "out", "-j", "1", "--journal", "j"]).urls(&urls);
    let run = fetch.under(["prlimit", "--fsize=2000000"]).run();
    run.assert_exit(1).check_invariants(3);
    assert_eq!(names_with(&run, "failed"), ["large"], "{run}");
    let failed = run.records().into_iter().find(|record| record["result"] == "failed").expect("it failed");
    assert_eq!((&failed["error_class"], &failed["num_retries"]), (&"local".into(), &0.into()), "{run}");
    assert!(failed["errormsg"].as_str().is_some_and(|why| why.ends_with("File too large")), "{run}");
    assert_eq!(place.names("out"), ["a", "b"], "{run}");
}

#[test]
fn behind_a_part_of_a_body_nothing_comes_out_on_standard_output() {
    const LENGTH: usize = 1_500_000;
    // What is read from a temporary file at a time; the dynamic linker reads less.
    const CHUNK: &str = ", 262144, ";
    let server = Server::http(|seen: &Seen| Reply::ok(seen.path[1..].repeat(LENGTH)));
    let fetch = || Fetch::new().args(["-o", "-", "-j", "3"]).urls(&["/a", "/b", "/c"].map(|path| server.url(path)));
    let Some(whole) = fetch().strace(["-e", "trace=pread64"]) else { return };
    let whole = whole.run();
    assert_eq!(whole.assert_exit(0).stdout.len(), 3 * LENGTH, "{whole}");
    let trace = whole.place().trace();
    let first = 1 + trace.iter().position(|line| line.contains(CHUNK)).expect("a body that is read again");
    let lengths = |run: &Finished| {
        let mut lengths = [b"a", b"b", b"c"].map(|body| run.stdout.iter().filter(|byte| **byte == body[0]).count());
        lengths.sort();
        lengths
    };
    let missed = fetch().inject(&format!("pread64:error=EIO:when={first}")).expect("strace was there").run();
    missed.assert_exit(1).assert_stderr_has("read temporary file for standard output: Input/output error");
    assert_eq!(lengths(&missed), [0, LENGTH, LENGTH], "it alone, of which nothing was written\n{missed}");
    let broken = fetch().inject(&format!("pread64:error=EIO:when={}", first + 1)).expect("strace was there").run();
    let letter = char::from(broken.stdout[0]);
    let part = format!("a part of the body of {}", server.url(&format!("/{letter}")));
    broken.assert_exit(3).assert_stderr_has(&format!("fetchmany: write standard output: {part} alone was written"));
    let [none, nothing, some] = lengths(&broken);
    assert!(none == 0 && nothing == 0 && (1..LENGTH).contains(&some), "{broken}");
}
