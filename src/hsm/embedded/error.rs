//! Why the key file cannot be used, in an operator's words.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::format::FormatError;

/// Why the key file was not opened, saved, backed up or restored. `Display` names file and remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A system call failed.
    System {
        /// What was tried: `open`, `write`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has the file open.
    InUse {
        /// The key file.
        path: PathBuf,
        /// Its process id, when it could be read.
        holder: Option<u32>,
    },
    /// Users other than the owner may read or write the file.
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A folder, a device or a pipe.
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The bytes are no key file, or not one of ours.
    Format {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        why: FormatError,
    },
    /// The seal does not open. A wrong passphrase and damage look the same, by design.
    Seal {
        /// The key file.
        path: PathBuf,
    },
    /// No passphrase was given.
    EmptyPassphrase,
    /// A file that would be overwritten.
    Exists {
        /// It.
        path: PathBuf,
    },
    /// There is nothing to back up or restore.
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The key file has reached its greatest size, or a key its last version number.
    TooManyKeys {
        /// The key file.
        path: PathBuf,
    },
    /// The locked memory cannot take the master keys.
    NoLockedMemory,
    /// The system gave no random bytes.
    NoRandom,
    /// Argon2 refused its parameters or its memory.
    Derivation,
}

impl KeyFileError {
    /// For `map_err` on a system call about `path`.
    pub(super) fn system(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System {
            doing,
            path: path.to_owned(),
            error,
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FILE: &str = "kms.hsm.embedded.file";
        match self {
            Self::System { doing, path, error } => {
                write!(f, "{FILE}: cannot {doing} {}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::NotFound => f.write_str("; create the folder first"),
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; the file and its folder must belong to the user that runs kms")
                    }
                    io::ErrorKind::StorageFull => f.write_str("; make room on the disk"),
                    _ => Ok(()),
                }
            }
            Self::InUse { path, holder } => {
                write!(f, "{FILE}: {} is in use by ", path.display())?;
                match holder {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop that one first, or give each server a key file of its own")
            }
            Self::Exposed { path, mode } => write!(
                f,
                "{FILE}: {} has mode {mode:04o}: others than its owner can reach the master keys. Run: chmod 600 {}",
                path.display(),
                path.display(),
            ),
            Self::NotAFile { path } => write!(f, "{FILE}: {} is not a regular file", path.display()),
            Self::Format { path, why } => write!(f, "{FILE}: {}: {why}", path.display()),
            Self::Seal { path } => write!(
                f,
                "{FILE}: {} cannot be opened: wrong passphrase, or the file is damaged. Check \
                 kms.hsm.embedded.passphrase; if it is right, restore a backup with `kms keyfile restore`",
                path.display(),
            ),
            Self::EmptyPassphrase => f.write_str("kms.hsm.embedded.passphrase is empty; set one"),
            Self::Exists { path } => {
                write!(f, "{} exists and is not overwritten; name another file", path.display())
            }
            Self::Missing { path } => write!(f, "{} does not exist", path.display()),
            Self::TooManyKeys { path } => {
                write!(
                    f,
                    "{FILE}: {} is full and takes no more keys or versions: delete keys that are no longer used; a \
                     site with so many needs an HSM",
                    path.display()
                )
            }
            Self::NoLockedMemory => {
                f.write_str("the locked memory cannot take the master keys; raise RLIMIT_MEMLOCK, or keep fewer keys")
            }
            Self::NoRandom => f.write_str("the system gave no random bytes"),
            Self::Derivation => f.write_str(
                "kms.hsm.embedded.passphrase: no key could be derived: there is too little memory for Argon2id",
            ),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            Self::Format { why, .. } => Some(why),
            _ => None,
        }
    }
}
