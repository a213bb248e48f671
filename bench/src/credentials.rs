//! The certificates that all servers and the client share: mutual TLS, P-256 where a row does not say otherwise.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use kms::cli::pki::{Authority, Issued, KeyKind, Leaf};

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

    /// Writes `ca.pem`, `server.pem` and `server.key` into `folder`.
    pub fn write_server_pem(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("ca.pem"), self.authority.cert_pem())?;
        fs::write(folder.join("server.pem"), &self.server.cert_pem)?;
        write_private(
            &folder.join("server.key"),
            self.server.key_pem.expose().as_bytes(),
        )
    }
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
