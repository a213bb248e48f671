//! Which slots of the key region are free: 4 KiB pages, lent to size classes and taken back when empty.
//!
//! Bookkeeping alone, in ordinary memory; the bytes are `arena.rs`'s. Taking and giving are O(1).
//! Must never be true: one granule in two slots, or an empty page that a class keeps.

/// Slot sizes. A key goes into the smallest that holds it.
pub(super) const CLASS_BYTES: [usize; 5] = [32, 64, 128, 256, 512];
/// The longest plaintext that has a class.
pub(super) const CLASS_BYTES_MAX: usize = 512;
/// What a page of the book covers, whatever the system's page size.
pub(super) const PAGE_BYTES: usize = 4096;
/// Slots are addressed in units of the smallest class.
pub(super) const GRANULE_BYTES: usize = 32;

const GRANULES: usize = PAGE_BYTES / GRANULE_BYTES;
const NONE: u32 = u32::MAX;

const _: () = assert!(CLASS_BYTES_MAX == crate::limits::CACHED_PLAINTEXT_BYTES_MAX);
const _: () = assert!(GRANULES == u128::BITS as usize);

/// The class of a plaintext of `len` bytes; `None` when it is large.
pub(super) fn class_of(len: usize) -> Option<usize> {
    CLASS_BYTES.iter().position(|bytes| len <= *bytes)
}

/// The mask of a page of `class` with every slot free.
fn all_free(class: usize) -> u128 {
    u128::MAX >> (GRANULES - PAGE_BYTES / CLASS_BYTES[class])
}

#[derive(Clone, Copy)]
struct Page {
    /// One bit a slot, set when free. All clear while no class has the page.
    free: u128,
    prev: u32,
    next: u32,
}

/// Who has which page, and which slots of it are free.
pub(super) struct Book {
    pages: Vec<Page>,
    /// First of the pages of each class that have both used and free slots.
    partial: [u32; CLASS_BYTES.len()],
    /// First of the pages that no class has; linked by `next` alone.
    unlent: u32,
    /// Bytes of slots in use.
    pub(super) used_bytes: usize,
    /// Pages that a class has.
    pub(super) lent_pages: usize,
}

impl Book {
    /// `pages` pages, all unlent, to be lent from the lowest.
    pub(super) fn new(pages: u32) -> Self {
        let last = pages.saturating_sub(1);
        let chain = |page| Page {
            free: 0,
            prev: NONE,
            next: if page == last { NONE } else { page + 1 },
        };
        Self {
            pages: (0..pages).map(chain).collect(),
            partial: [NONE; CLASS_BYTES.len()],
            unlent: if pages == 0 { NONE } else { 0 },
            used_bytes: 0,
            lent_pages: 0,
        }
    }

    /// The first granule of a slot of `class`, now the caller's. `None`: no slot and no page left.
    pub(super) fn take(&mut self, class: usize) -> Option<usize> {
        let mut page = self.partial[class];
        if page == NONE {
            page = self.unlent;
            if page == NONE {
                return None;
            }
            self.unlent = self.pages[page as usize].next;
            self.pages[page as usize].free = all_free(class);
            self.lent_pages += 1;
            self.link(class, page);
        }
        let free = &mut self.pages[page as usize].free;
        let slot = free.trailing_zeros() as usize;
        *free &= *free - 1;
        if *free == 0 {
            self.unlink(class, page);
        }
        self.used_bytes += CLASS_BYTES[class];
        Some(page as usize * GRANULES + slot * (CLASS_BYTES[class] / GRANULE_BYTES))
    }

    /// Takes back what [`Book::take`] gave for `class`.
    pub(super) fn give(&mut self, class: usize, granule: usize) {
        let index = granule / GRANULES;
        let slot = granule % GRANULES / (CLASS_BYTES[class] / GRANULE_BYTES);
        #[allow(clippy::cast_possible_truncation)] // The book was made for at most u32::MAX pages.
        let page = index as u32;
        let before = self.pages[index].free;
        let after = before | (1 << slot);
        debug_assert_ne!(before, after, "given back twice");
        self.pages[index].free = after;
        self.used_bytes -= CLASS_BYTES[class];
        if before == 0 {
            self.link(class, page);
        }
        if after == all_free(class) {
            self.unlink(class, page);
            self.pages[index] = Page {
                free: 0,
                prev: NONE,
                next: self.unlent,
            };
            self.unlent = page;
            self.lent_pages -= 1;
        }
    }

    fn link(&mut self, class: usize, page: u32) {
        let next = std::mem::replace(&mut self.partial[class], page);
        self.pages[page as usize].prev = NONE;
        self.pages[page as usize].next = next;
        if next != NONE {
            self.pages[next as usize].prev = page;
        }
    }

    fn unlink(&mut self, class: usize, page: u32) {
        let Page { prev, next, .. } = self.pages[page as usize];
        if prev == NONE {
            self.partial[class] = next;
        } else {
            self.pages[prev as usize].next = next;
        }
        if next != NONE {
            self.pages[next as usize].prev = prev;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn classes_at_their_borders() {
        for (len, want) in [
            (0, Some(32)),
            (1, Some(32)),
            (32, Some(32)),
            (33, Some(64)),
            (64, Some(64)),
            (65, Some(128)),
            (128, Some(128)),
            (129, Some(256)),
            (256, Some(256)),
            (257, Some(512)),
            (512, Some(512)),
            (513, None),
        ] {
            assert_eq!(
                class_of(len).map(|class| CLASS_BYTES[class]),
                want,
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_page_holds_as_many_slots_as_fit_and_no_two_overlap() {
        for (class, bytes) in CLASS_BYTES.into_iter().enumerate() {
            let mut book = Book::new(2);
            let mut taken: Vec<usize> = std::iter::from_fn(|| book.take(class)).collect();
            assert_eq!(taken.len(), 2 * PAGE_BYTES / bytes, "class {bytes}");
            assert_eq!(
                (book.used_bytes, book.lent_pages),
                (2 * PAGE_BYTES, 2),
                "class {bytes}"
            );
            taken.sort_unstable();
            assert!(
                taken
                    .windows(2)
                    .all(|pair| pair[1] - pair[0] == bytes / GRANULE_BYTES),
                "class {bytes}"
            );
            for granule in taken {
                book.give(class, granule);
            }
            assert_eq!((book.used_bytes, book.lent_pages), (0, 0), "class {bytes}");
        }
    }

    #[test]
    fn an_emptied_page_serves_another_class() {
        let mut book = Book::new(1);
        let small = book.take(0).unwrap();
        assert_eq!(
            book.take(4),
            None,
            "the only page belongs to the class of 32"
        );
        book.give(0, small);
        assert!(book.take(4).is_some());
        assert_eq!(book.take(0), None);
    }

    #[test]
    fn no_pages_no_slots() {
        assert_eq!(Book::new(0).take(0), None);
    }
}
