//! The figures that are compared, one by one.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::blocks::{Blocks, Draw, SECONDS_MIN};
use super::{Change, Kind, Line, costs};
use crate::results::stats::{quantile_interval, ratio_interval};
use crate::results::{Latency, RunResult};

/// Low and high end of a change.
pub(super) type Interval = (f64, f64);

/// Pairs of draws. More would change the intervals by less than a tenth of their width.
const DRAWS: usize = 1000;
/// The same draws each time: a verdict can be repeated.
const SEED: u64 = 20_261_128;
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Both runs, and the draws from them if they are long enough.
pub(super) struct Figures<'a> {
    pub(super) a: &'a RunResult,
    pub(super) b: &'a RunResult,
    latency: [Latency; 2],
    draws: Vec<[Draw; 2]>,
}

impl<'a> Figures<'a> {
    /// With words about the method.
    pub(super) fn of(a: &'a RunResult, b: &'a RunResult) -> (Self, String) {
        let (draws, method) = if let (Some(of_a), Some(of_b)) = (Blocks::of(a), Blocks::of(b)) {
            let method = format!(
                "block bootstrap: {} blocks of {} s and {} blocks of {} s, {DRAWS} draws",
                of_a.len(),
                of_a.seconds_each,
                of_b.len(),
                of_b.seconds_each
            );
            (draw(&of_a, &of_b), method)
        } else {
            let why = format!("less than {SECONDS_MIN} s, or seconds without their histograms");
            let method =
                format!("order statistics, which take each latency for an independent one ({why})");
            (Vec::new(), method)
        };
        let latency = [a.headline(), b.headline()];
        (
            Self {
                a,
                b,
                latency,
                draws,
            },
            method,
        )
    }

    /// The change's interval from the draws of one figure.
    pub(super) fn interval(
        &self,
        figure: impl Fn(&Draw) -> f64,
        change: impl Fn(f64, f64) -> Option<f64>,
    ) -> Option<Interval> {
        let mut changes: Vec<f64> = Vec::with_capacity(self.draws.len());
        changes.extend(
            self.draws
                .iter()
                .filter_map(|[a, b]| change(figure(a), figure(b))),
        );
        changes.sort_by(f64::total_cmp);
        let last = changes.len().checked_sub(1)?;
        let at = |per_mille: usize| changes.get(last * per_mille / 1000).copied();
        Some((at(25)?, at(975)?))
    }
}

fn draw(a: &Blocks, b: &Blocks) -> Vec<[Draw; 2]> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let quantiles = QUANTILES.map(|(_, quantile)| quantile);
    let mut pair = || {
        [
            a.draw(&mut random, &quantiles),
            b.draw(&mut random, &quantiles),
        ]
    };
    (0..DRAWS).map(|_| pair()).collect()
}

/// How much more `b` is than `a`; none when `a` is nothing.
pub(super) fn relative(a: f64, b: f64) -> Option<f64> {
    (a > 0.0).then(|| b / a - 1.0)
}

pub(super) fn all(figures: &Figures<'_>, tolerance: f64) -> Vec<Line> {
    let mut lines = vec![
        rate(figures, tolerance),
        errors(figures, tolerance),
        wrong(figures),
    ];
    for (at, (name, quantile)) in QUANTILES.into_iter().enumerate() {
        lines.push(percentile(figures, tolerance, at, name, quantile));
    }
    lines.push(mean(figures, tolerance));
    lines.push(longest(figures));
    lines.push(hits(figures));
    lines.extend(costs::all(figures, tolerance));
    lines
}

/// Judges a relative change of something that should be low.
pub(super) fn judged(
    change: Option<f64>,
    interval: Option<Interval>,
    tolerance: f64,
    is_low_good: bool,
) -> Change {
    let Some(change) = change else {
        return Change::Untold;
    };
    if change.abs() <= tolerance {
        return Change::Same;
    }
    let is_chance = interval.is_none_or(|(low, high)| low <= 0.0 && high >= 0.0);
    match (is_chance, (change > 0.0) == is_low_good) {
        (true, _) => Change::Unsure,
        (false, true) => Change::Worse,
        (false, false) => Change::Better,
    }
}

fn percentile(figures: &Figures<'_>, tolerance: f64, at: usize, name: &str, quantile: f64) -> Line {
    let [a, b] = [0, 1].map(|run: usize| {
        figures
            .latency
            .get(run)
            .and_then(|latency| latency.at_ns(quantile))
            .map(|ns| ns as f64)
    });
    let change = a.zip(b).and_then(|(a, b)| relative(a, b));
    let interval = if figures.draws.is_empty() {
        let [a, b] = &figures.latency;
        by_order(a, b, quantile)
    } else {
        figures.interval(
            |draw| draw.quantiles_ns.get(at).copied().unwrap_or(0.0),
            relative,
        )
    };
    let outcome = judged(change, interval, tolerance, true);
    Line {
        name: name.to_owned(),
        kind: Kind::LatencyNs,
        a,
        b,
        change,
        interval,
        outcome,
        counts: true,
    }
}

/// The interval of a ratio from those of its two sides: their distances, as logarithms, added in square. None
/// when one side has too few samples to bound it.
pub(super) fn by_order(a: &Latency, b: &Latency, quantile: f64) -> Option<Interval> {
    let ends = |latency: &Latency| {
        let interval = quantile_interval(latency.histogram(), quantile)?;
        Some((
            interval.low,
            latency.at_ns(quantile)? as f64,
            interval.high?,
        ))
    };
    let ((low_a, a, high_a), (low_b, b, high_b)) = (ends(a)?, ends(b)?);
    let distance = |from: f64, to: f64| (from.max(1.0) / to.max(1.0)).ln();
    let low = distance(b, low_b).hypot(distance(high_a, a));
    let high = distance(high_b, b).hypot(distance(a, low_a));
    let middle = distance(b, a);
    Some(((middle - low).exp_m1(), (middle + high).exp_m1()))
}

fn rate(figures: &Figures<'_>, tolerance: f64) -> Line {
    let (a, b) = (figures.a.rate_per_s(), figures.b.rate_per_s());
    let change = relative(a, b);
    let per_s = |draw: &Draw| draw.counts.right / draw.counts.seconds.max(1.0);
    let interval = figures.interval(per_s, relative).or_else(|| {
        // Without draws each answer counts alone: B's share of all answers has an interval.
        let (right_a, right_b) = (figures.a.totals.right, figures.b.totals.right);
        let (low, high) = ratio_interval(right_b, right_a.saturating_add(right_b));
        let durations =
            figures.a.about.duration_us as f64 / figures.b.about.duration_us.max(1) as f64;
        let change = |share: f64| share / (1.0 - share).max(f64::MIN_POSITIVE) * durations - 1.0;
        Some((change(low), change(high)))
    });
    let outcome = judged(change, interval, tolerance, false);
    Line {
        name: "rate".to_owned(),
        kind: Kind::RatePerS,
        a: Some(a),
        b: Some(b),
        change,
        interval,
        outcome,
        counts: true,
    }
}

/// Failures where there were none are worse as soon as the intervals of the two shares (by the counts) do not
/// touch. Where there were some already, they come in bursts, and the draws must agree.
fn errors(figures: &Figures<'_>, tolerance: f64) -> Line {
    let [a, b] = [figures.a, figures.b].map(|run| &run.totals);
    let (of_a, of_b) = (a.error_ratio(), b.error_ratio());
    let change = of_a.zip(of_b).map(|(a, b)| b - a);
    let (low_a, high_a) = ratio_interval(a.failed(), a.ended());
    let (low_b, high_b) = ratio_interval(b.failed(), b.ended());
    let share =
        |draw: &Draw| draw.counts.failed / (draw.counts.failed + draw.counts.right).max(1.0);
    let drawn = figures
        .interval(share, |a, b| Some(b - a))
        .filter(|_| a.failed() > 0 && b.failed() > 0);
    let interval = drawn.unwrap_or((low_b - high_a, high_b - low_a));
    let is_apart = low_b > high_a || high_b < low_a;
    let outcome = match change {
        None => Change::Untold,
        Some(change) if !is_apart || change.abs() <= of_a.unwrap_or(0.0) * tolerance => {
            Change::Same
        }
        Some(_) if interval.0 <= 0.0 && interval.1 >= 0.0 => Change::Unsure,
        Some(change) if change > 0.0 => Change::Worse,
        Some(_) => Change::Better,
    };
    let interval = change.map(|_| interval);
    Line {
        name: "failed".to_owned(),
        kind: Kind::Ratio,
        a: of_a,
        b: of_b,
        change,
        interval,
        outcome,
        counts: true,
    }
}

fn wrong(figures: &Figures<'_>) -> Line {
    let (a, b) = (figures.a.totals.wrong(), figures.b.totals.wrong());
    let outcome = match (a, b) {
        (_, 0) if a > 0 => Change::Better,
        (_, 0) => Change::Same,
        _ => Change::Worse,
    };
    let (a, b) = (a as f64, b as f64);
    Line {
        name: "wrong answers".to_owned(),
        kind: Kind::Count,
        a: Some(a),
        b: Some(b),
        change: relative(a, b),
        interval: None,
        outcome,
        counts: true,
    }
}

fn mean(figures: &Figures<'_>, tolerance: f64) -> Line {
    let [a, b] = &figures.latency;
    let (a, b) = (a.mean_ns(), b.mean_ns());
    let change = a.zip(b).and_then(|(a, b)| relative(a, b));
    let interval = figures.interval(|draw| draw.mean_ns, relative);
    let outcome = judged(change, interval, tolerance, true);
    Line {
        name: "mean".to_owned(),
        kind: Kind::LatencyNs,
        a,
        b,
        change,
        interval,
        outcome,
        counts: false,
    }
}

/// One latency of each run: told, never judged.
fn longest(figures: &Figures<'_>) -> Line {
    let [a, b] = &figures.latency;
    let (a, b) = (
        a.max_ns().map(|ns| ns as f64),
        b.max_ns().map(|ns| ns as f64),
    );
    told(
        "max",
        Kind::LatencyNs,
        a,
        b,
        a.zip(b).and_then(|(a, b)| relative(a, b)),
    )
}

fn told(name: &str, kind: Kind, a: Option<f64>, b: Option<f64>, change: Option<f64>) -> Line {
    Line {
        name: name.to_owned(),
        kind,
        a,
        b,
        change,
        interval: None,
        outcome: Change::Untold,
        counts: false,
    }
}

/// More hits may be a better cache or a kinder stream of keys.
fn hits(figures: &Figures<'_>) -> Line {
    let ratio = |run: &RunResult| {
        let split = run.server.unwraps().filter(|split| split.total() > 0)?;
        Some(split.hits as f64 / split.total() as f64)
    };
    let (a, b) = (ratio(figures.a), ratio(figures.b));
    told(
        "cache hits",
        Kind::Ratio,
        a,
        b,
        a.zip(b).map(|(a, b)| b - a),
    )
}
