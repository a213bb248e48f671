//! Standard base64 with the leniency and the error offsets of Go's `encoding/base64`, as Transit's
//! clients meet them.
//!
//! Must never be true: a decode that allocates, or that accepts what Go refuses. Called by `transit`
//! and the rooms that turn its texts into bytes.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Out;

#[cfg(test)]
mod tests;

/// As Go's `StdEncoding`: padding required, bits left over in the last character ignored.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Why a text was not decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Go's `CorruptInputError`: the text is no base64, as seen at this byte.
    Corrupt(usize),
    /// The caller's slice is too short; cannot happen with [`decoded_len_max`] bytes.
    OutputTooShort,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt(at) => write!(f, "illegal base64 data at input byte {at}"),
            Self::OutputTooShort => f.write_str("base64 data is longer than its buffer"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Bytes that suffice for the decoding of `text_len` characters.
#[inline]
pub const fn decoded_len_max(text_len: usize) -> usize {
    text_len.div_ceil(4) * 3
}

/// Characters of the encoding of `len` bytes.
#[inline]
pub const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// Decodes `text` into the front of `out` and returns the number of bytes. Carriage returns and line
/// feeds are skipped wherever they stand. After an error `out` may hold part of the bytes.
#[inline]
pub fn decode(text: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    match ENGINE.decode_slice(text, out) {
        Ok(written) => Ok(written),
        Err(_) => decode_slowly(text, out),
    }
}

/// Encodes `bytes` into the front of `out` and returns the number of characters; `None` when `out` is
/// shorter than [`encoded_len`].
#[inline]
pub fn encode(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    ENGINE.encode_slice(bytes, out).ok()
}

/// Appends the encoding of `bytes`, written in place.
#[inline]
pub fn put<O: Out + ?Sized>(out: &mut O, bytes: &[u8]) {
    let text = out.room(encoded_len(bytes.len()));
    // The room is as long as the encoding, so that there is nothing to refuse.
    let _ = ENGINE.encode_slice(bytes, text);
}

const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// A quantum at a time, to find line ends and the offset that Go would report.
fn decode_slowly(text: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    let mut written = 0;
    let mut quantum = [0u8; 4];
    let mut filled = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if let Some(value) = sextet(byte) {
            if let Some(place) = quantum.get_mut(filled) {
                *place = value;
            }
            filled += 1;
            if filled == 4 {
                written = push(out, written, quantum, 3)?;
                filled = 0;
            }
        } else if byte == b'=' {
            padding(text, at, filled)?;
            return push(out, written, quantum, filled - 1);
        } else if !is_line_end(byte) {
            return Err(DecodeError::Corrupt(at));
        }
        at += 1;
    }
    if filled == 0 {
        Ok(written)
    } else {
        Err(DecodeError::Corrupt(text.len() - filled))
    }
}

/// Checks everything from the first `=` (at `at`, after `filled` characters of its quantum) to the end.
fn padding(text: &[u8], at: usize, filled: usize) -> Result<(), DecodeError> {
    let skip = |mut from: usize| {
        while text.get(from).copied().is_some_and(is_line_end) {
            from += 1;
        }
        from
    };
    let mut next = at + 1;
    match filled {
        0 | 1 => return Err(DecodeError::Corrupt(at)),
        2 => {
            next = skip(next);
            match text.get(next) {
                None => return Err(DecodeError::Corrupt(text.len())),
                Some(b'=') => next += 1,
                Some(_) => return Err(DecodeError::Corrupt(next - 1)),
            }
        }
        _ => {}
    }
    next = skip(next);
    if next < text.len() {
        Err(DecodeError::Corrupt(next))
    } else {
        Ok(())
    }
}

/// Writes the first `count` bytes of a quantum; characters past them are taken as zero.
fn push(
    out: &mut [u8],
    written: usize,
    quantum: [u8; 4],
    count: usize,
) -> Result<usize, DecodeError> {
    let [a, b, c, d] = quantum;
    let bytes = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    let end = written + count;
    let place = out
        .get_mut(written..end)
        .ok_or(DecodeError::OutputTooShort)?;
    place.copy_from_slice(bytes.get(..count).unwrap_or_default());
    Ok(end)
}
