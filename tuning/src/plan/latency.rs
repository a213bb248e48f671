//! Answer times in a scenario: of hits, of misses, of all.

mod mixture;

use mixture::{Mixture, mixture};

use super::frame::Frame;
use super::scenario::{Cache, Detail, Load};
use crate::model::cpu::HIT_TIME;
use crate::model::distribution::quantile;
use crate::model::pool;
use crate::trace::{Error, Formula, Held, Quantity, Solved, Unit};

static ALL_TIME: Formula = Formula {
    text: "quantile of the mixture: hit_ratio of hits, the rest of misses",
    source: "law of total probability",
    error: Error::Relative(0.1),
    domain: "as its parts; where the quantile falls between hits and misses, the hit ratio's band decides",
    held: Held::Test("des_plan"),
};
static ALL_FAR: Formula = Formula {
    text: "quantile of the mixture: hit_ratio of hits, the rest of misses",
    source: "law of total probability",
    error: Error::Relative(0.25),
    domain: "as its parts; a Pareto tail is so flat that little else decides",
    held: Held::Test("des_plan"),
};
static OVER_DEADLINE: Formula = Formula {
    text: "share of misses that would take longer than policy.timeout_ms, pauses not counted",
    source: "greedy batch server (tuning/src/model/pool.rs)",
    error: Error::Relative(0.5),
    domain: "load up to 0.8 of the capacity",
    held: Held::Test("des_plan"),
};

/// Answer times of one kind, each in ms.
#[derive(Clone, Debug)]
pub struct Quantiles {
    /// Median.
    pub p50: Quantity,
    /// 99 %.
    pub p99: Quantity,
    /// 99.9 %.
    pub p999: Quantity,
}

/// Answer times in one scenario.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// Served from the cache; only in full detail.
    pub hit: Option<Quantiles>,
    /// Waited for the HSM.
    pub miss: Quantiles,
    /// All unwraps.
    pub all: Quantiles,
    /// Share of misses beyond the deadline: answered 504.
    pub late: Quantity,
    /// Hits, misses, all: milliseconds by the share that takes longer; only in full detail.
    pub spectrum: [Vec<(f64, f64)>; 3],
}

impl Latencies {
    /// In the order of reading.
    pub fn quantities(&self) -> Vec<&Quantity> {
        let kinds = self.hit.iter().chain([&self.miss, &self.all]);
        let mut all: Vec<_> = kinds
            .flat_map(|kind| [&kind.p50, &kind.p99, &kind.p999])
            .collect();
        all.push(&self.late);
        all
    }
}

/// Three quantiles of what exceeds a time.
fn quantiles(
    solved: &Solved<Mixture>,
    scope: &str,
    formulas: [&'static Formula; 3],
    exceeds: fn(&Mixture, f64) -> f64,
) -> Quantiles {
    let one = |percent: &str, share: f64, formula| {
        let read = |mixture: &Mixture| 1000.0 * quantile(share, |time_s| exceeds(mixture, time_s));
        solved.quantity(format!("{scope}_{percent}_ms"), Unit::Millis, formula, read)
    };
    Quantiles {
        p50: one("p50", 0.5, formulas[0]),
        p99: one("p99", 0.99, formulas[1]),
        p999: one("p999", 0.999, formulas[2]),
    }
}

pub(super) fn latencies(
    frame: &Frame,
    load: &Load,
    cache: &Cache,
    [hit_ratio, jobs, at_work, cpu_load]: [&Quantity; 4],
    detail: Detail,
) -> Latencies {
    let copies = cache.copies(load);
    let solved = mixture(frame, [hit_ratio, &copies, jobs, at_work, cpu_load]);
    let is_full = detail == Detail::Full;
    let of = |kind: &str, formulas, exceeds| {
        quantiles(
            &solved,
            &format!("{}.{kind}", load.scope),
            formulas,
            exceeds,
        )
    };
    let spectrum_of = |exceeds: fn(&Mixture, f64) -> f64| {
        if is_full {
            spectrum(|time_s| exceeds(solved.result(), time_s))
        } else {
            Vec::new()
        }
    };
    Latencies {
        hit: is_full.then(|| of("hit", [&HIT_TIME; 3], Mixture::hit_exceeds)),
        miss: of(
            "miss",
            [&pool::P50, &pool::P99, &pool::P999],
            Mixture::miss_exceeds,
        ),
        all: of(
            "all",
            [&ALL_TIME, &ALL_TIME, &ALL_FAR],
            Mixture::all_exceeds,
        ),
        spectrum: [
            Mixture::hit_exceeds,
            Mixture::miss_exceeds,
            Mixture::all_exceeds,
        ]
        .map(spectrum_of),
        late: solved.quantity(
            format!("{}.late_share", load.scope),
            Unit::Share,
            &OVER_DEADLINE,
            Mixture::late,
        ),
    }
}

/// From one in two to one in ten thousand.
fn spectrum(exceeds: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    (0..=40)
        .map(|step| 0.5 * 10_f64.powf(-f64::from(step) * 0.1))
        .take_while(|share| *share >= 1e-4)
        .map(|share| (share, 1000.0 * quantile(1.0 - share, &exceeds)))
        .collect()
}
