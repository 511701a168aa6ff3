//! What JSON lines add to a job: how its requests differ from all others, and where else it is to be had.

use std::borrow::Cow;
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
    /// What [`Job::identity`] was before the job turned to a mirror.
    pub first: Option<String>,
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

    /// What makes it this job and no other, in every run: its URL, and where they are given the user, method, headers
    /// and body of its request. No password is in it.
    pub fn identity(&self) -> Cow<'_, str> {
        let own = self.particulars.as_deref();
        if let Some(first) = own.and_then(|own| own.first.as_deref()) {
            return first.into();
        }
        let user = self.credentials.as_ref().map(|credentials| credentials.user.as_str());
        if self.is_usual() && user.is_none() {
            return self.request_url.as_str().into();
        }
        let method = own.and_then(|own| own.method.as_deref()).unwrap_or_default();
        let body = String::from_utf8_lossy(own.and_then(|own| own.body.as_deref()).unwrap_or_default());
        let headers = own.map(|own| own.headers.join("\n")).unwrap_or_default();
        format!("{}\n{}\n{method}\n{headers}\n\n{body}", self.request_url, user.unwrap_or_default()).into()
    }

    /// Whether its own URL is no longer asked.
    pub fn is_at_mirror(&self) -> bool {
        self.particulars.as_ref().is_some_and(|own| own.first.is_some())
    }

    /// Turns to the next mirror, with all attempts before it; whether there is one.
    pub fn turn_to_mirror(&mut self) -> bool {
        let identity = self.identity().into_owned();
        let Some(mirror) = self.particulars.as_mut().and_then(|it| it.mirrors.pop_front()) else { return false };
        if let Some(own) = &mut self.particulars {
            own.first.get_or_insert(identity);
        }
        (self.request_url, self.credentials, self.host) = (mirror.request_url, mirror.credentials, mirror.host);
        self.hop = None;
        // What it cost so far was the other's.
        self.num_retries += 1;
        self.tries = Tries { free: self.num_retries, host_paused: self.tries.host_paused, ..Tries::default() };
        true
    }
}
