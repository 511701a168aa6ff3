//! What holds after every run, whatever was fed to it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::Finished;
use super::finished::parse_records;

/// The keys of every record.
pub const KEYS: [&str; 34] = [
    "url",
    "url_effective",
    "filename_effective",
    "http_code",
    "http_version",
    "content_type",
    "size_download",
    "speed_download",
    "num_redirects",
    "num_retries",
    "num_connects",
    "remote_ip",
    "remote_port",
    "scheme",
    "exitcode",
    "errormsg",
    "time_namelookup",
    "time_connect",
    "time_appconnect",
    "time_starttransfer",
    "time_total",
    "urlnum",
    "conn_id",
    "xfer_id",
    "result",
    "error_class",
    "source",
    "line",
    "size",
    "resume_from",
    "sha256",
    "time_queue",
    "id",
    "host_paused",
];

impl Finished {
    /// Holds a run that was given `accepted` lines to every rule that does not depend on the case:
    /// one record each with every key, files and records telling the same, nothing touched outside, clean streams.
    #[track_caller]
    pub fn check_invariants(&self, accepted: usize) -> &Finished {
        if let Some(records) = self.all_records() {
            self.check_one_record_each(&records, accepted);
            self.check_files_match_records(&records);
        }
        if !self.writes_bodies_to_stdout() {
            self.check_clean("stdout", &self.stdout);
        }
        self.check_clean("stderr", &self.stderr);
        self
    }

    /// The records, wherever this command line sends them; `None` when it sends them nowhere.
    #[track_caller]
    fn all_records(&self) -> Option<Vec<Value>> {
        let found = if let Some(file) = self.option(&["--results"]) {
            parse_records(&self.place().read(file))
        } else if !self.has("--json") {
            return None;
        } else {
            parse_records(&self.stdout)
        };
        Some(found.unwrap_or_else(|line| panic!("this record is no JSON object: {line}\n{self}")))
    }

    #[track_caller]
    fn check_one_record_each(&self, records: &[Value], accepted: usize) {
        let mut numbers: Vec<Option<u64>> = records.iter().map(|record| record["urlnum"].as_u64()).collect();
        numbers.sort();
        let expected: Vec<Option<u64>> = (0..accepted as u64).map(Some).collect();
        assert!(numbers == expected, "{accepted} lines, one record each; there are {} records\n{self}", records.len());
        for record in records {
            let object = record.as_object().expect("parsed as an object");
            for key in KEYS {
                assert!(object.contains_key(key), "no key {key} in {record}\n{self}");
            }
            let result = record["result"].as_str().unwrap_or_default();
            assert!(["ok", "failed", "skipped", "cancelled"].contains(&result), "result of {record}\n{self}");
            if result == "failed" {
                assert!(record["error_class"].is_string() && record["errormsg"].is_string(), "why {record}\n{self}");
                assert!(record["exitcode"].as_i64().is_some_and(|code| code != 0), "code of {record}\n{self}");
            }
            if result == "ok" {
                assert!(
                    record["error_class"].is_null() && record["exitcode"] == 0,
                    "ok and an error: {record}\n{self}"
                );
            }
        }
    }

    /// A file is at its final name if and only if its record says so, or it was there before.
    #[track_caller]
    fn check_files_match_records(&self, records: &[Value]) {
        let mut told: BTreeMap<String, &Value> = BTreeMap::new();
        for record in records.iter().filter(|record| record["result"] == "ok") {
            if let Some(name) = record["filename_effective"].as_str() {
                told.insert(self.relative(name), record);
            }
        }
        let after = self.place().tree(".");
        for (name, record) in &told {
            let found = after.get(name).unwrap_or_else(|| panic!("{name} is ok, but not there: {record}\n{self}"));
            assert_eq!(record["size"], found.len(), "size of {name}: {record}\n{self}");
        }
        let made_for_options = ["--results", "--failed", "--fifo", "--journal"];
        let named: Vec<String> =
            made_for_options.iter().filter_map(|name| self.option(&[name])).map(|name| self.relative(name)).collect();
        for (name, content) in &after {
            let partial = name.ends_with(".part") || name.ends_with(".part.meta");
            let as_before = self.before.work.get(name) == Some(content);
            let accounted =
                as_before || told.contains_key(name) || partial || named.contains(name) || name.ends_with('/');
            assert!(accounted, "{name} is there or changed, and no record says so\n{self}");
        }
        let used_up = |name: &&String| name.ends_with('/') || name.ends_with(".part") || name.ends_with(".part.meta");
        for name in self.before.work.keys().filter(|name| !used_up(name)) {
            assert!(after.contains_key(name), "{name} was there before and is gone\n{self}");
        }
    }

    /// A path as the program tells it, relative to its current directory.
    fn relative(&self, name: &str) -> String {
        let path = Path::new(name);
        let path = path.strip_prefix(self.place().work()).unwrap_or(path);
        let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        path.to_string_lossy().into_owned()
    }

    #[track_caller]
    fn check_clean(&self, stream: &str, bytes: &[u8]) {
        if let Some(found) = first_unclean(bytes) {
            panic!("{found:?} on {stream}\n{self}");
        }
    }

    fn writes_bodies_to_stdout(&self) -> bool {
        self.option(&["-o", "--output"]) == Some("-")
    }
}

/// The first thing in printed text that a terminal could take for a command or show in a misleading order: a control
/// character other than line feed and TAB, a bidirectional control, or what is no UTF-8.
pub fn first_unclean(bytes: &[u8]) -> Option<char> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Some(char::REPLACEMENT_CHARACTER) };
    let bidirectional =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().find(|&c| (c.is_control() && c != '\n' && c != '\t') || bidirectional(c))
}

#[test]
fn unclean_text_is_found_whatever_way_it_is_written() {
    assert_eq!(first_unclean("bücher\tand more\n".as_bytes()), None);
    for (bytes, found) in [
        (&b"a\x1b[2J"[..], '\x1b'),
        (b"a\r\n", '\r'),
        (b"\x7f", '\x7f'),
        ("\u{9b}2J".as_bytes(), '\u{9b}'),
        ("\u{202e}gpj".as_bytes(), '\u{202e}'),
        (b"\xff", char::REPLACEMENT_CHARACTER),
    ] {
        assert_eq!(first_unclean(bytes), Some(found));
    }
}
