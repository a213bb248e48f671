//! Answer times of hits against workers in discrete events, within the error that the formula states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    dead_code,
    missing_docs
)]

mod des;

use des::{allowed, hold};
use kms_tune::model::cpu::{self, HitTime};
use kms_tune::model::distribution::quantile;
use kms_tune::model::stream::Random;

/// Standard normal, of twelve uniform numbers.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

/// One worker whose service times are exponential; what else an answer takes does not keep it busy.
fn simulate(time: &HitTime, requests: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let (mut free_s, mut now_s, mut took) = (0.0_f64, 0.0, Vec::new());
    for _ in 0..requests {
        now_s += random.exponential() * time.served_s / time.load;
        let wait_s = (free_s - now_s).max(0.0);
        free_s = free_s.max(now_s) + random.exponential() * time.served_s;
        took.push(wait_s + time.base_s * (time.sigma * normal(&mut random)).exp());
    }
    took.sort_by(f64::total_cmp);
    took
}

#[test]
fn hits_wait_for_their_worker() {
    let mut rows = Vec::new();
    for (base_us, sigma, served_us, load) in [
        (70.0, 0.3, 6.2, 0.1),
        (70.0, 0.3, 6.2, 0.6),
        (20.0, 0.2, 10.0, 0.8),
        (70.0, 0.3, 100.0, 0.5),
    ] {
        let time = HitTime {
            base_s: base_us / 1e6,
            sigma,
            served_s: served_us / 1e6,
            load,
        };
        let took = simulate(&time, 150_000, 5);
        for share in [0.5, 0.99] {
            let simulated = took[(share * took.len() as f64) as usize] * 1e6;
            let predicted = quantile(share, |time_s| time.exceeds(time_s)) * 1e6;
            let name = format!("{base_us} us alone, {served_us} us served, load {load}: {share}");
            rows.push((
                name,
                predicted,
                simulated,
                allowed(&cpu::HIT_TIME, simulated),
            ));
        }
    }
    hold(&rows);
}
