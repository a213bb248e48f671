//! The command line of `kms-loadgen`: one file a command.
//!
//! Exit codes: 0 all well; 1 an answer was wrong, a request failed, an SLO was missed, a comparison is worse; 2 it
//! could not run, or its results could not be written; 3 the run is INVALID.

mod agent;
mod compare;
mod knee;
mod merge;
mod output;
mod prepare;
mod progress;
mod reach;
mod replay;
mod report;
mod run;
mod scenario;
mod shape;
mod workers;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory as _, Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::load::clock::Jump;
use crate::results::{RunResult, files};
use crate::sim::cli::HsmSim;

/// Shifts the wall clock as the generator sees it, `AT_MS:BY_MS`: for tests of what it says then.
const CLOCK_JUMP: &str = "KMS_LOADGEN_TEST_CLOCK_JUMP";
/// Could not run.
const FAILED: u8 = 2;

/// Loads a Transit server over mutual TLS, and simulates an HSM behind one. loadgen/README.md explains all.
///
/// Exit codes: 0 all well; 1 an answer was wrong, a request failed, an SLO was missed, a comparison is worse; 2 it
/// could not run, or its results could not be written; 3 the run is INVALID.
#[derive(Parser)]
#[command(name = "kms-loadgen", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Knee(Box<knee::Knee>),
    Replay(Box<replay::Replay>),
    Prepare(Box<prepare::Prepare>),
    Compare(compare::Compare),
    Merge(merge::Merge),
    Report(report::Report),
    Agent(agent::Agent),
    Scenario(scenario::Play),
    HsmSim(Box<HsmSim>),
}

/// The parser of the command line, for whoever writes such lines and wants to know that they are right.
pub fn parser() -> clap::Command {
    Arguments::command()
}

/// Runs the program.
pub fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Run(run) => run.execute(),
        Command::Knee(knee) => knee.execute(),
        Command::Replay(replay) => replay.execute(),
        Command::Prepare(prepare) => prepare.execute(),
        Command::Compare(compare) => compare.execute().map(|is_good| u8::from(!is_good)),
        Command::Merge(merge) => merge.execute(),
        Command::Report(report) => report.execute().map(|is_done| u8::from(!is_done)),
        Command::Agent(agent) => agent.execute(),
        Command::Scenario(scenario) => scenario.execute(),
        Command::HsmSim(sim) => sim.execute().map(|is_done| u8::from(!is_done)),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "kms-loadgen: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Becomes true at SIGINT and SIGTERM; a second of them ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let failed = |error: io::Error| format!("signals: {error}");
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .map_err(failed)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    Ok(stop)
}

fn clock_jump() -> Result<Option<Jump>, String> {
    let Ok(text) = std::env::var(CLOCK_JUMP) else {
        return Ok(None);
    };
    let parts = text
        .split_once(':')
        .and_then(|(at, by)| Some((at.parse().ok()?, by.parse::<i64>().ok()?)));
    let (at_ms, by_ms) =
        parts.ok_or_else(|| format!("{CLOCK_JUMP}={text}: AT_MS:BY_MS belongs there"))?;
    Ok(Some(Jump {
        at: std::time::Duration::from_millis(at_ms),
        by_ns: by_ms.saturating_mul(1_000_000),
    }))
}

/// To standard error, for people who wait.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// To standard output.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}

fn load(folder: &Path) -> Result<RunResult, String> {
    files::load(folder).map_err(|error| error.to_string())
}

/// What a folder is called in a report.
fn label(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A new folder in the system's place for such things, ours alone; it goes when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("kms-loadgen-{name}-{}", std::process::id()));
        // One that is there already may be somebody else's.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is where such things stay.
        let _ = fs::remove_dir_all(&self.0);
    }
}
