//! What the plan hangs on: each number 20 % more and 20 % less, the design kept.

use super::frame::Frame;
use super::search::Assessed;
use super::{Design, Detail};
use crate::input::Source;
use crate::input::field::{self, Field};
use crate::trace::Quantity;

/// By how much each input is moved.
pub const SHARE: f64 = 0.2;

/// What one input does to the design.
#[derive(Clone, Debug)]
pub struct Sensitivity {
    /// Which one.
    pub field: &'static Field,
    /// As it is.
    pub value: f64,
    /// Less, and what comes of it; none where that is outside the field's range.
    pub less: Option<Effect>,
    /// More.
    pub more: Option<Effect>,
}

/// Relative changes; 0.1 is 10 % more.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effect {
    /// Operations that the HSMs are asked for.
    pub hsm_ops: f64,
    /// CPU load.
    pub cpu: f64,
    /// p99 of misses.
    pub miss_p99: f64,
    /// p99 of all.
    pub all_p99: f64,
    /// Longest wait in the storm.
    pub storm_wait: f64,
    /// Checks that fail which held before.
    pub broken: usize,
}

impl Effect {
    /// The largest change.
    pub fn size(&self) -> f64 {
        let parts = [
            self.hsm_ops,
            self.cpu,
            self.miss_p99,
            self.all_p99,
            self.storm_wait,
        ];
        let largest = parts
            .into_iter()
            .map(f64::abs)
            .filter(|part| part.is_finite())
            .fold(0.0, f64::max);
        largest + self.broken as f64
    }
}

/// Of every input that does anything, the most first.
pub(super) fn all(source: &Source, frame: &Frame, base: &Assessed) -> Vec<Sensitivity> {
    let mut found: Vec<Sensitivity> = frame
        .site
        .quantities()
        .filter(|(field, held)| is_moved(field, held))
        .map(|(field, held)| {
            let moved =
                |factor: f64| effect(&source.with(field, held.value() * factor), frame, base);
            Sensitivity {
                field,
                value: held.value(),
                less: moved(1.0 - SHARE),
                more: moved(1.0 + SHARE),
            }
        })
        .filter(|one| size(one) > 1e-3)
        .collect();
    found.sort_by(|a, b| size(b).total_cmp(&size(a)));
    found
}

fn size(one: &Sensitivity) -> f64 {
    let of = |effect: &Option<Effect>| effect.as_ref().map_or(0.0, Effect::size);
    of(&one.less).max(of(&one.more))
}

/// Objectives are not moved: they say what is wanted, not what is.
fn is_moved(field: &Field, held: &Quantity) -> bool {
    let designed = [
        field::NODES.path,
        field::ENTRIES_MAX.path,
        field::CONNECTIONS.path,
    ];
    field.is_number()
        && field.section() != "slo"
        && held.value() > 0.0
        && !designed.contains(&field.path)
}

/// The same design on another site; none where that is no site.
fn effect(source: &Source, frame: &Frame, base: &Assessed) -> Option<Effect> {
    let site = source.site().ok()?;
    let mut other = Frame::new(&site).ok()?;
    other.requests_run = frame.requests_run;
    let Design {
        nodes,
        connections,
        entries,
        ..
    } = base.design.clone();
    let design = Design::fixed(&site, nodes, connections, entries);
    let moved = Assessed::new(&other, design, Detail::Objectives).ok()?;
    let (was, is) = (base.peak(), moved.peak());
    let change = |was: &Quantity, is: &Quantity| is.value() / was.value() - 1.0;
    let times = was.times.as_ref().zip(is.times.as_ref());
    let storms = base
        .passing
        .storm
        .as_ref()
        .zip(moved.passing.storm.as_ref());
    let failed = |checks: &[super::Check]| checks.iter().filter(|check| !check.holds).count();
    Some(Effect {
        hsm_ops: change(&was.hsm_ops, &is.hsm_ops),
        cpu: change(&was.cpu_load, &is.cpu_load),
        miss_p99: times.map_or(0.0, |(was, is)| change(&was.miss.p99, &is.miss.p99)),
        all_p99: times.map_or(0.0, |(was, is)| change(&was.all.p99, &is.all.p99)),
        storm_wait: storms.map_or(0.0, |(was, is)| change(&was.wait_s, &is.wait_s)),
        broken: failed(&moved.checks).saturating_sub(failed(&base.checks)),
    })
}
