//! The certificates that all servers and the client share: mutual TLS, P-256 where a row does not say otherwise.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use kms::cli::pki::{Authority, Issued, KeyKind, Leaf};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, NamedGroup};

use crate::handshakes::client_config;

/// Name in the server certificate.
pub const SERVER_NAME: &str = "localhost";

/// One authority and what it issued.
pub struct Credentials {
    /// Vouches for the rest.
    pub authority: Authority,
    /// For every server.
    pub server: Issued,
    /// Unwraps.
    pub device: Issued,
    /// Creates keys.
    pub backend: Issued,
    /// Our server's, for the Vault behind it.
    pub vault_client: Issued,
}

impl Credentials {
    /// New ones for this run, of this kind throughout.
    pub fn new(keys: KeyKind) -> Result<Self, rcgen::Error> {
        let authority = Authority::with_keys("bench CA", keys)?;
        let server = Leaf {
            common_name: "kmsServer",
            sans: &[SERVER_NAME, "127.0.0.1"],
            server: true,
            client: false,
            days: 2,
        };
        let client = |common_name| Leaf {
            common_name,
            sans: &[],
            server: false,
            client: true,
            days: 2,
        };
        Ok(Self {
            server: authority.issue(&server)?,
            device: authority.issue(&client("cmxDevice"))?,
            backend: authority.issue(&client("cmxBackend"))?,
            vault_client: authority.issue(&client("kmsClient"))?,
            authority,
        })
    }

    /// TLS settings of a device that offers this group alone.
    pub fn client_config(&self, group: NamedGroup) -> Result<Arc<ClientConfig>, rustls::Error> {
        let key = PrivatePkcs8KeyDer::from(self.device.key_pkcs8_der.expose().to_vec());
        let authority = CertificateDer::from(self.authority.cert_der().to_vec());
        let leaf = CertificateDer::from(self.device.cert_der.clone());
        client_config(authority, leaf, key.into(), group)
    }

    /// Writes `ca.pem`, `server.pem` and `server.key` into `folder`.
    pub fn write_server_pem(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("ca.pem"), self.authority.cert_pem())?;
        fs::write(folder.join("server.pem"), &self.server.cert_pem)?;
        write_private(
            &folder.join("server.key"),
            self.server.key_pem.expose().as_bytes(),
        )
    }

    /// Writes `ca.pem`, `client.pem` and `client.key`, the back end's, into `folder`.
    pub fn write_storm_pem(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("ca.pem"), self.authority.cert_pem())?;
        fs::write(folder.join("client.pem"), &self.backend.cert_pem)?;
        write_private(
            &folder.join("client.key"),
            self.backend.key_pem.expose().as_bytes(),
        )
    }
}

/// TLS settings from [`Credentials::write_storm_pem`]'s files.
pub fn storm_config(
    folder: &Path,
    group: NamedGroup,
) -> Result<Arc<ClientConfig>, Box<dyn std::error::Error>> {
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name));
    let key = PrivateKeyDer::from_pem_file(folder.join("client.key"))?;
    let (authority, leaf) = (certificate("ca.pem")?, certificate("client.pem")?);
    Ok(client_config(authority, leaf, key, group)?)
}

/// Writes a file that only this user may read.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}
