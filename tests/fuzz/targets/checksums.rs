//! The checksum file reader.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::checksums(data));
