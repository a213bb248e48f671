//! Several runs in one plot.

use super::percentiles::{CYCLE, Curve, frame};
use super::{Chart, Key, both_sizes};
use crate::report::buckets::{Bucket, Columns};
use crate::report::markup::Element;
use crate::report::plot::{Mark, Plot, Size, Stroke};
use crate::report::scale::{Scale, Tick};
use crate::report::units;
use crate::results::compare::{Change, Comparison, Kind, Line};
use crate::results::{Latency, RunResult};

/// Solid lines first; those that come round to the same colour again are dashed.
fn look(at: usize) -> (&'static str, Stroke) {
    let class = CYCLE.iter().cycle().nth(at).copied().unwrap_or("c-grey");
    let strokes = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];
    (
        class,
        strokes
            .get(at / CYCLE.len())
            .copied()
            .unwrap_or(Stroke::Dotted),
    )
}

/// Latency by percentile of each run.
pub(in crate::report) fn overlaid_percentiles(runs: &[(String, &RunResult)]) -> Option<Chart> {
    let latencies: Vec<Latency> = runs.iter().map(|(_, run)| run.headline()).collect();
    let mut curves = Vec::new();
    for (at, ((label, _), latency)) in runs.iter().zip(&latencies).enumerate() {
        let (class, stroke) = look(at);
        if !latency.is_empty() {
            curves.push(Curve {
                class: class.to_owned(),
                stroke,
                label: label.clone(),
                latency,
            });
        }
    }
    if curves.is_empty() {
        return None;
    }
    let draw = |size: Size| -> Element {
        let mut plot = frame(size, &curves, &[]);
        for curve in &curves {
            let points = curve.points(plot.x_scale());
            plot.line(&curve.class, curve.stroke, &points);
        }
        plot.finish("percentile", "latency", "Latency by percentile of each run")
    };
    Some(Chart {
        id: "percentiles",
        title: "Latency by percentile".to_owned(),
        about: "Right answers of each run; lower is better. A curve ends where its samples do."
            .to_owned(),
        legend: curves.iter().map(Curve::key).collect(),
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}

/// A figure that is shown over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum OverTime {
    P99,
    Rate,
}

impl OverTime {
    fn of(self, bucket: &Bucket) -> Option<f64> {
        match self {
            Self::P99 => bucket.latency.map(|latency| latency.p99_ns as f64),
            Self::Rate => bucket.per_s(bucket.right),
        }
    }

    fn whole(self, run: &RunResult) -> String {
        match self {
            Self::P99 => units::latency_or_none(run.headline().at_ns(0.99)),
            Self::Rate => units::rate(run.rate_per_s()),
        }
    }
}

/// One figure of each run over time.
pub(in crate::report) fn overlaid_series(
    runs: &[(String, &RunResult)],
    columns: &[Columns],
    figure: OverTime,
) -> Option<Chart> {
    columns
        .iter()
        .flat_map(|columns| &columns.buckets)
        .find_map(|bucket| figure.of(bucket))?;
    let key = |(at, (label, run)): (usize, &(String, &RunResult))| {
        let (class, stroke) = look(at);
        Key::line(class, stroke, label, figure.whole(run))
    };
    let (id, title) = match figure {
        OverTime::P99 => ("latency", "p99 over time"),
        OverTime::Rate => ("rate", "Rate over time"),
    };
    Some(Chart {
        id,
        title: title.to_owned(),
        about: "The runs are laid over each other at their starts.".to_owned(),
        legend: runs.iter().enumerate().map(key).collect(),
        drawings: both_sizes(|size| draw_series(size, columns, figure)),
        is_wide: true,
        is_lone: false,
    })
}

fn draw_series(size: Size, columns: &[Columns], figure: OverTime) -> Element {
    let buckets = || columns.iter().flat_map(|columns| &columns.buckets);
    let known = || buckets().filter_map(|bucket| figure.of(bucket));
    let high = known().fold(0.0, f64::max);
    let low = known().fold(f64::MAX, f64::min);
    let end_s = columns.iter().map(Columns::end_s).fold(1.0, f64::max);
    let (y, name) = match figure {
        OverTime::P99 => (
            Scale::logarithmic(low.max(1_000.0), high, units::tick_time),
            "p99",
        ),
        OverTime::Rate => (
            Scale::from_zero(high, 4, units::tick_number),
            "right answers a second",
        ),
    };
    let mut plot = Plot::new(size, Scale::elapsed(end_s, size.ticks_across()), y);
    for (at, columns) in columns.iter().enumerate() {
        let (class, stroke) = look(at);
        plot.line(class, stroke, &columns.points(|bucket| figure.of(bucket)));
    }
    plot.finish(
        "time since the start of each run",
        name,
        "Each run over time",
    )
}

/// Changes beyond these are drawn at the edge.
const REACH: f64 = 1.0;

/// Each figure's change with its interval, around "no change".
pub(in crate::report) fn changes(comparison: &Comparison) -> Option<Chart> {
    let is_shown = |line: &&Line| !matches!(line.kind, Kind::Ratio | Kind::Count);
    let spread = |line: &Line| {
        let ((low, high), change) = (line.interval?, line.change?);
        Some(Spread {
            name: line.name.clone(),
            class: class_of(line.outcome),
            low,
            change,
            high,
        })
    };
    let spreads: Vec<Spread> = comparison
        .lines
        .iter()
        .filter(is_shown)
        .filter_map(spread)
        .collect();
    if spreads.is_empty() {
        return None;
    }
    let key = |(class, label)| Key::line(class, Stroke::Solid, label, String::new());
    let legend = [
        ("c-vermillion", "worse"),
        ("c-green", "better"),
        ("c-amber", "unsure"),
        ("c-blue", "same"),
    ];
    Some(Chart {
        id: "changes",
        title: "What changed".to_owned(),
        about: format!(
            "Change from A to B with its 95\u{202f}% interval; the grey stripe is the tolerance of {}. An interval that \
             reaches over zero may be chance; what lies beyond the edge is drawn there.",
            units::plain_percent(comparison.tolerance)
        ),
        legend: legend.into_iter().map(key).collect(),
        drawings: both_sizes(|size| draw_changes(size, &spreads, comparison.tolerance)),
        is_wide: true,
        is_lone: false,
    })
}

/// One figure's change.
struct Spread {
    name: String,
    class: &'static str,
    low: f64,
    change: f64,
    high: f64,
}

fn class_of(outcome: Change) -> &'static str {
    match outcome {
        Change::Worse => "c-vermillion",
        Change::Better => "c-green",
        Change::Unsure => "c-amber",
        Change::Same | Change::Untold => "c-blue",
    }
}

fn draw_changes(size: Size, spreads: &[Spread], tolerance: f64) -> Element {
    let extent = |spread: &Spread| {
        spread
            .low
            .abs()
            .max(spread.high.abs())
            .max(spread.change.abs())
    };
    let reach = spreads
        .iter()
        .map(extent)
        .fold(tolerance * 2.0, f64::max)
        .min(REACH);
    let label = |change: f64| units::change(change).replace(".0", "");
    let x = Scale::linear(-reach, reach, size.ticks_across() - 1, label);
    let place = |at: u32| -f64::from(at) - 0.5;
    let ticks = spreads.iter().zip(0..).map(|(spread, at)| Tick {
        value: place(at),
        label: spread.name.clone(),
    });
    let y = Scale::named_down(spreads.len() as f64, ticks.collect());
    let mut plot = Plot::new(size, x, y).with_names();
    let (bottom, top) = (plot.y_scale().low(), plot.y_scale().high());
    let tolerance = tolerance.min(reach);
    plot.band(
        "c-grey",
        &[(-tolerance, bottom, top), (tolerance, bottom, top)],
    );
    plot.line(
        "c-text",
        Stroke::Solid,
        &[(0.0, Some(bottom)), (0.0, Some(top))],
    );
    for (spread, at) in spreads.iter().zip(0..) {
        let y = place(at);
        plot.line(
            spread.class,
            Stroke::Solid,
            &[(spread.low, Some(y)), (spread.high, Some(y))],
        );
        plot.mark(spread.class, Mark::Circle, spread.change, y);
    }
    plot.finish(
        "change from A to B",
        "",
        "Change of each figure with its confidence interval",
    )
}
