//! Kills and failures of the disk at every step, then the same command again: the tree of an undisturbed run, a record of
//! every line, and at no moment anything partial under a final name.
//!
//! `FETCHMANY_KILLS=200` makes the random loop longer, `FETCHMANY_SEED` another one, `FETCHMANY_PLAN` one of a single plan;
//! `FETCHMANY_EVERY=1` has each single system call fail in turn, not only some.

mod plans;

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::plans::{List, PLANS, Plan};
use crate::harness::{Fetch, Finished, Place, Reply, Seen, Server, Tree};

/// Above this a body with a known length has a name while it is written.
const BIG: usize = 1_200_000;

/// Lines of a list that is killed at random.
const COUNT: usize = 48;

/// The body of a path.
fn body(path: &str) -> Vec<u8> {
    let path = plans::moved(path).map_or(path, |(_, path)| path);
    let last = path.rsplit('/').next().unwrap_or_default();
    let kind = last.split('-').next().unwrap_or_default();
    let length = plans::length(kind, 500 + 10 * last.len());
    let mut body = path.repeat(length / path.len() + 1).into_bytes();
    body.truncate(length);
    body
}

/// Its SHA-256.
fn digits(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was there before under a name.
fn before(name: &str) -> Vec<u8> {
    format!("before {name}").into_bytes()
}

/// Serves every path, also from its middle; where answers are uneven, some come late or slowly, so that others are in the
/// middle of something.
fn server(is_uneven: bool) -> Server {
    Server::http(move |seen: &Seen| {
        if let Some((to, path)) = plans::moved(&seen.path) {
            // Another name of this machine is another host.
            let host = if to == "here" { seen.host.clone() } else { seen.host.replace("127.0.0.1", "localhost") };
            return Reply::redirect(302, format!("http://{host}{path}"));
        }
        let (path, content) = (&seen.path, body(&seen.path));
        let last = path.rsplit('/').next().unwrap_or_default();
        let range =
            seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let tag = format!("\"{path}\"");
        let (reply, rest) = match range.filter(|from| *from < content.len() && seen.header("if-range") == Some(&tag)) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                (Reply::status(206).header("content-range", range), &content[from..])
            }
            None => (Reply::status(200), &content[..]),
        };
        let reply = reply.header("last-modified", "Tue, 01 Feb 2022 10:20:30 GMT").header("etag", tag);
        let reply = match path.starts_with("/named/") {
            true => reply.header("content-disposition", format!("attachment; filename=\"{}\"", plans::suggested(last))),
            false => reply,
        };
        let reply = if last.starts_with("long") { reply.chunked() } else { reply };
        if last.starts_with("slow") && is_uneven {
            let pieces = rest.chunks(rest.len().div_ceil(6).max(1));
            return pieces.fold(reply, |reply, piece| reply.body(piece).then_pause(Duration::from_millis(15)));
        }
        let late = path.bytes().map(u64::from).sum::<u64>() % 7;
        let reply = reply.body(rest);
        if is_uneven && late > 3 { reply.after(Duration::from_millis(5 * late)) } else { reply }
    })
}

/// What an undisturbed run leaves, and what it and the next one tell.
#[derive(PartialEq)]
struct Whole {
    tree: Tree,
    /// URLs that are told to be done.
    told: BTreeSet<String>,
    code: Option<i32>,
    /// Of the same command again.
    results: Vec<String>,
}

/// One list in one place, fetched by the same command as often as it takes.
struct Course<'a> {
    server: &'a Server,
    plan: &'a Plan,
    place: Place,
    paths: Vec<String>,
    /// URLs whose record said `ok`, of all runs.
    ok: BTreeSet<String>,
    /// URLs that had a record which was not `cancelled` or `failed`.
    told: BTreeSet<String>,
    /// Whether the journal has everything that was told: it took every write.
    is_recorded: bool,
}

impl<'a> Course<'a> {
    fn new(server: &'a Server, plan: &'a Plan, count: usize) -> Course<'a> {
        let (place, paths) = (Place::new(), plan.paths(count));
        let names: Vec<String> = paths.iter().map(|path| plan.name(path)).collect();
        let sums = paths.iter().zip(&names).map(|(path, name)| format!("{}  {name}\n", digits(&body(path))));
        place.write("sums", sums.collect::<String>());
        if plan.meets_others() {
            for name in names.iter().step_by(2) {
                place.write(&format!("out/{name}"), before(name));
            }
            // And what another run may have left.
            place.write(&format!("out/{}.part", names[1]), "the beginning of something");
            let meta = place.write(&format!("out/{}.part.meta", names[1]), "");
            std::fs::set_permissions(meta, PermissionsExt::from_mode(0o600)).expect("make it private");
            place.write("j", "fetchmany-journal 1\nok 0123");
        }
        Course { server, plan, place, paths, ok: BTreeSet::new(), told: BTreeSet::new(), is_recorded: true }
    }

    fn fetch(&self) -> Fetch {
        self.fetch_some(&self.paths)
    }

    fn fetch_some(&self, paths: &[String]) -> Fetch {
        let command = ["--json", "-d", "out", "--journal", "j", "--results", "r"];
        self.place.fetch().args(command).args(self.plan.options).urls(&self.plan.lines(self.server, paths))
    }

    /// The list of a run that is not the last.
    fn some(&self, random: &mut fastrand::Rng) -> Vec<String> {
        let mut paths = self.paths.clone();
        if self.plan.list == List::Changing {
            random.shuffle(&mut paths);
            paths.truncate(random.usize(paths.len() / 2..=paths.len()));
        }
        paths
    }

    /// Takes what a run told before its end, which may have come in the middle of a line.
    #[track_caller]
    fn note(&mut self, run: &Finished) {
        let whole = run.stdout.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in run.stdout[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Value = serde_json::from_slice(line).unwrap_or_else(|_| panic!("a whole line is JSON\n{run}"));
            let url = record["url"].as_str().expect("a URL").to_owned();
            let result = record["result"].as_str().expect("a result");
            if self.ok.contains(&url) && self.is_recorded {
                let why = record["errormsg"].as_str().unwrap_or_default();
                assert!(why.starts_with("the journal has it: done"), "{url} was told before: {record}\n{run}");
            }
            match result {
                "ok" => {
                    let name = record["filename_effective"].as_str().expect("a name");
                    let path = &url[self.server.url("").len()..];
                    assert!(self.place.read(name) == body(path), "{record}\n{run}");
                    self.ok.insert(url.clone());
                }
                "failed" => assert_eq!(record["error_class"], "local", "{run}"),
                _ => {}
            }
            if matches!(result, "ok" | "skipped") {
                self.told.insert(url);
            }
        }
    }

    /// A run that came to its end has one record of each line wherever records go, unless they could not be written there,
    /// or none where it could not begin.
    #[track_caller]
    fn check_records(&self, run: &Finished, context: &str) {
        let results = if self.place.exists("r") { self.place.read("r") } else { Vec::new() };
        let is_broken =
            ["write standard output: ", "write results file r: "].iter().any(|what| run.stderr_text().contains(what));
        for records in [&run.stdout, &results] {
            let lines =
                records.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
            let mut told: Vec<String> = lines.filter_map(|record| Some(record["url"].as_str()?.to_owned())).collect();
            told.sort();
            let mut lines: Vec<String> = self.paths.iter().map(|path| self.server.url(path)).collect();
            lines.sort();
            let has_begun = !matches!(run.code(), Some(2 | 3 | 127)) || !told.is_empty();
            assert!(is_broken || !has_begun || told == lines, "{told:?}; {context}\n{run}");
        }
    }

    /// Runs undisturbed to the end of the course, and once more when there is nothing left to do.
    #[track_caller]
    fn end(&mut self, context: &str) -> Whole {
        let run = self.fetch().run();
        assert!(matches!(run.code(), Some(0 | 1)), "{context}\n{run}");
        self.note(&run);
        let tree = self.place.tree("out");
        let again = self.fetch().run();
        assert!(self.place.tree("out") == tree, "the next run changed something; {context}\n{again}");
        Whole { tree, told: self.told.clone(), code: run.code(), results: again.results() }
    }

    /// Ends the course, which must be as if nothing had happened.
    #[track_caller]
    fn check_end(&mut self, undisturbed: &Whole, context: &str) {
        let whole = self.end(context);
        let (found, wanted): (Vec<_>, Vec<_>) = (whole.tree.keys().collect(), undisturbed.tree.keys().collect());
        assert_eq!(found, wanted, "{context}");
        let differs: Vec<_> =
            whole.tree.iter().filter(|(name, file)| undisturbed.tree.get(*name) != Some(file)).collect();
        assert!(differs.is_empty(), "{:?} differ; {context}", differs.iter().map(|(name, _)| name).collect::<Vec<_>>());
        assert_eq!(whole.told, undisturbed.told, "{context}");
        assert_eq!((whole.code, &whole.results), (undisturbed.code, &undisturbed.results), "{context}");
    }

    /// Looks at the tree all the time until it is told to stop; what was wrong with it.
    fn sample(&self, whole: &Tree) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (out, stopped, whole) = (self.place.path("out"), stop.clone(), whole.clone());
        let thread = std::thread::spawn(move || {
            // A file that was whole under its name is read once.
            let mut known = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                let below = std::fs::read_dir(out.join("below")).into_iter().flatten().flatten();
                for entry in std::fs::read_dir(&out).into_iter().flatten().flatten().chain(below) {
                    let path = entry.path();
                    let name = path.strip_prefix(&out).unwrap_or(&path).to_string_lossy().into_owned();
                    let Ok(found) = entry.metadata() else { continue };
                    let part = name.ends_with(".part") || name.ends_with(".part.meta") || found.is_dir();
                    if part || !known.insert((name.clone(), found.ino(), found.len(), found.ctime_nsec())) {
                        continue;
                    }
                    let Ok(content) = std::fs::read(&path) else { continue };
                    if whole.get(&name) != Some(&content) && content != before(&name) {
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

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect("a number"))
}

#[test]
fn killed_at_any_moment_and_started_again_it_ends_as_if_nothing_had_happened() {
    let (kills, seed) = (number("FETCHMANY_KILLS", 30), number("FETCHMANY_SEED", 1));
    let mut random = fastrand::Rng::with_seed(seed);
    let server = server(true);
    let chosen = std::env::var("FETCHMANY_PLAN").ok();
    let plans: Vec<&Plan> = match &chosen {
        None => PLANS.iter().collect(),
        Some(name) => PLANS.iter().filter(|plan| plan.name == name).collect(),
    };
    let (mut killed, mut rounds) = (0, 0);
    let begun: Vec<(Whole, Duration)> = plans
        .iter()
        .map(|plan| {
            let start = Instant::now();
            Course::new(&server, plan, COUNT).fetch().run();
            let span = start.elapsed();
            (Course::new(&server, plan, COUNT).end(plan.name), span)
        })
        .collect();
    while killed < kills || rounds < plans.len() {
        let plan = plans[rounds % plans.len()];
        let (whole, span) = &begun[rounds % plans.len()];
        rounds += 1;
        let mut course = Course::new(&server, plan, COUNT);
        let context = format!("FETCHMANY_SEED={seed}, round {rounds}, {}", plan.name);
        let sampler = course.sample(&whole.tree);
        for _ in 0..random.usize(1..5) {
            let running = course.fetch_some(&course.some(&mut random)).start();
            std::thread::sleep(span.mul_f64(random.f64()));
            let run = running.kill();
            course.note(&run);
            if run.signal() != Some(Signal::KILL.as_raw()) {
                break;
            }
            killed += 1;
        }
        course.check_end(whole, &context);
        sampler.end(&context);
    }
    // A redirect is asked for the rest as well, and has none.
    let is_continued = |seen: &&Seen| seen.header("range").is_some() && plans::moved(&seen.path).is_none();
    let continued = server.seen().iter().filter(is_continued).count();
    println!("{killed} kills in {rounds} rounds, {continued} bodies continued");
    assert!(chosen.is_some() || continued > 0, "nothing was continued");
}

/// Has `strace` do something at the N-th call of each kind, for one N after the other until there is no such call.
fn at_each(calls: &[(&str, u64)], first: u64, what: &str, plan: &Plan, judge: impl Fn(&Finished, &str)) {
    let every = std::env::var_os("FETCHMANY_EVERY").is_some();
    let server = server(false);
    let whole = Course::new(&server, plan, 6).end("undisturbed");
    for (call, stride) in calls {
        let mut at = if every { 1 } else { first };
        loop {
            assert!(at < 2_000, "there is no end of {call}");
            let mut course = Course::new(&server, plan, 6);
            let fault = format!("{call}:{what}:when={at}");
            let Some(fetch) = course.fetch().inject(&fault) else { return };
            let sampler = course.sample(&whole.tree);
            let run = fetch.run();
            let killed = run.signal() == Some(Signal::KILL.as_raw());
            if !killed && run.place().injected().is_empty() {
                assert_eq!(run.code(), Some(0), "{fault}\n{run}");
                assert!(at > 1, "{call} is never called\n{run}");
                break;
            }
            judge(&run, &fault);
            if !killed {
                course.check_records(&run, &fault);
            }
            course.is_recorded = killed;
            course.note(&run);
            course.check_end(&whole, &fault);
            sampler.end(&fault);
            at += if every { 1 } else { *stride };
        }
    }
}

/// The calls by which anything gets onto the disk, and which of them are tried where not all are.
const CALLS: [(&str, u64); 7] =
    [("write", 9), ("linkat", 2), ("renameat2", 1), ("utimensat", 5), ("flock", 2), ("fdatasync", 1), ("openat", 9)];

/// Those of a run that overwrites.
const OVERWRITE: [(&str, u64); 1] = [("renameat", 3)];

/// Those of one whose files are safe before they are told of.
const SYNC: [(&str, u64); 3] = [("fsync", 1), ("fdatasync", 1), ("renameat2", 1)];

/// That by which things go. Where it fails something is left, which harms nobody.
const REMOVE: [(&str, u64); 1] = [("unlinkat", 1)];

/// One after another, so that the N-th call is always the same.
const SKIPPING: Plan = Plan { name: "one", options: &["-j", "1", "--checksum-file", "sums"], list: List::Urls };
const OVERWRITING: Plan = Plan {
    name: "one-overwrite",
    options: &["-j", "1", "--if-exists", "overwrite", "--checksum-file", "sums"],
    list: List::Urls,
};

const SYNCING: Plan = Plan {
    name: "one-sync",
    options: &["-j", "1", "--sync", "--if-exists", "overwrite", "--checksum-file", "sums"],
    list: List::Urls,
};
const SUGGESTED: Plan = Plan { name: "one-suggested", options: &["-j", "1", "-J"], list: List::Suggested };

#[test]
fn killed_at_each_step_of_writing_it_goes_on_where_it_was() {
    let killed = |run: &Finished, fault: &str| assert_eq!(run.signal(), Some(Signal::KILL.as_raw()), "{fault}\n{run}");
    at_each(&CALLS, 1, "signal=KILL", &SKIPPING, killed);
    at_each(&OVERWRITE, 1, "signal=KILL", &OVERWRITING, killed);
    at_each(&SYNC, 1, "signal=KILL", &SYNCING, killed);
    for plan in [SKIPPING, OVERWRITING, SYNCING, SUGGESTED] {
        at_each(&REMOVE, 1, "signal=KILL", &plan, killed);
    }
}

#[test]
fn where_a_step_of_writing_fails_the_next_run_makes_the_tree_whole() {
    for (error, first) in [("EIO", 1), ("ENOSPC", 2)] {
        // 127: the dynamic loader's, when it cannot open a library.
        let ended = |run: &Finished, fault: &str| assert!(matches!(run.code(), Some(0..=3 | 127)), "{fault}\n{run}");
        at_each(&CALLS, first, &format!("error={error}"), &SKIPPING, ended);
        at_each(&OVERWRITE, first, &format!("error={error}"), &OVERWRITING, ended);
        at_each(&SYNC, first, &format!("error={error}"), &SYNCING, ended);
    }
}
