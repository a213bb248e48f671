//! How many different keys were fetched lately: whether the working set has room in the cache.

use std::time::Instant;

use crate::server::Shared;

use super::text::Text;
use super::text::Type::Gauge;

pub(super) fn put(text: &mut Text, shared: &Shared) {
    let seen = shared.engine.working_set(Instant::now());
    text.family(
        "kms_working_set_keys",
        Gauge,
        "About how many different keys were fetched from the HSM lately: within the time to live (what a cache \
         without an end would hold), and within a day.",
    );
    for one in &seen {
        text.sample(&[("window", one.window)], one.keys.round());
    }
    text.family(
        "kms_working_set_seconds",
        Gauge,
        "How far back the working set is counted now.",
    );
    for one in &seen {
        text.sample(&[("window", one.window)], one.seconds);
    }
    text.one(
        "kms_cache_ttl_seconds",
        Gauge,
        "Longest life of a cached key (kms.cache.ttl.s).",
        shared.engine.cache().ttl().as_secs(),
    );
}
