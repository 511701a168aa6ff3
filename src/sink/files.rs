//! The output directory as a target: who gets which name, and what happens when it is there already.
//!
//! Must not know templates' syntax, libcurl or how a file is written.

use std::borrow::Cow;
use std::rc::Rc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::checksums::Checksums;
use super::claims::{Claimed, Claims};
use super::fault::{Fault, lack};
use super::file::{Name, OutputFile, Published, Replace};
use super::hash::Digest;
use super::template::Template;
use super::tree::{Missing, Tree};
use super::{Claim, IfExists, names, sys};
use crate::job::{Failure, Job, Outcome};

/// Longest path that the kernel opens in one go, with its NUL (`PATH_MAX`); a longer one could be written below the
/// open directory, but nobody could read it by the path in its record.
const PATH_MAX: usize = 4096;

/// The longest of the suffixes that a path may yet get: a hash.
const SUFFIX_MAX: usize = 65;

/// Lengths of the hash tried in `stem-HASH.ext`, in hex digits. The first is enough but for names made to collide.
const HASH_DIGITS: [usize; 3] = [8, 16, 64];

/// How often a directory that is a file in this run is given another name.
const DIRECTORY_TRIES: u32 = 8;

/// Bodies go to files.
#[derive(Debug)]
pub struct Files {
    tree: Rc<Tree>,
    template: Template,
    if_exists: IfExists,
    checksums: Checksums,
    /// Files that the checksums, where there are any, do not name.
    unlisted: u64,
    claims: Claims,
}

/// What a name is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    Nothing,
    Directory,
    /// A file, or something else that has the name.
    Other,
}

impl Files {
    /// Files in `tree`, named by `template`; those that `checksums` name must hash to what they say.
    pub fn new(tree: Tree, template: Template, if_exists: IfExists, checksums: Checksums, claims: Claims) -> Files {
        Files { tree: Rc::new(tree), template, if_exists, checksums, unlisted: 0, claims }
    }

    /// The directory.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Files to be fetched that no line of the checksum file names, where there is one.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Claims a name for `job`: `given`, which is confined already, or what the template says. `settled` is asked about
    /// that name, which is the same in every run, unlike the one that a collision or an existing file leads to.
    pub fn claim(
        &mut self,
        job: &mut Job,
        given: Option<String>,
        settled: impl FnOnce(&mut Job, &str) -> Option<Cow<'static, str>>,
    ) -> Claim {
        let url = Digest::of(&job.request_url);
        let derived = given.is_none();
        let wanted = given.unwrap_or_else(|| self.template.expand(job, &url));
        if self.tree.path(&wanted).as_os_str().len() + SUFFIX_MAX >= PATH_MAX {
            return Claim::Refuse(Failure::local(format!("output path of {} bytes is too long", wanted.len())));
        }
        let claimed = match derived && self.template.is_unique() {
            true => Ok((wanted.clone(), self.claims.unique(&wanted))),
            false => self.distinct(wanted.clone(), &url),
        };
        let (path, claimed) = match claimed {
            Ok(found) => found,
            Err(failure) => return Claim::Refuse(failure),
        };
        if derived && (path != wanted || self.template.depends_on_the_line()) {
            job.name = Some(path.clone());
        }
        if claimed == Claimed::Before && self.claims.is_running(&path) {
            job.destination = Some(path.into());
            return Claim::Skip("duplicate of an earlier line".into());
        }
        if let Some(why) = settled(job, &wanted) {
            job.destination = Some(path.into());
            return Claim::Skip(why);
        }
        let claim = self.unless_present(job, &path);
        if claim == Claim::Fetch {
            self.claims.started(job.urlnum, &path);
            job.checksum = job.checksum.or_else(|| self.checksums.of(&path));
            self.unlisted += u64::from(job.checksum.is_none() && !self.checksums.is_empty());
        }
        claim
    }

    /// The job of line `urlnum` has ended. A daemon may be asked for the same again.
    pub fn ended(&mut self, urlnum: u64) {
        self.claims.ended(urlnum);
    }

    /// A file for one attempt at `job`.
    pub fn file(&self, job: &Job) -> OutputFile {
        let path = job.destination.as_ref().and_then(|path| path.to_str()).unwrap_or_default();
        let replace = match self.if_exists {
            IfExists::Overwrite => Replace::File,
            IfExists::Skip | IfExists::Rename | IfExists::Fail => Replace::Nothing,
        };
        OutputFile::new(Rc::clone(&self.tree), Name::new(path.to_owned()), replace)
    }

    /// Publishes a whole file; returns the name it has, or would have had.
    ///
    /// # Errors
    /// The file system refuses; the file is still open.
    pub fn publish(&mut self, file: &mut OutputFile) -> Result<(Outcome, Name), Fault> {
        let name = file.name().clone();
        if file.publish(&name)? == Published::Done {
            return Ok((Outcome::Ok, name));
        }
        let present = self.present(&name);
        let outcome = match (present, self.if_exists) {
            (Ok(Present::Directory), _) => Outcome::Failed(is_a_directory(&name)),
            (_, IfExists::Skip) => Outcome::Skipped("a file of this name appeared meanwhile".into()),
            (_, IfExists::Fail | IfExists::Overwrite) => Outcome::Failed(exists(&name)),
            (_, IfExists::Rename) => loop {
                let numbered = self.next_number(&name)?;
                if file.publish(&numbered)? == Published::Done {
                    return Ok((Outcome::Ok, numbered));
                }
            },
        };
        file.remove();
        Ok((outcome, name))
    }

    /// A path like `wanted` that is this URL's alone in this run; `Before` when it was this URL's before.
    fn distinct(&mut self, wanted: String, url: &Digest) -> Result<(String, Claimed), Failure> {
        let wanted = self.in_directories(wanted)?;
        match self.claims.file(&wanted, url) {
            Claimed::Taken => {}
            claimed => return Ok((wanted, claimed)),
        }
        for digits in HASH_DIGITS {
            let path = names::hashed(&wanted, url, digits);
            match self.claims.file(&path, url) {
                Claimed::Taken => {}
                claimed => return Ok((path, claimed)),
            }
        }
        Err(Failure::local(format!("the output name {wanted} and every other one for this URL are taken")))
    }

    /// Claims the directories of `path`. One that is a file in this run gets a trailing `_`, so that of
    /// `http://h/a` and `http://h/a/b` both can be kept, under the same names in every run.
    fn in_directories(&mut self, mut path: String) -> Result<String, Failure> {
        let mut from = 0;
        let mut tries = 0;
        while let Some(length) = path[from..].find('/') {
            let end = from + length;
            if self.claims.directory(&path[..end]) != Claimed::Taken {
                from = end + 1;
            } else if tries < DIRECTORY_TRIES {
                tries += 1;
                path.insert(end, '_');
            } else {
                return Err(Failure::local(format!("{} is a file of this run, not a directory", &path[..end])));
            }
        }
        Ok(path)
    }

    /// The verdict on a claimed name by what is on disk.
    fn unless_present(&mut self, job: &mut Job, path: &str) -> Claim {
        let mut name = Name::new(path.to_owned());
        let claim = match (self.present(&name), self.if_exists) {
            (Ok(Present::Nothing), _) => Claim::Fetch,
            (Ok(Present::Directory), _) => Claim::Refuse(is_a_directory(&name)),
            (Ok(Present::Other), IfExists::Skip) => Claim::Skip("a file of this name exists".into()),
            (Ok(Present::Other), IfExists::Fail) => Claim::Refuse(exists(&name)),
            (Ok(Present::Other), IfExists::Overwrite) => Claim::Fetch,
            (Ok(Present::Other), IfExists::Rename) => match self.next_number(&name) {
                Ok(numbered) => {
                    name = numbered;
                    Claim::Fetch
                }
                Err(fault) => Claim::Refuse(fault.into_failure()),
            },
            (Err(fault), _) => Claim::Refuse(fault.into_failure()),
        };
        job.destination = Some(name.path().into());
        claim
    }

    /// `stem.1.ext`, `stem.2.ext` …: the first that is neither claimed nor on disk.
    fn next_number(&mut self, name: &Name) -> Result<Name, Fault> {
        for number in 1..u64::MAX {
            let numbered = Name::new(names::suffixed(name.path(), &format!(".{number}")));
            if self.claims.numbered(numbered.path()) == Claimed::Now && self.present(&numbered)? == Present::Nothing {
                return Ok(numbered);
            }
        }
        Err(Fault::local(format!("{} has every number", name.path())))
    }

    fn present(&self, name: &Name) -> Result<Present, Fault> {
        let stat = self.tree.directory(name.directory(), Missing::Report).and_then(|dir| sys::stat(&*dir, name.file()));
        match stat {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(Present::Directory),
            Ok(_) => Ok(Present::Other),
            Err(Errno::NOENT) => Ok(Present::Nothing),
            // There is time to find out: publishing looks again, when others have given back what is short now.
            Err(errno) if lack(errno).is_some() => Ok(Present::Nothing),
            Err(errno) => Err(Fault::system("look at", name.path(), errno)),
        }
    }
}

fn is_a_directory(name: &Name) -> Failure {
    Failure::local(format!("{} is a directory", name.path()))
}

fn exists(name: &Name) -> Failure {
    Failure::local(format!("{} exists", name.path()))
}
