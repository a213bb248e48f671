//! Measures this machine, and on request an HSM, for a plan: the fields of `machine` and `hsm`, as a file that
//! `machine.calibration` names.
//!
//! [`machine`] plays on a simulated HSM that takes no time; [`hsm`] asks a running node, no faster than told. Must
//! never be true: a number in the file that was not measured here; load on a real HSM that nobody asked for.

pub mod hsm;
pub mod machine;

use std::fmt::Write as _;

use crate::input::Field;
use crate::trace::number;

/// A field, its value, and how it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub field: &'static Field,
    /// Its value.
    pub value: f64,
    /// For people.
    pub how: String,
}

/// What was found, and what was not.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// In any order.
    pub found: Vec<Found>,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
}

impl Findings {
    fn put(&mut self, field: &'static Field, value: f64, how: impl Into<String>) {
        let how = how.into();
        let (min, max) = match field.kind {
            crate::input::field::Kind::Number { min, max, .. } => (min, max),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        if (min..=max).contains(&value) {
            self.found.push(Found { field, value, how });
        } else {
            self.missing.push(format!(
                "{} came out as {}, which cannot be ({how}): measure on a quieter machine",
                field.path,
                number(value)
            ));
        }
    }

    /// As a file.
    pub fn toml(&self) -> String {
        let mut text = String::from(
            "# Measured by `kms-tune calibrate`. Name this file in machine.calibration of a site's description.\n",
        );
        for section in ["machine", "hsm"] {
            let mut of = self
                .found
                .iter()
                .filter(|one| one.field.section() == section)
                .peekable();
            if of.peek().is_some() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "[{section}]");
            }
            for one in of {
                let _ = writeln!(text, "# {} ({})", one.field.help, one.how);
                let _ = writeln!(text, "{} = {}", one.field.key(), plain(one.value));
            }
        }
        for missing in &self.missing {
            let _ = writeln!(text, "# Not measured: {missing}.");
        }
        text
    }
}

/// Four digits that count; TOML knows no blanks in numbers.
fn plain(value: f64) -> String {
    if value == 0.0 {
        return "0.0".to_owned();
    }
    #[allow(clippy::cast_possible_truncation)] // a logarithm
    let digits = (3 - value.abs().log10().floor() as i32).clamp(1, 9);
    #[allow(clippy::cast_sign_loss)] // clamped
    let text = format!("{value:.*}", digits as usize);
    text
}

/// Least squares of y = a + b x.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if points.len() < 2 || spread <= 0.0 {
        return None;
    }
    let slope = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum::<f64>()
        / spread;
    Some((y - slope * x, slope))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::input::{Source, field};

    #[test]
    fn what_is_written_is_read_by_a_plan() {
        let mut findings = Findings::default();
        findings.put(&field::HIT_US, 6.234_567, "a test");
        findings.put(&field::USL_BETA, 0.000_012_3, "a test");
        findings.put(&field::MESSAGE_MS, 0.0, "a test");
        findings.put(&field::HIT_SIGMA, -1.0, "a test");
        assert_eq!(findings.missing.len(), 1, "a sigma below 0 is none");
        let text = findings.toml();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("machine.toml"), &text).unwrap();
        let site = "[workload]\npeak_rps = 100\nkeys_total = 1000\n[hsm]\npreset = \"lan-hsm\"\n\
                    [machine]\ncalibration = \"machine.toml\"\n";
        let source = Source::parse(&folder.path().join("site.toml"), site).unwrap();
        let site = source.site().unwrap();
        for (field, want) in [
            (&field::HIT_US, 6.235),
            (&field::USL_BETA, 0.000_012_3),
            (&field::MESSAGE_MS, 0.0),
        ] {
            let got = site.get(field);
            assert!(
                (got.value() - want).abs() < 1e-9,
                "{}: {}",
                field.path,
                got.value()
            );
        }
    }

    #[test]
    fn a_line_is_found_again() {
        let points = [1.0, 2.0, 4.0, 8.0].map(|x| (x, 1.5 + 0.06 * x));
        let (a, b) = line(&points).unwrap();
        assert!((a - 1.5).abs() < 1e-9 && (b - 0.06).abs() < 1e-9);
        assert_eq!(line(&points[..1]), None);
    }
}
