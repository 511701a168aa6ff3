//! Signals become a [`Shutdown`] that the loop asks for, and a descriptor that wakes it.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};

/// How far the run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Not at all.
    Running,
    /// Start nothing more, let running transfers finish.
    Draining,
    /// Stop now.
    Stopping,
}

/// SIGINT and SIGTERM: the first drains, the second stops.
pub struct Signals {
    pipe: UnixStream,
    /// The number of the last signal.
    last: Arc<AtomicUsize>,
    count: usize,
}

impl Signals {
    /// Catches the signals, but for those that were ignored when the program started (`nohup`, `&` in a script).
    pub fn catch() -> anyhow::Result<Signals> {
        let catch = || {
            let (pipe, write) = UnixStream::pair()?;
            pipe.set_nonblocking(true)?;
            let last = Arc::new(AtomicUsize::new(0));
            let ignored = ignored_signals();
            for signal in [SIGINT, SIGTERM] {
                if ignored & (1 << (signal - 1)) == 0 {
                    signal_hook::flag::register_usize(signal, Arc::clone(&last), signal as usize)?;
                    signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
                }
            }
            Ok::<_, std::io::Error>(Signals { pipe, last, count: 0 })
        };
        catch().context("catch signals")
    }

    /// Readable when a signal came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// What the signals so far ask for.
    pub fn heard(&mut self) -> Shutdown {
        let mut bytes = [0; 64];
        loop {
            match self.pipe.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => self.count += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        match self.count {
            0 => Shutdown::Running,
            1 => Shutdown::Draining,
            _ => Shutdown::Stopping,
        }
    }

    /// The last signal that came.
    pub fn last(&self) -> Option<i32> {
        i32::try_from(self.last.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }
}

/// Ends the program by `signal`, so that whoever waits for it sees that death. Returns only if that failed.
pub fn die_by(signal: i32) {
    // The default action is restored first.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// The signal of a pipe whose reader has gone.
pub const PIPE: i32 = SIGPIPE;

/// Bit `n - 1` is set when signal `n` is ignored. Asked of `/proc`; without it none is.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
