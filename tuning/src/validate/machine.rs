//! What the plan must know of this machine before it predicts: answer times of hits, and what a miss takes besides the
//! HSM; and the simulated HSM that a site describes.

use std::sync::atomic::AtomicBool;

use kms_loadgen::load::job::{Job, Load};
use kms_loadgen::results::{Latency, RunResult};
use kms_loadgen::sim::preset::{Overload, Tail};
use kms_loadgen::sim::{Model, Preset};

use super::rig::{Asked, Rig};
use crate::input::{Field, Site, field};

/// Message of the HSM while misses are timed: long enough that its own lateness is small.
const MESSAGE_MS: f64 = 2.0;
/// Keys that hits are timed with; misses are timed with the others.
const HIT_KEYS: u32 = 1000;
const SECONDS: f64 = 6.0;
const MISSES_S: f64 = 150.0;

/// Fields that were measured, with their values.
pub type Measured = Vec<(&'static Field, f64)>;

/// Times hits at `rate` a second and misses, on one node with these lines of configuration; and why they are not to
/// be believed.
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
    rig.open(model, 1, lines)?;
    rig.fill(0, HIT_KEYS, stop)?;
    let mut doubts = Vec::new();
    let mut timed = |load: Load| {
        let job = Job {
            connections: 64,
            warm_up_s: 1.0,
            duration_s: Some(SECONDS),
            keys: Some(load.first_key + load.keys.unwrap_or(HIT_KEYS)),
            loads: vec![load],
            lag_ms_max: 20.0,
            ..Job::default()
        };
        let results = rig.run(vec![Asked { node: 0, job }], stop, None)?;
        let found = results.iter().flat_map(|result| &result.validity.doubts);
        doubts.extend(found.map(ToString::to_string));
        Ok::<_, String>(latency(&results))
    };
    let hits = timed(Load {
        rate: Some(rate),
        keys: Some(HIT_KEYS),
        ..Load::default()
    })?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a constant
    let keys = (MISSES_S * (SECONDS + 2.0)) as u32;
    let misses = timed(Load {
        rate: Some(MISSES_S),
        streams: vec!["scan-once".to_owned()],
        first_key: HIT_KEYS,
        keys: Some(keys),
        ..Load::default()
    })?;
    let us = |latency: &Latency, share| latency.at_ns(share).unwrap_or(0) as f64 / 1000.0;
    let (base_us, far_us) = (us(&hits, 0.5).max(1.0), us(&hits, 0.99));
    let sigma = ((far_us / base_us).ln() / 2.326).clamp(0.0, 3.0);
    let over_us = (us(&misses, 0.5) - 1000.0 * MESSAGE_MS - base_us).max(0.0);
    let measured = vec![
        (&field::HIT_BASE_US, base_us),
        (&field::HIT_SIGMA, sigma),
        (&field::MISS_OVERHEAD_US, over_us),
    ];
    Ok((measured, doubts))
}

/// Data keys that [`times`] needs.
pub(super) const KEYS: u32 = HIT_KEYS + 2000;

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
