//! The tests of the program as its users meet it: one crate, one link.
//!
//! Every module is a subject; [`harness`] has the servers and the ways to run the program, [`layout`] holds the
//! source to its map.

// A case that is skipped says so.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod harness;

mod auto;
mod bandwidth;
mod behind;
mod checksums;
mod clients;
mod clocks;
mod codings;
mod config;
mod cookies;
mod crash;
mod daemon;
mod disk;
mod dns;
mod drips;
mod dry_run;
mod escapes;
mod fairness;
mod faults;
mod fifo;
mod frames;
mod full_disk;
mod habits;
mod handshakes;
mod help;
mod hops;
mod http2;
mod identity;
mod input;
mod journal;
mod json;
mod layout;
mod load;
mod names;
mod options;
mod ordered;
mod owners;
mod politeness;
mod progress;
mod rates;
mod redirects;
mod remains;
mod requests;
mod results;
mod resume;
mod retries;
mod secrets;
mod servers;
mod shells;
mod shortages;
mod signals;
mod sinks;
mod slow_disk;
mod standard_input;
mod state_files;
mod strangers;
mod streams;
mod suggested;
mod terminal;
mod tls;
mod trust;
mod updates;
mod writeout;
