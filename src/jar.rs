//! The file that `--cookie-jar` names: written once, at the end, whole or not at all, for its owner alone.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// What programs know the format by.
const HEAD: &str = "# Netscape HTTP Cookie File\n# Made by fetchmany: edits are lost.\n\n";

/// The file that is to be written.
pub struct JarFile {
    path: PathBuf,
    /// Made at the start, so that what cannot be written is known before anything is fetched.
    temporary: PathBuf,
}

impl JarFile {
    /// Prepares to write `path`; an error names it.
    pub fn open(path: PathBuf) -> anyhow::Result<JarFile> {
        let shown = path.display().to_string();
        let temporary = make(&path).with_context(|| format!("cookie jar {shown}"))?;
        Ok(JarFile { path, temporary })
    }

    /// Puts these lines in place of what is there.
    pub fn save(self, lines: &[String]) -> anyhow::Result<()> {
        let mut text = String::from(HEAD);
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        let write = || -> anyhow::Result<()> {
            let mut file = OpenOptions::new().write(true).open(&self.temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(std::fs::rename(&self.temporary, &self.path)?)
        };
        write().with_context(|| format!("write the cookie jar {}", self.path.display()))
    }
}

impl Drop for JarFile {
    fn drop(&mut self) {
        // Gone already where it was saved.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// An empty file beside `path`.
fn make(path: &Path) -> anyhow::Result<PathBuf> {
    let Some(name) = path.file_name() else { bail!("not the name of a file") };
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => bail!("it is there and no regular file"),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut beside = name.to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(beside);
    // Nobody else has it; what a killed run with the same number left is of no use.
    let _ = std::fs::remove_file(&temporary);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    Ok(temporary)
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
