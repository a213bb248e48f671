//! The last tenth of a life, and what may be served after it.
#![allow(clippy::unchecked_time_subtraction)] // Of durations that are known to be long.

use super::*;

const TTL_S: u32 = 100;
const STALE_MAX_S: u32 = 50;

fn aged() -> (Cache, Instant) {
    let start = Instant::now();
    let config = CacheConfig {
        entries_max: 8,
        ttl_s: TTL_S,
        stale_max_s: STALE_MAX_S,
    };
    (Cache::new(&config, arena(), start), start)
}

/// The life of an entry is up to a tenth shorter, by its digest: its end is looked for.
fn end_of(cache: &Cache, n: u64, start: Instant) -> Duration {
    (0..=u64::from(TTL_S) * 10)
        .map(|tenths| Duration::from_millis(tenths * 100))
        .find(|after| cache.get(&digest(n), start + *after).is_none())
        .unwrap()
}

#[test]
fn an_entry_ages_in_its_last_tenth_and_is_stale_after_it() {
    let (cache, start) = aged();
    assert!(fill(&cache, 1, 0, start));
    let end = end_of(&cache, 1, start);
    assert!(end > Duration::from_secs(89), "{end:?}");
    let tenth = Duration::from_secs(u64::from(TTL_S) / 10);
    let moment = Duration::from_millis(100);
    let stale_end = end + Duration::from_secs(u64::from(STALE_MAX_S));
    // What is told at `after`: the least that is left, and whether to fetch it anew.
    let last = end - tenth + moment;
    for (name, after, told, stale) in [
        ("new", Duration::ZERO, Some(false), true),
        ("before the last tenth", end - tenth, Some(false), true),
        ("in the last tenth", last, Some(true), true),
        ("asked for once more", last, Some(false), true),
        (
            "a while later",
            last + Duration::from_secs(3),
            Some(true),
            true,
        ),
        ("near the end", end - moment, Some(true), true),
        ("at the end", end, None, true),
        ("long after", stale_end - moment, None, true),
        ("too long after", stale_end, None, false),
    ] {
        let now = start + after;
        let found = cache.lookup_aged(&digest(1), now, |_| ());
        assert_eq!(found.map(|((), age)| age.refresh), told, "{name}");
        assert_eq!(cache.get_stale(&digest(1), now).is_some(), stale, "{name}");
        if let Some(((), age)) = found {
            let least = cache.least_left(age.part_left);
            let left = end - after;
            assert!(least <= left, "{name}: {least:?} of {left:?}");
            assert!(
                left - least < Duration::from_secs(4),
                "{name}: {least:?} of {left:?}"
            );
        }
    }
}

#[test]
fn a_forgotten_entry_is_gone_for_good_and_alone() {
    let (cache, start) = aged();
    assert!(fill(&cache, 1, 0, start) && fill(&cache, 2, 0, start));
    cache.forget(&digest(1));
    cache.forget(&digest(3));
    assert!(cache.get_stale(&digest(1), start).is_none());
    assert!(cache.get(&digest(2), start).is_some());
    assert_eq!((cache.len(), cache.stats().purged), (1, 1));
}

#[test]
fn a_tick_keeps_the_stale_and_wipes_them_in_their_time() {
    let (cache, start) = aged();
    assert!(fill(&cache, 1, 0, start));
    let end = end_of(&cache, 1, start);
    cache.tick(start + end);
    assert_eq!(cache.len(), 1);
    cache.tick(start + end + Duration::from_secs(u64::from(STALE_MAX_S) + 2));
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_purge_ends_stale_entries_too() {
    for (name, purge) in [
        ("family", Cache::purge_family as fn(&Cache, Family)),
        ("all", |cache: &Cache, _| cache.purge_all()),
    ] {
        let (cache, start) = aged();
        assert!(fill(&cache, 1, 0, start));
        let end = start + end_of(&cache, 1, start);
        assert!(cache.get_stale(&digest(1), end).is_some(), "{name}");
        purge(&cache, Family(0));
        assert!(cache.get_stale(&digest(1), end).is_none(), "{name}");
    }
}
