//! Jobs and bodies for this room's tests, and claims in a run without a journal.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Body, Checksums, Claim, Head, IfExists, NameFrom, Options, Run, Sink, Target, Template, Version};
use crate::job::{Checksum, Failure, Host, Job, Origin};

/// Files in `dir`, named by their URLs.
pub fn options(dir: &Path, if_exists: IfExists) -> Options {
    let target = Target::Files { dir: dir.to_owned(), template: Template::parse("{name}").expect("a template") };
    Options {
        target,
        if_exists,
        own: Vec::new(),
        remote_time: true,
        max_filesize: None,
        checksums: Checksums::default(),
        sha256: false,
        names_kept: None,
        name_from: NameFrom::Url,
        continued: Some(String::new()),
        sync: false,
        run: Run::Real,
    }
}

/// The SHA-256 of `content`.
pub fn checksum(content: &[u8]) -> Checksum {
    Checksum::Sha256(Sha256::digest(content).into())
}

/// The job of line 7 of `list.txt` with `url`.
pub fn job(url: &str) -> Job {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
    let (name, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    let host = Host { tls: false, name: Arc::from(name), port: port.parse().unwrap_or(80) };
    let origin = Origin { source: Arc::from("list.txt"), line: 7 };
    Job { origin, input_line: url.into(), url: url.into(), request_url: url.into(), ..Job::of(host) }
}

impl Sink {
    /// [`Sink::claim_unless`] in a run that nothing went before.
    pub fn claim(&mut self, job: &mut Job) -> Claim {
        self.claim_unless(job, |_| None)
    }
}

/// A body of `length` bytes that must hash to `checksum`, and continues `there` in the file `a.part` in `dir`.
pub fn continued(dir: &Path, there: &[u8], length: u64, checksum: Checksum) -> anyhow::Result<Body> {
    let told = |result: Result<(), Failure>| result.map_err(|failure| anyhow::anyhow!(failure.message));
    let mut sink = Sink::open(options(dir, IfExists::Skip))?;
    let mut job = Job { checksum: Some(checksum), ..job("http://h/a") };
    assert_eq!(sink.claim(&mut job), Claim::Fetch);
    let version = Version { etag: Some("\"v\"".to_owned()), ..Version::default() };
    let head = Head { length: Some(length), version, ..Head::default() };
    let mut first = sink.body(&job);
    told(first.begin(head.clone()))?;
    told(first.write(there))?;
    sink.abandon(first, None);
    let mut body = sink.body(&job);
    let from = body.resume().map(|resume| resume.from).ok_or_else(|| anyhow::anyhow!("it is not continued"))?;
    told(body.begin(Head { from, ..head }))?;
    Ok(body)
}
