//! `cargo fuzz` runs the entry `http_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("http_request", data));
