//! How unevenly a hash spreads requests, against nodes drawn for each key, within the error that the formula states.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::path::Path;

use kms_tune::input::Source;
use kms_tune::plan::Plan;
use kms_tune::trace::find;

/// Mean share of the busiest node, over so many ways to hash.
fn busiest(keys: usize, zipf_s: f64, nodes: usize) -> f64 {
    const WAYS: u64 = 200;
    let weights: Vec<f64> = (1..=keys).map(|rank| (rank as f64).powf(-zipf_s)).collect();
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    for way in 0..WAYS {
        let mut random = kms_tune::model::stream::Random(way);
        let mut loads = vec![0.0; nodes];
        for weight in &weights {
            let node = usize::try_from(random.bits() % nodes as u64).unwrap();
            loads[node] += weight / total;
        }
        sum += loads.iter().copied().fold(0.0, f64::max);
    }
    sum / WAYS as f64
}

/// The plan's `BUSIEST`.
#[test]
fn a_hash_spreads_keys_but_not_the_most_popular() {
    for (keys, zipf_s, nodes) in [
        (20_000, 0.6, 2),
        (20_000, 0.9, 3),
        (100_000, 0.9, 8),
        (20_000, 0.0, 4),
        (50_000, 1.0, 4),
    ] {
        let text = format!(
            "[workload]\npeak_rps = 1000\nkeys_total = {keys}\nzipf_s = {zipf_s}\n[hsm]\npreset = \"lan-hsm\"\n\
             [policy]\nnodes = {nodes}\nlb = \"hash\"\n"
        );
        let source = Source::parse(Path::new("site.toml"), &text).unwrap();
        let plan = Plan::alone(&source).unwrap();
        let predicted = find(&plan.quantities(), "peak.busiest_share").unwrap();
        let simulated = busiest(keys, zipf_s, nodes);
        let off = (predicted.value() - simulated).abs();
        assert!(
            off <= predicted.error(),
            "{keys} keys, s {zipf_s}, {nodes} nodes: {} for {simulated}, allowed {}",
            predicted.value(),
            predicted.error()
        );
    }
}
