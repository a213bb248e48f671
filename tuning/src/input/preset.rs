//! Fields that come from a preset: one of loadgen's simulated HSMs.
//!
//! Must never be true: a number of a preset that is not loadgen's own.

use kms_loadgen::sim::preset::Overload;
use kms_loadgen::sim::{Model, Preset};

use super::error::Problem;
use super::field::{self, Field};
use super::layers::Site;
use crate::trace::Quantity;

const SECONDS_PER_DAY: f64 = 86_400.0;
/// Names of loadgen's presets; a test holds that they are all of them.
pub(super) const PRESET_NAMES: &[&str] = &[
    "null",
    "soft-kmip",
    "lan-hsm",
    "cloud-hsm",
    "wan-hsm",
    "busy-hsm",
    "slow-kmip",
];

/// What the preset says; without one, what an HSM without that trait does.
pub(super) fn of_preset(
    field: &'static Field,
    site: &Site,
    problems: &mut Vec<Problem>,
) -> Option<Quantity> {
    if site.opt(&field::PRESET).is_some() {
        let name = site.word(&field::PRESET);
        let preset = Preset::ALL
            .into_iter()
            .find(|preset| preset.name() == name)?;
        let value = trait_of(field, &preset.model())?;
        let why = format!("preset {name}");
        return Some(Quantity::assumed(field.path, value, field.unit, why));
    }
    let needed = [&field::MESSAGE_MS, &field::SIGMA, &field::ITEM_MS];
    if needed.iter().any(|needed| needed.path == field.path) {
        problems.push(Problem::NoHsm(field));
        return None;
    }
    let none = Model {
        engines: 64,
        ..Preset::Null.model()
    };
    let value = trait_of(field, &none)?;
    Some(Quantity::assumed(field.path, value, field.unit, "not told"))
}

/// One number of a simulated HSM.
fn trait_of(field: &Field, model: &Model) -> Option<f64> {
    let tail = model.tail;
    Some(match field.key() {
        "message_ms" => model.message_ms,
        "sigma" => model.sigma,
        "item_ms" => model.item_ms,
        "engines" => f64::from(model.engines),
        "ceiling_ops_s" => model.ceiling_ops_s?,
        "overload" => f64::from(u8::from(model.overload == Overload::Reject)),
        "reject_share" => model.reject_probability,
        "tail_share" => tail.map_or(0.0, |tail| tail.probability),
        "tail_min_ms" => tail.map_or(0.0, |tail| tail.min_ms),
        "tail_alpha" => tail.map_or(2.0, |tail| tail.alpha),
        "stall_s" => model
            .stalls
            .map_or(0.0, |stalls| (stalls.min_ms + stalls.max_ms) / 2000.0),
        "stalls_per_day" => model
            .stalls
            .map_or(0.0, |stalls| SECONDS_PER_DAY / stalls.every_s),
        _ => return None,
    })
}
