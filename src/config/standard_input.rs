//! Who reads standard input: the list, or one of the options that can, and never two of them.

use std::path::Path;

use anyhow::{Context, bail};

use super::request::read;
use crate::cli::Args;

/// As curl has it: in the place of a file's name.
pub const NAME: &str = "-";

/// Refuses what would read what another reads.
pub fn check(args: &Args) -> anyhow::Result<()> {
    let request = &args.request;
    let is_file = |value: &String| value.strip_prefix('@') == Some(NAME);
    let readers = [
        ("--header @-", request.headers.iter().any(is_file)),
        ("--user @-", request.user.iter().any(is_file)),
        ("--oauth2-bearer @-", request.oauth2_bearer.iter().any(is_file)),
        ("--pass @-", request.pass.iter().any(is_file)),
        ("--cookie -", request.cookies.iter().any(|cookie| cookie == NAME)),
        ("--write-out @-", args.write_out.iter().any(is_file)),
    ];
    let mut readers = readers.into_iter().filter(|(_, reads)| *reads).map(|(option, _)| option);
    match (readers.next(), readers.next()) {
        (Some(option), _) if is_list(args) => bail!("{option}: standard input is the list"),
        (Some(option), Some(other)) => bail!("{option}: {other} reads standard input too"),
        _ => Ok(()),
    }
}

/// Whether it is one of the INPUTs.
pub fn is_list(args: &Args) -> bool {
    args.fifo.is_none() && (args.inputs.is_empty() || args.inputs.iter().any(|input| input == NAME))
}

/// What `option` names, as text.
pub fn or_file(option: &str, path: &Path) -> anyhow::Result<String> {
    match path == Path::new(NAME) {
        true => std::io::read_to_string(std::io::stdin()).with_context(|| format!("{option}: read standard input")),
        false => read(option, path),
    }
}
