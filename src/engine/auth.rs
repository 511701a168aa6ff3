//! Who asks: which credentials go to a job's server, and by which method.
//!
//! They are sent to the origin (scheme, host, port) of the job's URL and to no other that a redirect leads to.

use std::collections::BTreeMap;

use curl::easy::{Auth, Easy2};

use super::ffi;
use super::transfer::Transfer;
use crate::job::{Credentials, Job};

/// Credentials for servers. Those in a job's own URL come first, then those that are listed here, in this order.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// For every server.
    pub everywhere: Option<Secret>,
    /// For the servers of exactly these hosts, in lower case; the first that fits counts.
    pub hosts: BTreeMap<String, Vec<Credentials>>,
    /// For servers that nothing else is for.
    pub elsewhere: Option<Secret>,
    /// How user and password are sent.
    pub method: Method,
}

/// Something to show to servers.
#[derive(Debug, Clone)]
pub enum Secret {
    /// User and password.
    User(Credentials),
    /// An OAuth 2.0 bearer token.
    Bearer(Token),
}

/// A secret in one piece.
#[derive(Clone)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How user and password are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    #[default]
    Basic,
    /// Digest, after the server's challenge.
    Digest,
    /// Whatever the server offers that is safest.
    Any,
    /// AWS's signature, version 4, with these parameters.
    AwsSigv4(String),
}

impl Identity {
    /// Has `easy` show what fits `job`.
    pub fn apply(&self, job: &Job, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
        if job.is_elsewhere() {
            return Ok(());
        }
        match self.secret(job) {
            Some(Secret::User(user)) => {
                self.allow(easy)?;
                easy.username(&user.user)?;
                easy.password(&user.password)
            }
            Some(Secret::Bearer(token)) => ffi::bearer(easy, &token.0),
            None => Ok(()),
        }
    }

    fn secret(&self, job: &Job) -> Option<Secret> {
        let mut listed = self.hosts.get(&*job.host.name).into_iter().flatten().cloned();
        match job.credentials.clone() {
            // With the host's password where the URL names the user alone.
            Some(given) if given.password.is_empty() => listed.find(|it| it.user == given.user).or(Some(given)),
            Some(given) => Some(given),
            None if self.everywhere.is_some() => return self.everywhere.clone(),
            None => listed.next(),
        }
        .map(Secret::User)
        .or_else(|| self.elsewhere.clone())
    }

    fn allow(&self, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
        match &self.method {
            Method::Basic => easy.http_auth(Auth::new().basic(true)),
            Method::Digest => easy.http_auth(Auth::new().digest(true)),
            Method::Any => easy.http_auth(Auth::new().basic(true).digest(true).gssnegotiate(true).ntlm(true)),
            Method::AwsSigv4(parameters) => easy.aws_sigv4(parameters),
        }
    }
}
