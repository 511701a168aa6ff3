//! The file that `--cookie-jar` names: written once, at the end, whole or not at all, for its owner alone.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::replacement::Place;

/// What programs know the format by.
const HEAD: &str = "# Netscape HTTP Cookie File\n# Made by fetchmany: edits are lost.\n\n";

/// The file that is to be written.
pub struct JarFile(PathBuf);

impl JarFile {
    /// Prepares to write `path`, so that what cannot be written is known before anything is fetched; an error names it.
    pub fn open(path: PathBuf) -> anyhow::Result<JarFile> {
        check(&path).with_context(|| format!("cookie jar {}", path.display()))?;
        Ok(JarFile(path))
    }

    /// Puts these lines in place of what is there.
    pub fn save(self, lines: &[String]) -> anyhow::Result<()> {
        let mut text = String::from(HEAD);
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        let saved = Place::of(&self.0).and_then(|place| place.replace(|mut file| file.write_all(text.as_bytes())));
        saved.map(drop).with_context(|| format!("write the cookie jar {}", self.0.display()))
    }
}

/// Whether a file can be put there.
fn check(path: &Path) -> anyhow::Result<()> {
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => bail!("it is there and no regular file"),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Place::of(path)?.prove()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_jar_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jar");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        JarFile::open(path.clone()).unwrap().save(&["a\tb".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEAD}a\tb\n"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_a_jar_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), "/dev/null".into(), dir.path().join("missing/jar"), "/".into()] {
            let error = JarFile::open(path.clone()).err().unwrap().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        drop(JarFile::open(dir.path().join("jar")).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
