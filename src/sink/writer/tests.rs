//! The thread by itself, with files of memory and of the disk.

use super::*;
use std::fs::File;
use std::os::unix::fs::FileExt;

fn running() -> Option<Rc<Writer>> {
    let writer = Rc::new(Writer::default());
    writer.is_running().then_some(writer)
}

fn file() -> anyhow::Result<(File, Arc<OwnedFd>)> {
    let file = tempfile::tempfile()?;
    let descriptor = OwnedFd::from(file.try_clone()?);
    Ok((file, Arc::new(descriptor)))
}

#[test]
fn the_bytes_of_several_files_arrive_in_order_however_they_come() -> anyhow::Result<()> {
    let Some(writer) = running() else { return Ok(()) };
    let files = [file()?, file()?, file()?];
    let mut behind: Vec<Behind> = files.iter().filter_map(|(_, file)| Behind::new(&writer, file, 0)).collect();
    let mut expected = [const { Vec::new() }; 3];
    for round in 0..2000_usize {
        let (which, length) = (round / 3 % 3, [1, 16 * 1024, 13_312, 300_000][round % 4]);
        let data: Vec<u8> = (0..length).map(|at| (at ^ round) as u8).collect();
        behind[which].write(&data)?;
        expected[which].extend(data);
    }
    for ((file, _), (behind, expected)) in files.iter().zip(behind.iter().zip(expected)) {
        behind.settle()?;
        assert_eq!(file.metadata()?.len(), expected.len() as u64);
        let mut found = vec![0; expected.len()];
        file.read_exact_at(&mut found, 0)?;
        assert!(found == expected);
    }
    Ok(())
}

#[test]
fn an_error_is_told_and_nothing_is_written_behind_it() -> anyhow::Result<()> {
    let Some(writer) = running() else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("x");
    std::fs::write(&path, "before")?;
    let unwritable = Arc::new(OwnedFd::from(File::open(&path)?));
    let (other, good) = file()?;
    let behind = Behind::new(&writer, &unwritable, 0).zip(Behind::new(&writer, &good, 0));
    let Some((mut bad, mut good)) = behind else { return Ok(()) };
    good.write(b"good")?;
    // The first may be told of before it is found out.
    let _ = bad.write(b"bad");
    assert_eq!(bad.settle(), Err(Errno::BADF));
    assert_eq!(bad.write(b"worse"), Err(Errno::BADF));
    assert_eq!(bad.settle(), Err(Errno::BADF));
    good.write(b" and more")?;
    good.settle()?;
    assert_eq!(std::fs::read(&path)?, b"before");
    assert_eq!(other.metadata()?.len(), 13);
    Ok(())
}

#[test]
fn what_came_in_a_turn_is_written_without_more_of_it() -> anyhow::Result<()> {
    let Some(writer) = running() else { return Ok(()) };
    let (file, shared) = file()?;
    let Some(mut behind) = Behind::new(&writer, &shared, 5) else { return Ok(()) };
    behind.write(&[b'x'; 16 * 1024])?;
    writer.hand_over();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while file.metadata()?.len() != 5 + 16 * 1024 {
        assert!(std::time::Instant::now() < deadline, "{} bytes", file.metadata()?.len());
        thread::yield_now();
    }
    Ok(())
}

#[test]
fn who_has_settled_it_has_the_file_alone() -> anyhow::Result<()> {
    let Some(writer) = running() else { return Ok(()) };
    for _ in 0..200 {
        let (file, shared) = file()?;
        let Some(mut behind) = Behind::new(&writer, &shared, 0) else { return Ok(()) };
        behind.write(&[b'x'; 100_000])?;
        behind.settle()?;
        drop(behind);
        assert_eq!(Arc::strong_count(&shared), 1);
        assert_eq!(file.metadata()?.len(), 100_000);
    }
    Ok(())
}

/// Waits for the bell.
fn rung(writer: &Writer) -> anyhow::Result<()> {
    let bell = writer.bell().ok_or_else(|| anyhow::anyhow!("no bell"))?;
    let mut waits = [rustix::event::PollFd::new(&bell, rustix::event::PollFlags::IN)];
    let within = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    anyhow::ensure!(rustix::event::poll(&mut waits, Some(&within))? == 1, "it does not ring");
    rustix::io::read(bell, &mut [0; 8])?;
    Ok(())
}

#[test]
fn the_bell_rings_when_all_is_written_that_is_waited_for() -> anyhow::Result<()> {
    let Some(writer) = running() else { return Ok(()) };
    for _ in 0..200 {
        let (file, shared) = file()?;
        let Some(mut behind) = Behind::new(&writer, &shared, 0) else { return Ok(()) };
        behind.write(&[b'x'; 100_000])?;
        while behind.poll_settled().is_pending() {
            rung(&writer)?;
        }
        assert_eq!(file.metadata()?.len(), 100_000);
    }
    Ok(())
}

impl Writer {
    /// As if the thread had so many bytes, and did not get on.
    pub fn pretend(&self, bytes: usize) {
        if let State::Running(thread) = &*self.state.borrow() {
            thread.queued.store(bytes, Ordering::SeqCst);
        }
    }
}

#[test]
fn there_is_no_room_until_half_of_too_much_is_written() -> anyhow::Result<()> {
    let Some(writer) = running() else { return Ok(()) };
    let (_, shared) = file()?;
    let Some(mut behind) = Behind::new(&writer, &shared, 0) else { return Ok(()) };
    for (bytes, has_room) in [
        (WAITING, true),
        (WAITING + 1, false),
        (WAITING, false),
        (WAITING / 2 + 1, false),
        (WAITING / 2, true),
        (WAITING, true),
        (WAITING + 1, false),
    ] {
        writer.pretend(bytes);
        assert_eq!(writer.has_room(), has_room, "{bytes}");
    }
    writer.pretend(WAITING / 2);
    behind.write(b"x")?;
    behind.settle()?;
    rung(&writer)?;
    assert!(writer.has_room());
    Ok(())
}

#[test]
fn who_breaks_off_or_drops_it_does_not_wait_for_a_write_that_never_ends() -> anyhow::Result<()> {
    let Some(writer) = running() else { return Ok(()) };
    for leave in [drop, |behind: Behind| behind.break_off(Instant::now())] {
        let (_, shared) = file()?;
        let Some(mut behind) = Behind::new(&writer, &shared, 0) else { return Ok(()) };
        behind.write(b"x")?;
        let account = Arc::clone(&behind.account);
        account.balance().orders += 1;
        leave(behind);
        assert_eq!(account.error(), Err(Errno::CANCELED), "nothing is written to it any more");
    }
    Ok(())
}

#[test]
fn who_writes_itself_has_its_time_in_each_turn() {
    let writer = Writer::default();
    writer.itself(|| ());
    assert!(writer.has_time());
    writer.spend(Instant::now() - PATIENCE);
    assert!(!writer.has_time());
    writer.hand_over();
    assert!(writer.has_time());
}
