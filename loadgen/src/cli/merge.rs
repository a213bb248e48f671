//! `kms-loadgen merge`: results of several processes or machines as one.

use std::path::PathBuf;

use clap::Args;

use super::report::{PAGE, write_all};
use super::{load, say};
use crate::report::terminal;
use crate::results::merge::merge;
use crate::results::slo::Verdict;

/// Merges results of one plan that ran at the same time into one.
///
/// Histograms are added, never averaged; seconds are aligned by the wall clock, so keep the clocks of all
/// machines in step. Exit codes: 0 merged, 1 merged and INVALID or its SLO missed, 2 an error.
#[derive(Args)]
pub struct Merge {
    /// Folders of results.
    #[arg(required = true, num_args = 1.., value_name = "DIR")]
    results: Vec<PathBuf>,
    /// Folder of the merged result.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Merge what differs in plan or time too; the result's notes say so.
    #[arg(long)]
    force: bool,
}

impl Merge {
    /// Merges; whether the result is valid and meets its SLO.
    pub fn execute(&self) -> Result<bool, String> {
        let runs = self
            .results
            .iter()
            .map(|folder| load(folder))
            .collect::<Result<Vec<_>, _>>()?;
        let merged = merge(&runs, self.force).map_err(|error| {
            let hint = if error.can_be_forced() {
                "; --force merges them nevertheless"
            } else {
                ""
            };
            format!("{error}{hint}")
        })?;
        write_all(&self.out, &merged).map_err(|error| error.to_string())?;
        say(&terminal::run(&merged))?;
        say(&format!("report: {}\n", self.out.join(PAGE).display()))?;
        let slo_is_met = merged.slo.as_ref().is_none_or(Verdict::is_met);
        Ok(merged.validity.is_valid() && slo_is_met)
    }
}
