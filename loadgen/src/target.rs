//! Whom to load: address, name in the certificate, TLS settings, client certificate.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kms::cli::pki::{Authority, Issued};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, RootCertStore};

/// Offered alone, so that all servers compared use the same: TLS 1.3's mandatory suite.
pub const CIPHER_SUITE: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

/// Why there is no target.
#[derive(Debug)]
#[non_exhaustive]
pub enum TargetError {
    /// A PEM file that cannot be read; its name and why.
    Pem(String, rustls::pki_types::pem::Error),
    /// Neither a DNS name nor an address.
    ServerName(String),
    /// rustls refused the certificates.
    Tls(rustls::Error),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(file, error) => write!(f, "{file}: no usable PEM ({error:?})"),
            Self::ServerName(name) => write!(f, "`{name}` is neither a DNS name nor an IP address"),
            Self::Tls(error) => write!(f, "the certificates cannot be used: {error}"),
        }
    }
}

impl std::error::Error for TargetError {}

impl From<rustls::Error> for TargetError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

/// One server to load, over TLS 1.3 with [`CIPHER_SUITE`].
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Expected in its certificate.
    pub name: ServerName<'static>,
    /// With the client certificate.
    pub tls: Arc<ClientConfig>,
    /// For the `Host` header.
    pub host: String,
}

impl Target {
    /// Trusts `authority` alone and shows `chain`.
    pub fn new(
        address: SocketAddr,
        server_name: &str,
        authority: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TargetError> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| suite.suite() == CIPHER_SUITE);
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        // Each connection pays its whole handshake: what is measured does not hang on history.
        tls.resumption = rustls::client::Resumption::disabled();
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TargetError::ServerName(server_name.to_owned()))?;
        let host = format!("{server_name}:{}", address.port());
        Ok(Self {
            address,
            name,
            tls: Arc::new(tls),
            host,
        })
    }

    /// With an authority and a certificate made by it, for tests and benchmarks.
    pub fn issued(
        address: SocketAddr,
        server_name: &str,
        authority: &Authority,
        client: &Issued,
    ) -> Result<Self, TargetError> {
        let key = PrivatePkcs8KeyDer::from(client.key_pkcs8_der.expose().to_vec());
        let authority = CertificateDer::from(authority.cert_der().to_vec());
        let chain = vec![CertificateDer::from(client.cert_der.clone())];
        Self::new(address, server_name, authority, chain, key.into())
    }

    /// With the PEM files of `kms demo`, openssl and the like.
    pub fn from_pem(
        address: SocketAddr,
        server_name: &str,
        authority: &Path,
        chain: &Path,
        key: &Path,
    ) -> Result<Self, TargetError> {
        let name = |path: &Path| path.display().to_string();
        let ca = CertificateDer::from_pem_file(authority)
            .map_err(|error| TargetError::Pem(name(authority), error))?;
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|error| TargetError::Pem(name(chain), error))?;
        let key_der = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TargetError::Pem(name(key), error))?;
        Self::new(address, server_name, ca, certificates, key_der)
    }
}
