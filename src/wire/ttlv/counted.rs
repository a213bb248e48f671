//! Writing items whose bytes were counted beforehand: lengths are known when their header is written.
//!
//! Must never be true: a byte behind the room that was counted. Called by [`super::Writer::counted`].

use super::{HEADER_BYTES, Kind, Tag};

/// Bytes of an item of fixed size (Integer, Enumeration, Boolean), header and padding included.
pub const FIXED_ITEM_BYTES: usize = 16;

/// What is left of the room. It moves from call to call instead of being changed behind a reference, so that
/// it stays in registers; `None` when the room was counted too short.
pub struct Counted<'b>(pub(super) &'b mut [u8]);

/// Bytes of a Text String or Byte String, header and padding included.
#[inline]
pub fn padded_bytes(value: &[u8]) -> usize {
    HEADER_BYTES + value.len().next_multiple_of(8)
}

impl Counted<'_> {
    /// The front of a structure; the next `bytes` bytes are what it holds.
    #[inline]
    pub fn structure(self, tag: Tag, bytes: usize) -> Option<Self> {
        self.put(header(tag, Kind::Structure, u32::try_from(bytes).ok()?))
    }

    /// An Integer.
    #[inline]
    pub fn integer(self, tag: Tag, value: i32) -> Option<Self> {
        self.put(four(tag, Kind::Integer, value.to_be_bytes()))
    }

    /// An Enumeration.
    #[inline]
    pub fn enumeration(self, tag: Tag, value: u32) -> Option<Self> {
        self.put(four(tag, Kind::Enumeration, value.to_be_bytes()))
    }

    /// A Boolean.
    #[inline]
    pub fn boolean(self, tag: Tag, value: bool) -> Option<Self> {
        let value = u64::from(value).to_be_bytes();
        self.put(whole(header(tag, Kind::Boolean, 8), value))
    }

    /// A Text String.
    #[inline]
    pub fn text(self, tag: Tag, value: &str) -> Option<Self> {
        self.padded(tag, Kind::TextString, value.as_bytes())
    }

    /// A Byte String.
    #[inline]
    pub fn bytes(self, tag: Tag, value: &[u8]) -> Option<Self> {
        self.padded(tag, Kind::ByteString, value)
    }

    #[inline]
    fn put<const N: usize>(self, bytes: [u8; N]) -> Option<Self> {
        let (place, rest) = self.0.split_first_chunk_mut()?;
        *place = bytes;
        Some(Self(rest))
    }

    #[inline]
    fn padded(self, tag: Tag, kind: Kind, value: &[u8]) -> Option<Self> {
        let Self(rest) = self.put(header(tag, kind, u32::try_from(value.len()).ok()?))?;
        let (place, rest) = rest.split_at_mut_checked(value.len().next_multiple_of(8))?;
        // Zeros first, the value over them: no count of the padding is needed.
        if let Some(last) = place.last_chunk_mut() {
            *last = [0; 8];
        }
        copy(place.get_mut(..value.len())?, value);
        Some(Self(rest))
    }
}

/// Copies between slices of one length. Most values are short: two copies of fixed size that overlap are
/// quicker than one call for any size.
#[inline]
fn copy(to: &mut [u8], from: &[u8]) {
    let short = copy_ends::<8>(to, from) || copy_ends::<16>(to, from) || copy_ends::<32>(to, from);
    if !short {
        to.copy_from_slice(from);
    }
}

/// Copies N to 2 N bytes, if it is so many.
#[inline]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) -> bool {
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else {
        return false;
    };
    if from.len() > 2 * N {
        return false;
    }
    if let Some(place) = to.first_chunk_mut() {
        *place = *first;
    }
    if let Some(place) = to.last_chunk_mut() {
        *place = *last;
    }
    true
}

/// An item of four bytes and four of padding.
#[inline]
pub(super) fn four(tag: Tag, kind: Kind, value: [u8; 4]) -> [u8; FIXED_ITEM_BYTES] {
    let padded = u64::from(u32::from_be_bytes(value)) << 32;
    whole(header(tag, kind, 4), padded.to_be_bytes())
}

/// An item of eight bytes, as one number: one store.
#[inline]
pub(super) fn whole(header: [u8; HEADER_BYTES], value: [u8; 8]) -> [u8; FIXED_ITEM_BYTES] {
    let item = u128::from(u64::from_be_bytes(header)) << 64 | u128::from(u64::from_be_bytes(value));
    item.to_be_bytes()
}

#[inline]
pub(super) fn header(tag: Tag, kind: Kind, bytes: u32) -> [u8; HEADER_BYTES] {
    (u64::from(front(tag, kind)) << 32 | u64::from(bytes)).to_be_bytes()
}

/// Tag and type, the first four bytes of a header.
#[inline]
pub(super) fn front(tag: Tag, kind: Kind) -> u32 {
    tag.0 << 8 | u32::from(kind as u8)
}
