//! A job for this room's tests, and claims in a run without a journal.

use std::sync::Arc;
use std::time::Instant;

use super::{Claim, Sink};
use crate::job::{Host, Job, Origin, Tries};

/// The job of line 7 of `list.txt` with `url`.
pub fn job(url: &str) -> Job {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
    let (name, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    Job {
        urlnum: 0,
        origin: Origin { source: Arc::from("list.txt"), line: 7 },
        input_line: url.as_bytes().to_vec(),
        url: url.to_owned(),
        request_url: url.to_owned(),
        credentials: None,
        host: Host { tls: false, name: Arc::from(name), port: port.parse().unwrap_or(80) },
        name: None,
        destination: None,
        key: None,
        checksum: None,
        particulars: None,
        num_retries: 0,
        accepted: Instant::now(),
        tries: Tries::default(),
    }
}

impl Sink {
    /// [`Sink::claim_unless`] in a run that nothing went before.
    pub fn claim(&mut self, job: &mut Job) -> Claim {
        self.claim_unless(job, |_| None)
    }
}
