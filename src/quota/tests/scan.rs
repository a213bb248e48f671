//! The cache's shares against the cache itself: one client scans while another works.

use crate::cache::{Cache, CacheConfig, Digest, Family};
use crate::secret::{Arena, ArenaPlan, Mode};

use super::*;

const ENTRIES: usize = 1000;
const TTL_S: u64 = 300;
const STEP: Duration = Duration::from_millis(50);
const STEPS_OF_WINDOW: usize = 6000;

/// Digests must be uniform: the cache takes them as their own hash.
fn digest(who: u64, n: u64) -> Digest {
    let text = [who.to_be_bytes(), n.to_be_bytes()].concat();
    let hash = ring::digest::digest(&ring::digest::SHA256, &text);
    Digest(hash.as_ref()[..16].try_into().unwrap())
}

struct Site {
    cache: Cache,
    arena: &'static Arena,
    quota: Quota,
    now: Instant,
    shares_hold: bool,
}

impl Site {
    fn new(shares_hold: bool) -> Self {
        let arena = Arena::reserve(&ArenaPlan {
            key_bytes: 64 * 1024,
            large_count: 0,
            large_bytes: 0,
            buffer_bytes: 0,
            mode: Some(Mode::Mlock),
        });
        let (arena, now) = (arena.unwrap(), Instant::now());
        let cache = CacheConfig {
            entries_max: ENTRIES,
            ttl_s: u32::try_from(TTL_S).unwrap(),
            stale_max_s: 0,
        };
        Self {
            cache: Cache::new(&cache, arena, now),
            arena,
            quota: Quota::new(
                &QuotaConfig {
                    cache_entries_max: ENTRIES,
                    cache_ttl: Duration::from_secs(TTL_S),
                    ..config()
                },
                now,
            ),
            now,
            shares_hold,
        }
    }

    /// One unwrap as the engine does it; true: a hit.
    fn unwrap(&self, client: &Client, key: &Digest) -> bool {
        if self.cache.lookup(key, self.now, |_| ()).is_some() {
            return true;
        }
        let epoch = self.cache.begin_fill(Family(0));
        let plaintext = self.arena.store(&[7; 32]).unwrap();
        if client.may_fill(self.cache.len(), self.now) || !self.shares_hold {
            self.cache
                .insert(*key, Family(0), &plaintext, epoch, self.now);
        }
        false
    }

    /// The victim's hits in a thousand over three lives of an entry, after one to warm up, while
    /// another address asks `cold` new keys for each of the victim's requests.
    fn victims_hits(&mut self, keys: u64, cold: u64) -> usize {
        let victim = self.quota.client(&[1; 32], address(1), self.now);
        let scanner = self.quota.client(&[1; 32], address(2), self.now);
        let (mut hits, mut random, mut fresh) = (0, 1_u64, 0);
        for step in 0..4 * STEPS_OF_WINDOW {
            for _ in 0..cold {
                fresh += 1;
                self.unwrap(&scanner, &digest(2, fresh));
            }
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let hit = self.unwrap(&victim, &digest(1, (random >> 33) % keys));
            hits += usize::from(hit && step >= STEPS_OF_WINDOW);
            self.now += STEP;
            while self.cache.tick(self.now) {}
        }
        hits * 1000 / (3 * STEPS_OF_WINDOW)
    }
}

#[test]
fn a_scanning_address_leaves_the_others_their_hits() {
    for (name, keys) in [("few keys", 100), ("nearly half of the cache", 450)] {
        let quiet = Site::new(true).victims_hits(keys, 0);
        let beside = Site::new(true).victims_hits(keys, 8);
        assert!(beside * 100 >= quiet * 95, "{name}: {beside} of {quiet}");
    }
    // The same without shares, or this test would show nothing.
    let quiet = Site::new(false).victims_hits(450, 0);
    let beside = Site::new(false).victims_hits(450, 8);
    assert!(beside * 100 < quiet * 95, "no shares: {beside} of {quiet}");
}

#[test]
fn a_client_that_is_alone_may_use_the_whole_cache() {
    let site = Site::new(true);
    let alone = site.quota.client(&[1; 32], address(1), site.now);
    let all = u64::try_from(ENTRIES).unwrap();
    for n in 0..all {
        assert!(!site.unwrap(&alone, &digest(1, n)));
    }
    assert_eq!(site.cache.len(), ENTRIES);
    assert!((0..all).all(|n| site.unwrap(&alone, &digest(1, n))));
}

#[test]
fn a_share_shrinks_to_a_quarter_and_recovers_with_the_window() {
    let start = Instant::now();
    let quota = Quota::new(&config(), start);
    let clients: Vec<_> = (0..9)
        .map(|n| quota.client(&[1; 32], address(n), start))
        .collect();
    let may = |client: &Client, window: u32| {
        let now = start + Duration::from_mins(5) * window;
        (0..=ENTRIES)
            .take_while(|_| client.may_fill(ENTRIES, now))
            .count()
    };
    assert_eq!(may(&clients[0], 0), ENTRIES, "alone");
    assert_eq!(may(&clients[1], 0), ENTRIES / 2);
    for client in &clients[2..] {
        let share = may(client, 0);
        assert!((ENTRIES / 4..=ENTRIES / 3).contains(&share), "{share}");
    }
    assert!(!clients[1].may_fill(ENTRIES, start), "spent");
    assert!(clients[1].may_fill(ENTRIES - 1, start), "there is room");
    assert_eq!(may(&clients[0], 1), ENTRIES / 4, "the others' entries live");
    assert_eq!(may(&clients[0], 2), ENTRIES, "and are gone");
    assert_eq!(may(&clients[0], 9), ENTRIES, "after a long rest");
}
