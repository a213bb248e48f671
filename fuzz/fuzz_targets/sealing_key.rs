//! `cargo fuzz` runs the entry `sealing_key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("sealing_key", data));
