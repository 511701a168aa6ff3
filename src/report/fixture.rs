//! Settled jobs for this room's tests.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::job::{ErrorClass, Failure, Host, Job, Origin, Outcome, Saved, Settled, Stats};

/// Line 12 of `list.txt`: `https://example.com/file.bin`.
pub fn job() -> Job {
    Job {
        urlnum: 7,
        origin: Origin { source: Arc::from("list.txt"), line: 12 },
        input_line: b"https://u:S3CR3T-1@example.com/file.bin".to_vec(),
        url: "https://example.com/file.bin".into(),
        request_url: "https://example.com/file.bin".into(),
        destination: Some(PathBuf::from("file.bin")),
        num_retries: 1,
        ..Job::of(Host { tls: true, name: Arc::from("example.com"), port: 443 })
    }
}

/// Fetched, every figure known.
pub fn ok() -> Settled {
    Settled {
        job: job(),
        outcome: Outcome::Ok,
        stats: Some(Stats {
            url_effective: Some("https://cdn.example.com/file.bin".into()),
            http_code: Some(200),
            http_version: Some("2"),
            content_type: Some("application/octet-stream".into()),
            size_download: 12_900_000,
            speed_download: Some(10_750_000),
            num_redirects: Some(1),
            num_connects: Some(2),
            remote_ip: Some("192.0.2.7".into()),
            remote_port: Some(443),
            scheme: Some("https".into()),
            time_namelookup: Some(Duration::from_micros(1_234)),
            time_connect: Some(Duration::from_millis(20)),
            time_appconnect: Some(Duration::from_millis(45)),
            time_starttransfer: Some(Duration::from_millis(90)),
            time_total: Some(Duration::from_millis(1_200)),
            conn_id: Some(3),
            xfer_id: Some(9),
            extras: Vec::new(),
        }),
        saved: Saved {
            filename: Some(PathBuf::from("data/file.bin")),
            size: Some(12_900_000),
            resume_from: None,
            sha256: None,
        },
        time_queue: Duration::from_micros(500),
    }
}

/// A 404.
pub fn failed() -> Settled {
    Settled {
        outcome: Outcome::Failed(Failure::new(ErrorClass::Http, 22, "the server says 404 Not Found")),
        stats: Some(Stats {
            http_code: Some(404),
            size_download: 162,
            time_total: Some(Duration::from_millis(120)),
            ..Stats::default()
        }),
        saved: Saved::default(),
        ..ok()
    }
}

/// There already.
pub fn skipped() -> Settled {
    Settled { outcome: Outcome::Skipped("exists".into()), stats: None, ..ok() }
}

/// Overtaken by the end.
pub fn cancelled() -> Settled {
    Settled { outcome: Outcome::Cancelled("interrupted".into()), stats: None, saved: Saved::default(), ..ok() }
}

/// A failure in which everything that can be outside text is hostile.
pub fn hostile() -> Settled {
    let evil = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\r\n\0\u{7f}\u{85}\u{2028}";
    let mut settled = failed();
    settled.job.url = format!("http://h/{evil}");
    settled.job.origin.source = Arc::from(evil);
    settled.outcome = Outcome::Failed(Failure::new(ErrorClass::Protocol, 1, format!("bad \"header\" {evil}")));
    let stats = settled.stats.get_or_insert_default();
    stats.content_type = Some(evil.into());
    stats.url_effective = Some(evil.into());
    stats.remote_ip = Some(evil.into());
    let name = OsString::from_vec([b"\xff\xfe", evil.as_bytes()].concat());
    settled.saved.filename = Some(PathBuf::from(name));
    settled
}
