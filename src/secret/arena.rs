//! One locked mapping, reserved at start, in which every unwrapped key rests.
//!
//! Keys of at most 512 bytes live in slots of a few size classes, longer ones pass through regions
//! of their own, and connections and HSM sessions take their buffers from a third part. Filled by
//! `hsm` and read by `cache` and `engine`.
//!
//! Must never be true: a byte of a free slot, region or buffer that is not zero; a write to a slot
//! that someone may read; growth. What is where is kept in ordinary memory and tells no key.

mod buffers;
mod key;
mod large;
mod mapping;
mod plan;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering, fence};

use parking_lot::Mutex;

use buffers::Buffers;
use key::{ARENAS_MAX, Address, Place};
use large::Large;
use mapping::Region;
use slots::{Book, CLASS_BYTES_MAX, GRANULE_BYTES, PAGE_BYTES, class_of};

pub use buffers::LockedBuf;
pub use key::{KeyHandle, SecretKey};
pub use plan::{ArenaError, ArenaPlan, Mode, memlock_limit};

/// Why bytes were not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreError {
    /// No free slot of the class (or no free large region).
    Full,
    /// Longer than a large region.
    TooLong,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => {
                "the locked memory for keys is full; try again, or keep fewer cached keys"
            }
            Self::TooLong => "the plaintext is longer than the locked memory set aside for one",
        })
    }
}

impl std::error::Error for StoreError {}

/// How full the arena is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usage {
    /// Bytes of slots in use, at the size of their class.
    pub key_bytes_used: usize,
    /// Bytes of pages lent to classes, whether their slots are used or not.
    pub key_bytes_lent: usize,
    /// Bytes for slots in all.
    pub key_bytes_total: usize,
    /// Large regions and medium places in use.
    pub large_used: usize,
    /// Large regions and medium places in all.
    pub large_total: usize,
    /// Bytes of buffers handed out.
    pub buffer_bytes_used: usize,
    /// Bytes for buffers in all.
    pub buffer_bytes_total: usize,
}

/// The mapping. One for the process, leaked on purpose: keys point into it until the end.
pub struct Arena {
    /// Tells the handles of one arena from another's: only tests have more than one.
    id: u32,
    mode: Mode,
    slots: Region,
    /// Holders of the slot that starts at each granule.
    slot_holders: Box<[AtomicU32]>,
    /// One lock for all classes: only misses and evictions take it, for a few nanoseconds.
    book: Mutex<Book>,
    large: Large,
    buffers: Buffers,
}

impl Arena {
    /// Maps, locks, guards and touches everything.
    pub fn reserve(plan: &ArenaPlan) -> Result<&'static Arena, ArenaError> {
        static IDS: AtomicU32 = AtomicU32::new(0);
        plan.check()?;
        let id = IDS
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |id| {
                (id < ARENAS_MAX).then_some(id + 1)
            })
            .map_err(|id| ArenaError::Plan {
                field: "arenas",
                value: id as usize,
                max: ARENAS_MAX as usize,
            })?;
        let (mode, regions) = mapping::map(plan)?;
        let mut regions = regions.into_iter();
        let (Some(slots), Some(buffers), Some(medium)) =
            (regions.next(), regions.next(), regions.next())
        else {
            return Err(ArenaError::Plan {
                field: "regions",
                value: 0,
                max: 3,
            });
        };
        let pages = slots.bytes() / PAGE_BYTES;
        let pages_u32 = u32::try_from(pages).map_err(|_| ArenaError::Plan {
            field: "key_bytes",
            value: plan.key_bytes,
            max: u32::MAX as usize,
        })?;
        Ok(Box::leak(Box::new(Self {
            id,
            mode,
            slot_holders: (0..slots.bytes() / GRANULE_BYTES)
                .map(|_| AtomicU32::new(0))
                .collect(),
            slots,
            book: Mutex::new(Book::new(pages_u32)),
            large: Large::new(
                medium,
                plan.medium_count(),
                regions.collect(),
                plan.large_bytes,
            ),
            buffers: Buffers::new(buffers),
        })))
    }

    /// Which mode is in force.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Copies `bytes` into a slot of the smallest class that holds them.
    pub fn store(&'static self, bytes: &[u8]) -> Result<SecretKey, StoreError> {
        let len = bytes.len();
        let (region, at, place) = if let Some(class) = class_of(len) {
            let granule = self.book.lock().take(class).ok_or(StoreError::Full)?;
            (
                &self.slots,
                granule * GRANULE_BYTES,
                Place::Slot { granule, len },
            )
        } else if len <= self.large.bytes_max {
            let index = self.large.take(len).ok_or(StoreError::Full)?;
            let (region, at) = self.large.at(index);
            (region, at, Place::Large { index, len })
        } else {
            return Err(StoreError::TooLong);
        };
        // SAFETY: the book has just handed this slot or region out, at least `len` bytes, to us alone.
        unsafe { region.write(at, bytes) };
        self.holders(place).store(1, Ordering::Relaxed);
        Ok(SecretKey::from_counted(self, Address::new(self.id, place)))
    }

    /// A zeroed locked buffer of exactly `len` bytes; `None` when the buffer region is used up.
    pub fn buffer(&'static self, len: usize) -> Option<LockedBuf> {
        LockedBuf::new(self, len)
    }

    /// Lends the bytes of `handle` to `reader` and no longer. No lock, no count.
    ///
    /// # Panics
    /// When `handle` is another arena's; a program has one.
    pub fn peek<R>(&self, handle: &KeyHandle, reader: impl FnOnce(&[u8]) -> R) -> R {
        self.assert_own(handle);
        // SAFETY: the handle is ours and holds its slot while it is borrowed.
        reader(unsafe { self.held(handle.0) })
    }

    /// One more owner of the key that `handle` holds.
    ///
    /// # Panics
    /// When `handle` is another arena's; a program has one.
    pub fn share(&'static self, handle: &KeyHandle) -> SecretKey {
        self.assert_own(handle);
        // SAFETY: the handle is ours and holds its slot while it is borrowed.
        unsafe { self.hold(handle.0) };
        SecretKey::from_counted(self, handle.0)
    }

    /// Turns `handle` back into a key; drop that to give up the hold.
    ///
    /// # Panics
    /// When `handle` is another arena's; a program has one.
    #[allow(clippy::needless_pass_by_value)] // The hold moves into the key.
    pub fn redeem(&'static self, handle: KeyHandle) -> SecretKey {
        self.assert_own(&handle);
        SecretKey::from_counted(self, handle.0)
    }

    /// How full it is now. Takes each lock once.
    pub fn usage(&self) -> Usage {
        let (key_bytes_used, lent_pages) = {
            let book = self.book.lock();
            (book.used_bytes, book.lent_pages)
        };
        let (large_used, large_total) = self.large.usage();
        let (buffer_bytes_used, buffer_bytes_total) = self.buffers.usage();
        Usage {
            key_bytes_used,
            key_bytes_lent: lent_pages * PAGE_BYTES,
            key_bytes_total: self.slots.bytes(),
            large_used,
            large_total,
            buffer_bytes_used,
            buffer_bytes_total,
        }
    }

    /// Without it a stray handle would read outside the mapping.
    fn assert_own(&self, handle: &KeyHandle) {
        assert!(
            handle.0.arena_id() == u64::from(self.id),
            "a key handle of another arena"
        );
    }

    fn holders(&self, place: Place) -> &AtomicU32 {
        match place {
            Place::Slot { granule, .. } => &self.slot_holders[granule],
            Place::Large { index, .. } => &self.large.holders[index],
        }
    }

    fn region(&self, place: Place) -> (&Region, usize, usize) {
        match place {
            Place::Slot { granule, len } => (&self.slots, granule * GRANULE_BYTES, len),
            Place::Large { index, len } => {
                let (region, at) = self.large.at(index);
                (region, at, len)
            }
        }
    }

    /// The bytes at `address`.
    ///
    /// # Safety
    /// The address is this arena's, and the caller has a hold on it for as long as the slice lives.
    unsafe fn held(&self, address: Address) -> &[u8] {
        let (region, at, len) = self.region(address.place());
        // SAFETY: `store` made the address, so it is within the region; a held slot is never written.
        unsafe { region.read(at, len) }
    }

    /// Counts one more hold.
    ///
    /// # Safety
    /// The address is this arena's, and the caller has a hold on it now.
    unsafe fn hold(&self, address: Address) {
        // Relaxed as in `Arc`: a new hold is made only from one that is there.
        let before = self
            .holders(address.place())
            .fetch_add(1, Ordering::Relaxed);
        if before > u32::MAX / 2 {
            // Only forgotten keys get here; wrapping round would free a slot in use.
            std::process::abort();
        }
    }

    /// Gives one hold up; the last wipes the slot and frees it.
    ///
    /// # Safety
    /// The address is this arena's, and the hold was the caller's to give up.
    unsafe fn release(&self, address: Address) {
        let place = address.place();
        if self.holders(place).fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // Every other holder's last read comes before the wipe.
        fence(Ordering::Acquire);
        let (region, at, len) = self.region(place);
        // SAFETY: no hold is left and the book has not taken the slot back yet: it is ours alone.
        unsafe { region.wipe(at, len) };
        match place {
            Place::Slot { granule, len } => {
                if let Some(class) = class_of(len) {
                    self.book.lock().give(class, granule);
                }
            }
            Place::Large { index, .. } => self.large.give(index),
        }
    }
}

const _: () = assert!(CLASS_BYTES_MAX <= PAGE_BYTES);
