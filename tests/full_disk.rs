//! A disk that is full: what fits is fetched, what does not fails, and a disk that was full for a moment costs nothing.

use crate::disk::names_with;
use crate::harness::wait::until;
use crate::harness::{Fetch, Gate, Reply, Seen, Server, Stream};

/// The program where `out` is a file system of its own of this size, whose files end up in `saved`.
fn on_a_small_disk(size: &str) -> Option<Fetch> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount");
        return None;
    }
    let script = format!(
        r#"mkdir out saved && mount -t tmpfs -o size={size} tmpfs out && "$@"; code=$?; cp -a out/. saved; exit $code"#
    );
    Some(Fetch::recorded().under(["unshare", "-m", "bash", "-c", &script, "bash"]))
}

#[test]
fn of_files_that_fit_one_by_one_but_not_together_as_many_as_can_are_fetched() {
    let gate = Gate::new();
    let held = gate.clone();
    let server =
        Server::http(move |_| Reply::ok(vec![b'x'; 100_000]).chunked().then_wait(&held).body(vec![b'y'; 100_000]));
    let urls: Vec<String> = (0..4).map(|number| server.url(&format!("/{number}"))).collect();
    // Room for one and a half; the first halves of three are too much already.
    let Some(fetch) = on_a_small_disk("300k") else { return };
    let running = fetch.args(["-j", "4"]).urls(&urls).start();
    server.wait("all of them at once", |counts| counts.most_running == 4);
    gate.open();
    let run = running.finish();
    run.assert_exit(3);
    let ok = names_with(&run, "ok");
    assert_eq!((ok.len(), names_with(&run, "failed").len()), (1, 3), "{run}");
    assert_eq!(run.place().names("saved"), ok, "what did not fit is gone\n{run}");
    let told = run.stderr_text().matches("the disk is full").count();
    assert_eq!(told, 1, "{run}");
    for record in run.records().iter().filter(|record| record["result"] == "failed") {
        assert_eq!(record["error_class"], "local", "{run}");
        assert!(record["errormsg"].as_str().is_some_and(|why| why.contains("No space left")), "{run}");
    }
}

#[test]
fn once_nothing_is_left_nothing_more_is_asked_for() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 50_000]));
    let urls: Vec<String> = (0..200).map(|number| server.url(&format!("/{number}"))).collect();
    let Some(fetch) = on_a_small_disk("128k") else { return };
    let fill = r#""$@"; code=$?; exit $code"#;
    let run =
        fetch.under(["bash", "-c", &format!("head -c 1000000 /dev/zero >out/filler 2>/dev/null; {fill}"), "bash"]);
    let run = run.args(["-j", "8"]).urls(&urls).run();
    run.assert_exit(3);
    assert_eq!(names_with(&run, "failed").len(), 200, "{run}");
    assert!(server.seen().len() <= 16, "{} requests\n{run}", server.seen().len());
}

#[test]
fn once_no_file_can_be_made_any_more_nothing_more_is_asked_for() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 500]));
    let Some(fetch) = on_a_small_disk("10m,nr_inodes=20") else { return };
    let run = fetch.args(["-j", "4"]).urls(&server.numbered("/", 200)).run();
    run.assert_exit(3).assert_stderr_has("the disk is full");
    let ok = names_with(&run, "ok");
    assert!(!ok.is_empty() && ok.len() < 20, "{run}");
    assert!(server.seen().len() <= ok.len() + 8, "{} requests\n{run}", server.seen().len());
}

#[test]
fn once_the_disk_is_read_only_nothing_more_is_asked_for() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 500]));
    let fetch = Fetch::recorded().args(["-j", "4"]).urls(&server.numbered("/", 200));
    let out = fetch.place().path("out").into_os_string();
    let fault = ["inject=openat:error=EROFS:when=40+", "inject=faccessat:error=EROFS"];
    let options = ["-P".into(), out, "-e".into(), "trace=openat,faccessat".into()];
    let Some(fetch) =
        fetch.strace(options.into_iter().chain(fault.iter().flat_map(|fault| ["-e".into(), fault.into()])))
    else {
        return;
    };
    let run = fetch.run();
    run.assert_exit(3);
    let ok = names_with(&run, "ok");
    assert!(!ok.is_empty() && ok.len() + names_with(&run, "failed").len() == 200, "{run}");
    assert!(server.seen().len() <= ok.len() + 8, "{} requests\n{run}", server.seen().len());
    for record in run.records().iter().filter(|record| record["result"] == "failed") {
        assert_eq!(record["error_class"], "local", "{run}");
        assert!(record["errormsg"].as_str().is_some_and(|why| why.contains("Read-only")), "{run}");
    }
}

#[test]
fn a_disk_that_was_full_for_a_moment_is_no_failure() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        // It breaks off, is not kept, and makes room.
        "/large" => Reply::ok(vec![b'x'; 200_000]).chunked().then_wait(&held).then_break(),
        _ => Reply::ok(vec![b'y'; 150_000]).chunked(),
    });
    let Some(fetch) = on_a_small_disk("300k") else { return };
    let urls = [server.url("/large"), server.url("/small")];
    let running = fetch.args(["-j", "2", "--retry", "0", "--max-filesize", "150000"]).urls(&urls).start();
    server.wait("both", |counts| counts.of("/small") > 0);
    gate.open();
    let run = running.finish();
    run.assert_exit(1);
    assert_eq!(run.results(), ["failed", "ok"], "{run}");
}

#[test]
fn a_disk_that_was_full_for_a_moment_behind_is_no_failure() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/slow" => Reply::ok("x").held_by(&held),
        _ => Reply::ok(vec![b'y'; 1_900_000]).chunked(),
    });
    let Some(fetch) = on_a_small_disk("3m") else { return };
    let make_room = r#"head -c 1800000 /dev/zero >out/filler
        (until [ -e go ]; do sleep 0.02; done; rm out/filler; touch gone) & "$@""#;
    let fetch = fetch.under(["bash", "-c", make_room, "bash"]).args(["-j", "2", "--retry", "0"]);
    let running = fetch.urls(&["/slow", "/large"].map(|path| server.url(path))).start();
    running.wait_for_line(Stream::Err, "the disk is full");
    running.place().write("go", "");
    until("there is room", || running.place().exists("gone"));
    gate.open();
    let run = running.finish();
    run.assert_exit(0);
    assert_eq!(run.place().names("saved"), ["large", "slow"], "{run}");
}

#[test]
fn what_fits_when_the_other_is_gone_is_fetched_although_it_was_there_last() {
    let gate = Gate::new();
    let held = gate.clone();
    // It breaks off without leaving anything while the other, which has had no room beside it, has yet to end.
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/large" => Reply::ok(vec![b'x'; 9_000_000]).chunked(),
        _ => Reply::ok(vec![b'y'; 2_000_000]).chunked().then_wait(&held).body(vec![b'y'; 2_000_000]),
    });
    let Some(fetch) = on_a_small_disk("6m") else { return };
    let urls = ["/large", "/small"].map(|path| server.url(path));
    let running = fetch.args(["-j", "2"]).urls(&urls).start();
    running.wait_for_line(Stream::Err, "the disk is full");
    gate.open();
    let run = running.finish();
    run.assert_exit(3);
    assert_eq!(run.place().names("saved"), ["small"], "{run}");
    assert!(server.count("/large") <= 2, "{} times\n{run}", server.count("/large"));
}

#[test]
fn what_never_fits_is_not_asked_for_again_beside_each_of_the_others() {
    let server = Server::http(|seen: &Seen| match seen.path.as_str() {
        "/large" => Reply::ok(vec![b'x'; 9_000_000]),
        _ => Reply::ok(vec![b'y'; 5000]),
    });
    let Some(fetch) = on_a_small_disk("6m") else { return };
    let urls: Vec<String> = std::iter::once(server.url("/large")).chain(server.numbered("/", 50)).collect();
    let run = fetch.args(["-j", "4"]).urls(&urls).run();
    run.assert_exit(3);
    assert_eq!(names_with(&run, "failed"), ["large"], "{run}");
    assert_eq!(run.place().names("saved").len(), 50, "{run}");
    // Beside some that had no room either, it may have company once or twice more.
    assert!(server.count("/large") <= 4, "{} times\n{run}", server.count("/large"));
}

#[test]
fn a_disk_that_is_full_behind_costs_the_one_file() {
    let server = Server::http(|seen: &Seen| {
        let length = if seen.path == "/large" { 8_000_000 } else { 1_500_000 };
        Reply::ok(vec![b'x'; length]).chunked()
    });
    let Some(fetch) = on_a_small_disk("4m") else { return };
    let run = fetch.args(["-j", "1"]).urls(&["/large", "/small"].map(|path| server.url(path))).run();
    run.assert_exit(3).assert_stderr_has("the disk is full");
    assert_eq!(run.results(), ["failed", "ok"], "{run}");
    assert_eq!(run.place().names("saved"), ["small"], "what did not fit is gone\n{run}");
    assert_eq!(run.records()[0]["error_class"], "local", "{run}");
}

#[test]
fn a_disk_that_was_full_once_costs_no_file_that_had_company() {
    for number in 1..=6 {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |_| Reply::ok(vec![b'x'; 3_000_000]).held_by(&held));
        let urls = server.numbered("/", 3);
        let fetch = Fetch::recorded().urls(&urls);
        let Some(fetch) = fetch.inject(&format!("pwrite64:error=ENOSPC:when={number}")) else { return };
        let running = fetch.start();
        server.wait("all of them at once", |counts| counts.running == 3);
        gate.open();
        let run = running.finish();
        run.assert_exit(0).assert_stderr_has("the disk is full").check_invariants(3);
    }
}
