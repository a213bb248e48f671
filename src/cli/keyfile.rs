//! `kms keyfile`: back up and restore the key file of the embedded back end.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::hsm::keyfile;
use crate::node;
use crate::secret::Arena;

use super::fail;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Copy the key file, after proving that the passphrase opens it. The server may be running.
    Backup {
        /// The properties file that names key file and passphrase.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where the copy goes; must not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a copy in place, after proving that the passphrase opens it. The server must be stopped.
    Restore {
        /// The properties file that names key file and passphrase.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The copy.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Replace an existing key file.
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match act(&arguments.action) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(why),
    }
}

fn act(action: &Action) -> Result<String, String> {
    let (Action::Backup { config, .. } | Action::Restore { config, .. }) = action;
    let loaded = config::load(config, std::env::vars_os()).map_err(|error| error.to_string())?;
    let settings = loaded.config.hsm.embedded.as_ref().ok_or_else(|| {
        format!(
            "{}: kms.hsm.protocol is not EMBEDDED, so there is no key file",
            config.display()
        )
    })?;
    let plan = node::plan_for_this_machine(&loaded.config);
    let arena = Arena::reserve(&plan.arena).map_err(|error| error.to_string())?;
    let (file, passphrase) = (&settings.file, &settings.passphrase);
    match action {
        Action::Backup { to, .. } => keyfile::backup(file, passphrase, arena, to).map(|keys| {
            format!(
                "{} keys backed up from {} to {}",
                keys,
                file.display(),
                to.display()
            )
        }),
        Action::Restore { from, force, .. } => {
            keyfile::restore(from, passphrase, arena, file, *force).map(|keys| {
                format!(
                    "{} keys restored from {} to {}",
                    keys,
                    from.display(),
                    file.display()
                )
            })
        }
    }
    .map_err(|error| error.to_string())
}
