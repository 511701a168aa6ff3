//! The directory a case lives in.
//!
//! ```text
//! root/work     the current directory of the program
//! root/home     its HOME
//! root/canary   files that nothing may ever touch
//! root/trace    what strace wrote
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::Fetch;

/// Relative path → content. What is no regular file has a description in brackets as its content; directories that
/// hold something are not listed, empty ones end in `/`.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// One temporary directory with its canary; removed when the last clone is dropped.
#[derive(Clone)]
pub struct Place {
    root: Arc<TempDir>,
}

impl Place {
    /// A fresh place.
    pub fn new() -> Place {
        let root = tempfile::Builder::new().prefix("fetchmany-test-").tempdir().expect("make a temporary directory");
        let place = Place { root: Arc::new(root) };
        fs::create_dir(place.work()).expect("make work/");
        fs::create_dir(place.home()).expect("make home/");
        let canary = place.root.path().join("canary");
        fs::create_dir_all(canary.join("deep")).expect("make canary/");
        for name in ["canary.txt", "deep/canary.txt"] {
            fs::write(canary.join(name), "still here").expect("write a canary");
        }
        place
    }

    /// The program, to be run in this place.
    pub fn fetch(&self) -> Fetch {
        Fetch::at(self)
    }

    /// The program's current directory.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// The program's HOME.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// `name` below the current directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.work().join(name)
    }

    /// Writes a file below the current directory, with its directories.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("make its directories");
        fs::write(&path, content).expect("write a file of the case");
        path
    }

    /// The content of a file below the current directory.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|err| panic!("read {name}: {err}; there is {:?}", self.names(".")))
    }

    /// The content of a file below the current directory as text.
    #[track_caller]
    pub fn read_text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("text")
    }

    /// Whether anything has this name, a dangling link included.
    pub fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Everything below a directory of the current directory; empty when it does not exist.
    pub fn tree(&self, dir: &str) -> Tree {
        tree(&self.path(dir))
    }

    /// The paths of [`Place::tree`].
    pub fn names(&self, dir: &str) -> Vec<String> {
        self.tree(dir).into_keys().collect()
    }

    /// Everything in this place that is not below the current directory.
    pub fn outside(&self) -> Tree {
        let mut found = tree(self.root.path());
        found.retain(|path, _| path != "trace" && path != "work/" && !path.starts_with("work/"));
        found
    }

    /// Where [`Fetch::strace`] has strace write.
    pub(super) fn trace_file(&self) -> PathBuf {
        self.root.path().join("trace")
    }
}

/// Everything below `dir`; empty when it does not exist.
pub fn tree(dir: &Path) -> Tree {
    let mut found = Tree::new();
    walk(dir, "", &mut found);
    found
}

fn walk(dir: &Path, prefix: &str, found: &mut Tree) {
    // What vanishes between listing and reading is a file of a program that still runs: not there.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            let before = found.len();
            walk(&path, &format!("{name}/"), found);
            if found.len() == before {
                found.insert(format!("{name}/"), Vec::new());
            }
        } else if kind.is_file() {
            if let Ok(content) = fs::read(&path) {
                found.insert(name, content);
            }
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap_or_default();
            found.insert(name, format!("[link to {}]", target.display()).into_bytes());
        } else {
            found.insert(name, b"[no regular file]".to_vec());
        }
    }
}
