//! `kms keystore`: what is in a keystore, and changes of it without keytool.
//!
//! Exit codes: 0 done, 1 done and something needs attention, 2 not done. Must never be true: a keystore that is
//! changed in part; a format other than PKCS#12 written.
#![allow(clippy::print_stdout)]

mod change;
mod diff;
mod list;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::fail;
use super::password::PasswordArguments;
use crate::config::{self, Config};
use crate::keystore::{self, Keystore, KeystoreError, WriteLock};
use crate::limits::KEYSTORE_BYTES_MAX;
use crate::secret::SecretString;

pub(super) use change::{Import, import};
pub(super) use list::{WARN_DAYS, date_warning, describe, lines};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a keystore holds: kind, subject, names, expiry, fingerprint, and what each entry is for.
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON for machines.
        #[arg(long)]
        json: bool,
    },
    /// Make an empty PKCS12 keystore.
    Init {
        /// The new file.
        keystore: PathBuf,
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// Put a certificate, or a private key with its chain, into a keystore.
    Import(change::Import),
    /// Take an entry out.
    Remove {
        /// The entry's name; letter case does not count.
        #[arg(long)]
        alias: String,
        #[command(flatten)]
        place: Place,
    },
    /// Write a JKS, JCEKS or older PKCS12 keystore as a modern PKCS12 one.
    Convert {
        #[command(flatten)]
        place: Place,
        /// The new file; must not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Password of the new file, in this one's first line; if left out, that of the old one.
        #[arg(long, value_name = "FILE")]
        to_password_file: Option<PathBuf>,
    },
    /// Tell how two keystores differ; exit code 1 if they do.
    Diff {
        /// One.
        first: PathBuf,
        /// The other, by default with the same password.
        second: PathBuf,
        #[command(flatten)]
        password: PasswordArguments,
        /// Read the second one's password from this file.
        #[arg(long, value_name = "FILE")]
        second_password_file: Option<PathBuf>,
        /// Print JSON for machines.
        #[arg(long)]
        json: bool,
    },
}

/// Which keystore, and what opens it.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The keystore: JKS, JCEKS or PKCS12; that of --config if left out.
    keystore: Option<PathBuf>,
    /// A properties file: its keystore and password are used, and its roles told.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Password of private keys that have their own (JKS, JCEKS), in this file's first line.
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordArguments,
}

/// A keystore that was opened.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) store: Keystore,
    pub(super) password: SecretString,
    pub(super) config: Option<Config>,
}

pub(super) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::List { place, json } => list::run(place, *json),
        Command::Init { keystore, password } => change::init(keystore, password),
        Command::Import(arguments) => change::import(arguments),
        Command::Remove { alias, place } => change::remove(alias, place),
        Command::Convert {
            place,
            to,
            to_password_file,
        } => change::convert(place, to, to_password_file.as_deref()),
        Command::Diff {
            first,
            second,
            password,
            second_password_file,
            json,
        } => diff::run(
            first,
            second,
            password,
            second_password_file.as_deref(),
            *json,
        ),
    };
    done.unwrap_or_else(fail)
}

/// Which keystore it is, before it is read.
struct Found {
    path: PathBuf,
    password: SecretString,
    key_password: Option<SecretString>,
    config: Option<Config>,
}

impl Place {
    pub(super) fn open(&self) -> Result<Opened, String> {
        self.find()?.open()
    }

    /// Opens it and keeps others from changing it, so that none of their changes is lost in this one.
    fn open_to_change(&self) -> Result<(Opened, WriteLock), String> {
        // Nobody waits while a password is asked for.
        let found = self.find()?;
        let lock = lock(&found.path)?;
        Ok((found.open()?, lock))
    }

    fn find(&self) -> Result<Found, String> {
        let config = match &self.config {
            Some(file) => Some(
                config::load(file, std::env::vars_os())
                    .map_err(|error| error.to_string())?
                    .config,
            ),
            None => None,
        };
        let path = match (&self.keystore, &config) {
            (Some(path), _) => path.clone(),
            (None, Some(config)) => config.keystore.file.clone(),
            (None, None) => return Err("name a keystore, or --config FILE".to_owned()),
        };
        if !path.exists() {
            return Err(format!(
                "{0} is not there: name another, or make it with: kms keystore init {0}",
                path.display()
            ));
        }
        let own = config.as_ref().map(|config| &config.keystore);
        let own = own.filter(|own| is_same(&own.file, &path));
        let password = match own {
            Some(own) => own.password.clone(),
            None => self.password.known(&path.display().to_string())?,
        };
        let key_password = match &self.key_password_file {
            Some(file) => Some(super::password::first_line(file)?),
            None => own.and_then(|own| own.key_password.clone()),
        };
        Ok(Found {
            path,
            password,
            key_password,
            config,
        })
    }
}

impl Found {
    fn open(self) -> Result<Opened, String> {
        let store = open(&self.path, &self.password, self.key_password.as_ref())?;
        Ok(Opened {
            path: self.path,
            store,
            password: self.password,
            config: self.config,
        })
    }
}

fn lock(path: &Path) -> Result<WriteLock, String> {
    WriteLock::take(path).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

pub(super) fn open(
    path: &Path,
    password: &SecretString,
    key_password: Option<&SecretString>,
) -> Result<Keystore, String> {
    let bytes = read(path)?;
    keystore::open(&bytes, password, key_password).map_err(|error| {
        let shown = path.display();
        match error {
            // Elsewhere the remedy is to try it with this very command.
            KeystoreError::WrongPasswordOrDamaged => format!(
                "{shown}: the store password is wrong, or the file is damaged (its checksum cannot tell which): \
                 give the right password, or copy the file again from its source"
            ),
            error => format!("{shown}: {error}"),
        }
    })
}

/// A file of bounded size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > KEYSTORE_BYTES_MAX as u64 {
        return Err(format!(
            "{}: {len} bytes; at most {KEYSTORE_BYTES_MAX} are read",
            path.display()
        ));
    }
    std::fs::read(path).map_err(failed)
}
