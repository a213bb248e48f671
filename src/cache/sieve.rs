//! SIEVE: evict the oldest entry that was not hit since the hand last passed; a hit moves nothing.
//!
//! New entries enter at the newest end; the hand walks from the oldest to the newest, clears visited
//! bits on its way and stays where it evicted. Measured against CLOCK in `bench/README.md`
//! ("Eviction"). Called under the cache's lock, which only misses take.

use super::slots::NIL;
use super::visited::Visited;

/// Visited entries the hand skips for one eviction. Without a bound one insert into a million hot
/// entries would walk them all while every other miss waits.
const SKIPS_MAX: usize = 512;

#[derive(Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
}

/// The queue and its hand.
pub(super) struct Sieve {
    links: Box<[Link]>,
    newest: u32,
    oldest: u32,
    hand: u32,
}

impl Sieve {
    pub(super) fn new(slots: usize) -> Self {
        // All zeros rather than NIL: the kernel then gives the pages when they are first used.
        let links = vec![Link { newer: 0, older: 0 }; slots].into_boxed_slice();
        Self {
            links,
            newest: NIL,
            oldest: NIL,
            hand: NIL,
        }
    }

    /// `slot` is in use from now on.
    pub(super) fn admit(&mut self, slot: u32) {
        self.links[slot as usize] = Link {
            newer: NIL,
            older: self.newest,
        };
        match self.newest {
            NIL => self.oldest = slot,
            newest => self.links[newest as usize].newer = slot,
        }
        self.newest = slot;
    }

    /// `slot` is free from now on: evicted, expired or purged.
    pub(super) fn remove(&mut self, slot: u32) {
        let Link { newer, older } = self.links[slot as usize];
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
