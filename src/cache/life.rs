//! How old what is found is: how much of its life is left, whether it should be fetched anew, and what
//! may still be served after its life.
//!
//! Must never be true: an entry past its life served by anything but [`Cache::get_stale`]; more than
//! [`REFRESHES_MAX`] finders of one entry told to fetch it anew.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::index::Ready;
use super::wheel::Tenths;
use super::{Cache, Digest};
use crate::metrics::LIFE_PARTS;
use crate::secret::SecretKey;

/// Part of its life, at the end, in which an entry is fetched anew: one in so many.
const LAST: Tenths = 10;
/// How often, evenly spread over that part, a finder is told to: a try may have been given up for lack
/// of capacity.
const REFRESHES_MAX: Tenths = 4;

/// How old a found entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Age {
    /// In which of [`LIFE_PARTS`] equal parts of `ttl_s` the rest of its life is; 0: nearly over.
    pub part_left: usize,
    /// It is in the last tenth of its life, and this finder is the one to have it fetched anew.
    pub refresh: bool,
}

impl Cache {
    /// As [`Cache::lookup`], and tells the entry's age.
    pub fn lookup_aged<R>(
        &self,
        key: &Digest,
        now: Instant,
        hit: impl FnOnce(&[u8]) -> R,
    ) -> Option<(R, Age)> {
        self.with_ready(key, now, self.stale, |ready, left| {
            (self.arena.peek(&ready.handle, hit), self.age(ready, left))
        })
    }

    /// As [`Cache::get`], and tells the entry's age.
    pub fn get_aged(&self, key: &Digest, now: Instant) -> Option<(SecretKey, Age)> {
        self.with_ready(key, now, self.stale, |ready, left| {
            (self.arena.share(&ready.handle), self.age(ready, left))
        })
    }

    /// A handle on a key whose life is over, for at most `stale_max_s`; purged ones stay purged. For an
    /// HSM that is down, and nothing else.
    pub fn get_stale(&self, key: &Digest, now: Instant) -> Option<SecretKey> {
        self.with_ready(key, now, 0, |ready, _| self.arena.share(&ready.handle))
    }

    /// The longest life of an entry.
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(u64::from(self.ttl) * 100)
    }

    /// For how long an entry whose life is over is kept for [`Cache::get_stale`].
    pub fn stale_max(&self) -> Duration {
        Duration::from_millis(u64::from(self.stale) * 100)
    }

    /// The least that is left of the life of an entry in part `part_left`.
    pub fn least_left(&self, part_left: usize) -> Duration {
        let tenths = u64::try_from(part_left)
            .unwrap_or(0)
            .saturating_mul(u64::from(self.ttl) + 1)
            .div_ceil(LIFE_PARTS as u64);
        Duration::from_millis(tenths.saturating_mul(100))
    }

    fn age(&self, ready: &Ready, left: Tenths) -> Age {
        let part = (u64::from(left) * self.parts_scale) >> 32;
        Age {
            part_left: usize::try_from(part).unwrap_or(0),
            refresh: left < self.ttl / LAST && self.claims_refresh(ready, left),
        }
    }

    #[cold]
    fn claims_refresh(&self, ready: &Ready, left: Tenths) -> bool {
        let last = (self.ttl / LAST).max(1);
        let passed = u64::from(last.saturating_sub(left)) * u64::from(REFRESHES_MAX);
        let turn = (passed / u64::from(last) + 1).min(u64::from(REFRESHES_MAX));
        let turn = u8::try_from(turn).unwrap_or(u8::MAX);
        let asked = ready.refreshes.load(Ordering::Relaxed);
        asked < turn
            && ready
                .refreshes
                .compare_exchange(asked, turn, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// The time to live, less up to a tenth by the digest.
    pub(super) fn life(&self, rest: u64) -> Tenths {
        let jitter = rest % (u64::from(self.ttl / 10) + 1);
        self.ttl - Tenths::try_from(jitter).unwrap_or(0)
    }
}

/// What a rest of life is multiplied by, and shifted down by 32 bits, to find its part.
pub(super) fn parts_scale(ttl: Tenths) -> u64 {
    ((LIFE_PARTS as u64) << 32) / (u64::from(ttl) + 1)
}
