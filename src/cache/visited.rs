//! One bit a slot: hit since the eviction hand last passed.
//!
//! A bitmap of its own, because a million bits stay in the CPU's second-level cache: marking a hit
//! costs no main-memory access. Called under a shard's read guard (mark) and the cache's lock (take).

use std::sync::atomic::{AtomicU64, Ordering};

/// Relaxed throughout: a lost mark costs a hit ratio nothing that can be measured.
pub(super) struct Visited(Box<[AtomicU64]>);

impl Visited {
    pub(super) fn new(slots: usize) -> Self {
        Self((0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    fn word(&self, slot: u32) -> (&AtomicU64, u64) {
        (&self.0[slot as usize / 64], 1 << (slot % 64))
    }

    /// Writes only when the bit is clear, so that hot keys do not bounce a line between cores.
    pub(super) fn mark(&self, slot: u32) {
        let (word, bit) = self.word(slot);
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Clears the bit and says whether it was set.
    pub(super) fn take(&self, slot: u32) -> bool {
        let (word, bit) = self.word(slot);
        word.load(Ordering::Relaxed) & bit != 0
            && word.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}
