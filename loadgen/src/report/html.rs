//! Reports as web pages: [`run`] tells of one run, [`comparison`] of several.
//!
//! A page is one file with everything in it. It runs no script, fetches nothing and says so in a policy that
//! browsers enforce. Its size does not grow with the length of the run.

use super::buckets::Columns;
use super::charts::{self, Chart, OverTime};
use super::markup::{Element, el};
use super::page::page;
use super::{details, side_by_side, summary, units};
use crate::results::RunResult;
use crate::results::compare::Comparison;

/// The page of one run.
pub fn run(run: &RunResult) -> String {
    let columns = Columns::of_run(run);
    let all = run.headline();
    let mut body = vec![
        el("header")
            .child(el("h1").text(summary::name(run)))
            .child(el("p").class("sub").text(summary::subtitle(run))),
        summary::banner(run),
        summary::tiles(run, &all),
    ];
    body.extend(run.slo.as_ref().map(summary::slo));
    body.push(summary::latencies(run));
    body.extend(details::events(run));
    let plots = [
        run.knee.as_ref().and_then(charts::knee),
        charts::response(run),
        charts::latency_over_time(run, &columns, &all),
        charts::rate_over_time(run, &columns),
        charts::failures(run, &columns),
        charts::sources(run, &columns),
        charts::cpu(run, &columns),
        charts::handshakes_over_time(run, &columns),
        charts::batches(run),
        charts::by_operation(run),
        charts::handshakes(run),
        charts::lag(run),
    ];
    body.push(grid(plots));
    body.extend(run.knee.as_ref().map(side_by_side::probes));
    body.push(pair(details::counts(run), details::validity(run)));
    body.push(pair(details::plan(run), details::server(run)));
    body.extend(details::machines(run));
    body.push(details::command(run));
    body.extend(details::notes(&run.about));
    body.push(footer());
    page(&format!("{} · load report", summary::name(run)), body)
}

/// The page of several runs, and of what changed between the first two if `comparison` is there.
pub fn comparison(runs: &[(String, &RunResult)], comparison: Option<&Comparison>) -> String {
    let columns: Vec<Columns> = runs.iter().map(|(_, run)| Columns::of_run(run)).collect();
    let title = runs
        .iter()
        .map(|(label, _)| label.as_str())
        .collect::<Vec<_>>()
        .join(" · ");
    let mut body = vec![
        el("header")
            .child(el("h1").text(if comparison.is_some() {
                "Comparison of two runs"
            } else {
                "Runs side by side"
            }))
            .child(el("p").class("sub").text(title.clone())),
    ];
    body.extend(comparison.map(side_by_side::banner));
    body.extend(comparison.map(side_by_side::changes));
    body.push(side_by_side::runs(runs));
    let plots = [
        comparison.and_then(charts::changes),
        charts::overlaid_percentiles(runs),
        charts::overlaid_series(runs, &columns, OverTime::P99),
        charts::overlaid_series(runs, &columns, OverTime::Rate),
    ];
    body.push(grid(plots));
    body.push(side_by_side::origins(runs));
    body.push(footer());
    page(&format!("{title} · load comparison"), body)
}

fn grid(charts: impl IntoIterator<Item = Option<Chart>>) -> Element {
    // A half-width plot without a neighbour takes the whole width.
    let mut charts: Vec<Chart> = charts.into_iter().flatten().collect();
    let mut at = 0;
    while let Some(first) = charts.get(at) {
        let is_pair = !first.is_wide && charts.get(at + 1).is_some_and(|next| !next.is_wide);
        if let (false, Some(lone)) = (is_pair || first.is_wide, charts.get_mut(at)) {
            lone.is_lone = true;
        }
        at += if is_pair { 2 } else { 1 };
    }
    el("div")
        .class("charts")
        .children(charts.into_iter().map(Chart::element))
}

fn pair(one: Element, two: Element) -> Element {
    el("div").class("pair").child(one).child(two)
}

fn footer() -> Element {
    let version = env!("CARGO_PKG_VERSION");
    el("footer").child(el("p").text(format!(
        "Latencies are kept in histograms of three digits from 1{0}µs to 60{0}s; longer ones count as 60{0}s. Percentiles come \
         from added histograms, never from means. The files beside this page hold all of it (result.json, series.csv, \
         histograms.hlog). Drawn by kms-loadgen {version}.",
        units::THIN
    )))
}
