//! Answer times in a scenario: of hits, of misses, of all.

use super::frame::{Frame, message_of};
use super::scenario::{Cache, Detail, Load};
use crate::input::field;
use crate::model::cpu::{HIT_TIME, HitTime};
use crate::model::distribution::quantile;
use crate::model::pool::{self, Pool, Times};
use crate::trace::{Error, Formula, Quantity, Solved, Unit};

static ALL_TIME: Formula = Formula {
    text: "quantile of the mixture: hit_ratio of hits, the rest of misses",
    source: "law of total probability",
    error: Error::Relative(0.1),
    domain: "as its parts",
};
static OVER_DEADLINE: Formula = Formula {
    text: "share of misses that would take longer than policy.timeout_ms",
    source: "greedy batch server (tuning/src/model/pool.rs)",
    error: Error::Relative(0.5),
    domain: "load up to 0.8 of the capacity",
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

/// The parts of all answers.
struct Mixture {
    hit: HitTime,
    /// From the shared cache: that much later than a hit.
    copy_s: f64,
    copy_share: f64,
    hit_share: f64,
    miss: Times,
    /// What a miss takes besides.
    besides_s: f64,
    timeout_s: f64,
}

impl Mixture {
    fn hit_exceeds(&self, time_s: f64) -> f64 {
        (1.0 - self.copy_share) * self.hit.exceeds(time_s)
            + self.copy_share * self.hit.exceeds(time_s - self.copy_s)
    }

    /// Nobody waits longer than the deadline.
    fn miss_exceeds(&self, time_s: f64) -> f64 {
        if time_s >= self.timeout_s {
            return 0.0;
        }
        self.miss.exceeds(time_s - self.besides_s)
    }

    fn all_exceeds(&self, time_s: f64) -> f64 {
        self.hit_share * self.hit_exceeds(time_s)
            + (1.0 - self.hit_share) * self.miss_exceeds(time_s)
    }
}

/// Puts the parts together, once for each uncertain input.
fn mixture(
    frame: &Frame,
    [hit_ratio, copies, jobs, at_work, cpu_load]: [&Quantity; 5],
) -> Solved<Mixture> {
    let site = &frame.site;
    let [base, sigma, over, hit_us] = [
        &field::HIT_BASE_US,
        &field::HIT_SIGMA,
        &field::MISS_OVERHEAD_US,
        &field::HIT_US,
    ]
    .map(|field| site.get(field));
    let [batch_max, item, copy] = [
        &field::HSM_BATCH_MAX,
        &field::ITEM_MS,
        &field::SHARED_FETCH_MS,
    ]
    .map(|field| site.get(field));
    let [median, spread, share, min, alpha, timeout] = &frame.message();
    Solved::by(
        [
            hit_ratio, copies, cpu_load, &base, &sigma, &over, &hit_us, &copy, jobs, at_work,
            &batch_max, &item, median, spread, share, min, alpha, timeout,
        ],
        |[
            hit_share,
            copy_share,
            load,
            base,
            sigma,
            over,
            hit_us,
            copy,
            pool @ ..,
        ]| {
            let [rate, connections, batch_max, item_ms, message @ ..] = pool;
            let pool = Pool {
                rate,
                connections,
                batch_max,
                message: message_of(message),
                item_s: item_ms / 1000.0,
            };
            Mixture {
                hit: HitTime {
                    base_s: base / 1e6,
                    sigma,
                    served_s: hit_us / 1e6,
                    load,
                },
                copy_s: copy / 1000.0,
                copy_share,
                hit_share: hit_share.clamp(0.0, 1.0),
                miss: pool.solve().times(),
                besides_s: (base + over) / 1e6,
                timeout_s: pool.message.longest_s,
            }
        },
    )
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
        all: of("all", [&ALL_TIME; 3], Mixture::all_exceeds),
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
            |mixture| mixture.miss.exceeds(mixture.timeout_s - mixture.besides_s),
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
