//! Purges by counting: a purge bumps one number, and whatever was filled under an older one is absent.
//!
//! Must never be true: an entry filled under an older epoch is served after the purge returned.
//! Called by the cache alone.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Family, FillEpoch};

/// Families with an epoch of their own; the rest share the epoch of all.
pub(super) const FAMILIES_MAX: usize = u16::MAX as usize;

/// The epoch of all entries and one of each family.
pub(super) struct Epochs {
    all: AtomicU32,
    /// One more than [`FAMILIES_MAX`]: the last belongs to the families beyond and is never bumped.
    families: Box<[AtomicU32]>,
}

/// Where a family's epoch is; small enough to be kept in each entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FamilyIndex(u16);

impl FamilyIndex {
    pub(super) fn of(family: Family) -> Self {
        Self(u16::try_from(family.0).unwrap_or(u16::MAX))
    }
}

/// What an entry remembers of its fill. Both epochs only grow, so their sum is unchanged exactly when
/// both are; four bytes instead of eight in each entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp(u32);

impl From<FillEpoch> for Stamp {
    fn from(epoch: FillEpoch) -> Self {
        Self(epoch.all.wrapping_add(epoch.family))
    }
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self {
            all: AtomicU32::new(0),
            families: (0..=FAMILIES_MAX).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    pub(super) fn now(&self, family: FamilyIndex) -> FillEpoch {
        FillEpoch {
            all: self.all.load(Ordering::Acquire),
            family: self.families[usize::from(family.0)].load(Ordering::Acquire),
        }
    }

    pub(super) fn is_current(&self, family: FamilyIndex, stamp: Stamp) -> bool {
        Stamp::from(self.now(family)) == stamp
    }

    /// A family beyond [`FAMILIES_MAX`] has no epoch of its own: everything goes, which is safe.
    pub(super) fn bump(&self, family: FamilyIndex) {
        if usize::from(family.0) == FAMILIES_MAX {
            self.bump_all();
        } else {
            self.families[usize::from(family.0)].fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn bump_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }
}
