//! Claims: which names are taken in this run, and by which URL.
//!
//! 16 bytes a name, plus the table's slack, because a list may have ten million of them. Two names or URLs are the
//! same when 64 bits of their SHA-256 are; a chance collision of two names costs one of them a hash in its name, and
//! nothing else. Names that no two URLs can share are not kept at all. Knows nothing of the file system.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::hash::Digest;

/// Owner of a name that is a directory.
const DIRECTORY: u64 = 0;

/// Owner of a name that was taken because the wanted one was there already.
const NUMBERED: u64 = 1;

/// The names claimed so far.
#[derive(Debug, Default)]
pub struct Claims {
    owners: HashMap<u64, u64, BuildHasherDefault<Identity>>,
    bound: Option<Bound>,
    /// What is being fetched, where names are not all kept: a line that comes again later is no duplicate then.
    running: Option<Running>,
    /// Names that differ only in case are the same.
    folds_case: bool,
}

/// Oldest names are forgotten when there are more than `most`.
#[derive(Debug)]
struct Bound {
    most: usize,
    order: VecDeque<u64>,
}

/// Names that are being fetched, and for which lines.
#[derive(Debug, Default)]
struct Running {
    /// Name by line.
    names: HashMap<u64, u64>,
    /// The last line that asked for a name.
    lines: HashMap<u64, u64>,
}

impl Running {
    fn has(&self, name: u64) -> bool {
        self.lines.contains_key(&name)
    }
}

/// Which names are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// The latest, in a run without end.
    Latest(usize),
    /// Those that need it ([`Claims::file`]), and of the others what is being fetched.
    Running,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody had the name; now it is the claimant's.
    Now,
    /// The same URL has claimed it before.
    Before,
    /// It is somebody else's.
    Taken,
}

impl Claims {
    /// No claims yet.
    pub fn new(keep: Keep) -> Claims {
        let bound = match keep {
            Keep::Latest(most) => Some(Bound { most, order: VecDeque::new() }),
            Keep::All | Keep::Running => None,
        };
        let running = (keep != Keep::All).then(Running::default);
        Claims { owners: HashMap::default(), bound, running, folds_case: false }
    }

    /// The same; with `folds_case`, names that differ only in case are the same.
    pub fn folding(self, folds_case: bool) -> Claims {
        Claims { folds_case, ..self }
    }

    /// Claims a file that can be no other URL's: it is not kept, and `Before` as long as it is being fetched.
    pub fn unique(&self, path: &str) -> Claimed {
        let running = self.running.as_ref().is_some_and(|running| running.has(self.key(path)));
        if running { Claimed::Before } else { Claimed::Now }
    }

    /// Claims the file `path` for the URL with digest `url`.
    pub fn file(&mut self, path: &str, url: &Digest) -> Claimed {
        self.claim(path, url.short().max(NUMBERED + 1))
    }

    /// Claims `path` as one of the numbered names of a file that exists.
    pub fn numbered(&mut self, path: &str) -> Claimed {
        match self.claim(path, NUMBERED) {
            Claimed::Before => Claimed::Taken,
            claimed => claimed,
        }
    }

    /// Claims `path` as a directory, which it may be for any number of files.
    pub fn directory(&mut self, path: &str) -> Claimed {
        self.claim(path, DIRECTORY)
    }

    /// Whether the file `path`, which its URL has claimed before, needs nothing done for it: it is being fetched. Where
    /// all names are kept, one line of several alike is enough, however it ended.
    pub fn is_running(&self, path: &str) -> bool {
        self.running.as_ref().is_none_or(|running| running.has(self.key(path)))
    }

    /// The file `path` is being fetched for line `urlnum`.
    pub fn started(&mut self, urlnum: u64, path: &str) {
        let name = self.key(path);
        if let Some(running) = &mut self.running {
            running.names.insert(urlnum, name);
            running.lines.insert(name, urlnum);
        }
    }

    /// Line `urlnum` has ended.
    pub fn ended(&mut self, urlnum: u64) {
        if let Some(running) = &mut self.running
            && let Some(name) = running.names.remove(&urlnum)
            && running.lines.get(&name) == Some(&urlnum)
        {
            running.lines.remove(&name);
        }
    }

    fn key(&self, path: &str) -> u64 {
        match self.folds_case {
            true => Digest::of(&path.to_lowercase()).short(),
            false => Digest::of(path).short(),
        }
    }

    fn claim(&mut self, path: &str, owner: u64) -> Claimed {
        let name = self.key(path);
        match self.owners.get(&name) {
            Some(before) if *before == owner => return Claimed::Before,
            Some(_) => return Claimed::Taken,
            None => {}
        }
        self.owners.insert(name, owner);
        if let Some(bound) = &mut self.bound {
            bound.order.push_back(name);
            if bound.order.len() > bound.most
                && let Some(oldest) = bound.order.pop_front()
            {
                self.owners.remove(&oldest);
            }
        }
        Claimed::Now
    }
}

/// The keys are parts of a SHA-256 already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_the_first_url_and_kinds_do_not_mix() {
        let (one, two) = (Digest::of("http://h/1"), Digest::of("http://h/2"));
        let mut claims = Claims::new(Keep::All);
        assert_eq!(claims.file("a", &one), Claimed::Now);
        assert_eq!(claims.file("a", &one), Claimed::Before);
        assert_eq!(claims.file("a", &two), Claimed::Taken);
        assert_eq!(claims.file("A", &two), Claimed::Now, "case tells names apart");
        assert_eq!(claims.directory("a"), Claimed::Taken);
        assert_eq!(claims.directory("d"), Claimed::Now);
        assert_eq!(claims.directory("d"), Claimed::Before);
        assert_eq!(claims.file("d", &one), Claimed::Taken);
        assert_eq!(claims.numbered("a.1"), Claimed::Now);
        assert_eq!(claims.numbered("a.1"), Claimed::Taken);
    }

    #[test]
    fn a_name_that_nobody_else_can_have_is_known_while_it_is_fetched() {
        let mut claims = Claims::new(Keep::Running);
        assert_eq!(claims.unique("a"), Claimed::Now);
        claims.started(1, "a");
        assert_eq!(claims.unique("a"), Claimed::Before);
        assert_eq!(claims.unique("b"), Claimed::Now);
        claims.ended(2);
        assert!(claims.is_running("a"));
        claims.ended(1);
        assert_eq!(claims.unique("a"), Claimed::Now);
        let Running { names, lines } = claims.running.unwrap();
        assert!(claims.owners.is_empty() && names.is_empty() && lines.is_empty());
    }

    #[test]
    fn where_case_is_folded_it_tells_no_names_apart() {
        let (one, two) = (Digest::of("1"), Digest::of("2"));
        let mut claims = Claims::new(Keep::All).folding(true);
        assert_eq!(claims.file("Straße/Ü.txt", &one), Claimed::Now);
        assert_eq!(claims.file("straße/ü.TXT", &two), Claimed::Taken);
        assert_eq!(claims.file("STRASSE/ü.txt", &two), Claimed::Now);
    }

    #[test]
    fn a_bound_forgets_the_oldest_name() {
        let (one, two) = (Digest::of("1"), Digest::of("2"));
        let mut claims = Claims::new(Keep::Latest(2));
        for name in ["a", "b", "c"] {
            assert_eq!(claims.file(name, &one), Claimed::Now);
        }
        assert_eq!(claims.file("c", &two), Claimed::Taken);
        assert_eq!(claims.file("b", &two), Claimed::Taken);
        assert_eq!(claims.file("a", &two), Claimed::Now);
        assert_eq!(claims.owners.len(), 2);
    }
}
