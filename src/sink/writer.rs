//! A thread that takes the bytes of large bodies to the disk, so that one core receives while another writes, and a
//! slow disk holds up nobody who does not write to it.
//!
//! It writes the pieces of a file in the order in which they came, so that a kill leaves the beginning of the file and
//! no holes. Whoever brings bytes asks first whether there is room, and is told by the bell when there is again. Must not
//! know what the files are for.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::io::{Errno, Result};

use super::sys;

/// Most bytes written at a time.
const PIECE: usize = 512 * 1024;

/// Bytes that may wait. With more the network is faster than the disk, and whoever brings them waits until half are
/// written: a wait for each piece would be two changes of threads for each.
const WAITING: usize = 8 * 1024 * 1024;

/// Bytes that may wait of those who cannot stop in the middle, as what a decoder makes of a few.
const MOST: usize = 4 * WAITING;

/// Pieces kept to be used again.
const SPARE: usize = WAITING / PIECE;

/// How long whoever brings bytes waits for room in a turn: a disk about as fast as the network has made some by then,
/// and to stop a transfer and have it go on costs more. The others wait meanwhile.
const BRIEFLY: Duration = Duration::from_millis(20);

/// How long the thread of all transfers may write itself in a turn.
const PATIENCE: Duration = Duration::from_millis(250);

/// Writes for many files, in one thread that begins with the first of them.
#[derive(Debug)]
pub struct Writer {
    state: RefCell<State>,
    /// `None`: there is none to be had, and so no thread.
    bell: Option<Arc<OwnedFd>>,
    /// What this turn spent on writing and on waiting for room.
    spent: Cell<Duration>,
}

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
    queued: Arc<AtomicUsize>,
    /// There were too many, and not yet half are written.
    is_full: bool,
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
    /// Whether the bell is to be rung when nothing is left.
    is_awaited: bool,
    /// Whether nobody waits for it any more.
    is_left: bool,
}

impl Account {
    fn balance(&self) -> MutexGuard<'_, Balance> {
        // Nobody panics while it is locked, and a number is never half written.
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self) -> Result<()> {
        self.balance().error.map_or(Ok(()), Err)
    }

    /// Waits until nothing is left, or until then.
    fn settled(&self, until: Option<Instant>) -> Result<()> {
        let mut balance = self.balance();
        while balance.orders > 0 && !balance.is_left {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                (balance.is_left, balance.error) = (true, balance.error.or(Some(Errno::CANCELED)));
                break;
            }
            balance = self.changed.wait_timeout(balance, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        balance.error.map_or(Ok(()), Err)
    }
}

/// A file that is written by a [`Writer`]. Dropped it is broken off at once, unless it was settled.
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
        let State::Running(thread) = &mut *self.writer.state.borrow_mut() else { return Err(Errno::BADF) };
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
        self.hand_over();
        self.account.settled(None)
    }

    /// Whether all that was handed over is written, or failed. The bell rings when it is.
    pub fn poll_settled(&self) -> Poll<()> {
        self.hand_over();
        let mut balance = self.account.balance();
        balance.is_awaited = balance.orders > 0;
        if balance.is_awaited { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Waits no longer than that. What is not written then never will be, but for what is just being written.
    pub fn break_off(self, until: Instant) {
        self.hand_over();
        // Who cares had asked before.
        let _ = self.account.settled(Some(until));
    }

    fn hand_over(&self) {
        if let State::Running(thread) = &mut *self.writer.state.borrow_mut()
            && thread.filling.as_ref().is_some_and(|order| self.is_of(order))
        {
            thread.hand_over();
        }
    }

    fn is_of(&self, order: &Order) -> bool {
        Arc::ptr_eq(&order.account, &self.account)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // Whoever cares has asked, and waited.
        let _ = self.account.settled(Some(Instant::now()));
    }
}

impl Default for Writer {
    fn default() -> Writer {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = bell.and_then(sys::above_standard).ok().map(Arc::new);
        Writer { state: RefCell::default(), bell, spent: Cell::default() }
    }
}

impl Writer {
    /// Has everything written that came so far. To be called at the end of each turn: what stays here would be lost by a
    /// kill however long ago it came.
    pub fn hand_over(&self) {
        self.spent.set(Duration::ZERO);
        if let State::Running(thread) = &mut *self.state.borrow_mut() {
            thread.hand_over();
        }
    }

    /// Becomes readable whenever [`Writer::has_room`] or [`Behind::poll_settled`] says something else than before. Each
    /// ring is a new edge; nobody has to read it.
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.bell.as_deref().map(AsFd::as_fd)
    }

    /// Whether more may be handed over; waits for it, but not for long.
    pub fn has_room(&self) -> bool {
        let State::Running(thread) = &mut *self.state.borrow_mut() else { return true };
        let queued = thread.queued();
        if queued <= WAITING && !thread.is_full {
            return true;
        }
        if !thread.is_full {
            let began = Instant::now();
            thread.is_full = !thread.makes_room(began + BRIEFLY.saturating_sub(self.spent.get()));
            self.spend(began);
        } else if queued <= WAITING / 2 {
            thread.is_full = false;
        }
        !thread.is_full
    }

    /// Whether whoever receives may write itself: it has not done so for too long in this turn.
    pub fn has_time(&self) -> bool {
        self.spent.get() < PATIENCE
    }

    /// What the thread that receives writes itself.
    pub fn itself<T>(&self, write: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let written = write();
        self.spend(began);
        written
    }

    fn spend(&self, began: Instant) {
        self.spent.set(self.spent.get() + began.elapsed());
    }

    fn is_running(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        if matches!(state, State::Idle) {
            *state = self.bell.as_ref().and_then(Thread::start).map_or(State::Alone, State::Running);
        }
        matches!(state, State::Running(_))
    }
}

impl Thread {
    fn start(bell: &Arc<OwnedFd>) -> Option<Thread> {
        thread::available_parallelism().ok().filter(|cores| cores.get() > 1)?;
        let (orders, todo) = channel::<Order>();
        let (done, written) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let (bell, left) = (Arc::clone(bell), Arc::clone(&queued));
        let work = move || {
            for Order { file, account, offset, data } in todo {
                let result = account.error().and_then(|()| sys::write_all_at(&file, &data, offset));
                // Before anyone is told: who closes the file then has closed it, and given up its lock.
                drop(file);
                let before = left.fetch_sub(data.len(), Ordering::SeqCst);
                let makes_room = before > WAITING / 2 && before - data.len() <= WAITING / 2;
                let mut balance = account.balance();
                balance.orders -= 1;
                balance.error = balance.error.or(result.err());
                let is_awaited = balance.is_awaited && balance.orders == 0;
                drop(balance);
                account.changed.notify_one();
                if done.send(data).is_err() {
                    return;
                }
                if makes_room || is_awaited {
                    // It cannot fail before it has rung 2^64 times.
                    let _ = rustix::io::write(&bell, &1_u64.to_ne_bytes());
                }
            }
        };
        thread::Builder::new().name("writer".to_owned()).spawn(work).ok()?;
        Some(Thread { orders, written, spare: Vec::new(), queued, is_full: false, filling: None })
    }

    fn queued(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    /// An empty piece.
    fn piece(&mut self) -> Vec<u8> {
        while let Ok(data) = self.written.try_recv() {
            self.take_back(data);
        }
        while self.queued() > MOST
            && let Ok(data) = self.written.recv()
        {
            self.take_back(data);
        }
        self.spare.pop().unwrap_or_default()
    }

    /// Whether half are written by then.
    fn makes_room(&mut self, until: Instant) -> bool {
        while self.queued() > WAITING / 2 {
            match self.written.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(data) => self.take_back(data),
                Err(_) => return false,
            }
        }
        true
    }

    fn take_back(&mut self, mut data: Vec<u8>) {
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
        self.queued.fetch_add(order.data.len(), Ordering::SeqCst);
        if let Err(lost) = self.orders.send(order) {
            self.queued.fetch_sub(lost.0.data.len(), Ordering::SeqCst);
            let mut balance = lost.0.account.balance();
            balance.orders -= 1;
            balance.error = Some(Errno::IO);
        }
    }
}

#[cfg(test)]
mod tests;
