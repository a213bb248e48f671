//! The comparison as text: for a terminal, and as Markdown between the markers of a document.

use std::fmt::Write as _;

use super::{Band, Report, Row};

/// Before what `--doc` replaces.
const BEGIN: &str = "<!-- kms-tune validate: begin -->";
/// Behind it.
const END: &str = "<!-- kms-tune validate: end -->";

/// For a terminal.
pub fn table(report: &Report) -> String {
    let mut text = format!("{}: {}\n", report.name, report.built);
    // Writing to a String cannot fail.
    for row in &report.rows {
        let _ = writeln!(
            text,
            "  {:<10} {:<24} predicted {:>18}   measured {:>18}   {:>9} of {:<9} {}",
            row.stage,
            row.what,
            row.predicted.shown(),
            row.predicted.unit().show(row.measured),
            off(row),
            band(row),
            verdict(row),
        );
    }
    for doubt in &report.doubts {
        let _ = writeln!(text, "  not to be believed: {doubt}");
    }
    for doubt in &report.unbelieved {
        let _ = writeln!(text, "  played again, for {doubt}");
    }
    text
}

/// As Markdown, all sites.
pub fn markdown(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let _ = writeln!(text, "**{}**: {}\n", report.name, report.built);
        text += "| stage | figure | predicted | measured | off | band | |\n|---|---|---|---|---|---|---|\n";
        for row in &report.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.stage,
                row.what,
                row.predicted.shown(),
                row.predicted.unit().show(row.measured),
                off(row),
                band(row),
                verdict(row),
            );
        }
        for doubt in &report.doubts {
            let _ = writeln!(text, "\nNot to be believed: {doubt}");
        }
        for doubt in &report.unbelieved {
            let _ = writeln!(text, "\nPlayed again, for {doubt}");
        }
        text.push('\n');
    }
    text
}

/// `document` with `text` between its markers.
pub fn replace_between(document: &str, text: &str) -> Result<String, String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| format!("it has no lines `{BEGIN}` and `{END}`"))?;
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        text.trim()
    ))
}

fn verdict(row: &Row) -> &'static str {
    if row.holds() { "ok" } else { "MISS" }
}

fn off(row: &Row) -> String {
    match row.band {
        Band::Absolute(_) => format!("{:+.2} pt", 100.0 * row.off()),
        Band::Share(_) => format!("{:+.1} %", 100.0 * row.off()),
    }
}

fn band(row: &Row) -> String {
    match row.band {
        Band::Absolute(most) => format!("{:.1} pt", 100.0 * most),
        Band::Share(most) => format!("{:.0} %", 100.0 * most),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{HIT_BAND, OPS_BAND};
    use super::*;
    use crate::trace::{Quantity, Unit};

    fn row(unit: Unit, predicted: f64, measured: f64, band: Band) -> Row {
        Row {
            stage: "steady",
            what: "figure",
            predicted: Quantity::given("x", predicted, unit, "a test"),
            measured,
            band,
        }
    }

    #[test]
    fn bands_hold_up_to_their_edge() {
        let ops = Unit::PerSecond("operations");
        for (name, row, want) in [
            (
                "points, inside",
                row(Unit::Share, 0.4, 0.4099, HIT_BAND),
                true,
            ),
            (
                "points, outside",
                row(Unit::Share, 0.4, 0.389, HIT_BAND),
                false,
            ),
            ("share, inside", row(ops, 200.0, 209.0, OPS_BAND), true),
            ("share, outside", row(ops, 200.0, 189.0, OPS_BAND), false),
            (
                "nothing measured",
                row(ops, 200.0, f64::NAN, OPS_BAND),
                false,
            ),
        ] {
            assert_eq!(row.holds(), want, "{name}");
        }
    }

    #[test]
    fn a_document_keeps_all_but_what_is_between_its_markers() {
        let report = Report {
            name: "lan-hsm".to_owned(),
            built: "2 nodes".to_owned(),
            rows: vec![row(Unit::Share, 0.4, 0.405, HIT_BAND)],
            doubts: vec!["steady: late".to_owned()],
            unbelieved: vec!["storm: late".to_owned()],
        };
        assert!(!report.holds(), "a doubt is a miss");
        let text = markdown(&[report]);
        let document = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let replaced = replace_between(&document, &text).unwrap();
        assert!(
            replaced.starts_with("a\n") && replaced.ends_with("\nb\n") && !replaced.contains("old")
        );
        assert!(
            replaced.contains("| steady | figure | 40 % | 40.5 % | +0.50 pt | 1.0 pt | ok |"),
            "{replaced}"
        );
        assert!(
            replaced.contains("Not to be believed: steady: late")
                && replaced.contains("Played again, for storm: late"),
            "{replaced}"
        );
        assert_eq!(replace_between(&replaced, &text).unwrap(), replaced);
        assert!(replace_between("no markers", "x").is_err());
    }
}
