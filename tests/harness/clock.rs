//! A clock that the case sets while the program runs, by way of libfaketime (Debian: `faketime`). Where that is not
//! installed its cases skip and say so; in CI that is a failure.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{Fetch, Running, until};

/// Which clocks are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faked {
    /// That of the wall.
    Wall,
    /// The one that never jumps, too: time passes at once.
    All,
}

/// A clock of the program's.
pub struct Clock {
    dir: TempDir,
    library: PathBuf,
    faked: Faked,
}

impl Clock {
    /// One that is right so far.
    pub fn new(faked: Faked) -> Option<Clock> {
        let library = ["x86_64", "aarch64"]
            .map(|machine| PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1")))
            .into_iter()
            .find(|path| path.exists());
        let Some(library) = library else {
            assert!(std::env::var_os("CI").is_none(), "libfaketime must be installed in CI");
            eprintln!("skipped: libfaketime is not installed");
            return None;
        };
        let clock = Clock { dir: tempfile::tempdir().expect("make a temporary directory"), library, faked };
        clock.set("+0");
        Some(clock)
    }

    /// Off by this from now on: seconds, or `+10y`.
    pub fn set(&self, offset: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, offset).expect("write the clock");
        std::fs::rename(new, self.file()).expect("set the clock");
    }

    /// Waits until the program has it.
    pub fn wait(&self, running: &Running) {
        let maps = format!("/proc/{}/maps", running.pid().as_raw_nonzero());
        let has = || std::fs::read_to_string(&maps).is_ok_and(|maps| maps.contains("libfaketime"));
        until("libfaketime in the program", has);
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }
}

impl Fetch {
    /// Has the program look at this clock.
    pub fn clocked_by(self, clock: &Clock) -> Fetch {
        self.env("LD_PRELOAD", &clock.library)
            .env("FAKETIME_TIMESTAMP_FILE", clock.file())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", if clock.faked == Faked::Wall { "1" } else { "0" })
    }
}
