//! From what generators and servers counted in a stage to its figures.
//!
//! Must never be true: a figure that was not measured and is a number. Called by [`super::stages`].

use kms_loadgen::results::RunResult;

use super::expected::Seen;
use super::machine::latency;

/// Hits, and all unwraps.
pub(super) fn split(results: &[RunResult]) -> Option<(f64, f64)> {
    let mut sums = (0.0, 0.0);
    for result in results {
        let split = result.server.unwraps()?;
        sums.0 += split.hits as f64;
        sums.1 += split.total() as f64;
    }
    Some(sums)
}

/// The figures of so many seconds; the share that waits is told by who knows for what.
pub(super) fn seen(results: &[RunResult], seconds: f64) -> Seen {
    let all = latency(results);
    let ms = |share| all.at_ns(share).map_or(f64::NAN, |ns| ns as f64 / 1e6);
    let operations: Option<u64> = results
        .iter()
        .map(|result| result.server.hsm_operations())
        .sum();
    let (failed, ended): (u64, u64) = results.iter().fold((0, 0), |sums, result| {
        (
            sums.0 + result.totals.failed(),
            sums.1 + result.totals.ended(),
        )
    });
    Seen {
        hit_ratio: split(results).map_or(f64::NAN, |(hits, all)| hits / all),
        hsm_ops_s: operations.map_or(f64::NAN, |count| count as f64 / seconds),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        failed: failed as f64 / ended as f64,
        longest_s: all.max_ns().map_or(f64::NAN, |ns| ns as f64 / 1e9),
        waiting: f64::NAN,
    }
}
