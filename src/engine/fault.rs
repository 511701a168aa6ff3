//! Faults that tests ask for, since nothing else brings them about. A release build has none.

use std::cell::Cell;

/// What goes wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The n-th socket action fails, as if libcurl had said so.
    #[cfg(debug_assertions)]
    Action(u64),
    /// libcurl cannot use descriptors of 1024 and above.
    #[cfg(debug_assertions)]
    Select,
    /// A callback panics at the n-th of what passes through it.
    #[cfg(debug_assertions)]
    Panic(Callback, u64),
}

/// A callback of libcurl, and what is counted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    /// Bytes of all bodies.
    Write,
    /// Calls for sockets.
    Socket,
    /// Calls for the timer.
    Timer,
}

/// Counts what passes through a callback, and panics at the number that was asked for.
#[derive(Debug, Default)]
pub struct Trap {
    left: Cell<Option<u64>>,
}

impl Trap {
    /// The trap for this callback; one that never springs unless `fault` is for it.
    #[cfg_attr(not(debug_assertions), allow(unused_variables))]
    pub fn new(fault: Option<Fault>, callback: Callback) -> Trap {
        let left = match fault {
            #[cfg(debug_assertions)]
            Some(Fault::Panic(at, number)) if at == callback => Some(number),
            _ => None,
        };
        Trap { left: Cell::new(left) }
    }

    /// So many more pass.
    pub fn pass(&self, count: u64) {
        if let Some(left) = self.left.get() {
            assert!(left > count, "a panic that was asked for");
            self.left.set(Some(left - count));
        }
    }
}
