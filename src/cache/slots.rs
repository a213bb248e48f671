//! Which slot holds which key: numbers for entries, so that eviction and expiry need four bytes a link.
//!
//! Must never be true: a slot handed out twice before it was given back. Called under the cache's lock.

/// No slot.
pub(super) const NIL: u32 = u32::MAX;
/// Slots are numbered below this; the bit above marks list heads (`wheel`).
pub(super) const SLOTS_MAX: usize = 1 << 30;

/// The names of slots in use; free ones are chained through the same array.
pub(super) struct Slots {
    names: Box<[u64]>,
    /// First of the slots that were given back.
    free: u32,
    /// Slots from here on were never used.
    untouched: u32,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self {
            names: vec![0; count].into_boxed_slice(),
            free: NIL,
            untouched: 0,
        }
    }

    /// A slot named `name`, or `None` when all are in use.
    pub(super) fn take(&mut self, name: u64) -> Option<u32> {
        let slot = if self.free == NIL {
            let slot = self.untouched;
            if slot as usize >= self.names.len() {
                return None;
            }
            self.untouched += 1;
            slot
        } else {
            let slot = self.free;
            // A free slot's name is the next free slot, which was a u32.
            self.free = u32::try_from(self.names[slot as usize]).unwrap_or(NIL);
            slot
        };
        self.names[slot as usize] = name;
        Some(slot)
    }

    pub(super) fn give_back(&mut self, slot: u32) {
        self.names[slot as usize] = u64::from(self.free);
        self.free = slot;
    }

    /// The name of a slot in use; anything for a free one.
    pub(super) fn name(&self, slot: u32) -> u64 {
        self.names[slot as usize]
    }

    /// Slots at or above this were never used.
    pub(super) fn high(&self) -> u32 {
        self.untouched
    }
}
