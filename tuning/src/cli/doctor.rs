//! `kms-tune doctor`.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{Ended, say};
use crate::doctor::{Finding, Host, Verdict, Wants, examine, worst};
use crate::input::Source;
use crate::plan::Plan;

/// Which host, and for what.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The site's description; without one only what every node wants is checked.
    #[arg(value_name = "SITE.toml")]
    site: Option<PathBuf>,
    /// The process whose limits count: the running server's. Without it, this program's own.
    #[arg(long)]
    pid: Option<u32>,
    /// Where the host's files are, for an image or a container.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    root: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also tell what is as it should be.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, String> {
    let wants = match &arguments.site {
        Some(path) => {
            let source = Source::read(path).map_err(|error| error.to_string())?;
            let plan = Plan::alone(&source).map_err(|error| error.to_string())?;
            Wants::of(&plan)
        }
        None => Wants::default(),
    };
    let findings = examine(&Host::new(&arguments.root, arguments.pid), &wants);
    say(&if arguments.json {
        json(&findings)
    } else {
        text(&findings, arguments.all)
    })?;
    Ok(match worst(&findings) {
        Verdict::Error => Ended::Failed,
        Verdict::Warning => Ended::Warned,
        Verdict::Ok | Verdict::NotApplicable => Ended::Well,
    })
}

fn json(findings: &[Finding]) -> String {
    serde_json::to_string_pretty(findings).unwrap_or_default() + "\n"
}

fn text(findings: &[Finding], all: bool) -> String {
    let mut text = String::new();
    let mut counts = [0_usize; 4];
    for finding in findings {
        let word = match finding.verdict {
            Verdict::NotApplicable => "n/a    ",
            Verdict::Ok => "ok     ",
            Verdict::Warning => "WARNING",
            Verdict::Error => "ERROR  ",
        };
        counts[finding.verdict as usize] += 1;
        let is_bad = finding.verdict > Verdict::Ok;
        if !is_bad && !all {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{word} {}: {}", finding.check, finding.found);
        if is_bad {
            let _ = writeln!(
                text,
                "        wanted: {}\n        why: {}\n        fix: {}",
                finding.wanted, finding.why, finding.fix
            );
        }
    }
    let [absent, ok, warnings, errors] = counts;
    let _ = writeln!(
        text,
        "{errors} errors, {warnings} warnings, {ok} ok, {absent} not applicable"
    );
    text
}
