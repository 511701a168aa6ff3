//! Who has which name in this run, and what happens when it is there already.
//!
//! Shared with the bodies on their way, since some names come with the response.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::claims::{Claimed, Claims, Owners};
use super::fault::{Fault, lack};
use super::file::OutputFile;
use super::hash::Digest;
use super::name::Name;
use super::own::Own;
use super::part::Part;
use super::tree::{Missing, Tree};
use super::{Claim, IfExists, names, sys};
use crate::job::Failure;

/// Lengths of the hash tried in `stem-HASH.ext`, in hex digits. The first is enough but for names made to collide.
const HASH_DIGITS: [usize; 3] = [8, 16, 64];

/// Longest path that the kernel opens in one go, with its NUL (`PATH_MAX`); a longer one could be written below the
/// open directory, but nobody could read it by the path in its record.
const PATH_MAX: usize = 4096;

/// The longest of the suffixes that a path may yet get: a hash.
const SUFFIX_MAX: usize = 65;

/// How often a directory that is a file in this run is given another name.
const DIRECTORY_TRIES: u32 = 8;

/// The names of one output directory.
#[derive(Debug)]
pub struct Register {
    tree: Rc<Tree>,
    if_exists: IfExists,
    claims: RefCell<Claims>,
    /// What is the run's own, by the numbers that stand for names, and by device and inode.
    own_names: HashMap<u64, &'static str>,
    own_files: HashMap<(u64, u64), &'static str>,
}

/// A path that was claimed.
#[derive(Debug)]
pub struct Holding {
    /// The path.
    pub path: String,
    /// The number that stands for it.
    pub name: u64,
    /// Since when it is the claimant's.
    pub claimed: Claimed,
}

/// What a name is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A file, or something else that has the name.
    Other,
}

impl Register {
    /// No names are taken.
    pub fn new(tree: Rc<Tree>, if_exists: IfExists, claims: Claims, own: Own) -> Register {
        let own_names = own.names.iter().map(|(name, what)| (claims.name(name), *what)).collect();
        Register { tree, if_exists, claims: RefCell::new(claims), own_names, own_files: own.files }
    }

    /// The directory.
    pub fn tree(&self) -> &Rc<Tree> {
        &self.tree
    }

    /// What happens when a name is there already.
    pub fn if_exists(&self) -> IfExists {
        self.if_exists
    }

    /// From now on what `earlier` has of other runs is taken.
    pub fn respect(&self, earlier: Box<dyn Owners>) {
        self.claims.borrow_mut().respect(earlier);
    }

    /// The number that stands for the name `path`.
    pub fn name(&self, path: &str) -> u64 {
        self.claims.borrow().name(path)
    }

    /// Whether a file at `path` could be opened by its path, also with what may yet be put behind its stem.
    pub fn fits(&self, path: &str) -> bool {
        self.tree.path(path).as_os_str().len() + SUFFIX_MAX < PATH_MAX
    }

    /// A path like `wanted` that is this URL's alone in this run and those before; `Before` when it was this URL's
    /// before in this one.
    pub fn distinct(&self, wanted: String, url: &Digest) -> Result<Holding, Failure> {
        let claims = &mut self.claims.borrow_mut();
        let wanted = in_directories(claims, wanted)?;
        let mut path = wanted.clone();
        let mut digits = HASH_DIGITS.into_iter();
        loop {
            let name = claims.name(&path);
            match (claims.file(name, url), digits.next()) {
                (Claimed::Taken, Some(digits)) => path = names::hashed(&wanted, url, digits),
                (Claimed::Taken, None) => {
                    let message = format!("the output name {wanted} and every other one for this URL are taken");
                    return Err(Failure::local(message));
                }
                (claimed, _) => return Ok(Holding { path, name, claimed }),
            }
        }
    }

    /// Claims a path that can be no other URL's.
    pub fn unique(&self, path: String) -> Holding {
        let claims = self.claims.borrow();
        let name = claims.name(&path);
        Holding { path, name, claimed: claims.unique(name) }
    }

    /// Whether the file `name`, which its URL has claimed before, needs nothing done for it.
    pub fn is_running(&self, name: u64) -> bool {
        self.claims.borrow().is_running(name)
    }

    /// The file `name` is being fetched for line `urlnum`.
    pub fn started(&self, urlnum: u64, name: u64) {
        self.claims.borrow_mut().started(urlnum, name);
    }

    /// Line `urlnum` has ended.
    pub fn ended(&self, urlnum: u64) {
        self.claims.borrow_mut().ended(urlnum);
    }

    /// The verdict on a name that `url` has claimed by what is on disk; to keep both, it becomes a numbered one.
    pub fn unless_present(&self, name: &mut Name, url: &Digest) -> Claim {
        let present = self.present(name);
        if matches!(present, Ok(Present::Other)) {
            self.tidy(name);
        }
        let own = match (&present, self.if_exists) {
            (Ok(Present::Nothing), _) | (Ok(Present::Other), IfExists::Overwrite | IfExists::Update) => self.own(name),
            _ => None,
        };
        if let Some(what) = own {
            return Claim::Refuse(Failure::local(format!("{} is {what} of this run", name.path())));
        }
        match (present, self.if_exists) {
            (Ok(Present::Nothing), _) => Claim::Fetch,
            (Ok(Present::Directory), _) => Claim::Refuse(is_a_directory(name)),
            (Ok(Present::Other), IfExists::Skip) => Claim::Skip("a file of this name exists".into()),
            (Ok(Present::Other), IfExists::Fail) => Claim::Refuse(exists(name)),
            (Ok(Present::Other), IfExists::Overwrite | IfExists::Update) => Claim::Fetch,
            (Ok(Present::Other), IfExists::Rename) => match self.next_number(name, url) {
                Ok(numbered) => {
                    *name = numbered;
                    Claim::Fetch
                }
                Err(fault) => Claim::Refuse(fault.into_failure()),
            },
            (Err(fault), _) => Claim::Refuse(fault.into_failure()),
        }
    }

    /// What the file `name` is to this run itself.
    fn own(&self, name: &Name) -> Option<&'static str> {
        if self.own_files.is_empty() && self.own_names.is_empty() {
            return None;
        }
        self.own_names.get(&self.name(name.path())).copied().or_else(|| {
            let dir = self.tree.directory(name.directory(), Missing::Report).ok()?;
            let stat = sys::stat(&*dir, name.file()).ok()?;
            self.own_files.get(&(stat.st_dev, stat.st_ino)).copied()
        })
    }

    /// Takes away what a kill has left beside the file `name`: it may have come before its other name, its description or
    /// the file that it replaced was taken away.
    pub fn tidy(&self, name: &Name) {
        if self.tree.is_real()
            && self.tree.may_have_partials(name.directory())
            && let Ok(dir) = self.tree.directory(name.directory(), Missing::Report)
        {
            Part::tidy(&dir, name.file(), self.tree.ours());
        }
    }

    /// `stem.1.ext`, `stem.2.ext` …: one that nobody has claimed, or `url` as this, that is not on disk and that no other
    /// process is about to put there, the first where no number was left out. A look at a few is enough, however many
    /// there are.
    fn next_number(&self, name: &Name, url: &Digest) -> Result<Name, Fault> {
        let numbered = |number: u64| Name::new(names::suffixed(name.path(), &format!(".{number}")));
        let is_free = |number| {
            let name = numbered(number);
            let present = self.present(&name)?;
            if present == Present::Other {
                self.tidy(&name);
            }
            let can_be_had = self.claims.borrow().can_be_number(name.path(), url);
            Ok(can_be_had && present == Present::Nothing && !self.is_busy(&name) && self.own(&name).is_none())
        };
        let (mut taken, mut free) = (0, 1);
        while !is_free(free)? {
            let Some(further) = free.checked_mul(2) else {
                return Err(Fault::local(format!("{} has every number", name.path())));
            };
            (taken, free) = (free, further);
        }
        while free - taken > 1 {
            let between = taken.midpoint(free);
            *if is_free(between)? { &mut free } else { &mut taken } = between;
        }
        let name = numbered(free);
        self.claims.borrow_mut().number(name.path(), url);
        Ok(name)
    }

    /// `path` without the number that it was given, if it was: the name for which `name` stands.
    pub fn unnumbered(&self, path: &str, name: u64) -> Option<Name> {
        let without = |(at, _): (usize, &str)| {
            let rest = path[at + 1..].trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{}{rest}", &path[..at])
        };
        path.match_indices('.').map(without).find(|path| self.name(path) == name).map(Name::new)
    }

    /// Whether another process is writing what is to have this name.
    fn is_busy(&self, name: &Name) -> bool {
        self.tree.directory(name.directory(), Missing::Report).is_ok_and(|dir| Part::is_busy(&dir, name.file()))
    }

    /// What has this name on disk.
    pub fn present(&self, name: &Name) -> Result<Present, Fault> {
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

/// Claims the directories of `path`. One that is a file in this run gets a trailing `_`, so that of
/// `http://h/a` and `http://h/a/b` both can be kept, under the same names in every run.
fn in_directories(claims: &mut Claims, mut path: String) -> Result<String, Failure> {
    let mut from = 0;
    let mut tries = 0;
    while let Some(length) = path[from..].find('/') {
        let end = from + length;
        if claims.directory(&path[..end]) != Claimed::Taken {
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

/// A directory has the name.
pub fn is_a_directory(name: &Name) -> Failure {
    Failure::local(format!("{} is a directory", name.path()))
}

/// Something has the name.
pub fn exists(name: &Name) -> Failure {
    Failure::local(format!("{} exists", name.path()))
}

/// Gives a file another number, so that what is there already and this are both kept.
#[derive(Debug)]
pub struct Numbering {
    /// Where it is taken.
    pub register: Rc<Register>,
    /// Who takes it.
    pub url: Digest,
    /// The name without one.
    pub name: Name,
}

impl Numbering {
    /// The name with the next number that is free.
    ///
    /// # Errors
    /// Those of looking.
    pub fn next(&self) -> Result<Name, Fault> {
        self.register.next_number(&self.name, &self.url)
    }
}

/// Takes the name that comes with a response.
#[derive(Debug)]
pub struct Renaming {
    /// Where it is taken.
    pub register: Rc<Register>,
    /// Who takes it.
    pub url: Digest,
}

impl Renaming {
    /// Gives `file` the name that its server `suggested`, in its own directory, where there is one that can be used;
    /// then what is there already decides, as it does for other files when their line is read.
    pub fn settle(&self, file: &mut OutputFile, suggested: Option<&str>) -> Claim {
        let own = file.target().clone();
        let mut name = match suggested.and_then(|text| names::suggested(text, &self.url)) {
            Some(text) if text != own.file() => {
                let path = format!("{}{text}", own.path().strip_suffix(own.file()).unwrap_or_default());
                // One that is too long to be opened is as good as none.
                let path = if self.register.fits(&path) { path } else { own.path().to_owned() };
                // Without a journal only this tells who had to give way in an earlier run.
                let hashed = names::hashed(&path, &self.url, HASH_DIGITS[0]);
                let is_there = matches!(self.register.present(&Name::new(hashed.clone())), Ok(Present::Other));
                match self.register.distinct(if is_there { hashed } else { path }, &self.url) {
                    Ok(holding) => Name::new(holding.path),
                    Err(failure) => return Claim::Refuse(failure),
                }
            }
            _ => own,
        };
        if let Some(numbering) = &mut file.numbering {
            numbering.name = name.clone();
        }
        let claim = self.register.unless_present(&mut name, &self.url);
        file.retarget(name);
        claim
    }
}
