//! A global allocator that wipes what it frees.
//!
//! For the copies we do not control: rustls, the keystore readers and the standard library free key
//! bytes without wiping them. Must never be true: a block back with the system with its old content.

use std::alloc::{GlobalAlloc, Layout, System};

use super::wipe::wipe;

/// `#[global_allocator]` of the program and of the tests that scan memory.
pub struct WipeOnFree;

// SAFETY: every block comes from `System` and goes back to it with the layout it was made with;
// between the two only bytes of the block itself are written.
unsafe impl GlobalAlloc for WipeOnFree {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { wipe_and_free(&System, block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { wipe_and_move(&System, block, layout, new_size) }
    }
}

/// # Safety
/// As for [`GlobalAlloc::dealloc`], of a block made by `inner`.
unsafe fn wipe_and_free(inner: &impl GlobalAlloc, block: *mut u8, layout: Layout) {
    // SAFETY: the caller gives up a live block of `layout.size()` bytes.
    unsafe {
        wipe(block, layout.size());
        inner.dealloc(block, layout);
    }
}

/// Never in place and never `inner.realloc`: that may move the block and leave the old one as it was.
///
/// # Safety
/// As for [`GlobalAlloc::realloc`], of a block made by `inner`.
unsafe fn wipe_and_move(
    inner: &impl GlobalAlloc,
    block: *mut u8,
    layout: Layout,
    new_size: usize,
) -> *mut u8 {
    if new_size == layout.size() {
        return block;
    }
    // SAFETY: the caller promises that `new_size`, rounded up to the alignment, fits `isize`,
    // and that it is not zero.
    let moved = unsafe { inner.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
    if !moved.is_null() {
        // SAFETY: both blocks are live, distinct, and at least the smaller size long; the old one
        // is the caller's to give up.
        unsafe {
            std::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
            wipe_and_free(inner, block, layout);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use super::*;

    /// Looks into each block as it comes back, and may run dry.
    #[derive(Default)]
    struct Probe {
        freed: Cell<usize>,
        dirty_bytes: Cell<usize>,
        dry: Cell<bool>,
    }

    // SAFETY: hands out and takes back what `System` does; reads live blocks only.
    unsafe impl GlobalAlloc for Probe {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller keeps `alloc`'s contract.
            if self.dry.get() {
                std::ptr::null_mut()
            } else {
                unsafe { System.alloc(layout) }
            }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.freed.set(self.freed.get() + 1);
            // SAFETY: live until the next call, and initialised by `filled` or by the wipe.
            let dirty = unsafe { std::slice::from_raw_parts(block, layout.size()) }
                .iter()
                .filter(|byte| **byte != 0);
            self.dirty_bytes.set(self.dirty_bytes.get() + dirty.count());
            // SAFETY: the caller keeps `dealloc`'s contract.
            unsafe { System.dealloc(block, layout) }
        }
    }

    /// A block full of 0xa5.
    fn filled(probe: &Probe, size: usize) -> (*mut u8, Layout) {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size is not zero, and the block is filled within it.
        unsafe {
            let block = probe.alloc(layout);
            block.write_bytes(0xa5, size);
            (block, layout)
        }
    }

    #[test]
    fn blocks_come_back_blank() {
        for size in [1, 7, 8, 77, 200, 5_000, 100_000] {
            let probe = Probe::default();
            let (block, layout) = filled(&probe, size);
            // SAFETY: `block` is live with `layout`.
            unsafe { wipe_and_free(&probe, block, layout) };
            assert_eq!(
                (probe.freed.get(), probe.dirty_bytes.get()),
                (1, 0),
                "{size} bytes"
            );
        }
        let probe = Probe::default();
        let (block, layout) = filled(&probe, 77);
        // SAFETY: `block` is live with `layout`.
        unsafe { probe.dealloc(block, layout) };
        assert_eq!(
            probe.dirty_bytes.get(),
            77,
            "the control: the probe sees what is not wiped"
        );
    }

    #[test]
    fn a_new_size_moves_the_content_and_blanks_the_old_block() {
        for (name, size, new_size) in [
            ("grow", 300, 5_000),
            ("shrink", 4_000, 100),
            ("by one", 64, 63),
        ] {
            let probe = Probe::default();
            let (block, layout) = filled(&probe, size);
            // SAFETY: `block` is live with `layout`.
            let moved = unsafe { wipe_and_move(&probe, block, layout, new_size) };
            assert_eq!(
                (probe.freed.get(), probe.dirty_bytes.get()),
                (1, 0),
                "{name}"
            );
            // SAFETY: the moved block is live, and this much of it was copied.
            let kept = unsafe { std::slice::from_raw_parts(moved, size.min(new_size)) };
            assert!(kept.iter().all(|byte| *byte == 0xa5), "{name}");
            // SAFETY: `moved` is live with its new size.
            unsafe { System.dealloc(moved, Layout::from_size_align(new_size, 8).unwrap()) };
        }
    }

    #[test]
    fn the_same_size_stays_and_a_failed_move_keeps_the_block() {
        let probe = Probe::default();
        let (block, layout) = filled(&probe, 64);
        // SAFETY: `block` is live with `layout` throughout, as neither call moves it.
        unsafe {
            assert_eq!(wipe_and_move(&probe, block, layout, 64), block);
            probe.dry.set(true);
            assert!(wipe_and_move(&probe, block, layout, 128).is_null());
            assert_eq!(block.read(), 0xa5);
            wipe_and_free(&probe, block, layout);
        }
        assert_eq!(probe.freed.get(), 1);
    }

    #[test]
    fn as_the_allocator_of_a_program() {
        let layout = Layout::from_size_align(64, 8).unwrap();
        // SAFETY: each block is used within its size and freed with its layout.
        unsafe {
            let block = WipeOnFree.realloc(WipeOnFree.alloc(layout), layout, 128);
            WipeOnFree.dealloc(block, Layout::from_size_align(128, 8).unwrap());
            let zeroed = WipeOnFree.alloc_zeroed(layout);
            assert!((0..64).all(|at| zeroed.add(at).read() == 0));
            WipeOnFree.dealloc(zeroed, layout);
        }
    }
}
