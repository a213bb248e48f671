//! From an HTTP request to a closed [`Command`], and from an outcome to an HTTP answer.
//!
//! One file an endpoint group. Must never be true: a path that reaches the engine without being a
//! [`Command`]; an error that becomes an HTTP answer anywhere but in [`fault`]. Called by `engine`
//! and `server`.

pub mod auth;
mod crypt;
pub mod fault;
mod keys;
pub mod reply;
mod route;

pub use fault::Fault;

use crate::wire::http::Request;
use crate::wire::transit::{CryptBody, KeyBody};

/// Everything a client may ask. Key names obey Transit's rule `\w(([\w-.]+)?\w)?`.
pub enum Command<'a> {
    /// Wrap: `POST|PUT /v1/transit/encrypt/:key`.
    Encrypt {
        /// Key name.
        key: &'a str,
        /// One item or a batch.
        body: CryptBody<'a>,
    },
    /// Unwrap: `POST|PUT /v1/transit/decrypt/:key`.
    Decrypt {
        /// Key name.
        key: &'a str,
        /// One item or a batch.
        body: CryptBody<'a>,
    },
    /// `POST|PUT /v1/transit/keys/:key`.
    CreateKey {
        /// Key name.
        key: &'a str,
        /// Type and options.
        body: KeyBody<'a>,
    },
    /// `GET /v1/transit/keys/:key`.
    ReadKey {
        /// Key name.
        key: &'a str,
    },
    /// `GET|HEAD /v1/sys/health`.
    Health,
}

/// Decides what `request` asks for, body included.
pub fn parse<'a>(request: &Request<'a>) -> Result<Command<'a>, Fault> {
    if request.head.wrap_ttl {
        return Err(Fault::new(
            400,
            "response wrapping (X-Vault-Wrap-TTL) is not served: the answer would carry plaintext",
        ));
    }
    match route::route(&request.head)? {
        route::Endpoint::Encrypt(key) => crypt::encrypt(key, request),
        route::Endpoint::Decrypt(key) => crypt::decrypt(key, request),
        route::Endpoint::Key(key) => keys::key(key, request),
        route::Endpoint::Health => Ok(Command::Health),
    }
}
