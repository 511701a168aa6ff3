//! The hash by which URLs and names are told apart: SHA-256 of the text, whole or cut.
//!
//! It must be the same in every run and every build, because parts of it become file names, and nobody who writes
//! the list may be able to aim for a collision; both rule out the standard library's hashers.

use sha2::{Digest as _, Sha256};

/// SHA-256 of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `text`.
    pub fn of(text: &str) -> Digest {
        Digest(Sha256::digest(text.as_bytes()).into())
    }

    /// The first 64 bits, which are also the first 16 hex digits.
    pub fn short(&self) -> u64 {
        self.0.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// The first `digits` hex digits, at most 64, in lower case.
    pub fn hex(&self, digits: usize) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.take(digits).map(|nibble| char::from(HEX[usize::from(nibble)])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha256_and_its_short_form_is_its_first_16_digits() {
        let digest = Digest::of("abc");
        assert_eq!(digest.hex(64), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.hex(8), "ba7816bf");
        assert_eq!(digest.hex(16), format!("{:016x}", digest.short()));
    }
}
