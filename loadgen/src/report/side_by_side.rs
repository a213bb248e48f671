//! Several runs, or several probes, in tables.

use super::charts::knee_words;
use super::markup::{Element, el};
use super::page::{Cell, Table, card};
use super::{summary, units};
use crate::results::compare::{Change, Comparison, Kind, Line};
use crate::results::slo::Outcome;
use crate::results::{Knee, RunResult};

/// Whether B is worse than A.
pub(super) fn banner(comparison: &Comparison) -> Element {
    let worse = comparison
        .lines
        .iter()
        .filter(|line| line.counts && line.outcome == Change::Worse);
    let worse: Vec<_> = worse.map(|line| line.name.as_str()).collect();
    let (class, title) = if comparison.is_regression {
        ("bad", format!("B is worse than A: {}", worse.join(", ")))
    } else {
        (
            "good",
            format!(
                "No regression beyond {}",
                units::plain_percent(comparison.tolerance)
            ),
        )
    };
    let notes = comparison
        .notes
        .iter()
        .map(|note| el("li").text(note.clone()));
    let banner = el("section")
        .class(format_args!("card banner {class}"))
        .attr("id", "verdict");
    let banner = banner.child(el("b").text(title));
    if comparison.notes.is_empty() {
        banner
    } else {
        banner.child(el("ul").children(notes))
    }
}

/// Each figure of A and B.
pub(super) fn changes(comparison: &Comparison) -> Element {
    let mut table = Table::new([
        "figure",
        "verdict",
        "change",
        "A",
        "B",
        "95\u{202f}% interval",
    ])
    .words(1);
    for line in &comparison.lines {
        let [a, b] = [line.a, line.b].map(|value| figure(line.kind, value));
        let (change, interval) = change(line);
        let figures = [change, a, b, interval].map(Cell::from);
        table.row(
            [line.name.clone().into(), word(line)]
                .into_iter()
                .chain(figures),
        );
    }
    let about = format!("Intervals by {}. {}", comparison.method, HOW);
    card("A and B")
        .attr("id", "compared")
        .child(table.element())
        .child(el("p").class("about").text(about))
}

const HOW: &str = "Worse or better: changed by more than the tolerance, and the interval leaves out no change. Unsure: \
                   changed by more than the tolerance, which may be chance.";

pub(super) fn figure(kind: Kind, value: Option<f64>) -> String {
    let Some(value) = value else {
        return units::none();
    };
    match kind {
        Kind::LatencyNs => units::latency(value),
        Kind::RatePerS => units::rate(value),
        Kind::Ratio => units::percent(value),
        Kind::CpuUs => units::time(value * 1e3),
        Kind::Count => units::number(value),
    }
}

/// The change and its interval, in words.
pub(super) fn change(line: &Line) -> (String, String) {
    let shown = |value: f64| {
        if line.kind == Kind::Ratio {
            units::points(value)
        } else {
            units::change(value)
        }
    };
    let interval = line
        .interval
        .map(|(low, high)| format!("{} … {}", shown(low), shown(high)));
    (
        line.change.map_or_else(units::none, shown),
        interval.unwrap_or_else(units::none),
    )
}

fn word(line: &Line) -> Cell {
    match (line.outcome, line.counts) {
        (Change::Worse, true) => Cell::bad("✗ worse"),
        (Change::Worse, false) => Cell::odd("worse, not judged"),
        (Change::Better, _) => Cell::good("✓ better"),
        (Change::Same, _) => "same".into(),
        (Change::Unsure, _) => Cell::odd("unsure"),
        (Change::Untold, _) => "".into(),
    }
}

/// The runs, a column of figures each.
pub(super) fn runs(runs: &[(String, &RunResult)]) -> Element {
    let mut table = Table::new([
        "run",
        "validity",
        "right answers",
        "p50",
        "p99",
        "p99.9",
        "longest",
        "failed",
        "server CPU",
    ])
    .words(1);
    for (label, run) in runs {
        let all = run.headline();
        let at = |quantile| units::latency_or_none(all.at_ns(quantile));
        let validity = if run.validity.is_valid() {
            Cell::good("✓ valid")
        } else {
            Cell::bad("✗ INVALID")
        };
        let failed = run
            .totals
            .error_ratio()
            .map_or_else(units::none, units::percent);
        let figures = [
            units::rate(run.rate_per_s()),
            at(0.5),
            at(0.99),
            at(0.999),
            units::latency_or_none(all.max_ns()),
            failed,
            units::cpu_each(run.cpu.server_us_per_request(&run.totals)),
        ];
        table.row(
            [Cell::from(label.clone()), validity]
                .into_iter()
                .chain(figures.map(Cell::from)),
        );
    }
    card("Runs").attr("id", "runs").child(table.element())
}

/// What each run was.
pub(super) fn origins(runs: &[(String, &RunResult)]) -> Element {
    let line = |(label, run): &(String, &RunResult)| {
        let about = &run.about;
        let text = format!(
            ": {} · {} · seed {}, kms-loadgen {}",
            summary::name(run),
            summary::subtitle(run),
            about.seed,
            about.tool_version
        );
        el("p").child(el("b").text(label.clone())).text(text)
    };
    card("Where they come from")
        .attr("id", "origins")
        .children(runs.iter().map(line))
}

/// Each probe of a search.
pub(super) fn probes(knee: &Knee) -> Element {
    let head = [
        "rate aimed at",
        "right answers",
        "answers",
        "p50",
        "p99",
        "p99.9",
        "failed",
        "verdict",
    ];
    let mut table = Table::new(head).words(7);
    for probe in &knee.probes {
        let failed = probe.error_ratio.map_or_else(units::none, units::percent);
        let figures = [
            units::rate(probe.rate_per_s),
            units::rate(probe.achieved_per_s),
            units::count(probe.samples),
            units::latency_or_none(probe.p50_ns),
            units::latency_or_none(probe.p99_ns),
            units::latency_or_none(probe.p999_ns),
            failed,
        ];
        let verdict = match probe.outcome {
            _ if !probe.is_valid => Cell::odd("generator saturated"),
            Outcome::Met => Cell::good("✓ met"),
            Outcome::Missed => Cell::bad("✗ missed"),
            Outcome::Unsure => Cell::odd("unsure"),
        };
        table.row(figures.map(Cell::from).into_iter().chain([verdict]));
    }
    let about = el("p").class("about").text(knee_words(knee));
    card("Search for the knee")
        .attr("id", "probes")
        .child(about)
        .child(table.element())
}
