//! Kills and failures of the disk at every step, then the same command again: the tree of an undisturbed run, a record of
//! every line, and at no moment anything partial under a final name.
//!
//! `FETCHMANY_KILLS=200` makes the random loop longer, `FETCHMANY_SEED` another one; `FETCHMANY_EVERY=1` has each single
//! system call fail in turn, not only some.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{Fetch, Finished, Place, Reply, Seen, Server, Tree};

/// Above this a body with a known length has a name while it is written.
const BIG: usize = 1_200_000;

/// The body of a name.
fn body(name: &str) -> Vec<u8> {
    let length = match name.split('-').next() {
        Some("big") => BIG,
        Some("long") => 70_000,
        Some("empty") => 0,
        _ => 500 + 10 * name.len(),
    };
    let mut body = name.repeat(length / name.len() + 1).into_bytes();
    body.truncate(length);
    body
}

/// What was there before under a name that is overwritten.
fn before(name: &str) -> Vec<u8> {
    format!("before {name}").into_bytes()
}

/// Serves every name; where answers are uneven, some come late, so that others are in the middle of something.
fn server(is_uneven: bool) -> Server {
    Server::http(move |seen: &Seen| {
        let name = &seen.path[1..];
        let reply = Reply::ok(body(name)).header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT");
        let reply = if name.starts_with("long") { reply.chunked() } else { reply };
        let late = name.bytes().map(u64::from).sum::<u64>() % 7;
        if is_uneven && late > 3 { reply.after(Duration::from_millis(5 * late)) } else { reply }
    })
}

/// One list in one place, fetched by the same command as often as it takes.
struct Course<'a> {
    server: &'a Server,
    place: Place,
    names: Vec<String>,
    options: &'a [&'a str],
    /// Names whose record said `ok`, of all runs.
    ok: BTreeSet<String>,
    /// Names that had a record which was not `cancelled` or `failed`.
    told: BTreeSet<String>,
    /// Whether the journal has everything that was told: it took every write.
    is_recorded: bool,
}

impl<'a> Course<'a> {
    fn new(server: &'a Server, names: &[String], options: &'a [&'a str]) -> Course<'a> {
        let place = Place::new();
        let sums = names.iter().map(|name| {
            let digits: String = Sha256::digest(body(name)).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}  {name}\n")
        });
        place.write("sums", sums.collect::<String>());
        if options.contains(&"overwrite") {
            for name in names.iter().step_by(2) {
                place.write(&format!("out/{name}"), before(name));
            }
            // And what a run of somebody else may have left.
            place.write(&format!("out/{}.part", names[1]), "the beginning of something");
            place.write("j", "fetchmany-journal 1\nok 0123");
        }
        Course {
            server,
            place,
            names: names.to_vec(),
            options,
            ok: BTreeSet::new(),
            told: BTreeSet::new(),
            is_recorded: true,
        }
    }

    fn fetch(&self) -> Fetch {
        let urls: Vec<String> = self.names.iter().map(|name| self.server.url(&format!("/{name}"))).collect();
        let command = ["--json", "-d", "out", "--journal", "j", "--results", "r", "--checksum-file", "sums"];
        self.place.fetch().args(command).args(self.options).urls(&urls)
    }

    /// Takes what a run told before its end, which may have come in the middle of a line.
    #[track_caller]
    fn note(&mut self, run: &Finished) {
        let whole = run.stdout.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in run.stdout[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Value = serde_json::from_slice(line).unwrap_or_else(|_| panic!("a whole line is JSON\n{run}"));
            let name = record["url"].as_str().and_then(|url| url.rsplit('/').next()).expect("a name").to_owned();
            let result = record["result"].as_str().expect("a result");
            if self.ok.contains(&name) && self.is_recorded {
                let why = record["errormsg"].as_str().unwrap_or_default();
                assert!(why.starts_with("the journal has it: done"), "{name} was told before: {record}\n{run}");
            }
            match result {
                "ok" => drop(self.ok.insert(name.clone())),
                "failed" => assert_eq!(record["error_class"], "local", "{run}"),
                "cancelled" => continue,
                _ => {}
            }
            if result != "failed" {
                assert_eq!(self.place.read(&format!("out/{name}")), body(&name), "{record}\n{run}");
                self.told.insert(name);
            }
        }
    }

    /// The undisturbed run that ends the course, and what must be there then.
    #[track_caller]
    fn end(&mut self, expected: &Tree, context: &str) {
        let run = self.fetch().run();
        assert_eq!(run.code(), Some(0), "{context}\n{run}");
        self.note(&run);
        let tree = self.place.tree("out");
        let (found, wanted): (Vec<_>, Vec<_>) = (tree.keys().collect(), expected.keys().collect());
        assert_eq!(found, wanted, "{context}\n{run}");
        assert!(tree == *expected, "a file differs; {context}\n{run}");
        let all: BTreeSet<String> = self.names.iter().cloned().collect();
        assert!(self.told == all, "no record of {:?}; {context}\n{run}", all.difference(&self.told));
    }

    /// Once more, when there is nothing left to do.
    #[track_caller]
    fn check_settled(&self, expected: &Tree, context: &str) {
        let run = self.fetch().run();
        assert_eq!(run.results(), vec!["skipped"; self.names.len()], "{context}\n{run}");
        assert!(self.place.tree("out") == *expected, "{context}\n{run}");
    }

    /// Looks at the tree all the time until it is told to stop; what was wrong with it.
    fn sample(&self) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (out, stopped) = (self.place.path("out"), stop.clone());
        let thread = std::thread::spawn(move || {
            // A file that was whole under its name is read once.
            let mut known = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                for entry in std::fs::read_dir(&out).into_iter().flatten().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let Ok(found) = entry.metadata() else { continue };
                    let part = name.ends_with(".part") || name.ends_with(".part.meta");
                    if part || !known.insert((name.clone(), found.ino(), found.len(), found.ctime_nsec())) {
                        continue;
                    }
                    let Ok(content) = std::fs::read(entry.path()) else { continue };
                    if content != body(&name) && content != before(&name) {
                        return Some(format!("{name} has {} bytes", content.len()));
                    }
                }
            }
            None
        });
        Sampler { stop, thread }
    }
}

struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<String>>,
}

impl Sampler {
    #[track_caller]
    fn end(self, context: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("the sampler does not panic");
        assert_eq!(seen, None, "a file that is not whole was seen; {context}");
    }
}

fn names(count: usize) -> Vec<String> {
    let kinds = ["small", "long", "small", "empty", "big", "small"];
    (0..count).map(|number| format!("{}-{number}", kinds[number % kinds.len()])).collect()
}

/// What an undisturbed run leaves.
fn whole(names: &[String]) -> Tree {
    names.iter().map(|name| (name.clone(), body(name))).collect()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// What is there already is left, or overwritten; few or many at once.
const OPTIONS: [&[&str]; 3] = [
    &["-j", "8"],
    &["-j", "8", "--if-exists", "overwrite"],
    &["-j", "50", "--if-exists", "overwrite", "--limit-rate", "40M"],
];

#[test]
fn killed_at_any_moment_and_started_again_it_ends_as_if_nothing_had_happened() {
    let (kills, seed) = (number("FETCHMANY_KILLS", 12), number("FETCHMANY_SEED", 1));
    let mut random = fastrand::Rng::with_seed(seed);
    let server = server(true);
    let names = names(48);
    let expected = whole(&names);
    let (mut killed, mut round) = (0, 0);
    while killed < kills {
        round += 1;
        let mut course = Course::new(&server, &names, OPTIONS[round % OPTIONS.len()]);
        let span = {
            let undisturbed = Course::new(&server, &names, course.options);
            let start = Instant::now();
            undisturbed.fetch().run().assert_exit(0);
            assert!(undisturbed.place.tree("out") == expected);
            start.elapsed()
        };
        let context = format!("FETCHMANY_SEED={seed}, round {round}, {:?}", course.options);
        let sampler = course.sample();
        for _ in 0..random.usize(1..5) {
            let running = course.fetch().start();
            std::thread::sleep(span.mul_f64(random.f64()));
            let run = running.kill();
            course.note(&run);
            if run.signal() != Some(Signal::KILL.as_raw()) {
                break;
            }
            killed += 1;
        }
        course.end(&expected, &context);
        course.check_settled(&expected, &context);
        sampler.end(&context);
    }
    println!("{killed} kills in {round} rounds");
}

/// Has `strace` do something at the N-th call of each kind, for one N after the other until there is no such call.
fn at_each(calls: &[(&str, u64)], first: u64, what: &str, options: &[&str], judge: impl Fn(&Finished, &str)) {
    let every = std::env::var_os("FETCHMANY_EVERY").is_some();
    let server = server(false);
    let names = names(6);
    let expected = whole(&names);
    for (call, stride) in calls {
        let mut at = if every { 1 } else { first };
        loop {
            assert!(at < 2_000, "there is no end of {call}");
            let mut course = Course::new(&server, &names, options);
            let fault = format!("{call}:{what}:when={at}");
            let Some(fetch) = course.fetch().inject(&fault) else { return };
            let sampler = course.sample();
            let run = fetch.run();
            let killed = run.signal() == Some(Signal::KILL.as_raw());
            if !killed && run.place().injected().is_empty() {
                assert_eq!(run.code(), Some(0), "{fault}\n{run}");
                assert!(at > 1, "{call} is never called\n{run}");
                break;
            }
            judge(&run, &fault);
            course.is_recorded = killed;
            course.note(&run);
            course.end(&expected, &fault);
            sampler.end(&fault);
            at += if every { 1 } else { *stride };
        }
    }
}

/// The calls by which anything gets onto the disk, and which of them are tried where not all are.
const CALLS: [(&str, u64); 7] =
    [("write", 9), ("linkat", 2), ("renameat2", 1), ("utimensat", 5), ("flock", 2), ("fdatasync", 1), ("openat", 9)];

/// Those of a run that overwrites.
const OVERWRITING: [(&str, u64); 2] = [("renameat", 3), ("ftruncate", 1)];

#[test]
fn killed_at_each_step_of_writing_it_goes_on_where_it_was() {
    let killed = |run: &Finished, fault: &str| assert_eq!(run.signal(), Some(Signal::KILL.as_raw()), "{fault}\n{run}");
    at_each(&CALLS, 1, "signal=KILL", &["-j", "1"], killed);
    at_each(&OVERWRITING, 1, "signal=KILL", &["-j", "1", "--if-exists", "overwrite"], killed);
}

#[test]
fn where_a_step_of_writing_fails_the_next_run_makes_the_tree_whole() {
    for (error, first) in [("EIO", 1), ("ENOSPC", 2)] {
        // 127: the dynamic loader's, when it cannot open a library.
        let ended = |run: &Finished, fault: &str| assert!(matches!(run.code(), Some(0..=3 | 127)), "{fault}\n{run}");
        at_each(&CALLS, first, &format!("error={error}"), &["-j", "1"], ended);
        at_each(&OVERWRITING, first, &format!("error={error}"), &["-j", "1", "--if-exists", "overwrite"], ended);
    }
}
