//! What JSON lines add to a job: how its requests differ from all others, and where else it is to be had.

use std::collections::VecDeque;

use super::{Credentials, Host, Job, Tries};

/// What a line of JSON says beyond what a plain line can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Particulars {
    /// Comes back in the record.
    pub id: Option<Id>,
    /// Headers of its requests, in libcurl's form; they replace those of the same names that all requests have.
    pub headers: Vec<String>,
    /// Method; `None`: GET, or POST where there is a body.
    pub method: Option<String>,
    /// Body of its requests.
    pub body: Option<Vec<u8>>,
    /// Bytes that its response's body must have.
    pub size: Option<u64>,
    /// Where the same is to be had, in the order in which they are asked after the URL itself.
    pub mirrors: VecDeque<Mirror>,
    /// The line gives the output name.
    pub is_named: bool,
}

/// A JSON scalar, given back as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// A string.
    Text(String),
    /// A number or a truth value, as it was written.
    Literal(String),
}

/// Another place of the same file; its fields are those of [`Job`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The URL as it is sent.
    pub request_url: String,
    /// User and password from the URL.
    pub credentials: Option<Credentials>,
    /// Whom the request goes to.
    pub host: Host,
}

impl Job {
    /// Whether nothing of its own changes what a server sends for its URL.
    pub fn is_usual(&self) -> bool {
        let own = self.particulars.as_ref();
        own.is_none_or(|own| own.headers.is_empty() && own.method.is_none() && own.body.is_none())
    }

    /// Turns to the next mirror, with all attempts before it; whether there is one.
    pub fn turn_to_mirror(&mut self) -> bool {
        let Some(mirror) = self.particulars.as_mut().and_then(|it| it.mirrors.pop_front()) else { return false };
        (self.request_url, self.credentials, self.host) = (mirror.request_url, mirror.credentials, mirror.host);
        // What it cost so far was the other's.
        self.num_retries += 1;
        self.tries = Tries { free: self.num_retries, host_paused: self.tries.host_paused, ..Tries::default() };
        true
    }
}
