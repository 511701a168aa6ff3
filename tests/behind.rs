//! What is written behind: the bytes of a large body that a thread of its own takes to the disk. Kills and failures at
//! each of its writes, then the same command again.
//!
//! `FETCHMANY_EVERY=1` has every single write fail in turn, not only some.

use rustix::process::Signal;

use crate::harness::{Fetch, Finished, Place, Reply, Server};

/// The first MiB is written at once; the others behind.
const AT_ONCE: usize = 1 << 20;

/// No byte of it is zero, as those of a hole are.
fn body() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 251) as u8 + 1).collect()
}

fn server() -> Server {
    let body = body();
    Server::http(move |seen| {
        let from = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let reply = match from {
            None => Reply::ok(body.clone()),
            Some(from) if from < body.len() => Reply::status(206)
                .header("content-range", format!("bytes {from}-{}/{}", body.len() - 1, body.len()))
                .body(&body[from..]),
            Some(_) => Reply::status(416).header("content-range", format!("bytes */{}", body.len())),
        };
        reply.header("etag", "\"v1\"").header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT")
    })
}

const BEFORE: &[u8] = b"what was there before";

/// A way to fetch the one file, and what it finds.
struct Way<'a> {
    if_exists: &'a str,
    has_journal: bool,
    server: &'a Server,
}

impl Way<'_> {
    fn place(&self) -> Place {
        let place = Place::new();
        if self.if_exists == "overwrite" {
            place.write("out/large", BEFORE);
        }
        place
    }

    fn fetch(&self, place: &Place) -> Fetch {
        let fetch = place.fetch().args(["--json", "-d", "out", "--if-exists", self.if_exists]);
        let journal: &[&str] = if self.has_journal { &["--journal", "journal"] } else { &[] };
        fetch.args(journal).arg(self.server.url("/large"))
    }

    /// What is under the final name is whole, or what was there before.
    #[track_caller]
    fn check_unfinished(&self, run: &Finished, context: &str) {
        let found = run.place().tree("out").remove("large");
        let before = (self.if_exists == "overwrite").then(|| BEFORE.to_vec());
        assert!(found == before, "something is under the final name; {context}\n{run}");
        if let Some(part) = run.place().tree("out").get("large.part") {
            let is_beginning = part.len() >= AT_ONCE && body().starts_with(part);
            assert!(is_beginning, "{} bytes are not the beginning; {context}\n{run}", part.len());
        }
    }

    /// The same command, undisturbed, and once more.
    #[track_caller]
    fn check_again(&self, place: &Place, context: &str) -> Finished {
        let run = self.fetch(place).run();
        run.assert_exit(0).check_invariants(1);
        assert_eq!(run.results(), ["ok"], "{context}\n{run}");
        assert_eq!(place.names("out"), ["large"], "{context}\n{run}");
        assert!(place.read("out/large") == body(), "the file is another; {context}\n{run}");
        let requests = self.server.seen().len();
        let settled = self.fetch(place).run();
        let is_settled = self.has_journal || self.if_exists == "skip";
        assert_eq!(settled.results(), [if is_settled { "skipped" } else { "ok" }], "{context}\n{settled}");
        assert_eq!(self.server.seen().len() == requests, is_settled, "{context}\n{settled}");
        assert!(place.read("out/large") == body(), "{context}\n{settled}");
        run
    }
}

/// With one core alone everything is written at once.
fn is_written_behind() -> bool {
    let has_cores = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    if !has_cores {
        eprintln!("skipped: there is no second core");
    }
    has_cores
}

/// Has strace do `what` at one write behind after the other until there is none, in each way. `judge` sees each run that
/// met it; the next one goes on where it was, or begins anew.
#[track_caller]
fn at_each_write(what: &str, goes_on: bool, judge: impl Fn(&Finished, &str)) {
    let every = std::env::var_os("FETCHMANY_EVERY").is_some();
    if !is_written_behind() {
        return;
    }
    let server = server();
    for (if_exists, has_journal) in [("skip", false), ("skip", true), ("overwrite", false), ("overwrite", true)] {
        let way = Way { if_exists, has_journal, server: &server };
        for at in std::iter::successors(Some(1), |at| Some(if every { at + 1 } else { 2 * at })) {
            let place = way.place();
            let fault = format!("pwrite64:{what}:when={at}");
            let context = format!("{fault}, --if-exists {if_exists}, journal {has_journal}");
            let Some(fetch) = way.fetch(&place).inject_at("out/large.part", &fault) else { return };
            let run = fetch.run();
            if run.signal().is_none() && place.injected().is_empty() {
                run.assert_exit(0);
                assert!(at > 1, "nothing is written behind; {context}\n{run}");
                break;
            }
            judge(&run, &context);
            way.check_unfinished(&run, &context);
            let again = way.check_again(&place, &context);
            let from = again.record()["resume_from"].as_u64();
            assert_eq!(from.is_some_and(|from| from >= AT_ONCE as u64), goes_on, "{context}\n{again}");
        }
    }
}

#[test]
fn killed_at_a_write_behind_it_goes_on_where_it_was() {
    at_each_write("signal=KILL", true, |run, context| {
        assert_eq!(run.signal(), Some(Signal::KILL.as_raw()), "{context}\n{run}");
    });
}

#[test]
fn where_a_write_behind_fails_the_next_run_makes_the_file_whole() {
    for (error, exit) in [("EIO", 1), ("ENOSPC", 3)] {
        at_each_write(&format!("error={error}"), false, |run, context| {
            assert_eq!(run.code(), Some(exit), "{context}\n{run}");
            run.assert_failed("local").check_invariants(1);
        });
    }
}

#[test]
fn where_a_write_behind_takes_less_than_it_was_given_the_rest_is_written_after_it() {
    const TAKEN: usize = 100;
    if !is_written_behind() {
        return;
    }
    // strace takes so many bytes and writes none of them: all the others must be in their places.
    let (server, place) = (server(), Place::new());
    let fetch = place.fetch().args(["--json", "-d", "out"]).arg(server.url("/large"));
    let Some(fetch) = fetch.inject_at("out/large.part", &format!("pwrite64:retval={TAKEN}:when=1")) else { return };
    let run = fetch.run();
    run.assert_exit(0).check_invariants(1);
    let (found, wanted) = (place.read("out/large"), body());
    let hole = (0..wanted.len()).find(|at| found[*at] != wanted[*at]).expect("what was not written");
    assert!(hole >= AT_ONCE && found.len() == wanted.len(), "{hole}");
    assert!(found[hole + TAKEN..] == wanted[hole + TAKEN..], "{run}");
    assert!(found[..hole] == wanted[..hole] && found[hole..hole + TAKEN].iter().all(|byte| *byte == 0), "{run}");
}
