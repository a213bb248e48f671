//! Latency and rate over time, with what happened.

use super::{Chart, Key, both_sizes, column_words, hover, mark_events, stacked};
use crate::report::buckets::{Bucket, Columns};
use crate::report::markup::Element;
use crate::report::plot::{Plot, Size, Stroke};
use crate::report::scale::Scale;
use crate::report::units;
use crate::results::{Latency, Loop, Quantiles, RunResult, Stage};

/// A line of a plot over time.
type Figure = (&'static str, &'static str, Stroke, fn(&Quantiles) -> u64);

const PERCENTILES: [Figure; 4] = [
    ("max", "c-grey", Stroke::Dotted, |latency| latency.max_ns),
    ("p99.9", "c-vermillion", Stroke::Solid, |latency| {
        latency.p999_ns
    }),
    ("p99", "c-blue", Stroke::Solid, |latency| latency.p99_ns),
    ("p50", "c-green", Stroke::Solid, |latency| latency.p50_ns),
];

/// Percentiles of each second.
pub(in crate::report) fn latency_over_time(
    run: &RunResult,
    columns: &Columns,
    all: &Latency,
) -> Option<Chart> {
    let whole = Quantiles::of(all)?;
    let known = || columns.buckets.iter().filter_map(|bucket| bucket.latency);
    known().next()?;
    let low = known().map(|latency| latency.p50_ns).min().unwrap_or(0);
    let high = known().map(|latency| latency.max_ns).max().unwrap_or(0);
    let mut legend: Vec<Key> = Vec::new();
    for (name, class, stroke, figure) in PERCENTILES.iter().rev() {
        legend.push(Key::line(
            class,
            *stroke,
            name,
            units::latency(figure(&whole) as f64),
        ));
    }
    let draw = |size: Size| -> Element {
        let x = Scale::elapsed(columns.end_s(), size.ticks_across());
        let y = Scale::logarithmic((low as f64).max(1_000.0), high as f64, units::tick_time);
        let mut plot = Plot::new(size, x, y);
        mark_events(&mut plot, run, columns);
        for (_, class, stroke, figure) in PERCENTILES {
            let value = |bucket: &Bucket| {
                bucket
                    .latency
                    .as_ref()
                    .map(|latency| figure(latency) as f64)
            };
            let points: Vec<_> = columns
                .buckets
                .iter()
                .map(|bucket| (columns.middle_s(bucket), value(bucket)))
                .collect();
            plot.line(class, stroke, &points);
        }
        hover(&mut plot, columns, |bucket| match bucket.latency {
            Some(latency) => format!(
                "p50 {}, p99 {}, p99.9 {}, max {}",
                units::latency(latency.p50_ns as f64),
                units::latency(latency.p99_ns as f64),
                units::latency(latency.p999_ns as f64),
                units::latency(latency.max_ns as f64)
            ),
            None => "no right answer".to_owned(),
        });
        plot.finish("time since the start", "latency", "Latency over time")
    };
    let from = match run.plan.mode {
        Loop::Open => "from when each request was due",
        Loop::Closed => "from when each request was sent",
    };
    Some(Chart {
        id: "latency",
        title: "Latency over time".to_owned(),
        about: format!(
            "Right answers, {from}. {} The legend has the whole run.",
            column_words(columns)
        ),
        legend,
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}

/// Planned, answered and failed a second.
pub(in crate::report) fn rate_over_time(run: &RunResult, columns: &Columns) -> Option<Chart> {
    if columns.buckets.is_empty() {
        return None;
    }
    let is_open = run.plan.mode == Loop::Open;
    let rate = |bucket: &Bucket, count: u64| bucket.per_s(count).unwrap_or(0.0);
    let planned = |bucket: &Bucket| if is_open { bucket.planned } else { 0 };
    let highest = |bucket: &Bucket| {
        rate(
            bucket,
            planned(bucket).max(bucket.right).max(bucket.failed()),
        )
    };
    let high = columns.buckets.iter().map(highest).fold(0.0, f64::max);
    let mut legend = vec![
        Key::area("c-blue", "right answers", units::rate(run.rate_per_s())),
        Key::area("c-vermillion", "failed", units::count(run.totals.failed())),
    ];
    if is_open {
        legend.insert(
            0,
            Key::line(
                "c-text",
                Stroke::Dashed,
                "planned",
                units::rate(run.planned_per_s()),
            ),
        );
    }
    let draw = |size: Size| -> Element {
        let x = Scale::elapsed(columns.end_s(), size.ticks_across());
        let mut plot = Plot::new(size, x, Scale::from_zero(high, 4, units::tick_number));
        let line = |count: &dyn Fn(&Bucket) -> u64| -> Vec<(f64, Option<f64>)> {
            let point = |bucket: &Bucket| (columns.middle_s(bucket), bucket.per_s(count(bucket)));
            columns.buckets.iter().map(point).collect()
        };
        let right = line(&|bucket| bucket.right);
        for part in right.split(|(_, value)| value.is_none()) {
            let area: Vec<_> = part
                .iter()
                .map(|(x, y)| (*x, 0.0, y.unwrap_or(0.0)))
                .collect();
            plot.band("c-blue", &area);
        }
        mark_events(&mut plot, run, columns);
        stacked(&mut plot, columns, |bucket| {
            vec![("c-vermillion", bucket.failed())]
        });
        plot.line("c-blue", Stroke::Solid, &right);
        if is_open {
            plot.line("c-text", Stroke::Dashed, &line(&|bucket| bucket.planned));
        }
        hover(&mut plot, columns, |bucket| {
            let rate = |count| units::rate(rate(bucket, count));
            let (planned, right, failed) = (
                rate(bucket.planned),
                rate(bucket.right),
                rate(bucket.failed()),
            );
            format!("planned {planned}, right {right}, failed {failed}")
        });
        plot.finish(
            "time since the start",
            "requests a second",
            "Rate over time",
        )
    };
    Some(Chart {
        id: "rate",
        title: "Rate over time".to_owned(),
        about: about_rate(run),
        legend,
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}

fn about_rate(run: &RunResult) -> String {
    let stages = |stage: &Stage| {
        let to = stage
            .ramps_to_per_s
            .map(|rate| format!(" to {}", units::rate(rate)))
            .unwrap_or_default();
        format!(
            "{} {}{to}",
            units::clock(stage.at_us as f64 / 1e6),
            units::rate(stage.rate_per_s)
        )
    };
    match (run.plan.mode, run.plan.stages.as_slice()) {
        (Loop::Closed, _) => "Closed loop: each connection sends when its answer is there, so this is what the server took."
            .to_owned(),
        (Loop::Open, all @ [_, _, ..]) => {
            let all: Vec<_> = all.iter().take(12).map(stages).collect();
            format!("Open loop: requests are sent when they are due, answered or not. Stages: {}.", all.join(", "))
        }
        (Loop::Open, _) => "Open loop: requests are sent when they are due, whether earlier ones are answered or not."
            .to_owned(),
    }
}
