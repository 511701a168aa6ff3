//! Where bytes land: names, files, standard output, or nowhere.
//!
//! [`Sink::claim_unless`] gives a job its name when its line is read, [`Sink::body`] takes the bytes of one attempt, and
//! [`Sink::publish`] makes them visible at once and whole, or [`Sink::abandon`] keeps or removes what is there.
//! Touches no name outside the output directory, follows no link below it and overwrites nothing unasked. Must not
//! know the network, retries or the command line.

mod body;
mod checksums;
mod claims;
mod digest;
mod fault;
mod file;
mod files;
mod hash;
mod head;
mod known;
mod name;
mod names;
mod options;
mod ours;
mod own;
mod part;
mod probe;
#[cfg(test)]
mod properties;
mod register;
mod sidecar;
mod stdout;
mod sys;
mod template;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod version;
mod writer;

use std::borrow::Cow;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use crate::job::{ErrorClass, Failure, Job, Key, Outcome, Placement, Saved, WOULD_BE_FETCHED};
use crate::outlet::Outlet;

pub use body::Body;
pub use checksums::Checksums;
pub use claims::Owners;
pub use fault::lack;
pub use head::Head;
pub use options::{IfExists, NameFrom, Options, Run, Target};
pub use sidecar::Resume;
pub use stdout::Lost;
pub use template::Template;
pub use version::Version;

use body::Place;
use claims::{Claims, Keep};
use digest::Promises;
use fault::Fault;
use files::Files;
use hash::Digest;
use own::Own;
use register::Register;
use stdout::Stdout;
use tree::Tree;

/// What is to be done with a job.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// It has its name and is fetched.
    Fetch,
    /// Nothing, and why.
    Skip(Cow<'static, str>),
    /// It cannot be kept, and why: settle it as failed.
    Refuse(Failure),
}

/// What became of a whole body.
#[derive(Debug)]
pub enum Landed {
    /// It is where it belongs, or never will be. It is spent; a failure has ended it as [`Sink::abandon`] would.
    Done(Outcome, Saved),
    /// Standard output has not taken all of it, or is taking another one.
    Waits,
    /// Its name was taken meanwhile. It is to be published again, by another.
    Renamed,
}

/// Where bytes land.
#[derive(Debug)]
pub struct Sink {
    kind: Kind,
    remote_time: bool,
    max_filesize: Option<u64>,
    sha256: bool,
    run: Run,
    /// Whether the disk took nothing of a body: it may be so for others.
    disk_shut: bool,
    /// How long the disk may take over cancelled bodies.
    hurry: Option<Instant>,
    /// Whether somebody keeps what jobs are known by.
    keeps_keys: bool,
}

/// Which kind of place that is.
#[derive(Debug)]
enum Kind {
    Files(Files),
    Stdout(Stdout),
    Discard,
}

impl Sink {
    /// Opens the target. An output directory is made when it is missing, and is proved to be writable.
    ///
    /// # Errors
    /// The directory cannot be made, opened or written: exit 3, before any request.
    pub fn open(options: Options) -> anyhow::Result<Sink> {
        let Options { target, if_exists, remote_time, max_filesize, checksums, sha256, names_kept, .. } = options;
        let Options { own, name_from, continued, sync, run, .. } = options;
        let kind = match target {
            Target::Files { dir, template } => {
                let keep = match names_kept {
                    Some(most) => Keep::Latest(most),
                    None if template.is_unique() => Keep::Running,
                    None => Keep::All,
                };
                let path = dir.clone();
                let tree = match (run, sync) {
                    (Run::Dry, _) => Tree::look(dir)?,
                    (Run::Real, true) => Tree::durable(dir)?,
                    (Run::Real, false) => Tree::open(dir)?,
                };
                let claims = Claims::new(keep).folding(tree.folds_case());
                let register = Register::new(Rc::new(tree), if_exists, claims, Own::of(&own, &path));
                Kind::Files(Files::new(register, template, name_from, checksums, continued))
            }
            Target::Stdout => Kind::Stdout(Stdout::new(Outlet::stdout())),
            Target::Discard => Kind::Discard,
        };
        Ok(Sink { kind, remote_time, max_filesize, sha256, run, disk_shut: false, hurry: None, keeps_keys: false })
    }

    /// From now on names that `earlier` has of other runs are their owners' alone, and every job gets its key.
    pub fn respect(&mut self, earlier: Box<dyn Owners>) {
        self.keeps_keys = true;
        if let Kind::Files(files) = &self.kind {
            files.respect(earlier);
        }
    }

    /// Gives `job` its destination, or says why there is nothing to fetch. To be called for every good line, in
    /// input order and before anything else can settle it, so that names are the same in every run. `settled` is asked,
    /// before anything on disk is looked at, whether the job, which has its key then, was settled in an earlier run.
    pub fn claim_unless(
        &mut self,
        job: &mut Job,
        settled: impl FnOnce(&mut Job) -> Option<Cow<'static, str>>,
    ) -> Claim {
        // A bad name is a bad line, whether or not the name is used.
        let given = match job.name.as_deref().map(names::confined).transpose() {
            Ok(given) => given,
            Err(message) => {
                self.key_without_file(job);
                return settled(job).map_or_else(|| Claim::Refuse(Failure::input(message)), Claim::Skip);
            }
        };
        let claim = match &mut self.kind {
            Kind::Files(files) => files.claim(job, given, settled),
            Kind::Stdout(_) | Kind::Discard => {
                self.key_without_file(job);
                settled(job).map_or(Claim::Fetch, Claim::Skip)
            }
        };
        match (claim, self.run) {
            (Claim::Fetch, Run::Dry) => Claim::Skip(WOULD_BE_FETCHED.into()),
            (claim, _) => claim,
        }
    }

    /// Any number of jobs have no file, so what stands for its name is a part of the job alone.
    fn key_without_file(&self, job: &mut Job) {
        if self.keeps_keys {
            let identity = job.identity();
            let whole = Digest::of(&format!("{identity}\n{}", job.name.as_deref().unwrap_or_default()));
            job.key = Some(Key::of(whole.short(), claims::owner(&Digest::of(&identity))));
        }
    }

    /// The job of line `urlnum` has ended, in whichever way. A run without end fetches the same again from then on, if
    /// it is not there.
    pub fn settled(&mut self, urlnum: u64) {
        // In a dry run no file appears that the next line of the same name would find.
        if let (Kind::Files(files), Run::Real) = (&mut self.kind, self.run) {
            files.ended(urlnum);
        }
    }

    /// Takes the bytes of one attempt at `job`, whose name is claimed. Opens what an earlier one has left and can be
    /// continued, and nothing else yet.
    pub fn body(&mut self, job: &Job) -> Body {
        let limit = self.max_filesize;
        let promises = Promises {
            line: job.checksum,
            listed: job.listed.as_deref().copied(),
            sha256: self.sha256,
            ..Promises::default()
        };
        let size = job.particulars.as_ref().and_then(|particulars| particulars.size);
        let body = match &mut self.kind {
            Kind::Files(files) => {
                let mut body = files.body(job, limit, promises);
                if self.disk_shut
                    && let Err(errno) = files.tree().check_open()
                {
                    body.refusal.get_or_insert(Fault::system("write to", "the output directory", errno).into_failure());
                }
                body
            }
            Kind::Stdout(stdout) => Body::new(Place::Spool(stdout.spool(&job.url)), limit, promises),
            Kind::Discard => Body::new(Place::Nowhere, limit, promises),
        };
        body.promise(size)
    }

    /// The turn is over: what came in it is on its way to the disk.
    pub fn hand_over(&self) {
        if let Kind::Files(files) = &self.kind {
            files.tree().writer().hand_over();
        }
    }

    /// Somebody may do something to the directories now: they are looked at again when they are used.
    pub fn look_again(&self) {
        if let Kind::Files(files) = &self.kind {
            files.tree().look_again();
        }
    }

    /// Rings when the disk took what was waited for: [`Body::has_room`], [`Body::poll_settled`].
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        let Kind::Files(files) = &self.kind else { return None };
        files.tree().writer().bell()
    }

    /// Cancelled bodies are what is on disk by then.
    pub fn hurry(&mut self, until: Instant) {
        self.hurry = Some(until);
    }

    /// Readies a whole body for [`Sink::publish`], and says where that is about to put it; `None` where that is no file, or
    /// not to be.
    pub fn prepare<'a>(&self, job: &Job, body: &'a mut Body) -> Option<Placement<'a>> {
        let Kind::Files(files) = &self.kind else { return None };
        body.finish(self.remote_time).ok().filter(|()| !body.is_unwanted())?;
        let Place::File(file) = &body.place else { return None };
        files.placement(job, file)
    }

    /// Whether an earlier run, that was about to put a file with this [`Placement::mark`] at `path`, did: then what
    /// stands for the name.
    pub fn recognize(&self, path: &str, mark: &str) -> Option<u64> {
        let Kind::Files(files) = &self.kind else { return None };
        files.recognize(path, mark)
    }

    /// Makes a whole body visible.
    pub fn publish(&mut self, body: &mut Body) -> Landed {
        let begun = body.is_begun();
        let published = match (body.finish(self.remote_time), body.why_unwanted()) {
            (Err(failure), _) => Ok((Outcome::Failed(failure), None)),
            (Ok(()), Some(why)) => Ok((Outcome::Skipped(why), body.discard())),
            (Ok(()), None) => match (&mut self.kind, &mut body.place) {
                (Kind::Files(files), Place::File(file)) => match files.publish(file).transpose() {
                    None => match body.renamed() {
                        Ok(()) => return Landed::Renamed,
                        Err(failure) => Ok((Outcome::Failed(failure), None)),
                    },
                    Some(published) => published.map(|(outcome, name)| (outcome, Some(name))),
                },
                (Kind::Stdout(stdout), Place::Spool(spool)) => match stdout.publish(spool) {
                    Poll::Pending => return Landed::Waits,
                    Poll::Ready(result) => result.map(|()| (Outcome::Ok, None)),
                },
                (_, Place::Nowhere) => Ok((Outcome::Ok, None)),
                (_, Place::File(_) | Place::Spool(_)) => Err(Fault::local("the body is of another sink".to_owned())),
            },
        };
        let (outcome, name) = published.unwrap_or_else(|fault| (Outcome::Failed(body.failed(fault)), None));
        if let Outcome::Failed(failure) = &outcome {
            self.end(body, Some(failure));
        }
        if let (Kind::Files(files), Outcome::Ok, Some(_)) = (&mut self.kind, &outcome, &body.renaming) {
            files.count_listed(body.is_promised());
        }
        let filename = match (&self.kind, name, &outcome) {
            (_, _, Outcome::Failed(_)) => None,
            (Kind::Files(files), Some(name), _) => Some(files.tree().path(name.path())),
            _ => None,
        };
        let saved = match outcome == Outcome::Ok && begun {
            true => {
                let (size, sha256, resume_from) = (Some(body.size()), body.sha256(), body.resumed_from());
                Saved { filename, size, sha256, resume_from }
            }
            false => Saved { filename, ..Saved::default() },
        };
        Landed::Done(outcome, saved)
    }

    /// Ends a failed attempt, or with `None` a cancelled one: what arrived is kept as a partial file, unless it is
    /// of no use or the disk is full.
    pub fn abandon(&mut self, mut body: Body, failure: Option<&Failure>) {
        self.end(&mut body, failure);
    }

    /// The path of the job's file from the current directory, whether or not it is there; in a dry run that which it would
    /// have. `None` where the name is found only when the file is whole.
    pub fn filename(&self, job: &Job) -> Option<PathBuf> {
        let Kind::Files(files) = &self.kind else { return None };
        job.destination
            .as_ref()
            .filter(|_| self.run == Run::Dry || files.is_named(job))
            .and_then(|name| name.to_str())
            .map(|name| files.tree().path(name))
    }

    /// Whether nothing is fetched.
    pub fn is_dry(&self) -> bool {
        self.run == Run::Dry
    }

    /// Whether a later run skips what this one has fetched.
    pub fn keeps_what_is_there(&self) -> bool {
        matches!(&self.kind, Kind::Files(files) if files.skips_what_is_there())
    }

    /// What to wait on after [`Poll::Pending`], until it is writable.
    pub fn stdout(&self) -> Option<BorrowedFd<'_>> {
        let Kind::Stdout(stdout) = &self.kind else { return None };
        stdout.outlet().waitable()
    }

    /// Why standard output takes no more bodies, which ends the run.
    pub fn lost(&self) -> Option<&Lost> {
        let Kind::Stdout(stdout) = &self.kind else { return None };
        stdout.lost()
    }

    /// Whether the disk was full or read-only in this run: exit 3, though what fits goes on.
    pub fn disk_shut(&self) -> bool {
        self.disk_shut
    }

    /// Files to be fetched so far that no line of the checksum file names, where there is one.
    pub fn unlisted(&self) -> u64 {
        let Kind::Files(files) = &self.kind else { return 0 };
        files.unlisted()
    }

    fn end(&mut self, body: &mut Body, failure: Option<&Failure>) {
        let class = failure.map(|failure| failure.class);
        match (class, self.hurry, &mut body.place) {
            (Some(ErrorClass::Cancelled), Some(until), Place::File(file)) => file.break_off(until),
            // Also what fails only now may say that the disk is full.
            _ => drop(body.settle()),
        }
        self.disk_shut |= body.disk_shut;
        let begun = body.is_begun();
        // Whole or not, these bytes are not the ones that were asked for. An error says nothing about bytes that an
        // earlier attempt has left.
        let useless = match class {
            Some(ErrorClass::TooLarge | ErrorClass::Range | ErrorClass::Checksum) => true,
            Some(ErrorClass::Http) => begun,
            _ => body.disk_shut || (begun && body.size() == 0),
        };
        match (&mut self.kind, &mut body.place) {
            (_, Place::File(file)) if useless => file.remove(),
            (_, Place::File(file)) => file.keep(),
            (Kind::Stdout(stdout), Place::Spool(spool)) => stdout.abandon(spool),
            (_, Place::Spool(_) | Place::Nowhere) => {}
        }
    }
}
