//! What becomes of a result: text or JSON on standard output, files in a folder.

use std::path::{Path, PathBuf};

use clap::Args;

use super::report::{PAGE, write_all};
use super::{FAILED, print, say};
use crate::load::run::exit_code;
use crate::report::terminal;
use crate::results::{RunResult, files, redacted};

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Folder for the results: result.json, series.csv, histograms, report.html.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// A name for headings.
    #[arg(long)]
    pub name: Option<String>,
    /// No progress on standard error.
    #[arg(long)]
    pub quiet: bool,
}

impl OutputArgs {
    /// Prints the result, then writes its files. The exit code.
    pub fn give(&self, run: &mut RunResult) -> Result<u8, String> {
        self.give_to(run, self.out.as_deref())
    }

    /// As [`OutputArgs::give`], with the files in `folder`. A full disk costs the files, not what is seen.
    pub fn give_to(&self, run: &mut RunResult, folder: Option<&Path>) -> Result<u8, String> {
        if run.about.command_line.is_empty() {
            run.about.command_line = redacted(std::env::args());
        }
        if self.name.is_some() {
            run.about.name.clone_from(&self.name);
        }
        print(&if self.json {
            files::json(run)
        } else {
            terminal::run(run)
        })?;
        let Some(folder) = folder else {
            return Ok(exit_code(run));
        };
        match write_all(folder, run) {
            Ok(()) => {
                if !self.quiet {
                    say(&format!("report: {}", folder.join(PAGE).display()));
                }
                Ok(exit_code(run))
            }
            Err(error) => {
                say(&format!("kms-loadgen: {error}"));
                Ok(FAILED)
            }
        }
    }
}
