//! `cargo fuzz` runs the entry `proxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("proxy", data));
