//! `cargo fuzz` runs the entry `keystore`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("keystore", data));
