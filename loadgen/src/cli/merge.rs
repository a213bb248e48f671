//! `kms-loadgen merge`: results of several processes or machines as one.

use std::path::PathBuf;

use clap::Args;

use super::report::{PAGE, write_all};
use super::{load, print};
use crate::load::run::exit_code;
use crate::report::terminal;
use crate::results::merge::merge;

/// Merges results of one plan that ran at the same time into one.
///
/// Histograms are added, never averaged; seconds are aligned by the wall clock, so keep the clocks of all
/// machines in step. The exit code is that of one run that had measured all of it.
#[derive(Args)]
pub(super) struct Merge {
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
    /// Merges; the exit code is that of the merged run.
    pub fn execute(&self) -> Result<u8, String> {
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
        print(&terminal::run(&merged))?;
        print(&format!("report: {}\n", self.out.join(PAGE).display()))?;
        Ok(exit_code(&merged))
    }
}
