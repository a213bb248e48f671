//! What the plan must know of this machine before it predicts: answer times of hits, and what a miss takes besides the
//! HSM; and the simulated HSM that a site describes.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use kms_loadgen::load::job::{Job, Load};
use kms_loadgen::results::{Latency, RunResult};
use kms_loadgen::sim::preset::{Overload, Tail};
use kms_loadgen::sim::{Model, Preset};

use super::rig::{Asked, Rig};
use crate::input::{Field, Site, field};

/// Message of the HSM while misses are timed: shorter ones come late by a larger part.
const MESSAGE_MS: f64 = 2.0;
/// In place of the site's own: no miss waits for a connection, and no hit's key is fetched anew or evicted.
const ROOM: [(&str, u32); 3] = [
    ("kms.hsm.pool.size", 16),
    ("kms.cache.ttl.s", 86_400),
    ("kms.cache.entries.max", 10_000),
];
/// Keys that hits are timed with; misses are timed with the others.
const HIT_KEYS: u32 = 1000;
const WARM_UP_S: u32 = 1;
const SECONDS: u32 = 10;
/// Of misses, beyond those that are due: a schedule of chance has some more.
const SPARE_S: u32 = 1;
/// Misses a second.
const MISSES_S: u32 = 200;
/// Lag of the generator that is believed. What there is of it counts here as it does in the stages: from the time when
/// a request was due.
const LAG_MS_MAX: f64 = 0.5;
/// Hits a second at least.
const HITS_S_MIN: f64 = 100.0;

/// Fields that were measured, with their values.
pub type Measured = Vec<(&'static Field, f64)>;

/// Times hits and misses on one node with these lines of configuration, at the same time and together `rate` a second
/// (300 at least): a processor that sleeps between two requests takes longer to wake. And why they are not to be
/// believed.
pub fn times(
    rig: &mut Rig,
    lines: &str,
    rate: f64,
    stop: &AtomicBool,
) -> Result<(Measured, Vec<String>), String> {
    let model = Model {
        message_ms: MESSAGE_MS,
        ..Preset::Null.model()
    };
    rig.open(model, 1, &with_room(lines))?;
    rig.fill(0, HIT_KEYS, stop)?;
    let hits = Load {
        rate: Some((rate - f64::from(MISSES_S)).max(HITS_S_MIN)),
        keys: Some(HIT_KEYS),
        ..Load::default()
    };
    let misses = Load {
        rate: Some(f64::from(MISSES_S)),
        streams: vec!["scan-once".to_owned()],
        first_key: HIT_KEYS,
        keys: Some(KEYS - HIT_KEYS),
        ..Load::default()
    };
    let asked = [hits, misses].map(|load| Asked {
        node: 0,
        job: Job {
            connections: 64,
            warm_up_s: f64::from(WARM_UP_S),
            duration_s: Some(f64::from(SECONDS)),
            keys: Some(KEYS),
            loads: vec![load],
            lag_ms_max: LAG_MS_MAX,
            ..Job::default()
        },
    });
    let results = rig.run(asked.into(), stop, None)?;
    if stop.load(Ordering::Relaxed) {
        return Err("interrupted".to_owned());
    }
    let doubts = results.iter().flat_map(|result| &result.validity.doubts);
    let doubts = doubts.map(ToString::to_string).collect();
    let [hits, misses] = results.as_slice() else {
        return Err("two loads have not two results".to_owned());
    };
    let us =
        |result: &RunResult, share| result.headline().at_ns(share).unwrap_or(0) as f64 / 1000.0;
    let hit_us = us(hits, 0.5).max(1.0);
    // What a miss takes besides the HSM.
    let besides_us = |share| (us(misses, share) - 1000.0 * MESSAGE_MS).max(hit_us);
    let measured = vec![
        (&field::HIT_BASE_US, hit_us),
        (&field::HIT_SIGMA, sigma(hit_us, us(hits, 0.99))),
        (&field::MISS_OVERHEAD_US, besides_us(0.5) - hit_us),
        (
            &field::MISS_OVERHEAD_SIGMA,
            sigma(besides_us(0.5), besides_us(0.99)),
        ),
    ];
    Ok((measured, doubts))
}

/// Of a lognormal time, by two of its quantiles.
fn sigma(p50_us: f64, p99_us: f64) -> f64 {
    ((p99_us / p50_us).ln() / 2.326).clamp(0.0, 3.0)
}

fn with_room(lines: &str) -> String {
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let is_ours =
        |line: &&str| key(line).is_some_and(|key| ROOM.iter().any(|(ours, _)| *ours == key));
    let mut text = String::new();
    for line in lines.lines().filter(|line| !is_ours(line)) {
        text += line;
        text += "\n";
    }
    for (key, value) in ROOM {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

/// Data keys that [`times`] needs.
pub(super) const KEYS: u32 = HIT_KEYS + (WARM_UP_S + SECONDS + SPARE_S) * MISSES_S;

/// From the times when requests were due; of all results together.
pub(super) fn latency(results: &[RunResult]) -> Latency {
    let mut all = Latency::new();
    for result in results {
        all.add(result.headline().histogram());
    }
    all
}

/// The simulated HSM that the site describes, without pauses of its own: they are ordered.
pub fn model_of(site: &Site) -> Model {
    let value = |field: &'static Field| site.get(field).value();
    let preset = site.opt(&field::PRESET).and_then(|_| {
        let name = site.word(&field::PRESET);
        Preset::ALL.into_iter().find(|one| one.name() == name)
    });
    let tail = (value(&field::TAIL_SHARE) > 0.0).then(|| Tail {
        probability: value(&field::TAIL_SHARE),
        min_ms: value(&field::TAIL_MIN_MS),
        alpha: value(&field::TAIL_ALPHA),
    });
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small count
    let engines = value(&field::ENGINES) as u32;
    Model {
        message_ms: value(&field::MESSAGE_MS),
        sigma: value(&field::SIGMA),
        item_ms: value(&field::ITEM_MS),
        engines,
        ceiling_ops_s: site.opt(&field::CEILING).map(|ceiling| ceiling.value()),
        overload: if value(&field::OVERLOAD) > 0.5 {
            Overload::Reject
        } else {
            Overload::Queue
        },
        reject_probability: value(&field::REJECT_SHARE),
        tail,
        stalls: None,
        ..preset.unwrap_or(Preset::Null).model()
    }
}

#[cfg(test)]
mod tests {
    use super::with_room;

    #[test]
    fn room_takes_the_place_of_the_sites_own() {
        let lines =
            "kms.hsm.pool.size = 2\nkms.hsm.pool.sizes = 3\nkms.cache.ttl.s=10\nkms.threads = 1\n";
        let want = "kms.hsm.pool.sizes = 3\nkms.threads = 1\nkms.hsm.pool.size = 16\nkms.cache.ttl.s = 86400\n\
                    kms.cache.entries.max = 10000\n";
        assert_eq!(with_room(lines), want);
    }
}
