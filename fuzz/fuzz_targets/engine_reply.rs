//! `cargo fuzz` runs the entry `engine_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("engine_reply", data));
