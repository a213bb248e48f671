//! A report as Markdown: tables and remarks whose lines each begin with their row, so that a later run of one row
//! can take that row's lines out and put its own in (`readme`).

use std::fmt::Write as _;

use crate::environment::Environment;
use crate::rounds::Settings;
use crate::table::{Judged, Listed, Report};

/// Above [`Lines::runs`].
pub const RUNS: &str = "\
| row | date | kms | machine | load before | stolen | rounds |
|---|---|---|---|---|---|---|
";
/// Above [`Lines::targets`].
pub const TARGETS: &str = "\
| row | what | connections | measured | target | |
|---|---|---|---|---|---|
";
/// Above [`Lines::series`].
pub const SERIES: &str = "\
| row | server | connections | requests/s | p50 us | p99 us | server CPU us/request | client CPU us/request | client busy |
|---|---|---|---|---|---|---|---|---|
";

/// A report line by line, each under its row.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// When and where each row was measured.
    pub runs: Vec<String>,
    /// Figures against targets.
    pub targets: Vec<String>,
    /// Medians of each contender.
    pub series: Vec<String>,
    /// Peers and remarks, a list.
    pub remarks: Vec<String>,
}

/// Where a row stands in every table: by its number, then those without one.
pub fn rank(row: &str) -> (u32, String) {
    let digits = row.strip_prefix('P').unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit());
    let number = digits.get(..end.unwrap_or(digits.len()));
    let number = number.and_then(|digits| digits.parse().ok());
    (number.unwrap_or(u32::MAX), row.to_owned())
}

/// One line of a table.
pub fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A table's names of columns and the rule below them.
pub fn head(columns: &[String]) -> String {
    format!("{}|{}\n", line(columns), "---|".repeat(columns.len()))
}

impl Report {
    /// All of it for a reader of its own.
    pub fn markdown(&self) -> String {
        let lines = self.lines();
        let mut out = format!("{}\n\n", self.settings_told());
        for (head, lines) in [
            (RUNS, lines.runs),
            (TARGETS, lines.targets),
            (SERIES, lines.series),
            ("", lines.remarks),
        ] {
            if !lines.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{head}{}\n", lines.join("\n"));
            }
        }
        out
    }

    fn settings_told(&self) -> String {
        let Settings {
            rounds,
            duration,
            warm_up,
        } = self.settings;
        format!(
            "TLS 1.3, {}, P-256 certificates unless named otherwise, mutual, keep-alive, audit off unless named; {} data keys \
             of 32 bytes, asked at random; {rounds} alternating rounds of {:.1} s after {:.1} s of warm-up, medians; servers \
             on core 0, client on core 1.",
            self.cipher_suite,
            self.data_keys,
            duration.as_secs_f64(),
            warm_up.as_secs_f64()
        )
    }

    /// Its tables, in the order of the rows.
    pub fn lines(&self) -> Lines {
        let mut rows: Vec<&str> = self.judged.iter().map(|judged| judged.row).collect();
        rows.sort_by_key(|row| rank(row));
        rows.dedup();
        let mut judged: Vec<&Judged> = self.judged.iter().collect();
        judged.sort_by_key(|judged| rank(judged.row));
        let mut series: Vec<&Listed> = self.series.iter().collect();
        series.sort_by_key(|listed| rank(listed.row));
        let mut remarks: Vec<_> = self.remarks.iter().collect();
        remarks.sort_by_key(|remark| rank(remark.row));
        let remarks = remarks.into_iter().map(|remark| match remark.row {
            "" => format!("- {}", remark.text),
            row => format!("- {row}: {}", remark.text),
        });
        Lines {
            runs: rows.into_iter().map(|row| self.run_line(row)).collect(),
            targets: judged.into_iter().map(target_line).collect(),
            series: series.into_iter().map(series_line).collect(),
            remarks: remarks.collect(),
        }
    }

    fn run_line(&self, row: &str) -> String {
        let Environment {
            date,
            version,
            load_before,
            stolen_s,
            ..
        } = &self.environment;
        let Settings {
            rounds, duration, ..
        } = self.settings;
        let machine = self.environment.machine();
        let quick = if self.is_quick {
            ", `--quick`: no measurement"
        } else {
            ""
        };
        format!(
            "| {row} | {date} | {version} | {machine} | {load_before} | {stolen_s:.1} s | {rounds} of {:.1} s{quick} |",
            duration.as_secs_f64()
        )
    }
}

fn target_line(judged: &Judged) -> String {
    let connections = judged
        .connections
        .map_or("-".into(), |count| count.to_string());
    let value = judged.value.map_or("-".into(), number);
    let Judged {
        row,
        what,
        goal,
        verdict,
        ..
    } = judged;
    format!("| {row} | {what} | {connections} | {value} | {goal} | {verdict} |")
}

fn series_line(Listed { row, series }: &Listed) -> String {
    let spoilt = if series.is_clean() {
        ""
    } else {
        " (wrong answers)"
    };
    format!(
        "| {row} | {}{spoilt} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} % |",
        series.name,
        series.connections,
        series.median(|sample| sample.requests_per_s),
        series.median(|sample| sample.p50_us),
        series.median(|sample| sample.p99_us),
        series.median(|sample| sample.server_cpu_us),
        series.median(|sample| sample.client_cpu_us),
        series.median(|sample| sample.client_busy) * 100.0,
    )
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_as_many_rules_as_columns() {
        let columns = ["a".to_owned(), "b c".to_owned()];
        assert_eq!(head(&columns), "| a | b c |\n|---|---|\n");
        assert_eq!(line(&columns), "| a | b c |\n");
    }

    #[test]
    fn rows_stand_by_their_number() {
        let mut rows = ["VAULT", "P10", "P2", "P1-P4", "P12", "P1"];
        rows.sort_by_key(|row| rank(row));
        assert_eq!(rows, ["P1", "P1-P4", "P2", "P10", "P12", "VAULT"]);
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, want) in [(0.6951, "0.70"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(number(value), want);
        }
    }
}
