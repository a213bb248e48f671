//! `kms-tune explain`.

use super::{Ended, SiteArguments, say};
use crate::plan::Plan;
use crate::trace::{Quantity, explain, find};

/// Which number.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    /// A name of the plan's JSON or tables, such as `peak.hsm_ops_s`; without one all names are listed.
    name: Option<String>,
    /// Steps towards what was given, measured or assumed.
    #[arg(long, default_value_t = 64)]
    depth: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, String> {
    let source = arguments.site.source()?;
    let plan = Plan::alone(&source).map_err(|error| error.to_string())?;
    let mut roots = plan.quantities();
    roots.extend(plan.checks.iter().map(|check| check.value.clone()));
    let Some(name) = &arguments.name else {
        let mut names: Vec<&str> = roots.iter().map(Quantity::name).collect();
        names.sort_unstable();
        names.dedup();
        say(&(names.join("\n") + "\n"))?;
        return Ok(Ended::Well);
    };
    let Some(quantity) = find(&roots, name) else {
        let near = roots
            .iter()
            .map(Quantity::name)
            .filter(|known| strsim::jaro_winkler(known, name) > 0.85)
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let hint = near.map_or_else(
            || "`kms-tune explain SITE.toml` lists all".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        return Err(format!("the plan has no number `{name}`; {hint}"));
    };
    say(&explain(&quantity, arguments.depth))?;
    Ok(Ended::Well)
}
