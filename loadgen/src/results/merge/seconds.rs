//! What several processes saw in the same second of wall clock.

use std::collections::BTreeMap;

use super::{MergeError, both};
use crate::results::{Latency, RunResult, Second};

pub(super) fn series(runs: &[RunResult]) -> Result<Vec<Second>, MergeError> {
    let mut seconds: BTreeMap<u64, Vec<(&str, &Second)>> = BTreeMap::new();
    for run in runs {
        for second in &run.series {
            seconds
                .entry(second.unix_s)
                .or_default()
                .push((&run.server.target, second));
        }
    }
    seconds.values().map(|parts| add_seconds(parts)).collect()
}

/// What several processes saw in the same second.
fn add_seconds(parts: &[(&str, &Second)]) -> Result<Second, MergeError> {
    let mut sum = Second::default();
    let mut latency = Latency::new();
    let mut is_known = true;
    for (_, part) in parts {
        sum.unix_s = part.unix_s;
        sum.planned += part.planned;
        sum.sent += part.sent;
        sum.right += part.right;
        for (kind, count) in &part.errors {
            *sum.errors.entry(*kind).or_default() += count;
        }
        sum.lag_max_ns = sum.lag_max_ns.max(part.lag_max_ns);
        sum.handshakes += part.handshakes;
        sum.connections += part.connections;
        sum.client_cpu_us = both(
            sum.client_cpu_us.or(Some(0)),
            part.client_cpu_us,
            |one, two| one + two,
        );
        match (&part.interval, &part.latency) {
            (Some(interval), _) => {
                latency.add(&interval.unpack().ok_or(MergeError::Damaged(part.unix_s))?);
            }
            (None, None) => {}
            // Percentiles without their histogram cannot be added.
            (None, Some(_)) => is_known = false,
        }
    }
    if is_known {
        sum.set_latency(&latency);
    }
    sum.hits = of_servers(parts, |second| second.hits);
    sum.joined = of_servers(parts, |second| second.joined);
    sum.misses = of_servers(parts, |second| second.misses);
    sum.hsm_operations = of_servers(parts, |second| second.hsm_operations);
    sum.server_cpu_us = of_servers(parts, |second| second.server_cpu_us);
    Ok(sum)
}

/// The sum over the servers of what the first watcher of each saw.
fn of_servers(parts: &[(&str, &Second)], figure: impl Fn(&Second) -> Option<u64>) -> Option<u64> {
    let mut seen = BTreeMap::new();
    for (target, second) in parts {
        if let Some(value) = figure(second) {
            seen.entry(*target).or_insert(value);
        }
    }
    (!seen.is_empty()).then(|| seen.values().sum())
}
