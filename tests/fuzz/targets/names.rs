//! From a URL, and from what a server suggests, to a name.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::names(data));
