//! Several runs in one plot.

use super::percentiles::{CYCLE, Curve, frame};
use super::{Chart, Key, both_sizes};
use crate::report::buckets::{Bucket, Columns};
use crate::report::markup::Element;
use crate::report::plot::{Plot, Size, Stroke};
use crate::report::scale::Scale;
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

/// One figure of each run over time.
pub(in crate::report) fn overlaid_series(
    runs: &[(String, &RunResult)],
    columns: &[Columns],
    is_rate: bool,
) -> Option<Chart> {
    let figure = |bucket: &Bucket| {
        if is_rate {
            bucket.per_s(bucket.right)
        } else {
            bucket.latency.map(|latency| latency.p99_ns as f64)
        }
    };
    let known = || {
        columns
            .iter()
            .flat_map(|columns| &columns.buckets)
            .filter_map(figure)
    };
    known().next()?;
    let high = known().fold(0.0, f64::max);
    let low = known().fold(f64::MAX, f64::min);
    let end_s = columns.iter().map(Columns::end_s).fold(1.0, f64::max);
    let draw = |size: Size| -> Element {
        let y = if is_rate {
            Scale::from_zero(high, 4, units::tick_number)
        } else {
            Scale::logarithmic(low.max(1_000.0), high, units::tick_time)
        };
        let mut plot = Plot::new(size, Scale::elapsed(end_s, size.ticks_across()), y);
        for (at, columns) in columns.iter().enumerate() {
            let (class, stroke) = look(at);
            let points: Vec<_> = columns
                .buckets
                .iter()
                .map(|bucket| (columns.middle_s(bucket), figure(bucket)))
                .collect();
            plot.line(class, stroke, &points);
        }
        let name = if is_rate {
            "right answers a second"
        } else {
            "p99"
        };
        plot.finish(
            "time since the start of each run",
            name,
            "Each run over time",
        )
    };
    let key = |(at, (label, run)): (usize, &(String, &RunResult))| {
        let (class, stroke) = look(at);
        let value = if is_rate {
            units::rate(run.rate_per_s())
        } else {
            units::latency_or_none(run.headline().at_ns(0.99))
        };
        Key::line(class, stroke, label, value)
    };
    let (id, title) = if is_rate {
        ("rate", "Rate over time")
    } else {
        ("latency", "p99 over time")
    };
    Some(Chart {
        id,
        title: title.to_owned(),
        about: "The runs are laid over each other at their starts.".to_owned(),
        legend: runs.iter().enumerate().map(key).collect(),
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}

/// Changes beyond these are drawn at the edge.
const REACH: f64 = 1.0;

/// Each figure's change with its interval, around "no change".
pub(in crate::report) fn changes(comparison: &Comparison) -> Option<Chart> {
    let lines: Vec<&Line> = comparison
        .lines
        .iter()
        .filter(|line| {
            !matches!(line.kind, Kind::Ratio | Kind::Count)
                && line.change.is_some()
                && line.interval.is_some()
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let extent = |line: &&Line| {
        let (low, high) = line.interval.unwrap_or_default();
        [low, high, line.change.unwrap_or(0.0)]
            .into_iter()
            .map(f64::abs)
            .fold(0.0, f64::max)
    };
    let reach = lines
        .iter()
        .map(extent)
        .fold(comparison.tolerance * 2.0, f64::max)
        .min(REACH);
    let draw = |size: Size| -> Element {
        let x = Scale::linear(-reach, reach, size.ticks_across() - 1, |change| {
            units::change(change).replace(".0", "")
        });
        let ticks = lines
            .iter()
            .zip(0_u32..)
            .map(|(line, at)| crate::report::scale::Tick {
                value: -f64::from(at) - 0.5,
                label: line.name.clone(),
            });
        let y = Scale::named_down(lines.len() as f64, ticks.collect());
        let mut plot = Plot::new(size, x, y).with_names();
        let (bottom, top) = (plot.y_scale().low(), plot.y_scale().high());
        let tolerance = comparison.tolerance.min(reach);
        plot.band(
            "c-grey",
            &[(-tolerance, bottom, top), (tolerance, bottom, top)],
        );
        plot.line(
            "c-text",
            Stroke::Solid,
            &[(0.0, Some(bottom)), (0.0, Some(top))],
        );
        for (line, at) in lines.iter().zip(0_u32..) {
            let y = -f64::from(at) - 0.5;
            let class = match line.outcome {
                Change::Worse => "c-vermillion",
                Change::Better => "c-green",
                Change::Unsure => "c-amber",
                Change::Same | Change::Untold => "c-blue",
            };
            let (low, high) = line.interval.unwrap_or_default();
            plot.line(class, Stroke::Solid, &[(low, Some(y)), (high, Some(y))]);
            plot.mark(
                class,
                crate::report::plot::Mark::Circle,
                line.change.unwrap_or(0.0),
                y,
            );
        }
        plot.finish(
            "change from A to B",
            "",
            "Change of each figure with its confidence interval",
        )
    };
    Some(Chart {
        id: "changes",
        title: "What changed".to_owned(),
        about: format!(
            "Change from A to B with its 95 % interval; the grey stripe is the tolerance of {}. An interval that reaches \
             over zero may be chance; what lies beyond the edge is drawn there.",
            units::plain_percent(comparison.tolerance)
        ),
        legend: vec![
            Key::line("c-vermillion", Stroke::Solid, "worse", String::new()),
            Key::line("c-green", Stroke::Solid, "better", String::new()),
            Key::line("c-amber", Stroke::Solid, "unsure", String::new()),
            Key::line("c-blue", Stroke::Solid, "same", String::new()),
        ],
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}
