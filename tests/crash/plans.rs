//! The ways in which a list is fetched while it is killed.

use serde_json::json;

use super::{BIG, body, digits};
use crate::harness::Server;

/// One way.
pub struct Plan {
    /// By which `FETCHMANY_PLAN` chooses it.
    pub name: &'static str,
    pub options: &'static [&'static str],
    pub list: List,
}

/// What the lines are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// URLs that end in the names.
    Urls,
    /// The same, with bodies that take their time.
    Slow,
    /// Fewer than all, and in another order each time; in the end all.
    Changing,
    /// Objects with names of their own and checksums.
    Json,
    /// URLs whose names their server gives.
    Suggested,
    /// URLs of which three end in the same name.
    Shared,
    /// URLs that redirect, to the same host and to another one in turn; the bodies take their time.
    Moved,
}

const fn plan(name: &'static str, options: &'static [&'static str], list: List) -> Plan {
    Plan { name, options, list }
}

/// What is killed. `FETCHMANY_PLAN=rename cargo test crash` has one alone.
pub const PLANS: [Plan; 17] = [
    plan("skip", &["-j", "8", "--checksum-file", "sums"], List::Urls),
    plan("overwrite", &["-j", "8", "--if-exists", "overwrite", "--checksum-file", "sums"], List::Urls),
    plan("sync", &["-j", "8", "--sync", "--if-exists", "overwrite"], List::Urls),
    plan("many", &["-j", "50", "--if-exists", "overwrite", "--limit-rate", "40M"], List::Urls),
    plan("slow", &["-j", "12"], List::Slow),
    plan("slow-overwrite", &["-j", "12", "--if-exists", "overwrite", "--checksum-file", "sums"], List::Slow),
    plan("changing", &["-j", "8"], List::Changing),
    plan("json", &["-j", "8", "--input-format", "json"], List::Json),
    plan("suggested", &["-j", "8", "-J"], List::Suggested),
    plan("shared", &["-j", "8"], List::Shared),
    plan("suggested-overwrite", &["-j", "8", "-J", "--if-exists", "overwrite"], List::Suggested),
    plan("rename", &["-j", "8", "--if-exists", "rename"], List::Urls),
    plan("fail", &["-j", "8", "--if-exists", "fail"], List::Urls),
    plan("shared-rename", &["-j", "8", "--if-exists", "rename"], List::Shared),
    plan("moved", &["-j", "8"], List::Moved),
    plan("moved-overwrite", &["-j", "8", "--if-exists", "overwrite", "--checksum-file", "sums"], List::Moved),
    plan("suggested-rename", &["-j", "8", "-J", "--if-exists", "rename"], List::Suggested),
];

impl Plan {
    /// Whether half of the names are there before.
    pub fn meets_others(&self) -> bool {
        self.options.contains(&"--if-exists")
    }

    /// The paths of so many URLs.
    pub fn paths(&self, count: usize) -> Vec<String> {
        let kinds = match self.list {
            List::Slow | List::Moved => ["slow", "big", "slow", "small", "slow", "slow"],
            _ => ["small", "long", "small", "empty", "big", "small"],
        };
        let kind = |number: usize| kinds[number % kinds.len()];
        match self.list {
            List::Suggested => (0..count).map(|number| format!("/named/{}-{number}", kind(number))).collect(),
            List::Shared => (0..count).map(|number| format!("/{number}/{}-{}", kind(number / 3), number / 3)).collect(),
            List::Moved => {
                let to = |number: usize| ["here", "elsewhere"][number % 2];
                (0..count).map(|number| format!("/moved/{}/{}-{number}", to(number), kind(number))).collect()
            }
            _ => (0..count).map(|number| format!("/{}-{number}", kind(number))).collect(),
        }
    }

    /// The lines of `paths` on `server`.
    pub fn lines(&self, server: &Server, paths: &[String]) -> Vec<String> {
        let line = |path: &String| match self.list {
            List::Json => {
                let (url, content) = (server.url(path), body(path));
                let out = format!("below{path}");
                json!({"url": url, "out": out, "sha256": digits(&content), "size": content.len()}).to_string()
            }
            _ => server.url(path),
        };
        paths.iter().map(line).collect()
    }

    /// The name of what `path` leads to, where nothing is in its way.
    pub fn name(&self, path: &str) -> String {
        let last = path.rsplit('/').next().unwrap_or_default();
        match self.list {
            List::Json => format!("below/{last}"),
            List::Suggested => suggested(last),
            _ => last.to_owned(),
        }
    }
}

/// Which host has what has moved, and its path there.
pub fn moved(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/moved/")?;
    Some(rest.split_at(rest.find('/')?))
}

/// What the server calls it.
pub fn suggested(last: &str) -> String {
    format!("the {last}.bin")
}

/// How long the body of this kind is.
pub fn length(kind: &str, otherwise: usize) -> usize {
    match kind {
        "big" => BIG,
        "slow" => 2 * BIG,
        "long" => 70_000,
        "empty" => 0,
        _ => otherwise,
    }
}
