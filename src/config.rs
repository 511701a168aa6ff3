//! What was typed becomes what is meant: defaults, conflicts, and the options of each room.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::{self, Args};
use crate::engine::{self, Coding, Deadlines, Family, Fault, Http, Limits, Method, Request, Verify};
use crate::job::Credentials;
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
    /// List or daemon.
    pub kind: Kind,
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
    pub fn new(args: Args) -> anyhow::Result<Config> {
        let kind = if args.fifo.is_some() { Kind::Daemon } else { Kind::List };
        let target = target(&args)?;
        let stream =
            if matches!(target, sink::Target::Stdout) { report::Stream::Stderr } else { report::Stream::Stdout };
        if args.json && stream == report::Stream::Stderr {
            bail!("--json and -o - both write to standard output: use --results FILE");
        }
        Ok(Config {
            source: source::Options { inputs: inputs(&args) },
            sink: sink::Options {
                if_exists: match args.if_exists {
                    cli::IfExists::Skip => sink::IfExists::Skip,
                    cli::IfExists::Overwrite => sink::IfExists::Overwrite,
                    cli::IfExists::Rename => sink::IfExists::Rename,
                    cli::IfExists::Fail => sink::IfExists::Fail,
                    cli::IfExists::Update => sink::IfExists::Update,
                },
                remote_time: !args.no_remote_time,
                max_filesize: args.max_filesize.filter(|size| *size > 0),
                checksums: checksums(&args, &target)?,
                target,
                sha256: args.sha256,
                names_kept: (kind == Kind::Daemon).then_some(DAEMON_NAMES),
                name_from: if args.remote_header_name { sink::NameFrom::Header } else { sink::NameFrom::Url },
                continued: continued(&args),
                sync: args.sync,
                run: if args.dry_run { sink::Run::Dry } else { sink::Run::Real },
            },
            schedule: schedule(&args),
            journal: journal::Options {
                path: args.journal.clone(),
                retry_failed: args.retry_failed,
                read_only: args.dry_run,
            },
            report: report::Options {
                results: results(&args)?,
                ordered: args.ordered,
                stream,
                results_file: args.results.clone().filter(|_| !args.dry_run),
                failed_file: args.failed.clone().filter(|_| !args.dry_run),
                append: kind == Kind::Daemon || args.journal.is_some(),
                progress: match args.progress {
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
            },
            engine: engine::Options {
                deadlines: Deadlines {
                    stall: unless_zero(args.stall_timeout).unwrap_or(Duration::MAX),
                    total: args.max_time.and_then(unless_zero),
                },
                jobs: transfers(&args),
                fault: fault(),
                request: request(args)?,
            },
            kind,
        })
    }

    /// Lowers the number of transfers to what the descriptors allow; what a person is told about it.
    pub fn fit_descriptors(&mut self) -> anyhow::Result<Vec<String>> {
        let wanted = self.engine.jobs;
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
        self.engine.jobs = jobs;
        self.schedule.jobs = match self.schedule.jobs {
            schedule::Jobs::Fixed(_) => schedule::Jobs::Fixed(jobs),
            schedule::Jobs::Auto { .. } => schedule::Jobs::Auto { most: jobs },
        };
        self.schedule.per_host = self.schedule.per_host.min(jobs);
        Ok(notes)
    }
}

/// INPUTs as their form says; none: standard input unless a person sits there.
fn inputs(args: &Args) -> Vec<source::Input> {
    if let Some(fifo) = &args.fifo {
        return vec![source::Input::Daemon(fifo.clone())];
    }
    if args.inputs.is_empty() {
        if std::io::stdin().is_terminal() {
            cli::usage_error("no INPUT: give URLs, a file of URLs, or - for standard input");
        }
        return vec![source::Input::Stdin];
    }
    args.inputs.iter().map(input).collect()
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

fn target(args: &Args) -> anyhow::Result<sink::Target> {
    if args.discard || args.head {
        return Ok(sink::Target::Discard);
    }
    let template = match &args.output {
        Some(output) if output == "-" => return Ok(sink::Target::Stdout),
        Some(output) => output,
        None if args.tree => "{host}/{path}",
        None => "{name}",
    };
    let template =
        sink::Template::parse(template).map_err(|error| anyhow::anyhow!("--output {template:?}: {error}"))?;
    if args.output_dir.as_os_str().is_empty() {
        bail!("--output-dir is empty");
    }
    // Without a directory in front, names are shown as curl would show them.
    let dir = if args.output_dir == Path::new(".") { PathBuf::new() } else { args.output_dir.clone() };
    Ok(sink::Target::Files { dir, template })
}

/// The options that change what a server sends for a URL, in one line; `None` when bodies are not to be continued.
fn continued(args: &Args) -> Option<String> {
    let mut said = Vec::new();
    for header in &args.headers {
        let (name, value) = header.split_once([':', ';']).unwrap_or((header, ""));
        let name = name.trim().to_ascii_lowercase();
        // The user's own range or condition: what comes is not the whole file.
        if name == "range" || name.starts_with("if-") {
            return None;
        }
        if name.starts_with("accept") || name == "prefer" || name == "te" {
            said.push(format!("{name}: {}", value.trim()));
        }
    }
    if args.compressed {
        said.push("compressed".to_owned());
    }
    said.sort();
    (!args.no_resume).then(|| said.join("\n"))
}

fn checksums(args: &Args, target: &sink::Target) -> anyhow::Result<sink::Checksums> {
    match (&args.checksum_file, target) {
        (None, _) => Ok(sink::Checksums::default()),
        (Some(path), sink::Target::Files { .. }) => sink::Checksums::read(path),
        (Some(_), _) => bail!("--checksum-file verifies files: it does not go with -o -"),
    }
}

/// The form of results.
fn results(args: &Args) -> anyhow::Result<report::Results> {
    let Some(format) = &args.write_out else {
        return Ok(if args.json { report::Results::Json } else { report::Results::Human });
    };
    if format == "@-" && inputs(args).iter().any(|input| matches!(input, source::Input::Stdin)) {
        bail!("--write-out @-: standard input is the list");
    }
    let format = report::Format::open(format).context("--write-out")?;
    Ok(report::Results::Written(if args.dry_run { format.without_files() } else { format }))
}

fn request(mut args: Args) -> anyhow::Result<Request> {
    // As OpenSSL and curl have it; named here, it is missed before the first request.
    args.cacert = args.cacert.or_else(|| std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    for header in &args.headers {
        check_text("--header", header)?;
        if !header.contains([':', ';']) {
            bail!("--header {header:?}: a header has the form \"Name: value\"");
        }
    }
    for (option, value) in [("--user-agent", &args.user_agent), ("--proxy", &args.proxy), ("--user", &args.user)] {
        if let Some(value) = value {
            check_text(option, value)?;
        }
    }
    if let Some(cacert) = &args.cacert {
        check_authorities(cacert).with_context(|| format!("read the authorities {}", cacert.display()))?;
    }
    Ok(Request {
        headers: args.headers,
        user_agent: args.user_agent.unwrap_or_else(|| concat!("fetchmany/", env!("CARGO_PKG_VERSION")).to_owned()),
        credentials: args.user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((&user, ""));
            Credentials { user: user.to_owned(), password: password.to_owned() }
        }),
        proxy: args.proxy,
        verify: if args.insecure { Verify::Nothing } else { Verify::Full },
        cacert: args.cacert,
        resolve: args.resolve,
        http: match (args.http1_1, args.http2) {
            (true, _) => Http::Http11,
            (_, true) => Http::Http2,
            _ => Http::Negotiated,
        },
        family: match (args.ipv4, args.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        },
        coding: if args.compressed { Coding::Decoded } else { Coding::AsSent },
        method: if args.head { Method::Head } else { Method::Get },
        max_redirs: args.max_redirs,
        connect_timeout: unless_zero(args.connect_timeout).unwrap_or(CURLS_CONNECT_TIMEOUT),
        pace: Limits { total: args.limit_rate, per_host: args.limit_rate_per_host },
    })
}

/// libcurl reads the file whenever it needs it, and says so late and once for every transfer if it cannot.
fn check_authorities(path: &Path) -> anyhow::Result<()> {
    // A pipe would be empty when libcurl comes; to open one may take for ever.
    if !std::fs::metadata(path)?.is_file() {
        bail!("not a regular file");
    }
    let is_certificate =
        |line: &[u8]| line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(b"CERTIFICATE-----");
    if !std::fs::read(path)?.split(|byte| *byte == b'\n').any(is_certificate) {
        bail!("there is no certificate in it (PEM)");
    }
    Ok(())
}

/// libcurl sends option text as it is: a line break would begin a header of its own.
fn check_text(option: &str, value: &str) -> anyhow::Result<()> {
    if value.as_bytes().iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        bail!("{option}: control characters are not allowed");
    }
    Ok(())
}

/// So that tests reach the recovery: `FETCHMANY_FAULT=action:N` makes the n-th socket action fail,
/// `FETCHMANY_FAULT=select` stands for a libcurl that waits with `select()`.
#[cfg(debug_assertions)]
fn fault() -> Option<Fault> {
    let fault = std::env::var("FETCHMANY_FAULT").ok()?;
    if let Some(number) = fault.strip_prefix("action:") {
        return number.parse().ok().map(Fault::Action);
    }
    (fault == "select").then_some(Fault::Select)
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

    #[test]
    fn a_partial_file_goes_on_only_under_the_options_that_change_nothing_of_it() {
        let continued = |typed: &[&str]| continued(&cli::typed(&[typed, &["http://h/"]].concat()));
        let plain = continued(&[]);
        assert_eq!(plain.as_deref(), Some(""));
        for same in
            [&["-H", "X-Other: y"][..], &["-H", "Authorization: S3CR3T"], &["-A", "me"], &["-k"], &["-u", "a:b"]]
        {
            assert_eq!(continued(same), plain, "{same:?}");
        }
        for other in
            [&["--compressed"][..], &["-H", "Accept: text/html"], &["-H", "accept-language: de"], &["-H", "Accept:"]]
        {
            assert!(continued(other).is_some_and(|said| !said.is_empty()), "{other:?}");
        }
        for never in
            [&["--no-resume"][..], &["-H", "Range: bytes=0-5"], &["-H", "if-range: x"], &["-H", "If-None-Match: x"]]
        {
            assert_eq!(continued(never), None, "{never:?}");
        }
        let [one, other] =
            [["-H", "Accept: a", "-H", "Accept-Language: b"], ["-H", "accept-language:b", "-H", "ACCEPT: a"]];
        assert_eq!(continued(&one), continued(&other), "order and case of the names do not matter");
    }

    #[test]
    fn text_that_would_break_out_of_a_header_is_refused() {
        for (text, good) in
            [("X: y", true), ("X:\ty", true), ("X: y\r\nZ: a", false), ("X: \u{7f}", false), ("a\0b", false)]
        {
            assert_eq!(check_text("--header", text).is_ok(), good, "{text:?}");
        }
    }
}
