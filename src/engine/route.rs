//! How a transfer gets to its server: proxies, names, addresses, sockets.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use curl::easy::{Easy2, IpResolve, List};

use super::ffi;
use super::transfer::Transfer;
use crate::job::Job;

/// Addresses older than this are thrown away when the cache is pruned.
const NAMES_LAST: Duration = Duration::from_secs(60);

/// The way to servers; the same for all transfers.
#[derive(Debug, Clone)]
pub struct Route {
    /// Proxy, in curl's syntax. `None`: as the environment says.
    pub proxy: Option<String>,
    /// Hosts that are asked without a proxy. `None`: as the environment says.
    pub noproxy: Option<String>,
    /// `HOST:PORT:ADDRESS[,ADDRESS]…`, in curl's syntax.
    pub resolve: Vec<String>,
    /// `HOST1:PORT1:HOST2:PORT2`.
    pub connect_to: Vec<String>,
    /// A socket that takes the place of all addresses.
    pub unix_socket: Option<PathBuf>,
    /// Interface, address or name that connections come from.
    pub interface: Option<String>,
    /// Address families used.
    pub family: Family,
    /// The head start of IPv6.
    pub happy_eyeballs: Option<Duration>,
    /// A resolver that speaks DNS over HTTPS.
    pub doh_url: Option<String>,
}

/// Address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// Use of libcurl's cache of addresses. Its own expiry goes through the whole cache at every lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Addresses do not age.
    Keep,
    /// The same, and this host has this one.
    Tell(IpAddr),
    /// This host's are looked up again.
    Renew,
    /// The same, and old ones of all hosts are thrown away: once in a while, so that the cache does not grow for ever.
    Prune,
}

impl Route {
    /// Has `easy` take this way to the server of `job`.
    pub fn apply(&self, job: &Job, names: Names, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
        if let Some(proxy) = &self.proxy {
            easy.proxy(proxy)?;
        }
        if let Some(noproxy) = &self.noproxy {
            easy.noproxy(noproxy)?;
        }
        if !self.connect_to.is_empty() {
            easy.connect_to(list(&self.connect_to)?)?;
        }
        if let Some(socket) = &self.unix_socket {
            easy.unix_socket_path(Some(socket))?;
        }
        if let Some(interface) = &self.interface {
            easy.interface(interface)?;
        }
        match self.family {
            Family::Any => {}
            Family::V4 => easy.ip_resolve(IpResolve::V4)?,
            Family::V6 => easy.ip_resolve(IpResolve::V6)?,
        }
        if let Some(head_start) = self.happy_eyeballs {
            ffi::happy_eyeballs(easy, head_start)?;
        }
        if self.doh_url.is_some() {
            easy.doh_url(self.doh_url.as_deref())?;
        }
        self.names(job, names, easy)
    }

    fn names(&self, job: &Job, names: Names, easy: &mut Easy2<Transfer>) -> Result<(), curl::Error> {
        match names {
            Names::Keep | Names::Tell(_) | Names::Renew => ffi::names_do_not_age(easy)?,
            Names::Prune => easy.dns_cache_timeout(NAMES_LAST)?,
        }
        let mut entries = List::new();
        let host = job.target();
        // First: what --resolve gives stays.
        let first = match names {
            // An IPv6 address is no name, and its colons would be misread.
            _ if host.name.starts_with('[') => None,
            Names::Keep => None,
            Names::Tell(IpAddr::V4(address)) => Some(format!("+{}:{}:{address}", host.name, host.port)),
            Names::Tell(IpAddr::V6(address)) => Some(format!("+{}:{}:[{address}]", host.name, host.port)),
            Names::Renew | Names::Prune => Some(format!("-{}:{}", host.name, host.port)),
        };
        for entry in first.iter().chain(&self.resolve) {
            entries.append(entry)?;
        }
        if first.is_some() || !self.resolve.is_empty() {
            easy.resolve(entries)?;
        }
        Ok(())
    }
}

fn list(entries: &[String]) -> Result<List, curl::Error> {
    let mut list = List::new();
    for entry in entries {
        list.append(entry)?;
    }
    Ok(list)
}
