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

use des::workers::hits;
use des::{allowed, hold};
use kms_tune::model::cpu::{self, HitTime};
use kms_tune::model::distribution::quantile;

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
        let took = hits(&time, 400_000, 5);
        for share in [0.5, 0.99, 0.999] {
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
