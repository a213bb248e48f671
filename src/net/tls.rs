//! rustls configurations: the service side pins clients, the HSM side trusts the HSM's CA.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ServerConfig};

use crate::identity::Snapshot;

/// A private key and its chain, leaf first.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// How the HSM's certificate is judged.
pub struct HsmTrust {
    /// Certificate authorities that may vouch for the HSM (any of them).
    pub authorities: Vec<CertificateDer<'static>>,
    /// Name expected instead of the URL's host.
    pub server_name: Option<ServerName<'static>>,
    /// Exact SHA-256 of the leaf's DER: then neither chain nor name is asked.
    pub fingerprint: Option<[u8; 32]>,
}

/// Why a configuration cannot be made; `Display` names what and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The private key does not belong to the leaf certificate.
    KeyMismatch,
    /// rustls refused it.
    Rustls(rustls::Error),
}

/// The service side: TLS 1.3 and 1.2, client certificate required and pinned in `pins`.
/// A new config has a new session store, so tickets of an old one are dead.
pub fn service_config(
    _identity: &Identity,
    _pins: Arc<ArcSwap<Snapshot>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    todo!()
}

/// The HSM side.
pub fn hsm_config(
    _trust: &HsmTrust,
    _identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    todo!()
}
