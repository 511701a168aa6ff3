//! Partial files that replace something, beside other processes.

use std::fs;
use std::path::Path;

use super::*;
use crate::sink::tree::{Missing, Tree};

/// A file with the content "new", published as `a`, where "old" was and can be brought back.
fn published(dir: &Path) -> anyhow::Result<(Part, Tree)> {
    fs::write(dir.join("a"), "old")?;
    let tree = Tree::open(dir.to_owned())?;
    let fd = tree.directory("", Missing::Report)?;
    let mut part = made(&fd, &tree)?;
    sys::write_all(part.file(), b"new")?;
    let published = part.publish(&fd, &Name::new("a".to_owned()), tree.ours(), Replace::Reversibly);
    assert_eq!(published.ok(), Some(Published::Done));
    Ok((part, tree))
}

fn made(fd: &OwnedFd, tree: &Tree) -> anyhow::Result<Part> {
    let made = Part::create(fd, "a", tree.ours(), &SideCar::of_nothing());
    made.map_err(|fault| anyhow::anyhow!(fault.into_failure().message))
}

#[test]
fn what_was_replaced_is_left_alone_until_it_is_known_whether_it_is_needed() -> anyhow::Result<()> {
    for is_kept in [true, false] {
        let dir = tempfile::tempdir()?;
        let (part, tree) = published(dir.path())?;
        let fd = tree.directory("", Missing::Report)?;
        let error = made(&fd, &tree).expect_err("it is not to be cleared");
        assert!(error.to_string().contains("another process is writing a.part"), "{error}");
        match is_kept {
            true => part.stay(&fd, tree.ours()),
            false => part.take_back(&fd, "a", tree.ours()),
        }
        assert_eq!(fs::read_to_string(dir.path().join("a"))?, if is_kept { "new" } else { "old" });
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        made(&fd, &tree)?;
    }
    Ok(())
}

#[test]
fn what_another_process_put_where_it_was_is_not_exchanged() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (part, tree) = published(dir.path())?;
    let fd = tree.directory("", Missing::Report)?;
    // As where there are no locks.
    fs::rename(dir.path().join("a.part"), dir.path().join("elsewhere"))?;
    fs::write(dir.path().join("a.part"), "half")?;
    part.take_back(&fd, "a", tree.ours());
    let read = |name| fs::read_to_string(dir.path().join(name));
    assert_eq!((read("a")?, read("a.part")?), ("new".to_owned(), "half".to_owned()));
    Ok(())
}
