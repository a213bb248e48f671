#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::{Duration, Instant};

use super::*;
use crate::secret::{ArenaPlan, Mode};

mod age;

pub(super) fn arena() -> &'static Arena {
    static ARENA: std::sync::OnceLock<&'static Arena> = std::sync::OnceLock::new();
    ARENA.get_or_init(|| {
        Arena::reserve(&ArenaPlan {
            key_bytes: 1 << 19,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: 4096,
            mode: Some(Mode::Mlock),
        })
        .unwrap()
    })
}

pub(super) fn cache(entries_max: usize, ttl_s: u32) -> (Cache, Instant) {
    let start = Instant::now();
    (
        Cache::new(
            &CacheConfig {
                entries_max,
                ttl_s,
                stale_max_s: 0,
            },
            arena(),
            start,
        ),
        start,
    )
}

/// Spread over names and rests as a real digest is.
pub(super) fn digest(n: u64) -> Digest {
    let whole = u128::from(n)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Digest((whole ^ whole >> 61).to_le_bytes())
}

fn fill(cache: &Cache, n: u64, family: u32, now: Instant) -> bool {
    let epoch = cache.begin_fill(Family(family));
    cache.insert(
        digest(n),
        Family(family),
        &arena().store(&n.to_le_bytes()).unwrap(),
        epoch,
        now,
    )
}

fn seen(cache: &Cache, n: u64, now: Instant) -> Option<u64> {
    cache.lookup(&digest(n), now, |bytes| {
        u64::from_le_bytes(bytes.try_into().unwrap())
    })
}

#[test]
fn what_was_inserted_is_found_and_shared() {
    let (cache, now) = cache(4, 60);
    assert_eq!(seen(&cache, 1, now), None);
    assert!(fill(&cache, 1, 0, now));
    assert_eq!(seen(&cache, 1, now), Some(1));
    let key = cache.get(&digest(1), now).unwrap();
    cache.purge_all();
    while cache.tick(now) {}
    assert!(cache.is_empty() && cache.get(&digest(1), now).is_none());
    assert_eq!(
        key.expose(<[u8]>::to_vec),
        1u64.to_le_bytes(),
        "a holder keeps its key"
    );
}

#[test]
fn same_name_other_rest_is_another_key() {
    let (cache, now) = cache(4, 60);
    let (one, mut other) = (digest(1), digest(1));
    other.0[15] ^= 1;
    assert!(fill(&cache, 1, 0, now));
    assert!(cache.lookup(&other, now, |_| ()).is_none());
    let key = arena().store(b"other").unwrap();
    assert!(cache.insert(other, Family(0), &key, cache.begin_fill(Family(0)), now));
    assert!(cache.lookup(&one, now, |_| ()).is_none(), "the newer stays");
    assert_eq!(
        cache.lookup(&other, now, <[u8]>::to_vec),
        Some(b"other".to_vec())
    );
    assert_eq!(cache.len(), 1);
}

#[test]
fn refused_inserts() {
    let large = arena().store(&[7; 600]).unwrap();
    let small = arena().store(&[7; 32]).unwrap();
    for (name, entries_max, ttl_s, key) in [
        ("too large", 4, 60, &large),
        ("no entries", 0, 60, &small),
        ("no life", 4, 0, &small),
    ] {
        let (cache, now) = cache(entries_max, ttl_s);
        assert!(
            !cache.insert(digest(1), Family(0), key, cache.begin_fill(Family(0)), now),
            "{name}"
        );
        assert!(
            cache.is_empty() && !cache.tick(now) && cache.make_room(3) == 0,
            "{name}"
        );
    }
}

#[test]
fn never_more_than_entries_max_and_hit_entries_stay() {
    let (cache, now) = cache(100, 60);
    for n in 0..100 {
        assert!(fill(&cache, n, 0, now));
    }
    for n in 0..50 {
        assert!(seen(&cache, n, now).is_some());
    }
    for n in 100..150 {
        assert!(fill(&cache, n, 0, now));
        assert_eq!(cache.len(), 100);
    }
    assert!(
        (0..50).all(|n| seen(&cache, n, now) == Some(n)),
        "hit entries stay"
    );
    assert!(
        (50..100).all(|n| seen(&cache, n, now).is_none()),
        "unhit entries went"
    );
    assert_eq!(
        cache.stats(),
        CacheStats {
            evictions: 50,
            ..CacheStats::default()
        }
    );
    assert_eq!((cache.make_room(30), cache.len()), (30, 70));
    assert_eq!((cache.make_room(100), cache.len()), (70, 0));
}

#[test]
fn a_new_key_outlives_the_next_few_however_hot_the_others_are() {
    let (cache, now) = cache(100, 60);
    for n in 0..300 {
        assert!(fill(&cache, n, 0, now));
        for hot in 0..80.min(n) {
            seen(&cache, hot, now);
        }
        if n == 150 {
            // Only the newest three unhit: now the hand comes close to them.
            for hit in 0..n - 2 {
                seen(&cache, hit, now);
            }
        }
        let recent = n.saturating_sub(9)..=n;
        assert!(
            recent
                .into_iter()
                .all(|n| cache.index.contains_key(&index::split(&digest(n)).0)),
            "at {n}"
        );
    }
    let hot = (0..80).filter(|&n| seen(&cache, n, now).is_some()).count();
    assert!(hot >= 70, "a scan pushed out hit entries: {hot} of 80 left");
}

#[test]
fn life_is_hard_jittered_and_wiped_timely() {
    let (cache, start) = cache(1000, 100);
    for n in 0..1000 {
        assert!(fill(&cache, n, 0, start));
    }
    let held = |after_s: u64| {
        let now = start + Duration::from_secs(after_s);
        (0..1000)
            .filter(|&n| seen(&cache, n, now).is_some())
            .count()
    };
    assert_eq!(
        (held(89), held(100)),
        (1000, 0),
        "never under nine tenths, never over"
    );
    assert!(
        (300..700).contains(&held(95)),
        "spread between: {}",
        held(95)
    );
    assert_eq!(
        cache.len(),
        1000,
        "expired entries are not served although not wiped"
    );
    let mut ticks = 1;
    while cache.tick(start + Duration::from_secs(100)) {
        ticks += 1;
    }
    assert_eq!(
        (cache.len(), cache.stats().expirations, ticks),
        (0, 1000, 4)
    );
}

#[test]
fn a_second_fill_renews_the_life() {
    let (cache, start) = cache(10, 10);
    assert!(fill(&cache, 1, 0, start));
    let later = start + Duration::from_secs(8);
    assert!(fill(&cache, 1, 0, later));
    let now = start + Duration::from_secs(16);
    while cache.tick(now) {}
    assert_eq!((seen(&cache, 1, now), cache.len()), (Some(1), 1));
    let end = start + Duration::from_secs(100_000);
    while cache.tick(end) {}
    assert_eq!(
        (seen(&cache, 1, end), cache.len()),
        (None, 0),
        "after a long sleep too"
    );
}

#[test]
fn purges_take_effect_at_once_and_discard_older_fills() {
    for (name, family, purged, all, stays) in [
        ("its family", 3, 3, false, false),
        ("another family", 3, 4, false, true),
        ("all", 3, 0, true, false),
        ("a family beyond the table", 70_000, 70_000, false, false),
        (
            "a family beyond the table takes all",
            3,
            90_000,
            false,
            false,
        ),
    ] {
        let (cache, now) = cache(10, 60);
        assert!(fill(&cache, 1, family, now));
        let before = cache.begin_fill(Family(family));
        if all {
            cache.purge_all();
        } else {
            cache.purge_family(Family(purged));
        }
        assert_eq!(seen(&cache, 1, now).is_some(), stays, "{name}");
        assert_eq!(cache.is_stale(Family(family), before), !stays, "{name}");
        let late = arena().store(b"late").unwrap();
        assert_eq!(
            cache.insert(digest(2), Family(family), &late, before, now),
            stays,
            "{name}"
        );
        while cache.tick(now) {}
        assert_eq!(cache.len(), if stays { 2 } else { 0 }, "{name}");
        assert_eq!(cache.stats().purged, u64::from(!stays), "{name}");
        assert!(
            fill(&cache, 1, family, now) && seen(&cache, 1, now).is_some(),
            "{name}: a new fill"
        );
    }
}

#[test]
fn the_index_never_grows() {
    for entries_max in [1, 17, 300, 2048, 5000] {
        let (cache, now) = cache(entries_max, 60);
        let before = cache.index.capacity();
        for n in 0..20 * entries_max as u64 {
            assert!(fill(&cache, n, 0, now));
        }
        // Capacity may shrink by marks of deleted entries, never grow.
        assert!(
            cache.index.capacity() <= before,
            "{entries_max}: {before} -> {}",
            cache.index.capacity()
        );
        assert_eq!(cache.len(), entries_max);
    }
}

#[test]
fn everything_goes_back_to_the_arena() {
    let small = Arena::reserve(&ArenaPlan {
        key_bytes: 8192,
        large_count: 1,
        large_bytes: 4096,
        buffer_bytes: 4096,
        mode: Some(Mode::Mlock),
    })
    .unwrap();
    let now = Instant::now();
    let cache = Cache::new(
        &CacheConfig {
            entries_max: 1000,
            ttl_s: 60,
            stale_max_s: 0,
        },
        small,
        now,
    );
    for n in 0..10_000 {
        let key = small.store(&[1; 32]).or_else(|_| {
            assert!(cache.make_room(8) > 0);
            small.store(&[1; 32])
        });
        assert!(cache.insert(
            digest(n),
            Family(0),
            &key.unwrap(),
            cache.begin_fill(Family(0)),
            now
        ));
    }
    drop(cache);
    assert_eq!(small.usage().key_bytes_used, 0);
}
