//! Reading: an iterator over the items of a structure that borrows and never recurses.

use std::fmt;

use super::counted::front;
use super::{HEADER_BYTES, Kind, Tag, TtlvError};
use crate::limits::{KMIP_MESSAGE_BYTES_MAX, TTLV_DEPTH_MAX};
use crate::wire::scan::find;

/// One item: type, length and padding were checked. `Debug` does not print the value.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    /// Which field.
    pub tag: Tag,
    /// Of which type.
    pub kind: Kind,
    value: &'a [u8],
    depth: u8,
}

/// The items of one structure, in wire order. After an error it is at its end. A clone starts where this one
/// stands and costs nothing.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    depth: u8,
}

impl<'a> Reader<'a> {
    /// Over a whole frame: exactly one item, which [`Iterator::next`] then gives.
    pub fn open(frame: &'a [u8]) -> Result<Self, TtlvError> {
        let declared = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        if frame.len() > KMIP_MESSAGE_BYTES_MAX {
            return Err(TtlvError::FrameTooLong { declared });
        }
        let whole = Self {
            rest: frame,
            depth: 0,
        };
        let mut probe = whole.clone();
        match probe.advance()? {
            Some(_) if probe.rest.is_empty() => Ok(whole),
            Some(_) => Err(TtlvError::TrailingBytes),
            None => Err(TtlvError::Truncated),
        }
    }

    /// True at the end.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next item if it is this one and sound; else nothing moves, and [`Iterator::next`] tells what is
    /// there. For fields in their usual order: tag and type known, a header is one comparison.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn next_if(&mut self, tag: Tag, kind: Kind) -> Option<Item<'a>> {
        let (&[t0, t1, t2, kind_byte, a, b, c, d], body) =
            self.rest.split_first_chunk::<HEADER_BYTES>()?;
        if u32::from_be_bytes([t0, t1, t2, kind_byte]) != front(tag, kind) {
            return None;
        }
        let (value, rest) = split_value(kind, u32::from_be_bytes([a, b, c, d]), body)?;
        self.rest = rest;
        let depth = self.depth;
        Some(Item {
            tag,
            kind,
            value,
            depth,
        })
    }

    /// Inlined by force: a result that goes through memory is stored by the byte and loaded by the word,
    /// and waiting for that took most of the time of a header.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn advance(&mut self) -> Result<Option<Item<'a>>, TtlvError> {
        if let Some((tag, kind, value, rest)) = split_item(self.rest) {
            self.rest = rest;
            let depth = self.depth;
            return Ok(Some(Item {
                tag,
                kind,
                value,
                depth,
            }));
        }
        // Any refusal leaves the reader at its end.
        let refused = std::mem::take(&mut self.rest);
        if refused.is_empty() {
            Ok(None)
        } else {
            Err(why_refused(refused))
        }
    }
}

/// Tag, type, value and what follows of the first item, if there is one and it is sound.
#[allow(clippy::inline_always)]
#[inline(always)]
fn split_item(input: &[u8]) -> Option<(Tag, Kind, &[u8], &[u8])> {
    let (&[t0, t1, t2, kind, a, b, c, d], body) = input.split_first_chunk::<HEADER_BYTES>()?;
    let kind = Kind::from_byte(kind).ok()?;
    let (value, rest) = split_value(kind, u32::from_be_bytes([a, b, c, d]), body)?;
    Some((Tag(u32::from_be_bytes([0, t0, t1, t2])), kind, value, rest))
}

/// A sound value and what follows it.
#[allow(clippy::inline_always)]
#[inline(always)]
fn split_value(kind: Kind, declared: u32, body: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = declared as usize;
    if !kind.accepts(bytes) {
        return None;
    }
    let (padded, rest) = body.split_at_checked(bytes.next_multiple_of(8))?;
    is_padded_with_zeros(padded, bytes).then_some((padded.get(..bytes)?, rest))
}

/// What is wrong with the first item of `input`, which [`split_item`] refused: a second look, so that the
/// first need not carry reasons along.
#[cold]
fn why_refused(input: &[u8]) -> TtlvError {
    let Some((&[t0, t1, t2, kind, a, b, c, d], body)) = input.split_first_chunk::<HEADER_BYTES>()
    else {
        return TtlvError::Truncated;
    };
    let tag = Tag(u32::from_be_bytes([0, t0, t1, t2]));
    let kind = match Kind::from_byte(kind) {
        Ok(kind) => kind,
        Err(unknown) => return unknown,
    };
    let declared = u32::from_be_bytes([a, b, c, d]);
    let bytes = declared as usize;
    if !kind.accepts(bytes) {
        TtlvError::WrongLength {
            tag,
            kind,
            declared,
        }
    } else if body.len() < bytes.next_multiple_of(8) {
        TtlvError::Truncated
    } else {
        TtlvError::Padding(tag)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Item<'a>, TtlvError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl<'a> Item<'a> {
    #[inline]
    fn want(&self, want: Kind) -> Result<&'a [u8], TtlvError> {
        if self.kind == want {
            Ok(self.value)
        } else {
            Err(TtlvError::WrongType {
                tag: self.tag,
                want,
                got: self.kind,
            })
        }
    }

    #[inline]
    fn array<const N: usize>(&self, want: Kind) -> Result<[u8; N], TtlvError> {
        self.want(want)?
            .first_chunk()
            .copied()
            .ok_or(TtlvError::Truncated)
    }

    /// The items inside a structure.
    #[inline]
    pub fn structure(&self) -> Result<Reader<'a>, TtlvError> {
        let rest = self.want(Kind::Structure)?;
        if usize::from(self.depth) >= TTLV_DEPTH_MAX {
            return Err(TtlvError::TooDeep);
        }
        Ok(Reader {
            rest,
            depth: self.depth + 1,
        })
    }

    /// An Integer.
    #[inline]
    pub fn integer(&self) -> Result<i32, TtlvError> {
        Ok(i32::from_be_bytes(self.array(Kind::Integer)?))
    }

    /// A Long Integer.
    pub fn long_integer(&self) -> Result<i64, TtlvError> {
        Ok(i64::from_be_bytes(self.array(Kind::LongInteger)?))
    }

    /// A Big Integer: two's complement, most significant byte first, sign-extended to whole eights.
    pub fn big_integer(&self) -> Result<&'a [u8], TtlvError> {
        self.want(Kind::BigInteger)
    }

    /// An Enumeration, raw: an unknown value is the caller's business.
    #[inline]
    pub fn enumeration(&self) -> Result<u32, TtlvError> {
        Ok(u32::from_be_bytes(self.array(Kind::Enumeration)?))
    }

    /// A Boolean.
    pub fn boolean(&self) -> Result<bool, TtlvError> {
        match u64::from_be_bytes(self.array(Kind::Boolean)?) {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(TtlvError::Boolean(self.tag)),
        }
    }

    /// A Text String.
    #[inline]
    pub fn text(&self) -> Result<&'a str, TtlvError> {
        let bytes = self.want(Kind::TextString)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if find(bytes, 0).is_none() => Ok(text),
            _ => Err(TtlvError::Text(self.tag)),
        }
    }

    /// A Text String's bytes, for texts that are only shown: neither UTF-8 nor NUL is checked.
    pub fn text_bytes(&self) -> Result<&'a [u8], TtlvError> {
        self.want(Kind::TextString)
    }

    /// A Byte String.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], TtlvError> {
        self.want(Kind::ByteString)
    }

    /// A Date Time, seconds since 1970.
    pub fn date_time(&self) -> Result<i64, TtlvError> {
        Ok(i64::from_be_bytes(self.array(Kind::DateTime)?))
    }

    /// An Interval, seconds.
    pub fn interval(&self) -> Result<u32, TtlvError> {
        Ok(u32::from_be_bytes(self.array(Kind::Interval)?))
    }

    /// A Date Time Extended, microseconds since 1970.
    pub fn date_time_extended(&self) -> Result<i64, TtlvError> {
        Ok(i64::from_be_bytes(self.array(Kind::DateTimeExtended)?))
    }
}

/// Whether the bytes of `padded` from `bytes` on are zero. They are part of its last eight, which are looked
/// at as one number: a loop over so few bytes costs more than all else in a header.
#[inline]
fn is_padded_with_zeros(padded: &[u8], bytes: usize) -> bool {
    let last = padded
        .last_chunk()
        .map_or(0, |last| u64::from_be_bytes(*last));
    let padding_bits = bytes.wrapping_neg() % 8 * 8;
    last & !(u64::MAX << padding_bits) == 0
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} of {} bytes",
            self.tag,
            self.kind,
            self.value.len()
        )
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} bytes left)", self.rest.len())
    }
}

/// Checks a whole frame to its leaves: what decoders skip as unknown is else not looked into.
pub fn check(frame: &[u8]) -> Result<(), TtlvError> {
    let mut open = [const {
        Reader {
            rest: &[],
            depth: 0,
        }
    }; TTLV_DEPTH_MAX + 1];
    let mut level = 0;
    open[0] = Reader::open(frame)?;
    loop {
        let Some(reader) = open.get_mut(level) else {
            return Err(TtlvError::TooDeep);
        };
        match reader.advance()? {
            Some(item) if item.kind == Kind::Structure => {
                let inner = item.structure()?;
                level += 1;
                *open.get_mut(level).ok_or(TtlvError::TooDeep)? = inner;
            }
            Some(item) if item.kind == Kind::Boolean => drop(item.boolean()?),
            Some(item) if item.kind == Kind::TextString => drop(item.text()?),
            Some(_) => {}
            None if level == 0 => return Ok(()),
            None => level -= 1,
        }
    }
}
