//! `kms-loadgen report`: draws a result again, or several over each other.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{label, load, print};
use crate::report::{html, terminal};
use crate::results::files::save_text;
use crate::results::{RunResult, files};

/// Name of the page in a result's folder.
pub const PAGE: &str = "report.html";

/// Draws the report of a result again, or of several results in one page.
///
/// The page is one file that needs nothing else: no script, nothing fetched. Exit codes: 0 drawn, 2 an error.
#[derive(Args)]
pub(super) struct Report {
    /// Folders of results, as `run --out` wrote them.
    #[arg(required = true, value_name = "DIR")]
    results: Vec<PathBuf>,
    /// The page; default: report.html in the folder of the only result.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print no summary.
    #[arg(long)]
    quiet: bool,
}

/// Writes a result into `folder` with its page: what `run` does at its end.
pub fn write_all(folder: &Path, run: &RunResult) -> Result<(), files::FileError> {
    files::save(folder, run)?;
    save_text(&folder.join(PAGE), &html::run(run))
}

impl Report {
    /// Draws; true, or why not.
    pub fn execute(&self) -> Result<bool, String> {
        let runs = self
            .results
            .iter()
            .map(|folder| load(folder))
            .collect::<Result<Vec<_>, _>>()?;
        let (page, out) = match (runs.as_slice(), &self.out) {
            ([only], None) => {
                let out = self.results.first().map(|folder| folder.join(PAGE));
                (html::run(only), out.unwrap_or_else(|| PAGE.into()))
            }
            ([only], Some(out)) => (html::run(only), out.clone()),
            (_, Some(out)) => {
                let labels = self.results.iter().map(|folder| label(folder));
                let all: Vec<_> = labels.zip(&runs).collect();
                (html::comparison(&all, None), out.clone())
            }
            (_, None) => {
                return Err("several results: say with --out where their page goes".to_owned());
            }
        };
        save_text(&out, &page).map_err(|error| error.to_string())?;
        if !self.quiet {
            for run in &runs {
                print(&terminal::run(run))?;
                print("\n")?;
            }
            print(&format!("report: {}\n", out.display()))?;
        }
        Ok(true)
    }
}
