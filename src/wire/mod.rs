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

/// Where encoders write. Implemented for `Vec<u8>` and for the server's locked scratch.
pub trait Out {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
    /// Bytes written so far.
    fn len(&self) -> usize;
    /// Whether nothing is written yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Overwrites `bytes.len()` bytes from `at` on; they must have been written already.
    fn patch(&mut self, at: usize, bytes: &[u8]);
    /// Takes back what was written after `len`.
    fn truncate(&mut self, len: usize);
}
