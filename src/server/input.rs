//! Received plaintext that does not make a whole request yet, or whose request waits.
//!
//! Small ones rest in locked memory. Larger ones (bodies of batches) are on the heap, which is wiped
//! on free, and count against one bound for the node. An idle connection holds nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::secret::{Arena, LockedBuf, wipe_slice};

/// Bytes of the locked form.
const LOCKED_BYTES: usize = 4096;

/// The bytes of one connection.
#[derive(Default)]
pub(super) struct Input {
    locked: Option<LockedBuf>,
    heap: Vec<u8>,
    len: usize,
}

/// The node's bound on heap input is reached.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct TooMuch;

/// What an input draws from.
#[derive(Clone, Copy)]
pub(super) struct Supply<'a> {
    pub arena: &'static Arena,
    pub buffered: &'a AtomicUsize,
    pub buffered_max: usize,
}

impl Input {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        if self.heap.is_empty() {
            match &mut self.locked {
                Some(locked) => &mut locked[..self.len],
                None => &mut [],
            }
        } else {
            &mut self.heap
        }
    }

    /// Appends `more`.
    pub(super) fn extend(&mut self, more: &[u8], supply: Supply<'_>) -> Result<(), TooMuch> {
        if more.is_empty() {
            return Ok(());
        }
        let len = self.len + more.len();
        if self.heap.is_empty() && len <= LOCKED_BYTES {
            if self.locked.is_none() {
                self.locked = supply.arena.buffer(LOCKED_BYTES);
            }
            if let Some(locked) = &mut self.locked {
                locked[self.len..len].copy_from_slice(more);
                self.len = len;
                return Ok(());
            }
        }
        self.extend_heap(more, supply)
    }

    fn extend_heap(&mut self, more: &[u8], supply: Supply<'_>) -> Result<(), TooMuch> {
        let len = self.len + more.len();
        let wanted = if len <= self.heap.capacity() {
            0
        } else {
            len.next_power_of_two()
        };
        let grown = wanted.saturating_sub(self.heap.capacity());
        let before = supply.buffered.fetch_add(grown, Ordering::Relaxed);
        if before + grown > supply.buffered_max {
            supply.buffered.fetch_sub(grown, Ordering::Relaxed);
            return Err(TooMuch);
        }
        if grown > 0 {
            // A new vector, so that its capacity is what was counted; the old one is wiped on free.
            let mut heap = Vec::with_capacity(wanted);
            heap.extend_from_slice(self.bytes());
            // The allocator may have given more than asked for.
            supply
                .buffered
                .fetch_add(heap.capacity() - wanted, Ordering::Relaxed);
            self.heap = heap;
            self.locked = None;
        }
        self.heap.extend_from_slice(more);
        self.len = len;
        Ok(())
    }

    /// Drops the first `used` bytes; an emptied input gives its memory back.
    pub(super) fn consume(&mut self, used: usize, supply: Supply<'_>) {
        if used >= self.len {
            self.release(supply.buffered);
            return;
        }
        if used == 0 {
            return;
        }
        let left = self.len - used;
        let bytes = self.bytes();
        bytes.copy_within(used.., 0);
        wipe_slice(&mut bytes[left..]);
        self.len = left;
        if !self.heap.is_empty() {
            self.heap.truncate(left);
        }
    }

    /// Gives all memory back; must be called before the input is dropped.
    pub(super) fn release(&mut self, buffered: &AtomicUsize) {
        buffered.fetch_sub(self.heap.capacity(), Ordering::Relaxed);
        self.heap = Vec::new();
        self.locked = None;
        self.len = 0;
    }
}
