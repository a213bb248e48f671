//! `cargo fuzz` runs the entry `request_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("request_path", data));
