//! `kms-tune plan`.

use std::path::PathBuf;

use super::{Ended, SiteArguments, say, write};
use crate::live;
use crate::output::{files, html, json, table};
use crate::plan::Plan;

/// Where the plan goes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    /// Take load, keys and the HSM's times from a running node: http://HOST:PORT/metrics, or a file with its text.
    /// Once for each node of the site; what they tell wins over the description.
    #[arg(long, value_name = "URL|FILE")]
    from_metrics: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also write one HTML page with charts, which needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write the charts of that page into this folder, an SVG file each.
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,
    /// Also write kms.properties lines, a systemd drop-in and a sysctl file into this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, String> {
    let mut source = arguments.site.source()?;
    let mut notes = Vec::new();
    if !arguments.from_metrics.is_empty() {
        let read = arguments.from_metrics.iter().map(|place| live::read(place));
        let nodes = read.collect::<Result<Vec<_>, String>>()?;
        let told = live::told(&nodes, &source)?;
        source = source.with_live(told.fields);
        notes = told.notes;
    }
    let mut plan = Plan::of(&source).map_err(|error| error.to_string())?;
    let has_warning = notes.iter().any(|note| note.starts_with("WARNING"));
    plan.notes.splice(..0, notes);
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        for file in files::all(&plan) {
            write(&folder.join(file.name), &file.text)?;
        }
    }
    if let Some(folder) = &arguments.charts {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        for (name, svg) in html::charts(&plan, &source) {
            write(&folder.join(format!("{name}.svg")), &svg)?;
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
    Ok(if plan.holds() && !has_warning {
        Ended::Well
    } else {
        Ended::Warned
    })
}
