//! Whose names are, and how far their jobs: 16 bytes each, plus the slack of a hash table, because there may be ten
//! million. A name has one owner, the last that was put in.
//!
//! A key leaves two bits free, and they are the state.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::line::State;
use crate::job::{Hashed, Key};

/// Entries that are read before they are put in their places: in the order of these, so that each page of a big table is
/// fetched into the cache once for many of them. One after the other they take four times as long.
const BATCH: usize = 1 << 20;

/// Keys and how far their jobs are.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashSet<Entry, Hashed>,
}

/// A key with the state in its lowest bits, found by the name alone.
#[derive(Debug, Clone, Copy)]
struct Entry(u128);

impl Entry {
    fn new(key: Key, state: State) -> Entry {
        Entry(key.bits() | state as u128)
    }

    fn state(self) -> State {
        match self.0 & 3 {
            0 => State::Open,
            1 => State::Ok,
            2 => State::Failed,
            _ => State::Alias,
        }
    }

    fn key(self) -> Key {
        Key::from(self.0)
    }

    /// Bits of a hash already.
    fn name(self) -> u64 {
        self.key().name()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.name());
    }
}

/// Takes entries one after the other and puts them into a table many at a time.
pub struct Filling<'a> {
    table: &'a mut Table,
    batch: Vec<Entry>,
}

impl Filling<'_> {
    /// As [`Table::insert`].
    pub fn insert(&mut self, key: Key, state: State) {
        self.batch.push(Entry::new(key, state));
        if self.batch.len() == BATCH {
            self.put();
        }
    }

    fn put(&mut self) {
        // Where the places are is the standard library's affair: if this is wrong one day, it is only slower.
        let places = (self.table.entries.capacity() as u64 * 8 / 7).next_power_of_two();
        // Stable: the last owner of a name counts.
        self.batch.sort_by_key(|entry| entry.name() & (places - 1));
        for entry in self.batch.drain(..) {
            self.table.entries.replace(entry);
        }
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.put();
    }
}

impl Table {
    /// Makes room for `count` more, which then come one after the other.
    pub fn fill(&mut self, count: usize) -> Filling<'_> {
        self.entries.reserve(count);
        Filling { table: self, batch: Vec::with_capacity(count.min(BATCH)) }
    }

    /// Gives back room that is of no use.
    pub fn shrink(&mut self) {
        if self.entries.capacity() / 4 > self.entries.len() {
            self.entries.shrink_to_fit();
        }
    }

    /// How far the job is, if its name is its own.
    pub fn get(&self, key: Key) -> Option<State> {
        self.entry(key.name()).filter(|entry| entry.key() == key).map(Entry::state)
    }

    /// Whose the name is.
    pub fn owner(&self, name: u64) -> Option<u64> {
        self.entry(name).map(|entry| entry.key().owner())
    }

    fn entry(&self, name: u64) -> Option<Entry> {
        self.entries.get(&Entry::new(Key::of(name, 0), State::Open)).copied()
    }

    /// The name is the job's, which is as far as that.
    pub fn insert(&mut self, key: Key, state: State) {
        self.entries.replace(Entry::new(key, state));
    }

    /// Names that have an owner.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, State)> + '_ {
        self.entries.iter().map(|entry| (entry.key(), entry.state()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::key_of_line;
    use super::*;

    #[test]
    fn the_last_owner_of_a_name_and_its_last_state_count() {
        let (a, b) = (Key::of(1, 8), Key::of(2, 8));
        let mut table = Table::default();
        assert_eq!((table.get(a), table.owner(1)), (None, None));
        table.insert(a, State::Failed);
        table.insert(b, State::Open);
        assert_eq!((table.get(a), table.get(b)), (Some(State::Failed), Some(State::Open)));
        table.insert(a, State::Ok);
        assert_eq!((table.get(a), table.len()), (Some(State::Ok), 2));
        let other = Key::of(1, 12);
        assert_eq!((table.get(other), table.owner(1)), (None, Some(8)));
        table.insert(other, State::Alias);
        assert_eq!((table.get(a), table.get(other), table.owner(1)), (None, Some(State::Alias), Some(12)));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_settled_job_takes_sixteen_bytes_and_a_table_s_slack() {
        assert_eq!(size_of::<Entry>(), 16);
        let mut table = Table::default();
        for number in 0..100_000u32 {
            table.insert(key_of_line(&number.to_le_bytes()), State::Ok);
        }
        assert_eq!(table.len(), 100_000);
        assert!(table.entries.capacity() <= 2 * 8 * 100_000 / 7, "{}", table.entries.capacity());
    }
}
