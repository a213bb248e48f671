//! Sans-IO codecs, both directions in one file each: bytes in, borrowed values out.
//!
//! Must never be true: a codec that knows a socket, a clock or a config, or that buffers before it
//! has checked a limit. Called by the server, the HSM session, the load generator and the fuzzers.

pub mod base64;
pub mod calendar;
pub mod http;
pub mod json;
pub mod kmip;
pub mod proxy;
mod scan;
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

/// Where encoders write: a `Vec<u8>` in tools and tests, locked scratch in the server.
pub trait Out {
    /// Appends `bytes`. A sink with a fixed size remembers that it ran over instead of failing here.
    fn put(&mut self, bytes: &[u8]);
    /// Appends `len` bytes and lends them, to be written in place. What they hold before is not said.
    fn room(&mut self, len: usize) -> &mut [u8];
    /// Bytes so far.
    fn len(&self) -> usize;
    /// Whether nothing was written yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Overwrites what stands at `at`; positions beyond [`Out::len`] are ignored.
    fn patch(&mut self, at: usize, bytes: &[u8]);
    /// Forgets everything from `len` on.
    fn truncate(&mut self, len: usize);
}

impl Out for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        let at = Vec::len(self);
        self.resize(at + len, 0);
        self.get_mut(at..).unwrap_or_default()
    }
    #[inline]
    fn len(&self) -> usize {
        Vec::len(self)
    }
    #[inline]
    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self
            .get_mut(at..)
            .and_then(|tail| tail.get_mut(..bytes.len()))
        {
            place.copy_from_slice(bytes);
        }
    }
    #[inline]
    fn truncate(&mut self, len: usize) {
        Vec::truncate(self, len);
    }
}

/// Writes `value` in decimal digits.
#[inline]
pub fn put_decimal<O: Out + ?Sized>(out: &mut O, value: u64) {
    let mut digits = [0u8; 20];
    let mut rest = value;
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.put(digits.get(digits.len() - used..).unwrap_or_default());
}
