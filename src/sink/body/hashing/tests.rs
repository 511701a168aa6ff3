//! Bodies that continue what is there.

use super::*;
use crate::job::ErrorClass;
use crate::sink::testing::{checksum, continued};

#[test]
fn what_was_there_before_is_hashed_a_piece_at_a_time() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let content = vec![b'x'; 5_000_000];
    let mut body = continued(dir.path(), &content[..4_999_999], 5_000_000, checksum(&content))?;
    body.write(b"x").map_err(|failure| anyhow::anyhow!(failure.message))?;
    // With the byte that came a piece was read.
    let mut pieces = Vec::new();
    loop {
        let mut bytes = 1_500_000;
        let is_ready = body.catch_up(&mut bytes).is_ready();
        pieces.push(1_500_000 - bytes);
        if is_ready {
            break;
        }
    }
    assert_eq!(pieces, [1_500_000, 1_500_000, 5_000_000 - 3_000_000 - READ_BACK]);
    assert_eq!(body.catch_up(&mut 0), Poll::Ready(()));
    assert_eq!(body.verify(), Ok(()));
    Ok(())
}

#[test]
fn a_beginning_that_cannot_be_read_back_is_a_failure() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut body = continued(dir.path(), &[b'x'; 5_000_000], 6_000_000, checksum(b""))?;
    std::fs::File::options().write(true).open(dir.path().join("a.part"))?.set_len(2_000_000)?;
    let mut all = u64::MAX;
    assert_eq!(body.catch_up(&mut all), Poll::Ready(()));
    assert_eq!(body.verify().map_err(|failure| failure.class), Err(ErrorClass::Local));
    Ok(())
}
