//! Where results and remarks go: standard output and standard error, which may be one and the same.
//!
//! When both are the same pipe, terminal or file, everything goes through one queue: two writers would cut into each
//! other's lines, and into the bars.
//!
//! Must not know what a line says.

use std::io;
use std::os::fd::BorrowedFd;

use anyhow::anyhow;

use super::bars::Bars;
use super::screen::{Duty, Screen};
use super::{Options, Stream};
use crate::outlet::Outlet;

/// The results can be told no more.
#[derive(Debug)]
pub enum Lost {
    /// The reader of standard output went away (EPIPE): the program ends quietly, like everyone in a pipeline.
    ReaderGone,
    /// A stream or file cannot be written; the error names it.
    Failed(anyhow::Error),
}

/// The open streams.
#[derive(Debug)]
pub struct Streams {
    /// Results, where they have a stream of their own.
    out: Option<Outlet>,
    /// Remarks and bars, and the results where both share a stream.
    screen: Screen,
    /// What the stream with the results is called.
    name: &'static str,
}

impl Streams {
    /// Sorts out who goes where. `stdout` is `None` when it is not this room's to write.
    pub fn new(stdout: Option<Outlet>, stderr: Outlet, options: &Options) -> anyhow::Result<Streams> {
        let (out, screen, duty, name) = match (options.stream, stdout) {
            _ if options.quiet > 0 => (None, stderr, Duty::Remarks, "standard error"),
            (Stream::Stderr, _) | (_, None) => (None, stderr, Duty::Results, "standard error"),
            (Stream::Stdout, Some(stdout)) if stdout.same_stream(&stderr) => {
                (None, stdout, Duty::Results, "standard output")
            }
            (Stream::Stdout, Some(stdout)) => (Some(stdout), stderr, Duty::Remarks, "standard output"),
        };
        Ok(Streams { out, screen: Screen::new(screen, duty, Bars::new()?), name })
    }

    /// Whether results go somewhere else than remarks.
    pub fn are_separate(&self) -> bool {
        self.out.is_some()
    }

    /// Queues a result's whole line.
    pub fn result(&mut self, line: &[u8]) {
        match &mut self.out {
            Some(out) => out.push(line),
            None => self.screen.result(line),
        }
    }

    /// Where remarks and bars go.
    pub fn screen(&mut self) -> &mut Screen {
        &mut self.screen
    }

    /// Whether lines wait for the next drawing.
    pub fn holds_lines(&self) -> bool {
        self.screen.holds_lines()
    }

    /// Writes what is taken now.
    ///
    /// # Errors
    /// When the results can be told no more.
    pub fn flush(&mut self) -> Result<(), Lost> {
        let results = self.out.as_mut().map_or(Ok(()), Outlet::flush);
        results.and(self.screen.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Lost::ReaderGone,
            _ => Lost::Failed(anyhow!(error).context(format!("write {}", self.name))),
        })
    }

    /// Bytes of results that the reader has not taken.
    pub fn backlog(&self) -> usize {
        self.out.as_ref().map_or_else(|| self.screen.backlog(), Outlet::pending)
    }

    /// The descriptor to wait on for writability when there is a backlog.
    pub fn waitable(&self) -> Option<BorrowedFd<'_>> {
        match &self.out {
            Some(out) => out.waitable(),
            None => self.screen.waitable(),
        }
    }
}
