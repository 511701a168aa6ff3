//! Bodies that were about to be put where they belong, of which a kill may have left unsaid whether they were.
//!
//! Lines about bodies are written together, before any of them is put anywhere, and no more are written before all of them
//! are settled, in whichever way. So of those that another line of this kind follows after a settled job, nothing is
//! left to find out, and the journal need not keep more of them in mind than have landed at once.

use std::collections::HashMap;

use super::line;
use crate::job::Key;

/// Where bodies were about to be put, by job.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Puts {
    waiting: HashMap<Key, Put>,
    /// Whether a job was settled since the last one.
    is_followed: bool,
}

/// Where a body was about to be put.
#[derive(Debug, PartialEq, Eq)]
pub struct Put {
    /// By what it is known again there.
    pub mark: Box<str>,
    /// Below the output directory.
    pub path: Box<str>,
}

impl Puts {
    /// The body of the job is about to be put at `path`.
    pub fn put(&mut self, key: Key, mark: &str, path: &str) {
        if std::mem::take(&mut self.is_followed) {
            self.waiting.clear();
        }
        self.waiting.insert(key, Put { mark: mark.into(), path: path.into() });
    }

    /// The job has ended, or begun anew.
    pub fn settled(&mut self, key: Key) {
        self.is_followed = true;
        if !self.waiting.is_empty() {
            self.waiting.remove(&key);
        }
    }

    /// Appends their lines.
    pub fn push(&self, out: &mut Vec<u8>) {
        self.waiting.iter().for_each(|(key, put)| line::push_put(out, *key, &put.mark, &put.path));
    }
}

impl IntoIterator for Puts {
    type Item = (Key, Put);
    type IntoIter = std::collections::hash_map::IntoIter<Key, Put>;

    fn into_iter(self) -> Self::IntoIter {
        self.waiting.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(puts: &Puts) -> Vec<u64> {
        let mut names: Vec<u64> = puts.waiting.keys().map(|key| key.name()).collect();
        names.sort();
        names
    }

    #[test]
    fn those_of_the_last_time_wait_whose_jobs_are_not_settled() {
        let mut puts = Puts::default();
        let [a, b, c] = [1, 2, 3].map(|name| Key::of(name, 8));
        puts.put(a, "m", "a");
        puts.put(b, "m", "b");
        assert_eq!(waiting(&puts), [1, 2]);
        puts.settled(b);
        puts.settled(c);
        assert_eq!(waiting(&puts), [1]);
        puts.put(c, "m", "c");
        assert_eq!(waiting(&puts), [3], "what was found out of the first is not to be known any more");
    }
}
