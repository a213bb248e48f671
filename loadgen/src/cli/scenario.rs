//! `kms-loadgen scenario`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::output::OutputArgs;
use super::progress::Live;
use super::{Scratch, say, stop_on_signals};
use crate::load::observer::Progress;
use crate::scenario::file::Scenario;
use crate::scenario::play::{Theatre, play};

/// Plays a scenario: starts a simulated HSM and kms on free loopback ports, loads it, and makes things go wrong.
///
/// loadgen/scenarios holds some: steady, restore-storm, node-restart, hsm-stall, handshake-storm, certificate-rotation.
#[derive(Args)]
pub(super) struct Play {
    /// The scenario, TOML.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The server's program; without it, kms beside this program.
    #[arg(long, value_name = "PATH")]
    kms: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Play {
    /// Plays; the exit code.
    pub fn execute(&self) -> Result<u8, String> {
        let scenario = Scenario::read(&self.file)?;
        let program = self.program()?;
        let stop = stop_on_signals()?;
        let scratch = Scratch::new(&scenario.name)?;
        let folder = self
            .output
            .out
            .clone()
            .unwrap_or_else(|| Path::new("results").join(&scenario.name));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let log = folder.join("kms.log");
        // Of an earlier time.
        let _ = std::fs::remove_file(&log);
        let is_told = !self.output.quiet;
        let lasts_s = scenario.run.warm_up_s + scenario.run.check()?.duration_s;
        let progress = is_told.then(|| -> Box<dyn Progress> {
            Box::new(Live::new(
                Duration::try_from_secs_f64(lasts_s).unwrap_or_default(),
            ))
        });
        let theatre = Theatre {
            program: &program,
            folder: &scratch.0,
            log: &log,
            stop: &stop,
            progress,
        };
        let tell = |text: &str| {
            if is_told {
                say(text);
            }
        };
        let mut result = play(&scenario, theatre, &tell)?;
        let code = self.output.give_to(&mut result, Some(&folder))?;
        Ok(code)
    }

    fn program(&self) -> Result<PathBuf, String> {
        let program = match &self.kms {
            Some(program) => program.clone(),
            None => std::env::current_exe()
                .map_err(|error| error.to_string())?
                .with_file_name("kms"),
        };
        if program.is_file() {
            Ok(program)
        } else {
            Err(format!(
                "no kms at {}: build it (cargo build --release), or name it with --kms",
                program.display()
            ))
        }
    }
}
