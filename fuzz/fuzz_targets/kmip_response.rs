//! `cargo fuzz` runs the entry `kmip_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kms_fuzz::run("kmip_response", data));
