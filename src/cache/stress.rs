//! Threads against one cache: whatever is served must have been filled after the last purge.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::tests::{arena, cache, digest};
use super::*;

const KEYS: u64 = 300;
const ENTRIES_MAX: usize = 100;
const FAMILIES: u64 = 4;

/// A key's bytes: its number, and the purges of its family begun when it was filled.
fn bytes(key: u64, purges: u64) -> [u8; 16] {
    (u128::from(key) << 64 | u128::from(purges)).to_le_bytes()
}

fn step(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn nothing_stale_is_served_and_the_bound_holds() {
    let (cache, start) = cache(ENTRIES_MAX, 60);
    let ended: [AtomicU64; FAMILIES as usize] = std::array::from_fn(|_| AtomicU64::new(0));
    let begun: [AtomicU64; FAMILIES as usize] = std::array::from_fn(|_| AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let family_of = |key: u64| (key % FAMILIES) as usize;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3u64)
            .map(|seed| {
                let (cache, ended, begun) = (&cache, &ended, &begun);
                scope.spawn(move || {
                    let (mut state, mut hits) = (seed, 0u64);
                    for round in 0..20_000u64 {
                        let key = step(&mut state) % KEYS;
                        let family = family_of(key);
                        let now = start + Duration::from_millis(round * 10);
                        let purges = ended[family].load(Ordering::SeqCst);
                        let found = cache.lookup(&digest(key), now, |found| {
                            u128::from_le_bytes(found.try_into().unwrap())
                        });
                        if let Some(found) = found {
                            hits += 1;
                            assert_eq!((found >> 64) as u64, key, "another key's bytes");
                            assert!(
                                found as u64 >= purges,
                                "served across a purge that had ended"
                            );
                            continue;
                        }
                        let epoch = cache.begin_fill(Family(family as u32));
                        // Whatever bumped the epoch before it was taken had begun by now; a purge
                        // that begins later is not counted, and must discard this fill.
                        let stamp = begun[family].load(Ordering::SeqCst);
                        let plaintext = arena().store(&bytes(key, stamp)).unwrap();
                        cache.insert(digest(key), Family(family as u32), &plaintext, epoch, now);
                        assert!(cache.len() <= ENTRIES_MAX);
                    }
                    hits
                })
            })
            .collect();
        scope.spawn(|| {
            let mut state = 99;
            while !is_over.load(Ordering::Relaxed) {
                let family = (step(&mut state) % FAMILIES) as usize;
                begun[family].fetch_add(1, Ordering::SeqCst);
                cache.purge_family(Family(family as u32));
                ended[family].fetch_add(1, Ordering::SeqCst);
                cache.tick(start + Duration::from_secs(1));
                cache.make_room(1);
                for _ in 0..200 {
                    std::thread::yield_now();
                }
            }
        });
        let hits: u64 = workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum();
        is_over.store(true, Ordering::Relaxed);
        assert!(hits > 0, "the test must see hits");
    });
    cache.purge_all();
    while cache.tick(start) {}
    assert_eq!(cache.len(), 0);
    assert_eq!(cache.index.len(), 0);
}
