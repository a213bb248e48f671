//! The comparison as text: for a terminal, and as Markdown between the markers of a document.

use std::fmt::Write as _;

use super::{Band, Report, Row};

/// Before what `--doc` replaces.
const BEGIN: &str = "<!-- kms-tune validate: begin -->";
/// Behind it.
const END: &str = "<!-- kms-tune validate: end -->";
/// Before a site's name.
const HEAD: &str = "**";

/// For a terminal.
pub fn table(report: &Report) -> String {
    let mut text = format!("{}: {}\n", report.name, report.built);
    // Writing to a String cannot fail.
    for row in &report.rows {
        let [stage, what, predicted, measured, off, band, verdict] = cells(row);
        let _ = writeln!(
            text,
            "  {stage:<10} {what:<24} predicted {predicted:>18}   measured {measured:>18}   {off:>9} of {band:<9} {verdict}",
        );
    }
    for (word, why) in told(report) {
        let _ = writeln!(text, "  {word}: {why}");
    }
    text
}

/// Stage, figure, predicted, measured, how far off, of how much, verdict.
fn cells(row: &Row) -> [String; 7] {
    let unit = row.predicted.unit();
    [
        row.stage.to_owned(),
        row.what.to_owned(),
        row.predicted.shown(),
        unit.show(row.measured),
        off(row),
        band(row),
        verdict(row).to_owned(),
    ]
}

/// What there is to say besides the figures.
fn told(report: &Report) -> impl Iterator<Item = (&'static str, &String)> {
    [
        ("The site failed", &report.faults),
        ("Not to be believed", &report.doubts),
        ("Played again, for", &report.unbelieved),
    ]
    .into_iter()
    .flat_map(|(word, all)| all.iter().map(move |one| (word, one)))
}

/// As Markdown, under a line with the site's name.
fn markdown(report: &Report) -> String {
    // Writing to a String cannot fail.
    let mut text = format!("{}{}\n\n", head(&report.name), report.built);
    text +=
        "| stage | figure | predicted | measured | off | band | |\n|---|---|---|---|---|---|---|\n";
    for row in &report.rows {
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    for (word, why) in told(report) {
        let _ = writeln!(text, "\n{word}: {why}");
    }
    text
}

/// Begins what is told of a site.
fn head(name: &str) -> String {
    format!("{HEAD}{name}**: ")
}

/// `document` with these sites' tables between its markers: in place of their last ones, or behind the others.
pub fn put_into(document: &str, reports: &[Report]) -> Result<String, String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (inner, after) = rest.split_once(END)?;
        Some((before, inner, after))
    });
    let (before, inner, after) =
        parts.ok_or_else(|| format!("it has no lines `{BEGIN}` and `{END}`"))?;
    let mut sites = sites_of(inner);
    for report in reports {
        let (name, text) = (head(&report.name), markdown(report));
        match sites.iter_mut().find(|site| site.starts_with(&name)) {
            Some(site) => *site = text,
            None => sites.push(text),
        }
    }
    let sites: Vec<&str> = sites.iter().map(|site| site.trim()).collect();
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        sites.join("\n\n")
    ))
}

/// What stands there of each site.
fn sites_of(text: &str) -> Vec<String> {
    let mut sites: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with(HEAD) {
            sites.push(String::new());
        }
        // What stands before the first site is none.
        if let Some(site) = sites.last_mut() {
            site.push_str(line);
            site.push('\n');
        }
    }
    sites
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
            faults: vec!["storm: 3 failed".to_owned()],
            unbelieved: vec!["storm: late".to_owned()],
        };
        assert!(!report.holds(), "a doubt is a miss");
        let reports = [report];
        let other = "**wan-hsm**: 2 nodes\n\nits table";
        let document = format!("a\n{BEGIN}\n\n**lan-hsm**: old\n\nold\n\n{other}\n\n{END}\nb\n");
        let replaced = put_into(&document, &reports).unwrap();
        assert!(
            replaced.starts_with("a\n") && replaced.ends_with("\nb\n") && !replaced.contains("old")
        );
        let (lan, wan) = (replaced.find("**lan-hsm**"), replaced.find(other));
        assert!(lan.is_some() && lan < wan, "{replaced}");
        assert!(
            replaced.contains("| steady | figure | 40 % | 40.5 % | +0.50 pt | 1.0 pt | ok |"),
            "{replaced}"
        );
        assert!(
            replaced.contains("Not to be believed: steady: late")
                && replaced.contains("The site failed: storm: 3 failed")
                && replaced.contains("Played again, for: storm: late"),
            "{replaced}"
        );
        assert_eq!(put_into(&replaced, &reports).unwrap(), replaced);
        let first = put_into(&format!("{BEGIN}\nold\n{END}"), &reports).unwrap();
        assert!(
            first.contains("**lan-hsm**") && !first.contains("old"),
            "{first}"
        );
        assert!(put_into("no markers", &reports).is_err());
    }
}
