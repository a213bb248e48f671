//! Shares of the cache: one client that asks for ever new keys must not push out those of others.
//!
//! While there is room everybody fills. When the cache is full, a client may put in no more than
//! its share during one life of an entry: the whole cache while it is alone, a half beside one
//! other, never less than a quarter. Beyond it its answers pass the cache by. Which entry makes room
//! is the cache's choice (what was not asked for again goes first). No entry bears an owner: that
//! would cost bytes a key, and an entry that all ask for has none.

use std::time::Duration;

use parking_lot::Mutex;

/// Clients beyond so many make a share no smaller: many that ask for little would otherwise fill nothing.
const SHARES_MAX: usize = 4;
/// Windows are numbered from here: those that a new client has never filled in are long over.
const FIRST_WINDOW: u64 = 2;

/// What one client has filled in its last window.
#[derive(Debug, Default)]
pub(super) struct Fills {
    window: u64,
    count: usize,
}

#[derive(Debug)]
struct Active {
    window: u64,
    /// Clients that have filled in this window.
    now: usize,
    /// Clients that have filled in the one before, and not yet in this: their entries still live.
    before: usize,
}

#[derive(Debug)]
pub(super) struct Shares {
    entries_max: usize,
    window_ns: u64,
    active: Mutex<Active>,
}

impl Shares {
    pub(super) fn new(entries_max: usize, ttl: Duration) -> Self {
        Self {
            entries_max,
            window_ns: u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX).max(1),
            active: Mutex::new(Active {
                window: FIRST_WINDOW,
                now: 0,
                before: 0,
            }),
        }
    }

    /// Whether a fill may enter; counts it if so.
    pub(super) fn admit(&self, fills: &mut Fills, cache_len: usize, now_ns: u64) -> bool {
        let mut active = self.active.lock();
        active.turn_to(self.window_at(now_ns));
        if fills.window != active.window {
            if fills.window + 1 == active.window {
                active.before = active.before.saturating_sub(1);
            }
            active.now += 1;
            *fills = Fills {
                window: active.window,
                count: 0,
            };
        }
        let share = self.entries_max / (active.now + active.before).clamp(1, SHARES_MAX);
        let admitted = cache_len < self.entries_max || fills.count < share;
        fills.count += usize::from(admitted);
        admitted
    }

    /// Whether the window of `fills` and the one after it are over.
    pub(super) fn is_over(&self, fills: &Fills, now_ns: u64) -> bool {
        fills.window + 1 < self.window_at(now_ns)
    }

    fn window_at(&self, now_ns: u64) -> u64 {
        FIRST_WINDOW + now_ns / self.window_ns
    }
}

impl Active {
    /// A thread that read the clock earlier turns nothing back.
    fn turn_to(&mut self, window: u64) {
        if window > self.window {
            self.before = if window == self.window + 1 {
                self.now
            } else {
                0
            };
            self.now = 0;
            self.window = window;
        }
    }
}
