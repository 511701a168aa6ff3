//! Retry-After.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::retry_after(data));
