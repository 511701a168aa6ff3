//! The line reader and what lines mean.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::lines(data));
