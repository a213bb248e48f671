//! How many different keys a node needs: counted when one is fetched, so that a hit pays nothing.
//!
//! Every key in the cache was fetched within the last time to live, so the different keys that were fetched within it
//! are the entries that a cache without an end would hold: the working set. Where they are more than
//! `kms.cache.entries.max`, keys in use push each other out. A second window of a day has also what comes back more
//! rarely. What is refused by the HSM does not count; what was fetched and not kept for want of room does.
//!
//! Must never be true: a digest kept here; a clock read here. `admin` tells it, `kms-tune` plans with it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cache::Digest;
use crate::metrics::Distinct;

use super::Engine;

/// Parts of a window; the oldest is forgotten when a new one begins.
const PARTS: u32 = 8;
const DAY: Duration = Duration::from_hours(24);

/// What was fetched within the last time to live, and within the last day.
pub(super) struct WorkingSet(Mutex<[Window; 2]>);

/// What is known of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// `ttl` or `day`.
    pub window: &'static str,
    /// How far back is looked: between seven eighths of the window and all of it, and not before the start.
    pub seconds: f64,
    /// About how many different keys were fetched; within 5 % nearly always.
    pub keys: f64,
}

struct Window {
    name: &'static str,
    part: Duration,
    parts: Vec<Distinct>,
    start: Instant,
    /// Number of the newest part since the start.
    newest: u32,
}

impl WorkingSet {
    pub(super) fn new(ttl: Duration, start: Instant) -> Self {
        Self(Mutex::new([
            Window::new("ttl", ttl, start),
            Window::new("day", DAY, start),
        ]))
    }

    /// A key was fetched.
    pub(super) fn note(&self, digest: &Digest, now: Instant) {
        let (front, _) = digest.0.split_at(8);
        let hash = front.try_into().map_or(0, u64::from_le_bytes);
        for window in self.0.lock().iter_mut() {
            window.note(hash, now);
        }
    }

    fn seen(&self, now: Instant) -> [Seen; 2] {
        let mut windows = self.0.lock();
        let mut all = [Distinct::default(), Distinct::default()];
        let mut told = windows.each_mut().map(|window| {
            window.turn(now);
            window.told(now)
        });
        for (all, window) in all.iter_mut().zip(windows.iter()) {
            window.parts.iter().for_each(|part| all.merge(part));
        }
        drop(windows);
        for (told, all) in told.iter_mut().zip(&all) {
            told.keys = all.estimate();
        }
        told
    }
}

impl Window {
    fn new(name: &'static str, length: Duration, start: Instant) -> Self {
        Self {
            name,
            part: length / PARTS,
            parts: vec![Distinct::default(); PARTS as usize],
            start,
            newest: 0,
        }
    }

    /// Forgets the parts whose time is over.
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.start).as_nanos();
        // Nothing is cached without a time to live: then there is one part for ever.
        let number = passed.checked_div(self.part.as_nanos()).unwrap_or(0);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let over = number.saturating_sub(self.newest).min(PARTS);
        for step in 0..over {
            let at = (number - step) % PARTS;
            if let Some(part) = self.parts.get_mut(at as usize) {
                part.clear();
            }
        }
        self.newest = self.newest.max(number);
    }

    fn note(&mut self, hash: u64, now: Instant) {
        self.turn(now);
        if let Some(part) = self.parts.get_mut((self.newest % PARTS) as usize) {
            part.note(hash);
        }
    }

    /// Without its keys.
    fn told(&self, now: Instant) -> Seen {
        let oldest = self.newest.saturating_sub(PARTS - 1);
        let since = self.start + self.part.saturating_mul(oldest);
        Seen {
            window: self.name,
            seconds: now.saturating_duration_since(since).as_secs_f64(),
            keys: 0.0,
        }
    }
}

impl Engine {
    /// How many different keys were fetched within the last time to live, and within the last day.
    pub fn working_set(&self, now: Instant) -> [Seen; 2] {
        self.working_set.seen(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(80);

    /// Uniform, as digests are.
    fn digest(number: u64) -> Digest {
        let mut bytes = [0; 16];
        let hash = ring::digest::digest(&ring::digest::SHA256, &number.to_le_bytes());
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        Digest(bytes)
    }

    fn near(got: f64, want: f64) -> bool {
        (got / want - 1.0).abs() < 0.05
    }

    #[test]
    fn a_key_counts_once_however_often_it_is_fetched() {
        let start = Instant::now();
        let set = WorkingSet::new(TTL, start);
        for round in 0..3 {
            let now = start + Duration::from_secs(round);
            (0..2000).for_each(|key| set.note(&digest(key), now));
        }
        for seen in set.seen(start + Duration::from_secs(3)) {
            assert!(near(seen.keys, 2000.0), "{seen:?}");
            assert!((seen.seconds - 3.0).abs() < 1e-6, "{seen:?}");
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Instant::now();
        let set = WorkingSet::new(TTL, start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        (0..1000).for_each(|key| set.note(&digest(key), at(1)));
        (1000..3000).for_each(|key| set.note(&digest(key), at(75)));
        for (name, now_s, ttl_keys, ttl_s, day_keys) in [
            ("both", 79, 3000.0_f64, 79.0, 3000.0_f64),
            ("the first part is over", 80, 2000.0, 70.0, 3000.0),
            ("the second is still there", 149, 2000.0, 79.0, 3000.0),
            ("all is over", 150, 0.0, 70.0, 3000.0),
            ("long after", 5000, 0.0, 70.0, 3000.0),
            ("a day later", 90_000, 0.0, 70.0, 0.0),
        ] {
            let [ttl, day] = set.seen(at(now_s));
            let is = |got: f64, want: f64| got <= want || near(got, want);
            assert!(
                is(ttl.keys, ttl_keys) && near(ttl.keys.max(1.0), ttl_keys.max(1.0)),
                "{name}: {ttl:?}"
            );
            assert!((ttl.seconds - ttl_s).abs() < 1e-6, "{name}: {ttl:?}");
            assert!(
                near(day.keys.max(1.0), day_keys.max(1.0)),
                "{name}: {day:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_loses_nothing() {
        let start = Instant::now();
        let set = WorkingSet::new(TTL, start);
        (0..500).for_each(|key| set.note(&digest(key), start + Duration::from_secs(40)));
        (500..1000).for_each(|key| set.note(&digest(key), start));
        let [ttl, _] = set.seen(start + Duration::from_secs(41));
        assert!(near(ttl.keys, 1000.0), "{ttl:?}");
        let none = WorkingSet::new(Duration::ZERO, start);
        none.note(&digest(1), start + DAY);
        assert!(near(none.seen(start + DAY)[0].keys, 1.0));
    }
}
