//! What every case is made of: a directory of its own, the program run in it, and the servers it talks to.
//!
//! Nothing here knows a rule of the program except [`invariants`], which holds after every run.

pub mod authority;
pub mod clock;
pub mod command;
pub mod dns;
pub mod finished;
pub mod frames;
pub mod http;
pub mod invariants;
pub mod log;
pub mod nginx;
pub mod place;
pub mod pty;
pub mod raw;
pub mod reply;
pub mod running;
pub mod strace;
pub mod wait;

pub use authority::{Authority, Identity};
pub use command::Fetch;
pub use finished::Finished;
pub use http::{Server, echo};
pub use log::Seen;
pub use nginx::Nginx;
pub use place::{Place, Tree};
pub use raw::{Raw, Step};
pub use reply::{Gate, Reply};
pub use running::{Running, Stream};
pub use wait::{until, until_within};
