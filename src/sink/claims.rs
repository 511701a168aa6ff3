//! Claims: which names are taken in this run, and by which URL.
//!
//! 16 bytes a name, plus the table's slack, because a list may have ten million of them. Two names or URLs are the
//! same when 64 bits of their SHA-256 are; a chance collision of two names costs one of them a hash in its name, and
//! nothing else. Names that no two URLs can share are not kept at all. Names of earlier runs are asked for, where there
//! is somebody who has them. Knows nothing of the file system.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;

use super::hash::Digest;
use crate::job::{FREE_BITS, Hashed};

/// Owner of a name that is a directory.
const DIRECTORY: u64 = 0;

/// Owner of a name that was taken because the wanted one was there already.
const NUMBERED: u64 = 4;

/// Set in the owner of a numbered name, where others have nothing ([`FREE_BITS`]), for as long as its URL may ask for it
/// again: in this run. In others it is [`NUMBERED`].
const NUMBER_OF: u64 = 1;

/// Whose names are since earlier runs. Names and owners are numbers that stand for them, the same in every run.
pub trait Owners: Debug {
    /// Whose the name is: nobody else gets it.
    fn owner(&self, name: u64) -> Option<u64>;
    /// The name is to be its owner's in later runs too, whoever asks first: somebody else was refused it.
    fn confirm(&self, name: u64, owner: u64);
}

/// The URL with digest `url` as an owner of names.
pub fn owner(url: &Digest) -> u64 {
    (url.short() & !FREE_BITS).max(2 * NUMBERED)
}

/// The names claimed so far.
#[derive(Debug, Default)]
pub struct Claims {
    owners: HashMap<u64, u64, Hashed>,
    bound: Option<Bound>,
    /// What is being fetched, where names are not all kept: a line that comes again later is no duplicate then.
    running: Option<Running>,
    /// Names that differ only in case are the same.
    folds_case: bool,
    earlier: Option<Box<dyn Owners>>,
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
        Claims { owners: HashMap::default(), bound, running, folds_case: false, earlier: None }
    }

    /// The same; with `folds_case`, names that differ only in case are the same.
    pub fn folding(self, folds_case: bool) -> Claims {
        Claims { folds_case, ..self }
    }

    /// From now on what `earlier` has of other runs is taken.
    pub fn respect(&mut self, earlier: Box<dyn Owners>) {
        self.earlier = Some(earlier);
    }

    /// The number that stands for the name `path`.
    pub fn name(&self, path: &str) -> u64 {
        match self.folds_case {
            true => Digest::of(&path.to_lowercase()).short(),
            false => Digest::of(path).short(),
        }
    }

    /// Claims a file that can be no other URL's: it is not kept, and `Before` as long as it is being fetched.
    pub fn unique(&self, name: u64) -> Claimed {
        let running = self.running.as_ref().is_some_and(|running| running.has(name));
        if running { Claimed::Before } else { Claimed::Now }
    }

    /// Claims the file `name` for the URL with digest `url`.
    pub fn file(&mut self, name: u64, url: &Digest) -> Claimed {
        self.claim(name, owner(url))
    }

    /// Whether `path` can be the numbered name of a file of `url`: it is nobody's, or is that already.
    pub fn can_be_number(&self, path: &str, url: &Digest) -> bool {
        let name = self.name(path);
        match self.owners.get(&name) {
            Some(before) => *before == owner(url) | NUMBER_OF,
            None => self.owner_before(name).is_none_or(|owner| owner == NUMBERED),
        }
    }

    /// Claims `path`, which can be that, as the numbered name of a file of `url`.
    pub fn number(&mut self, path: &str, url: &Digest) {
        self.claim(self.name(path), owner(url) | NUMBER_OF);
    }

    /// Claims `path` as a directory, which it may be for any number of files. It stays one in later runs, since it is there
    /// then, whatever becomes of its files.
    pub fn directory(&mut self, path: &str) -> Claimed {
        let name = self.name(path);
        let claimed = self.claim(name, DIRECTORY);
        if let (Claimed::Now, Some(earlier)) = (claimed, &self.earlier) {
            earlier.confirm(name, DIRECTORY);
        }
        claimed
    }

    /// Whether the file `name`, which its URL has claimed before, needs nothing done for it: it is being fetched. Where
    /// all names are kept, one line of several alike is enough, however it ended.
    pub fn is_running(&self, name: u64) -> bool {
        self.running.as_ref().is_none_or(|running| running.has(name))
    }

    /// The file `name` is being fetched for line `urlnum`.
    pub fn started(&mut self, urlnum: u64, name: u64) {
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

    fn owner_before(&self, name: u64) -> Option<u64> {
        self.earlier.as_ref().and_then(|earlier| earlier.owner(name))
    }

    fn claim(&mut self, name: u64, owner: u64) -> Claimed {
        if self.owner_before(name).is_some_and(|before| before != lasting(owner)) {
            return Claimed::Taken;
        }
        match self.owners.get(&name) {
            Some(before) if *before == owner => return Claimed::Before,
            Some(before) => {
                if let Some(earlier) = &self.earlier {
                    earlier.confirm(name, lasting(*before));
                }
                return Claimed::Taken;
            }
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

/// The owner as other runs know it.
fn lasting(owner: u64) -> u64 {
    if owner & NUMBER_OF == 0 { owner } else { NUMBERED }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Claims {
        fn path(&mut self, path: &str, url: &Digest) -> Claimed {
            self.file(self.name(path), url)
        }
    }

    #[test]
    fn a_name_belongs_to_the_first_url_and_kinds_do_not_mix() {
        let (one, two) = (Digest::of("http://h/1"), Digest::of("http://h/2"));
        let mut claims = Claims::new(Keep::All);
        assert_eq!(claims.path("a", &one), Claimed::Now);
        assert_eq!(claims.path("a", &one), Claimed::Before);
        assert_eq!(claims.path("a", &two), Claimed::Taken);
        assert_eq!(claims.path("A", &two), Claimed::Now, "case tells names apart");
        assert_eq!(claims.directory("a"), Claimed::Taken);
        assert_eq!(claims.directory("d"), Claimed::Now);
        assert_eq!(claims.directory("d"), Claimed::Before);
        assert_eq!(claims.path("d", &one), Claimed::Taken);
        assert!(["a", "d"].iter().all(|taken| !claims.can_be_number(taken, &one)));
        assert!(claims.can_be_number("a.1", &two));
        claims.number("a.1", &one);
        assert!(claims.can_be_number("a.1", &one) && !claims.can_be_number("a.1", &two));
        assert_eq!(claims.path("a.1", &one), Claimed::Taken);
    }

    #[test]
    fn a_name_that_nobody_else_can_have_is_known_while_it_is_fetched() {
        let mut claims = Claims::new(Keep::Running);
        assert_eq!(claims.unique(claims.name("a")), Claimed::Now);
        claims.started(1, claims.name("a"));
        assert_eq!(claims.unique(claims.name("a")), Claimed::Before);
        assert_eq!(claims.unique(claims.name("b")), Claimed::Now);
        claims.ended(2);
        assert!(claims.is_running(claims.name("a")));
        claims.ended(1);
        assert_eq!(claims.unique(claims.name("a")), Claimed::Now);
        let Running { names, lines } = claims.running.unwrap();
        assert!(claims.owners.is_empty() && names.is_empty() && lines.is_empty());
    }

    #[test]
    fn where_case_is_folded_it_tells_no_names_apart() {
        let (one, two) = (Digest::of("1"), Digest::of("2"));
        let mut claims = Claims::new(Keep::All).folding(true);
        assert_eq!(claims.path("Straße/Ü.txt", &one), Claimed::Now);
        assert_eq!(claims.path("straße/ü.TXT", &two), Claimed::Taken);
        assert_eq!(claims.path("STRASSE/ü.txt", &two), Claimed::Now);
    }

    /// Who has names since before, and whose were confirmed.
    #[derive(Debug)]
    struct Before(HashMap<u64, u64>, std::rc::Rc<std::cell::RefCell<Vec<(u64, u64)>>>);

    impl Owners for Before {
        fn owner(&self, name: u64) -> Option<u64> {
            self.0.get(&name).copied()
        }

        fn confirm(&self, name: u64, owner: u64) {
            self.1.borrow_mut().push((name, owner));
        }
    }

    #[test]
    fn a_name_of_an_earlier_run_is_its_owner_s_and_one_that_is_refused_is_confirmed() {
        let (one, two) = (Digest::of("http://h/1"), Digest::of("http://h/2"));
        for keep in [Keep::All, Keep::Latest(2), Keep::Running] {
            let mut claims = Claims::new(keep);
            let [before, dir, new, new_dir] = ["before", "dir", "new", "new-dir"].map(|name| claims.name(name));
            let confirmed = std::rc::Rc::default();
            let earlier = HashMap::from([(before, owner(&one)), (dir, DIRECTORY)]);
            claims.respect(Box::new(Before(earlier, std::rc::Rc::clone(&confirmed))));
            assert_eq!((claims.path("before", &two), claims.path("before", &one)), (Claimed::Taken, Claimed::Now));
            assert_eq!(claims.directory("before"), Claimed::Taken);
            assert!(!claims.can_be_number("dir", &two) && claims.can_be_number("other", &two));
            assert_eq!(claims.path("dir", &one), Claimed::Taken);
            assert!(confirmed.borrow().is_empty(), "it is known already");
            assert_eq!(claims.directory("dir"), Claimed::Now);
            confirmed.borrow_mut().clear();
            claims.number("n.1", &one);
            assert_eq!(claims.path("n.1", &two), Claimed::Taken);
            assert_eq!(confirmed.borrow_mut().pop(), Some((claims.name("n.1"), NUMBERED)));
            assert_eq!((claims.path("new", &one), claims.path("new", &two)), (Claimed::Now, Claimed::Taken));
            assert_eq!((claims.directory("new-dir"), claims.path("new-dir", &two)), (Claimed::Now, Claimed::Taken));
            assert_eq!(*confirmed.borrow(), [(new, owner(&one)), (new_dir, DIRECTORY), (new_dir, DIRECTORY)]);
        }
        assert_eq!([owner(&one), NUMBERED, DIRECTORY].map(|owner| owner & FREE_BITS), [0; 3]);
    }

    #[test]
    fn a_bound_forgets_the_oldest_name() {
        let (one, two) = (Digest::of("1"), Digest::of("2"));
        let mut claims = Claims::new(Keep::Latest(2));
        for name in ["a", "b", "c"] {
            assert_eq!(claims.path(name, &one), Claimed::Now);
        }
        assert_eq!(claims.path("c", &two), Claimed::Taken);
        assert_eq!(claims.path("b", &two), Claimed::Taken);
        assert_eq!(claims.path("a", &two), Claimed::Now);
        assert_eq!(claims.owners.len(), 2);
    }
}
