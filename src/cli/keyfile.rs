//! `kms keyfile`: copies of the embedded back end's key file, checked before they are made.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::config;
use crate::hsm::embedded::{backup, restore};

use super::fail;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the key file, also while the server runs. The copy opens with the same passphrase.
    Backup {
        /// The properties file, which names the key file and its passphrase.
        #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
        config: PathBuf,
        /// The copy; must not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a backup in the place of the key file. Stop the server first.
    Restore {
        /// The properties file, which names the key file and its passphrase.
        #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
        config: PathBuf,
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Replace a key file that is there; it is kept beside, with .old after its name.
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        Command::Backup { config, to } => embedded(config).and_then(|embedded| {
            backup(&embedded.file, &embedded.passphrase, to).map_err(|error| error.to_string())?;
            Ok(format!(
                "{} was copied to {} and opens",
                embedded.file.display(),
                to.display()
            ))
        }),
        Command::Restore {
            config,
            from,
            force,
        } => embedded(config).and_then(|embedded| {
            restore(from, &embedded.passphrase, &embedded.file, *force)
                .map_err(|error| error.to_string())?;
            Ok(format!(
                "{} was restored from {}",
                embedded.file.display(),
                from.display()
            ))
        }),
    };
    match done {
        Ok(what) => {
            say(&what);
            ExitCode::SUCCESS
        }
        Err(why) => fail(why),
    }
}

#[allow(clippy::print_stdout)] // A command's answer.
fn say(what: &str) {
    println!("{what}");
}

fn embedded(file: &Path) -> Result<config::Embedded, String> {
    let loaded = config::load(file, std::env::vars_os()).map_err(|error| error.to_string())?;
    loaded.config.hsm.embedded.ok_or_else(|| {
        format!("kms.hsm.protocol in {} is not EMBEDDED: an HSM's keys are backed up with its own tools", file.display())
    })
}
