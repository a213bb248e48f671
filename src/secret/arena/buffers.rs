//! Long-lived locked buffers: a first-fit list of free stretches in units of 64 bytes.
//!
//! Must never be true: a free stretch that is not zero, or two that touch each other.

use std::ops::{Deref, DerefMut};

use parking_lot::Mutex;

use super::Arena;
use super::mapping::Region;

/// Buffers start on a cache line of their own.
const UNIT_BYTES: usize = 64;

/// The buffer region and its free stretches.
pub(super) struct Buffers {
    region: Region,
    free: Mutex<FreeList>,
}

impl Buffers {
    pub(super) fn new(region: Region) -> Self {
        let free = Mutex::new(FreeList::new(region.bytes()));
        Self { region, free }
    }

    /// Bytes handed out (with rounding), and of all.
    pub(super) fn usage(&self) -> (usize, usize) {
        (
            self.region.bytes() - self.free.lock().bytes(),
            self.region.bytes(),
        )
    }

    #[cfg(test)]
    pub(super) fn region(&self) -> &Region {
        &self.region
    }
}

/// Free stretches by place, none touching the next.
struct FreeList(Vec<(usize, usize)>);

impl FreeList {
    fn new(bytes: usize) -> Self {
        Self(if bytes == 0 {
            Vec::new()
        } else {
            vec![(0, bytes)]
        })
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(_, len)| len).sum()
    }

    fn take(&mut self, len: usize) -> Option<usize> {
        let index = self.0.iter().position(|(_, free)| *free >= len)?;
        let (at, free) = self.0[index];
        if free == len {
            self.0.remove(index);
        } else {
            self.0[index] = (at + len, free - len);
        }
        Some(at)
    }

    fn give(&mut self, at: usize, len: usize) {
        let index = self.0.partition_point(|(free_at, _)| *free_at < at);
        let joins_next = self.0.get(index).is_some_and(|(next, _)| at + len == *next);
        let joins_last = index > 0 && self.0[index - 1].0 + self.0[index - 1].1 == at;
        match (joins_last, joins_next) {
            (true, true) => {
                let (_, next_len) = self.0.remove(index);
                self.0[index - 1].1 += len + next_len;
            }
            (true, false) => self.0[index - 1].1 += len,
            (false, true) => self.0[index] = (at, len + self.0[index].1),
            (false, false) => self.0.insert(index, (at, len)),
        }
    }
}

/// A locked, wiped buffer: derefs to `[u8]`, goes back to the arena on drop.
pub struct LockedBuf {
    arena: &'static Arena,
    at: usize,
    len: usize,
}

impl LockedBuf {
    /// `None` when no free stretch is long enough.
    pub(super) fn new(arena: &'static Arena, len: usize) -> Option<Self> {
        let at = match len.checked_next_multiple_of(UNIT_BYTES)? {
            0 => 0,
            rounded => arena.buffers.free.lock().take(rounded)?,
        };
        Some(Self { arena, at, len })
    }
}

impl Deref for LockedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the stretch is this buffer's alone until drop; `&self` keeps `deref_mut` away.
        unsafe { self.arena.buffers.region.read(self.at, self.len) }
    }
}

impl DerefMut for LockedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the stretch is within the region, mapped for ever, and this buffer's alone until
        // drop; `&mut self` keeps every other slice of it away.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.arena.buffers.region.start(self.at).as_ptr(),
                self.len,
            )
        }
    }
}

impl Drop for LockedBuf {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: still this buffer's alone; it is given back only after.
            unsafe { self.arena.buffers.region.wipe(self.at, self.len) };
            self.arena
                .buffers
                .free
                .lock()
                .give(self.at, self.len.next_multiple_of(UNIT_BYTES));
        }
    }
}

impl std::fmt::Debug for LockedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LockedBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn neighbours_join_in_every_order_of_return() {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut list = FreeList::new(4 * 64);
            let at: Vec<usize> = (0..3).map(|_| list.take(64).unwrap()).collect();
            assert_eq!(at, [0, 64, 128]);
            assert_eq!(list.take(128), None, "only 64 are left");
            for index in order {
                list.give(at[index], 64);
            }
            assert_eq!(list.0, [(0, 256)], "{order:?}");
        }
    }

    #[test]
    fn the_first_stretch_that_fits_is_used() {
        let mut list = FreeList::new(1024);
        let (first, _keep) = (list.take(128).unwrap(), list.take(64).unwrap());
        list.give(first, 128);
        assert_eq!(list.take(192), Some(192), "the hole of 128 is too short");
        assert_eq!(list.take(64), Some(0));
        assert_eq!(list.bytes(), 1024 - 64 - 192 - 64);
    }
}
