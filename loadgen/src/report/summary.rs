//! The top of a report: what is to be known first.

use super::charts::knee_words;
use super::markup::{Element, el};
use super::page::{Cell, Table, card};
use super::units;
use crate::results::slo::{Outcome, TermVerdict, Unit, Verdict};
use crate::results::{Completeness, Latency, Loop, OperationLatency, Quantiles, RunResult};

/// What a run is called.
pub(super) fn name(run: &RunResult) -> String {
    let scenario = || run.plan.scenario.clone();
    run.about
        .name
        .clone()
        .or_else(scenario)
        .unwrap_or_else(|| "load run".to_owned())
}

/// Whom it loaded, when and how long.
pub(super) fn subtitle(run: &RunResult) -> String {
    let server = match (&run.server.name, &run.server.version) {
        (Some(name), Some(version)) => format!("{name} {version} at "),
        (Some(name), None) => format!("{name} at "),
        _ => String::new(),
    };
    let mode = match run.plan.mode {
        Loop::Open => "open loop",
        Loop::Closed => "closed loop",
    };
    let (start, length) = (
        units::utc(run.about.start_unix_us),
        units::length(run.about.duration_us),
    );
    format!(
        "{server}{} · {start} · {length} · {mode}, {}",
        run.server.target, run.plan.schedule
    )
}

/// The verdict in a box: what a reader in a hurry takes away.
pub(super) fn banner(run: &RunResult) -> Element {
    let (class, title) = match (&run.knee, &run.slo, run.validity.is_valid()) {
        (_, _, false) => (
            "bad",
            "INVALID: these figures tell of the load generator, not of the server".to_owned(),
        ),
        (Some(knee), _, true) if knee.met_per_s.is_some() => ("good", knee_words(knee)),
        (Some(knee), _, true) => ("bad", knee_words(knee)),
        (None, Some(slo), true) if slo.is_met() => ("good", format!("SLO met: {}", slo.expression)),
        (None, Some(slo), true) => ("bad", format!("SLO missed: {}", slo.expression)),
        (None, None, true) => ("good", "Valid run; no SLO was given".to_owned()),
    };
    let mut reasons: Vec<String> = run
        .validity
        .doubts
        .iter()
        .map(ToString::to_string)
        .collect();
    if run.totals.wrong() > 0 {
        let wrong = units::count(run.totals.wrong());
        reasons.push(format!(
            "{wrong} WRONG ANSWERS: a success whose content was not what was wrapped"
        ));
    }
    let is_partial = if let Completeness::Partial(why) = &run.about.completeness {
        reasons.push(format!("PARTIAL: the run did not end as planned: {why}"));
        true
    } else {
        false
    };
    let class = if class == "good" && (is_partial || run.totals.wrong() > 0) {
        "bad"
    } else {
        class
    };
    let banner = el("section")
        .class(format_args!("card banner {class}"))
        .attr("id", "verdict");
    let banner = banner.child(el("b").text(title));
    if reasons.is_empty() {
        return banner;
    }
    banner.child(el("ul").children(reasons.into_iter().map(|reason| el("li").text(reason))))
}

/// The eight figures that everybody asks for.
pub(super) fn tiles(run: &RunResult, all: &Latency) -> Element {
    let at = |quantile| units::latency_or_none(all.at_ns(quantile));
    let failed = run
        .totals
        .error_ratio()
        .map_or_else(units::none, units::percent);
    let hits = run.server.unwraps().filter(|split| split.total() > 0);
    let hits = hits.map_or_else(units::none, |split| {
        units::percent(split.hits as f64 / split.total() as f64)
    });
    let cpu = units::cpu_each(run.cpu.server_us_per_request(&run.totals));
    let tiles = [
        ("right answers", units::rate(run.rate_per_s())),
        ("p50", at(0.5)),
        ("p99", at(0.99)),
        ("p99.9", at(0.999)),
        ("failed", failed),
        ("longest", units::latency_or_none(all.max_ns())),
        ("cache hits", hits),
        ("server CPU a request", cpu),
    ];
    let tile = |(name, value): (&str, String)| {
        el("div")
            .class("tile")
            .child(el("span").text(name))
            .child(el("b").text(value))
    };
    el("section")
        .class("card tiles")
        .attr("id", "tiles")
        .children(tiles.map(tile))
}

/// Each term of the SLO.
pub(super) fn slo(verdict: &Verdict) -> Element {
    let mut table = Table::new([
        "term",
        "verdict",
        "measured",
        "limit",
        "95\u{202f}% interval",
    ])
    .words(1);
    for term in &verdict.terms {
        let interval = term.interval.map_or_else(units::none, |interval| {
            let high = interval
                .high
                .map_or_else(|| "?".to_owned(), |high| in_unit(term.unit, high));
            format!("{} … {high}", in_unit(term.unit, interval.low))
        });
        let measured = term
            .measured
            .map_or_else(units::none, |value| in_unit(term.unit, value));
        let figures = [measured, in_unit(term.unit, term.limit), interval].map(Cell::from);
        table.row(
            [term.term.clone().into(), word(term)]
                .into_iter()
                .chain(figures),
        );
    }
    if verdict.wrong_answers > 0 {
        let wrong = units::count(verdict.wrong_answers);
        let verdict = Cell::bad("✗ missed");
        table.row([
            "wrong answers".into(),
            verdict,
            wrong.into(),
            "0".into(),
            units::none().into(),
        ]);
    }
    card("Service-level objective")
        .attr("id", "slo")
        .child(table.element())
}

/// What a term's value was.
pub(super) fn measured(term: &TermVerdict) -> String {
    term.measured.map_or_else(
        || "not measured".to_owned(),
        |value| in_unit(term.unit, value),
    )
}

fn word(term: &TermVerdict) -> Cell {
    match (term.is_met, term.outcome) {
        (true, Outcome::Met) => Cell::good("✓ met"),
        (false, Outcome::Missed) => Cell::bad("✗ missed"),
        (true, _) => Cell::odd("✓ met, may be chance"),
        (false, _) => Cell::odd("✗ missed, may be chance"),
    }
}

fn in_unit(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds => units::latency(value),
        Unit::Ratio => units::percent(value),
        Unit::PerSecond => units::rate(value),
    }
}

/// One of an operation's histograms.
type Part = fn(&OperationLatency) -> &Latency;

/// Percentiles of each operation.
pub(super) fn latencies(run: &RunResult) -> Element {
    let mut table = Table::new([
        "latency", "answers", "p50", "p90", "p99", "p99.9", "p99.99", "longest",
    ]);
    let mut row = |name: &str, latency: &Latency| {
        if let Some(quantiles) = Quantiles::of(latency) {
            let values = quantiles
                .values_ns()
                .map(|ns| Cell::from(units::latency(ns as f64)));
            table.row(
                [name.into(), units::count(quantiles.count).into()]
                    .into_iter()
                    .chain(values),
            );
        }
    };
    let parts: [(&str, Part); 3] = [
        ("response", |latency| &latency.response),
        ("service", |latency| &latency.service),
        ("until failure", |latency| &latency.failed),
    ];
    let operations = &run.latencies.operations;
    if operations.len() != 1 {
        for (name, part) in parts {
            row(&format!("all, {name}"), &run.latencies.all(part));
        }
    }
    for (operation, latency) in operations {
        for (name, part) in parts {
            row(&format!("{operation}, {name}"), part(latency));
        }
    }
    row("TLS handshake, full", &run.latencies.handshake_full);
    row("TLS handshake, resumed", &run.latencies.handshake_resumed);
    row("send lag", &run.latencies.lag);
    card("Latency")
        .attr("id", "latencies")
        .child(table.element())
}
