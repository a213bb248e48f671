//! `kms cert`: keys, signing requests and certificates without openssl, in the guide's words.
//!
//! Exit codes: 0 well, 1 something needs attention, 2 not done. Must never be true: a private key written where
//! others may read it, or over another.
#![allow(clippy::print_stdout)]

mod handover;
mod request;
mod show;
mod trial;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::fail;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a private authority and every certificate of an installation, for a trial.
    New(trial::New),
    /// Make a private key and a signing request for an authority.
    Csr(request::Csr),
    /// Put a signed certificate with its private key and chain into a keystore.
    Import(super::keystore::Import),
    /// Show certificates of PEM or DER files.
    Show(show::Show),
    /// Judge a certificate: order of the chain, key, dates, names, and who vouches for it.
    Verify(show::Verify),
    /// Pack what the service provider wants: the back end's certificate as PKCS12, and what to send beside it.
    Handover(handover::Handover),
}

pub(super) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::New(arguments) => trial::run(arguments),
        Command::Csr(arguments) => request::run(arguments),
        Command::Import(arguments) => super::keystore::import(arguments),
        Command::Show(arguments) => show::show(arguments),
        Command::Verify(arguments) => show::verify(arguments),
        Command::Handover(arguments) => handover::run(arguments),
    };
    done.unwrap_or_else(fail)
}

/// Writes a file that must not be there yet; `is_secret`: for this user alone.
fn create(path: &Path, bytes: &[u8], is_secret: bool) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mode = if is_secret { 0o600 } else { 0o644 };
    let made = options.write(true).create_new(true).mode(mode).open(path);
    let written = made.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!(
                "{} exists: move it away, or choose another name",
                path.display()
            )
        }
        _ => format!("{} cannot be written: {error}", path.display()),
    })
}
