//! Why a node does not start: each names what to change.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::audit::AuditError;
use crate::identity::IdentityError;
use crate::keystore::{KeystoreError, RevocationError};
use crate::secret::ArenaError;

/// One reason, with the key or file that it is about.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Memory could not be locked.
    Arena(ArenaError),
    /// A file could not be read.
    Read {
        /// Which configuration key names it.
        key: Cow<'static, str>,
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A keystore could not be opened.
    Keystore {
        /// The file.
        file: PathBuf,
        /// Why.
        error: KeystoreError,
    },
    /// An alias that a key names is not in the keystore.
    Alias {
        /// The configuration key.
        key: Cow<'static, str>,
        /// The alias it names.
        alias: String,
        /// What the keystore holds instead, as a whole sentence.
        hint: String,
    },
    /// A file of lists of revoked certificates that is refused.
    Revocation {
        /// Which configuration key names it.
        key: String,
        /// The file.
        file: PathBuf,
        /// Why.
        error: RevocationError,
    },
    /// A certificate that cannot be read.
    Certificate {
        /// Its alias.
        alias: String,
        /// Why.
        why: String,
    },
    /// The server certificate cannot be served.
    ServerCertificate(String),
    /// Roles and pins contradict each other.
    Identity(IdentityError),
    /// The back end could not be set up.
    Backend(String),
    /// The shared cache could not be set up.
    SharedCache(String),
    /// A listener could not be opened.
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The control socket could not be bound.
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The audit log cannot be written.
    Audit(AuditError),
    /// Threads or event loops could not be made.
    Threads(io::Error),
    /// The kernel gives no random numbers.
    Random,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arena(error) => write!(f, "{error}"),
            Self::Read { key, file, error } => {
                write!(f, "{key}: {} cannot be read: {error}", file.display())
            }
            Self::Keystore { file, error } => write!(f, "keystore {}: {error}", file.display()),
            Self::Revocation { key, file, error } => {
                write!(f, "{key}: {}: {error}", file.display())
            }
            Self::Alias { key, alias, hint } => {
                write!(f, "{key}: the keystore has no '{alias}'; {hint}")
            }
            Self::Certificate { alias, why } => write!(f, "certificate '{alias}': {why}"),
            Self::ServerCertificate(why) => write!(f, "server certificate: {why}"),
            Self::Identity(error) => write!(f, "{error}"),
            Self::Backend(why) | Self::SharedCache(why) => f.write_str(why),
            Self::Audit(error) => write!(f, "{error}"),
            Self::Control { path, error } => write!(
                f,
                "kms.control.socket: {} cannot be bound: {error}; its folder must be there and this user's",
                path.display()
            ),
            Self::Listen {
                key,
                address,
                error,
            } => write!(
                f,
                "{key}: {address} cannot be listened on: {error}; is another server running there?"
            ),
            Self::Threads(error) => write!(f, "threads could not be started: {error}"),
            Self::Random => f.write_str("the kernel gives no random numbers"),
        }
    }
}

impl std::error::Error for StartError {}
