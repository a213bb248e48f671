//! Latency by percentile, with equal room for each nine.

use super::{Chart, Key, both_sizes};
use crate::report::markup::{Element, el};
use crate::report::plot::{Plot, Size, Stroke};
use crate::report::scale::Scale;
use crate::report::units;
use crate::results::slo::{Metric, Point, Scope, Slo};
use crate::results::stats::{Interval, quantile_interval};
use crate::results::{Latency, Loop, RunResult};

/// Points of a curve; the eye sees no more.
const STEPS: u32 = 160;

/// A line of such a plot.
pub(super) struct Curve<'a> {
    pub(super) class: String,
    pub(super) stroke: Stroke,
    pub(super) label: String,
    pub(super) latency: &'a Latency,
}

impl Curve<'_> {
    /// The quantile of its longest: half of a sample lies above.
    fn end(&self) -> f64 {
        1.0 - 0.5 / self.latency.count().max(1) as f64
    }

    /// The curve up to the last quantile that its samples tell of.
    pub(super) fn points(&self, x: &Scale) -> Vec<(f64, Option<f64>)> {
        let end = x.place(self.end());
        let place = |step: u32| end * f64::from(step) / f64::from(STEPS);
        let quantile = |step: u32| x.quantile_at(place(step));
        let at = |quantile: f64| self.latency.at_ns(quantile).map(|ns| ns as f64);
        let mut points: Vec<_> = (0..=STEPS)
            .map(|step| (quantile(step), at(quantile(step))))
            .collect();
        if let (Some(last), Some(max)) = (points.last_mut(), self.latency.max_ns()) {
            last.1 = Some(max as f64);
        }
        points
    }

    pub(super) fn key(&self) -> Key {
        let p99 = units::latency_or_none(self.latency.at_ns(0.99));
        Key::line(&self.class, self.stroke, &self.label, format!("p99 {p99}"))
    }
}

/// The axes that hold all curves and the limits of an SLO.
pub(super) fn frame(size: Size, curves: &[Curve<'_>], limits_ns: &[f64]) -> Plot {
    let count = curves
        .iter()
        .map(|curve| curve.latency.count())
        .max()
        .unwrap_or(0);
    let longest = curves
        .iter()
        .filter_map(|curve| curve.latency.max_ns())
        .max()
        .unwrap_or(1_000_000);
    let shortest = curves
        .iter()
        .filter_map(|curve| curve.latency.at_ns(0.0))
        .min()
        .unwrap_or(100_000);
    // Room for a label above the longest.
    let high = limits_ns.iter().copied().fold(longest as f64, f64::max) * 1.4;
    let low = (shortest as f64).max(1_000.0);
    Plot::new(
        size,
        Scale::nines(count.saturating_mul(2)),
        Scale::logarithmic(low, high, units::tick_time),
    )
}

fn draw(
    size: Size,
    curves: &[Curve<'_>],
    limits: &[(f64, f64)],
    label: &str,
    has_marks: bool,
) -> Element {
    let limits_ns: Vec<f64> = limits.iter().map(|(_, ns)| *ns).collect();
    let mut plot = frame(size, curves, &limits_ns);
    if let (true, Some(first)) = (has_marks, curves.first()) {
        band(&mut plot, first);
    }
    steps(&mut plot, limits);
    for curve in curves {
        let points = curve.points(plot.x_scale());
        plot.line(&curve.class, curve.stroke, &points);
    }
    if let (true, Some(first)) = (has_marks, curves.first()) {
        marks(&mut plot, first);
    }
    plot.finish("percentile", "latency", label)
}

/// What chance leaves open.
fn band(plot: &mut Plot, curve: &Curve<'_>) {
    let every_second = curve.points(plot.x_scale()).into_iter().step_by(2);
    let mut edges = Vec::new();
    for (quantile, value) in every_second {
        let interval = quantile_interval(curve.latency.histogram(), quantile.max(1e-9));
        if let (Some(_), Some(Interval { low, high })) = (value, interval) {
            // What the samples do not bound reaches to the top.
            let high = high.unwrap_or_else(|| plot.y_scale().high());
            edges.push((quantile, low.max(1.0), high.max(1.0)));
        }
    }
    plot.band(&curve.class, &edges);
}

/// Values at the percentiles that everybody asks for, where there is room to say them.
fn marks(plot: &mut Plot, curve: &Curve<'_>) {
    const ROOM: f64 = 62.0;
    let mut last_x = f64::MIN;
    for quantile in [0.5, 0.9, 0.99, 0.999, 0.9999, 0.999_99] {
        let (Some(ns), true) = (
            curve.latency.at_ns(quantile),
            quantile <= plot.x_scale().high(),
        ) else {
            continue;
        };
        let place = (quantile, ns as f64);
        let (x, y) = (plot.x(place.0), plot.y(place.1));
        let dot = el("circle").class(format_args!("dot {}", curve.class));
        plot.layer(dot.num("cx", x).num("cy", y).num("r", 3.5));
        if x - last_x >= ROOM {
            plot.note("", place, (-6.0, -9.0), "end", units::latency(ns as f64));
            last_x = x;
        }
    }
}

/// Limits as stairs: up to each percentile the latency may be so long.
fn steps(plot: &mut Plot, limits: &[(f64, f64)]) {
    let mut from = plot.x_scale().low();
    for (quantile, ns) in limits {
        let to = quantile.min(plot.x_scale().high());
        plot.line("slo", Stroke::Dashed, &[(from, Some(*ns)), (to, Some(*ns))]);
        from = to;
    }
}

/// Percentile and limit of each term on all operations, in ascending order.
pub(super) fn limits(run: &RunResult) -> Vec<(f64, f64)> {
    let slo: Option<Slo> = run
        .slo
        .as_ref()
        .and_then(|verdict| verdict.expression.parse().ok());
    let mut limits = Vec::new();
    for term in slo.iter().flat_map(Slo::terms) {
        match term.metric {
            Metric::Latency(Scope::All, Point::Quantile(quantile)) => {
                limits.push((quantile, term.limit));
            }
            Metric::Latency(Scope::All, Point::Max) => limits.push((1.0, term.limit)),
            _ => {}
        }
    }
    limits.sort_by(|one, two| one.0.total_cmp(&two.0));
    limits
}

/// Response and service time of all operations.
pub(in crate::report) fn response(run: &RunResult) -> Option<Chart> {
    let response = run.latencies.all(|operation| &operation.response);
    let service = run.latencies.all(|operation| &operation.service);
    let curve = |class: &str, stroke, label: &str, latency| Curve {
        class: class.to_owned(),
        stroke,
        label: label.to_owned(),
        latency,
    };
    let mut curves = vec![
        curve("c-blue", Stroke::Solid, "response", &response),
        curve("c-amber", Stroke::Dashed, "service", &service),
    ];
    curves.retain(|curve| !curve.latency.is_empty());
    if curves.is_empty() {
        return None;
    }
    let limits = limits(run);
    let mut legend: Vec<Key> = curves.iter().map(Curve::key).collect();
    if !limits.is_empty() {
        legend.push(Key::line(
            "slo",
            Stroke::Dashed,
            "limit of the SLO",
            String::new(),
        ));
    }
    let about = match run.plan.mode {
        Loop::Open => {
            "Right answers. Response counts from when a request was due, as a client that keeps coming sees it; service \
             counts from when it was sent. Far apart, they show queueing. The shade is the 95\u{202f}% confidence interval."
        }
        Loop::Closed => {
            "Right answers, from the sending of each request (closed loop: no request was due before the last was \
             answered, so stalls count once and are understated). The shade is the 95\u{202f}% confidence interval."
        }
    };
    Some(Chart {
        id: "percentiles",
        title: "Latency by percentile".to_owned(),
        about: about.to_owned(),
        legend,
        drawings: both_sizes(|size| draw(size, &curves, &limits, "Latency by percentile", true)),
        is_wide: true,
        is_lone: false,
    })
}

/// A colour for each of several things of one kind.
pub(super) const CYCLE: [&str; 6] = [
    "c-blue",
    "c-vermillion",
    "c-green",
    "c-purple",
    "c-amber",
    "c-sky",
];

/// A line for each operation, where there are several.
pub(in crate::report) fn by_operation(run: &RunResult) -> Option<Chart> {
    let operations = run.latencies.operations.iter();
    let with_answers =
        operations.filter(|(_, latency)| !latency.headline(run.plan.mode).is_empty());
    let curves: Vec<Curve<'_>> = with_answers
        .zip(CYCLE)
        .map(|((operation, latency), class)| Curve {
            class: class.to_owned(),
            stroke: Stroke::Solid,
            label: operation.to_string(),
            latency: latency.headline(run.plan.mode),
        })
        .collect();
    (curves.len() > 1).then(|| Chart {
        id: "operations",
        title: "By operation".to_owned(),
        about: "Right answers of each operation.".to_owned(),
        legend: curves.iter().map(Curve::key).collect(),
        drawings: vec![draw(
            Size::Narrow,
            &curves,
            &[],
            "Latency of each operation",
            false,
        )],
        is_wide: false,
        is_lone: false,
    })
}

/// Full and resumed handshakes.
pub(in crate::report) fn handshakes(run: &RunResult) -> Option<Chart> {
    let mut curves = vec![
        Curve {
            class: "c-purple".to_owned(),
            stroke: Stroke::Solid,
            label: "full".to_owned(),
            latency: &run.latencies.handshake_full,
        },
        Curve {
            class: "c-green".to_owned(),
            stroke: Stroke::Dashed,
            label: "resumed".to_owned(),
            latency: &run.latencies.handshake_resumed,
        },
    ];
    curves.retain(|curve| !curve.latency.is_empty());
    let (full, resumed) = (run.totals.handshakes_full, run.totals.handshakes_resumed);
    (!curves.is_empty()).then(|| Chart {
        id: "handshakes",
        title: "TLS handshakes".to_owned(),
        about: format!(
            "From connecting to the end of the handshake: {} full, {} resumed.",
            units::count(full),
            units::count(resumed)
        ),
        legend: curves.iter().map(Curve::key).collect(),
        drawings: vec![draw(
            Size::Narrow,
            &curves,
            &[],
            "Handshake times by percentile",
            false,
        )],
        is_wide: false,
        is_lone: false,
    })
}

/// How late the generator was.
pub(in crate::report) fn lag(run: &RunResult) -> Option<Chart> {
    if run.latencies.lag.is_empty() {
        return None;
    }
    let curves = [Curve {
        class: "c-grey".to_owned(),
        stroke: Stroke::Solid,
        label: "send lag".to_owned(),
        latency: &run.latencies.lag,
    }];
    Some(Chart {
        id: "lag",
        title: "Send lag of the generator".to_owned(),
        about: "How late requests were sent. It is part of the response time; much of it makes a run INVALID."
            .to_owned(),
        legend: curves.iter().map(Curve::key).collect(),
        drawings: vec![draw(Size::Narrow, &curves, &[], "Send lag by percentile", false)],
        is_wide: false,
        is_lone: false,
    })
}
