//! A reply under construction in locked memory, and what happens when it outgrows it.

use zeroize::Zeroizing;

use crate::secret::{LockedBuf, wipe_slice};
use crate::wire::Out;

/// Bytes written front to back into a locked buffer. A reply too large for it moves, whole, to a
/// heap buffer that is wiped; large replies are batches, and rare.
pub struct Scratch {
    locked: LockedBuf,
    len: usize,
    spill: Option<Zeroizing<Vec<u8>>>,
}

impl Scratch {
    /// An empty scratch over `locked`.
    pub fn new(locked: LockedBuf) -> Self {
        Self {
            locked,
            len: 0,
            spill: None,
        }
    }

    /// What has been written.
    pub fn bytes(&self) -> &[u8] {
        match &self.spill {
            Some(spill) => spill,
            None => &self.locked[..self.len],
        }
    }

    /// Wipes what was written and starts over.
    pub fn clear(&mut self) {
        wipe_slice(&mut self.locked[..self.len]);
        self.len = 0;
        self.spill = None;
    }

    fn spill(&mut self, more: usize) -> &mut Vec<u8> {
        let (locked, len) = (&mut self.locked, self.len);
        self.spill.get_or_insert_with(|| {
            let mut spill = Zeroizing::new(Vec::with_capacity(2 * (len + more)));
            spill.extend_from_slice(&locked[..len]);
            spill
        })
    }
}

impl Out for Scratch {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.spill.is_none()
            && let Some(space) = self.locked.get_mut(self.len..self.len + bytes.len())
        {
            space.copy_from_slice(bytes);
            self.len += bytes.len();
            return;
        }
        self.spill(bytes.len()).extend_from_slice(bytes);
    }

    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.spill.is_none() && len <= self.locked.len() - self.len {
            let at = self.len;
            self.len += len;
            return &mut self.locked[at..at + len];
        }
        let spill = self.spill(len);
        let at = spill.len();
        spill.resize(at + len, 0);
        &mut spill[at..]
    }

    #[inline]
    fn len(&self) -> usize {
        self.spill.as_ref().map_or(self.len, |spill| spill.len())
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        let whole = match &mut self.spill {
            Some(spill) => &mut spill[..],
            None => &mut self.locked[..self.len],
        };
        if let Some(space) = whole.get_mut(at..at + bytes.len()) {
            space.copy_from_slice(bytes);
        }
    }

    fn truncate(&mut self, len: usize) {
        match &mut self.spill {
            Some(spill) => spill.truncate(len),
            None if len < self.len => {
                wipe_slice(&mut self.locked[len..self.len]);
                self.len = len;
            }
            None => {}
        }
    }
}
