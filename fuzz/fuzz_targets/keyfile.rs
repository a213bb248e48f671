//! `cargo fuzz` runs the entry `keyfile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("keyfile", data));
