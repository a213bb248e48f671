//! When entries expire: one list of slots a second, so that a tick finds them without a search.
//!
//! Only for timely wiping: whether an entry may be served is decided by its own expiry at lookup.
//! Called under the cache's lock.

use super::slots::NIL;

/// Tenths of a second since the cache's start; 13 years fit.
pub(super) type Tenths = u32;

/// Lists at most; longer lives share a list between several seconds.
const LISTS_MAX: u32 = 1 << 16;
/// Set in `before` of a list's first slot; the rest is the list's number.
const HEAD: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

/// A ring of lists.
pub(super) struct Wheel {
    links: Box<[Link]>,
    heads: Box<[u32]>,
    /// Width of one list.
    width: Tenths,
    /// The earliest list that may hold something, not yet reduced to the ring.
    cursor: u32,
}

impl Wheel {
    /// For `slots` entries that live at most `life`.
    pub(super) fn new(slots: usize, life: Tenths) -> Self {
        let width = 10 * (1 + life / 10 / LISTS_MAX);
        // Twice the life: a tick that comes late still finds old and new entries in different lists.
        let lists = 2 * (life / width + 2);
        Self {
            links: vec![
                Link {
                    before: 0,
                    after: 0
                };
                slots
            ]
            .into_boxed_slice(),
            heads: vec![NIL; lists as usize].into_boxed_slice(),
            width,
            cursor: 0,
        }
    }

    fn list(&self, at: u32) -> u32 {
        at % u32::try_from(self.heads.len()).unwrap_or(u32::MAX)
    }

    /// Files `slot` under the first whole list that ends at or after `expires`.
    pub(super) fn add(&mut self, slot: u32, expires: Tenths) {
        let list = self.list(expires.div_ceil(self.width));
        let first = self.heads[list as usize];
        self.links[slot as usize] = Link {
            before: HEAD | list,
            after: first,
        };
        if first != NIL {
            self.links[first as usize].before = slot;
        }
        self.heads[list as usize] = slot;
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let Link { before, after } = self.links[slot as usize];
        if before & HEAD == 0 {
            self.links[before as usize].after = after;
        } else {
            self.heads[(before & !HEAD) as usize] = after;
        }
        if after != NIL {
            self.links[after as usize].before = before;
        }
    }

    /// A slot whose entry expired at or before `now`, still filed; `None` when none is left.
    pub(super) fn expired(&mut self, now: Tenths) -> Option<u32> {
        let due = now / self.width;
        let lists = u32::try_from(self.heads.len()).unwrap_or(u32::MAX);
        // After a long sleep one round of the ring covers everything.
        self.cursor = self.cursor.max(due.saturating_sub(lists - 1));
        while self.cursor <= due {
            let first = self.heads[self.list(self.cursor) as usize];
            if first != NIL {
                return Some(first);
            }
            if self.cursor == due {
                return None;
            }
            self.cursor += 1;
        }
        None
    }
}
