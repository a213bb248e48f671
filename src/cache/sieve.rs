//! SIEVE: evict the oldest entry that was not hit since the hand last passed; a hit moves nothing.
//!
//! New entries enter at the newest end; the hand walks from the oldest to the newest, clears visited
//! bits on its way and stays where it evicted. One thing is added to the published algorithm: the
//! hand spares the newest tenth. Without that, entries under a hand that has reached the newest end
//! go before their second request, and keys read twice were nearly always fetched twice. Measured
//! in `bench/README.md` ("Eviction"). Called under the cache's lock, which only misses take.

use super::slots::NIL;
use super::visited::Visited;

/// Visited entries the hand skips for one eviction. Without a bound one insert into a million hot
/// entries would walk them all while every other miss waits.
const SKIPS_MAX: usize = 512;
/// One in so many entries is young: the hand turns back to the oldest before it gets there.
const YOUNG_SHARE: usize = 10;

#[derive(Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
    /// How many entries had entered before it.
    born: u32,
}

/// The queue and its hand.
pub(super) struct Sieve {
    links: Box<[Link]>,
    newest: u32,
    oldest: u32,
    hand: u32,
    /// Entries that have entered so far; wraps.
    entered: u32,
    /// Entries the hand spares at the newest end.
    young: u32,
}

impl Sieve {
    pub(super) fn new(slots: usize) -> Self {
        // All zeros rather than NIL: the kernel then gives the pages when they are first used.
        let links = vec![
            Link {
                newer: 0,
                older: 0,
                born: 0
            };
            slots
        ]
        .into_boxed_slice();
        let young = u32::try_from(slots / YOUNG_SHARE).unwrap_or(0);
        Self {
            links,
            newest: NIL,
            oldest: NIL,
            hand: NIL,
            entered: 0,
            young,
        }
    }

    /// `slot` is in use from now on.
    pub(super) fn admit(&mut self, slot: u32) {
        self.links[slot as usize] = Link {
            newer: NIL,
            older: self.newest,
            born: self.entered,
        };
        self.entered = self.entered.wrapping_add(1);
        match self.newest {
            NIL => self.oldest = slot,
            newest => self.links[newest as usize].newer = slot,
        }
        self.newest = slot;
    }

    /// `slot` is free from now on: evicted, expired or purged.
    pub(super) fn remove(&mut self, slot: u32) {
        let Link { newer, older, .. } = self.links[slot as usize];
        match newer {
            NIL => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
        match older {
            NIL => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        if self.hand == slot {
            self.hand = newer;
        }
    }

    /// The slot to evict, still admitted; `None` when nothing is.
    pub(super) fn victim(&mut self, visited: &Visited) -> Option<u32> {
        let mut at = if self.hand == NIL {
            self.oldest
        } else {
            self.hand
        };
        if at == NIL {
            return None;
        }
        for _ in 0..SKIPS_MAX {
            let is_young = self.entered.wrapping_sub(self.links[at as usize].born) < self.young;
            if is_young && at != self.oldest {
                at = self.oldest;
            }
            if !visited.take(at) {
                break;
            }
            at = match self.links[at as usize].newer {
                NIL => self.oldest,
                newer => newer,
            };
        }
        self.hand = at;
        Some(at)
    }
}
