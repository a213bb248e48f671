//! `cargo fuzz` runs the entry `ciphertext_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("ciphertext_text", data));
