//! `kms-loadgen compare`: two results, and an exit code for gates.

use std::path::PathBuf;

use clap::Args;

use super::{label, load, print};
use crate::report::{html, terminal};
use crate::results::compare::{Options, compare};
use crate::results::files::save_text;

/// Compares result B with result A, the one before.
///
/// A figure is worse when it changed for the worse by more than the tolerance and its 95 % confidence
/// interval leaves out no change. Rate, failures, wrong answers, p50 to p99.99 and the server's CPU a request
/// decide; the others are told. Exit codes: 0 no figure is worse, 1 one is, 2 they cannot be compared.
#[derive(Args)]
pub(super) struct Compare {
    /// Folder of the result before.
    a: PathBuf,
    /// Folder of the result after.
    b: PathBuf,
    /// Changes up to so many percent are none.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    tolerance: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also draw a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare INVALID or partial results too, or an open with a closed loop; the notes say so.
    #[arg(long)]
    force: bool,
}

impl Compare {
    /// Compares; whether no figure that counts is worse.
    pub fn execute(&self) -> Result<bool, String> {
        if !(0.0..=1000.0).contains(&self.tolerance) {
            return Err(format!(
                "--tolerance {}: give percent from 0 to 1000",
                self.tolerance
            ));
        }
        let (a, b) = (load(&self.a)?, load(&self.b)?);
        let options = Options {
            tolerance: self.tolerance / 100.0,
            is_forced: self.force,
        };
        let comparison = compare(&a, &b, options).map_err(|error| {
            let hint = if error.can_be_forced() {
                "; --force compares them nevertheless"
            } else {
                ""
            };
            format!("{error}{hint}")
        })?;
        if let Some(file) = &self.html {
            let labels = [
                format!("A: {}", label(&self.a)),
                format!("B: {}", label(&self.b)),
            ];
            let runs: Vec<_> = labels.into_iter().zip([&a, &b]).collect();
            let page = html::comparison(&runs, Some(&comparison));
            save_text(file, &page).map_err(|error| error.to_string())?;
        }
        if self.json {
            let text =
                serde_json::to_string_pretty(&comparison).map_err(|error| error.to_string())?;
            print(&(text + "\n"))?;
        } else {
            print(&terminal::comparison(&comparison))?;
        }
        Ok(!comparison.is_regression)
    }
}
