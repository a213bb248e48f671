//! Passwords of keystores: from a file, the environment, the configuration, or asked for without showing them.
//!
//! Must never be true: a password as an argument; one on the screen.

mod terminal;

use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::secret::SecretString;
use terminal::Terminal;

const ENVIRONMENT: &str = "KMS_KEYSTORE_PASSWORD";
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct PasswordArguments {
    /// Read the keystore's password from the first line of this file; else from the environment's
    /// `KMS_KEYSTORE_PASSWORD`, else it is asked for.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArguments {
    /// The password of something that exists.
    pub(super) fn known(&self, what: &str) -> Result<SecretString, String> {
        match self.given()? {
            Some(password) => Ok(password),
            None => prompt(&format!("Password of {what}: ")),
        }
    }

    /// The password of something that is being made; asked for twice.
    pub(super) fn fresh(&self, what: &str) -> Result<SecretString, String> {
        let password = if let Some(password) = self.given()? {
            password
        } else {
            // Silent from the first question to the last answer.
            let mut terminal = terminal()?;
            let first = terminal.ask(&format!("New password of {what}: "))?;
            let again = terminal.ask("Again: ")?;
            if first.expose() != again.expose() {
                return Err("the two passwords differ".to_owned());
            }
            first
        };
        long_enough(password)
    }

    fn given(&self) -> Result<Option<SecretString>, String> {
        if let Some(file) = &self.password_file {
            return first_line(file).map(Some);
        }
        match std::env::var(ENVIRONMENT) {
            Ok(password) => Ok(Some(SecretString::new(password))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(_) => Err(format!("{ENVIRONMENT} is not UTF-8")),
        }
    }
}

fn long_enough(password: SecretString) -> Result<SecretString, String> {
    if password.expose().len() < 6 {
        return Err("keytool wants at least 6 characters in a password".to_owned());
    }
    Ok(password)
}

/// The first line of a file, for something that is being made.
pub(super) fn new_password(file: &Path) -> Result<SecretString, String> {
    long_enough(first_line(file)?)
}

/// The first line of a file.
pub(super) fn first_line(file: &Path) -> Result<SecretString, String> {
    let failed = |error: std::io::Error| {
        format!(
            "the password file {} cannot be read: {error}",
            file.display()
        )
    };
    if fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(format!("{} is no password file: too large", file.display()));
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(failed)?);
    let line = text.lines().next().unwrap_or_default();
    Ok(SecretString::new(line.to_owned()))
}

/// Asks on the terminal.
pub(super) fn prompt(question: &str) -> Result<SecretString, String> {
    terminal()?.ask(question)
}

fn terminal() -> Result<Terminal, String> {
    Terminal::silence()?.ok_or_else(|| {
        format!("no password: name a file with --password-file, or set {ENVIRONMENT}; there is no terminal to ask on")
    })
}
