//! Who asks: what is typed, the entries of a netrc file, and the environment, in this order.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::{netrc, secret};
use crate::cli::RequestArgs;
use crate::engine::{AuthMethod, Identity, Secret, Token};
use crate::job::Credentials;

/// The variables for where nothing is typed.
const USER: &str = "FETCHMANY_USER";
const BEARER: &str = "FETCHMANY_OAUTH2_BEARER";

/// Who asks. An error names the option or the file.
pub fn identity(given: &mut RequestArgs) -> anyhow::Result<Identity> {
    let typed = typed(given)?;
    let netrc = match (given.netrc, given.netrc_file.take()) {
        (true, _) => Some(("--netrc", home().context("--netrc: HOME is not set")?.join(".netrc"))),
        (false, file) => file.map(|file| ("--netrc-file", file)),
    };
    let environment = if typed.is_some() { None } else { environment(given)? };
    if given.aws_sigv4.as_deref() == Some("") {
        bail!("--aws-sigv4: it is empty, and nothing would be signed; such as aws:amz:us-east-1:s3");
    }
    if given.aws_sigv4.is_some() && typed.is_none() && environment.is_none() && netrc.is_none() {
        bail!("--aws-sigv4 signs with the key and the secret that --user gives");
    }
    Ok(Identity {
        everywhere: typed,
        hosts: netrc.map(|(option, path)| netrc::read(&path).context(option)).transpose()?.unwrap_or_default(),
        elsewhere: environment,
        method: match given.aws_sigv4.take() {
            Some(parameters) => AuthMethod::AwsSigv4(parameters),
            None if given.digest => AuthMethod::Digest,
            None if given.anyauth => AuthMethod::Any,
            None => AuthMethod::Basic,
        },
    })
}

/// Whether users are in URLs alone.
pub fn has_no_user(given: &RequestArgs) -> bool {
    let typed = given.user.is_some() || given.netrc || given.netrc_file.is_some();
    !typed && std::env::var_os(USER).is_none()
}

fn typed(given: &mut RequestArgs) -> anyhow::Result<Option<Secret>> {
    let bearer = secret::typed("--oauth2-bearer", given.oauth2_bearer.take())?;
    let user = secret::typed("--user", given.user.take())?;
    Ok(bearer.map(|token| Secret::Bearer(Token(token))).or(user.as_deref().map(user_and_password)))
}

/// A token comes before a user, unless what is typed is about users.
fn environment(given: &RequestArgs) -> anyhow::Result<Option<Secret>> {
    let user = secret::environment(USER)?.as_deref().map(user_and_password);
    if given.aws_sigv4.is_some() {
        return Ok(user);
    }
    let bearer = secret::environment(BEARER)?.map(|token| Secret::Bearer(Token(token)));
    let is_about_users = given.basic || given.digest || given.anyauth;
    Ok(if is_about_users { user.or(bearer) } else { bearer.or(user) })
}

fn user_and_password(text: &str) -> Secret {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Secret::User(Credentials { user: user.to_owned(), password: password.to_owned() })
}

/// An absolute one: nothing is taken from the current directory that was not asked for.
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}
