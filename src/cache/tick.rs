//! Wiping what nobody may be served any more: after its life, and after a purge. A little at a time.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::index::Ready;
use super::residents::Residents;
use super::{Cache, Reason};

/// Slots one [`Cache::tick`] wipes at most.
const TICK_WIPES_MAX: usize = 256;
/// Slots one [`Cache::tick`] looks at after a purge.
const TICK_LOOKS_MAX: usize = 1024;

impl Cache {
    /// Once a second or more often: wipes at most 256 expired or purged slots a call. True: call again soon.
    ///
    /// The lock is taken for one slot at a time, so that a miss never waits for a whole tick.
    pub fn tick(&self, now: Instant) -> bool {
        let now = self.tenths(now);
        if self.sweep_wanted.swap(false, Ordering::AcqRel) {
            self.residents.lock().start_sweep();
        }
        let mut wipes = 0;
        while wipes < TICK_WIPES_MAX
            && self.wipe_one(|residents| Some((residents.expired(now)?, Reason::Expired)))
        {
            wipes += 1;
        }
        for _ in 0..TICK_LOOKS_MAX {
            if wipes == TICK_WIPES_MAX {
                break;
            }
            let mut is_over = false;
            let wiped = self.wipe_one(|residents| {
                let Some(slot) = residents.sweep() else {
                    is_over = true;
                    return None;
                };
                let is_purged = |ready: &Ready| ready.slot == slot && !self.is_current(ready);
                let purged = self
                    .index
                    .view(&residents.slots.name(slot), |_, ready| is_purged(ready));
                (purged == Some(true)).then_some((slot, Reason::Purged))
            });
            wipes += usize::from(wiped);
            if is_over {
                break;
            }
        }
        wipes == TICK_WIPES_MAX || self.residents.lock().is_sweeping()
    }

    /// Removes the slot that `choose` names, and wipes its key after the lock.
    fn wipe_one(&self, choose: impl FnOnce(&mut Residents) -> Option<(u32, Reason)>) -> bool {
        let mut residents = self.residents.lock();
        let Some((slot, reason)) = choose(&mut residents) else {
            return false;
        };
        let gone = self.remove(&mut residents, slot, reason);
        drop(residents);
        self.wipe(gone);
        true
    }
}
