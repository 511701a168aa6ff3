//! The program on a terminal: a pseudo terminal that a terminal emulator looks at.
//!
//! `setsid --ctty` (util-linux) makes it the controlling terminal, so that typed control keys and changes of size
//! become signals as they do for a person.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::running::describe_status;
use super::wait::{BOUND, until};
use super::{Fetch, Place};

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The smallest that the emulator can be without overflowing; a smaller terminal is this large to it, so that what is
/// on its screen means nothing.
const SMALLEST: Size = Size { rows: 2, columns: 8 };

struct Drawn {
    terminal: vt100::Parser,
    raw: Vec<u8>,
    /// The program and all that inherited the terminal are gone.
    closed: bool,
}

/// What standard output is, when standard error is the terminal.
pub enum Output {
    /// The same terminal.
    Terminal,
    /// Something else.
    Elsewhere(Stdio),
}

/// A program on a terminal; killed when dropped.
pub struct OnTerminal {
    child: Child,
    control: File,
    drawn: Arc<(Mutex<Drawn>, Condvar)>,
    /// Closed it ends the drawing.
    window: OwnedFd,
    place: Place,
}

impl Fetch {
    /// Starts the program with a terminal of this size as its standard input, output and error.
    #[track_caller]
    pub fn on_terminal(self, size: Size) -> OnTerminal {
        self.on_terminal_with(size, Output::Terminal)
    }

    /// The same with standard output sent elsewhere.
    #[track_caller]
    pub fn on_terminal_with(self, size: Size, output: Output) -> OnTerminal {
        let control =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("open a pty");
        rustix::pty::grantpt(&control).expect("grant the pty");
        rustix::pty::unlockpt(&control).expect("unlock the pty");
        set_size(&control, size);
        let name = rustix::pty::ptsname(&control, Vec::new()).expect("the name of the pty");
        // NOCTTY: it is to be the program's controlling terminal, never ours.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = || Stdio::from(rustix::fs::open(&name, flags, Mode::empty()).expect("open the terminal"));
        let fetch = self.under(["setsid", "--ctty"]).default_env("TERM", "xterm-256color");
        let mut command = fetch.command();
        command.stdin(terminal()).stderr(terminal());
        command.stdout(match output {
            Output::Terminal => terminal(),
            Output::Elsewhere(stdio) => stdio,
        });
        let child = command.spawn().expect("start setsid");
        // The command still holds the terminal; while anybody does, its end is not seen.
        drop(command);
        let drawn = Drawn {
            terminal: vt100::Parser::new(size.rows.max(SMALLEST.rows), size.columns.max(SMALLEST.columns), 10_000),
            raw: Vec::new(),
            closed: false,
        };
        let drawn = Arc::new((Mutex::new(drawn), Condvar::new()));
        let reading: OwnedFd = control.try_clone().expect("a second descriptor");
        let shared = drawn.clone();
        let (open, window) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).expect("make a pipe");
        std::thread::spawn(move || draw(File::from(reading), &open, &shared));
        OnTerminal { child, control: File::from(control), drawn, window, place: fetch.place().clone() }
    }
}

/// Draws until the terminal or the window is closed.
fn draw(mut from: File, window: &OwnedFd, drawn: &(Mutex<Drawn>, Condvar)) {
    let mut piece = [0; 65536];
    loop {
        let mut polled = [PollFd::new(window, PollFlags::empty()), PollFd::new(&from, PollFlags::IN)];
        let _ = retry_on_intr(|| rustix::event::poll(&mut polled, None));
        if !polled[0].revents().is_empty() {
            return;
        }
        // The end of a terminal is an error (EIO).
        let count = from.read(&mut piece).unwrap_or(0);
        let mut drawn_now = drawn.0.lock().expect("no panic while held");
        drawn_now.raw.extend_from_slice(&piece[..count]);
        drawn_now.terminal.process(&piece[..count]);
        drawn_now.closed |= count == 0;
        drawn.1.notify_all();
        if count == 0 {
            return;
        }
    }
}

fn set_size(terminal: &impl std::os::fd::AsFd, size: Size) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).expect("set the size of the terminal");
}

impl OnTerminal {
    /// Changes the size; the program gets SIGWINCH.
    pub fn resize(&self, size: Size) {
        let mut drawn = self.drawn.0.lock().expect("no panic while held");
        set_size(&self.control, size);
        drawn.terminal.screen_mut().set_size(size.rows.max(SMALLEST.rows), size.columns.max(SMALLEST.columns));
    }

    /// Sends a signal to the program alone (setsid has become it).
    #[track_caller]
    pub fn send_signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("send a signal");
    }

    /// Types; into the void when the program has ended.
    pub fn press(&mut self, keys: &str) {
        let _ = self.control.write_all(keys.as_bytes());
    }

    /// Closes the window that the terminal is in, and waits for the end of the program.
    #[track_caller]
    pub fn hang_up(&mut self) -> ExitStatus {
        let nothing = || File::open("/dev/null").expect("there is nothing");
        (self.control, self.window) = (nothing(), nothing().into());
        let mut status = None;
        until("the end of the program", || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Whether the program has ended and everything it wrote is drawn.
    pub fn has_ended(&self) -> bool {
        self.drawn.0.lock().expect("no panic while held").closed
    }

    /// Returns the screen once `met` holds for it.
    #[track_caller]
    pub fn wait_for_screen(&self, what: &str, met: impl Fn(&str) -> bool) -> String {
        self.wait(what, |drawn| met(&drawn.terminal.screen().contents()));
        self.screen()
    }

    /// What is on the screen now.
    pub fn screen(&self) -> String {
        self.drawn.0.lock().expect("no panic while held").terminal.screen().contents()
    }

    /// Every byte it wrote.
    pub fn raw(&self) -> Vec<u8> {
        self.drawn.0.lock().expect("no panic while held").raw.clone()
    }

    /// Whether the cursor is left invisible.
    pub fn cursor_is_hidden(&self) -> bool {
        self.drawn.0.lock().expect("no panic while held").terminal.screen().hide_cursor()
    }

    /// The place it runs in.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Waits until the program has ended and everything it wrote is drawn.
    #[track_caller]
    pub fn finish(&mut self) -> ExitStatus {
        self.wait("the program to end", |drawn| drawn.closed);
        self.child.wait().expect("our own child")
    }

    #[track_caller]
    fn wait(&self, what: &str, met: impl Fn(&Drawn) -> bool) {
        let give_up = Instant::now() + BOUND;
        let mut drawn = self.drawn.0.lock().expect("no panic while held");
        while !met(&drawn) {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() || drawn.closed {
                let (raw, screen) = (drawn.raw.escape_ascii().to_string(), drawn.terminal.screen().contents());
                drop(drawn);
                panic!("waited for {what}; the screen:\n{screen}\n--- written ---\n{raw}");
            }
            drawn = self.drawn.1.wait_timeout(drawn, left).expect("no panic while held").0;
        }
    }

    /// The end and the screen, for a message.
    pub fn describe(&self, status: ExitStatus) -> String {
        format!(
            "{}; the screen:\n{}\n--- written ---\n{}",
            describe_status(status),
            self.screen(),
            self.raw().escape_ascii()
        )
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
