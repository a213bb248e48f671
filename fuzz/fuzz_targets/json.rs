//! `cargo fuzz` runs the entry `json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("json", data));
