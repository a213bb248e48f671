//! Threads against one cache: whatever is served must have been filled after the last purge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::tests::{arena, cache, digest};
use super::*;

const KEYS: u64 = 300;
const ENTRIES_MAX: usize = 100;
const FAMILIES: usize = 4;

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

/// Purges of each family that have begun and that have ended.
#[derive(Default)]
struct Purges {
    begun: [AtomicU64; FAMILIES],
    ended: [AtomicU64; FAMILIES],
}

/// Looks keys up and fills what is missing; returns the hits.
fn work(cache: &Cache, purges: &Purges, start: Instant, seed: u64) -> u64 {
    let (mut state, mut hits) = (seed, 0);
    for round in 0..20_000u64 {
        let key = step(&mut state) % KEYS;
        let index = key as usize % FAMILIES;
        let family = Family(index as u32);
        let now = start + Duration::from_millis(round * 10);
        let ended = purges.ended[index].load(Ordering::SeqCst);
        let found = cache.lookup(&digest(key), now, |found| {
            u128::from_le_bytes(found.try_into().unwrap())
        });
        if let Some(found) = found {
            hits += 1;
            assert_eq!((found >> 64) as u64, key, "another key's bytes");
            assert!(
                found as u64 >= ended,
                "served across a purge that had ended"
            );
            continue;
        }
        let epoch = cache.begin_fill(family);
        // Whatever bumped the epoch before it was taken had begun by now; a purge that begins
        // later is not counted, and must discard this fill.
        let begun = purges.begun[index].load(Ordering::SeqCst);
        let plaintext = arena().store(&bytes(key, begun)).unwrap();
        cache.insert(digest(key), family, &plaintext, epoch, now);
        assert!(cache.len() <= ENTRIES_MAX);
    }
    hits
}

fn purge(cache: &Cache, purges: &Purges, start: Instant, is_over: &AtomicBool) {
    let mut state = 99;
    while !is_over.load(Ordering::Relaxed) {
        let index = step(&mut state) as usize % FAMILIES;
        purges.begun[index].fetch_add(1, Ordering::SeqCst);
        cache.purge_family(Family(index as u32));
        purges.ended[index].fetch_add(1, Ordering::SeqCst);
        cache.tick(start + Duration::from_secs(1));
        cache.make_room(1);
        for _ in 0..200 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn nothing_stale_is_served_and_the_bound_holds() {
    let (cache, start) = cache(ENTRIES_MAX, 60);
    let (cache, purges, is_over) = (&cache, &Purges::default(), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let workers = [0, 1, 2].map(|seed| scope.spawn(move || work(cache, purges, start, seed)));
        scope.spawn(move || purge(cache, purges, start, is_over));
        let ends = workers.map(std::thread::ScopedJoinHandle::join);
        is_over.store(true, Ordering::Relaxed);
        let hits: u64 = ends.into_iter().map(Result::unwrap).sum();
        assert!(hits > 0, "the test must see hits");
    });
    cache.purge_all();
    while cache.tick(start) {}
    assert_eq!(cache.len(), 0);
    assert_eq!(cache.index.len(), 0);
}
