//! The lock-sharded map from a digest to its ready key, sized once.
//!
//! Must never be true: a shard that grows. The table under each shard is at most about half full, so
//! that neither an uneven spread nor the marks of deleted entries use up its reserve.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicU8;

use dashmap::DashMap;

use super::Digest;
use super::epochs::{FamilyIndex, Stamp};
use super::wheel::Tenths;
use crate::secret::KeyHandle;

/// First half of a [`Digest`]: what the map is keyed by.
pub(super) type Name = u64;

/// A key ready to be served. Everything a hit needs is here: the next access is the key itself.
pub(super) struct Ready {
    pub(super) handle: KeyHandle,
    /// Second half of the [`Digest`]. Two digests with one name are never confused; the newer stays.
    pub(super) rest: u64,
    pub(super) expires: Tenths,
    pub(super) stamp: Stamp,
    pub(super) slot: u32,
    pub(super) family: FamilyIndex,
    /// How often it was to be fetched anew; see `life`.
    pub(super) refreshes: AtomicU8,
}

pub(super) type Index = DashMap<Name, Ready, BuildHasherDefault<Uniform>>;

// Memory per key (performance.md P8) rests on this: two buckets an entry at worst fill.
const _: () = assert!(size_of::<(Name, Ready)>() <= 40);

/// Passes a [`Name`] through: it is uniform already.
#[derive(Default)]
pub(super) struct Uniform(u64);

impl Hasher for Uniform {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }
    /// Never used by a `u64` key; still a hash.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}

/// Both halves of a digest.
pub(super) fn split(digest: &Digest) -> (Name, u64) {
    let whole = u128::from_le_bytes(digest.0);
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    let name = whole as u64;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the upper half, shifted down"
    )]
    let rest = (whole >> 64) as u64;
    (name, rest)
}

/// An index for `entries`, with every bucket it will ever have.
pub(super) fn allocate(entries: usize) -> Index {
    let shards = (entries / 2048).next_power_of_two().clamp(16, 1024);
    let mean = entries.div_ceil(shards);
    // Eight standard deviations of an even spread; then 8/7 of it is rounded up to a power of two.
    let spread = mean + 8 * mean.isqrt() + 16;
    // Twice the mean, less what the rounding adds: deleted marks never fill what is left.
    let per_shard = spread.max(mean * 7 / 4);
    DashMap::with_capacity_and_hasher_and_shard_amount(
        per_shard.saturating_mul(shards),
        BuildHasherDefault::default(),
        shards,
    )
}
