//! Files by themselves.

use std::sync::Arc;

use super::*;
use rustix::fs::MemfdFlags;

#[test]
fn a_file_that_cannot_be_linked_is_copied_and_nothing_is_replaced() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let tree = Rc::new(Tree::open(dir.path().to_owned())?);
    let name = Name::new("a/x".to_owned());
    let mut file = OutputFile::new(Rc::clone(&tree), name, Replace::Nothing, None);
    // It is on another file system, so linkat says EXDEV.
    let elsewhere = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC)?;
    sys::write_all(&elsewhere, &[b'x'; 200_000])?;
    sys::set_modified(&elsewhere, 1_000_000_000)?;
    file.state = State::Unnamed(elsewhere);
    let publish = |file: &mut OutputFile| file.publish().map_err(|fault| anyhow::anyhow!(fault.into_failure().message));
    std::fs::create_dir(dir.path().join("a"))?;
    std::fs::write(dir.path().join("a/x"), "before")?;
    assert_eq!(publish(&mut file)?, Published::Exists);
    assert_eq!(std::fs::read(dir.path().join("a/x"))?, b"before");
    file.retarget(Name::new("a/y".to_owned()));
    assert_eq!(publish(&mut file)?, Published::Done);
    assert!(!tree.links_unnamed());
    assert_eq!(std::fs::read(dir.path().join("a/y"))?, [b'x'; 200_000]);
    let modified = std::fs::metadata(dir.path().join("a/y"))?.modified()?;
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH)?.as_secs(), 1_000_000_000);
    assert_eq!(std::fs::read_dir(dir.path().join("a"))?.count(), 2);
    Ok(())
}

#[test]
fn a_small_file_may_grow_beside_a_slow_large_one_but_not_at_one_go() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let tree = Rc::new(Tree::open(dir.path().to_owned())?);
    let shared = Arc::new(OwnedFd::from(tempfile::tempfile()?));
    let Some(large) = Behind::new(tree.writer(), &shared, 0) else { return Ok(()) };
    let small = OutputFile::new(Rc::clone(&tree), Name::new("x".to_owned()), Replace::Nothing, None);
    assert!(small.has_room(false) && small.has_room(true));
    tree.writer().pretend(usize::MAX / 2);
    assert!(small.has_room(false) && !small.has_room(true));
    tree.writer().pretend(0);
    drop(large);
    Ok(())
}
