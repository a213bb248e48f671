//! Unwrapped keys that are ready: lookup, insert, expire, evict, purge. Nothing in flight lives here.

use crate::secret::{Arena, SecretKey};
use std::time::Instant;

/// Names one (object, version, ciphertext, associated data, context): see `engine`'s key derivation.
/// Uniform already (a digest under a key of this process), so the map hashes it by its first bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Digest(pub [u8; 16]);

/// A number for a key name, given by `keys`; purges go by it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Family(pub u32);

/// Taken before the HSM is asked; an insert under an epoch older than a purge is discarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FillEpoch {
    pub all: u32,
    pub family: u32,
}

/// Sizes and lives.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    pub entries_max: usize,
    pub ttl_s: u32,
}

/// The cache.
pub struct Cache {}

impl Cache {
    /// Everything is allocated here; nothing grows later.
    pub fn new(_config: &CacheConfig, _arena: &'static Arena, _start: Instant) -> Self {
        todo!()
    }
    /// Lends a ready key to `hit` under the shard's guard: encode and leave. `None`: absent, expired or purged.
    pub fn lookup<R>(
        &self,
        _key: &Digest,
        _now: Instant,
        _hit: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        todo!()
    }
    /// A handle on a ready key, for batch items that wait for others.
    pub fn get(&self, _key: &Digest, _now: Instant) -> Option<SecretKey> {
        todo!()
    }
    /// Before a fetch.
    pub fn begin_fill(&self, _family: Family) -> FillEpoch {
        todo!()
    }
    /// Whether a purge of the family or of all came after `epoch`.
    pub fn is_stale(&self, _family: Family, _epoch: FillEpoch) -> bool {
        todo!()
    }
    /// Makes `plaintext` ready. False: not cacheable, purged since `epoch`, or no room.
    pub fn insert(
        &self,
        _key: Digest,
        _family: Family,
        _plaintext: &SecretKey,
        _epoch: FillEpoch,
        _now: Instant,
    ) -> bool {
        todo!()
    }
    /// No entry of `family` is served from now on; slots are wiped by the next ticks.
    pub fn purge_family(&self, _family: Family) {
        todo!()
    }
    /// No entry is served from now on.
    pub fn purge_all(&self) {
        todo!()
    }
    /// Once a second or more often: wipes at most 256 expired or purged slots a call. True: call again soon.
    pub fn tick(&self, _now: Instant) -> bool {
        todo!()
    }
    /// Entries held now.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
