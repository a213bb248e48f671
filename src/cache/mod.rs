//! Unwrapped keys that are ready: lookup, insert, expire, evict, purge. Nothing in flight lives here.
//!
//! Must never be true: an expired or purged entry is served, more entries than configured are held,
//! or a hit takes a lock other than its shard's read lock. Called by `engine` and by `hsm`'s
//! completions; `node` calls [`Cache::tick`].
//!
//! A hit touches the shard, a bucket, the visited bitmap and the key itself. Everything else
//! (`residents`) is for misses. Bytes per 32-byte key at 1 000 000 entries: index 86 (41 a bucket,
//! 2.1 buckets an entry), slot name 8, eviction links 12, expiry links 8, arena 32 and its count: 153 measured (`bench`).

mod epochs;
mod index;
mod life;
mod residents;
mod sieve;
mod slots;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
mod tick;
mod visited;
mod wheel;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use self::epochs::{Epochs, FamilyIndex, Stamp};
use self::index::{Index, Ready};
use self::residents::Residents;
use self::visited::Visited;
use self::wheel::Tenths;
use crate::secret::{Arena, KeyHandle, SecretKey};

pub use life::Age;

/// Names one (object, version, ciphertext, associated data, context): see `engine`'s key derivation.
/// Uniform already (a digest under a key of this process), so the map hashes it by its first bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Digest(pub [u8; 16]);

/// A number for a key name, given by `keys`; purges go by it.
/// Those from 65 535 on share one epoch with all others: purging one of them purges everything.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Family(pub u32);

/// Taken before the HSM is asked; an insert under an epoch older than a purge is discarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FillEpoch {
    /// Purges of everything so far.
    pub all: u32,
    /// Purges of the family so far.
    pub family: u32,
}

/// Sizes and lives.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Entries held at most. 0: nothing is cached.
    pub entries_max: usize,
    /// Life of an entry, hard; up to a tenth less by its digest, so that entries filled together do
    /// not expire together. 0: nothing is cached.
    pub ttl_s: u32,
    /// How long after its life an entry is kept, for [`Cache::get_stale`] only.
    pub stale_max_s: u32,
}

/// What left the cache since its start, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CacheStats {
    /// Pushed out for a newer entry, or by [`Cache::make_room`].
    pub evictions: u64,
    /// Wiped after their life.
    pub expirations: u64,
    /// Wiped after a purge.
    pub purged: u64,
}

/// Why an entry is removed.
#[derive(Clone, Copy)]
enum Reason {
    Evicted,
    Expired,
    Purged,
}

/// The cache.
pub struct Cache {
    index: Index,
    visited: Visited,
    epochs: Epochs,
    residents: Mutex<Residents>,
    arena: &'static Arena,
    start: Instant,
    entries_max: usize,
    ttl: Tenths,
    /// By how much an entry's expiry lies behind the end of its life.
    stale: Tenths,
    parts_scale: u64,
    len: AtomicUsize,
    sweep_wanted: AtomicBool,
    evictions: AtomicU64,
    expirations: AtomicU64,
    purged: AtomicU64,
    purges: AtomicU64,
}

impl Cache {
    /// Everything is allocated here; nothing grows later.
    pub fn new(config: &CacheConfig, arena: &'static Arena, start: Instant) -> Self {
        let entries_max = config.entries_max.min(slots::SLOTS_MAX);
        let ttl = config.ttl_s.saturating_mul(10);
        let stale = config.stale_max_s.saturating_mul(10);
        Self {
            index: index::allocate(entries_max),
            visited: Visited::new(entries_max),
            epochs: Epochs::new(),
            residents: Mutex::new(Residents::new(entries_max, ttl.saturating_add(stale))),
            arena,
            start,
            entries_max,
            ttl,
            stale,
            parts_scale: life::parts_scale(ttl),
            len: AtomicUsize::new(0),
            sweep_wanted: AtomicBool::new(false),
            evictions: AtomicU64::new(0),
            expirations: AtomicU64::new(0),
            purged: AtomicU64::new(0),
            purges: AtomicU64::new(0),
        }
    }

    /// Where the keys are.
    pub fn arena(&self) -> &'static Arena {
        self.arena
    }

    /// Lends a ready key to `hit` under the shard's guard: encode and leave. `None`: absent, expired or purged.
    ///
    /// `hit` must not call the cache: a second lock of the same shard may never be had.
    pub fn lookup<R>(&self, key: &Digest, now: Instant, hit: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.lookup_aged(key, now, hit).map(|(found, _)| found)
    }

    /// A handle on a ready key, for batch items that wait for others.
    pub fn get(&self, key: &Digest, now: Instant) -> Option<SecretKey> {
        self.with_ready(key, now, self.stale, |ready, _| {
            self.arena.share(&ready.handle)
        })
    }

    /// Lends an entry that has more than `unserved` left before it expires, and how much more.
    fn with_ready<R>(
        &self,
        key: &Digest,
        now: Instant,
        unserved: Tenths,
        hit: impl FnOnce(&Ready, Tenths) -> R,
    ) -> Option<R> {
        let (name, rest) = index::split(key);
        let now = self.tenths(now);
        self.index
            .view(&name, |_, ready| {
                let end = ready.expires.saturating_sub(unserved);
                let served = ready.rest == rest && now < end && self.is_current(ready);
                served.then(|| {
                    self.visited.mark(ready.slot);
                    hit(ready, end.saturating_sub(now))
                })
            })
            .flatten()
    }

    fn is_current(&self, ready: &Ready) -> bool {
        self.epochs.is_current(ready.family, ready.stamp)
    }

    /// Before a fetch.
    pub fn begin_fill(&self, family: Family) -> FillEpoch {
        self.epochs.now(FamilyIndex::of(family))
    }

    /// Whether a purge of the family or of all came after `epoch`.
    pub fn is_stale(&self, family: Family, epoch: FillEpoch) -> bool {
        self.begin_fill(family) != epoch
    }

    /// Makes `plaintext` ready. False: not cacheable, purged since `epoch`, or no room.
    ///
    /// The entry shares the slot of `plaintext`; nothing is copied. A purge that comes while this runs
    /// still wins: the entry carries the epoch of its fill.
    pub fn insert(
        &self,
        key: Digest,
        family: Family,
        plaintext: &SecretKey,
        epoch: FillEpoch,
        now: Instant,
    ) -> bool {
        if !plaintext.is_cacheable()
            || self.entries_max == 0
            || self.ttl == 0
            || self.is_stale(family, epoch)
        {
            return false;
        }
        let (name, rest) = index::split(&key);
        let life = self.life(rest).saturating_add(self.stale);
        let expires = self.tenths(now).saturating_add(life);
        let mut ready = Ready {
            handle: plaintext.clone().into_handle(),
            rest,
            expires,
            stamp: Stamp::from(epoch),
            slot: slots::NIL,
            refreshes: AtomicU8::new(0),
            family: FamilyIndex::of(family),
        };
        let mut residents = self.residents.lock();
        let gone = if let Some(mut held) = self.index.get_mut(&name) {
            ready.slot = held.slot;
            let gone = std::mem::replace(&mut *held, ready);
            drop(held);
            residents.renew(gone.slot, expires);
            Some(gone.handle)
        } else {
            let (slot, gone) = self.slot_for(&mut residents, name, expires);
            let Some(slot) = slot else {
                drop(residents);
                self.wipe(Some(ready.handle));
                return false;
            };
            ready.slot = slot;
            self.index.insert(name, ready);
            self.len.fetch_add(1, Ordering::Relaxed);
            gone
        };
        drop(residents);
        self.wipe(gone);
        true
    }

    /// A slot for `name`, and the key that was evicted for it. `None` only when the order is broken.
    fn slot_for(
        &self,
        residents: &mut Residents,
        name: u64,
        expires: Tenths,
    ) -> (Option<u32>, Option<KeyHandle>) {
        if let Some(slot) = residents.admit(name, expires, &self.visited) {
            return (Some(slot), None);
        }
        let gone = residents
            .victim(&self.visited)
            .and_then(|slot| self.remove(residents, slot, Reason::Evicted));
        (residents.admit(name, expires, &self.visited), gone)
    }

    /// Takes the entry in `slot` out of everything. Its key is wiped by the caller, after the lock.
    fn remove(&self, residents: &mut Residents, slot: u32, reason: Reason) -> Option<KeyHandle> {
        let name = residents.slots.name(slot);
        residents.remove(slot);
        let (_, ready) = self.index.remove_if(&name, |_, ready| ready.slot == slot)?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        let counter = match reason {
            Reason::Evicted => &self.evictions,
            Reason::Expired => &self.expirations,
            Reason::Purged => &self.purged,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Some(ready.handle)
    }

    fn wipe(&self, handle: Option<KeyHandle>) {
        if let Some(handle) = handle {
            drop(self.arena.redeem(handle));
        }
    }

    /// Evicts up to `count` entries, for a caller whose [`Arena::store`] was refused as full; it then
    /// tries again. Returns how many went; their slots are free unless somebody still holds the key.
    pub fn make_room(&self, count: usize) -> usize {
        for made in 0..count {
            let mut residents = self.residents.lock();
            let Some(slot) = residents.victim(&self.visited) else {
                return made;
            };
            let gone = self.remove(&mut residents, slot, Reason::Evicted);
            drop(residents);
            self.wipe(gone);
        }
        count
    }

    /// No entry of `family` is served from now on; slots are wiped by the next ticks.
    pub fn purge_family(&self, family: Family) {
        self.purges.fetch_add(1, Ordering::Relaxed);
        self.epochs.bump(FamilyIndex::of(family));
        self.sweep_wanted.store(true, Ordering::Release);
    }

    /// No entry is served from now on.
    pub fn purge_all(&self) {
        self.purges.fetch_add(1, Ordering::Relaxed);
        self.epochs.bump_all();
        self.sweep_wanted.store(true, Ordering::Release);
    }

    /// Purges so far, of a family or of all: what was known of the cache before the last one is history.
    pub fn purges(&self) -> u64 {
        self.purges.load(Ordering::Relaxed)
    }

    /// Drops one entry: the HSM says that it should not be.
    pub fn forget(&self, key: &Digest) {
        let (name, rest) = index::split(key);
        let mut residents = self.residents.lock();
        let slot = self
            .index
            .view(&name, |_, ready| (ready.rest == rest).then_some(ready.slot));
        let gone = slot
            .flatten()
            .and_then(|slot| self.remove(&mut residents, slot, Reason::Purged));
        drop(residents);
        self.wipe(gone);
    }

    /// Entries held now.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Entries that may be held.
    pub fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What left since the start. Hits and misses are the caller's to count.
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            evictions: self.evictions.load(Ordering::Relaxed),
            expirations: self.expirations.load(Ordering::Relaxed),
            purged: self.purged.load(Ordering::Relaxed),
        }
    }

    fn tenths(&self, now: Instant) -> Tenths {
        let since = now.saturating_duration_since(self.start);
        let tenths = since
            .as_secs()
            .saturating_mul(10)
            .saturating_add(u64::from(since.subsec_millis() / 100));
        Tenths::try_from(tenths).unwrap_or(Tenths::MAX)
    }
}

impl Drop for Cache {
    /// Handles do not give their slots back by themselves.
    fn drop(&mut self) {
        self.make_room(usize::MAX);
    }
}
