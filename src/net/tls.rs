//! rustls configurations: the service side knows its clients, the HSM side trusts the HSM's CA.
//!
//! Must never be true: a client accepted through a CA that is not configured for clients; a session resumed across a reload; early
//! data; a key exchange without forward secrecy (rustls has none). `node` makes the configurations,
//! `server` and `hsm` use them. After every handshake, resumed ones too, the server must ask
//! [`Snapshot::identify`]: rustls asks no verifier when it resumes.

mod explain;
mod hsm;
mod pins;
mod refusal;
mod signature;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, NamedGroup, ServerConfig};

use crate::identity::Snapshot;

pub use explain::{Peer, explain};
pub use hsm::FingerprintMismatch;
pub use refusal::{refusal, refusal_of};

/// Sessions kept for resumption. They hold the client's certificate and what it sent behind it, so some KiB each.
const SESSIONS_MAX: usize = 4096;

/// A private key and its chain, leaf first.
pub struct Identity {
    /// The leaf, then what vouches for it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
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
    /// The chain is empty.
    NoCertificate,
    /// The leaf is no X.509 certificate.
    Leaf,
    /// No kind of private key that TLS can use.
    Key(rustls::Error),
    /// Neither an authority nor a fingerprint to judge the HSM by.
    NoAuthority,
    /// This one of [`HsmTrust::authorities`] (from 0) cannot be a trust anchor.
    Authority(usize, rustls::Error),
    /// Neither a DNS name nor an address.
    ServerName(String),
    /// rustls refused it.
    Rustls(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMismatch => f.write_str(
                "the private key does not belong to the certificate: import the key again together \
                 with the certificate that was issued for it",
            ),
            Self::NoCertificate => {
                f.write_str("the private key has no certificate: import its chain")
            }
            Self::Leaf => {
                f.write_str("the certificate of the private key is no readable X.509 certificate")
            }
            Self::Key(error) => {
                write!(
                    f,
                    "the private key cannot be used ({error}): use RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519"
                )
            }
            Self::NoAuthority => f.write_str(
                "nothing to judge the HSM's certificate by: name its CA's keystore alias in \
                 kms.hsm.ca.alias, or its exact SHA-256 in kms.hsm.fingerprint",
            ),
            Self::Authority(index, error) => {
                let number = index + 1;
                write!(
                    f,
                    "certificate {number} of kms.hsm.ca.alias cannot be an authority: {error}"
                )
            }
            Self::ServerName(name) => {
                write!(
                    f,
                    "`{name}` is neither a DNS name nor an IP address: correct kms.hsm.server.url or kms.hsm.server.name"
                )
            }
            Self::Rustls(error) => write!(f, "TLS cannot be configured: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

/// The service side: TLS 1.3 and 1.2, client certificate required and known to `pins`.
/// A new config has a new session store, so tickets of an old one are dead.
///
/// Refusals as the client sees them: no certificate `certificate_required` (116), a stranger
/// `unknown_ca` (48), an expired or not yet valid certificate of ours `certificate_expired` (45; TLS has
/// no other alert for "not yet"), a revoked one `certificate_revoked` (44), a certificate shown without
/// its key `decrypt_error` (51), a client that offers ALPN without `http/1.1`
/// `no_application_protocol` (120). Of a client CA: not meant for clients `unsupported_certificate`
/// (43), a list of revoked certificates that is missing or out of date `unknown_ca`, names that no
/// role takes, or two, and a way to the CA that does not hold `certificate_unknown` (46). Clients
/// without ALPN are served.
pub fn service_config(
    identity: &Identity,
    pins: Arc<ArcSwap<Snapshot>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let shown = Arc::new(SingleCertAndKey::from(certified_key(identity, &provider)?));
    let verifier = Arc::new(pins::KnownClients::new(
        pins,
        provider.signature_verification_algorithms,
    ));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Kept here and used once, rather than sealed in tickets: no ticket key to lose forward
    // secrecy by, and the size is bounded. A client needs one ticket for its next connection.
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The HSM side.
pub fn hsm_config(
    trust: &HsmTrust,
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(hsm::verifier(trust, &provider)?);
    let config = match identity {
        Some(identity) => {
            let shown = SingleCertAndKey::from(certified_key(identity, &provider)?);
            builder.with_client_cert_resolver(Arc::new(shown))
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The name to give to `Pipe::client` for the HSM at `host` (of its URL, IPv6 with or without
/// brackets): `kms.hsm.server.name` where set.
pub fn hsm_server_name(trust: &HsmTrust, host: &str) -> Result<ServerName<'static>, TlsError> {
    if let Some(name) = &trust.server_name {
        return Ok(name.clone());
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))
}

/// Whether the private key belongs to the leaf and TLS can use it.
pub fn check_identity(identity: &Identity) -> Result<(), TlsError> {
    certified_key(identity, &provider()).map(|_| ())
}

/// aws-lc-rs, the post-quantum hybrid first whatever the build's features prefer.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .kx_groups
        .sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    Arc::new(provider)
}

/// The key with its chain. rustls' own check reads the leaf with webpki, which refuses X.509 v1:
/// what `openssl x509 -req` without extensions makes, as in many an existing keystore.
fn certified_key(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let leaf = identity.chain.first().ok_or(TlsError::NoCertificate)?;
    let spki = signature::public_key(leaf).ok_or(TlsError::Leaf)?;
    let key = provider
        .key_provider
        .load_private_key(identity.key.clone_key())
        .map_err(TlsError::Key)?;
    if key.public_key().is_some_and(|of_key| of_key != spki) {
        return Err(TlsError::KeyMismatch);
    }
    Ok(CertifiedKey::new(identity.chain.clone(), key))
}
