//! Errors that end the run, and how it ends then.

use crate::exit::Exit;

/// An error that ends the run, with the exit code it ends with.
#[derive(Debug)]
pub struct Fatal {
    /// How the program ends.
    pub exit: Exit,
    /// What a person is told.
    pub error: anyhow::Error,
}

/// Says how the program ends if this fails.
pub trait OrExit<T> {
    /// `Err` ends the run with `exit`.
    fn or_exit(self, exit: Exit) -> Result<T, Fatal>;
}

impl<T> OrExit<T> for anyhow::Result<T> {
    fn or_exit(self, exit: Exit) -> Result<T, Fatal> {
        self.map_err(|error| Fatal { exit, error })
    }
}
