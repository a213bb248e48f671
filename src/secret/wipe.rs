//! The one way memory is wiped here. Called by the arena and by the wiping allocator.

use std::sync::atomic::{Ordering, compiler_fence};

/// Zeroes `len` bytes at `start` in a way the compiler may not leave out.
///
/// Volatile words, not bytes: the allocator wipes every block it frees, also the large ones.
///
/// # Safety
/// `start..start + len` must be writable and used by nobody else meanwhile. It may be uninitialised.
pub(super) unsafe fn wipe(start: *mut u8, len: usize) {
    let head = start.align_offset(align_of::<u64>()).min(len);
    let words = (len - head) / size_of::<u64>();
    let tail = head + words * size_of::<u64>();
    for at in (0..head).chain(tail..len) {
        // SAFETY: `at < len`, and the caller vouches for `len` bytes.
        unsafe { start.add(at).write_volatile(0) };
    }
    #[allow(clippy::cast_ptr_alignment)] // Aligned by `head`.
    // SAFETY: `head <= len`, so this stays within the caller's bytes.
    let body = unsafe { start.add(head) }.cast::<u64>();
    for word in 0..words {
        // SAFETY: `head + 8 * (word + 1) <= tail <= len`, and `body` is aligned for u64 by `head`
        // (were it not computable, `head` is `len` and there are no words).
        unsafe { body.add(word).write_volatile(0) };
    }
    compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::wipe;

    #[test]
    fn exactly_the_range_is_zeroed_at_every_alignment() {
        for from in 0..9 {
            for len in 0..40 {
                let mut bytes = [0xaa_u8; 64];
                // SAFETY: `from + len <= 48`, inside the array.
                unsafe { wipe(bytes.as_mut_ptr().add(from), len) };
                for (at, byte) in bytes.iter().enumerate() {
                    let inside = (from..from + len).contains(&at);
                    assert_eq!(*byte == 0, inside, "byte {at} of {from}+{len}");
                }
            }
        }
    }
}
