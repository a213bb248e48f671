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
    columns.buckets.iter().find_map(|bucket| bucket.latency)?;
    let key = |(name, class, stroke, figure): &Figure| {
        Key::line(class, *stroke, name, units::latency(figure(&whole) as f64))
    };
    let from = match run.plan.mode {
        Loop::Open => "from when each request was due",
        Loop::Closed => "from when each request was sent",
    };
    let words = column_words(columns);
    Some(Chart {
        id: "latency",
        title: "Latency over time".to_owned(),
        about: format!("Right answers, {from}. {words} The legend has the whole run."),
        legend: PERCENTILES.iter().rev().map(key).collect(),
        drawings: both_sizes(|size| draw_latency(size, run, columns)),
        is_wide: true,
        is_lone: false,
    })
}

fn draw_latency(size: Size, run: &RunResult, columns: &Columns) -> Element {
    let known = || columns.buckets.iter().filter_map(|bucket| bucket.latency);
    let low = known().map(|latency| latency.p50_ns).min().unwrap_or(0);
    let high = known().map(|latency| latency.max_ns).max().unwrap_or(0);
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
        plot.line(class, stroke, &columns.points(value));
    }
    hover(&mut plot, columns, |bucket| {
        let Some(latency) = bucket.latency else {
            return "no right answer".to_owned();
        };
        let word = |(name, _, _, figure): &Figure| {
            format!("{name} {}", units::latency(figure(&latency) as f64))
        };
        PERCENTILES
            .iter()
            .rev()
            .map(word)
            .collect::<Vec<_>>()
            .join(", ")
    });
    plot.finish("time since the start", "latency", "Latency over time")
}

/// Planned, answered and failed a second.
pub(in crate::report) fn rate_over_time(run: &RunResult, columns: &Columns) -> Option<Chart> {
    if columns.buckets.is_empty() {
        return None;
    }
    let mut legend = vec![
        Key::area("c-blue", "right answers", units::rate(run.rate_per_s())),
        Key::area("c-vermillion", "failed", units::count(run.totals.failed())),
    ];
    if run.plan.mode == Loop::Open {
        let planned = units::rate(run.planned_per_s());
        legend.insert(0, Key::line("c-text", Stroke::Dashed, "planned", planned));
    }
    Some(Chart {
        id: "rate",
        title: "Rate over time".to_owned(),
        about: about_rate(run),
        legend,
        drawings: both_sizes(|size| draw_rate(size, run, columns)),
        is_wide: true,
        is_lone: false,
    })
}

fn draw_rate(size: Size, run: &RunResult, columns: &Columns) -> Element {
    let is_open = run.plan.mode == Loop::Open;
    let planned = |bucket: &Bucket| if is_open { bucket.planned } else { 0 };
    let most =
        |bucket: &Bucket| bucket.per_s(planned(bucket).max(bucket.right).max(bucket.failed()));
    let high = columns.buckets.iter().filter_map(most).fold(0.0, f64::max);
    let x = Scale::elapsed(columns.end_s(), size.ticks_across());
    let mut plot = Plot::new(size, x, Scale::from_zero(high, 4, units::tick_number));
    let right = columns.points(|bucket| bucket.per_s(bucket.right));
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
        let planned = columns.points(|bucket| bucket.per_s(bucket.planned));
        plot.line("c-text", Stroke::Dashed, &planned);
    }
    hover(&mut plot, columns, |bucket| {
        let rate = |count| units::rate(bucket.per_s(count).unwrap_or(0.0));
        let (right, failed) = (rate(bucket.right), rate(bucket.failed()));
        format!(
            "planned {}, right {right}, failed {failed}",
            rate(bucket.planned)
        )
    });
    plot.finish(
        "time since the start",
        "requests a second",
        "Rate over time",
    )
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
        (Loop::Closed, _) => {
            "Closed loop: each connection sends when its answer is there, so this is what the server took.".to_owned()
        }
        (Loop::Open, all @ [_, _, ..]) => {
            let all: Vec<_> = all.iter().take(12).map(stages).collect();
            format!("Open loop: requests are sent when they are due, answered or not. Stages: {}.", all.join(", "))
        }
        (Loop::Open, _) => {
            "Open loop: requests are sent when they are due, whether earlier ones are answered or not.".to_owned()
        }
    }
}
