//! The file of the embedded back end: master keys sealed under a passphrase.
//!
//! Layout, integers big-endian: magic, format version, Argon2id cost, salt, checksum of these, proof of
//! the passphrase; then the directory (names, versions, sealed keys), closed by one tag over all that
//! precedes. Every master key is sealed by itself, so that reading and writing the file never holds
//! more than one key, and that one in the arena.
//!
//! Must never be true: a change answered before it is on the disk; a key of the file outside the arena
//! once opened; a file half written under its own name. Called by [`super::embedded`] and the CLI.

use std::fmt;
use std::path::PathBuf;

mod codec;
mod disk;
#[cfg(test)]
mod tests;

pub use codec::{StoredKey, StoredVersion, directory, read_directory};
pub(super) use disk::with_key;
pub use disk::{Keyfile, backup, restore};

/// What deriving a key from the passphrase costs; written in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// What new files use.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// For tests only: the least that Argon2 allows.
    pub const LEAST: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// A file that asks for more than this was not written by us.
    fn is_sane(self) -> bool {
        self.memory_kib <= 1024 * 1024 && (1..=64).contains(&self.passes) && (1..=16).contains(&self.lanes)
    }
}

/// Why a key file cannot be used. `Display` names the file and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyfileError {
    /// The disk said no.
    Io {
        /// What was tried, as `read`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// It does not begin as a key file does.
    NotAKeyfile(PathBuf),
    /// A later version of this program wrote it.
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The header is whole, and the passphrase does not open it.
    WrongPassphrase(PathBuf),
    /// Bytes were changed or lost; what is wrong.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// Another process uses it.
    InUse(PathBuf),
    /// It would be overwritten.
    Exists(PathBuf),
    /// The arena is full.
    NoLockedMemory,
    /// The system's random numbers or Argon2 failed.
    Crypto(&'static str),
}

impl fmt::Display for KeyfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, error } => {
                write!(f, "key file {}: cannot {action}: {error}", path.display())
            }
            Self::NotAKeyfile(path) => write!(f, "{} is no key file of this program", path.display()),
            Self::Version { path, version } => write!(
                f,
                "key file {}: format {version} is newer than this program: use the program that wrote it",
                path.display()
            ),
            Self::WrongPassphrase(path) => write!(
                f,
                "key file {}: the passphrase is wrong (kms.hsm.embedded.passphrase)",
                path.display()
            ),
            Self::Damaged { path, what } => write!(
                f,
                "key file {} is damaged: {what}; restore a backup (kms keyfile restore)",
                path.display()
            ),
            Self::InUse(path) => {
                write!(f, "key file {} is in use by another process", path.display())
            }
            Self::Exists(path) => write!(
                f,
                "{} exists and would be overwritten: use --force to do so",
                path.display()
            ),
            Self::NoLockedMemory => f.write_str("no locked memory left for the master keys"),
            Self::Crypto(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for KeyfileError {}
