//! Jobs that are begun anew, each for a reason that counts only once.

/// Why the next attempt begins at the first byte again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// What is on disk could not be continued.
    Unfit,
    /// What came is not what was promised.
    Damaged,
    /// The server did not want to be asked for a part; from then on it is asked for the whole.
    Refused,
}

/// The reasons for which a job was begun anew so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restarts(u8);

impl Restart {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Restarts {
    /// Whether that was one of them.
    pub fn has(self, reason: Restart) -> bool {
        self.0 & reason.bit() != 0
    }

    /// One more.
    pub fn add(&mut self, reason: Restart) {
        self.0 |= reason.bit();
    }
}
