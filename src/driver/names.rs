//! What the journal knows about names, for the sink to respect.

use crate::journal::Names;
use crate::sink::Owners;

impl Owners for Names {
    fn owner(&self, name: u64) -> Option<u64> {
        Names::owner(self, name)
    }

    fn confirm(&self, name: u64, owner: u64) {
        self.keep(name, owner);
    }
}
