//! `kms-tune plan`.

use std::path::PathBuf;

use super::{Ended, SiteArguments, say, write};
use crate::output::{files, html, json, table};
use crate::plan::Plan;

/// Where the plan goes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also write one HTML page with charts, which needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write kms.properties lines, a systemd drop-in and a sysctl file into this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, String> {
    let source = arguments.site.source()?;
    let plan = Plan::of(&source).map_err(|error| error.to_string())?;
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        for file in files::all(&plan) {
            write(&folder.join(file.name), &file.text)?;
        }
    }
    if let Some(page) = &arguments.html {
        write(page, &html::page(&plan, &source))?;
    }
    say(&if arguments.json {
        json::text(&plan)
    } else {
        table::text(&plan)
    })?;
    Ok(if plan.holds() {
        Ended::Well
    } else {
        Ended::Warned
    })
}
