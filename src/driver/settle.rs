//! How jobs end: published, tried again, failed or cancelled, and always told.

use std::borrow::Cow;
use std::time::Instant;

use super::{CHECK_EVERY, Driver, LAST_WORDS, Whole};
use crate::engine::Done;
use crate::exit::Exit;
use crate::fatal::Fatal;
use crate::job::{DONE_ELSEWHERE, ErrorClass, FAILED_BEFORE, Failure, Job, Outcome, Saved, Settled, Stats};
use crate::schedule::{self, Attempt, Verdict};
use crate::signals::Shutdown;
use crate::sink::Landed;

impl Driver {
    /// Everything that ended in this turn: published or tried again, and told.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        self.sink.hand_over();
        for note in self.engine.notes() {
            self.report.note(&note);
        }
        for host in self.engine.connected() {
            self.schedule.connected(&host, self.now);
        }
        while let Some(done) = self.engine.finished() {
            self.take_back(done)?;
        }
        for note in self.schedule.take_notes() {
            match note.level {
                schedule::Level::Always => self.report.note(&note.text),
                schedule::Level::Verbose => self.report.detail(&note.text),
            }
        }
        self.land()?;
        if let Some(due) = self.next_check.filter(|due| *due <= self.now) {
            self.next_check = Some(due.max(self.now) + CHECK_EVERY);
            match self.source.check() {
                Ok(None) => {}
                Ok(Some(note)) => {
                    self.report.note(&note);
                    self.readable = true;
                }
                Err(error) => self.break_off(Fatal { exit: Exit::Local, error }),
            }
        }
        Ok(())
    }

    /// Whole bodies are put where they belong, after the journal has it that they will be.
    fn land(&mut self) -> anyhow::Result<()> {
        self.announce()?;
        while let Some(first) = self.landing.front_mut() {
            match self.sink.publish(&mut first.body) {
                Landed::Waits => break,
                Landed::Renamed => self.announce()?,
                Landed::Done(outcome, saved) => {
                    if let Some(Whole { job, stats, started, .. }) = self.landing.pop_front() {
                        self.record(job, outcome, stats, saved, started)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Has the journal say where bodies are about to be put. All at once: it takes a second announcement for a sign that
    /// nothing is left of the first.
    fn announce(&mut self) -> anyhow::Result<()> {
        if !self.journal.is_written() {
            return Ok(());
        }
        for Whole { job, body, .. } in &mut self.landing {
            if let Some(placement) = self.sink.prepare(job, body) {
                self.journal.place(job, &placement);
            }
        }
        self.write_journal()
    }

    /// An attempt is over: a whole body lands, a failure is tried again or settled.
    fn take_back(&mut self, done: Done) -> anyhow::Result<()> {
        let Done { mut job, mut body, result, stats, retry_after, connected, hop, started } = done;
        let result = match (&mut body, &hop) {
            (Some(body), None) => result.and_then(|()| body.verify()),
            _ => result,
        };
        job.tries.status = stats.as_ref().and_then(|stats| stats.http_code).filter(|_| result.is_err());
        let url = result.is_err().then(|| job.url.clone());
        let verdict = self.schedule.ended(
            job,
            &Attempt {
                outcome: result.as_ref().copied(),
                status: stats.as_ref().and_then(|stats| stats.http_code),
                retry_after,
                connected,
                first_byte: stats.as_ref().and_then(|stats| stats.time_starttransfer).filter(|time| !time.is_zero()),
                bytes: stats.as_ref().map_or(0, |stats| stats.size_download),
            },
            self.now,
        );
        let failure = match (result, body) {
            (Ok(()), Some(body)) if hop.is_some() => {
                self.sink.abandon(body, None);
                return match verdict {
                    Verdict::Settled(job) => self.follow(Job { hop, ..job }),
                    _ => Ok(()),
                };
            }
            (Ok(()), Some(body)) => {
                if let Verdict::Settled(job) = verdict {
                    self.landing.push_back(Whole { job, body, stats, started });
                }
                return Ok(());
            }
            (Ok(()), None) => Failure::local("no body"),
            (Err(failure), body) => {
                if let Some(body) = body {
                    self.sink.abandon(body, Some(&failure));
                }
                failure
            }
        };
        let (job, failure) = match verdict {
            Verdict::Kept => {
                let (url, class) = (url.unwrap_or_default(), failure.class.as_str());
                self.report.detail(&format!("{url}: {class}: {}; will be tried again", failure.message));
                return Ok(());
            }
            Verdict::Settled(job) => (job, failure),
            Verdict::Failed(job, failure) => (job, failure),
        };
        let Some(job) = self.or_mirror(job, &failure) else { return Ok(()) };
        let outcome = match failure.class {
            ErrorClass::Cancelled => Outcome::Cancelled(Cow::from(failure.message)),
            _ => Outcome::Failed(failure),
        };
        self.record(job, outcome, stats, Saved::default(), started)
    }

    /// A redirect leads on: to a host that has its own queue, and may not be asked right now.
    fn follow(&mut self, job: Job) -> anyhow::Result<()> {
        match self.schedule.follow(job, self.now) {
            Some(job) => self.tell(job, Outcome::Cancelled(Cow::from("stopped while the redirect's host has it wait"))),
            None => Ok(()),
        }
    }

    /// A job that failed, unless it has a mirror left: then it waits for that, like a new one.
    pub(super) fn or_mirror(&mut self, mut job: Job, failure: &Failure) -> Option<Job> {
        let is_ours = matches!(failure.class, ErrorClass::Local | ErrorClass::Cancelled);
        if is_ours || self.stopping || !job.turn_to_mirror() {
            return Some(job);
        }
        let (class, host) = (failure.class.as_str(), &job.host.name);
        self.report.detail(&format!("{}: {class}: {}; asks a mirror, {host}", job.url, failure.message));
        self.schedule.push(job, self.now);
        None
    }

    /// Settles a job without another attempt. Of an earlier one its status is told.
    pub(super) fn tell(&mut self, job: Job, outcome: Outcome) -> anyhow::Result<()> {
        let filename = match &outcome {
            Outcome::Skipped(why) if ![FAILED_BEFORE, DONE_ELSEWHERE].contains(&&**why) => self.sink.filename(&job),
            _ => None,
        };
        let stats = job.tries.status.map(|status| Stats { http_code: Some(status), ..Stats::default() });
        self.record(job, outcome, stats, Saved { filename, ..Saved::default() }, self.now)
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
        let stats = job.through(stats);
        let settled = Settled { job, outcome, stats, saved, time_queue };
        self.journal.record(&settled);
        self.report.settled(&settled)?;
        match self.schedule.settled(&settled.outcome) {
            Some(why) => self.stop(&why),
            None => Ok(()),
        }
    }

    /// Nothing more is started, what runs finishes.
    fn stop(&mut self, why: &str) -> anyhow::Result<()> {
        self.stop_starting(why, "finish")
    }

    /// Nothing more is started, what waits is cancelled; what runs does as `running` says.
    fn stop_starting(&mut self, why: &str, running: &str) -> anyhow::Result<()> {
        self.leave_source();
        self.stopping = true;
        let count = self.schedule.running();
        let jobs = self.schedule.drain(self.now);
        self.report.note(&format!("stopping: {why}; {count} running transfers {running}"));
        for job in jobs {
            let why = match (job.tries.ended, job.tries.status) {
                (None, _) => "stopped before it was started".into(),
                (Some(_), None) => "stopped before it was tried again".into(),
                (Some(_), Some(status)) => {
                    format!("the server answered {status}; stopped before it was asked again").into()
                }
            };
            self.tell(job, Outcome::Cancelled(why))?;
        }
        Ok(())
    }

    /// The first interrupt stops admission, the second everything. Other signals have the report do something.
    pub(super) fn hear(&mut self) -> anyhow::Result<()> {
        let requests = self.signals.requested();
        if requests.reopen {
            self.report.reopen();
        }
        if requests.status {
            self.report.ask_status();
        }
        let heard = self.signals.heard();
        if heard >= Shutdown::Draining && self.shutdown < Shutdown::Draining {
            self.stop("interrupted, once more to stop at once")?;
            let unread = self.source.leftover();
            if unread > 0 {
                self.report.note(&format!("stopping: {unread} lines in the pipe were not taken"));
            }
        }
        if heard == Shutdown::Stopping && self.shutdown < Shutdown::Stopping {
            self.end_transfers()?;
        }
        self.shutdown = self.shutdown.max(heard);
        Ok(())
    }

    /// Nothing can be transferred any more, or nobody would know of it: what waits is cancelled, and so is what runs.
    pub(super) fn stop_now(&mut self, why: &str) -> anyhow::Result<()> {
        if self.shutdown < Shutdown::Draining {
            self.stop_starting(why, "are cancelled")?;
        }
        self.shutdown = Shutdown::Stopping;
        self.end_transfers()
    }

    /// What runs is cancelled, and the reader of standard output has a moment to take what is told of it.
    fn end_transfers(&mut self) -> anyhow::Result<()> {
        self.sink.hurry(self.now + LAST_WORDS);
        self.engine.cancel();
        for job in self.schedule.drain(self.now) {
            self.tell(job, Outcome::Cancelled(Cow::from("stopped")))?;
        }
        for Whole { job, body, stats, started } in std::mem::take(&mut self.landing) {
            self.sink.abandon(body, None);
            self.record(job, Outcome::Cancelled(Cow::from("stopped")), stats, Saved::default(), started)?;
        }
        self.give_up = Some(self.now + LAST_WORDS);
        Ok(())
    }
}
