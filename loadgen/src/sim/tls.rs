//! TLS of the simulated HSM: clients must show a certificate of the site's authority.
//!
//! Must never be true: a client without a certificate that is served. Called at the start and, for the
//! certificates with wrong dates, by the fault [`super::fault::FaultKind::ClockSkew`].

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

/// The certificates that the HSM can show.
#[derive(Clone)]
pub struct Shown {
    /// The good one.
    pub valid: Arc<ServerConfig>,
    /// One whose time is over.
    pub expired: Option<Arc<ServerConfig>>,
    /// One whose time has not come.
    pub future: Option<Arc<ServerConfig>>,
}

impl Shown {
    /// From PEM files: the clients' authority, and the certificate and key `NAME.crt` and `NAME.key` in
    /// `dir` for the names `hsm`, `hsm-expired` and `hsm-future`.
    pub fn from_dir(dir: &Path) -> Result<Self, String> {
        let file = |name: &str| dir.join(name);
        let config = |name: &str| {
            let (cert, key) = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
            server_config(&file("ca.crt"), &cert, &key)
        };
        Ok(Self {
            valid: config("hsm")?,
            expired: Some(config("hsm-expired")?),
            future: Some(config("hsm-future")?),
        })
    }

    /// With one certificate only.
    pub fn from_files(authority: &Path, cert: &Path, key: &Path) -> Result<Self, String> {
        Ok(Self {
            valid: server_config(authority, cert, key)?,
            expired: None,
            future: None,
        })
    }
}

fn server_config(authority: &Path, cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let pem = |path: &Path, error| format!("{}: no usable PEM ({error:?})", path.display());
    let authorities = CertificateDer::pem_file_iter(authority)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(authority, error))?;
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| pem(cert, error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, error))?;
    let mut roots = RootCertStore::empty();
    for one in authorities {
        let refused = |error| format!("{}: no authority ({error})", authority.display());
        roots.add(one).map_err(refused)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| format!("{}: {error}", authority.display()))?;
    let refused = |error| format!("{}: TLS refuses it ({error})", cert.display());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, private)
        .map_err(refused)?;
    // Every connection pays its whole handshake: what is measured does not hang on history.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
