//! Content-Range, alone and in a whole head.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::content_range(data));
