//! `cargo fuzz` runs the entry `kmip_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("kmip_request", data));
