//! Whose a name is from run to run: what a journal has settled belongs to its URL, however the list is changed and at
//! whatever instant the run before was killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Fetch, Finished, Gate, Place, Reply, Seen, Server, Stream, echo};

const POLICIES: [&str; 4] = ["skip", "overwrite", "rename", "fail"];

/// A run in `place` with the journal `j`.
fn journaled(place: &Place, options: &[&str]) -> Fetch {
    place.fetch().args(["--json", "-d", "out", "--journal", "j", "--retry", "0"]).args(options)
}

/// Which body is under which name.
fn tree(place: &Place) -> BTreeMap<String, String> {
    let text = |body: Vec<u8>| String::from_utf8(body).expect("text");
    place.tree("out").into_iter().map(|(name, body)| (name, text(body))).collect()
}

/// Bodies in order, however they are called.
fn bodies(place: &Place) -> Vec<String> {
    let mut bodies: Vec<String> = tree(place).into_values().collect();
    bodies.sort();
    bodies
}

#[test]
fn a_line_that_comes_before_takes_no_name_that_was_settled() {
    let server = echo();
    for policy in POLICIES {
        let place = Place::new();
        let urls = ["/x/plain", "/y/plain", "/z/plain"].map(|path| server.url(path));
        let fetch = |urls: &[String]| journaled(&place, &["-j", "1", "--if-exists", policy]).urls(urls).run();
        fetch(&urls[..1]).assert_exit(0).check_invariants(1);
        let run = fetch(&[urls[1].clone(), urls[0].clone()]);
        assert_eq!(run.assert_exit(0).results(), ["ok", "skipped"], "{policy}\n{run}");
        assert_eq!((place.read_text("out/plain"), bodies(&place).len()), ("/x/plain".to_owned(), 2), "{policy}\n{run}");
        // Nor when its owner is not in the list any more.
        let run = fetch(&[urls[2].clone(), urls[1].clone()]);
        assert_eq!(run.assert_exit(0).results(), ["ok", "skipped"], "{policy}\n{run}");
        assert_eq!(place.read_text("out/plain"), "/x/plain", "{policy}\n{run}");
        assert_eq!(bodies(&place), ["/x/plain", "/y/plain", "/z/plain"], "{policy}\n{run}");
    }
}

#[test]
fn a_line_that_was_not_settled_keeps_the_name_that_others_were_refused() {
    for policy in POLICIES {
        let well = Arc::new(AtomicBool::new(false));
        let server = Server::http({
            let well = well.clone();
            move |seen: &Seen| match seen.path.starts_with("/bad") && !well.load(Ordering::Relaxed) {
                true => Reply::status(503),
                false => Reply::ok(seen.path.clone()),
            }
        });
        let place = Place::new();
        let url = |path: &str| server.url(path);
        let list = [
            format!("{}\tname.txt", url("/bad/1")),
            format!("{}\tname.txt", url("/2")),
            format!("{}\tname.txt", url("/bad/3")),
            format!("{}\tdir", url("/bad/4")),
            format!("{}\tdir/file", url("/5")),
            format!("{}\tdir/other", url("/bad/6")),
        ];
        let fetch = |list: &[String]| journaled(&place, &["-j", "1", "--if-exists", policy]).urls(list).run();
        fetch(&list).assert_exit(1).check_invariants(6);
        well.store(true, Ordering::Relaxed);
        let reversed: Vec<String> = list.iter().rev().cloned().collect();
        let run = fetch(&reversed);
        assert_eq!(run.assert_exit(0).results(), ["ok", "skipped", "ok", "ok", "skipped", "ok"], "{policy}\n{run}");
        let undisturbed = Place::new();
        journaled(&undisturbed, &["--if-exists", policy]).urls(&list).run().assert_exit(0);
        assert_eq!(tree(&place), tree(&undisturbed), "{policy}\n{run}");
    }
}

#[test]
fn what_was_killed_on_its_way_keeps_its_name_in_another_order() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = Server::http(move |seen: &Seen| match seen.path.as_str() {
        "/x/plain" => Reply::ok(vec![b'x'; 70_000]).chunked().then_wait(&held).body("end"),
        path => Reply::ok(path.to_owned()),
    });
    let place = Place::new();
    let urls = ["/x/plain", "/y/plain"].map(|path| server.url(path));
    let running = journaled(&place, &["-j", "2"]).urls(&urls).start();
    running.wait_for_lines(Stream::Out, 1);
    crate::harness::until("the partial file", || place.exists("out/plain.part"));
    running.kill();
    gate.open();
    let run = journaled(&place, &[]).urls(&[&urls[1], &urls[0]]).run();
    assert_eq!(run.assert_exit(0).results(), ["skipped", "ok"], "{run}");
    let names = place.names("out");
    assert!(place.read("out/plain").starts_with(b"xxx") && names.len() == 2, "{names:?}\n{run}");
}

#[test]
fn names_that_servers_give_stay_with_their_urls_whoever_answers_first() {
    for policy in POLICIES {
        let place = Place::new();
        let paths = ["/1/download", "/2/download", "/3/download"];
        let fetch = |server: &Server, order: [usize; 3]| {
            let urls = order.map(|at| server.url(paths[at]));
            journaled(&place, &["-j", "3", "-J", "--if-exists", policy]).urls(&urls)
        };
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen: &Seen| {
            let reply = Reply::ok(seen.path.clone()).header("content-disposition", "attachment; filename=real.bin");
            if seen.path == "/2/download" { reply } else { reply.held_by(&held) }
        });
        let running = fetch(&server, [0, 1, 2]).start();
        running.wait_for_lines(Stream::Out, 1);
        running.kill();
        assert_eq!(place.read_text("out/real.bin"), "/2/download");
        gate.open();
        let run = fetch(&server, [2, 0, 1]).run();
        assert_eq!(run.assert_exit(0).results().iter().filter(|it| *it == "ok").count(), 2, "{policy}\n{run}");
        assert_eq!(place.read_text("out/real.bin"), "/2/download", "{policy}\n{run}");
        assert_eq!(bodies(&place), paths, "{policy}\n{run}");
        let again = fetch(&server, [1, 2, 0]).run();
        assert_eq!(
            (again.assert_exit(0).results(), bodies(&place).len()),
            (vec!["skipped".to_owned(); 3], 3),
            "{again}"
        );
    }
}

#[test]
fn without_a_journal_names_that_servers_gave_are_found_again() {
    let server = Server::http(|seen: &Seen| {
        Reply::ok(seen.path.clone()).header("content-disposition", "attachment; filename=real.bin")
    });
    let place = Place::new();
    let urls = ["/1/download", "/2/download", "/3/download"].map(|path| server.url(path));
    let fetch = |order: [usize; 3]| {
        let urls = order.map(|at| urls[at].clone());
        place.fetch().args(["--json", "-d", "out", "-J", "-j", "1"]).urls(&urls).run()
    };
    fetch([0, 1, 2]).assert_exit(0).check_invariants(3);
    let before = tree(&place);
    let again = fetch([2, 1, 0]);
    assert_eq!((again.assert_exit(0).results(), tree(&place)), (vec!["skipped".to_owned(); 3], before), "{again}");
}

/// Kills a run at the N-th call of a kind, for one N after the other, and has `judge` look at each place.
fn killed_at_each(call: &str, options: &[&str], urls: &[String], judge: impl Fn(&Place, &str)) {
    for at in 1..100 {
        let place = Place::new();
        place.write("out/before", "before");
        let fault = format!("{call}:signal=KILL:when={at}");
        let at_what = if call == "write" { "j" } else { "out" };
        let Some(fetch) = journaled(&place, options).urls(urls).inject_at(at_what, &fault) else { return };
        let run: Finished = fetch.run();
        if run.signal() != Some(Signal::KILL.as_raw()) {
            assert!(at > 1 && run.code() == Some(0), "{call} is never called\n{run}");
            return;
        }
        judge(&place, &format!("{fault} {options:?}"));
    }
    panic!("there is no end of {call}");
}

#[test]
fn a_file_that_was_put_in_place_at_the_instant_of_a_kill_is_known_again() {
    // Some go through a file without a name, the others through a partial file.
    let server = Server::http(|seen: &Seen| {
        let reply = Reply::ok(seen.path.clone()).header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT");
        let reply = if seen.path.starts_with("/named") {
            reply.header("content-disposition", "attachment; filename=given.bin")
        } else {
            reply
        };
        if seen.path.ends_with("small") { reply } else { reply.chunked() }
    });
    let paths = ["/1/before", "/2/small", "/3/long", "/4/small", "/named/5", "/named/6-small"];
    let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    for policy in POLICIES {
        // What was there before is in the way, or would be replaced.
        let urls = if policy == "rename" { &urls[..] } else { &urls[1..] };
        let mut expected: Vec<&str> = urls.iter().filter_map(|url| url.strip_prefix(&server.url(""))).collect();
        expected.push("before");
        expected.sort();
        let options = ["-j", "1", "-J", "--if-exists", policy];
        let calls = if policy == "overwrite" { &["write"][..] } else { &["write", "linkat", "renameat2"] };
        for call in calls {
            killed_at_each(call, &options, urls, |place, context| {
                let reversed: Vec<&String> = urls.iter().rev().collect();
                let run = journaled(place, &options).urls(&reversed).run();
                assert_eq!(run.code(), Some(0), "{context}\n{run}");
                assert_eq!(bodies(place), expected, "{context}\n{run}");
                assert_eq!(place.read_text("out/before"), "before", "{context}\n{run}");
                let again = journaled(place, &options).urls(urls).run();
                assert_eq!(again.results(), vec!["skipped"; urls.len()], "{context}\n{again}");
            });
        }
    }
}

#[test]
fn what_was_put_in_place_at_the_instant_of_a_kill_is_done_whatever_is_asked_for_next() {
    let server = echo();
    let urls = ["/a", "/b"].map(|path| server.url(path));
    for policy in POLICIES {
        killed_at_each("write", &["-j", "1"], &urls, |place, context| {
            let there = ["out/a", "out/b"].map(|name| place.exists(name));
            let run = journaled(place, &["--if-exists", policy]).urls(&urls).run();
            assert_eq!(run.code(), Some(0), "{context} {policy}\n{run}");
            assert_eq!(bodies(place), ["/a", "/b", "before"], "{context} {policy}\n{run}");
            let reasons: Vec<bool> = run.records().iter().map(|record| record["errormsg"].is_string()).collect();
            assert_eq!(reasons, there, "{context} {policy}\n{run}");
            // Moved away they stay done.
            std::fs::remove_dir_all(place.path("out")).expect("it is there");
            let last = journaled(place, &["--if-exists", policy]).urls(&urls).run();
            assert_eq!(last.assert_exit(0).results(), ["skipped"; 2], "{context} {policy}\n{last}");
        });
    }
}

#[test]
fn a_file_that_had_to_take_another_name_in_the_last_moment_is_known_again_too() {
    for last in [3, 4] {
        let gate = Gate::new();
        let held = gate.clone();
        let server = Server::http(move |seen: &Seen| Reply::ok(seen.path.clone()).held_by(&held));
        let place = Place::new();
        let fetch = || journaled(&place, &["--if-exists", "rename"]).urls(&[server.url("/plain")]);
        // It writes the journal's first line, where the body is about to go, where it goes then, and that it is there.
        let Some(fetch_killed) = fetch().inject_at("j", &format!("write:signal=KILL:when={last}")) else { return };
        let running = fetch_killed.start();
        server.wait("the request", |counts| counts.running == 1);
        place.write("out/plain", "theirs");
        gate.open();
        assert_eq!(running.finish().signal(), Some(Signal::KILL.as_raw()));
        let run = fetch().run();
        assert_eq!(run.assert_exit(0).results(), [if last == 3 { "ok" } else { "skipped" }], "{run}");
        let expected =
            [("plain", "theirs"), ("plain.1", "/plain")].map(|(name, body)| (name.to_owned(), body.to_owned()));
        assert_eq!(tree(&place), expected.into(), "{run}");
    }
}

/// What a URL of [`every_url_has_its_one_file_in_whatever_order_the_list_comes_and_whenever_it_is_killed`] is answered.
fn body(path: &str) -> Vec<u8> {
    let length = if path.contains("long") { 70_000 } else { 500 };
    let mut body = path.repeat(length / path.len() + 1).into_bytes();
    body.truncate(length);
    body
}

#[test]
fn every_url_has_its_one_file_in_whatever_order_the_list_comes_and_whenever_it_is_killed() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let (kills, seed) = (variable("FETCHMANY_KILLS").unwrap_or(16), variable("FETCHMANY_SEED").unwrap_or(1));
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::http(|seen: &Seen| {
        let late = seen.path.bytes().map(u64::from).sum::<u64>() % 5;
        let reply = Reply::ok(body(&seen.path)).header("etag", "\"v\"").after(Duration::from_millis(3 * late));
        let reply = if seen.path.contains("long") { reply.chunked() } else { reply };
        match seen.path.contains("named") {
            true => reply.header("content-disposition", "attachment; filename=name"),
            false => reply,
        }
    });
    let kinds = ["name", "long", "named", "name.txt", "longnamed", "other"];
    let list: Vec<String> = (0..36)
        .map(|number| {
            let url = server.url(&format!("/{number}/{}", kinds[number % kinds.len()]));
            // Some want to be below what is a file, or to be what is a directory.
            if number % 9 == 0 { format!("{url}\tdir/name/{}", number % 4) } else { url }
        })
        .chain([format!("{}\tdir", server.url("/36/name"))])
        .collect();
    let (mut killed, mut round) = (0, 0);
    while killed < kills {
        let policy = POLICIES[round % POLICIES.len()];
        round += 1;
        let place = Place::new();
        let mut known = random.usize(1..list.len());
        let mut order: Vec<&String> = list[..known].iter().collect();
        // In some rounds the command stays the same, and then the tree is that of an undisturbed run.
        let is_the_same = random.bool();
        let naming: &[&str] = if is_the_same { &[] } else { &["-J"] };
        let options = [&["--if-exists", policy], naming].concat();
        let context = format!("FETCHMANY_SEED={seed}, round {round}, {options:?}");
        for _ in 0..random.usize(2..6) {
            let running = journaled(&place, &options).args(["-j", "6"]).urls(&order).start();
            std::thread::sleep(Duration::from_millis(random.u64(5..120)));
            killed += u64::from(running.kill().signal().is_some());
            if is_the_same {
                continue;
            }
            let more = random.usize(known..=list.len());
            order.extend(&list[known..more]);
            known = more;
            random.shuffle(&mut order);
        }
        let run = journaled(&place, &options).urls(&order).run();
        assert_eq!(run.code(), Some(0), "{context}\n{run}");
        let tree = place.tree("out");
        if is_the_same {
            let undisturbed = Place::new();
            journaled(&undisturbed, &options).urls(&order).run().assert_exit(0);
            assert!(tree == undisturbed.tree("out"), "{context}: {:?}\n{run}", tree.keys());
        }
        let mut found: Vec<&Vec<u8>> = tree.values().collect();
        let path = |line: &String| line.split('\t').next().and_then(|url| url.strip_prefix(&server.url(""))).map(body);
        let expected: Vec<Vec<u8>> = order.iter().filter_map(|line| path(line)).collect();
        let mut expected: Vec<&Vec<u8>> = expected.iter().collect();
        found.sort();
        expected.sort();
        assert!(found == expected, "{context}: {:?}\n{run}", tree.keys());
        random.shuffle(&mut order);
        let again = journaled(&place, &options).urls(&order).run();
        assert_eq!(again.results(), vec!["skipped"; order.len()], "{context}\n{again}");
        assert!(place.tree("out") == tree, "{context}\n{again}");
    }
}

#[test]
fn a_settled_line_tells_no_file_whose_name_was_found_at_its_end() {
    let server = echo();
    for (options, name) in [(["--if-exists", "rename"], None), (["--if-exists", "skip"], Some("out/a"))] {
        let place = Place::new();
        std::fs::create_dir(place.path("out")).expect("make a directory");
        if name.is_none() {
            place.write("out/a", "a stranger's");
        }
        let fetch = || journaled(&place, &options).arg(server.url("/a")).run();
        fetch().assert_exit(0).check_invariants(1);
        let again = fetch();
        assert_eq!(again.assert_exit(0).results(), ["skipped"], "{again}");
        assert_eq!(again.record()["filename_effective"].as_str(), name, "{again}");
    }
}

#[test]
fn a_settled_line_tells_no_file_of_a_name_that_another_run_did_not_give_it() {
    let server = Server::http(|_| Reply::ok("x").header("content-disposition", "attachment; filename=zz"));
    for (options, there) in [(&["--if-exists", "rename"][..], true), (&["-J"], false)] {
        let place = Place::new();
        std::fs::create_dir(place.path("out")).expect("make a directory");
        if there {
            place.write("out/a", "a stranger's");
        }
        let fetch = |options: &[&str]| journaled(&place, options).arg(server.url("/a")).run();
        fetch(options).assert_exit(0).check_invariants(1);
        let again = fetch(&[]);
        assert_eq!(again.assert_exit(0).results(), ["skipped"], "{again}");
        assert!(again.record()["filename_effective"].is_null(), "{again}");
    }
}
