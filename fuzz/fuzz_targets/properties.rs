//! `cargo fuzz` runs the entry `properties`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("properties", data));
