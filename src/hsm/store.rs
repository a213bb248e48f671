//! How a back end puts plaintexts into the arena, and what it does when the arena is full.
//!
//! The cache is only a cache: when locked memory is short, its oldest entries go, until the plaintext
//! that a client waits for fits. Must never be true: a plaintext too long to be cached that flushes
//! the cache. Used by every back end.

use crate::limits::CACHED_PLAINTEXT_BYTES_MAX;
use crate::secret::{Arena, SecretKey, StoreError};

/// Called when the arena is full, to evict some entries. Must not call the back end.
pub type MakeRoom = Box<dyn Fn() + Send + Sync>;

/// A page is free for another size once all its slots are, so one round may free none; entries of
/// one time mostly share pages, so some rounds do.
const ROUNDS_MAX: usize = 128;

/// The arena and the way to make room in it.
pub struct Store {
    arena: &'static Arena,
    make_room: Option<MakeRoom>,
}

impl Store {
    /// Over `arena`.
    pub fn new(arena: &'static Arena, make_room: Option<MakeRoom>) -> Self {
        Self { arena, make_room }
    }

    /// The arena.
    pub fn arena(&self) -> &'static Arena {
        self.arena
    }

    /// Copies `plaintext` into the arena.
    pub fn put(&self, plaintext: &[u8]) -> Result<SecretKey, StoreError> {
        let mut stored = self.arena.store(plaintext);
        let Some(make_room) = &self.make_room else {
            return stored;
        };
        // Evicting keys frees no room for what only passes through.
        if plaintext.len() > CACHED_PLAINTEXT_BYTES_MAX {
            return stored;
        }
        for _ in 0..ROUNDS_MAX {
            if !matches!(stored, Err(StoreError::Full)) {
                break;
            }
            make_room();
            stored = self.arena.store(plaintext);
        }
        stored
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::secret::{ArenaPlan, Mode};

    /// One page of keys, one large region of one page.
    fn arena() -> &'static Arena {
        Arena::reserve(&ArenaPlan {
            key_bytes: 4096,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: 4096,
            mode: Some(Mode::Mlock),
        })
        .unwrap()
    }

    #[test]
    fn another_size_gets_its_page_by_evicting_round_after_round() {
        let arena = arena();
        let held: Vec<SecretKey> = (0..128).map(|_| arena.store(&[7; 32]).unwrap()).collect();
        let held = Arc::new(Mutex::new(held));
        let evicted = Arc::clone(&held);
        let make_room: MakeRoom = Box::new(move || {
            let mut held = evicted.lock();
            let left = held.len().saturating_sub(16);
            held.truncate(left);
        });
        let store = Store::new(arena, Some(make_room));
        assert!(store.put(&[8; 64]).is_ok());
        assert!(
            held.lock().is_empty(),
            "the page is free only without its last slot"
        );
    }

    #[test]
    fn a_large_plaintext_evicts_nothing() {
        let arena = arena();
        let _region = arena.store(&[1; 600]).unwrap();
        let make_room: MakeRoom = Box::new(|| panic!("evicted for a large plaintext"));
        let store = Store::new(arena, Some(make_room));
        assert_eq!(store.put(&[2; 600]).err(), Some(StoreError::Full));
    }
}
