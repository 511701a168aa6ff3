//! Whom we trust, and how we show who we are.

use std::path::PathBuf;

use curl::easy::Easy2;

use super::auth::Token;
use super::ffi;
use super::transfer::Transfer;

/// TLS; the same for all transfers.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whether certificates are verified.
    pub verify: Verify,
    /// PEM file of certificate authorities. `None`: the system's.
    pub cacert: Option<PathBuf>,
    /// What we show.
    pub client: Option<Client>,
    /// `sha256//HASH;…` or the path of a public key: the only keys that servers may have.
    pub pinned: Option<String>,
    /// Groups offered for the key exchange, in OpenSSL's syntax. `None`: OpenSSL's.
    pub curves: Option<String>,
}

/// A client certificate.
#[derive(Debug, Clone)]
pub struct Client {
    /// PEM file of the certificate.
    pub cert: PathBuf,
    /// PEM file of its key, where that is another one.
    pub key: Option<PathBuf>,
    /// What opens the key.
    pub password: Token,
}

impl Client {
    /// Has `easy` show this.
    pub fn apply<H>(&self, easy: &mut Easy2<H>) -> Result<(), curl::Error> {
        easy.ssl_cert(&self.cert)?;
        easy.ssl_key(self.key.as_ref().unwrap_or(&self.cert))?;
        // Also an empty one: without it OpenSSL would ask on the terminal, and everything else wait.
        easy.key_password(&self.password.0)
    }
}

/// Certificate checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Chain and name.
    Full,
    /// None (`--insecure`).
    Nothing,
}

impl Tls {
    /// Has `easy` shake hands like this.
    pub fn apply(&self, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
        ffi::no_capath(easy)?;
        if let Some(curves) = &self.curves {
            ffi::curves(easy, curves)?;
        }
        if let Some(cacert) = &self.cacert {
            easy.cainfo(cacert)?;
        }
        if self.verify == Verify::Nothing {
            easy.ssl_verify_peer(false)?;
            easy.ssl_verify_host(false)?;
            easy.doh_ssl_verify_peer(false)?;
            easy.doh_ssl_verify_host(false)?;
        }
        if let Some(client) = &self.client {
            client.apply(easy)?;
        }
        if let Some(pinned) = &self.pinned {
            easy.pinned_public_key(pinned)?;
        }
        Ok(())
    }
}
