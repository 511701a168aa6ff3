//! The words that options take where only some do.

use clap::ValueEnum;

/// `--jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// So many.
    Fixed(usize),
    /// As many as bring something.
    Auto,
}

/// `--max-failures`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failures {
    /// So many URLs.
    Count(u64),
    /// So many in a hundred.
    Percent(f64),
}

/// `--input-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// A URL on each line, and perhaps a TAB and an output name
    Lines,
    /// A JSON object on each line
    Json,
}

/// `--if-exists`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IfExists {
    /// Leave it, fetch nothing
    Skip,
    /// Replace it by the new file once that is whole
    Overwrite,
    /// Keep both: the new one becomes name.1.ext
    Rename,
    /// Leave it, count a failure
    Fail,
    /// Replace it if the server has a newer one
    Update,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, else plain
    Auto,
    /// Bars
    Bars,
    /// A line every ten seconds
    Plain,
    /// None
    Off,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `--generate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generate {
    /// The manual page, in roff
    Man,
    /// Completions for bash
    CompleteBash,
    /// Completions for zsh
    CompleteZsh,
    /// Completions for fish
    CompleteFish,
    /// Completions for PowerShell
    CompletePowershell,
}
