//! The program while it runs: its streams as they grow, its signals, its memory, its end.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::command::Stdin;
use super::finished::Before;
use super::{Fetch, Finished, Place, until};

/// Which of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A stream being collected by a thread of its own.
#[derive(Default)]
struct Collected {
    state: Mutex<(Vec<u8>, bool)>,
    grew: Condvar,
}

impl Collected {
    fn collect(mut from: impl Read + Send + 'static) -> Arc<Collected> {
        let collected = Arc::new(Collected::default());
        let into = collected.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 65536];
            loop {
                let count = from.read(&mut piece).unwrap_or(0);
                let mut state = into.state.lock().expect("no panic while held");
                state.0.extend_from_slice(&piece[..count]);
                state.1 |= count == 0;
                into.grew.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        collected
    }

    fn closed() -> Arc<Collected> {
        let collected = Collected::default();
        collected.state.lock().expect("fresh").1 = true;
        Arc::new(collected)
    }

    fn bytes(&self) -> Vec<u8> {
        self.state.lock().expect("no panic while held").0.clone()
    }

    /// The first that `found` gives; `None` when the stream ended or the time is up.
    fn wait<T>(&self, give_up: Instant, mut found: impl FnMut(&[u8], bool) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock().expect("no panic while held");
        loop {
            if let Some(value) = found(&state.0, state.1) {
                return Some(value);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return None;
            }
            state = self.grew.wait_timeout(state, left).expect("no panic while held").0;
        }
    }
}

/// A program that was started. Killed when dropped before its end.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Collected>,
    stderr: Arc<Collected>,
    bound: Duration,
    before: Option<Before>,
}

impl Running {
    #[track_caller]
    pub(super) fn start(fetch: Fetch) -> Running {
        let before = Before::look(&fetch);
        let mut command = fetch.command();
        let collect_stdout = fetch.stdout.is_none();
        command.stdout(fetch.stdout.unwrap_or_else(Stdio::piped)).stderr(Stdio::piped());
        command.stdin(Stdio::piped());
        let mut feed = None;
        let mut open = false;
        match fetch.stdin {
            Stdin::Null => drop(command.stdin(Stdio::null())),
            Stdin::Is(stdio) => drop(command.stdin(stdio)),
            Stdin::Bytes(bytes) => feed = Some(bytes),
            Stdin::Open => open = true,
        }
        let mut child = command.spawn().unwrap_or_else(|err| panic!("start {}: {err}", before.command_line));
        let mut stdin = child.stdin.take();
        if let Some(bytes) = feed {
            let mut pipe = stdin.take().expect("it is piped");
            // A program that does not read its input to the end is for the case to judge.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        assert_eq!(stdin.is_some(), open);
        let stdout = match child.stdout.take() {
            Some(pipe) if collect_stdout => Collected::collect(pipe),
            _ => Collected::closed(),
        };
        let stderr = Collected::collect(child.stderr.take().expect("it is piped"));
        Running { child, stdin, stdout, stderr, bound: fetch.bound, before: Some(before) }
    }

    /// Waits for a line that contains `needle` and returns it.
    #[track_caller]
    pub fn wait_for_line(&self, stream: Stream, needle: &str) -> String {
        let collected = self.collected(stream);
        let line = collected.wait(Instant::now() + self.bound, |bytes, _| {
            let whole = bytes.iter().rposition(|byte| *byte == b'\n')?;
            let text = String::from_utf8_lossy(&bytes[..whole]);
            text.lines().find(|line| line.contains(needle)).map(str::to_owned)
        });
        line.unwrap_or_else(|| panic!("no line with {needle:?} on {stream:?}\n{}", self.so_far()))
    }

    /// Waits until `count` whole lines are on a stream.
    #[track_caller]
    pub fn wait_for_lines(&self, stream: Stream, count: usize) {
        let enough = self.collected(stream).wait(Instant::now() + self.bound, |bytes, _| {
            (bytes.iter().filter(|byte| **byte == b'\n').count() >= count).then_some(())
        });
        assert!(enough.is_some(), "never {count} lines on {stream:?}\n{}", self.so_far());
    }

    /// Writes to the standard input that was left [open](Stdin::Open).
    #[track_caller]
    pub fn write_stdin(&mut self, bytes: impl AsRef<[u8]>) {
        self.stdin.as_mut().expect("stdin is open").write_all(bytes.as_ref()).expect("write to stdin");
    }

    /// Takes the open standard input, for a thread that writes.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("stdin is open")
    }

    /// Ends the standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    #[track_caller]
    pub fn send_signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("send a signal");
    }

    /// Sends a signal to the sleeping program and returns when it has woken, done what it does about it and sleeps
    /// again (or is gone). Only for moments when nothing else wakes it.
    #[track_caller]
    pub fn send_signal_and_settle(&self, signal: Signal) {
        until("the program to sleep", || self.status("State:").is_none_or(|state| state.starts_with('S')));
        let slept = self.status("voluntary_ctxt_switches:");
        self.send_signal(signal);
        until("the program to take its signal", || {
            let asleep = self.status("State:").is_none_or(|state| !state.starts_with('R'));
            asleep && self.status("voluntary_ctxt_switches:") != slept
        });
    }

    /// How often the program has gone to sleep; it does not move while the program is idle.
    pub fn wakeups(&self) -> u64 {
        self.status("voluntary_ctxt_switches:").and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Resident memory in bytes, as it is now.
    #[track_caller]
    pub fn rss(&self) -> u64 {
        self.bytes("VmRSS:")
    }

    /// The most resident memory there ever was, in bytes.
    #[track_caller]
    pub fn peak_rss(&self) -> u64 {
        self.bytes("VmHWM:")
    }

    /// Time on a processor so far.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a program that runs");
        // Behind the name, which may have blanks: fields 14 and 15, in hundredths of a second.
        let fields = stat.rsplit(") ").next().into_iter().flat_map(str::split_whitespace);
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(10 * ticks)
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        self.status("State:").is_some_and(|state| !state.starts_with('Z'))
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    #[track_caller]
    fn bytes(&self, key: &str) -> u64 {
        let line = self.status(key).expect("a running program has memory");
        line.trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// A line of `/proc/PID/status`; `None` once the program has ended.
    fn status(&self, key: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().to_owned())
    }

    /// Waits for the end; kills it and fails the case when it takes longer than its bound.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        self.stdin = None;
        let Some(status) = self.wait_for_end() else {
            let so_far = self.so_far();
            panic!("did not end within {:?}\n{so_far}", self.bound);
        };
        // Something it left behind may still hold the pipes: the bound holds for that, too.
        let give_up = Instant::now() + self.bound;
        for collected in [&self.stdout, &self.stderr] {
            collected.wait(give_up, |_, closed| closed.then_some(()));
        }
        let before = self.before.take().expect("taken only here");
        Finished::new(before, status, self.stdout.bytes(), self.stderr.bytes())
    }

    /// Kills it without warning and waits for its end.
    #[track_caller]
    pub fn kill(self) -> Finished {
        self.send_signal(Signal::KILL);
        self.finish()
    }

    fn wait_for_end(&mut self) -> Option<ExitStatus> {
        let pidfd = rustix::process::pidfd_open(self.pid(), PidfdFlags::empty()).expect("our own child");
        let give_up = Instant::now() + self.bound;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("a minute fits");
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&left)) {
                Ok(0) => return None,
                Ok(_) => return Some(self.child.wait().expect("it has ended")),
                Err(rustix::io::Errno::INTR) => {}
                Err(err) => panic!("wait for the program: {err}"),
            }
        }
    }

    fn collected(&self, stream: Stream) -> &Collected {
        match stream {
            Stream::Out => &self.stdout,
            Stream::Err => &self.stderr,
        }
    }

    fn so_far(&self) -> String {
        let before = self.before.as_ref().expect("taken only at the end");
        before.describe("still running, or just ended", &self.stdout.bytes(), &self.stderr.bytes())
    }

    /// The place it runs in.
    pub fn place(&self) -> &Place {
        &self.before.as_ref().expect("taken only at the end").place
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a status reads in a message.
pub(super) fn describe_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => format!("{status}"),
    }
}
