//! What was typed becomes what is meant: defaults, conflicts, and the options of each room.

mod identity;
mod netrc;
mod notes;
mod own;
mod request;
mod route;
mod secret;
mod standard_input;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::{self, Args};
use crate::engine::{self, Deadlines, Fault, SlowLimit};
use crate::journal;
use crate::limits;
use crate::report;
use crate::schedule;
use crate::sink;
use crate::source;

/// Names that a daemon remembers: the most recent ones.
const DAEMON_NAMES: usize = 1_000_000;

/// Transfers at once without `-j`.
const DEFAULT_JOBS: usize = 50;
/// Transfers of one host at once without `-j`.
const DEFAULT_PER_HOST: usize = 8;
/// Where `-j auto` stops at the latest.
const MOST_AUTO_JOBS: usize = 10_000;
/// `--connect-timeout 0`, as in curl.
const CURLS_CONNECT_TIMEOUT: Duration = Duration::from_secs(300);
/// `--speed-time` without its value, as in curl.
const CURLS_SPEED_TIME: Duration = Duration::from_secs(30);
/// How far a list is read ahead at most: behind 10,000 lines of one slow host the next host is still seen.
const LIST_WINDOW: schedule::Window = schedule::Window { jobs: 16_384, bytes: 16 << 20, ahead: schedule::Ahead::Hosts };
/// A daemon's: what it has taken from the pipe is lost when it is killed.
const DAEMON_WINDOW: schedule::Window = schedule::Window { jobs: 4_096, bytes: 4 << 20, ahead: schedule::Ahead::Slots };

/// The run, ready to be opened.
pub struct Config {
    /// Where jobs come from.
    pub source: source::Options,
    /// Where bodies land.
    pub sink: sink::Options,
    /// What runs when.
    pub schedule: schedule::Options,
    /// How transfers run.
    pub engine: engine::Options,
    /// What is remembered.
    pub journal: journal::Options,
    /// What is told.
    pub report: report::Options,
    /// Where cookies are written at the end.
    pub cookie_jar: Option<PathBuf>,
    /// List or daemon.
    pub kind: Kind,
    /// What a person is told at the start.
    pub notes: Vec<String>,
}

/// What ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The end of the list.
    List,
    /// A signal.
    Daemon,
}

impl Config {
    /// The meaning of `args` in this environment. An error names the option or the file.
    pub fn new(mut args: Args) -> anyhow::Result<Config> {
        let kind = if args.fifo.is_some() { Kind::Daemon } else { Kind::List };
        // Before what is given is taken.
        let notes = notes::notes(&args);
        standard_input::check(&args)?;
        if args.retry_failed && args.journal.is_none() {
            bail!("--retry-failed: it goes with --journal FILE, which is missing");
        }
        let target = target(&args)?;
        let stream =
            if matches!(target, sink::Target::Stdout) { report::Stream::Stderr } else { report::Stream::Stdout };
        if args.json && stream == report::Stream::Stderr {
            bail!("--json and -o - both write to standard output: use --results FILE");
        }
        let report = report(&args, kind, stream)?;
        if report.uses_stdout() && engine::stdout_was_closed() {
            bail!("standard output is closed: with -q nothing is written there, with > /dev/null it is dropped");
        }
        let own = own::files(&args, &report.results);
        let request = request::request(&mut args)?;
        Ok(Config {
            source: source(&args)?,
            notes,
            sink: sink(&args, kind, target, own, request::continued(&request, args.no_resume))?,
            cookie_jar: args.request.cookie_jar.clone().filter(|_| !args.dry_run),
            schedule: schedule(&args),
            journal: journal::Options {
                path: args.journal.clone(),
                retry_failed: args.retry_failed,
                read_only: args.dry_run,
            },
            engine: engine::Options {
                deadlines: Deadlines {
                    stall: unless_zero(args.stall_timeout).unwrap_or(Duration::MAX),
                    total: args.max_time.and_then(unless_zero),
                    slow: slow(&args),
                },
                connections: transfers(&args),
                extras: report.results.extras().into(),
                fault: fault(),
                request,
            },
            report,
            kind,
        })
    }

    /// Lowers the number of transfers to what the descriptors allow; what a person is told about it.
    pub fn fit_descriptors(&mut self) -> anyhow::Result<Vec<String>> {
        let wanted = self.schedule.jobs.most();
        let open = limits::open();
        let mut limit = limits::raise();
        let mut notes = Vec::new();
        if limits::reaches_high_descriptors(wanted, open) && !engine::high_descriptors_work(self.engine.fault) {
            limit = limit.min(1024);
            notes.push("this libcurl cannot use descriptors above 1023 (built without HAVE_POLL)".to_owned());
        }
        let Some(jobs) = limits::fit(wanted, limit, open) else {
            bail!("too few descriptors: {open} of {limit} are in use (ulimit -n)");
        };
        // With -j auto the number was ours.
        if jobs < wanted && matches!(self.schedule.jobs, schedule::Jobs::Fixed(_)) {
            notes.push(format!(
                "{jobs} transfers at once instead of {wanted}: {limit} descriptors (ulimit -n), {open} in use"
            ));
        }
        self.engine.connections = limits::connections(jobs, limit, open);
        self.schedule.jobs = self.schedule.jobs.with_most(jobs);
        self.schedule.per_host = self.schedule.per_host.min(jobs);
        Ok(notes)
    }
}

fn source(args: &Args) -> anyhow::Result<source::Options> {
    let base = args.base_url.as_deref().map(source::Base::parse).transpose();
    Ok(source::Options {
        inputs: inputs(args)?,
        format: match args.input_format {
            cli::InputFormat::Lines => source::Format::Plain,
            cli::InputFormat::Json => source::Format::Json,
        },
        base: base.map_err(|why| anyhow::anyhow!("--base-url: {why}"))?,
        ending: if args.null { source::Ending::Nul } else { source::Ending::Newline },
    })
}

/// INPUTs as their form says; none: standard input unless a person sits there.
fn inputs(args: &Args) -> anyhow::Result<Vec<source::Input>> {
    if let Some(fifo) = &args.fifo {
        return Ok(vec![source::Input::Daemon(fifo.clone())]);
    }
    if args.inputs.is_empty() {
        if std::io::stdin().is_terminal() {
            bail!(cli::with_hint(
                "no INPUT: give URLs, a file of URLs, or - for standard input. Usage: fetchmany [OPTIONS] [INPUT]..."
            ));
        }
        return Ok(vec![source::Input::Stdin]);
    }
    Ok(args.inputs.iter().map(input).collect())
}

fn input(given: &OsString) -> source::Input {
    if given == "-" {
        return source::Input::Stdin;
    }
    match given.to_str() {
        Some(text) if text.contains("://") => source::Input::Url(text.to_owned()),
        _ => source::Input::Path(PathBuf::from(given)),
    }
}

/// curl's zero: as if the option had not been given.
fn unless_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// Transfers that are wanted at once, or at most.
fn transfers(args: &Args) -> usize {
    match args.jobs {
        None => DEFAULT_JOBS,
        Some(cli::Jobs::Fixed(jobs)) => jobs,
        Some(cli::Jobs::Auto) => MOST_AUTO_JOBS,
    }
}

/// As in curl, each of the two has a default when the other is given, and a zero switches both off.
fn slow(args: &Args) -> Option<SlowLimit> {
    let given = args.speed_limit.is_some() || args.speed_time.is_some();
    let (speed, time) = (args.speed_limit.unwrap_or(1), args.speed_time.unwrap_or(CURLS_SPEED_TIME));
    (given && speed > 0 && !time.is_zero()).then_some(SlowLimit { speed, time })
}

fn schedule(args: &Args) -> schedule::Options {
    let most = transfers(args);
    // Who names a number means it, for one host too; by default no host is asked for more than a browser would.
    let per_host = if args.jobs.is_some() { most } else { DEFAULT_PER_HOST };
    schedule::Options {
        jobs: match args.jobs {
            Some(cli::Jobs::Auto) => schedule::Jobs::Auto { most },
            _ => schedule::Jobs::Fixed(most),
        },
        per_host: args.per_host.unwrap_or(per_host),
        rate: args.rate.map(schedule::Rate::every),
        rate_per_host: args.rate_per_host.map(schedule::Rate::every),
        retry: schedule::Retry {
            retries: args.retry,
            delay: args.retry_delay.and_then(unless_zero),
            max_time: unless_zero(args.retry_max_time).unwrap_or(Duration::MAX),
            retry_after_max: args.retry_after_max,
        },
        window: match args.fifo {
            Some(_) => DAEMON_WINDOW,
            // Where very many run, as many again are known.
            None => schedule::Window { jobs: LIST_WINDOW.jobs.max(2 * most), ..LIST_WINDOW },
        },
        budget: match args.max_failures {
            _ if args.fail_early => schedule::Budget::Count(0),
            None => schedule::Budget::Unlimited,
            Some(cli::Failures::Count(most)) => schedule::Budget::Count(most),
            Some(cli::Failures::Percent(most)) => schedule::Budget::Percent(most),
        },
        seed: fastrand::u64(..),
    }
}

fn sink(
    args: &Args,
    kind: Kind,
    target: sink::Target,
    own: Vec<(PathBuf, &'static str)>,
    continued: Option<String>,
) -> anyhow::Result<sink::Options> {
    Ok(sink::Options {
        own,
        if_exists: match args.if_exists {
            cli::IfExists::Skip => sink::IfExists::Skip,
            cli::IfExists::Overwrite => sink::IfExists::Overwrite,
            cli::IfExists::Rename => sink::IfExists::Rename,
            cli::IfExists::Fail => sink::IfExists::Fail,
            cli::IfExists::Update => sink::IfExists::Update,
        },
        remote_time: !args.no_remote_time,
        max_filesize: args.max_filesize.filter(|size| *size > 0),
        checksums: checksums(args, &target)?,
        target,
        sha256: args.sha256,
        names_kept: (kind == Kind::Daemon).then_some(DAEMON_NAMES),
        name_from: if args.remote_header_name { sink::NameFrom::Header } else { sink::NameFrom::Url },
        continued,
        sync: args.sync,
        run: if args.dry_run { sink::Run::Dry } else { sink::Run::Real },
    })
}

fn report(args: &Args, kind: Kind, stream: report::Stream) -> anyhow::Result<report::Options> {
    Ok(report::Options {
        results: results(args)?,
        ordered: args.ordered,
        stream,
        results_file: args.results.clone().filter(|_| !args.dry_run),
        failed_file: args.failed.clone().filter(|_| !args.dry_run),
        append: kind == Kind::Daemon || args.journal.is_some(),
        progress: match args.progress {
            _ if args.silent => report::ProgressStyle::Off,
            cli::Progress::Auto => report::ProgressStyle::Auto,
            cli::Progress::Bars => report::ProgressStyle::Bars,
            cli::Progress::Plain => report::ProgressStyle::Plain,
            cli::Progress::Off => report::ProgressStyle::Off,
        },
        color: match args.color {
            cli::Color::Auto => report::ColorChoice::Auto,
            cli::Color::Always => report::ColorChoice::Always,
            cli::Color::Never => report::ColorChoice::Never,
        },
        quiet: args.quiet,
        verbose: args.verbose,
    })
}

fn target(args: &Args) -> anyhow::Result<sink::Target> {
    if args.discard || args.request.head {
        return Ok(sink::Target::Discard);
    }
    let template = match &args.output {
        Some(output) if output == "-" => return Ok(sink::Target::Stdout),
        Some(output) => output,
        None if args.tree => "{host}/{path}",
        None => "{name}",
    };
    let template = sink::Template::parse(template)
        .map_err(|error| anyhow::anyhow!("--output {template:?}: {error}{}", instead(template)))?;
    if args.output_dir.as_os_str().is_empty() {
        bail!("--output-dir is empty");
    }
    let dir = args.output_dir.to_string_lossy();
    // Not repeated: it may have a password.
    if dir.contains("://") && !args.output_dir.exists() {
        bail!("--output-dir: a directory is wanted, and this is a URL");
    }
    if dir.starts_with(['@', '{']) && !args.output_dir.exists() {
        bail!("--output-dir {dir}: curl's -d sends data, here it names a directory; write ./{dir} for this one");
    }
    // Without a directory in front, names are shown as curl would show them.
    let dir = if args.output_dir == Path::new(".") { PathBuf::new() } else { args.output_dir.clone() };
    Ok(sink::Target::Files { dir, template })
}

/// What to write instead of a template that is none.
fn instead(template: &str) -> String {
    let path = Path::new(template);
    match (path.parent(), path.file_name()) {
        _ if template.ends_with('/') => format!("; for a directory write -d {template:?}"),
        (Some(dir), Some(name)) if path.is_absolute() => format!("; write -d {} -o {}", dir.display(), name.display()),
        _ => String::new(),
    }
}

fn checksums(args: &Args, target: &sink::Target) -> anyhow::Result<sink::Checksums> {
    match (&args.checksum_file, target) {
        (None, _) => Ok(sink::Checksums::default()),
        (Some(path), sink::Target::Files { .. }) => sink::Checksums::read(path).context("--checksum-file"),
        (Some(_), _) => bail!("--checksum-file verifies files: it does not go with -o -"),
    }
}

/// The form of results.
fn results(args: &Args) -> anyhow::Result<report::Results> {
    let Some(format) = &args.write_out else {
        return Ok(if args.json { report::Results::Json } else { report::Results::Human });
    };
    let format = report::Format::open(format).context("--write-out")?;
    Ok(report::Results::Written(if args.dry_run { format.without_files() } else { format }))
}

/// So that tests reach the recovery: `FETCHMANY_FAULT=action:N` makes the n-th socket action fail, `panic-write:N` has the
/// callback panic that brings the n-th byte, `panic-socket:N` and `panic-timer:N` the n-th call of theirs, and `select`
/// stands for a libcurl that waits with `select()`.
#[cfg(debug_assertions)]
fn fault() -> Option<Fault> {
    let fault = std::env::var("FETCHMANY_FAULT").ok()?;
    if fault == "select" {
        return Some(Fault::Select);
    }
    let (what, number) = fault.split_once(':')?;
    let number = number.parse().ok()?;
    match what {
        "action" => Some(Fault::Action(number)),
        "panic-write" => Some(Fault::Panic(engine::Callback::Write, number)),
        "panic-socket" => Some(Fault::Panic(engine::Callback::Socket, number)),
        "panic-timer" => Some(Fault::Panic(engine::Callback::Timer, number)),
        _ => None,
    }
}

/// A release build has no faults.
#[cfg(not(debug_assertions))]
fn fault() -> Option<Fault> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_told_apart_by_their_form() {
        for (given, kind) in [
            ("http://h/a", "url"),
            ("ftp://h/a", "url"),
            ("-", "stdin"),
            ("list.txt", "path"),
            ("./-", "path"),
            ("/dev/fd/63", "path"),
        ] {
            let found = match input(&OsString::from(given)) {
                source::Input::Url(_) => "url",
                source::Input::Stdin => "stdin",
                source::Input::Path(_) => "path",
                source::Input::Daemon(_) => "daemon",
            };
            assert_eq!(found, kind, "{given}");
        }
    }

    #[test]
    fn zeros_stand_for_no_limit() {
        let deadlines = ["-m0", "--stall-timeout=0", "--connect-timeout=0"];
        let others = ["--retry-delay=0", "--retry-max-time=0", "--max-filesize=0", "http://h/"];
        let config = Config::new(cli::typed(&[&deadlines[..], &others].concat())).unwrap();
        let (deadlines, retry) = (config.engine.deadlines, config.schedule.retry);
        assert_eq!((deadlines.total, deadlines.stall), (None, Duration::MAX));
        assert_eq!((retry.delay, retry.max_time), (None, Duration::MAX));
        assert_eq!(config.engine.request.connect_timeout, CURLS_CONNECT_TIMEOUT);
        assert_eq!(config.sink.max_filesize, None);
    }
}
