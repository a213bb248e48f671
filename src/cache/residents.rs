//! What is kept, in order: slots, eviction order, expiry lists and the sweep after a purge.
//!
//! One lock holds all of it; only misses, ticks and purges' sweeps take it, never a hit. Every change
//! of the index happens under it too, so a slot always belongs to the entry that says so.
//! Lock order: this one, then a shard of the index.

use super::sieve::Sieve;
use super::slots::Slots;
use super::visited::Visited;
use super::wheel::{Tenths, Wheel};

/// The bookkeeping beside the index.
pub(super) struct Residents {
    pub(super) slots: Slots,
    order: Sieve,
    wheel: Wheel,
    /// Slots below this are still to be looked at for purged entries.
    sweep_below: u32,
}

impl Residents {
    pub(super) fn new(count: usize, life: Tenths) -> Self {
        Self {
            slots: Slots::new(count),
            order: Sieve::new(count),
            wheel: Wheel::new(count, life),
            sweep_below: 0,
        }
    }

    /// A slot for `name`, newest in order; `None` when all are in use.
    pub(super) fn admit(&mut self, name: u64, expires: Tenths, visited: &Visited) -> Option<u32> {
        let slot = self.slots.take(name)?;
        visited.take(slot);
        self.order.admit(slot);
        self.wheel.add(slot, expires);
        Some(slot)
    }

    /// The entry in `slot` has new content and a new life.
    pub(super) fn renew(&mut self, slot: u32, expires: Tenths) {
        self.wheel.remove(slot);
        self.wheel.add(slot, expires);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        self.order.remove(slot);
        self.wheel.remove(slot);
        self.slots.give_back(slot);
    }

    /// The slot to evict next; [`Residents::remove`] it.
    pub(super) fn victim(&mut self, visited: &Visited) -> Option<u32> {
        self.order.victim(visited)
    }

    /// A slot whose entry has expired; [`Residents::remove`] it.
    pub(super) fn expired(&mut self, now: Tenths) -> Option<u32> {
        self.wheel.expired(now)
    }

    /// Look at every slot again: something was purged.
    pub(super) fn start_sweep(&mut self) {
        self.sweep_below = self.slots.high();
    }

    /// The next slot to look at; it may be free.
    pub(super) fn sweep(&mut self) -> Option<u32> {
        self.sweep_below = self.sweep_below.checked_sub(1)?;
        Some(self.sweep_below)
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep_below > 0
    }
}
