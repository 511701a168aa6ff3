//! Hashes of a body, computed while its bytes pass by, and the verdict on them.
//!
//! Must not know where the bytes go. Bytes that were there before (the beginning of a file that is continued) are to be
//! given to [`Digests::update`] first.

use std::rc::Rc;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::checksums::Checksums;
use crate::job::{Checksum, ErrorClass, Failure};

/// libcurl has no code for it; `CURLE_WEIRD_SERVER_REPLY` is the nearest.
const WEIRD_SERVER_REPLY: i32 = 8;

/// What is computed of one body; nothing, unless somebody wants to know.
#[derive(Debug)]
pub struct Digests {
    expected: [Option<Checksum>; 2],
    /// One of each kind that is wanted.
    running: Vec<Hash>,
    /// Bytes so far.
    hashed: u64,
}

#[derive(Debug)]
enum Hash {
    Sha256(Sha256),
    Sha1(Sha1),
    Md5(Md5),
}

impl Digests {
    /// For a body that must hash to each of `expected`, and whose SHA-256 is of interest anyway if `sha256`.
    pub fn new(expected: [Option<Checksum>; 2], sha256: bool) -> Digests {
        let are = |kind: fn(&Checksum) -> bool| expected.iter().flatten().any(kind);
        let sha256 = sha256 || are(|checksum| matches!(checksum, Checksum::Sha256(_)));
        let running = [
            sha256.then(|| Hash::Sha256(Sha256::new())),
            are(|checksum| matches!(checksum, Checksum::Sha1(_))).then(|| Hash::Sha1(Sha1::new())),
            are(|checksum| matches!(checksum, Checksum::Md5(_))).then(|| Hash::Md5(Md5::new())),
        ];
        Digests { expected, running: running.into_iter().flatten().collect(), hashed: 0 }
    }

    /// What the body must hash to.
    pub fn expected(&self) -> [Option<Checksum>; 2] {
        self.expected
    }

    /// Whether anything is computed.
    pub fn are_wanted(&self) -> bool {
        !self.running.is_empty()
    }

    /// Bytes that have passed.
    pub fn hashed(&self) -> u64 {
        self.hashed
    }

    /// The next bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.hashed += data.len() as u64;
        for hash in &mut self.running {
            match hash {
                Hash::Sha256(hash) => hash.update(data),
                Hash::Sha1(hash) => hash.update(data),
                Hash::Md5(hash) => hash.update(data),
            }
        }
    }

    /// All bytes have passed: the SHA-256, when it was computed.
    ///
    /// # Errors
    /// The hash is not the one that was expected (`checksum`). It may be the next time: one attempt can have been
    /// damaged on its way, or continue what was damaged before.
    pub fn finish(&mut self) -> Result<Option<Checksum>, Failure> {
        let mut sha256 = None;
        for hash in self.running.drain(..) {
            let found = match hash {
                Hash::Sha256(hash) => Checksum::Sha256(hash.finalize().into()),
                Hash::Sha1(hash) => Checksum::Sha1(hash.finalize().into()),
                Hash::Md5(hash) => Checksum::Md5(hash.finalize().into()),
            };
            if matches!(found, Checksum::Sha256(_)) {
                sha256 = Some(found);
            }
            let differs = |expected: &&Checksum| expected.kind() == found.kind() && **expected != found;
            if let Some(expected) = self.expected.iter().flatten().find(differs) {
                let message = format!("the {} is {found}, not {expected}", found.kind());
                return Err(Failure::new(ErrorClass::Checksum, WEIRD_SERVER_REPLY, message).passing());
            }
        }
        Ok(sha256)
    }
}

/// What a body is promised to hash to, whichever name it gets.
#[derive(Debug, Default)]
pub struct Promises {
    /// By its own line.
    pub line: Option<Checksum>,
    /// By the checksum file, of the name that was claimed: for a name of which the file does not speak.
    pub listed: Option<Checksum>,
    /// What the checksum file says of names.
    pub names: Rc<Checksums>,
    /// Whether its SHA-256 is wanted anyway.
    pub sha256: bool,
}

impl Promises {
    /// What is computed of a body that gets the name `name`, if that is known.
    pub fn digests(&self, name: Option<&str>) -> Digests {
        let listed = name.and_then(|name| self.names.of(name)).or(self.listed);
        Digests::new([self.line, listed], self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_body_is_hashed_piece_by_piece_and_compared_with_what_was_promised() {
        for digits in [SHA256, "a9993e364706816aba3e25717850c26c9cd0d89d", "900150983cd24fb0d6963f7d28e17f72"] {
            let expected = Checksum::from_hex(digits.to_ascii_uppercase().as_bytes());
            assert_eq!(expected.map(|expected| expected.to_string()).as_deref(), Some(digits));
            for sha256 in [false, true] {
                let mut digests = Digests::new([expected, None], sha256);
                digests.update(b"a");
                digests.update(b"bc");
                let found = digests.finish().unwrap().map(|sha256| sha256.to_string());
                assert_eq!(found.as_deref(), (sha256 || digits == SHA256).then_some(SHA256));
                let mut digests = Digests::new([expected, None], sha256);
                digests.update(b"abd");
                let failure = digests.finish().unwrap_err();
                assert_eq!(failure.class, ErrorClass::Checksum);
                assert!(failure.message.ends_with(&format!("not {digits}")), "{}", failure.message);
            }
        }
        assert_eq!(Digests::new([None; 2], false).finish(), Ok(None));
    }

    #[test]
    fn of_two_promises_both_must_be_kept() {
        let sums = [SHA256, "900150983cd24fb0d6963f7d28e17f72", "00000000000000000000000000000000"]
            .map(|digits| Checksum::from_hex(digits.as_bytes()));
        for (expected, is_kept) in
            [([sums[0], sums[1]], true), ([sums[0], sums[2]], false), ([sums[2], sums[1]], false)]
        {
            let mut digests = Digests::new(expected, false);
            digests.update(b"abc");
            assert_eq!(digests.finish().is_ok(), is_kept, "{expected:?}");
        }
    }
}
