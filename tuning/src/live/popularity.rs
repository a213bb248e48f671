//! How many keys there are and how they are asked for, from how many different ones were fetched within a time to live
//! and within a longer time.
//!
//! A key asked for l times a second is in the cache with chance l T / (1 + l T), and was fetched within a longer time t
//! with chance 1 - (1 - that) e^(-l t): by whichever request found it gone. For each exponent the keys that explain the
//! longer window are found, and the exponent is the one whose shorter window fits. Source: renewal argument, as in
//! `model::lives`. Error: 10 % of each with a working set counted to 2 %, held by the tests below.

use crate::model::popularity::Popularity;

/// Longer windows tell nothing new below this ratio to the shorter one.
const RATIO_MIN: f64 = 3.0;
/// Of the keys that were counted: fewer more than this in the longer window are chance.
const MORE_MIN: f64 = 1.1;
const EXPONENT_MAX: f64 = 2.0;
const KEYS_MAX: f64 = 1e10;
const STEPS: u32 = 40;

/// Keys and exponent, from the requests a second of one node and (keys, seconds) of a time to live and of a longer
/// window; none if the windows don't tell.
pub fn fit(rate: f64, ttl: (f64, f64), long: (f64, f64)) -> Option<(f64, f64)> {
    if rate <= 0.0 || ttl.0 < 10.0 || long.1 < RATIO_MIN * ttl.1 || long.0 < MORE_MIN * ttl.0 {
        return None;
    }
    let seen = |keys: f64, zipf_s: f64, seconds: f64| different(keys, zipf_s, rate, ttl.1, seconds);
    // More keys are more different ones in any window.
    let keys_for = |zipf_s: f64| {
        bisect(long.0.ln(), KEYS_MAX.ln(), |keys| {
            seen(keys.exp(), zipf_s, long.1) >= long.0
        })
        .exp()
    };
    // With the longer window explained, a steeper law has fewer different ones in the shorter.
    let is_too_steep = |zipf_s: f64| seen(keys_for(zipf_s), zipf_s, 0.0) <= ttl.0;
    if is_too_steep(0.0) {
        // Even alike they would be more: chance, or keys that come and go together.
        return Some((keys_for(0.0), 0.0));
    }
    if !is_too_steep(EXPONENT_MAX) {
        return None;
    }
    let zipf_s = bisect(0.0, EXPONENT_MAX, is_too_steep);
    let keys = keys_for(zipf_s);
    (keys < 0.99 * KEYS_MAX).then_some((keys.round(), zipf_s))
}

/// Different keys of one node's cache, and fetched within `seconds` after that.
fn different(keys: f64, zipf_s: f64, rate: f64, ttl_s: f64, seconds: f64) -> f64 {
    Popularity::zipf(keys, zipf_s).sum(rate, |key| {
        let held = key * ttl_s / (1.0 + key * ttl_s);
        1.0 - (1.0 - held) * (-key * (seconds - ttl_s).max(0.0)).exp()
    })
}

/// Where `holds` begins to hold.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_law_is_found_again_in_its_own_windows() {
        for (keys, zipf_s, rate) in [
            (100_000.0, 0.6, 500.0),
            (400_000.0, 0.9, 2000.0),
            (50_000.0, 0.8, 100.0),
            (20_000.0, 1.1, 50.0),
        ] {
            let (ttl_s, long_s) = (300.0, 3600.0);
            let ttl = different(keys, zipf_s, rate, ttl_s, 0.0);
            let long = different(keys, zipf_s, rate, ttl_s, long_s);
            let (got, exponent) = fit(rate, (ttl, ttl_s), (long, long_s)).unwrap();
            assert!((got / keys - 1.0).abs() < 0.03, "{keys} {zipf_s}: {got}");
            assert!(
                (exponent - zipf_s).abs() < 0.02,
                "{keys} {zipf_s}: {exponent}"
            );
        }
    }

    #[test]
    fn windows_that_tell_nothing_are_not_used() {
        for (name, rate, ttl, long) in [
            ("just started", 100.0, (900.0, 30.0), (900.0, 30.0)),
            (
                "all keys seen in a life",
                100.0,
                (1000.0, 300.0),
                (1000.0, 86_400.0),
            ),
            ("idle", 0.0, (1000.0, 300.0), (9000.0, 86_400.0)),
            ("nothing fetched", 10.0, (0.0, 300.0), (0.0, 86_400.0)),
        ] {
            assert_eq!(fit(rate, ttl, long), None, "{name}");
        }
    }
}
