//! Who a client is and what it may do: pins, principals, roles; one immutable snapshot.
//!
//! Must never be true: a certificate accepted that is no exact pin; a role decided twice. The
//! snapshot is built from keystore and config by `node`, read by the TLS verifier and the workers.

mod build;
mod error;
mod glob;
mod operations;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use build::{CertificateFacts, RoleSpec};
pub use error::{BuildWarning, IdentityError};
pub use glob::matches as glob_matches;
pub use operations::{Operation, Operations, OperationsError};

/// What the holders of some aliases may do on which keys.
#[derive(Debug)]
pub struct Role {
    /// As in `kms.role.NAME`.
    pub name: String,
    /// What it may do.
    pub operations: Operations,
    /// Globs over key names; `*` stands for any run of characters.
    pub keys: Vec<String>,
}

impl Role {
    /// Whether this role may do `operation` on the key `key_name`.
    pub fn allows(&self, operation: Operation, key_name: &str) -> bool {
        self.operations.contains(operation)
            && self.keys.iter().any(|key| glob::matches(key, key_name))
    }
}

/// A pinned client certificate.
#[derive(Debug)]
pub struct Pin {
    /// Lower-cased keystore alias.
    pub alias: String,
    /// Subject, RFC 4514.
    pub subject: String,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: [u8; 32],
    /// DER of the `SubjectPublicKeyInfo`: handshake signatures are checked against this, not X.509.
    pub spki: Vec<u8>,
    /// Start of validity, seconds since 1970.
    pub not_before_unix_s: i64,
    /// End of validity, seconds since 1970; that second still counts.
    pub not_after_unix_s: i64,
    /// What its holders may do.
    pub role: Arc<Role>,
    /// Set when a reload dropped the pin; read on every request of its connections.
    pub revoked: AtomicBool,
}

impl Pin {
    /// When it ends.
    pub fn expiry(&self) -> Expiry {
        Expiry {
            alias: self.alias.clone(),
            usage: "client",
            not_after_unix_s: self.not_after_unix_s,
        }
    }

    /// Whether the pin is good at `now_unix_s`: not revoked, within its dates. Cheap enough for
    /// every request.
    pub fn standing(&self, now_unix_s: i64) -> Result<(), Stranger> {
        if self.revoked.load(Ordering::Acquire) {
            Err(Stranger::Revoked)
        } else if now_unix_s > self.not_after_unix_s {
            Err(Stranger::Expired)
        } else if now_unix_s < self.not_before_unix_s {
            Err(Stranger::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// A certificate that the node lives by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expiry {
    /// Lower-cased keystore alias.
    pub alias: String,
    /// `server`, `hsm-client`, `hsm-ca` or `client`.
    pub usage: &'static str,
    /// End of validity, seconds since 1970.
    pub not_after_unix_s: i64,
}

/// All pins, by SHA-256 of the certificate's DER.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The pins.
    pub pins: HashMap<[u8; 32], Arc<Pin>>,
    /// Counts reloads, so that a worker sees that it has to sweep its connections.
    pub generation: u64,
}

/// Why a certificate is no principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stranger {
    /// No pin.
    Unknown,
    /// A pin, past its end of validity.
    Expired,
    /// A pin, before its start of validity.
    NotYetValid,
    /// A pin that a reload dropped.
    Revoked,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not a pinned certificate of any role",
            Self::Expired => "the pinned certificate has expired",
            Self::NotYetValid => "the pinned certificate is not valid yet",
            Self::Revoked => "the pinned certificate was removed from the keystore",
        })
    }
}

impl Snapshot {
    /// The pin of this certificate whatever its standing.
    pub fn pin(&self, leaf_der: &[u8]) -> Option<&Arc<Pin>> {
        self.pins.get(&fingerprint(leaf_der))
    }

    /// The pin of this certificate, if it is pinned, valid at `now_unix_s` and not revoked.
    pub fn identify(&self, leaf_der: &[u8], now_unix_s: i64) -> Result<Arc<Pin>, Stranger> {
        let pin = self.pin(leaf_der).ok_or(Stranger::Unknown)?;
        pin.standing(now_unix_s).map(|()| Arc::clone(pin))
    }

    /// This snapshot's pin for the holder of an older snapshot's pin: a worker that sweeps its
    /// connections after a reload puts it in the old one's place, so that a changed role counts.
    pub fn renew(&self, old: &Pin, now_unix_s: i64) -> Result<Arc<Pin>, Stranger> {
        let pin = self.pins.get(&old.fingerprint).ok_or(Stranger::Revoked)?;
        pin.standing(now_unix_s).map(|()| Arc::clone(pin))
    }

    /// Marks every pin of `old` that `new` lacks as revoked and gives their number. Call it before
    /// `new` is published: connections hold the pins of `old`.
    pub fn revoke_missing(old: &Self, new: &Self) -> usize {
        let gone = old
            .pins
            .iter()
            .filter(|(print, _)| !new.pins.contains_key(*print));
        gone.map(|(_, pin)| pin.revoked.store(true, Ordering::Release))
            .count()
    }
}

/// SHA-256 of a certificate's DER.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// A fingerprint as `openssl x509 -fingerprint -sha256` prints it: `AB:01:...`.
pub fn fingerprint_text(fingerprint: &[u8; 32]) -> String {
    let pairs: Vec<String> = fingerprint
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    pairs.join(":")
}
