//! What every decoder, and the whole way of a request, must do with any bytes at all.
//!
//! An entry takes bytes and panics when an invariant is broken. The same entries run under
//! `cargo fuzz` (`fuzz_targets/`) and, with seeded mutation, on the stable toolchain
//! (`tests/mutation.rs`). See README.md.
#![allow(clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

pub mod engine;
pub mod files;
pub mod http;
pub mod json;
pub mod keyfile;
pub mod kmip;
pub mod proxy;
pub mod request_path;
pub mod toy_hsm;

#[allow(clippy::pedantic)]
#[path = "../../src/keystore/jks/encoder.rs"]
mod encoder;

use std::sync::OnceLock;

use kms::secret::{Arena, ArenaPlan, Mode};

/// One thing to feed.
pub struct Entry {
    /// As its program in `fuzz_targets/`.
    pub name: &'static str,
    /// Panics when an invariant is broken.
    pub run: fn(&[u8]),
    /// Inputs that are in order, to be spoilt.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Pieces of the format.
    pub tokens: &'static [&'static [u8]],
    /// Inputs of one run on the stable toolchain: as many as a second or two can bear.
    pub inputs: u32,
}

macro_rules! entries {
    ($($name:ident: $run:path, $seeds:path, $tokens:path, $inputs:literal;)*) => {
        /// All of them.
        pub const ENTRIES: &[Entry] = &[$(Entry {
            name: stringify!($name), run: $run, seeds: $seeds, tokens: $tokens, inputs: $inputs,
        }),*];
    };
}

entries! {
    http_request: http::request, http::request_seeds, http::TOKENS, 30_000;
    http_response: http::response, http::response_seeds, http::TOKENS, 30_000;
    json: json::json, json::body_seeds, json::TOKENS, 60_000;
    transit_body: json::transit_body, json::body_seeds, json::TOKENS, 30_000;
    transit_answer: json::transit_answer, json::answer_seeds, json::TOKENS, 60_000;
    ciphertext_text: json::ciphertext_text, json::ciphertext_seeds, json::TOKENS, 60_000;
    base64: json::base64, json::base64_seeds, json::TOKENS, 60_000;
    proxy: proxy::proxy, proxy::seeds, proxy::TOKENS, 60_000;
    engine_reply: engine::reply, engine::seeds, engine::TOKENS, 60_000;
    sealing_key: engine::sealing_key, engine::key_seeds, engine::KEY_TOKENS, 60_000;
    ttlv: kmip::ttlv, kmip::request_seeds, kmip::TOKENS, 60_000;
    kmip_request: kmip::request, kmip::request_seeds, kmip::TOKENS, 60_000;
    kmip_response: kmip::response, kmip::response_seeds, kmip::TOKENS, 60_000;
    hsm_batch: kmip::hsm_batch, kmip::batch_seeds, kmip::TOKENS, 200_000;
    keystore: files::keystore, files::keystore_seeds, files::BINARY_TOKENS, 15_000;
    properties: files::properties, files::properties_seeds, files::PROPERTIES_TOKENS, 1_500;
    keyfile: keyfile::keyfile, keyfile::seeds, keyfile::TOKENS, 3_000;
    request_path: request_path::request_path, request_path::seeds, PATH_TOKENS, 5_000;
}

/// Words of HTTP and of Transit.
const PATH_TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"POST /v1/transit/decrypt/demo HTTP/1.1\r\n",
    b"Content-Length: 0\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"0\r\n\r\n",
    b"\"",
    b",",
    b"vault:v1:",
    b"vault:v2:",
    b"demo2",
    b"demo",
    b"null",
    b"\"batch_input\":",
    b"\"associated_data\":\"YWQ=\",",
    b"HEAD",
    b"decrypt",
    b"encrypt",
    b"keys",
    b"\\u0041",
    b"\xff",
];

/// Finds an entry by name and runs it on `data`; for the programs in `fuzz_targets/`.
pub fn run(name: &str, data: &[u8]) {
    let entry = ENTRIES
        .iter()
        .find(|entry| entry.name == name)
        .expect("an entry of this name");
    (entry.run)(data);
}

/// One for the process.
pub(crate) fn arena() -> &'static Arena {
    static ARENA: OnceLock<&'static Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        let plan = ArenaPlan {
            key_bytes: 512 * 1024,
            large_count: 8,
            large_bytes: 16 * 1024,
            buffer_bytes: 512 * 1024,
            mode: Some(Mode::Mlock),
        };
        Arena::reserve(&plan).expect("1.2 MiB of locked memory")
    })
}
