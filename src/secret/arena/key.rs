//! A key's packed address, and the two ways to own it: with the arena's pointer and without.

use std::num::NonZeroU64;

use super::Arena;

/// Where a plaintext is, how long it is, and in which arena, in 8 bytes:
/// bit 0 set | bit 1 large | 42 bits place | 20 bits arena.
/// A slot's place is granule (32) and length (10); a large region's is index (16) and length (26).
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Address(NonZeroU64);

/// An [`Address`], taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// A slot of the key region.
    Slot { granule: usize, len: usize },
    /// A large region.
    Large { index: usize, len: usize },
}

const LARGE: u64 = 0b10;
const PLACE_SHIFT: u32 = 2;
const ARENA_SHIFT: u32 = 44;
const SLOT_LEN_BITS: u32 = 10;
const LARGE_LEN_BITS: u32 = 26;
/// Arenas a process may ever make.
pub(super) const ARENAS_MAX: u32 = 1 << (u64::BITS - ARENA_SHIFT);

const _: () = assert!(usize::BITS == 64, "addresses are packed for 64-bit systems");
const _: () = assert!(super::slots::CLASS_BYTES_MAX < 1 << SLOT_LEN_BITS);

impl Address {
    /// `ArenaPlan::check` keeps every part within its bits.
    pub(super) fn new(arena_id: u32, place: Place) -> Self {
        let (flag, bits) = match place {
            Place::Slot { granule, len } => (0, (granule << SLOT_LEN_BITS) | len),
            Place::Large { index, len } => (LARGE, (index << LARGE_LEN_BITS) | len),
        };
        debug_assert!((bits as u64) < 1 << (ARENA_SHIFT - PLACE_SHIFT) && arena_id < ARENAS_MAX);
        let word = flag | (bits as u64) << PLACE_SHIFT | u64::from(arena_id) << ARENA_SHIFT;
        Self(NonZeroU64::MIN | word)
    }

    #[allow(clippy::cast_possible_truncation)] // usize has 64 bits, asserted above.
    pub(super) fn place(self) -> Place {
        let word = self.0.get();
        let bits = (word >> PLACE_SHIFT & ((1 << (ARENA_SHIFT - PLACE_SHIFT)) - 1)) as usize;
        if word & LARGE == 0 {
            Place::Slot {
                granule: bits >> SLOT_LEN_BITS,
                len: bits & ((1 << SLOT_LEN_BITS) - 1),
            }
        } else {
            Place::Large {
                index: bits >> LARGE_LEN_BITS,
                len: bits & ((1 << LARGE_LEN_BITS) - 1),
            }
        }
    }

    pub(super) fn arena_id(self) -> u64 {
        self.0.get() >> ARENA_SHIFT
    }

    fn len(self) -> usize {
        let (Place::Slot { len, .. } | Place::Large { len, .. }) = self.place();
        len
    }
}

/// A key in the arena. Clones share the slot; the last drop wipes it.
pub struct SecretKey {
    arena: &'static Arena,
    address: Address,
}

impl SecretKey {
    /// Takes one hold on `address`, already counted, over.
    pub(super) fn from_counted(arena: &'static Arena, address: Address) -> Self {
        Self { arena, address }
    }

    /// Lends the bytes to `reader` and no longer.
    pub fn expose<R>(&self, reader: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: this key holds its slot, in its own arena.
        reader(unsafe { self.arena.held(self.address) })
    }

    /// Bytes of the plaintext.
    pub fn len(&self) -> usize {
        self.address.len()
    }

    /// True for an empty plaintext, which is legal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// False for a large plaintext, which only passes through.
    pub fn is_cacheable(&self) -> bool {
        matches!(self.address.place(), Place::Slot { .. })
    }

    /// Gives the hold up to a handle half the size, for owners of very many keys.
    pub fn into_handle(self) -> KeyHandle {
        let address = self.address;
        std::mem::forget(self);
        KeyHandle(address)
    }

    #[cfg(test)]
    pub(super) fn place(&self) -> Place {
        self.address.place()
    }
}

impl Clone for SecretKey {
    fn clone(&self) -> Self {
        // SAFETY: this key holds its slot, in its own arena.
        unsafe { self.arena.hold(self.address) };
        Self {
            arena: self.arena,
            address: self.address,
        }
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        // SAFETY: this key's own hold, given up once.
        unsafe { self.arena.release(self.address) };
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A hold on a key in 8 bytes (also as an `Option`), without the arena's pointer.
///
/// It cannot give its slot back by itself: hand it to [`Arena::redeem`], or the slot is used up for good.
#[must_use = "a handle that is dropped keeps its slot for ever; give it to Arena::redeem"]
pub struct KeyHandle(pub(super) Address);

impl KeyHandle {
    /// Bytes of the plaintext.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for an empty plaintext, which is legal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHandle(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_as_they_were_put_together() {
        for (arena_id, place) in [
            (0, Place::Slot { granule: 0, len: 0 }),
            (
                ARENAS_MAX - 1,
                Place::Slot {
                    granule: u32::MAX as usize,
                    len: 512,
                },
            ),
            (1, Place::Large { index: 0, len: 513 }),
            (
                ARENAS_MAX - 1,
                Place::Large {
                    index: 65_535,
                    len: (1 << 26) - 1,
                },
            ),
        ] {
            let address = Address::new(arena_id, place);
            assert_eq!(
                (address.arena_id(), address.place()),
                (u64::from(arena_id), place)
            );
        }
    }

    #[test]
    fn owners_are_small() {
        assert_eq!(
            (size_of::<SecretKey>(), size_of::<Option<KeyHandle>>()),
            (16, 8)
        );
    }
}
