//! How the program ends, as the shell sees it.

use std::process::ExitCode;

/// The one table of exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every URL is ok or was skipped; an empty list too.
    Ok,
    /// Some URLs failed.
    SomeFailed,
    /// The command line or an INPUT is wrong: nothing was tried.
    Usage,
    /// This machine stopped the run: output directory, disk, descriptors.
    Local,
    /// A signal ended the run; the program dies by that signal.
    Signal(i32),
}

impl Exit {
    /// The status a shell shows; a death by signal shows as 128 more than its number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::SomeFailed => 1,
            Exit::Usage => 2,
            Exit::Local => 3,
            Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_manual() {
        for (exit, code) in [
            (Exit::Ok, 0),
            (Exit::SomeFailed, 1),
            (Exit::Usage, 2),
            (Exit::Local, 3),
            (Exit::Signal(2), 130),
            (Exit::Signal(13), 141),
            (Exit::Signal(15), 143),
        ] {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
