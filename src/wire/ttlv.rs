//! TTLV: the tag-type-length-value encoding that carries KMIP.
//!
//! Bytes in, borrowed items out; values in, bytes appended. Nothing here knows of a socket, a clock or a
//! config, so the HSM session, the simulator and the fuzzers all run this one codec.
//!
//! Must never be true: an allocation sized by a length from the wire; a frame over
//! [`KMIP_MESSAGE_BYTES_MAX`] buffered; a value that reaches a log (no `Debug` here prints values).
//! Called by [`super::kmip`] and, for framing, by whoever reads a KMIP connection.

mod counted;
mod reader;
mod writer;

pub use counted::{Counted, FIXED_ITEM_BYTES, padded_bytes};
pub use reader::{Item, Reader, check};
pub use writer::{Fixed, Sink, Writer};

use std::fmt;

use super::Step;
use crate::limits::{KMIP_MESSAGE_BYTES_MAX, TTLV_DEPTH_MAX};

/// Bytes of tag, type and length in front of every value.
pub const HEADER_BYTES: usize = 8;

/// A field's number: three bytes on the wire. Known ones are named in [`super::kmip::tags`].
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(pub u32);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:06X})", self.0),
            None => write!(f, "field 0x{:06X}", self.0),
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The type byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// Items, one after another.
    Structure = 0x01,
    /// Signed, 4 bytes.
    Integer = 0x02,
    /// Signed, 8 bytes.
    LongInteger = 0x03,
    /// Signed, a multiple of 8 bytes.
    BigInteger = 0x04,
    /// Unsigned, 4 bytes.
    Enumeration = 0x05,
    /// 8 bytes, 0 or 1.
    Boolean = 0x06,
    /// UTF-8 without NUL.
    TextString = 0x07,
    /// Any bytes.
    ByteString = 0x08,
    /// Seconds since 1970, signed, 8 bytes.
    DateTime = 0x09,
    /// Seconds, unsigned, 4 bytes.
    Interval = 0x0a,
    /// Microseconds since 1970, signed, 8 bytes (KMIP 2.x).
    DateTimeExtended = 0x0b,
}

impl Kind {
    #[inline]
    fn from_byte(byte: u8) -> Result<Self, TtlvError> {
        Ok(match byte {
            0x01 => Self::Structure,
            0x02 => Self::Integer,
            0x03 => Self::LongInteger,
            0x04 => Self::BigInteger,
            0x05 => Self::Enumeration,
            0x06 => Self::Boolean,
            0x07 => Self::TextString,
            0x08 => Self::ByteString,
            0x09 => Self::DateTime,
            0x0a => Self::Interval,
            0x0b => Self::DateTimeExtended,
            other => return Err(TtlvError::UnknownType(other)),
        })
    }

    /// Whether a value of this type may be `bytes` long.
    #[inline]
    fn accepts(self, bytes: usize) -> bool {
        // Looked up, not jumped to.
        let (mask, want) = match self {
            Self::Integer | Self::Enumeration | Self::Interval => (usize::MAX, 4),
            Self::LongInteger | Self::Boolean | Self::DateTime | Self::DateTimeExtended => {
                (usize::MAX, 8)
            }
            Self::BigInteger | Self::Structure => (7, 0),
            Self::TextString | Self::ByteString => (0, 0),
        };
        bytes & mask == want && (bytes != 0 || self != Self::BigInteger)
    }
}

/// Why a peer's bytes were refused, or ours could not be written. Never a short read: that is
/// [`Step::Need`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TtlvError {
    /// The header declares more than [`KMIP_MESSAGE_BYTES_MAX`].
    FrameTooLong {
        /// Bytes of the value, as the header says.
        declared: u32,
    },
    /// The type byte is outside the standard's table.
    UnknownType(u8),
    /// The length does not fit the type.
    WrongLength {
        /// The field.
        tag: Tag,
        /// Its type.
        kind: Kind,
        /// Bytes, as the header says.
        declared: u32,
    },
    /// An item ends outside the structure that holds it.
    Truncated,
    /// Bytes behind the one item of a frame.
    TrailingBytes,
    /// Padding that is not zero.
    Padding(Tag),
    /// The field is there but of another type.
    WrongType {
        /// The field.
        tag: Tag,
        /// What was expected.
        want: Kind,
        /// What stood there.
        got: Kind,
    },
    /// A Boolean other than 0 and 1.
    Boolean(Tag),
    /// A text that is not UTF-8 or holds a NUL.
    Text(Tag),
    /// Structures nested deeper than [`TTLV_DEPTH_MAX`].
    TooDeep,
    /// What was to be written exceeds the sink or [`KMIP_MESSAGE_BYTES_MAX`].
    NoRoom,
}

impl fmt::Display for TtlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameTooLong { declared } => write!(
                f,
                "a KMIP message of {declared} bytes exceeds the limit of {KMIP_MESSAGE_BYTES_MAX}"
            ),
            Self::UnknownType(byte) => write!(
                f,
                "0x{byte:02x} is no TTLV type: is the peer a KMIP server, and the port right?"
            ),
            Self::WrongLength {
                tag,
                kind,
                declared,
            } => {
                write!(f, "{tag}: {declared} bytes do not fit type {kind:?}")
            }
            Self::Truncated => f.write_str("an item ends outside the structure that holds it"),
            Self::TrailingBytes => f.write_str("bytes behind the end of the message"),
            Self::Padding(tag) => write!(f, "{tag}: padding is not zero"),
            Self::WrongType { tag, want, got } => {
                write!(f, "{tag}: type {got:?} where {want:?} was expected")
            }
            Self::Boolean(tag) => write!(f, "{tag}: a Boolean is neither 0 nor 1"),
            Self::Text(tag) => write!(f, "{tag}: text is not UTF-8 or holds a NUL"),
            Self::TooDeep => write!(f, "structures nested deeper than {TTLV_DEPTH_MAX}"),
            Self::NoRoom => write!(
                f,
                "the message does not fit its buffer or the limit of {KMIP_MESSAGE_BYTES_MAX} bytes"
            ),
        }
    }
}

impl std::error::Error for TtlvError {}

/// Splits the first item off `input` without copying it: header, value and padding. The value is not
/// looked at; [`Reader::open`] does that.
pub fn frame(input: &[u8]) -> Result<Step<&[u8]>, TtlvError> {
    let Some(&[_, _, _, kind, a, b, c, d]) = input.first_chunk::<HEADER_BYTES>() else {
        return Ok(Step::Need(HEADER_BYTES - input.len()));
    };
    Kind::from_byte(kind)?;
    let declared = u32::from_be_bytes([a, b, c, d]);
    let used = HEADER_BYTES + (declared as usize).next_multiple_of(8);
    if used > KMIP_MESSAGE_BYTES_MAX {
        return Err(TtlvError::FrameTooLong { declared });
    }
    Ok(match input.get(..used) {
        Some(item) => Step::Item(item, used),
        None => Step::Need(used - input.len()),
    })
}

#[cfg(test)]
mod tests;
