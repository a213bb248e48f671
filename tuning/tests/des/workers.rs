//! A worker thread and its requests, one after the other.
#![allow(dead_code)] // not by every test

use kms_tune::model::cpu::HitTime;
use kms_tune::model::stream::Random;

/// Standard normal, by Box and Muller: its tail is right.
pub fn normal(random: &mut Random) -> f64 {
    let radius = (2.0 * random.exponential()).sqrt();
    radius * (2.0 * std::f64::consts::PI * random.unit()).cos()
}

/// Answer times at one worker whose service times are exponential, sorted; what else an answer takes does not keep it
/// busy.
pub fn hits(time: &HitTime, requests: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let (mut free_s, mut now_s, mut took) = (0.0_f64, 0.0, Vec::new());
    for _ in 0..requests {
        now_s += random.exponential() * time.served_s / time.load.max(1e-9);
        let wait_s = (free_s - now_s).max(0.0);
        free_s = free_s.max(now_s) + random.exponential() * time.served_s;
        took.push(wait_s + time.base_s * (time.sigma * normal(&mut random)).exp());
    }
    took.sort_by(f64::total_cmp);
    took
}

/// Waits, each later by a lognormal time of its own, sorted.
pub fn later(waited_s: &[f64], median_s: f64, sigma: f64, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let mut took: Vec<f64> = waited_s
        .iter()
        .map(|waited_s| waited_s + median_s * (sigma * normal(&mut random)).exp())
        .collect();
    took.sort_by(f64::total_cmp);
    took
}
