//! The job that the tests of every room begin with.

use std::time::Instant;

use super::{Host, Job, Origin, Tries};

impl Job {
    /// Line 1 of a list, which says nothing but whom it asks.
    pub fn of(host: Host) -> Job {
        Job {
            urlnum: 0,
            origin: Origin { source: "list.txt".into(), line: 1 },
            input_line: Vec::new(),
            url: String::new(),
            request_url: String::new(),
            credentials: None,
            host,
            name: None,
            destination: None,
            key: None,
            checksum: None,
            listed: None,
            particulars: None,
            hop: None,
            num_retries: 0,
            tries: Tries::default(),
            accepted: Instant::now(),
        }
    }
}
