//! One stream on which lines and, at its bottom, bars can appear: standard error, or standard output and error in one
//! when both are the same terminal.
//!
//! While bars are drawn, lines wait for the next drawing, so that the bars are moved down once for all of them. Bytes for
//! the terminal are queued whole and in order; a drawing for which the last one is not out yet is left out, so a
//! terminal that does not read costs nothing and is never garbled.
//!
//! Must not know what a line says, nor when it is time to draw.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::bars::Bars;
use super::frame::Frame;
use super::terminal::Size;
use crate::outlet::Outlet;

/// Lines waiting for a drawing are printed without it when they are more than this many bytes.
const LINES_HELD: usize = 16 * 1024;

/// Remarks are dropped while more than this many bytes wait for a reader that does not read.
const REMARKS_KEPT: usize = 256 * 1024;

/// How long the last words wait for a slow reader.
const PATIENCE: Duration = Duration::from_millis(250);

/// What becomes of the run when the stream cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It carries results: they wait for the reader, and its errors end the run.
    Results,
    /// Nice to have: dropped when it is not taken.
    Remarks,
}

/// A stream with bars at its bottom.
#[derive(Debug)]
pub struct Screen {
    outlet: Outlet,
    duty: Duty,
    bars: Bars,
    /// Whole lines that the next drawing prints above the bars.
    held: Vec<u8>,
    /// What was printed last is no whole line.
    mid_line: bool,
}

impl Screen {
    /// On `outlet`; nothing is drawn yet.
    pub fn new(outlet: Outlet, duty: Duty, bars: Bars) -> Screen {
        Screen { outlet, duty, bars, held: Vec::new(), mid_line: false }
    }

    /// Queues a line, or with `-w` a piece of one, that must not get lost, unless the stream is for remarks anyway.
    pub fn result(&mut self, line: &[u8]) {
        match self.duty {
            Duty::Results => self.line(line),
            Duty::Remarks => self.remark(line),
        }
    }

    /// Queues a whole line that may get lost when nobody reads.
    pub fn remark(&mut self, line: &[u8]) {
        if self.outlet.pending() + self.held.len() <= REMARKS_KEPT {
            self.line(line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        if self.bars.is_drawn() {
            self.held.extend_from_slice(line);
        } else {
            self.outlet.push(line);
            self.mid_line = !line.ends_with(b"\n");
        }
    }

    /// Whether lines wait for the next drawing.
    pub fn holds_lines(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes what is taken now.
    ///
    /// # Errors
    /// What `write(2)` says of a stream that carries results; remarks that cannot be written are forgotten.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.held.len() > LINES_HELD {
            self.print_held();
        }
        let result = self.outlet.flush();
        self.settle(result)
    }

    /// Prints the lines that waited, and draws `frame` below them; without a frame the bars go. Errors are left to
    /// [`Screen::flush`], which meets them again.
    pub fn draw(&mut self, frame: Option<&Frame>, size: Size) {
        self.print_held();
        // What of the last drawing is not out yet makes this one late: it would be old when it arrives.
        let late = self.outlet.flush().is_ok() && self.outlet.pending() > 0;
        match frame {
            None => self.clear(),
            Some(_) if late => {}
            Some(frame) => {
                if std::mem::take(&mut self.mid_line) {
                    self.outlet.push(b"\n");
                }
                self.bars.draw(frame, size);
                self.outlet.push(&self.bars.take());
            }
        }
        let _ = self.outlet.flush();
    }

    /// Takes the bars away, for good or until the next drawing.
    pub fn clear(&mut self) {
        self.print_held();
        self.bars.clear();
        self.outlet.push(&self.bars.take());
    }

    /// Writes the last words, waiting for the reader a little. Results are the caller's to wait for.
    pub fn finish(&mut self) {
        self.clear();
        if self.duty == Duty::Remarks {
            // Nothing is left to be told about it.
            let _ = self.outlet.drain(PATIENCE);
        }
    }

    fn print_held(&mut self) {
        if !self.held.is_empty() {
            // Bars begin in the first column: above them everything is a line.
            if !self.held.ends_with(b"\n") {
                self.held.push(b'\n');
            }
            self.bars.above(&self.held);
            self.outlet.push(&self.bars.take());
            self.held.clear();
        }
    }

    fn settle(&mut self, result: io::Result<()>) -> io::Result<()> {
        match self.duty {
            Duty::Results => result,
            Duty::Remarks => {
                if result.is_err() {
                    self.outlet.clear();
                }
                Ok(())
            }
        }
    }

    /// Bytes of results that the reader has not taken.
    pub fn backlog(&self) -> usize {
        match self.duty {
            Duty::Results => self.outlet.pending(),
            Duty::Remarks => 0,
        }
    }

    /// The descriptor to wait on when there is a backlog.
    pub fn waitable(&self) -> Option<BorrowedFd<'_>> {
        self.outlet.waitable().filter(|_| self.duty == Duty::Results)
    }

    /// The descriptor, to ask for its size.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.outlet.fd()
    }
}

impl Drop for Screen {
    /// However the run ends, what is printed next does not begin in the middle of a bar.
    fn drop(&mut self) {
        if self.bars.is_drawn() {
            self.clear();
            let _ = self.outlet.flush();
        }
    }
}
