//! `kms audit verify`: whether an audit log is whole.
//!
//! Exit codes: 0 whole, 1 whole as far as it goes, 2 changed, or not readable.
#![allow(clippy::print_stdout)]

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::fail;
use crate::audit::verify::{Anchor, Verdict, Verifier, anchors};
use crate::audit::{AuditError, AuditKey};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every chain of an audit log from its first line on.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The log; rotated files in the order in which they were written, compressed ones as <(zcat FILE).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The key of the chains (kms.audit.key.file).
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// A line that must be there, as the server's own log tells it: CHAIN:NUMBER:MAC.
    #[arg(long = "anchor", value_name = "ANCHOR")]
    anchors: Vec<Anchor>,
    /// The server's own log: all anchors in it must be there. Several times for several files.
    #[arg(long = "log", value_name = "FILE")]
    logs: Vec<PathBuf>,
    /// The files before the first are elsewhere: chains may begin in their middle, with a warning.
    #[arg(long)]
    continued: bool,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Verify(wants) = command;
    match verify(wants) {
        Ok(verdict) => tell(&verdict, wants.json),
        Err(why) => fail(why),
    }
}

fn verify(wants: &Verify) -> Result<Verdict, String> {
    let key = open_key(&wants.key_file)?;
    let mut known = wants.anchors.clone();
    for file in &wants.logs {
        let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        known.extend(anchors(&String::from_utf8_lossy(&text)));
    }
    let mut verifier = Verifier::new(&key, known);
    if wants.continued {
        verifier = verifier.continued();
    }
    for file in &wants.files {
        let failed = |error: io::Error| format!("{}: {error}", file.display());
        let opened = File::open(file).map_err(failed)?;
        let name = file.display().to_string();
        verifier
            .read(&name, BufReader::new(opened))
            .map_err(failed)?;
    }
    Ok(verifier.finish())
}

/// What a server says of a key that it cannot use does not help who verifies.
fn open_key(file: &Path) -> Result<AuditKey, String> {
    AuditKey::open(file).map_err(|error| match error {
        AuditError::File { error, .. } if error.kind() != io::ErrorKind::InvalidData => {
            format!("--key-file: {} cannot be read: {error}", file.display())
        }
        _ => format!(
            "--key-file: {} is no key of an audit log, which has 64 hexadecimal digits: name the file of \
             kms.audit.key.file, or its copy",
            file.display()
        ),
    })
}

fn tell(verdict: &Verdict, json: bool) -> ExitCode {
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(verdict).unwrap_or_default()
        );
    } else {
        for warning in &verdict.warnings {
            println!("warning: {warning}");
        }
        let untold = |count: u64, told: usize, what: &str| {
            let more = count - told as u64;
            if more > 0 {
                println!("{what}: and {more} more");
            }
        };
        untold(verdict.warning_count, verdict.warnings.len(), "warning");
        for error in &verdict.errors {
            println!("error: {error}");
        }
        untold(verdict.error_count, verdict.errors.len(), "error");
        println!(
            "lines {}, chains {}, errors {}, warnings {}",
            verdict.lines, verdict.chains, verdict.error_count, verdict.warning_count
        );
    }
    ExitCode::from(
        match (verdict.errors.is_empty(), verdict.warnings.is_empty()) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        },
    )
}
