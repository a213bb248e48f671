//! Answer times in a scenario: of hits, of misses, of all.

use super::frame::{Frame, message_of};
use super::scenario::{Cache, Detail, Load};
use crate::input::field;
use crate::model::cpu::{HIT_TIME, HitTime};
use crate::model::distribution::{lognormal_parts, quantile};
use crate::model::pool::{self, Pool, Times};
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

/// The parts of all answers.
struct Mixture {
    hit: HitTime,
    /// From the shared cache: that much later than a hit.
    copy_s: f64,
    copy_share: f64,
    hit_share: f64,
    miss: Times,
    /// What a miss takes besides: shares, and how long.
    besides: Vec<(f64, f64)>,
    timeout_s: f64,
    /// Shares of misses that come while the HSM pauses, or to the queue behind, and how much longer they wait.
    paused: Vec<(f64, f64)>,
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
        let parts = self.besides.iter();
        parts
            .map(|(share, besides_s)| share * self.waits_exceed(time_s - besides_s))
            .sum()
    }

    /// Of misses, pauses not counted.
    fn late(&self) -> f64 {
        let parts = self.besides.iter();
        parts
            .map(|(share, besides_s)| share * self.miss.exceeds(self.timeout_s - besides_s))
            .sum()
    }

    /// What is waited for: the HSM, and its pauses.
    fn waits_exceed(&self, time_s: f64) -> f64 {
        let (mut share, mut paused) = (1.0, 0.0);
        for (part, wait_s) in &self.paused {
            share -= part;
            paused += part * self.miss.exceeds(time_s - wait_s);
        }
        share * self.miss.exceeds(time_s) + paused
    }

    fn all_exceeds(&self, time_s: f64) -> f64 {
        self.hit_share * self.hit_exceeds(time_s)
            + (1.0 - self.hit_share) * self.miss_exceeds(time_s)
    }
}

/// Pauses of `pause_s`, so many a day, as waits of those who come then: each as long as what is left of the pause and of
/// the queue before it. Fluid limit, as in [`crate::model::transient`].
fn paused(pause_s: f64, per_day: f64, rate: f64, capacity: f64) -> Vec<(f64, f64)> {
    const POINTS: u32 = 16;
    if pause_s <= 0.0 || per_day <= 0.0 || rate >= capacity {
        return Vec::new();
    }
    let behind_s = pause_s * rate / capacity;
    let drained_s = pause_s * rate / (capacity - rate);
    let stretches = [(pause_s, pause_s, behind_s), (drained_s, behind_s, 0.0)];
    let share_of = |lasts_s: f64| (per_day * lasts_s / 86_400.0).min(0.5);
    let points = |(lasts_s, first_s, last_s): (f64, f64, f64)| {
        (0..POINTS).map(move |at| {
            let along = (f64::from(at) + 0.5) / f64::from(POINTS);
            let wait_s = first_s + along * (last_s - first_s);
            (share_of(lasts_s) / f64::from(POINTS), wait_s)
        })
    };
    stretches.into_iter().flat_map(points).collect()
}

/// Puts the parts together, once for each uncertain input.
fn mixture(
    frame: &Frame,
    [hit_ratio, copies, jobs, at_work, cpu_load]: [&Quantity; 5],
) -> Solved<Mixture> {
    let site = &frame.site;
    let hit_us = &frame.hit_us;
    let [
        base,
        sigma,
        over,
        over_sigma,
        batch_max,
        item,
        copy,
        pause,
        per_day,
    ] = [
        &field::HIT_BASE_US,
        &field::HIT_SIGMA,
        &field::MISS_OVERHEAD_US,
        &field::MISS_OVERHEAD_SIGMA,
        &field::HSM_BATCH_MAX,
        &field::ITEM_MS,
        &field::SHARED_FETCH_MS,
        &field::STALL_S,
        &field::STALLS_PER_DAY,
    ]
    .map(|field| site.get(field));
    let [median, spread, share, min, alpha, timeout] = &frame.message();
    Solved::by(
        [
            hit_ratio,
            copies,
            cpu_load,
            &base,
            &sigma,
            &over,
            &over_sigma,
            hit_us,
            &copy,
            &pause,
            &per_day,
            jobs,
            at_work,
            &batch_max,
            &item,
            median,
            spread,
            share,
            min,
            alpha,
            timeout,
        ],
        |[
            hit_share,
            copy_share,
            load,
            base,
            sigma,
            over,
            over_sigma,
            hit_us,
            copy,
            pause_s,
            per_day,
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
            let served = pool.solve();
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
                paused: paused(pause_s, per_day, rate, served.capacity),
                miss: served.times(),
                besides: lognormal_parts((base + over) / 1e6, over_sigma),
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
