//! The room as a whole: each rule with a virtual clock, and whole runs against servers in virtual time.

mod chance;
mod dead;
mod fairness;
mod full;
mod hops;
mod local;
mod memory;
mod pauses;
mod rates;
mod retries;
mod scale;
mod search;
