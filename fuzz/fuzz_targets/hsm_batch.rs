//! `cargo fuzz` runs the entry `hsm_batch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("hsm_batch", data));
