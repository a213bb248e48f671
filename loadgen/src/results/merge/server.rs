//! One server that several generators watched, or several servers.

use std::collections::BTreeMap;

use super::{both, end_unix_us};
use crate::results::{BatchBucket, Cpu, RunResult, ServerFigures, ServerView, sum};

/// The runs by whom they loaded: what a server says of itself is counted once.
fn by_target(runs: &[RunResult]) -> BTreeMap<&str, Vec<&RunResult>> {
    let mut all: BTreeMap<&str, Vec<&RunResult>> = BTreeMap::new();
    for run in runs {
        all.entry(&run.server.target).or_default().push(run);
    }
    all
}

pub(super) fn server(runs: &[RunResult]) -> ServerView {
    let targets = by_target(runs);
    let mut view = runs
        .first()
        .map(|run| run.server.clone())
        .unwrap_or_default();
    view.target = targets.keys().copied().collect::<Vec<_>>().join(", ");
    let added = |pick: &dyn Fn(&[&RunResult]) -> Option<ServerFigures>| {
        let mut each = targets.values().map(|watchers| pick(watchers));
        let first = each.next()??;
        each.try_fold(first, |sum, one| Some(add_figures(sum, &one?)))
    };
    // Of one server's watchers, the first to look before and the last to look after saw all of the load.
    view.before = added(&|watchers| {
        let with = watchers.iter().filter(|run| run.server.before.is_some());
        with.min_by_key(|run| run.about.start_unix_us)?
            .server
            .before
            .clone()
    });
    view.after = added(&|watchers| {
        let with = watchers.iter().filter(|run| run.server.after.is_some());
        with.max_by_key(|run| end_unix_us(&run.about))?
            .server
            .after
            .clone()
    });
    view
}

fn add_figures(mut sum: ServerFigures, other: &ServerFigures) -> ServerFigures {
    sum.unwraps = both(sum.unwraps, other.unwraps, |one, two| one.plus(&two));
    sum.hsm_operations = both(sum.hsm_operations, other.hsm_operations, |one, two| {
        one + two
    });
    for bucket in &other.batches {
        let is_same = |ours: &&mut BatchBucket| {
            (ours.items_min, ours.items_max) == (bucket.items_min, bucket.items_max)
        };
        match sum.batches.iter_mut().find(is_same) {
            Some(ours) => ours.messages = ours.messages.saturating_add(bucket.messages),
            None => sum.batches.push(*bucket),
        }
    }
    sum.batches.sort_by_key(|bucket| bucket.items_min);
    // Gauges and counters alike, so a sum would be nonsense for some of them.
    sum.samples.clear();
    sum
}

pub(super) fn cpu(runs: &[RunResult]) -> Cpu {
    let most =
        |watchers: &Vec<&RunResult>| watchers.iter().filter_map(|run| run.cpu.server_us).max();
    let servers: Option<Vec<u64>> = by_target(runs).values().map(most).collect();
    Cpu {
        client_us: sum(runs.iter().map(|run| run.cpu.client_us)),
        server_us: servers.map(sum),
    }
}
