//! Signals become a [`Shutdown`] and [`Requests`] that the loop asks for, and descriptors that wake it.

use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGXFSZ};

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

/// What signals ask for besides the end. However often one came since the last look, it is one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    /// SIGUSR1: say how it stands.
    pub status: bool,
    /// SIGHUP: open the files of results again.
    pub reopen: bool,
}

/// What SIGHUP does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// The program dies by it, as it does by every signal that it does not know.
    Kills,
    /// It is a request, as daemons have it. Also where it was ignored at the start: whoever starts a daemon with `nohup`
    /// wants it to survive the terminal, and still has logs to rotate.
    Reopens,
}

/// SIGINT and SIGTERM: the first drains, the second stops. They are counted as bytes in a pipe of their own.
pub struct Signals {
    interrupts: UnixStream,
    requests: UnixStream,
    /// The number of the last interrupt.
    last: Arc<AtomicUsize>,
    count: Cell<usize>,
    status: Arc<AtomicBool>,
    reopen: Arc<AtomicBool>,
}

impl Signals {
    /// Catches the signals, but for those that were ignored when the program started (`nohup`, `&` in a script).
    pub fn catch(hang_up: HangUp) -> anyhow::Result<Signals> {
        let catch = || {
            let (interrupts, interrupted) = pipe()?;
            let (requests, requested) = pipe()?;
            let (last, status, reopen) = (Arc::default(), Arc::default(), Arc::default());
            let ignored = ignored_signals();
            let heeded = |signal: &i32| ignored & (1 << (signal - 1)) == 0;
            for signal in [SIGINT, SIGTERM].into_iter().filter(heeded) {
                signal_hook::flag::register_usize(signal, Arc::clone(&last), signal as usize)?;
                signal_hook::low_level::pipe::register(signal, interrupted.try_clone()?)?;
            }
            let status_asked = Some((SIGUSR1, &status)).filter(|(signal, _)| heeded(signal));
            let reopen_asked = Some((SIGHUP, &reopen)).filter(|_| hang_up == HangUp::Reopens);
            for (signal, asked) in status_asked.into_iter().chain(reopen_asked) {
                signal_hook::flag::register(signal, Arc::clone(asked))?;
                signal_hook::low_level::pipe::register(signal, requested.try_clone()?)?;
            }
            // Nobody's request, and no reason to die: one means something only to those that set an alarm, the other comes
            // with a write that is told that the file is too large for this process (`ulimit -f`).
            for signal in [SIGALRM, SIGXFSZ] {
                signal_hook::flag::register(signal, Arc::default())?;
            }
            Ok::<_, std::io::Error>(Signals { interrupts, requests, last, count: Cell::new(0), status, reopen })
        };
        catch().context("catch signals")
    }

    /// Readable when a signal came that ends the program.
    pub fn interrupts(&self) -> BorrowedFd<'_> {
        self.interrupts.as_fd()
    }

    /// Readable when a signal came that asks for something else.
    pub fn requests(&self) -> BorrowedFd<'_> {
        self.requests.as_fd()
    }

    /// What the signals so far ask for.
    pub fn heard(&self) -> Shutdown {
        self.count.update(|count| count + drain(&self.interrupts));
        match self.count.get() {
            0 => Shutdown::Running,
            1 => Shutdown::Draining,
            _ => Shutdown::Stopping,
        }
    }

    /// What was asked for since the last call.
    pub fn requested(&self) -> Requests {
        // First, so that a signal that comes meanwhile wakes the loop once more.
        drain(&self.requests);
        let take = |asked: &AtomicBool| asked.swap(false, Ordering::Relaxed);
        Requests { status: take(&self.status), reopen: take(&self.reopen) }
    }

    /// The last interrupt that came.
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

/// Where it is read without waiting, and where signals write (they never wait).
fn pipe() -> std::io::Result<(UnixStream, UnixStream)> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    Ok((read, write))
}

/// How many bytes there were.
fn drain(mut pipe: &UnixStream) -> usize {
    let mut bytes = [0; 64];
    let mut drained = 0;
    loop {
        match pipe.read(&mut bytes) {
            Ok(0) => return drained,
            Ok(count) => drained += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return drained,
        }
    }
}

/// Bit `n - 1` is set when signal `n` is ignored. Asked of `/proc`; without it none is.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
