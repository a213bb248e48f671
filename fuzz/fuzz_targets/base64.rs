//! `cargo fuzz` runs the entry `base64`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("base64", data));
