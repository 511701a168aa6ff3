//! How the end of a job is told, everywhere it belongs.
//!
//! Must not know when that is written, nor what else stands on the terminal.

use anyhow::Context;

use super::files::{self, Before, Content, Lines};
use super::lines::Paint;
use super::writeout::{Format, To};
use super::{Report, Results, lines, record};
use crate::job::{Outcome, Settled};

/// Opens the files that `format` writes to. One that is to be added to is not emptied; nor is any when `before` says so.
///
/// # Errors
/// A file cannot be opened; the error names it.
pub(super) fn open_files(format: &Format, before: Before) -> anyhow::Result<Vec<Lines>> {
    let open = |file: &super::writeout::File| {
        let before = if file.append { Before::Kept } else { before };
        Lines::open("write-out file", &file.path, Content::Text, before)
    };
    format.files().iter().map(open).collect()
}

impl Report {
    /// Counts how a job ended and tells it, now or when it is its turn. Written by the next [`Report::flush`].
    ///
    /// # Errors
    /// None that is known: a record that cannot be put in words.
    pub fn settled(&mut self, settled: &Settled) -> anyhow::Result<()> {
        self.tally.count(settled);
        self.keep(settled)?;
        if self.options.verbose > 0 {
            self.line.clear();
            if lines::push_connection(&mut self.line, settled) {
                self.line.push('\n');
                self.streams.screen().remark(self.line.as_bytes());
            }
        }
        if self.failures_on_stderr && matches!(settled.outcome, Outcome::Failed(_)) && self.failures.admit() {
            self.word(settled, self.paint.1);
            self.streams.screen().remark(self.line.as_bytes());
        }
        match &mut self.order {
            Some(order) if !order.is_next(settled.job.urlnum) => order.hold(settled.clone()),
            None => self.print(settled)?,
            Some(_) => {
                self.print(settled)?;
                while let Some(next) = self.order.as_mut().and_then(|order| order.advance()) {
                    self.print(&next)?;
                }
            }
        }
        Ok(())
    }

    /// Tells what still waits for its turn, in a run that was broken off.
    pub fn let_go(&mut self) {
        while let Some(settled) = self.order.as_mut().and_then(|order| order.rest()) {
            // As good as it gets: something else went wrong already.
            let _ = self.print(&settled);
        }
    }

    /// Adds it to the files.
    fn keep(&mut self, settled: &Settled) -> anyhow::Result<()> {
        if self.results_file.is_some() {
            self.encode(settled)?;
        }
        if let Some(file) = &mut self.results_file {
            file.push(&self.record);
        }
        if let (Some(file), Outcome::Failed(_) | Outcome::Cancelled(_)) = (&mut self.failed_file, &settled.outcome) {
            file.push(&files::again(&settled.job));
        }
        Ok(())
    }

    /// Queues the result where results go, in the form that was asked for.
    fn print(&mut self, settled: &Settled) -> anyhow::Result<()> {
        if self.options.quiet > 0 {
            return Ok(());
        }
        match &self.options.results {
            Results::Human => {
                self.word(settled, self.paint.0);
                self.streams.result(self.line.as_bytes());
            }
            Results::Json => {
                self.encode(settled)?;
                self.streams.result(&self.record);
            }
            Results::Written(format) => {
                let origin = || format!("write the record of {}", settled.job.origin);
                let object = record::object(settled).with_context(origin)?;
                self.record.clear();
                if format.has_json() {
                    record::push(&mut self.record, settled).with_context(origin)?;
                }
                let json = str::from_utf8(&self.record).unwrap_or_default().trim_end();
                let (streams, files) = (&mut self.streams, &mut self.written_files);
                let data = settled.stats.as_ref().map_or(&[][..], |stats| &stats.extras);
                format.write(&object, json, data, |to, text| match to {
                    To::Results => streams.result(text.as_bytes()),
                    To::Stderr => streams.screen().remark(text.as_bytes()),
                    To::File(number) => {
                        if let Some(file) = files.get_mut(number) {
                            file.push(text.as_bytes());
                        }
                    }
                });
            }
        }
        Ok(())
    }

    /// The record, in `self.record`.
    fn encode(&mut self, settled: &Settled) -> anyhow::Result<()> {
        self.record.clear();
        record::push(&mut self.record, settled).with_context(|| format!("write the record of {}", settled.job.origin))
    }

    /// The person's line, in `self.line`.
    fn word(&mut self, settled: &Settled, paint: Paint) {
        self.line.clear();
        let columns = self.columns.filter(|_| !self.streams.are_separate());
        lines::push(&mut self.line, settled, paint, columns);
        self.line.push('\n');
    }
}
