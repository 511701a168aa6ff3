//! The config file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::config(data));
