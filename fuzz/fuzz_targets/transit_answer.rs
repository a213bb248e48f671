//! `cargo fuzz` runs the entry `transit_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("transit_answer", data));
