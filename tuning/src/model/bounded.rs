//! A cache that is full: who is pushed out. Closed forms for policies that have one, as bounds and for
//! comparison; the server's own policy has none and is run instead ([`super::stream`]).
//!
//! Each finds the characteristic time t at which the entries held are the entries there is room for (Che).
//! Sources: Che et al. 2002; Martina, Garetto, Leonardi 2014 (arXiv 1307.6702) for LRU, FIFO and RANDOM; CLOCK
//! by the number of times the hand passes, geometric in the chance of no request in a round. Error: 0.1 points of hit
//! ratio without TTL, 2.4 points for CLOCK with one. Domain: independent random requests.

use crate::trace::{Error, Formula, Held};

use super::lives::Flows;
use super::popularity::Popularity;

/// [`clock_flows`], for the server's cache: what is tried while a design is looked for.
pub static HIT_RATIO: Formula = Formula {
    text: "CLOCK: sum of p l R / (1 + l R), R the time that an entry stays when the hand comes round every t",
    source: "Martina, Garetto, Leonardi 2014, with a hard TTL; the server's SIEVE is mostly above it",
    error: Error::Absolute(0.08),
    domain: "independent random requests",
    held: Held::Test("des_cache"),
};
/// As [`HIT_RATIO`].
pub static FETCHES: Formula = Formula {
    text: "CLOCK: requests/s x (1 - hit ratio)",
    source: "Martina, Garetto, Leonardi 2014, with a hard TTL; the server's SIEVE is mostly below it",
    error: Error::Relative(0.2),
    domain: "independent random requests",
    held: Held::Test("des_cache"),
};

/// Part of the entries that the server's hand spares, the newest.
const SPARED: f64 = 0.1;
/// Halvings that find the characteristic time.
const STEPS: usize = 80;
/// Seconds between which it is looked for.
const TIMES: (f64, f64) = (1e-9, 1e12);

/// A policy with a closed form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// The least recently used goes.
    Lru,
    /// The oldest goes (RANDOM has the same hit ratio).
    Fifo,
    /// The oldest that was not hit since the hand last passed goes.
    Clock,
}

/// Hit ratio of a cache of `entries`; `ttl_s` is hard, from the fetch on.
pub fn hit_ratio(
    policy: Policy,
    popularity: &Popularity,
    rate: f64,
    entries: f64,
    ttl_s: f64,
) -> f64 {
    let time = characteristic_s(policy, popularity, rate, entries, ttl_s);
    popularity.sum(rate, |key| key * hit(policy, key, time, ttl_s)) / rate
}

/// How long an entry stays that nobody asks for: for CLOCK, a round of the hand.
pub fn characteristic_s(
    policy: Policy,
    popularity: &Popularity,
    rate: f64,
    entries: f64,
    ttl_s: f64,
) -> f64 {
    found(entries, |time| {
        popularity.sum(rate, |key| hit(policy, key, time, ttl_s))
    })
}

/// The time at which so many are `held`; it grows with the time.
fn found(entries: f64, held: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = TIMES;
    if held(high) <= entries {
        return high;
    }
    for _ in 0..STEPS {
        let middle = (low * high).sqrt();
        if held(middle) < entries {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Share of one key's requests that hit, which is also the share of the time that it is held.
fn hit(policy: Policy, key: f64, time: f64, ttl_s: f64) -> f64 {
    match policy {
        Policy::Lru => {
            let reaches = (-key * time).exp();
            if reaches <= 0.0 {
                let many = key * ttl_s;
                return many / (1.0 + many);
            }
            // Hits in a life: ended by the TTL, or by a gap longer than the characteristic time.
            let by_gap = (1.0 - reaches) / reaches;
            let by_ttl = key * ttl_s;
            let many = 1.0 / (1.0 / by_ttl + 1.0 / by_gap);
            many / (1.0 + many)
        }
        Policy::Fifo => {
            let stays = key * time.min(ttl_s);
            stays / (1.0 + stays)
        }
        Policy::Clock => {
            let stays = key * clock_residence(key, time, ttl_s);
            stays / (1.0 + stays)
        }
    }
}

/// What becomes of one key, asked for `rate` times a second, at a CLOCK whose hand comes round every `time_s`.
pub fn clock_key(rate: f64, time_s: f64, ttl_s: f64) -> Flows {
    let share = hit(Policy::Clock, rate, time_s, ttl_s);
    Flows {
        hits: rate * share,
        misses: rate * (1.0 - share),
        held: share,
        ..Flows::default()
    }
}

/// How long an entry stays when the hand comes round every `time`.
fn clock_residence(key: f64, time: f64, ttl_s: f64) -> f64 {
    let again = 1.0 - (-key * time).exp();
    let rounds = (ttl_s / time).floor();
    if rounds < 1.0 {
        return ttl_s;
    }
    let all = again.powf(rounds);
    let passed = if again < 1.0 {
        time * (1.0 - all) / (1.0 - again)
    } else {
        time * rounds
    };
    passed + all * (ttl_s - rounds * time)
}

/// What no policy can exceed: the most popular keys held for ever.
pub fn best(popularity: &Popularity, entries: f64) -> f64 {
    popularity.share_of_top(entries)
}

/// Keys that come up once: requests for them a second, how often each is asked for, seconds between.
#[derive(Clone, Copy, Debug)]
pub struct Cold {
    /// Requests a second.
    pub rate: f64,
    /// Of each key.
    pub reads: f64,
    /// Seconds between these.
    pub gap_s: f64,
}

/// What becomes of `rate` requests a second, and of those for cold keys, at a CLOCK of `entries`.
pub fn clock_flows(
    popularity: &Popularity,
    rate: f64,
    cold: &Cold,
    entries: f64,
    ttl_s: f64,
) -> Flows {
    let fresh = cold.rate / cold.reads.max(1.0);
    // A read while the hand spares the entry is a hit; a later one may find it gone.
    let is_spared = |time: f64| cold.gap_s < (SPARED * time).min(ttl_s);
    let fetched = |time: f64| fresh * if is_spared(time) { 1.0 } else { cold.reads };
    let time = found(entries, |time| {
        let own = popularity.sum(rate, |key| hit(Policy::Clock, key, time, ttl_s));
        let rounds = if cold.reads > 1.5 && is_spared(time) {
            2.0
        } else {
            1.0
        };
        own + fetched(time) * (rounds * time).min(ttl_s)
    });
    let hits = popularity.sum(rate, |key| key * hit(Policy::Clock, key, time, ttl_s));
    let cold_misses = fetched(time);
    Flows {
        hits: hits + cold.rate - cold_misses,
        joins: 0.0,
        misses: rate - hits + cold_misses,
        ahead: 0.0,
        held: entries,
    }
}
