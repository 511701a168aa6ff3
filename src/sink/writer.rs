//! A thread that takes the bytes of large bodies to the disk, so that one core receives while another writes, and a
//! slow disk does not hold up other transfers at once.
//!
//! It writes the pieces of a file in the order in which they came, so that a kill leaves the beginning of the file and
//! no holes. Must not know what the files are for.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::{Errno, Result};

use super::sys;

/// Most bytes written at a time.
const PIECE: usize = 512 * 1024;

/// Bytes that may wait. With more the network is faster than the disk, and whoever brings them waits until half are
/// written: a wait for each piece would be two changes of threads for each.
const WAITING: usize = 8 * 1024 * 1024;

/// Pieces kept to be used again.
const SPARE: usize = WAITING / PIECE;

/// Writes for many files, in one thread that begins with the first of them.
#[derive(Debug, Default)]
pub struct Writer(RefCell<State>);

#[derive(Debug, Default)]
enum State {
    /// Nothing was to be written so far.
    #[default]
    Idle,
    /// There is no other core, or no other thread to be had.
    Alone,
    Running(Thread),
}

/// The thread, as the one that receives sees it.
#[derive(Debug)]
struct Thread {
    orders: Sender<Order>,
    /// Pieces that come back.
    written: Receiver<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// Bytes that the thread has.
    given: usize,
    /// What is put together of what comes in one turn.
    filling: Option<Order>,
}

/// Bytes to be written to a file.
#[derive(Debug)]
struct Order {
    file: Arc<OwnedFd>,
    account: Arc<Account>,
    /// Where in the file.
    offset: u64,
    data: Vec<u8>,
}

/// What is yet to be written to one file.
#[derive(Debug, Default)]
struct Account {
    balance: Mutex<Balance>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Balance {
    orders: usize,
    /// Why nothing more is written to it.
    error: Option<Errno>,
}

impl Account {
    fn balance(&self) -> MutexGuard<'_, Balance> {
        // Nobody panics while it is locked, and a number is never half written.
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self) -> Result<()> {
        self.balance().error.map_or(Ok(()), Err)
    }

    fn settled(&self) -> Result<()> {
        let mut balance = self.balance();
        while balance.orders > 0 {
            balance = self.changed.wait(balance).unwrap_or_else(PoisonError::into_inner);
        }
        balance.error.map_or(Ok(()), Err)
    }
}

/// A file that is written by a [`Writer`]. Dropped it has been settled.
#[derive(Debug)]
pub struct Behind {
    writer: Rc<Writer>,
    file: Arc<OwnedFd>,
    account: Arc<Account>,
    /// Where the next bytes belong.
    offset: u64,
}

impl Behind {
    /// `file`, written by `writer` from `offset` on; its position stays. `None`: the caller had better write itself.
    pub fn new(writer: &Rc<Writer>, file: &Arc<OwnedFd>, offset: u64) -> Option<Behind> {
        let (writer, file) = (Rc::clone(writer), Arc::clone(file));
        writer.is_running().then(|| Behind { writer, file, account: Arc::default(), offset })
    }

    /// Hands `data` over, to be written behind all that went before.
    ///
    /// # Errors
    /// That of an earlier write; nothing was written behind it.
    pub fn write(&mut self, mut data: &[u8]) -> Result<()> {
        let State::Running(thread) = &mut *self.writer.0.borrow_mut() else { return Err(Errno::BADF) };
        if thread.filling.as_ref().is_some_and(|order| !self.is_of(order)) {
            thread.hand_over();
        }
        while !data.is_empty() {
            let mut order = match thread.filling.take() {
                Some(order) => order,
                None => Order {
                    file: Arc::clone(&self.file),
                    account: Arc::clone(&self.account),
                    offset: self.offset,
                    data: thread.piece(),
                },
            };
            let (now, later) = data.split_at(data.len().min(PIECE - order.data.len()));
            order.data.extend_from_slice(now);
            self.offset += now.len() as u64;
            match order.data.len() == PIECE {
                true => thread.send(order),
                false => thread.filling = Some(order),
            }
            data = later;
        }
        self.account.error()
    }

    /// Waits until all that was handed over is written, and what was handed over before it for other files.
    ///
    /// # Errors
    /// That of the first write that failed.
    pub fn settle(&self) -> Result<()> {
        if let State::Running(thread) = &mut *self.writer.0.borrow_mut()
            && thread.filling.as_ref().is_some_and(|order| self.is_of(order))
        {
            thread.hand_over();
        }
        self.account.settled()
    }

    fn is_of(&self, order: &Order) -> bool {
        Arc::ptr_eq(&order.account, &self.account)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // Who cares has asked.
        let _ = self.settle();
    }
}

impl Writer {
    /// Has everything written that came so far. To be called at the end of each turn: what stays here would be lost by a
    /// kill however long ago it came.
    pub fn hand_over(&self) {
        if let State::Running(thread) = &mut *self.0.borrow_mut() {
            thread.hand_over();
        }
    }

    fn is_running(&self) -> bool {
        let state = &mut *self.0.borrow_mut();
        if matches!(state, State::Idle) {
            *state = Thread::start().map_or(State::Alone, State::Running);
        }
        matches!(state, State::Running(_))
    }
}

impl Thread {
    fn start() -> Option<Thread> {
        thread::available_parallelism().ok().filter(|cores| cores.get() > 1)?;
        let (orders, todo) = channel::<Order>();
        let (done, written) = channel();
        let work = move || {
            for Order { file, account, offset, data } in todo {
                let result = account.error().and_then(|()| sys::write_all_at(&file, &data, offset));
                // Before anyone is told: who closes the file then has closed it, and given up its lock.
                drop(file);
                let mut balance = account.balance();
                balance.orders -= 1;
                balance.error = balance.error.or(result.err());
                drop(balance);
                account.changed.notify_one();
                if done.send(data).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("writer".to_owned()).spawn(work).ok()?;
        Some(Thread { orders, written, spare: Vec::new(), given: 0, filling: None })
    }

    /// An empty piece. Waits for the thread when it has too much.
    fn piece(&mut self) -> Vec<u8> {
        while let Ok(data) = self.written.try_recv() {
            self.take_back(data);
        }
        if self.given > WAITING {
            while self.given > WAITING / 2
                && let Ok(data) = self.written.recv()
            {
                self.take_back(data);
            }
        }
        self.spare.pop().unwrap_or_default()
    }

    fn take_back(&mut self, mut data: Vec<u8>) {
        self.given -= data.len();
        if self.spare.len() < SPARE {
            data.clear();
            self.spare.push(data);
        }
    }

    /// Gives the thread what was put together so far.
    fn hand_over(&mut self) {
        if let Some(order) = self.filling.take() {
            self.send(order);
        }
    }

    fn send(&mut self, order: Order) {
        order.account.balance().orders += 1;
        self.given += order.data.len();
        if let Err(lost) = self.orders.send(order) {
            self.given -= lost.0.data.len();
            let mut balance = lost.0.account.balance();
            balance.orders -= 1;
            balance.error = Some(Errno::IO);
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn who_drops_it_has_the_file_alone() -> anyhow::Result<()> {
        let Some(writer) = running() else { return Ok(()) };
        for _ in 0..200 {
            let (file, shared) = file()?;
            let mut behind = Behind::new(&writer, &shared, 0);
            behind.as_mut().map_or(Ok(()), |behind| behind.write(&[b'x'; 100_000]))?;
            drop(behind);
            assert_eq!(Arc::strong_count(&shared), 1);
            assert_eq!(file.metadata()?.len(), 100_000);
        }
        Ok(())
    }
}
