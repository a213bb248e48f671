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
        // SAFETY: the caller gives up a live block of `layout.size()` bytes.
        unsafe {
            wipe(block, layout.size());
            System.dealloc(block, layout);
        }
    }

    /// Never in place and never `System.realloc`: that may move the block and leave the old one as it was.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if new_size == layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, fits `isize`,
        // and it is not zero.
        let moved = unsafe { System.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks are live, distinct, and at least the smaller size long; the old
            // one is the caller's to give up.
            unsafe {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// glibc writes list links into the first 16 bytes of a freed small block; the rest stays as we left it.
    const LINK_BYTES: usize = 32;

    /// Reads freed memory on purpose, one volatile byte at a time; large enough blocks stay mapped.
    fn remains(block: *const u8, len: usize) -> usize {
        (LINK_BYTES..len)
            // SAFETY: not a live block, but glibc keeps a freed heap chunk mapped while later ones live.
            .filter(|at| unsafe { block.add(*at).read_volatile() } == 0xa5)
            .count()
    }

    fn filled(size: usize) -> (*mut u8, Layout) {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size is not zero; the block is filled within its size.
        unsafe {
            let block = WipeOnFree.alloc(layout);
            block.write_bytes(0xa5, size);
            (std::hint::black_box(block), layout)
        }
    }

    #[test]
    fn freed_and_moved_blocks_are_wiped() {
        for (name, size, new_size) in [
            ("free", 200, None),
            ("free with odd size", 77, None),
            ("grow", 300, Some(5_000)),
            ("shrink", 4_000, Some(100)),
        ] {
            let (block, layout) = filled(size);
            assert_eq!(remains(block, size), size - LINK_BYTES, "{name}: the control finds it");
            let moved = new_size.map(|new_size| {
                // SAFETY: `block` is live with `layout`.
                let moved = unsafe { WipeOnFree.realloc(block, layout, new_size) };
                assert_ne!(moved, block, "{name}");
                let kept = size.min(new_size);
                assert_eq!(remains(moved, kept), kept - LINK_BYTES, "{name}: content moves along");
                (moved, Layout::from_size_align(new_size, 8).unwrap())
            });
            if moved.is_none() {
                // SAFETY: `block` is live with `layout`.
                unsafe { WipeOnFree.dealloc(block, layout) };
            }
            assert_eq!(remains(block, size), 0, "{name}");
            if let Some((moved, layout)) = moved {
                // SAFETY: `moved` is live with `layout`.
                unsafe { WipeOnFree.dealloc(moved, layout) };
            }
        }
    }

    #[test]
    fn same_size_stays_and_zeroed_is_zero() {
        let (block, layout) = filled(64);
        // SAFETY: `block` is live with `layout`; the second block is read within its size.
        unsafe {
            assert_eq!(WipeOnFree.realloc(block, layout, 64), block);
            WipeOnFree.dealloc(block, layout);
            let zeroed = WipeOnFree.alloc_zeroed(layout);
            assert!((0..64).all(|at| zeroed.add(at).read() == 0));
            WipeOnFree.dealloc(zeroed, layout);
        }
    }
}
