//! The loop: admit, wait, settle, draw. The only file that sees every room, and it sees their public faces alone.
//!
//! A job has one owner at any time: the source, the schedule, the engine, or the driver's hand on its way from one to
//! the next. At its end the journal says where its body goes, the sink publishes, then the journal records, then the
//! report tells: a crash between two of these leaves something to find out, and never claims work that is not on disk.

mod names;
mod settle;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::config::{Config, Kind};
use crate::engine::{self, Engine, Wake};
use crate::exit::Exit;
use crate::fatal::{Fatal, OrExit};
use crate::jar::JarFile;
use crate::job::{Job, Outcome, Stats};
use crate::journal::{self, Journal};
use crate::report::{Active, Again, Lost, Pauses, Progress, Report};
use crate::schedule::{self, Schedule};
use crate::signals::{self, HangUp, Shutdown, Signals};
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
/// How long a reader of standard output may take after the second signal, and the disk over what runs at an early end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The run.
pub struct Driver {
    source: Source,
    schedule: Schedule,
    engine: Engine,
    sink: Sink,
    journal: Journal,
    report: Report,
    signals: Signals,
    /// Where cookies go at the end.
    jar: Option<JarFile>,
    kind: Kind,
    /// Whether the number of transfers is found while running.
    auto: bool,
    shutdown: Shutdown,
    /// Whole responses on their way into place.
    landing: VecDeque<Whole>,
    /// Whether the source may have more without waiting.
    readable: bool,
    /// Whether the source has ended, or is not to be read any more.
    ended: bool,
    /// Whether nothing more is to be started.
    stopping: bool,
    /// More lines are known to be there than this turn took.
    unread: bool,
    next_check: Option<Instant>,
    /// Whether the summary is on its way; it may wait for the same reader as the results.
    summed_up: bool,
    /// When to stop waiting for the reader of standard output.
    give_up: Option<Instant>,
    /// Why the run ends early; the program ends with it when all that was read is settled.
    broken: Option<Fatal>,
    now: Instant,
}

/// A whole response whose body is not yet where it belongs.
struct Whole {
    job: Job,
    body: Body,
    stats: Option<Stats>,
    /// When the attempt began.
    started: Instant,
}

impl Driver {
    /// Opens every room; nothing is fetched yet.
    pub fn open(mut config: Config) -> Result<Driver, Fatal> {
        let now = Instant::now();
        // First, so that whoever sees a sign of life can stop it properly.
        let hang_up = if config.kind == Kind::Daemon { HangUp::Reopens } else { HangUp::Kills };
        let signals = Signals::catch(hang_up).or_exit(Exit::Local)?;
        let warning = engine::check_version().map_err(anyhow::Error::msg).or_exit(Exit::Local)?;
        let fitted = config.fit_descriptors().or_exit(Exit::Local)?;
        let source = Source::open(config.source).map_err(|error| Fatal { exit: taken(&error), error })?;
        let goes_on = || signals.heard() < Shutdown::Stopping;
        let mut journal =
            Journal::open(config.journal, &goes_on).map_err(|trouble| unusable(trouble, signals.last()))?;
        let mut taken: Vec<_> = source.files().iter().map(|file| (*file, "an INPUT")).collect();
        if let Some((path, identity)) = journal.identity() {
            if source.files().contains(&identity) {
                let error = anyhow!("journal {} is also an INPUT", path.display());
                return Err(Fatal { exit: Exit::Usage, error });
            }
            taken.push((identity, "the journal"));
        }
        let mut report = Report::open(config.report, &taken, now).or_exit(Exit::Usage)?;
        let jar = config.cookie_jar.map(JarFile::open).transpose().context("--cookie-jar").or_exit(Exit::Usage)?;
        let mut sink = Sink::open(config.sink).or_exit(Exit::Local)?;
        if let Some(names) = journal.names() {
            sink.respect(Box::new(names));
            journal.catch_up(|path, mark| sink.recognize(path, mark));
        }
        for note in warning.into_iter().chain(config.notes).chain(fitted).chain(journal.note()) {
            report.note(&note);
        }
        if let Some(detail) = journal.detail() {
            report.detail(&detail);
        }
        let mut engine = Engine::new(config.engine, now).or_exit(Exit::Local)?;
        let wakes = [(Wake::Interrupt, signals.interrupts()), (Wake::Request, signals.requests())];
        for (wake, fd) in wakes.into_iter().chain(sink.bell().map(|bell| (Wake::Disk, bell))) {
            engine.watch(wake, fd).map_err(anyhow::Error::new).or_exit(Exit::Local)?;
        }
        // Not before everything else is open: a run that cannot begin leaves the results of the last one.
        report.begin().or_exit(Exit::Local)?;
        Ok(Driver {
            source,
            auto: matches!(config.schedule.jobs, schedule::Jobs::Auto { .. }),
            schedule: Schedule::new(config.schedule, now),
            engine,
            sink,
            journal,
            report,
            signals,
            jar,
            kind: config.kind,
            shutdown: Shutdown::Running,
            landing: VecDeque::new(),
            readable: true,
            ended: false,
            stopping: false,
            unread: false,
            next_check: (config.kind == Kind::Daemon).then_some(now),
            summed_up: false,
            give_up: None,
            broken: None,
            now,
        })
    }

    /// Fetches everything, and says how the program ends.
    pub fn run(mut self) -> Result<Exit, Fatal> {
        let end = self.turns();
        if !matches!(end, Ok(End::Complete)) {
            self.leave();
        }
        // Where this fails the run has ended for the same reason, or for another.
        let _ = self.journal.flush();
        if let Err(error) = self.journal.prove() {
            self.break_off(Fatal { exit: Exit::Local, error });
        }
        // What is settled is told, however the run ends; it ended already if this fails too.
        self.report.let_go();
        let flushed = self.report.flush();
        let saved = self.jar.take().map(|jar| self.engine.cookies().and_then(|cookies| jar.save(&cookies)));
        match (end?, flushed) {
            (End::ReaderGone, _) => Ok(Exit::Signal(signals::PIPE)),
            (End::Complete, _) => {
                saved.transpose().or_exit(Exit::Local)?;
                self.broken.take().map_or_else(|| Ok(self.exit()), Err)
            }
        }
    }

    /// The run ends while transfers run, and nobody is told of them: what came is left to be continued.
    fn leave(&mut self) {
        self.sink.hurry(Instant::now() + LAST_WORDS);
        self.engine.cancel();
        while let Some(done) = self.engine.finished() {
            if let Some(body) = done.body {
                self.sink.abandon(body, done.result.as_ref().err());
            }
        }
        for whole in std::mem::take(&mut self.landing) {
            self.sink.abandon(whole.body, None);
        }
    }

    fn turns(&mut self) -> Result<End, Fatal> {
        // What came before there was anything to end.
        self.hear().or_exit(Exit::Local)?;
        loop {
            self.admit().or_exit(Exit::Local)?;
            if let Some(end) = self.flush().or_exit(Exit::Local)? {
                return Ok(end);
            }
            if self.is_complete() {
                if self.summed_up {
                    return Ok(End::Complete);
                }
                let unlisted = self.sink.unlisted();
                if unlisted > 0 {
                    self.report.note(&format!("{unlisted} files are not in the checksum file: not verified"));
                }
                // What was done since the last wait took its time, too.
                self.report.finish(Instant::now(), self.again());
                self.summed_up = true;
                continue;
            }
            self.sink.look_again();
            match self.engine.wait(self.deadline(), self.now) {
                Ok(turn) => {
                    self.now = turn.now;
                    self.readable |= turn.source;
                    if turn.signal {
                        self.hear().or_exit(Exit::Local)?;
                    }
                }
                // Nothing moves any more, but what was read is told.
                Err(error) => {
                    self.break_off(Fatal { exit: Exit::Local, error });
                    self.stop_now("libcurl failed").or_exit(Exit::Local)?;
                }
            }
            self.settle().or_exit(Exit::Local)?;
            self.draw();
        }
    }

    /// Lines become jobs, jobs become transfers.
    fn admit(&mut self) -> anyhow::Result<()> {
        self.read()?;
        self.start()?;
        // Those that failed without an attempt have made room for lines that nothing else will ask for.
        self.unread |= self.wants_lines();
        Ok(())
    }

    /// Takes lines while they are wanted and there are any, but not all of the turn's time.
    fn read(&mut self) -> anyhow::Result<()> {
        self.unread = false;
        for _ in 0..LINES_A_TURN {
            if !self.wants_lines() {
                return Ok(());
            }
            match self.source.next(self.now) {
                Ok(Next::Job(job)) => self.take(job)?,
                Ok(Next::Refused(mut job, failure)) => {
                    let outcome = self.journal.skip(&mut job).map_or(Outcome::Failed(failure), Outcome::Skipped);
                    self.tell(job, outcome)?;
                }
                Ok(Next::Again) => {
                    self.unread = true;
                    return Ok(());
                }
                Ok(Next::NotNow) => {
                    self.readable = false;
                    if let Some(fd) = self.source.fd() {
                        self.engine.watch(Wake::Source, fd)?;
                    }
                }
                Ok(Next::End) => self.ended = true,
                Err(error) => self.break_off(Fatal { exit: Exit::Usage, error }),
            }
        }
        self.unread = self.wants_lines();
        Ok(())
    }

    /// A line that can be fetched claims its name, and waits for its turn unless there is nothing to do.
    fn take(&mut self, mut job: Job) -> anyhow::Result<()> {
        match self.sink.claim_unless(&mut job, |job| self.journal.skip(job)) {
            Claim::Fetch => self.schedule.push(job, self.now),
            Claim::Skip(why) => self.tell(job, Outcome::Skipped(why))?,
            Claim::Refuse(failure) => self.tell(job, Outcome::Failed(failure))?,
        }
        Ok(())
    }

    /// Starts what may start now.
    fn start(&mut self) -> anyhow::Result<()> {
        while self.has_room() {
            match self.schedule.next(self.now) {
                schedule::Next::Start(mut job) => {
                    if let Some(ended) = job.tries.ended.take() {
                        let waited = self.now.saturating_duration_since(ended).as_secs_f64();
                        self.report.detail(&format!("{}: retry {} after {waited:.2} s", job.url, job.num_retries));
                    }
                    let body = self.sink.body(&job);
                    self.engine.start(job, body, self.now);
                }
                schedule::Next::Fail(job, failure) => {
                    if let Some(job) = self.or_mirror(job, &failure) {
                        self.tell(job, Outcome::Failed(failure))?;
                    }
                }
                schedule::Next::Wait => break,
            }
        }
        Ok(())
    }

    fn wants_lines(&self) -> bool {
        let report_keeps_up = || self.report.backlog() < BACKLOG && self.report.keeps_up(self.source.progress().lines);
        self.readable && !self.ended && self.schedule.wants_more() && report_keeps_up()
    }

    /// Whether those who read the results keep up.
    fn has_room(&self) -> bool {
        self.landing.len() < self.schedule.jobs_limit() && self.report.backlog() < BACKLOG
    }

    /// No more lines are read, nor is looked after where they come from.
    fn leave_source(&mut self) {
        self.ended = true;
        self.next_check = None;
    }

    /// The source cannot be read any further: what was read is fetched all the same.
    fn break_off(&mut self, fatal: Fatal) {
        self.leave_source();
        self.broken.get_or_insert(fatal);
    }

    /// Writes what is told; waits for the reader where it is slow.
    fn flush(&mut self) -> anyhow::Result<Option<End>> {
        self.write_journal()?;
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

    /// Writes what the journal noted. Where it cannot, nothing is put anywhere any more.
    fn write_journal(&mut self) -> anyhow::Result<()> {
        match self.journal.flush() {
            Ok(()) => Ok(()),
            Err(error) => {
                self.break_off(Fatal { exit: Exit::Local, error });
                self.stop_now("the journal cannot be written")
            }
        }
    }

    fn is_complete(&self) -> bool {
        let idle = self.ended && self.schedule.waiting() == 0 && self.engine.in_flight() == 0;
        let told = self.landing.is_empty() && self.report.backlog() == 0;
        (idle && told) || self.give_up.is_some_and(|at| at <= self.now)
    }

    fn deadline(&self) -> Option<Instant> {
        let unread = self.unread.then_some(self.now);
        let retry = self.schedule.deadline().filter(|_| self.has_room());
        [unread, retry, self.report.next_draw(), self.next_check, self.give_up].into_iter().flatten().min()
    }

    fn draw(&mut self) {
        if self.report.next_draw().is_none_or(|at| at > self.now) {
            return;
        }
        let running = || {
            self.engine.running().map(|running| Active {
                urlnum: running.job.urlnum,
                label: &running.job.url,
                received: running.received,
                expected: running.expected,
                started: running.started,
            })
        };
        let active: Vec<Active<'_>> = running().take(SHOWN).collect();
        let list = self.source.progress();
        let mut paused = self.schedule.paused(self.now);
        let pauses = paused.next().map(|first| Pauses {
            hosts: 1 + paused.count(),
            host: first.host,
            status: first.status,
            first: first.until.saturating_duration_since(self.now),
            last: self.schedule.longest_pause(self.now),
        });
        self.report.draw(
            self.now,
            &Progress {
                in_flight: self.engine.in_flight() + self.landing.len(),
                limit: self.auto.then(|| self.schedule.jobs_limit()),
                waiting: self.schedule.waiting(),
                pauses,
                received: self.engine.received(),
                list_bytes: list.bytes_read,
                list_total: list.bytes_total,
                lines: list.lines,
                list_ended: list.ended,
                input_waits: !self.readable && !self.ended,
                stopping: self.stopping,
                parts: running().filter_map(|active| active.part()).sum(),
                active: &active,
            },
        );
    }

    /// What the same command would do after this run.
    fn again(&self) -> Again {
        match self.kind {
            Kind::Daemon => Again::Anew,
            Kind::List if self.sink.is_dry() => Again::Nothing,
            Kind::List if self.journal.is_kept() => Again::Journal,
            Kind::List if self.sink.keeps_what_is_there() => Again::Files,
            Kind::List => Again::Anew,
        }
    }

    fn exit(&self) -> Exit {
        let tally = self.report.tally();
        match (self.shutdown, self.kind, self.signals.last()) {
            (Shutdown::Draining | Shutdown::Stopping, Kind::List, Some(signal)) => Exit::Signal(signal),
            (Shutdown::Stopping, Kind::Daemon, Some(signal)) => Exit::Signal(signal),
            // What did not fit at first may have fitted later.
            _ if self.sink.disk_shut() && tally.failed() > 0 => Exit::Local,
            (Shutdown::Draining, Kind::Daemon, _) => Exit::Ok,
            _ if tally.failed() > 0 => Exit::SomeFailed,
            _ => Exit::Ok,
        }
    }
}

/// How the run ends when there is no journal to be had; `signal` came last.
fn unusable(trouble: journal::Trouble, signal: Option<i32>) -> Fatal {
    match trouble {
        journal::Trouble::Stopped(error) => Fatal { exit: signal.map_or(Exit::Local, Exit::Signal), error },
        journal::Trouble::NotOne(error) => Fatal { exit: Exit::Usage, error: error.context("--journal") },
        journal::Trouble::Local(error) => Fatal { exit: Exit::Local, error: error.context("--journal") },
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
