//! The output directory as a target: which name a line gets, and what publishing makes of it.
//!
//! Must not know templates' syntax, libcurl or how a file is written.

use std::borrow::Cow;
use std::rc::Rc;

use rustix::fs::FileType;

use super::body::{Body, Place};
use super::checksums::Checksums;
use super::claims::{self, Claimed, Owners};
use super::digest::Promises;
use super::fault::Fault;
use super::file::{OutputFile, Published, Replace};
use super::hash::Digest;
use super::name::Name;
use super::names;
use super::register::{Holding, Numbering, Present, Register, Renaming, exists, is_a_directory};
use super::sidecar::Origin;
use super::template::Template;
use super::tree::{Flushing, Missing, Tree};
use super::{Claim, IfExists, NameFrom, sys};
use crate::job::{Failure, Job, Key, Outcome, Placement, Restart};

/// Bodies go to files.
#[derive(Debug)]
pub struct Files {
    register: Rc<Register>,
    template: Template,
    name_from: NameFrom,
    checksums: Rc<Checksums>,
    /// Files that the checksums, where there are any, do not name.
    unlisted: u64,
    request: Option<Rc<str>>,
}

impl Files {
    /// Files named by `template`, or as `name_from` says; those that `checksums` name must hash to what they say, partial
    /// ones made with `request` are continued.
    pub fn new(
        register: Register,
        template: Template,
        name_from: NameFrom,
        checksums: Checksums,
        request: Option<String>,
    ) -> Files {
        let (register, checksums, request) = (Rc::new(register), Rc::new(checksums), request.map(Rc::from));
        Files { register, template, name_from, checksums, unlisted: 0, request }
    }

    /// The directory.
    pub fn tree(&self) -> &Tree {
        self.register.tree()
    }

    /// Whether a file that is there is not fetched again.
    pub fn skips_what_is_there(&self) -> bool {
        self.register.if_exists() == IfExists::Skip
    }

    /// Counts a file that gets its name, of which a checksum is known or not.
    pub fn count_listed(&mut self, is_promised: bool) {
        self.unlisted += u64::from(!is_promised && !self.checksums.is_empty());
    }

    /// Files to be fetched that no line of the checksum file names, where there is one.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// From now on what `earlier` has of other runs is taken.
    pub fn respect(&self, earlier: Box<dyn Owners>) {
        self.register.respect(earlier);
    }

    /// Claims a name for `job`: `given`, which is confined already, or what the template says. `settled` is asked about
    /// that name and not the one that an existing file leads to, which may be another in each run.
    pub fn claim(
        &mut self,
        job: &mut Job,
        given: Option<String>,
        settled: impl FnOnce(&mut Job) -> Option<Cow<'static, str>>,
    ) -> Claim {
        let url = Digest::of(&job.identity());
        let derived = given.is_none();
        let renamed = self.is_renamed(job);
        let wanted = given.unwrap_or_else(|| self.template.expand(job, &url));
        if !self.register.fits(&wanted) {
            return Claim::Refuse(Failure::local(format!("output path of {} bytes is too long", wanted.len())));
        }
        let claimed = match derived && self.template.is_unique() {
            true => Ok(self.register.unique(wanted.clone())),
            false => self.register.distinct(wanted.clone(), &url),
        };
        let Holding { path, name: number, claimed } = match claimed {
            Ok(taken) => taken,
            Err(failure) => return Claim::Refuse(failure),
        };
        job.key = Some(Key::of(number, claims::owner(&url)));
        if derived && (path != wanted || self.template.depends_on_the_line()) && !renamed {
            job.name = Some(path.clone());
        }
        if claimed == Claimed::Before && self.register.is_running(number) {
            job.destination = Some(path.into());
            return Claim::Skip("duplicate of an earlier line".into());
        }
        if let Some(why) = settled(job) {
            if renamed {
                // By its final name, which the journal has, nothing is known of this one.
                self.register.tidy(&Name::new(path.clone()));
            }
            job.destination = Some(path.into());
            return Claim::Skip(why);
        }
        let mut name = Name::new(path.clone());
        // What is to be there is known when the server has answered.
        let claim = if renamed { Claim::Fetch } else { self.register.unless_present(&mut name, &url) };
        if claim == Claim::Fetch {
            self.register.started(job.urlnum, number);
            job.listed = self.checksums.of(name.path()).or_else(|| self.checksums.of(&path)).map(Box::new);
            if !renamed {
                self.count_listed(job.checksum.is_some() || job.listed.is_some());
            }
        }
        job.destination = Some(name.path().into());
        claim
    }

    /// Whether the response may bring another name.
    fn is_renamed(&self, job: &Job) -> bool {
        self.name_from == NameFrom::Header && job.name.is_none()
    }

    /// Whether the name of the job's file is known before the file is there.
    pub fn is_named(&self, job: &Job) -> bool {
        !self.is_renamed(job) && self.register.if_exists() != IfExists::Rename
    }

    /// The job of line `urlnum` has ended. A daemon may be asked for the same again.
    pub fn ended(&mut self, urlnum: u64) {
        self.register.ended(urlnum);
    }

    /// A body for one attempt at `job`, of at most `limit` bytes; with `promises`, and what the checksum file says.
    pub fn body(&self, job: &Job, limit: Option<u64>, promises: Promises) -> Body {
        let path = job.destination.as_ref().and_then(|path| path.to_str()).unwrap_or_default();
        let name = Name::new(path.to_owned());
        let numbering = (self.register.if_exists() == IfExists::Rename).then(|| Numbering {
            register: Rc::clone(&self.register),
            url: Digest::of(&job.identity()),
            name: job.key.and_then(|key| self.register.unnumbered(path, key.name())).unwrap_or_else(|| name.clone()),
        });
        let replace = match self.register.if_exists() {
            IfExists::Overwrite | IfExists::Update if self.tree().flushing() == Flushing::Durable => {
                Replace::Reversibly
            }
            IfExists::Overwrite | IfExists::Update => Replace::File,
            IfExists::Skip | IfExists::Rename | IfExists::Fail => Replace::Nothing,
        };
        let renaming = self
            .is_renamed(job)
            .then(|| Renaming { register: Rc::clone(&self.register), url: Digest::of(&job.identity()) });
        let request = self.request.as_ref().filter(|_| job.is_usual());
        let is_update = self.register.if_exists() == IfExists::Update;
        // A tag is its server's, and depends on the options and on what the line says.
        let tag_of = |request: &Rc<str>| Digest::of(&format!("{}\n{}\n{request}", job.identity(), job.request_url));
        let tagged = self.request.as_ref().filter(|_| is_update).map(tag_of);
        // Headers of the line's own may be conditions themselves, and of other methods a condition may stop the deed.
        let asks = is_update && renaming.is_none() && job.is_usual();
        let origin = request.map(|request| Origin {
            url: job.request_url.clone(),
            request: Rc::clone(request),
            checksum: job.checksum.or(job.listed.as_deref().copied()),
        });
        let mut file = OutputFile::new(Rc::clone(self.register.tree()), name, replace, origin);
        file.numbering = numbering;
        let unless = asks.then(|| file.known(tagged.as_ref())).flatten();
        let promises = Promises { names: Rc::clone(&self.checksums), ..promises };
        let mut body = Body::new(Place::File(Box::new(file)), limit, promises);
        // What is there stays until a whole body comes.
        body.resume = body.resume.take().filter(|_| !job.tries.restarts.has(Restart::Refused));
        (body.is_update, body.unless, body.tagged, body.renaming) = (is_update, unless, tagged, renaming);
        body
    }

    /// The name that a whole file is about to get, and what it is known by there.
    pub fn placement<'a>(&self, job: &Job, file: &'a OutputFile) -> Option<Placement<'a>> {
        let path = file.target().path();
        let name = (!self.is_named(job)).then(|| self.register.name(path));
        Some(Placement { path, name, mark: file.mark()? })
    }

    /// Whether the file that was about to get the name `path` has it: the number that stands for that name.
    /// What a kill has left beside it is removed.
    pub fn recognize(&self, path: &str, mark: &str) -> Option<u64> {
        let name = Name::new(names::confined(path).ok().filter(|confined| confined == path)?);
        let dir = self.tree().directory(name.directory(), Missing::Report).ok()?;
        let stat = sys::stat(&*dir, name.file()).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || sys::mark(&stat) != mark {
            return None;
        }
        self.register.tidy(&name);
        Some(self.register.name(path))
    }

    /// Publishes a whole file; returns the name it has, or would have had. `None`: there is something of its name, and
    /// it has another one now, to be published by.
    ///
    /// # Errors
    /// The file system refuses; the file is still open.
    pub fn publish(&mut self, file: &mut OutputFile) -> Result<Option<(Outcome, Name)>, Fault> {
        let name = file.target().clone();
        if file.publish()? == Published::Done {
            return Ok(Some((Outcome::Ok, name)));
        }
        let outcome = match (self.register.present(&name), self.register.if_exists()) {
            (Ok(Present::Directory), _) => Outcome::Failed(is_a_directory(&name)),
            (_, IfExists::Skip) => Outcome::Skipped("a file of this name appeared meanwhile".into()),
            (_, IfExists::Fail | IfExists::Overwrite | IfExists::Update) => Outcome::Failed(exists(&name)),
            (_, IfExists::Rename) => {
                if let Some(numbering) = &file.numbering {
                    file.retarget(numbering.next()?);
                }
                return Ok(None);
            }
        };
        file.remove();
        Ok(Some((outcome, name)))
    }
}
