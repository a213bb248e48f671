//! What several processes saw in the same second of wall clock.

use std::collections::BTreeMap;

use super::MergeError;
use crate::results::{Latency, RunResult, Second, add_counts, sum};

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
    let all = |figure: fn(&Second) -> u64| sum(parts.iter().map(|(_, part)| figure(part)));
    let client_cpu: Option<Vec<u64>> = parts.iter().map(|(_, part)| part.client_cpu_us).collect();
    let mut whole = Second {
        unix_s: parts.first().map_or(0, |(_, part)| part.unix_s),
        planned: all(|part| part.planned),
        sent: all(|part| part.sent),
        right: all(|part| part.right),
        lag_max_ns: parts
            .iter()
            .map(|(_, part)| part.lag_max_ns)
            .max()
            .unwrap_or(0),
        handshakes: all(|part| part.handshakes),
        connections: all(|part| part.connections),
        hits: of_servers(parts, |second| second.hits),
        joined: of_servers(parts, |second| second.joined),
        shared: of_servers(parts, |second| second.shared),
        misses: of_servers(parts, |second| second.misses),
        hsm_operations: of_servers(parts, |second| second.hsm_operations),
        client_cpu_us: client_cpu.map(sum),
        server_cpu_us: of_servers(parts, |second| second.server_cpu_us),
        ..Second::default()
    };
    let mut latency = Latency::new();
    let mut is_known = true;
    for (_, part) in parts {
        add_counts(&mut whole.errors, &part.errors);
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
        whole.set_latency(&latency);
    }
    Ok(whole)
}

/// The sum over the servers of what the first watcher of each saw.
fn of_servers(parts: &[(&str, &Second)], figure: impl Fn(&Second) -> Option<u64>) -> Option<u64> {
    let mut seen = BTreeMap::new();
    for (target, second) in parts {
        if let Some(value) = figure(second) {
            seen.entry(*target).or_insert(value);
        }
    }
    (!seen.is_empty()).then(|| sum(seen.into_values()))
}
