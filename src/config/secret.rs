//! Secrets where they do not stand in the list of processes: in files, and in the environment.

use std::env::VarError;
use std::path::Path;

use anyhow::bail;

use super::request::check_text;
use super::standard_input;

/// A secret as `option` has it, or from the first line of the `@FILE` given.
pub fn typed(option: &str, given: Option<String>) -> anyhow::Result<Option<String>> {
    let Some(given) = given else { return Ok(None) };
    let secret = match given.strip_prefix('@') {
        Some(file) => standard_input::or_file(option, Path::new(file))?.lines().next().unwrap_or_default().to_owned(),
        None => given,
    };
    check_text(option, &secret)?;
    Ok(Some(secret))
}

/// A secret as `variable` has it, for where none is typed.
pub fn environment(variable: &str) -> anyhow::Result<Option<String>> {
    match std::env::var(variable) {
        Ok(secret) => {
            check_text(variable, &secret)?;
            Ok(Some(secret))
        }
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{variable} is not UTF-8"),
    }
}
