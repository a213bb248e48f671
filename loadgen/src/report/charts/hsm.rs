//! Where unwraps came from, and how the HSM was asked.

use super::{Chart, Key, both_sizes, hover, mark_events, stacked};
use crate::report::buckets::{Bucket, Columns};
use crate::report::markup::Element;
use crate::report::plot::{Bar, Plot, Size};
use crate::report::scale::{Scale, Tick};
use crate::report::units;
use crate::results::{BatchBucket, RunResult, Split, sum};

/// Classes of a column's parts, the lowest first.
const PARTS: [&str; 4] = ["c-amber", "c-purple", "c-sky", "c-green"];

/// Misses, those from the shared cache, joined and hits of a column.
fn parts(bucket: &Bucket) -> Option<[u64; 4]> {
    let shared = bucket.shared.unwrap_or(0);
    Some([bucket.misses?, shared, bucket.joined?, bucket.hits?])
}

/// Hits, joined and misses over time.
pub(in crate::report) fn sources(run: &RunResult, columns: &Columns) -> Option<Chart> {
    columns.buckets.iter().find_map(parts)?;
    let add = |all: Split, [misses, shared, joined, hits]: [u64; 4]| {
        all.plus(&Split {
            hits,
            joined,
            shared,
            misses,
        })
    };
    let all = columns
        .buckets
        .iter()
        .filter_map(parts)
        .fold(Split::default(), add);
    // The server's own counts are of the whole run, those of the columns are as often as it was asked.
    let split = run.server.unwraps().unwrap_or(all);
    let share = |part: u64| units::percent(part as f64 / split.total().max(1) as f64);
    Some(Chart {
        id: "sources",
        title: "Where unwraps came from".to_owned(),
        about: "As the server counts: from its cache, from a fetch that another request had begun, or from a fetch of \
                its own."
            .to_owned(),
        legend: [
            Some(Key::area("c-amber", "asked the HSM", share(split.misses))),
            // Only where nodes share one.
            (split.shared > 0).then(|| Key::area("c-purple", "shared cache", share(split.shared))),
            Some(Key::area(
                "c-sky",
                "joined another's fetch",
                share(split.joined),
            )),
            Some(Key::area("c-green", "cache hit", share(split.hits))),
        ]
        .into_iter()
        .flatten()
        .collect(),
        drawings: both_sizes(|size| draw_sources(size, run, columns)),
        is_wide: true,
        is_lone: false,
    })
}

fn draw_sources(size: Size, run: &RunResult, columns: &Columns) -> Element {
    let total = |bucket: &Bucket| bucket.per_s(sum(parts(bucket)?));
    let high = columns.buckets.iter().filter_map(total).fold(0.0, f64::max);
    let x = Scale::elapsed(columns.end_s(), size.ticks_across());
    let mut plot = Plot::new(size, x, Scale::from_zero(high, 4, units::tick_number));
    stacked(&mut plot, columns, |bucket| {
        PARTS
            .into_iter()
            .zip(parts(bucket).unwrap_or_default())
            .collect()
    });
    mark_events(&mut plot, run, columns);
    hover(&mut plot, columns, |bucket| {
        let Some(parts) = parts(bucket) else {
            return "not known".to_owned();
        };
        let [misses, shared, joined, hits] =
            parts.map(|count| units::rate(bucket.per_s(count).unwrap_or(0.0)));
        if bucket.shared.unwrap_or(0) == 0 {
            format!("cache {hits}, joined {joined}, HSM {misses}")
        } else {
            format!("cache {hits}, joined {joined}, shared cache {shared}, HSM {misses}")
        }
    });
    plot.finish(
        "time since the start",
        "unwraps a second",
        "Unwraps by source over time",
    )
}

/// Messages to the HSM by their number of items.
pub(in crate::report) fn batches(run: &RunResult) -> Option<Chart> {
    let batches = run.server.batches();
    let messages = sum(batches.iter().map(|bucket| bucket.messages));
    if messages == 0 {
        return None;
    }
    let high = batches
        .iter()
        .map(|bucket| bucket.messages)
        .max()
        .unwrap_or(0) as f64
        / messages as f64;
    let ticks = batches.iter().zip(0_u32..).map(|(bucket, at)| Tick {
        value: f64::from(at) + 0.5,
        label: range(bucket),
    });
    let x = Scale::named(batches.len() as f64, ticks.collect());
    let mut plot = Plot::new(
        Size::Narrow,
        x,
        Scale::from_zero(high, 4, units::plain_percent),
    );
    for (bucket, at) in batches.iter().zip(0_u32..) {
        let (left, share) = (f64::from(at), bucket.messages as f64 / messages as f64);
        let bar = Bar {
            left: left + 0.12,
            right: left + 0.88,
            low: 0.0,
            high: share,
        };
        plot.bars("c-purple", &[bar]);
        plot.note(
            "",
            (left + 0.5, share),
            (0.0, -6.0),
            "middle",
            units::short_percent(share),
        );
    }
    let operations = run.server.hsm_operations();
    let each = operations.map(|operations| units::number(operations as f64 / messages as f64));
    let value = each.map_or_else(String::new, |each| format!("{each} items each on average"));
    Some(Chart {
        id: "batches",
        title: "HSM batch sizes".to_owned(),
        about: "Requests that wait while the last message flies go together in the next."
            .to_owned(),
        legend: vec![Key::area(
            "c-purple",
            &format!("{} messages", units::count(messages)),
            value,
        )],
        drawings: vec![plot.finish(
            "items in a message",
            "share of the messages",
            "HSM batch sizes",
        )],
        is_wide: false,
        is_lone: false,
    })
}

fn range(bucket: &BatchBucket) -> String {
    match bucket.items_max {
        Some(max) if max == bucket.items_min => max.to_string(),
        Some(max) => format!("{}–{max}", bucket.items_min),
        None => format!("{}+", bucket.items_min),
    }
}
