//! Files that belong to the run itself, such as its journal: where they lie below the output directory, and which they are.
//!
//! A download that took the place of one would take it from the run. Must not know what they are for.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::names;

/// Files of the run by where they are and by what they are.
#[derive(Debug, Default)]
pub struct Own {
    /// By their path below the output directory, whether or not they are there.
    pub names: Vec<(String, &'static str)>,
    /// By device and inode.
    pub files: HashMap<(u64, u64), &'static str>,
}

impl Own {
    /// Of the files at these paths, as they are now; `dir` is the output directory, empty for the current one.
    pub fn of(paths: &[(PathBuf, &'static str)], dir: &Path) -> Own {
        let mut own = Own::default();
        let Ok(dir) = std::fs::canonicalize(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) else {
            return own;
        };
        for (path, what) in paths {
            // The name that was typed, and where it leads: both are looked up again.
            let typed =
                parent(path).and_then(|parent| Some(std::fs::canonicalize(parent).ok()?.join(path.file_name()?)));
            for place in typed.into_iter().chain(std::fs::canonicalize(path)) {
                if let Some(name) = place.strip_prefix(&dir).ok().and_then(Path::to_str) {
                    // The partial file of another would be in the way of this one, or the other way about.
                    let names = [Some(name), names::whole_of(name)].into_iter().flatten();
                    own.names.extend(names.map(|name| (name.to_owned(), *what)));
                }
            }
            if let Ok(found) = std::fs::metadata(path) {
                own.files.insert((found.dev(), found.ino()), what);
            }
        }
        own
    }
}

/// The directory of `path`.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}
