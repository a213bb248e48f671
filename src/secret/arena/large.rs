//! Plaintexts over 512 bytes: one region each, with its own guard pages. They only pass through.

use std::sync::atomic::AtomicU32;

use parking_lot::Mutex;

use super::mapping::Region;

/// The large regions and which of them are free.
pub(super) struct Large {
    pub(super) regions: Vec<Region>,
    /// Holders of each.
    pub(super) holders: Box<[AtomicU32]>,
    free: Mutex<Vec<usize>>,
    /// Longest plaintext; 0 when there are no regions.
    pub(super) bytes_max: usize,
}

impl Large {
    pub(super) fn new(regions: Vec<Region>, bytes_max: usize) -> Self {
        Self {
            holders: regions.iter().map(|_| AtomicU32::new(0)).collect(),
            free: Mutex::new((0..regions.len()).rev().collect()),
            bytes_max: if regions.is_empty() { 0 } else { bytes_max },
            regions,
        }
    }

    /// A region that is now the caller's.
    pub(super) fn take(&self) -> Option<usize> {
        self.free.lock().pop()
    }

    /// Takes back what [`Large::take`] gave.
    pub(super) fn give(&self, index: usize) {
        self.free.lock().push(index);
    }

    /// Regions handed out, and of all.
    pub(super) fn usage(&self) -> (usize, usize) {
        (
            self.regions.len() - self.free.lock().len(),
            self.regions.len(),
        )
    }
}
