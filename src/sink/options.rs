//! The choices that this room is opened with.
//!
//! Must not know how they are typed.

use std::path::PathBuf;

use super::{Checksums, Template};

/// What the user wants of this room.
#[derive(Debug)]
pub struct Options {
    /// Where bodies go.
    pub target: Target,
    /// What happens when the name is there already.
    pub if_exists: IfExists,
    /// Whether a file gets the time of `Last-Modified`.
    pub remote_time: bool,
    /// Files that the run itself reads or writes, and what each is: no download takes the place of one.
    pub own: Vec<(PathBuf, &'static str)>,
    /// Most bytes written for one body.
    pub max_filesize: Option<u64>,
    /// What files must hash to.
    pub checksums: Checksums,
    /// Whether every body's SHA-256 is computed for its record.
    pub sha256: bool,
    /// Most names remembered, for a run without end; `None` remembers all that two URLs may share.
    pub names_kept: Option<usize>,
    /// What gives a file without a name of its own its name.
    pub name_from: NameFrom,
    /// Stands for the request options that change what a server sends: partial files made with the same ones are
    /// continued. `None`: none are, and none are left that could be.
    pub continued: Option<String>,
    /// Whether files are safe from a loss of power before they are told of.
    pub sync: bool,
    /// Whether anything is to happen.
    pub run: Run,
}

/// Whether anything is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Yes.
    Real,
    /// No: names are claimed, nothing is made, and every job that would be fetched is skipped.
    Dry,
}

/// Where bodies go.
#[derive(Debug)]
pub enum Target {
    /// Into files.
    Files {
        /// Output directory, made when it is missing. Empty means the current directory and adds nothing to the
        /// paths in the records.
        dir: PathBuf,
        /// Name of a file that has none of its own.
        template: Template,
    },
    /// To standard output, whole bodies one after another.
    Stdout,
    /// Nowhere; they are counted.
    Discard,
}

/// What happens when the final name is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Nothing is fetched.
    Skip,
    /// It is replaced when the new body is whole.
    Overwrite,
    /// The new file is called `stem.1.ext`, `stem.2.ext` …
    Rename,
    /// The job fails.
    Fail,
    /// As `Overwrite`, if the server's has another ETag than the file came with; where that is not known, if it is newer
    /// than the file's time.
    Update,
}

/// What gives a file its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFrom {
    /// The URL, by the template.
    Url,
    /// Content-Disposition, where there is one; else the URL.
    Header,
}
