//! The program after its end: what it said and left, and assertions that show everything when they fail.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde_json::Value;

use super::running::describe_status;
use super::{Fetch, Place, Tree};

/// What was there before the program started.
pub struct Before {
    pub(super) place: Place,
    pub(super) args: Vec<String>,
    pub(super) command_line: String,
    pub(super) work: Tree,
    pub(super) outside: Tree,
}

impl Before {
    pub(super) fn look(fetch: &Fetch) -> Before {
        let shown = |arg: &std::ffi::OsString| arg.to_string_lossy().into_owned();
        Before {
            place: fetch.place.clone(),
            args: fetch.args.iter().map(shown).collect(),
            command_line: fetch.argv().iter().map(|arg| quoted(&shown(arg))).collect::<Vec<_>>().join(" "),
            work: fetch.place.tree("."),
            outside: fetch.place.outside(),
        }
    }

    /// Command, directory, how it ended, and both streams.
    pub(super) fn describe(&self, end: &str, stdout: &[u8], stderr: &[u8]) -> String {
        format!(
            "command: {}\ndirectory: {}\nstatus: {end}\n--- stdout ---\n{}\n--- stderr ---\n{}\n---",
            self.command_line,
            self.place.work().display(),
            excerpt(stdout),
            excerpt(stderr),
        )
    }
}

/// A run that has ended.
pub struct Finished {
    /// What it wrote to standard output; empty when that was given away.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    pub(super) before: Before,
    status: ExitStatus,
}

impl Finished {
    pub(super) fn new(before: Before, status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Finished {
        let finished = Finished { stdout, stderr, before, status };
        assert_eq!(finished.place().outside(), finished.before.outside, "something outside was touched\n{finished}");
        finished
    }

    /// It ended by itself with this code.
    #[track_caller]
    pub fn assert_exit(&self, code: i32) -> &Finished {
        assert_eq!(self.status.code(), Some(code), "exit code\n{self}");
        self
    }

    /// It died by this signal.
    #[track_caller]
    pub fn assert_signal(&self, signal: Signal) -> &Finished {
        assert_eq!(self.status.signal(), Some(signal.as_raw()), "death by a signal\n{self}");
        self
    }

    /// The exit code; `None` after a death by a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal it died by.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Standard output as text.
    #[track_caller]
    pub fn stdout_text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or_else(|err| panic!("stdout is no UTF-8: {err}\n{self}"))
    }

    /// Standard error as text.
    #[track_caller]
    pub fn stderr_text(&self) -> &str {
        std::str::from_utf8(&self.stderr).unwrap_or_else(|err| panic!("stderr is no UTF-8: {err}\n{self}"))
    }

    /// Standard error names this.
    #[track_caller]
    pub fn assert_stderr_has(&self, needle: &str) -> &Finished {
        assert!(self.stderr_text().contains(needle), "{needle:?} on stderr\n{self}");
        self
    }

    /// The records on standard output, one a line, in the order of their end.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        match parse_records(&self.stdout) {
            Ok(records) => records,
            Err(line) => panic!("this line on stdout is no JSON object: {line}\n{self}"),
        }
    }

    /// The records on standard output in input order.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        let mut records = self.json();
        records.sort_by_key(|record| record["urlnum"].as_u64());
        records
    }

    /// The only record.
    #[track_caller]
    pub fn record(&self) -> Value {
        let mut records = self.json();
        assert_eq!(records.len(), 1, "one record\n{self}");
        records.remove(0)
    }

    /// The results in input order.
    #[track_caller]
    pub fn results(&self) -> Vec<String> {
        let result = |record: &Value| record["result"].as_str().unwrap_or("no result").to_owned();
        self.records().iter().map(result).collect()
    }

    /// The only record tells of a failure of this class.
    #[track_caller]
    pub fn assert_failed(&self, class: &str) -> &Finished {
        let record = self.record();
        assert_eq!(record["result"], "failed", "{self}");
        assert_eq!(record["error_class"], class, "{self}");
        self
    }

    /// The only record tells of a failure of this class with libcurl's code.
    #[track_caller]
    pub fn assert_failed_with(&self, class: &str, exitcode: i32) -> &Finished {
        self.assert_failed(class);
        assert_eq!(self.record()["exitcode"], exitcode, "{self}");
        self
    }

    /// No stream, file or file name has one of the secrets of these cases, `S3CR3T-…`, but for the list `urls.txt` itself.
    #[track_caller]
    pub fn assert_tells_no_secret(&self) {
        let mut everything = self.place().tree(".");
        everything.remove("urls.txt");
        everything.insert("stdout".to_owned(), self.stdout.clone());
        everything.insert("stderr".to_owned(), self.stderr.clone());
        for (name, content) in everything {
            let text = format!("{name} {}", String::from_utf8_lossy(&content));
            assert!(!text.contains("S3CR3T"), "{name} tells a secret\n{self}");
        }
    }

    /// The place it ran in.
    pub fn place(&self) -> &Place {
        &self.before.place
    }

    /// The value that followed an option; the last one counts.
    pub(super) fn option(&self, names: &[&str]) -> Option<&str> {
        let at = self.before.args.iter().rposition(|arg| names.contains(&arg.as_str()))?;
        self.before.args.get(at + 1).map(String::as_str)
    }

    /// Whether an option was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.before.args.iter().any(|arg| arg == name)
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before.describe(&describe_status(self.status), &self.stdout, &self.stderr))
    }
}

/// One JSON object a line; the first line that is none is the error.
pub fn parse_records(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut records = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Value>(line) {
            Ok(record) if record.is_object() => records.push(record),
            _ => return Err(String::from_utf8_lossy(line).into_owned()),
        }
    }
    Ok(records)
}

fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
}

/// Both ends of a long stream, escaped so that a failing case cannot write to the terminal.
fn excerpt(bytes: &[u8]) -> String {
    const KEEP: usize = 6000;
    let shown = |part: &[u8]| part.escape_ascii().to_string().replace("\\n", "\n").replace("\\\"", "\"");
    if bytes.len() <= 2 * KEEP {
        return shown(bytes);
    }
    let left_out = bytes.len() - 2 * KEEP;
    format!("{}\n… {left_out} bytes …\n{}", shown(&bytes[..KEEP]), shown(&bytes[bytes.len() - KEEP..]))
}
