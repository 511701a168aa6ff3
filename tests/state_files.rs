//! Files beside the fetched ones: the cookie jar, results and failed lines, when what has their names is a link, when
//! two runs write them, and when a run is killed while it does.

use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::process::Signal;

use crate::harness::{Fetch, Gate, Place, Reply, Seen, Server};

/// Sets a cookie that is called as the path.
fn setting() -> Server {
    Server::http(|seen: &Seen| {
        Reply::ok("x").header("set-cookie", format!("{}=1; Max-Age=3600", seen.path.replace('/', "")))
    })
}

/// One URL with the cookie jar `jar`.
fn with_jar(place: &Place, url: String) -> Fetch {
    place.fetch().args(["--json", "-d", "out", "--if-exists", "overwrite", "-c", "jar"]).arg(url)
}

/// The names of the cookies of a jar that is whole, for its owner alone, and no link.
#[track_caller]
fn cookies(place: &Place) -> Vec<String> {
    let metadata = place.path("jar").symlink_metadata().expect("a jar");
    assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o600, "{metadata:?}");
    let jar = place.read_text("jar");
    assert!(jar.starts_with("# Netscape HTTP Cookie File\n") && jar.ends_with('\n'), "{jar}");
    let lines = jar.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('\t').nth(5).expect("a name").to_owned()).collect()
}

#[test]
fn a_jar_is_written_in_place_of_a_link_and_never_through_it() {
    let server = setting();
    for target in ["../canary/canary.txt", "elsewhere", "../canary/new"] {
        let place = Place::new();
        place.write("elsewhere", "theirs");
        symlink(target, place.path("jar")).expect("make a link");
        let run = with_jar(&place, server.url("/a")).under_bash(r#"umask 000; exec "$@""#).run();
        run.assert_exit(0);
        assert_eq!(cookies(&place), ["a"], "{run}");
        assert_eq!(place.read_text("elsewhere"), "theirs", "{run}");
        assert_eq!(place.outside().keys().filter(|name| name.starts_with("canary/")).count(), 2, "{run}");
        assert_eq!(place.outside()["canary/canary.txt"], b"still here", "{run}");
        assert_eq!(place.names("."), ["elsewhere", "jar", "out/a"], "{run}");
    }
}

/// Elsewhere a process may have the same number: what it is called does not depend on that.
#[test]
fn what_lies_beside_a_jar_and_has_the_number_of_the_run_is_another_s() {
    let server = setting();
    let place = Place::new();
    let run = with_jar(&place, server.url("/a")).under_bash(r#"touch "jar.$$.tmp"; echo $$ >number; exec "$@""#).run();
    run.assert_exit(0);
    let number = place.read_text("number");
    assert_eq!(place.names("."), ["jar", &format!("jar.{}.tmp", number.trim()), "number", "out/a"], "{run}");
}

#[test]
fn of_two_runs_with_one_jar_the_jar_of_one_is_there_whole() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| {
        Reply::ok("x").header("set-cookie", format!("{}=1", seen.path.replace('/', ""))).held_by(&held)
    });
    let place = Place::new();
    let runs = ["/a", "/b"].map(|path| with_jar(&place, server.url(path)).start());
    server.wait("both requests", |counts| counts.running == 2);
    gate.open();
    for run in runs {
        run.finish().assert_exit(0);
    }
    let found = cookies(&place);
    assert!(found == ["a"] || found == ["b"], "{found:?}");
    assert_eq!(place.names("."), ["jar", "out/a", "out/b"]);
}

#[test]
fn a_kill_while_a_jar_is_written_leaves_the_old_one_and_the_next_run_writes_its_own() {
    let server = setting();
    // The first to be renamed is what was fetched.
    for (call, when, left) in [("fdatasync", 1, 0), ("renameat", 2, 1)] {
        let place = Place::new();
        with_jar(&place, server.url("/old")).run().assert_exit(0);
        let before = place.read("jar");
        let fetch = with_jar(&place, server.url("/new"));
        let Some(fetch) = fetch.inject(&format!("{call}:signal=KILL:when={when}")) else { return };
        let run = fetch.run();
        run.assert_signal(Signal::KILL);
        assert!(place.read("jar") == before && cookies(&place) == ["old"], "{call}\n{run}");
        let run = with_jar(&place, server.url("/next")).args(["-b", "jar"]).run();
        run.assert_exit(0);
        let mut found = cookies(&place);
        found.sort();
        assert_eq!(found, ["next", "old"], "{call}\n{run}");
        let others: Vec<String> = place.names(".").into_iter().filter(|name| name.starts_with('.')).collect();
        assert!(others.iter().all(|name| name.starts_with(".fetchmany-")), "{call} {others:?}");
        assert_eq!(others.len(), left, "{call} {others:?}");
    }
}

#[test]
fn results_and_failed_lines_go_where_a_link_leads_and_no_further() {
    let server = Server::http(|_| Reply::status(404));
    for option in ["--results", "--failed"] {
        let place = Place::new();
        place.write("elsewhere", "an older run, and a longer one than this one is\n".repeat(100));
        place.write("other", "theirs");
        symlink("elsewhere", place.path("link")).expect("make a link");
        let run = place.fetch().args(["-d", "out", option, "link"]).arg(server.url("/a")).run();
        run.assert_exit(1);
        // As a shell's > does: the link stays one, and the file it leads to is what it holds.
        assert!(place.path("link").symlink_metadata().expect("a link").is_symlink(), "{run}");
        let told = place.read_text("elsewhere");
        assert!(told.lines().count() == 1 && told.contains(&server.url("/a")), "{told}\n{run}");
        assert_eq!(place.read_text("other"), "theirs", "{run}");
        // One that leads to what else the run reads or writes is that.
        let list = format!("{}\n", server.url("/a"));
        place.write("elsewhere", &list);
        let run = place.fetch().args(["-d", "out", option, "link", "elsewhere"]).run();
        run.assert_exit(2).assert_stderr_has("is also");
        assert_eq!(place.read_text("elsewhere"), list, "{run}");
    }
}

#[test]
fn a_journal_that_somebody_takes_away_in_mid_run_is_told_of() {
    for how in ["removed", "moved", "cut"] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |_| Reply::ok("x").held_by(&held));
        let place = Place::new();
        let run = place.fetch().args(["-d", "out", "--journal", "j"]).arg(server.url("/a")).start();
        server.wait("the request", |counts| counts.running == 1);
        let journal = place.path("j");
        match how {
            "removed" => std::fs::remove_file(&journal),
            "moved" => std::fs::rename(&journal, place.path("j.1")),
            _ => std::fs::File::create(&journal).map(drop),
        }
        .expect("change the journal");
        gate.open();
        run.finish().assert_exit(3).assert_stderr_has("journal j was moved, removed or changed while it was used");
        assert_eq!(place.names("out"), ["a"], "{how}");
    }
}

/// Starts two runs into one directory that are both answered before either may publish, with bodies of their own.
fn rivals(policy: &str, length: usize) -> (Place, Vec<(String, serde_json::Value)>) {
    rivals_in(Place::new(), policy, length)
}

fn rivals_in(place: Place, policy: &str, length: usize) -> (Place, Vec<(String, serde_json::Value)>) {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| {
        let body = seen.header("x-run").expect("it says who it is").repeat(length);
        Reply::ok(body).held_by(&held)
    });
    let runs = ["a", "b"].map(|who| {
        let args = ["--json", "-d", "out", "--retry", "0", "--if-exists", policy];
        (who, place.fetch().args(args).args(["-H", &format!("X-Run: {who}"), &server.url("/file")]).start())
    });
    server.wait("both requests", |counts| counts.requests.len() == 2);
    gate.open();
    let ended = runs.map(|(who, run)| (who.repeat(length), run.finish().record()));
    (place, ended.into())
}

#[test]
fn of_two_runs_that_fetch_one_name_one_is_told_to_have_it() {
    for policy in ["skip", "fail"] {
        for length in [10, 2 << 20] {
            let (place, ended) = rivals(policy, length);
            let told = |ended: &[(String, serde_json::Value)]| {
                ended
                    .iter()
                    .map(|(_, record)| record["result"].as_str().unwrap_or_default().to_owned())
                    .collect::<Vec<_>>()
            };
            let context = format!("{policy} {length}: {:?}", told(&ended));
            let (ok, other): (Vec<_>, Vec<_>) = ended.into_iter().partition(|(_, record)| record["result"] == "ok");
            assert_eq!((ok.len(), other.len()), (1, 1), "{context}");
            assert!(place.read_text("out/file") == ok[0].0, "{context}");
            let record = &other[0].1;
            let why = record["errormsg"].as_str().unwrap_or_default();
            let was_skipped = policy == "skip" && record["result"] == "skipped";
            let failed = record["result"] == "failed" && record["error_class"] == "local";
            let is_why = why.contains("another process") || (policy == "fail" && why.contains("exists"));
            assert!(was_skipped || (failed && is_why), "{context} {record}");
            assert_eq!(place.names("out"), ["file"], "{context}");
        }
    }
}

#[test]
fn of_two_runs_that_keep_both_each_has_the_next_number() {
    for (is_there, names) in [(false, &["file", "file.1"][..]), (true, &["file", "file.1", "file.2"])] {
        for length in [10, 2 << 20] {
            let place = Place::new();
            if is_there {
                std::fs::create_dir(place.path("out")).expect("make a directory");
                place.write("out/file", "a stranger's");
            }
            let (place, ended) = rivals_in(place, "rename", length);
            for (body, record) in ended {
                assert_eq!(record["result"], "ok", "{is_there} {length} {record}");
                let name = record["filename_effective"].as_str().expect("a name");
                assert!(place.read_text(name) == body, "{is_there} {length} {record}");
            }
            assert_eq!(place.names("out"), names, "{is_there} {length}");
        }
    }
}
