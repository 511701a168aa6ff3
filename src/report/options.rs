//! The choices that this room is opened with.
//!
//! Must not know how they are typed.

use std::path::PathBuf;

use super::Format;
use crate::job::Extra;

/// What is shown, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Lines for people or records for programs.
    pub results: Results,
    /// Where they go.
    pub stream: Stream,
    /// Whether they come in the order of their lines instead of that of their ends.
    pub ordered: bool,
    /// The same records in a file.
    pub results_file: Option<PathBuf>,
    /// Input lines that failed or were cancelled, as they were read.
    pub failed_file: Option<PathBuf>,
    /// Add to both files instead of truncating them.
    pub append: bool,
    /// What is shown while it runs.
    pub progress: ProgressStyle,
    /// Whether lines for people are coloured.
    pub color: ColorChoice,
    /// 1: no results, progress or summary, failures go to standard error. 2 and more: nothing but the files.
    pub quiet: u8,
    /// 1 and more: standard error is told of each attempt: why it is made again and when, and what connection it had.
    /// Failures go there besides the JSON records.
    pub verbose: u8,
}

impl Options {
    /// Whether standard output is used: by this room, or for the bodies.
    pub fn uses_stdout(&self) -> bool {
        // With -q nothing else goes there.
        self.quiet == 0 || self.stream == Stream::Stderr
    }
}

/// The form of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Results {
    /// A line that a person reads.
    Human,
    /// One JSON object a line.
    Json,
    /// In the user's words.
    Written(Format),
}

impl Results {
    /// What must be known of transfers beyond the record.
    pub fn extras(&self) -> &[Extra] {
        match self {
            Results::Written(format) => format.extras(),
            Results::Human | Results::Json => &[],
        }
    }
}

/// Where results go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error, because standard output carries the bodies.
    Stderr,
}

/// What is shown while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressStyle {
    /// Bars on a terminal that can show them, else a plain line now and then.
    Auto,
    /// Bars, whatever standard error is.
    Bars,
    /// A line every ten seconds.
    Plain,
    /// Nothing.
    Off,
}

/// Whether lines for people are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}
