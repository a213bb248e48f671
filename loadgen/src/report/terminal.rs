//! Results for a terminal: aligned columns, plain characters, the verdict in the last line.

use std::fmt::Write;

use super::buckets::Columns;
use super::{side_by_side, summary, units};
use crate::results::compare::{Change, Comparison, Kind, Line};
use crate::results::{Completeness, Latency, Quantiles, RunResult};

/// One run. The last line is the verdict.
pub fn run(run: &RunResult) -> String {
    let mut text = format!("{}: {}\n\n", summary::name(run), summary::subtitle(run));
    text += &latencies(run);
    text.push('\n');
    for (name, words) in figures(run) {
        let _ = writeln!(text, "{name:<8} {words}");
    }
    let line = sparkline(run);
    if !line.is_empty() {
        let _ = writeln!(text, "{:<8} {line}", "p99");
    }
    text.push('\n');
    for note in &run.about.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "{}", verdict(run));
    plain(&text)
}

fn latencies(run: &RunResult) -> String {
    let head = [
        "latency", "answers", "p50", "p90", "p99", "p99.9", "p99.99", "longest",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut row = |name: &str, latency: &Latency| {
        if let Some(quantiles) = Quantiles::of(latency) {
            let values = quantiles.values_ns().map(|ns| units::latency(ns as f64));
            rows.push(
                [name.to_owned(), units::count(quantiles.count)]
                    .into_iter()
                    .chain(values)
                    .collect(),
            );
        }
    };
    if run.latencies.operations.len() != 1 {
        row(
            "all, response",
            &run.latencies.all(|latency| &latency.response),
        );
        row(
            "all, service",
            &run.latencies.all(|latency| &latency.service),
        );
    }
    for (operation, latency) in &run.latencies.operations {
        row(&format!("{operation}, response"), &latency.response);
        row(&format!("{operation}, service"), &latency.service);
        row(&format!("{operation}, until failure"), &latency.failed);
    }
    row("handshake, full", &run.latencies.handshake_full);
    row("handshake, resumed", &run.latencies.handshake_resumed);
    row("send lag", &run.latencies.lag);
    aligned(&rows)
}

/// Lines of a name and words.
fn figures(run: &RunResult) -> Vec<(&'static str, String)> {
    let totals = &run.totals;
    let mut lines = vec![(
        "rate",
        format!(
            "{} right answers, {} planned",
            units::rate(run.rate_per_s()),
            units::rate(run.planned_per_s())
        ),
    )];
    let share = totals
        .error_ratio()
        .map_or_else(units::none, units::percent);
    let kinds = totals.errors.iter().filter(|(_, count)| **count > 0);
    let kinds: Vec<_> = kinds
        .map(|(kind, count)| format!("{kind} {}", units::count(*count)))
        .collect();
    let of = format!(
        "{share} ({} of {})",
        units::count(totals.failed()),
        units::count(totals.ended())
    );
    lines.push((
        "failed",
        if kinds.is_empty() {
            of
        } else {
            format!("{of}: {}", kinds.join(", "))
        },
    ));
    if let Some(split) = run.server.unwraps().filter(|split| split.total() > 0) {
        let share = |part: u64| units::percent(part as f64 / split.total() as f64);
        let shared = if split.shared > 0 {
            format!(", {} shared cache", share(split.shared))
        } else {
            String::new()
        };
        let words = format!(
            "{} hits, {} joined{shared}, {} HSM",
            share(split.hits),
            share(split.joined),
            share(split.misses)
        );
        lines.push(("cache", words));
    }
    let server = units::cpu_each(run.cpu.server_us_per_request(totals));
    let client = units::cpu_each(run.cpu.client_us_per_request(totals));
    lines.push((
        "CPU",
        format!("server {server} a request, generator {client} a request"),
    ));
    lines
}

/// The p99 over time on a logarithmic scale, a character a column.
fn sparkline(run: &RunResult) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const WIDTH: usize = 60;
    let columns = Columns::of_run(run).buckets;
    let each = columns.len().div_ceil(WIDTH).max(1);
    // The highest of a few columns, for this is a picture, not a figure.
    let highest = |chunk: &[super::buckets::Bucket]| {
        chunk
            .iter()
            .filter_map(|bucket| bucket.latency)
            .map(|latency| latency.p99_ns)
            .max()
    };
    let values: Vec<Option<u64>> = columns.chunks(each).map(highest).collect();
    let (Some(low), Some(high)) = (values.iter().flatten().min(), values.iter().flatten().max())
    else {
        return String::new();
    };
    if values.len() < 8 {
        return String::new();
    }
    // At least a decade, or noise would look like an earthquake.
    let (bottom, span) = (
        (*low as f64).max(1.0).ln(),
        (*high as f64 / (*low as f64).max(1.0))
            .ln()
            .max(std::f64::consts::LN_10),
    );
    let bar = |value: &Option<u64>| {
        let Some(ns) = value else { return ' ' };
        let level = ((*ns as f64).max(1.0).ln() - bottom) / span * 7.0;
        let at = (0..8_u32).rev().find(|at| f64::from(*at) <= level + 0.5);
        at.and_then(|at| BARS.get(at as usize))
            .copied()
            .unwrap_or('▁')
    };
    let line: String = values.iter().map(bar).collect();
    format!(
        "{line} {} .. {}",
        units::latency(*low as f64),
        units::latency(*high as f64)
    )
}

/// The verdict on a run in one line.
pub fn verdict(run: &RunResult) -> String {
    let mut words = vec![run.validity.word().to_owned()];
    if let Completeness::Partial(why) = &run.about.completeness {
        words.push(format!("PARTIAL ({why})"));
    }
    if run.totals.wrong() > 0 {
        words.push(format!(
            "{} WRONG ANSWERS",
            units::count(run.totals.wrong())
        ));
    }
    if let Some(slo) = &run.slo {
        let missed: Vec<_> = slo
            .terms
            .iter()
            .filter(|term| !term.is_met)
            .map(|term| format!("{} was {}", term.term, summary::measured(term)))
            .collect();
        words.push(match (slo.is_met(), missed.is_empty()) {
            (true, _) => format!("SLO met ({})", slo.expression),
            (false, false) => format!("SLO MISSED ({})", missed.join(", ")),
            (false, true) => format!("SLO MISSED ({})", slo.expression),
        });
    }
    if let Some(knee) = &run.knee {
        words.push(super::charts::knee_words(knee));
    }
    let doubts: Vec<String> = run
        .validity
        .doubts
        .iter()
        .map(ToString::to_string)
        .collect();
    let words = words.join(", ");
    plain(&if doubts.is_empty() {
        words
    } else {
        format!("{words}: {}", doubts.join("; "))
    })
}

/// Two runs. The last line is the verdict.
pub fn comparison(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (label, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        let name = side.name.as_deref().unwrap_or("load run");
        let server = side
            .server
            .as_ref()
            .map(|server| format!(" of {server}"))
            .unwrap_or_default();
        let (start, length) = (
            units::utc(side.start_unix_us),
            units::length(side.duration_us),
        );
        let answers = units::count(side.answers);
        let _ = writeln!(
            text,
            "{label}: {name}{server}, {start}, {length}, {answers} right answers"
        );
    }
    let _ = write!(
        text,
        "\n{}\nIntervals by {}.\n",
        changes(comparison),
        comparison.method
    );
    for note in &comparison.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let is_worse = |line: &&Line| line.counts && line.outcome == Change::Worse;
    let words = |line: &Line| match line.kind {
        Kind::Count => line.name.clone(),
        _ => format!("{} {}", line.name, side_by_side::change(line).0),
    };
    let worse: Vec<String> = comparison
        .lines
        .iter()
        .filter(is_worse)
        .map(words)
        .collect();
    let tolerance = units::plain_percent(comparison.tolerance);
    let _ = if comparison.is_regression {
        writeln!(text, "REGRESSION beyond {tolerance}: {}", worse.join(", "))
    } else {
        writeln!(text, "no regression beyond {tolerance}")
    };
    plain(&text)
}

fn changes(comparison: &Comparison) -> String {
    let mut rows = vec![
        ["", "A", "B", "change", "95 % interval", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for line in &comparison.lines {
        let [a, b] = [line.a, line.b].map(|value| side_by_side::figure(line.kind, value));
        let (change, interval) = side_by_side::change(line);
        let word = match (line.outcome, line.counts) {
            (Change::Worse, false) => "worse, not judged",
            (outcome, _) => outcome.word(),
        };
        rows.push(vec![
            line.name.clone(),
            a,
            b,
            change,
            interval,
            word.to_owned(),
        ]);
    }
    aligned(&rows)
}

/// Columns with two blanks between them: words to the left, figures, which begin with a digit or a sign in some
/// row, to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            cells(column)
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let is_figure =
        |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || "+−≥".contains(c));
    let has_words: Vec<bool> = (0..columns)
        .map(|column| column == 0 || !cells(column).any(is_figure))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), is_word) in row.iter().zip(&widths).zip(&has_words) {
            let cell = if *is_word {
                format!("{cell:<width$}  ")
            } else {
                format!("{cell:>width$}  ")
            };
            line += &cell;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Typographic characters as any terminal shows them, and no control characters of a peer's.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            units::THIN => out.push(' '),
            'µ' => out.push('u'),
            '−' | '–' => out.push('-'),
            '…' => out.push_str(".."),
            '×' => out.push('x'),
            '≥' => out.push_str(">="),
            '\n' => out.push('\n'),
            other if other.is_control() => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["", "p50", "x"],
            vec!["decrypt", "1.00\u{202f}ms", "same"],
            vec!["a", "5\u{202f}s", ""],
        ];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|&cell| cell.to_owned()).collect())
            .collect();
        let want = "             p50  x\ndecrypt  1.00 ms  same\na            5 s\n";
        assert_eq!(plain(&aligned(&rows)), want);
    }

    #[test]
    fn a_peers_words_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\u{7}\n"), "a?[31mb??\n");
    }
}
