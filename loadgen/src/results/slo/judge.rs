//! Figures against an [`Slo`], with what chance allows.

use super::{Metric, Outcome, Point, Scope, Slo, Term, TermVerdict, Unit, Verdict};
use crate::results::stats::{Interval, quantile_interval, ratio_interval};
use crate::results::{Latencies, Latency, Loop, RunResult, Split, Totals};

/// What an SLO is held against: a run, or one probe of a search.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// Decides which latency counts: from the intended send time, or from the actual one.
    pub mode: Loop,
    /// All histograms.
    pub latencies: &'a Latencies,
    /// Counts.
    pub totals: &'a Totals,
    /// Over which the counts were made.
    pub duration_us: u64,
    /// What the server says of its cache.
    pub unwraps: Option<Split>,
}

impl<'a> From<&'a RunResult> for Measured<'a> {
    fn from(run: &'a RunResult) -> Self {
        Self {
            mode: run.plan.mode,
            latencies: &run.latencies,
            totals: &run.totals,
            duration_us: run.about.duration_us,
            unwraps: run.server.unwraps(),
        }
    }
}

impl Slo {
    /// Holds the figures against each term.
    pub fn judge<'a>(&self, measured: impl Into<Measured<'a>>) -> Verdict {
        let measured = measured.into();
        Verdict {
            expression: self.text.clone(),
            terms: self
                .terms
                .iter()
                .map(|term| judge_term(term, &measured))
                .collect(),
            wrong_answers: measured.totals.wrong(),
        }
    }
}

fn judge_term(term: &Term, measured: &Measured<'_>) -> TermVerdict {
    let (unit, value) = match &term.metric {
        Metric::Latency(scope, point) => (
            Unit::Nanoseconds,
            latency_value(&latency(scope, measured), *point),
        ),
        Metric::ErrorRatio => (
            Unit::Ratio,
            share(measured.totals.failed(), measured.totals.ended()),
        ),
        Metric::HitRatio => {
            let share = measured
                .unwraps
                .and_then(|split| share(split.hits, split.total()));
            (Unit::Ratio, share)
        }
        Metric::Rate => (Unit::PerSecond, rate(measured)),
    };
    let holds = |value: f64| term.comparison.holds(value, term.limit);
    let is_met = value.is_some_and(|(point, _)| holds(point));
    let outcome = match value {
        None => Outcome::Missed,
        Some((point, interval)) => {
            let exact = Interval {
                low: point,
                high: Some(point),
            };
            let Interval { low, high } = interval.unwrap_or(exact);
            match (holds(low), high.is_some_and(holds)) {
                (true, true) => Outcome::Met,
                (false, false) => Outcome::Missed,
                _ => Outcome::Unsure,
            }
        }
    };
    TermVerdict {
        term: term.text.clone(),
        unit,
        limit: term.limit,
        measured: value.map(|(point, _)| point),
        interval: value.and_then(|(_, interval)| interval),
        is_met,
        outcome,
    }
}

type Value = Option<(f64, Option<Interval>)>;

fn latency(scope: &Scope, measured: &Measured<'_>) -> Latency {
    let latencies = measured.latencies;
    match scope {
        Scope::All => latencies.headline(measured.mode),
        Scope::Operation(name) => match latencies.operations.get(name) {
            Some(operation) => operation.headline(measured.mode).clone(),
            None => Latency::new(),
        },
        Scope::Handshake => {
            let mut both = latencies.handshake_full.clone();
            both.add(latencies.handshake_resumed.histogram());
            both
        }
    }
}

fn latency_value(latency: &Latency, point: Point) -> Value {
    match point {
        Point::Quantile(quantile) => {
            let value = latency.at_ns(quantile)? as f64;
            Some((value, quantile_interval(latency.histogram(), quantile)))
        }
        Point::Mean => Some((latency.mean_ns()?, None)),
        Point::Max => Some((latency.max_ns()? as f64, None)),
    }
}

fn share(part: u64, whole: u64) -> Value {
    if whole == 0 {
        return None;
    }
    let (low, high) = ratio_interval(part, whole);
    let interval = Interval {
        low,
        high: Some(high),
    };
    Some((part as f64 / whole as f64, Some(interval)))
}

fn rate(measured: &Measured<'_>) -> Value {
    if measured.duration_us == 0 {
        return None;
    }
    let seconds = measured.duration_us as f64 / 1e6;
    Some((measured.totals.right as f64 / seconds, None))
}
