//! Sans-IO codecs, both directions in one file each: bytes in, borrowed values out.
//!
//! Must never be true: a codec that knows a socket, a clock or a config, or that buffers before it
//! has checked a limit. Called by the server, the HSM session, the load generator and the fuzzers.

pub mod base64;
pub mod http;
pub mod json;
pub mod kmip;
pub mod transit;
pub mod ttlv;

/// What a decoder made of the bytes so far.
#[derive(Debug, Eq, PartialEq)]
pub enum Step<T> {
    /// A whole item and the bytes it used.
    Item(T, usize),
    /// At least this many more bytes are needed; never zero.
    Need(usize),
}
