//! Writing: append only, lengths patched in when a structure closes.

use super::counted::{Counted, four, header, whole};
use super::{Kind, Tag, TtlvError};
use crate::limits::KMIP_MESSAGE_BYTES_MAX;

/// Where bytes go: a reused `Vec<u8>` or a [`Fixed`] buffer.
pub trait Sink {
    /// Bytes so far.
    fn position(&self) -> usize;
    /// Appends; false when there is no room, in which case nothing was written.
    fn put(&mut self, bytes: &[u8]) -> bool;
    /// Appends up to seven zeros, as [`Sink::put`].
    fn pad(&mut self, zeros: usize) -> bool {
        self.put([0; 8].get(..zeros).unwrap_or_default())
    }
    /// Appends `bytes` bytes for the caller to overwrite; `None`, as [`Sink::put`], when there is no room.
    fn room(&mut self, bytes: usize) -> Option<&mut [u8]>;
    /// Overwrites four bytes that were put before.
    fn patch(&mut self, at: usize, bytes: [u8; 4]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn position(&self) -> usize {
        self.len()
    }
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.extend_from_slice(bytes);
        true
    }
    #[inline]
    fn pad(&mut self, zeros: usize) -> bool {
        // A copy of fixed size and a cut are quicker than a copy of unknown size.
        let end = self.len() + zeros;
        self.extend_from_slice(&[0; 8]);
        self.truncate(end);
        true
    }
    #[inline]
    fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let start = self.len();
        self.resize(start + bytes, 0);
        self.get_mut(start..)
    }
    #[inline]
    fn patch(&mut self, at: usize, bytes: [u8; 4]) {
        if let Some(place) = self.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
        }
    }
}

/// A buffer that never grows, so that a secret written into it is never left behind by a reallocation:
/// locked memory, or anything its owner wipes.
pub struct Fixed<'b> {
    buffer: &'b mut [u8],
    used: usize,
}

impl<'b> Fixed<'b> {
    /// Writes from the buffer's start.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, used: 0 }
    }
}

impl Sink for Fixed<'_> {
    #[inline]
    fn position(&self) -> usize {
        self.used
    }
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> bool {
        let Some(place) = self.room(bytes.len()) else {
            return false;
        };
        place.copy_from_slice(bytes);
        true
    }
    #[inline]
    fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let place = self.buffer.get_mut(self.used..)?.get_mut(..bytes)?;
        self.used += bytes;
        Some(place)
    }
    #[inline]
    fn patch(&mut self, at: usize, bytes: [u8; 4]) {
        if let Some(place) = self.buffer.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
        }
    }
}

/// Appends items to a sink. A lack of room is remembered and told by [`Writer::finish`].
pub struct Writer<'s, S: Sink> {
    sink: &'s mut S,
    start: usize,
    failed: bool,
}

impl<'s, S: Sink> Writer<'s, S> {
    /// Appends behind what the sink holds.
    pub fn new(sink: &'s mut S) -> Self {
        let start = sink.position();
        Self {
            sink,
            start,
            failed: false,
        }
    }

    /// Bytes written, or [`TtlvError::NoRoom`]; the sink's content is then of no use.
    pub fn finish(self) -> Result<usize, TtlvError> {
        let bytes = self.sink.position() - self.start;
        if self.failed || bytes > KMIP_MESSAGE_BYTES_MAX {
            return Err(TtlvError::NoRoom);
        }
        Ok(bytes)
    }

    /// A structure of what `inside` writes.
    #[inline]
    pub fn structure(&mut self, tag: Tag, inside: impl FnOnce(&mut Self)) {
        self.put(&header(tag, Kind::Structure, 0));
        if self.failed {
            return;
        }
        let start = self.sink.position();
        inside(self);
        match u32::try_from(self.sink.position() - start) {
            Ok(bytes) => self.sink.patch(start - 4, bytes.to_be_bytes()),
            Err(_) => self.failed = true,
        }
    }

    /// Items of `bytes` bytes in all: what `write` leaves of the room for them must be nothing. The hot
    /// items come this way, with one check of room, no length to patch and no position kept in memory.
    #[inline]
    pub fn counted(
        &mut self,
        bytes: usize,
        write: impl for<'b> FnOnce(Counted<'b>) -> Option<Counted<'b>>,
    ) {
        let place = if bytes > KMIP_MESSAGE_BYTES_MAX {
            None
        } else {
            self.sink.room(bytes)
        };
        let left = place.and_then(|place| write(Counted(place)));
        self.failed |= !left.is_some_and(|left| left.0.is_empty());
    }

    /// An Integer.
    #[inline]
    pub fn integer(&mut self, tag: Tag, value: i32) {
        self.four(tag, Kind::Integer, value.to_be_bytes());
    }

    /// A Long Integer.
    pub fn long_integer(&mut self, tag: Tag, value: i64) {
        self.eight(tag, Kind::LongInteger, value.to_be_bytes());
    }

    /// A Big Integer from two's complement bytes, most significant first (none is zero); sign-extended
    /// in front to whole eights.
    pub fn big_integer(&mut self, tag: Tag, value: &[u8]) {
        let sign = if value.first().is_some_and(|byte| byte & 0x80 != 0) {
            0xff
        } else {
            0
        };
        let whole = value.len().next_multiple_of(8).max(8);
        self.announce(tag, Kind::BigInteger, whole);
        self.put([sign; 8].get(..whole - value.len()).unwrap_or_default());
        self.put(value);
    }

    /// An Enumeration.
    #[inline]
    pub fn enumeration(&mut self, tag: Tag, value: u32) {
        self.four(tag, Kind::Enumeration, value.to_be_bytes());
    }

    /// A Boolean.
    pub fn boolean(&mut self, tag: Tag, value: bool) {
        self.eight(tag, Kind::Boolean, u64::from(value).to_be_bytes());
    }

    /// A Text String.
    #[inline]
    pub fn text(&mut self, tag: Tag, value: &str) {
        self.padded(tag, Kind::TextString, value.as_bytes());
    }

    /// A Byte String.
    #[inline]
    pub fn bytes(&mut self, tag: Tag, value: &[u8]) {
        self.padded(tag, Kind::ByteString, value);
    }

    /// A Date Time, seconds since 1970.
    pub fn date_time(&mut self, tag: Tag, unix_s: i64) {
        self.eight(tag, Kind::DateTime, unix_s.to_be_bytes());
    }

    /// An Interval, seconds.
    pub fn interval(&mut self, tag: Tag, s: u32) {
        self.four(tag, Kind::Interval, s.to_be_bytes());
    }

    /// A Date Time Extended, microseconds since 1970.
    pub fn date_time_extended(&mut self, tag: Tag, unix_us: i64) {
        self.eight(tag, Kind::DateTimeExtended, unix_us.to_be_bytes());
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.failed |= !self.sink.put(bytes);
    }

    #[inline]
    fn four(&mut self, tag: Tag, kind: Kind, value: [u8; 4]) {
        self.put(&four(tag, kind, value));
    }

    #[inline]
    fn eight(&mut self, tag: Tag, kind: Kind, value: [u8; 8]) {
        self.put(&whole(header(tag, kind, 8), value));
    }

    #[inline]
    fn padded(&mut self, tag: Tag, kind: Kind, value: &[u8]) {
        self.announce(tag, kind, value.len());
        self.put(value);
        self.failed |= !self.sink.pad(value.len().wrapping_neg() % 8);
    }

    #[inline]
    fn announce(&mut self, tag: Tag, kind: Kind, bytes: usize) {
        match u32::try_from(bytes) {
            Ok(bytes) => self.put(&header(tag, kind, bytes)),
            Err(_) => self.failed = true,
        }
    }
}
