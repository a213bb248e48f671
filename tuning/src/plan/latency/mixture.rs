//! Hits and misses as one distribution of answer times.
//!
//! Must never be true: a share of answers that is in no part. Called by [`super`].

use crate::input::field;
use crate::model::cpu::HitTime;
use crate::model::distribution::lognormal_parts;
use crate::model::pool::{Pool, Times};
use crate::plan::frame::{Frame, message_of};
use crate::trace::{Quantity, Solved};

/// The parts of all answers.
pub(super) struct Mixture {
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
    /// Of the values of what [`mixture`] names, in its order.
    #[rustfmt::skip]
    fn of(
        [
            hit_share, copy_share, load, base_us, sigma, hit_us, copy_ms, over_us, over_sigma, pause_s, per_day,
            pool @ ..
        ]: [f64; 21],
    ) -> Self {
        let [rate, connections, batch_max, item_ms, message @ ..] = pool;
        let pool = Pool {
            rate,
            connections,
            batch_max,
            message: message_of(message),
            item_s: item_ms / 1000.0,
        };
        let served = pool.solve();
        Self {
            hit: HitTime {
                base_s: base_us / 1e6,
                sigma,
                served_s: hit_us / 1e6,
                load,
            },
            copy_s: copy_ms / 1000.0,
            copy_share,
            hit_share: hit_share.clamp(0.0, 1.0),
            paused: paused(pause_s, per_day, rate, served.capacity),
            miss: served.times(),
            besides: lognormal_parts((base_us + over_us) / 1e6, over_sigma),
            timeout_s: pool.message.longest_s,
        }
    }

    pub(super) fn hit_exceeds(&self, time_s: f64) -> f64 {
        (1.0 - self.copy_share) * self.hit.exceeds(time_s)
            + self.copy_share * self.hit.exceeds(time_s - self.copy_s)
    }

    /// Nobody waits longer than the deadline.
    pub(super) fn miss_exceeds(&self, time_s: f64) -> f64 {
        if time_s >= self.timeout_s {
            return 0.0;
        }
        let parts = self.besides.iter();
        parts
            .map(|(share, besides_s)| share * self.waits_exceed(time_s - besides_s))
            .sum()
    }

    /// Of misses, pauses not counted.
    pub(super) fn late(&self) -> f64 {
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

    pub(super) fn all_exceeds(&self, time_s: f64) -> f64 {
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
pub(super) fn mixture(
    frame: &Frame,
    [hit_ratio, copies, jobs, at_work, cpu_load]: [&Quantity; 5],
) -> Solved<Mixture> {
    let of = [
        &field::HIT_BASE_US,
        &field::HIT_SIGMA,
        &field::MISS_OVERHEAD_US,
        &field::MISS_OVERHEAD_SIGMA,
        &field::SHARED_FETCH_MS,
        &field::STALL_S,
        &field::STALLS_PER_DAY,
        &field::HSM_BATCH_MAX,
        &field::ITEM_MS,
    ]
    .map(|field| frame.site.get(field));
    let [
        base,
        sigma,
        over,
        over_sigma,
        copy,
        pause,
        per_day,
        batch_max,
        item,
    ] = &of;
    let [median, spread, share, min, alpha, timeout] = &frame.message();
    #[rustfmt::skip]
    let inputs = [
        hit_ratio, copies, cpu_load, base, sigma, &frame.hit_us, copy, over, over_sigma, pause, per_day,
        jobs, at_work, batch_max, item, median, spread, share, min, alpha, timeout,
    ];
    Solved::by(inputs, Mixture::of)
}
