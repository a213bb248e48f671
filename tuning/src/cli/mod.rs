//! The command line: one file a command, arguments in, exit code out.
//!
//! Must never be true: a failure without a remedy. Called by `main`.

mod calibrate;
mod doctor;
mod explain;
mod plan;
mod sweep;
mod validate;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::input;

/// Below the help.
const EXIT_CODES: &str = "\
Exit codes: 0 all objectives are kept, all well; 1 an objective is not kept, a warning; 2 an error, or one that
the doctor found.
tuning/README.md tells of every command and file.";

/// Plans the capacity of a Connected KMS site, and checks hosts and predictions.
#[derive(Debug, Parser)]
#[command(name = "kms-tune", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plan a site: nodes, threads, memory, HSM connections, and what to expect of them.
    Plan(plan::Arguments),
    /// Tell how a number of the plan came about.
    Explain(explain::Arguments),
    /// Plan at many values of one or two inputs: a table, curves, heat maps.
    Sweep(sweep::Arguments),
    /// Check this host against the plan: limits, kernel settings, swap, core dumps.
    Doctor(doctor::Arguments),
    /// Measure this machine, and on request an HSM, for plans.
    Calibrate(Box<calibrate::Arguments>),
    /// Play the planned site on this machine, and compare what was predicted with what is measured.
    Validate(validate::Arguments),
    /// Print a description with every field, its range and its default.
    Example,
}

/// How a command ended that did not fail.
pub(crate) enum Ended {
    /// All well.
    Well,
    /// An objective is not kept, or a warning.
    Warned,
    /// The host would not do.
    Failed,
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Example => say(&input::render_example()).map(|()| Ended::Well),
    };
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Warned) => ExitCode::from(1),
        Ok(Ended::Failed) => ExitCode::from(2),
        Err(why) => {
            let _ = writeln!(io::stderr(), "kms-tune: {why}");
            ExitCode::from(2)
        }
    }
}

/// To standard output.
fn say(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        // Who closes the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// To standard error, for people who wait.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Becomes true at SIGINT and SIGTERM; what was started is then stopped.
fn stop_on_signals() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("signals: {error}"))?;
    }
    Ok(stop)
}

/// A new folder in the system's place for such things, ours alone; it goes when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("kms-tune-{name}-{}", std::process::id()));
        // One that is there already may be somebody else's.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is where such things stay.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A new file, or another content of it.
fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text)
        .map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

/// The description.
#[derive(clap::Args, Debug)]
pub(crate) struct SiteArguments {
    /// The site's description (TOML); `kms-tune example` shows one.
    #[arg(value_name = "SITE.toml")]
    pub(crate) site: PathBuf,
    /// Another value for a field, as `policy.ttl_s=60`; may be repeated.
    #[arg(long = "set", value_name = "FIELD=NUMBER")]
    pub(crate) set: Vec<String>,
}

impl SiteArguments {
    /// Reads it, with what is set here.
    pub(crate) fn source(&self) -> Result<input::Source, String> {
        let mut source = input::Source::read(&self.site).map_err(|error| error.to_string())?;
        for set in &self.set {
            let (path, text) = set
                .split_once('=')
                .ok_or_else(|| format!("--set {set}: write FIELD=NUMBER"))?;
            let field = number_field(path)?;
            let value = text
                .parse()
                .map_err(|_| format!("--set {set}: {text} is no number"))?;
            source = source.with(field, value);
        }
        Ok(source)
    }
}

/// A field that is a number, by its path.
pub(crate) fn number_field(path: &str) -> Result<&'static input::Field, String> {
    match input::field::find(path) {
        Some(field) if field.is_number() => Ok(field),
        Some(_) => Err(format!("{path} is no number: set it in the description")),
        None => Err(input::Problem::Unknown {
            path: path.to_owned(),
            meant: input::field::suggest(path),
        }
        .to_string()),
    }
}
