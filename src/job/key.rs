//! What jobs are known by from run to run: numbers that stand for names and for whose they are.

use std::hash::{BuildHasherDefault, Hasher};

/// Bits of an owner, and so of a key, that are always 0: whoever keeps many has a use for them.
pub const FREE_BITS: u64 = 3;

/// What a job is known by: 64 bits for its name and 62 for what it is. Of ten million jobs, two are alike once in 10²³
/// journals; and whoever looks for two that are, finds only jobs of his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    name: u64,
    owner: u64,
}

impl Key {
    /// The name `name` of `owner`.
    pub fn of(name: u64, owner: u64) -> Key {
        Key { name, owner: owner & !FREE_BITS }
    }

    /// The owner of another name.
    pub fn with_name(self, name: u64) -> Key {
        Key { name, ..self }
    }

    /// What stands for its name.
    pub fn name(self) -> u64 {
        self.name
    }

    /// What stands for whose that is.
    pub fn owner(self) -> u64 {
        self.owner
    }

    /// All 128 bits, the lowest of which are 0.
    pub fn bits(self) -> u128 {
        u128::from(self.name) << 64 | u128::from(self.owner)
    }
}

/// Those free bits are left out.
impl From<u128> for Key {
    fn from(bits: u128) -> Key {
        Key::of((bits >> 64) as u64, bits as u64)
    }
}

/// For tables of names or owners, which are bits of a hash already.
pub type Hashed = BuildHasherDefault<Identity>;

/// See [`Hashed`].
#[derive(Debug, Default)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_name_and_its_owner() {
        let key = Key::of(1, 8);
        assert_eq!((key.name(), key.owner()), (1, 8));
        assert_eq!(key.with_name(2), Key::of(2, 8));
        assert_eq!(Key::from(key.bits() | 3), key);
        assert_eq!(Key::of(1, 11), key);
    }
}
