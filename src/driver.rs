//! The loop: admit, wait, settle, draw. The only file that sees every room, and it sees their public faces alone.
//!
//! A job has one owner at any time: the source, the schedule, the engine, or the driver's hand on its way from one to
//! the next. At its end the sink publishes, then the report tells: a crash between the two repeats work and never
//! claims work that is not on disk.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::config::{Config, Kind};
use crate::engine::{self, Done, Engine, Fault, Wake};
use crate::exit::Exit;
use crate::fatal::{Fatal, OrExit};
use crate::job::{ErrorClass, Failure, Job, Outcome, Saved, Settled, Stats};
use crate::limits;
use crate::report::{Active, Lost, Progress, Report};
use crate::schedule::{Schedule, Verdict};
use crate::signals::{self, Shutdown, Signals};
use crate::sink::{self, Body, Claim, Sink};
use crate::source::{InUse, Next, Source};

/// Lines read in one turn, so that a long run of lines that need no transfer does not keep the others waiting.
const LINES_A_TURN: usize = 256;
/// Records that may wait for a slow reader of standard output, in bytes, before nothing more is admitted.
const BACKLOG: usize = 1 << 20;
/// Running transfers that progress shows, at most.
const SHOWN: usize = 64;
/// How often a daemon looks after its pipe.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How long a reader of standard output may take after the second signal.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The run.
pub struct Driver {
    source: Source,
    schedule: Schedule,
    engine: Engine,
    sink: Sink,
    report: Report,
    signals: Signals,
    kind: Kind,
    jobs: usize,
    shutdown: Shutdown,
    /// Whole responses on their way into place: (when the attempt began is in each).
    landing: VecDeque<Landing>,
    /// Whether the source may have more without waiting.
    readable: bool,
    /// Whether the source has ended, or is not to be read any more.
    ended: bool,
    /// More lines are known to be there than this turn took.
    unread: bool,
    next_check: Option<Instant>,
    /// Whether the summary is on its way; it may wait for the same reader as the results.
    summed_up: bool,
    /// When to stop waiting for the reader of standard output.
    give_up: Option<Instant>,
    now: Instant,
}

/// A whole response whose body is not yet where it belongs.
struct Landing {
    job: Job,
    body: Body,
    stats: Option<Stats>,
    started: Instant,
}

impl Driver {
    /// Opens every room; nothing is fetched yet.
    pub fn open(mut config: Config) -> Result<Driver, Fatal> {
        let now = Instant::now();
        // First, so that whoever sees a sign of life can stop it properly.
        let signals = Signals::catch().or_exit(Exit::Local)?;
        let warning = engine::check_version().map_err(anyhow::Error::msg).or_exit(Exit::Local)?;
        let fitted = fit_jobs(&mut config).or_exit(Exit::Local)?;
        let source = Source::open(config.source).map_err(|error| Fatal { exit: taken(&error), error })?;
        let mut report = Report::open(config.report, source.files(), now).or_exit(Exit::Usage)?;
        let sink = Sink::open(config.sink).or_exit(Exit::Local)?;
        for note in warning.into_iter().chain(fitted) {
            report.note(&note);
        }
        let jobs = config.engine.jobs;
        let mut engine = Engine::new(config.engine, now).or_exit(Exit::Local)?;
        engine.watch(Wake::Signal, signals.fd()).map_err(anyhow::Error::new).or_exit(Exit::Local)?;
        // Not before everything else is open: a run that cannot begin leaves the results of the last one.
        report.begin().or_exit(Exit::Local)?;
        Ok(Driver {
            source,
            schedule: Schedule::new(config.schedule),
            engine,
            sink,
            report,
            signals,
            kind: config.kind,
            jobs,
            shutdown: Shutdown::Running,
            landing: VecDeque::new(),
            readable: true,
            ended: false,
            unread: false,
            next_check: (config.kind == Kind::Daemon).then_some(now),
            summed_up: false,
            give_up: None,
            now,
        })
    }

    /// Fetches everything, and says how the program ends.
    pub fn run(mut self) -> Result<Exit, Fatal> {
        match self.turns()? {
            End::ReaderGone => Ok(Exit::Signal(signals::PIPE)),
            End::Complete => Ok(self.exit()),
        }
    }

    fn turns(&mut self) -> Result<End, Fatal> {
        loop {
            self.admit().or_exit(Exit::Local)?;
            if let Some(end) = self.flush().or_exit(Exit::Local)? {
                return Ok(end);
            }
            if self.is_complete() {
                if self.summed_up {
                    return Ok(End::Complete);
                }
                self.report.finish(self.now);
                self.summed_up = true;
                continue;
            }
            let turn = self.engine.wait(self.deadline(), self.now).or_exit(Exit::Local)?;
            self.now = turn.now;
            self.readable |= turn.source;
            if turn.signal {
                self.hear().or_exit(Exit::Local)?;
            }
            self.settle().or_exit(Exit::Local)?;
            self.draw();
        }
    }

    /// Lines become jobs, jobs become transfers.
    fn admit(&mut self) -> anyhow::Result<()> {
        self.unread = false;
        let mut lines = 0;
        while self.wants_lines() {
            if lines == LINES_A_TURN {
                self.unread = true;
                break;
            }
            lines += 1;
            match self.source.next(self.now)? {
                Next::Job(mut job) => match self.sink.claim(&mut job) {
                    Claim::Fetch => self.schedule.push(job),
                    Claim::Skip(why) => self.tell(job, Outcome::Skipped(why))?,
                    Claim::Refuse(failure) => self.tell(job, Outcome::Failed(failure))?,
                },
                Next::Refused(job, failure) => self.tell(job, Outcome::Failed(failure))?,
                Next::Again => {
                    self.unread = true;
                    break;
                }
                Next::NotNow => {
                    self.readable = false;
                    if let Some(fd) = self.source.fd() {
                        self.engine.watch(Wake::Source, fd)?;
                    }
                }
                Next::End => self.ended = true,
            }
        }
        while self.has_slot() {
            let Some(job) = self.schedule.next(self.now) else { break };
            let body = self.sink.body(&job);
            self.engine.start(job, body, self.now);
        }
        Ok(())
    }

    fn wants_lines(&self) -> bool {
        self.readable && !self.ended && self.schedule.wants_more() && self.report.backlog() < BACKLOG
    }

    fn has_slot(&self) -> bool {
        self.engine.in_flight() + self.landing.len() < self.jobs && self.report.backlog() < BACKLOG
    }

    /// Everything that ended in this turn: published or tried again, and told.
    fn settle(&mut self) -> anyhow::Result<()> {
        for note in self.engine.notes() {
            self.report.note(&note);
        }
        while let Some(done) = self.engine.finished() {
            let Done { job, body, result, stats, started, .. } = done;
            match (result, body) {
                (Ok(()), Some(body)) => self.landing.push_back(Landing { job, body, stats, started }),
                (Ok(()), None) => self.fail(job, None, Failure::local("no body"), stats, started)?,
                (Err(failure), body) => self.fail(job, body, failure, stats, started)?,
            }
        }
        while let Some(first) = self.landing.front_mut() {
            let Poll::Ready((outcome, saved)) = self.sink.publish(&mut first.body) else { break };
            if let Some(Landing { job, stats, started, .. }) = self.landing.pop_front() {
                self.record(job, outcome, stats, saved, started)?;
            }
        }
        if let Some(due) = self.next_check.filter(|due| *due <= self.now) {
            self.next_check = Some(due.max(self.now) + CHECK_EVERY);
            if let Some(note) = self.source.check()? {
                self.report.note(&note);
                self.readable = true;
            }
        }
        Ok(())
    }

    /// A failed attempt: tried again later, or settled.
    fn fail(
        &mut self,
        job: Job,
        body: Option<Body>,
        failure: Failure,
        stats: Option<Stats>,
        started: Instant,
    ) -> anyhow::Result<()> {
        if let Some(body) = body {
            self.sink.abandon(body, Some(&failure));
        }
        let status = stats.as_ref().and_then(|stats| stats.http_code);
        match self.schedule.verdict(&job, &failure, status) {
            Verdict::Retry(delay) if self.shutdown == Shutdown::Running => {
                self.schedule.retry(job, delay, self.now);
                Ok(())
            }
            _ => {
                let outcome = match failure.class {
                    ErrorClass::Cancelled => Outcome::Cancelled(Cow::from(failure.message)),
                    _ => Outcome::Failed(failure),
                };
                self.record(job, outcome, stats, Saved::default(), started)
            }
        }
    }

    /// Settles a job of which nothing was sent.
    fn tell(&mut self, job: Job, outcome: Outcome) -> anyhow::Result<()> {
        let filename = match outcome {
            Outcome::Skipped(_) => self.sink.filename(&job),
            _ => None,
        };
        self.record(job, outcome, None, Saved { filename, ..Saved::default() }, self.now)
    }

    fn record(
        &mut self,
        job: Job,
        outcome: Outcome,
        stats: Option<Stats>,
        saved: Saved,
        started: Instant,
    ) -> anyhow::Result<()> {
        let time_queue = started.saturating_duration_since(job.accepted);
        self.sink.settled(job.urlnum);
        self.report.settled(&Settled { job, outcome, stats, saved, time_queue })
    }

    /// The first signal stops admission, the second everything.
    fn hear(&mut self) -> anyhow::Result<()> {
        let heard = self.signals.heard();
        if heard >= Shutdown::Draining && self.shutdown < Shutdown::Draining {
            self.ended = true;
            for job in self.schedule.drain() {
                self.tell(job, Outcome::Cancelled(Cow::from("stopped before it was started")))?;
            }
            let unread = self.source.leftover();
            if unread > 0 {
                self.report.note(&format!("stopping: {unread} lines in the pipe were not taken"));
            }
            if heard == Shutdown::Draining && self.engine.in_flight() > 0 {
                let count = self.engine.in_flight();
                self.report.note(&format!("stopping: {count} running transfers finish; once more to stop at once"));
            }
        }
        if heard == Shutdown::Stopping && self.shutdown < Shutdown::Stopping {
            self.engine.cancel(self.now);
            for Landing { job, body, stats, started } in std::mem::take(&mut self.landing) {
                self.sink.abandon(body, None);
                self.record(job, Outcome::Cancelled(Cow::from("stopped")), stats, Saved::default(), started)?;
            }
            self.give_up = Some(self.now + LAST_WORDS);
        }
        self.shutdown = self.shutdown.max(heard);
        Ok(())
    }

    /// Writes what is told; waits for the reader where it is slow.
    fn flush(&mut self) -> anyhow::Result<Option<End>> {
        match (self.report.flush(), self.sink.lost()) {
            (Err(Lost::ReaderGone), _) | (_, Some(sink::Lost::ReaderGone)) => return Ok(Some(End::ReaderGone)),
            (Err(Lost::Failed(error)), _) => return Err(error),
            (_, Some(sink::Lost::Failed(reason))) => bail!("write standard output: {reason}"),
            (Ok(()), None) => {}
        }
        let slow = if self.landing.is_empty() { None } else { self.sink.stdout() };
        if let Some(fd) = slow.or_else(|| self.report.stdout().filter(|_| self.report.backlog() > 0)) {
            self.engine.watch(Wake::Stdout, fd)?;
        }
        Ok(None)
    }

    fn is_complete(&self) -> bool {
        let idle = self.ended && self.schedule.len() == 0 && self.engine.in_flight() == 0;
        let told = self.landing.is_empty() && self.report.backlog() == 0;
        (idle && told) || self.give_up.is_some_and(|at| at <= self.now)
    }

    fn deadline(&self) -> Option<Instant> {
        let unread = self.unread.then_some(self.now);
        let retry = self.schedule.deadline().filter(|_| self.has_slot());
        [unread, retry, self.report.next_draw(), self.next_check, self.give_up].into_iter().flatten().min()
    }

    fn draw(&mut self) {
        if self.report.next_draw().is_none_or(|at| at > self.now) {
            return;
        }
        let active: Vec<Active> = self
            .engine
            .running()
            .take(SHOWN)
            .map(|running| Active {
                urlnum: running.job.urlnum,
                label: running.job.url.clone(),
                received: running.received,
                expected: running.expected,
                started: running.started,
            })
            .collect();
        let list = self.source.progress();
        self.report.draw(
            self.now,
            &Progress {
                in_flight: self.engine.in_flight() + self.landing.len(),
                waiting: self.schedule.len(),
                received: self.engine.received(),
                list_bytes: list.bytes_read,
                list_total: list.bytes_total,
                lines: list.lines,
                list_ended: list.ended,
                active: &active,
            },
        );
    }

    fn exit(&self) -> Exit {
        let tally = self.report.tally();
        match (self.shutdown, self.kind, self.signals.last()) {
            (Shutdown::Draining, Kind::Daemon, _) => Exit::Ok,
            (Shutdown::Draining | Shutdown::Stopping, _, Some(signal)) => Exit::Signal(signal),
            _ if self.sink.disk_full() => Exit::Local,
            _ if tally.failed() > 0 => Exit::SomeFailed,
            _ => Exit::Ok,
        }
    }
}

/// A pipe that another daemon reads is no mistake on the command line.
fn taken(error: &anyhow::Error) -> Exit {
    if error.is::<InUse>() { Exit::Local } else { Exit::Usage }
}

/// How the loop ended.
enum End {
    /// Everything is settled and told.
    Complete,
    /// Nobody reads standard output any more.
    ReaderGone,
}

/// Lowers the number of transfers to what the descriptors allow; what a person is told about it.
fn fit_jobs(config: &mut Config) -> anyhow::Result<Vec<String>> {
    let wanted = config.engine.jobs;
    let open = limits::open();
    let mut limit = limits::raise();
    let mut notes = Vec::new();
    let select = config.engine.fault == Some(Fault::Select);
    if limits::reaches_high_descriptors(wanted, open) && (select || !engine::high_descriptors_work()) {
        limit = limit.min(1024);
        notes.push("this libcurl cannot use descriptors above 1023 (built without HAVE_POLL)".to_owned());
    }
    let Some(jobs) = limits::fit(wanted, limit, open) else {
        bail!("too few descriptors: {open} of {limit} are in use (ulimit -n)");
    };
    if jobs < wanted {
        notes.push(format!(
            "{jobs} transfers at once instead of {wanted}: {limit} descriptors (ulimit -n), {open} in use"
        ));
    }
    config.engine.jobs = jobs;
    config.schedule.jobs = jobs;
    Ok(notes)
}
