//! Plaintexts over 512 bytes, which only pass through: one region each, with its own guard pages, and
//! for those that fit a page, pages of one region.

use std::sync::atomic::AtomicU32;

use parking_lot::Mutex;

use super::mapping::Region;
use super::plan::MEDIUM_BYTES;

/// The large regions and the medium places, and which of them are free. Both are numbered together: the
/// large ones first.
pub(super) struct Large {
    regions: Vec<Region>,
    medium: Region,
    /// Holders of each.
    pub(super) holders: Box<[AtomicU32]>,
    free: Mutex<Free>,
    /// Longest plaintext; 0 when there are no regions.
    pub(super) bytes_max: usize,
}

struct Free {
    large: Vec<usize>,
    medium: Vec<usize>,
}

impl Large {
    /// `medium` holds `medium_count` places.
    pub(super) fn new(
        medium: Region,
        medium_count: usize,
        regions: Vec<Region>,
        bytes_max: usize,
    ) -> Self {
        let (larges, all) = (regions.len(), regions.len() + medium_count);
        Self {
            holders: (0..all).map(|_| AtomicU32::new(0)).collect(),
            free: Mutex::new(Free {
                large: (0..larges).rev().collect(),
                medium: (larges..all).rev().collect(),
            }),
            bytes_max: if regions.is_empty() { 0 } else { bytes_max },
            regions,
            medium,
        }
    }

    /// A place for `len` bytes, at most [`Large::bytes_max`], that is now the caller's.
    pub(super) fn take(&self, len: usize) -> Option<usize> {
        let mut free = self.free.lock();
        let medium = if len <= MEDIUM_BYTES {
            free.medium.pop()
        } else {
            None
        };
        medium.or_else(|| free.large.pop())
    }

    /// Takes back what [`Large::take`] gave.
    pub(super) fn give(&self, index: usize) {
        let mut free = self.free.lock();
        if index < self.regions.len() {
            free.large.push(index);
        } else {
            free.medium.push(index);
        }
    }

    /// Where the place `index` is: its region and the byte there at which it begins.
    pub(super) fn at(&self, index: usize) -> (&Region, usize) {
        match self.regions.get(index) {
            Some(region) => (region, 0),
            None => (&self.medium, (index - self.regions.len()) * MEDIUM_BYTES),
        }
    }

    /// Places handed out, and of all.
    pub(super) fn usage(&self) -> (usize, usize) {
        let free = self.free.lock();
        let all = self.holders.len();
        (all - free.large.len() - free.medium.len(), all)
    }

    /// Every region.
    #[cfg(test)]
    pub(super) fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter().chain([&self.medium])
    }
}
