//! `kms-tune validate`.

use std::path::{Path, PathBuf};

use super::{Ended, say, stop_on_signals, tell, write};
use crate::input::Source;
use crate::validate::{Report, Stages, play, put_into, table};

/// Which sites.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Descriptions of sites that this machine can play: tuning/sites/*.toml, or your own.
    #[arg(value_name = "SITE.toml", required = true)]
    sites: Vec<PathBuf>,
    /// The server's program; without it, kms beside this program.
    #[arg(long, value_name = "PATH")]
    kms: Option<PathBuf>,
    /// How often a stage is played at most: again when its measurement is not to be believed, because other guests
    /// took the CPU, the generator was late or the clock jumped. A figure out of its band is no reason.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10))]
    attempts: u32,
    /// Also write the tables into this document, between its markers, in place of those of the same sites.
    #[arg(long, value_name = "FILE")]
    doc: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, String> {
    let program = program(arguments.kms.as_deref())?;
    let stop = stop_on_signals()?;
    // What is wrong with a later one is told before the first is played.
    let read = |path: &PathBuf| {
        let source = Source::read(path).map_err(|error| error.to_string())?;
        source.site().map_err(|error| error.to_string())?;
        let name = path.file_stem().unwrap_or(path.as_os_str());
        Ok((name.to_string_lossy().into_owned(), source))
    };
    let sites: Vec<(String, Source)> = arguments
        .sites
        .iter()
        .map(read)
        .collect::<Result<_, String>>()?;
    for (at, (name, _)) in sites.iter().enumerate() {
        if sites[..at].iter().any(|(other, _)| other == name) {
            return Err(format!(
                "two sites are called {name}: their tables would be one"
            ));
        }
    }
    let mut reports: Vec<Report> = Vec::new();
    for (name, source) in &sites {
        let folder = super::Scratch::new(name)?;
        let stages = Stages {
            program: &program,
            folder: folder.path(),
            stop: &stop,
            attempts_max: arguments.attempts,
        };
        let mut told = |text: &str| tell(&format!("{name}: {text}"));
        let report = play(source, name, &stages, &mut told)?;
        say(&table(&report))?;
        reports.push(report);
    }
    if let Some(path) = &arguments.doc {
        let bad = |why: String| format!("{}: {why}", path.display());
        let document = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        write(path, &put_into(&document, &reports).map_err(bad)?)?;
    }
    Ok(if reports.iter().all(Report::holds) {
        Ended::Well
    } else {
        Ended::Warned
    })
}

/// The server's program.
pub(super) fn program(told: Option<&Path>) -> Result<PathBuf, String> {
    let path = match told {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(|error| error.to_string())?
            .with_file_name("kms"),
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "{}: the server's program is not there: build it (cargo build --release), or name it with --kms",
            path.display()
        ))
    }
}
