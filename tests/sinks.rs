//! Where bodies land: names, templates, what was there before, and what a failure leaves.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server, Stream, echo, until};

/// One URL into `out`, with more arguments.
fn fetch_one(place: &Place, args: &[&str], url: &str) -> Finished {
    place.fetch().args(["--json", "-d", "out", "--retry", "0"]).args(args).arg(url).run()
}

#[test]
fn the_output_directory_is_made_with_its_parents() {
    let server = echo();
    let run = Fetch::new().args(["--json", "-d", "a/b/c"]).arg(server.url("/x")).run();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.place().read("a/b/c/x"), b"/x");
    assert_eq!(run.record()["filename_effective"], "a/b/c/x", "{run}");
}

#[test]
fn an_output_directory_that_cannot_be_stops_the_run_before_any_request() {
    let server = echo();
    let place = Place::new();
    place.write("file", "still here");
    symlink("nowhere/at/all", place.path("dangling")).expect("make a link");
    for dir in ["file", "file/below", "dangling", "/proc/nowhere"] {
        let run = place.fetch().args(["--json", "-d", dir]).arg(server.url("/a")).run();
        run.assert_exit(3).assert_stderr_has(dir).check_invariants(0);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_read_only_output_directory_stops_the_run_before_any_request() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount");
        return;
    }
    let server = echo();
    let script = r#"mkdir out && mount -t tmpfs -o ro tmpfs out && exec "$@""#;
    let run = Fetch::recorded().under(["unshare", "-m", "bash", "-c", script, "bash"]).arg(server.url("/a")).run();
    run.assert_exit(3).assert_stderr_has("out");
    assert!(server.seen().is_empty());
}

#[test]
fn an_output_directory_that_may_not_be_written_to_stops_the_run_before_any_request() {
    let server = echo();
    for (dir, mode) in [("closed", 0o000), ("closed/below", 0o000), ("read-only", 0o555), ("read-only/below", 0o555)] {
        let place = Place::new();
        let top = place.path(dir.split('/').next().expect("a name"));
        std::fs::create_dir(&top).expect("make a directory");
        std::fs::set_permissions(&top, Permissions::from_mode(mode)).expect("close the directory");
        let fetch = place.fetch().args(["--json", "-d", dir]).arg(server.url("/a"));
        let Some(fetch) = fetch.held_to_permissions() else { return };
        fetch.run().assert_exit(3).assert_stderr_has(dir).assert_stderr_has("Permission denied").check_invariants(0);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount");
        return;
    }
    let server = Server::http(|seen: &Seen| Reply::ok(vec![b'x'; if seen.path == "/large" { 1 << 20 } else { 100 }]));
    let script =
        r#"mkdir out saved && mount -t tmpfs -o size=64k tmpfs out && "$@"; code=$?; cp -a out/. saved; exit $code"#;
    let urls: Vec<String> = ["/small-1", "/large", "/small-2"].iter().map(|path| server.url(path)).collect();
    let wrapper = ["unshare", "-m", "bash", "-c", script, "bash"];
    let run = Fetch::recorded().args(["-j", "1"]).under(wrapper).urls(&urls).run();
    run.assert_exit(3);
    assert_eq!(run.results(), ["ok", "failed", "ok"], "{run}");
    assert_eq!(run.records()[1]["error_class"], "local", "{run}");
    assert_eq!(server.count("/large"), 1, "not retried as if the network had failed\n{run}");
    assert_eq!(run.place().names("saved"), ["small-1", "small-2"], "{run}");
}

#[test]
fn an_output_directory_that_is_swapped_while_it_is_used_is_not_followed() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("body").held_by(&held));
    let running = Fetch::recorded().arg(server.url("/canary.txt")).start();
    server.wait("the request", |counts| counts.running == 1);
    let place = running.place().clone();
    std::fs::rename(place.path("out"), place.path("moved")).expect("move it away");
    symlink("../canary", place.path("out")).expect("put a link in its place");
    gate.open();
    let run = running.finish();
    assert_eq!(place.outside()["canary/canary.txt"], b"still here", "{run}");
    assert_eq!(run.record()["result"] == "ok", place.exists("moved/canary.txt"), "{run}");
}

#[test]
fn a_directory_at_the_final_name_is_a_failure_and_stays() {
    let server = echo();
    for policy in ["skip", "overwrite", "fail"] {
        let place = Place::new();
        place.write("out/a/inside", "still here");
        let run = fetch_one(&place, &["--if-exists", policy], &server.url("/a"));
        run.assert_exit(1).assert_failed("local").check_invariants(1);
        assert_eq!(place.read("out/a/inside"), b"still here");
    }
}

#[test]
fn what_is_there_already_is_treated_as_asked() {
    for (policy, result, exit, requests) in [
        (None, "skipped", 0, 0),
        (Some("skip"), "skipped", 0, 0),
        (Some("overwrite"), "ok", 0, 1),
        (Some("rename"), "ok", 0, 1),
        (Some("fail"), "failed", 1, 0),
    ] {
        let place = Place::new();
        place.write("out/a.txt", "old");
        let args: Vec<&str> = policy.iter().flat_map(|policy| ["--if-exists", policy]).collect();
        let server = Server::http(|_| Reply::ok("new"));
        let run = fetch_one(&place, &args, &server.url("/a.txt"));
        run.assert_exit(exit).check_invariants(1);
        assert_eq!(run.record()["result"], result, "{policy:?}\n{run}");
        assert_eq!(server.seen().len(), requests, "{policy:?}\n{run}");
        let kept = place.read("out/a.txt");
        assert_eq!(kept, if policy == Some("overwrite") { b"new" } else { b"old" }, "{policy:?}\n{run}");
        if policy == Some("rename") {
            let name = run.record()["filename_effective"].as_str().expect("a name").to_owned();
            assert_eq!(place.read(&name), b"new");
            assert!(name.starts_with("out/a") && name.ends_with(".txt") && name != "out/a.txt", "{name}");
        }
    }
}

#[test]
fn a_link_at_the_final_name_is_never_followed() {
    let server = Server::http(|_| Reply::ok("new"));
    for target in ["../../canary/canary.txt", "nowhere"] {
        for (policy, result) in [("skip", "skipped"), ("fail", "failed"), ("overwrite", "ok"), ("rename", "ok")] {
            let place = Place::new();
            place.write("out/other", "");
            symlink(target, place.path("out/a")).expect("make a link");
            let run = fetch_one(&place, &["--if-exists", policy], &server.url("/a"));
            run.check_invariants(1);
            assert_eq!(run.record()["result"], result, "{policy}\n{run}");
            let is_link = place.path("out/a").symlink_metadata().expect("it is there").is_symlink();
            assert_eq!(is_link, policy != "overwrite", "{policy}\n{run}");
            assert!(!place.exists("out/nowhere"), "{run}");
        }
    }
}

#[test]
fn a_partial_name_that_is_a_link_is_never_followed_nor_replaced() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 2 << 20]).header("etag", "\"x\""));
    for links in [&["a.part", "a.part.meta"][..], &["a.part"], &["a.part.meta"]] {
        let place = Place::new();
        place.write("out/other", "");
        for name in links {
            symlink("../../canary/canary.txt", place.path("out").join(name)).expect("make a link");
        }
        let run = fetch_one(&place, &[], &server.url("/a"));
        assert_eq!(place.outside()["canary/canary.txt"], b"still here", "{run}");
        run.assert_exit(1).assert_failed("local");
        assert!(run.record()["errormsg"].as_str().is_some_and(|why| why.contains(links[0])), "{run}");
        assert!(!place.exists("out/a"), "{run}");
    }
}

#[test]
fn a_file_that_appears_during_the_transfer_is_not_replaced() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok("half").then_wait(&held).body("half"));
    let running = Fetch::recorded().arg(server.url("/a")).start();
    server.wait("the request", |counts| counts.running == 1);
    running.place().write("out/a", "somebody else's");
    gate.open();
    let run = running.finish();
    assert_eq!(run.record()["result"], "skipped", "{run}");
    assert_eq!(run.place().read("out/a"), b"somebody else's");
}

#[test]
fn of_two_runs_at_once_each_file_is_whole() {
    let server = Server::http(|seen: &Seen| Reply::ok(seen.path.repeat(20_000)));
    let urls: Vec<String> = (0..20).map(|number| server.url(&format!("/{number}"))).collect();
    let place = Place::new();
    let start = || place.fetch().args(["--json", "-d", "out"]).urls(&urls).start();
    let (one, other) = (start(), start());
    let (one, other) = (one.finish(), other.finish());
    let (results, others) = (one.assert_exit(0).results(), other.assert_exit(0).results());
    assert_eq!((results.len(), others.len()), (20, 20), "{one}\n{other}");
    let told = |number: usize| [&*results[number], &*others[number]];
    assert!((0..20).all(|number| told(number).iter().all(|told| ["ok", "skipped"].contains(told))), "{one}\n{other}");
    assert!((0..20).all(|number| told(number) != ["skipped"; 2]), "{one}\n{other}");
    for number in 0..20 {
        assert!(
            place.read(&format!("out/{number}")) == format!("/{number}").repeat(20_000).into_bytes(),
            "{one}\n{other}"
        );
    }
}

#[test]
fn nothing_has_the_final_name_before_it_is_whole() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |_| Reply::ok(vec![b'x'; 1 << 20]).then_wait(&held).body("end"));
    let running = Fetch::recorded().arg(server.url("/a")).start();
    until("bytes on disk", || running.place().tree("out").values().any(|content| content.len() >= 1 << 20));
    assert!(!running.place().exists("out/a"));
    gate.open();
    let run = running.finish();
    run.assert_exit(0).check_invariants(1);
    assert_eq!(run.place().names("out"), ["a"]);
    assert_eq!(run.place().read("out/a").len(), (1 << 20) + 3);
}

#[test]
fn the_final_name_never_appears_where_a_body_is_rejected() {
    use rustix::fs::inotify;
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/404" => Reply::status(404).body("an error page"),
        "/declared" => Reply::ok(vec![b'x'; 3000]),
        "/grown" => Reply::ok(vec![b'x'; 3000]).chunked(),
        "/wrong" => Reply::ok("not what was promised"),
        "/wrong-at-its-end" => Reply::ok(vec![b'x'; 1500]).chunked(),
        _ => Reply::ok("x").then_break().body("y"),
    });
    let place = Place::new();
    place.write("out/other", "");
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    let flags = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, place.path("out"), flags).expect("watch the directory");
    let names = ["404", "declared", "grown", "cut", "wrong", "wrong-at-its-end"];
    let urls: Vec<String> = names.iter().map(|name| server.url(&format!("/{name}"))).collect();
    place.write("sums", names[4..].iter().map(|name| format!("{}  {name}\n", "0".repeat(64))).collect::<String>());
    let args = ["--json", "-d", "out", "--retry", "0", "--max-filesize", "2000", "--checksum-file", "sums"];
    let run = place.fetch().args(args).urls(&urls).run();
    run.assert_exit(1).check_invariants(names.len());
    let classes: Vec<_> = run.records().iter().map(|record| record["error_class"].clone()).collect();
    assert_eq!(classes, ["http", "too_large", "too_large", "partial", "checksum", "checksum"], "{run}");
    let mut buffer = [std::mem::MaybeUninit::uninit(); 8192];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut appeared = Vec::new();
    while let Ok(event) = events.next() {
        appeared.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    for partial in ["grown.part", "wrong-at-its-end.part"] {
        assert!(appeared.iter().any(|name| name == partial), "{appeared:?}");
    }
    assert!(names.iter().all(|name| !appeared.contains(&(*name).to_owned())), "{appeared:?}");
}

#[test]
fn a_body_that_grows_too_large_is_removed_and_a_stranger_at_its_partial_name_is_not() {
    let gate = Gate::new();
    let held = gate.clone();
    let server =
        Server::http(move |_| Reply::ok(vec![b'x'; 1 << 20]).then_wait(&held).body(vec![b'y'; 1 << 20]).chunked());
    let running = Fetch::recorded().args(["--max-filesize", "1500k"]).arg(server.url("/a")).start();
    let place = running.place().clone();
    until("bytes on disk", || place.tree("out").values().any(|content| content.len() >= 1 << 20));
    std::fs::rename(place.path("out/a.part"), place.path("elsewhere")).expect("move it away");
    place.write("out/a.part", "somebody else's");
    gate.open();
    let run = running.finish();
    run.assert_exit(1).assert_failed_with("too_large", 63);
    assert_eq!(place.read("out/a.part"), b"somebody else's", "{run}");
    assert!(!place.exists("out/a"), "{run}");
}

#[test]
fn a_body_over_the_limit_is_too_large_whether_its_length_is_told_or_not() {
    for chunked in [false, true] {
        let server = Server::http(move |_| {
            let reply = Reply::ok(vec![b'x'; 2000]);
            if chunked { reply.chunked() } else { reply }
        });
        let place = Place::new();
        let run = fetch_one(&place, &["--max-filesize", "1k"], &server.url("/a"));
        run.assert_exit(1).assert_failed_with("too_large", 63).check_invariants(1);
        assert!(place.names("out").is_empty(), "{:?}\n{run}", place.names("out"));
        let run = fetch_one(&place, &["--max-filesize", "2000"], &server.url("/a"));
        run.assert_exit(0).check_invariants(1);
    }
}

#[test]
fn a_broken_body_leaves_a_partial_file_and_the_next_run_the_whole_one() {
    let broken = std::sync::atomic::AtomicBool::new(true);
    let server = Server::http(move |_| {
        let reply = Reply::ok(vec![b'x'; 100_000]);
        if broken.swap(false, std::sync::atomic::Ordering::SeqCst) {
            reply.then_break().body(vec![b'y'; 100_000])
        } else {
            reply.body(vec![b'y'; 100_000])
        }
    });
    let place = Place::new();
    let run = fetch_one(&place, &[], &server.url("/a"));
    run.assert_exit(1).assert_failed("partial").check_invariants(1);
    assert!(place.exists("out/a.part"), "{:?}\n{run}", place.names("out"));
    let run = fetch_one(&place, &[], &server.url("/a"));
    run.assert_exit(0).check_invariants(1);
    assert_eq!(place.names("out"), ["a"], "{run}");
    assert!(place.read("out/a") == [vec![b'x'; 100_000], vec![b'y'; 100_000]].concat(), "{run}");
}

#[test]
fn files_have_the_mode_that_the_umask_leaves() {
    let server = echo();
    for (umask, mode) in [("000", 0o666), ("022", 0o644), ("077", 0o600)] {
        let script = format!(r#"umask {umask}; exec "$@""#);
        let run = Fetch::recorded().under_bash(&script).arg(server.url("/a")).run();
        run.assert_exit(0);
        let found = run.place().path("out/a").metadata().expect("it is there").permissions().mode();
        assert_eq!(found & 0o777, mode, "umask {umask}\n{run}");
    }
}

#[test]
fn a_partial_file_is_no_more_open_than_the_whole_one_and_lists_of_failures_are_private() {
    for (umask, mode) in [("000", 0o666), ("077", 0o600)] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
            "/held" => Reply::ok("x".repeat(1 << 20)).then_wait(&held).body("the end"),
            _ => Reply::status(404),
        });
        let script = format!(r#"umask {umask}; exec "$@""#);
        let urls = [server.url("/held"), server.url("/missing")];
        let running = Fetch::recorded().args(["--failed", "failed"]).under_bash(&script).urls(&urls).start();
        let modes = |names: &[&str]| -> Vec<u32> {
            let mode =
                |name: &&str| running.place().path(name).metadata().map_or(0, |found| found.permissions().mode());
            names.iter().map(|name| mode(name) & 0o777).collect()
        };
        until("the partial file", || running.place().exists("out/held.part"));
        let partial = modes(&["out/held.part"])[0];
        assert_eq!(partial & !mode, 0, "umask {umask}: the partial file has {partial:o}");
        gate.open();
        running.wait_for_lines(Stream::Out, 2);
        assert_eq!(modes(&["out/held", "failed"]), [mode, 0o600], "umask {umask}");
        running.finish().assert_exit(1);
    }
}

#[test]
fn the_time_of_the_file_is_the_servers_unless_unwanted_or_impossible() {
    let server = Server::http(|seen: &Seen| {
        let date = match seen.path.as_str() {
            "/plain" => "Tue, 01 Feb 2022 10:20:30 GMT",
            "/1901" => "Fri, 13 Dec 1901 20:45:51 GMT",
            "/1969" => "Wed, 31 Dec 1969 23:59:59 GMT",
            "/2038" => "Tue, 19 Jan 2038 03:14:08 GMT",
            "/9999" => "Fri, 31 Dec 9999 23:59:59 GMT",
            "/empty" => "",
            _ => "yesterday, or so",
        };
        Reply::ok("x").header("last-modified", date)
    });
    let paths = ["/plain", "/1901", "/1969", "/2038", "/9999", "/empty", "/garbage"];
    let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    let run = Fetch::recorded().urls(&urls).run();
    run.assert_exit(0).check_invariants(paths.len());
    let time = |run: &Finished, name: &str| run.place().path("out").join(name).metadata().expect("it is there").mtime();
    assert_eq!(time(&run, "plain"), 1_643_710_830, "{run}");
    assert_eq!(time(&run, "2038"), 2_147_483_648, "{run}");
    let run = Fetch::recorded().arg("--no-remote-time").arg(server.url("/plain")).run();
    let an_hour_ago = UNIX_EPOCH.elapsed().expect("a clock") - Duration::from_secs(3600);
    assert!(time(&run, "plain") > an_hour_ago.as_secs() as i64, "{run}");
}

#[test]
fn an_empty_body_is_an_empty_file() {
    let server = Server::http(|seen: &Seen| Reply::status(seen.path[1..].parse().unwrap_or(200)));
    for path in ["/200", "/204", "/205"] {
        let run = fetch_one(&Place::new(), &[], &server.url(path));
        run.assert_exit(0).check_invariants(1);
        assert_eq!(run.place().read(&format!("out{path}")), b"");
        assert_eq!(run.record()["size"], 0, "{run}");
    }
}

#[test]
fn discarded_bodies_are_counted_and_nothing_is_written() {
    let server = Server::http(|_| Reply::ok("12345"));
    let run = Fetch::new().args(["--json", "--discard"]).arg(server.url("/a")).run();
    run.assert_exit(0).check_invariants(1);
    let record = run.record();
    assert!(record["filename_effective"].is_null(), "{run}");
    assert_eq!(record["size_download"], 5, "{run}");
    assert!(run.place().tree(".").is_empty(), "{run}");
}

#[test]
fn bodies_on_standard_output_are_whole_and_one_after_another() {
    let server = Server::http(|seen: &Seen| Reply::ok(seen.path[1..].repeat(300_000)));
    let urls: Vec<String> = "abcdefgh".chars().map(|letter| server.url(&format!("/{letter}"))).collect();
    let run = Fetch::new().args(["-o", "-", "-j", "8", "--results", "results"]).urls(&urls).run();
    run.assert_exit(0).check_invariants(urls.len());
    let mut rest = run.stdout.as_slice();
    let mut order = String::new();
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|byte| *byte == first).count();
        assert_eq!(length, 300_000, "the body of {}", *first as char);
        order.push(*first as char);
        rest = &rest[length..];
    }
    let mut sorted: Vec<char> = order.chars().collect();
    sorted.sort();
    assert_eq!(sorted.into_iter().collect::<String>(), "abcdefgh");
    assert_eq!(run.stderr_text().lines().filter(|line| line.contains("http://")).count(), 8, "{run}");
}

#[test]
fn result_lines_beside_bodies_are_not_lost_on_a_slow_reader() {
    let server = echo();
    let urls: Vec<String> = (0..6000).map(|number| server.url(&format!("/{}{number}", "x".repeat(60)))).collect();
    let script =
        r#"mkfifo pipe; exec 9<>pipe; "$@" >bodies 2>pipe & exec 8<pipe; exec 9<&-; sleep 1; cat <&8 >lines; wait $!"#;
    let run = Fetch::new().args(["-o", "-"]).under_bash(script).urls(&urls).run();
    run.assert_exit(0);
    let lines = run.place().read_text("lines");
    assert_eq!(lines.lines().filter(|line| line.contains("/xxx")).count(), 6000, "{run}");
}
