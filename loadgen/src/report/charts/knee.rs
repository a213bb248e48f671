//! The search for the highest rate that meets an SLO.

use super::{Chart, Key, Shape, both_sizes};
use crate::report::markup::Element;
use crate::report::plot::{Mark, Plot, Size, Stroke};
use crate::report::scale::Scale;
use crate::report::units;
use crate::results::slo::{Metric, Outcome, Point, Slo};
use crate::results::{Knee, Probe};

/// The percentile that the SLO is about.
struct Subject {
    name: &'static str,
    figure: fn(&Probe) -> Option<u64>,
    limit_ns: Option<f64>,
}

fn subject(knee: &Knee) -> Subject {
    let slo: Option<Slo> = knee.slo.parse().ok();
    let limit = |wanted: f64| {
        slo.iter()
            .flat_map(Slo::terms)
            .find_map(|term| match term.metric {
                Metric::Latency(_, Point::Quantile(quantile))
                    if (quantile - wanted).abs() < 1e-9 =>
                {
                    Some(term.limit)
                }
                _ => None,
            })
    };
    let p99 = Subject {
        name: "p99",
        figure: |probe| probe.p99_ns,
        limit_ns: limit(0.99),
    };
    let p999 = Subject {
        name: "p99.9",
        figure: |probe| probe.p999_ns,
        limit_ns: limit(0.999),
    };
    let p50 = Subject {
        name: "p50",
        figure: |probe| probe.p50_ns,
        limit_ns: limit(0.5),
    };
    let is_limited = |subject: &Subject| subject.limit_ns.is_some();
    if is_limited(&p99) || !(is_limited(&p999) || is_limited(&p50)) {
        p99
    } else if is_limited(&p999) {
        p999
    } else {
        p50
    }
}

fn look(probe: &Probe) -> (&'static str, Mark) {
    match probe.outcome {
        _ if !probe.is_valid => ("c-grey", Mark::Square),
        Outcome::Met => ("c-green", Mark::Circle),
        Outcome::Missed => ("c-vermillion", Mark::Cross),
        Outcome::Unsure => ("c-amber", Mark::Square),
    }
}

/// Latency against rate, a mark for each probe.
pub(in crate::report) fn knee(knee: &Knee) -> Option<Chart> {
    let subject = subject(knee);
    knee.probes.iter().find_map(subject.figure)?;
    let key = |(class, shape, label): (&str, Shape, &str)| Key {
        class: class.to_owned(),
        shape,
        label: label.to_owned(),
        value: String::new(),
    };
    let line = Shape::Line(Stroke::Solid);
    let legend = [
        ("c-green", line, "met (circle)"),
        ("c-vermillion", line, "missed (cross)"),
        ("c-amber", line, "unsure (square)"),
        ("c-grey", line, "generator saturated (grey square)"),
        ("knee", Shape::Area, "the knee lies here"),
    ];
    Some(Chart {
        id: "knee",
        title: "Knee".to_owned(),
        about: format!("Each mark is a probe. {}", words(knee)),
        legend: legend.into_iter().map(key).collect(),
        drawings: both_sizes(|size| draw(size, knee, &subject)),
        is_wide: true,
        is_lone: false,
    })
}

fn draw(size: Size, knee: &Knee, subject: &Subject) -> Element {
    let Subject {
        name,
        figure,
        limit_ns,
    } = subject;
    let value = |probe: &Probe| Some((probe.rate_per_s, figure(probe)? as f64));
    let known = || knee.probes.iter().filter_map(value);
    let rates = known().map(|(rate, _)| rate).fold(0.0, f64::max);
    let low = known().map(|(_, ns)| ns).fold(f64::MAX, f64::min);
    let high = known()
        .map(|(_, ns)| ns)
        .fold(limit_ns.unwrap_or(0.0), f64::max);
    let x = Scale::from_zero(rates * 1.02, size.ticks_across(), units::tick_number);
    let mut plot = Plot::new(
        size,
        x,
        Scale::logarithmic(low.max(1_000.0), high, units::tick_time),
    );
    if let (Some(met), Some(missed)) = (knee.met_per_s, knee.missed_per_s) {
        let (bottom, top) = (plot.y_scale().low(), plot.y_scale().high());
        plot.band("knee", &[(met, bottom, top), (missed, bottom, top)]);
    }
    if let Some(limit) = *limit_ns {
        let end = plot.x_scale().high();
        plot.line(
            "slo",
            Stroke::Dashed,
            &[(0.0, Some(limit)), (end, Some(limit))],
        );
    }
    let mut sorted: Vec<_> = known().map(|(rate, ns)| (rate, Some(ns))).collect();
    sorted.sort_by(|one, two| one.0.total_cmp(&two.0));
    plot.line("c-grey", Stroke::Dotted, &sorted);
    for probe in &knee.probes {
        let (class, mark) = look(probe);
        if let Some((rate, ns)) = value(probe) {
            plot.mark(class, mark, rate, ns);
        }
    }
    plot.finish(
        "rate aimed at, requests a second",
        name,
        "Latency against rate",
    )
}

/// The answer in a sentence.
pub(in crate::report) fn words(knee: &Knee) -> String {
    let slo = &knee.slo;
    match (knee.met_per_s, knee.missed_per_s) {
        (Some(met), Some(missed)) => {
            format!(
                "The highest rate that meets {slo} lies between {} and {}.",
                units::rate(met),
                units::rate(missed)
            )
        }
        (Some(met), None) => format!(
            "{slo} was met up to {}, the highest rate tried.",
            units::rate(met)
        ),
        (None, Some(missed)) => format!(
            "{slo} was missed from {} on, the lowest rate tried.",
            units::rate(missed)
        ),
        (None, None) => format!("No probe says for sure whether {slo} was met."),
    }
}
