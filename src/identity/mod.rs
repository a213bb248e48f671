//! Who a client is and what it may do: pins, client CAs, principals, roles; one immutable snapshot.
//!
//! Must never be true: a certificate accepted that is no exact pin and that no configured client CA
//! vouches for; a role decided twice. The snapshot is built from keystore and config by `node`, read by the TLS verifier and the workers.

mod build;
mod client_ca;
mod error;
mod glob;
mod operations;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::CertificateDer;

use crate::keystore::RevocationList;

pub use build::{CertificateFacts, RoleSpec};
pub use client_ca::{CaFacts, CaSpec, ClientCaError, ClientCaWarning, ClientCas, Issued};
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

/// A client certificate that is accepted: the keystore holds it, or a client CA vouches for it.
#[derive(Debug)]
pub struct Pin {
    /// Lower-cased keystore alias, of the certificate or of the client CA.
    pub alias: String,
    /// Subject, RFC 4514.
    pub subject: String,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: [u8; 32],
    /// DER of the `SubjectPublicKeyInfo`: handshake signatures are checked against this, not X.509.
    pub spki: Vec<u8>,
    /// Start of validity, seconds since 1970; with a client CA, of the last of all on the way up to it.
    pub not_before_unix_s: i64,
    /// End of validity, seconds since 1970, of the first on the way; that second still counts.
    pub not_after_unix_s: i64,
    /// What its holders may do.
    pub role: Arc<Role>,
    /// Set when a reload dropped it; read on every request of its connections.
    pub revoked: AtomicBool,
    /// How a client CA vouches for it; `None`: the keystore holds it.
    pub issued: Option<Issued>,
}

impl Pin {
    /// When it ends.
    pub fn expiry(&self) -> Expiry {
        Expiry::of_certificate(&self.alias, "client", self.not_after_unix_s)
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

/// A certificate that the node lives by, or a list of revoked certificates, and when it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expiry {
    /// Lower-cased keystore alias; of a list, its CA's.
    pub alias: String,
    /// `server`, `hsm-client`, `hsm-ca`, `client`, `client-ca`, or for a list `client-crl`.
    pub usage: &'static str,
    /// End of validity, seconds since 1970.
    pub not_after_unix_s: i64,
    /// How long before that it is time to replace it.
    pub early_s: i64,
}

impl Expiry {
    /// Certificates are replaced by hand and in time.
    const CERTIFICATE_EARLY_S: i64 = 30 * 86_400;
    /// The last quarter of a list's life: most CAs make a new one long before.
    const LIST_EARLY: i64 = 4;

    /// Of a certificate.
    pub fn of_certificate(alias: &str, usage: &'static str, not_after_unix_s: i64) -> Self {
        Self {
            alias: alias.to_owned(),
            usage,
            not_after_unix_s,
            early_s: Self::CERTIFICATE_EARLY_S,
        }
    }

    /// Of a list of revoked certificates.
    pub fn of_list(alias: &str, list: &RevocationList) -> Self {
        let life_s = list
            .next_update_unix_s
            .saturating_sub(list.this_update_unix_s);
        Self {
            alias: alias.to_owned(),
            usage: "client-crl",
            not_after_unix_s: list.next_update_unix_s,
            early_s: life_s / Self::LIST_EARLY,
        }
    }

    /// Whether it is no certificate, but a list of revoked ones.
    pub fn is_list(&self) -> bool {
        self.usage == "client-crl"
    }

    /// Whether it is time to replace it.
    pub fn is_due(&self, now_unix_s: i64) -> bool {
        self.not_after_unix_s.saturating_sub(now_unix_s) < self.early_s
    }
}

/// All pins, by SHA-256 of the certificate's DER, and the client CAs.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The pins.
    pub pins: HashMap<[u8; 32], Arc<Pin>>,
    /// Who vouches for further certificates.
    pub client_cas: ClientCas,
    /// Counts reloads, so that a worker sees that it has to sweep its connections.
    pub generation: u64,
}

/// Why a certificate is no principal.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stranger {
    /// No pin, and no client CA issued it.
    Unknown,
    /// Past its end of validity, or a CA above it is.
    Expired,
    /// Before its start of validity, or a CA above it is.
    NotYetValid,
    /// A reload dropped its pin, or its CA has revoked it, or a CA above it.
    Revoked,
    /// A client CA issued it, but not for a client.
    Purpose,
    /// A client CA issued it, and the way there does not hold; why.
    Path(&'static str),
    /// A client CA issued it, and the CA's list of revoked certificates is out of date.
    StaleList,
    /// A client CA issued it, and there is no list of revoked certificates, of it or of a CA above it, that is signed
    /// as it must be.
    NoList,
    /// A client CA issued it, but no role takes it; its names.
    NoRole(Box<str>),
    /// A client CA issued it, and two roles take it; which.
    TwoRoles(Box<str>),
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "neither pinned for a role nor issued by a client CA",
            Self::Expired => "it has expired, or a CA above it has",
            Self::NotYetValid => "it is not valid yet, or a CA above it is not",
            Self::Revoked => "it was removed from the keystore, or revoked",
            Self::Purpose => {
                "it is not meant for a client: CA:TRUE, an extended key usage without clientAuth, or a key usage \
                 without digitalSignature"
            }
            Self::Path(why) => why,
            Self::StaleList => {
                "the list of revoked certificates of the CA that issued it, or of one above, is out of date"
            }
            Self::NoList => {
                "kms.role.NAME.ca.crl.file has no list of revoked certificates that the CA that issued it, or one \
                 above, has signed"
            }
            Self::NoRole(names) => return write!(f, "no role takes its names: {names}"),
            Self::TwoRoles(which) => return write!(f, "its role is undecided: roles {which}"),
        })
    }
}

impl std::error::Error for Stranger {}

impl Snapshot {
    /// The pin of this certificate whatever its standing.
    pub fn pin(&self, leaf_der: &[u8]) -> Option<&Arc<Pin>> {
        self.pins.get(&fingerprint(leaf_der))
    }

    /// The principal that shows `leaf`, with `above` behind it: its pin, if it is valid at `now_unix_s` and not
    /// revoked; without a pin, what a client CA says. On resumption rustls asks no verifier: ask this again.
    pub fn identify(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now_unix_s: i64,
    ) -> Result<Arc<Pin>, Stranger> {
        match self.pin(leaf) {
            Some(pin) => pin.standing(now_unix_s).map(|()| Arc::clone(pin)),
            None => self.client_cas.identify(leaf, above, now_unix_s),
        }
    }

    /// This snapshot's principal for the holder of an older snapshot's: a worker that sweeps its
    /// connections after a reload puts it in the old one's place, so that a changed role counts.
    pub fn renew(&self, old: &Pin, now_unix_s: i64) -> Result<Arc<Pin>, Stranger> {
        let pin = self.successor(old)?;
        pin.standing(now_unix_s).map(|()| pin)
    }

    fn successor(&self, old: &Pin) -> Result<Arc<Pin>, Stranger> {
        match self.pins.get(&old.fingerprint) {
            Some(pin) => Ok(Arc::clone(pin)),
            None => self.client_cas.successor(old),
        }
    }

    /// Marks every pin of `old` that `new` lacks as revoked, and what client CAs vouched for lately and no longer do;
    /// gives their number. Call it before `new` is published: connections hold the pins of `old`. Those that a client
    /// CA vouched for long ago are found by [`Snapshot::renew`].
    pub fn revoke_missing(old: &Self, new: &Self) -> usize {
        let issued = old.client_cas.recent();
        let all = old.pins.values().chain(&issued);
        all.filter(|pin| new.successor(pin).is_err())
            .map(|pin| pin.revoked.store(true, Ordering::Release))
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
