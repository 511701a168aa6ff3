//! The tests of the program as its users meet it: one crate, one link.
//!
//! Every module is a subject; [`harness`] has the servers and the ways to run the program, [`layout`] holds the
//! source to its map.

mod harness;

mod fifo;
mod input;
mod layout;
mod load;
mod names;
mod politeness;
mod rates;
mod requests;
mod results;
mod retries;
mod servers;
mod signals;
mod sinks;
mod terminal;
mod tls;
