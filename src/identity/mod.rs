//! Who a client is and what it may do: pins, principals, roles; one immutable snapshot.
//!
//! Must never be true: a certificate accepted that is no exact pin; a role decided twice. The
//! snapshot is built from keystore and config by `node`, read by the TLS verifier and the workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What a role may be allowed to do: one bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
#[non_exhaustive]
pub enum Operation {
    Encrypt,
    Decrypt,
    Datakey,
    Rewrap,
    Read,
    List,
    Create,
    Rotate,
    Configure,
    Delete,
}

/// A set of [`Operation`]s.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Operations(u16);

/// What the holders of some aliases may do on which keys.
#[derive(Debug)]
pub struct Role {
    pub name: String,
    pub operations: Operations,
    pub keys: Vec<String>,
}

impl Role {
    /// Whether this role may do `operation` on the key `key_name`.
    pub fn allows(&self, _operation: Operation, _key_name: &str) -> bool {
        todo!()
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
    /// DER of the SubjectPublicKeyInfo: handshake signatures are checked against this, not X.509.
    pub spki: Vec<u8>,
    /// Validity, seconds since 1970.
    pub not_before_unix_s: i64,
    pub not_after_unix_s: i64,
    pub role: Arc<Role>,
    /// Set when a reload dropped the pin; read on every request of its connections.
    pub revoked: AtomicBool,
}

/// All pins, by SHA-256 of the certificate's DER.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub pins: HashMap<[u8; 32], Arc<Pin>>,
    pub generation: u64,
}

/// Why a certificate is no principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stranger {
    Unknown,
    Expired,
    NotYetValid,
    Revoked,
}

impl Snapshot {
    /// The pin of this certificate, if it is pinned, valid at `now_unix_s` and not revoked.
    pub fn identify(&self, _leaf_der: &[u8], _now_unix_s: i64) -> Result<Arc<Pin>, Stranger> {
        todo!()
    }
}
