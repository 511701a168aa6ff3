//! The hash that a body must have, as lists and lines give it.

use std::fmt;

/// The hash that a body must have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// 256 bits.
    Sha256([u8; 32]),
    /// 160 bits; against accidents, not against attackers.
    Sha1([u8; 20]),
    /// 128 bits; the same.
    Md5([u8; 16]),
}

impl Checksum {
    /// The checksum with these hex digits, of the kind that has so many; `None` when there is none.
    pub fn from_hex(digits: &[u8]) -> Option<Checksum> {
        Some(match digits.len() {
            64 => Checksum::Sha256(bytes(digits)?),
            40 => Checksum::Sha1(bytes(digits)?),
            32 => Checksum::Md5(bytes(digits)?),
            _ => return None,
        })
    }

    /// What people call its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Checksum::Sha256(_) => "SHA-256",
            Checksum::Sha1(_) => "SHA-1",
            Checksum::Md5(_) => "MD5",
        }
    }

    /// The length of its hash: the more, the harder to forge.
    pub fn bits(&self) -> usize {
        self.bytes().len() * 8
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Checksum::Sha256(bytes) => bytes,
            Checksum::Sha1(bytes) => bytes,
            Checksum::Md5(bytes) => bytes,
        }
    }
}

/// The digits in lower case.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.kind())
    }
}

/// The bytes that twice as many hex digits stand for.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(bytes)
}
