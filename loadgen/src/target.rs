//! Whom to load: address, name in the certificate, TLS settings, client certificate.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kms::cli::pki::{Authority, Issued};
use kms::net::pipe::PipeError;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{CertificateError, CipherSuite, ClientConfig, RootCertStore};

use crate::tickets::Tickets;

/// Offered alone by [`TlsPlan::default`], so that all servers compared use the same: TLS 1.3's mandatory suite.
pub const CIPHER_SUITE: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;
/// How long a name's address may take to accept a connection.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// A folder of client certificates that has none.
    NoIdentities(PathBuf, String),
    /// Nobody listens there; the address as given.
    Unreachable(String, io::Error),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(file, error) => write!(f, "{file}: no usable PEM ({error:?})"),
            Self::ServerName(name) => write!(f, "`{name}` is neither a DNS name nor an IP address"),
            Self::Tls(error) => write!(f, "the certificates cannot be used: {error}"),
            Self::NoIdentities(folder, why) => write!(
                f,
                "{}: no client certificates ({why}); pairs NAME.crt and NAME.key belong there",
                folder.display()
            ),
            Self::Unreachable(address, error) => {
                write!(f, "{address} cannot be reached: {error}")
            }
        }
    }
}

impl std::error::Error for TargetError {}

impl From<rustls::Error> for TargetError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

/// What is offered in the handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsPlan {
    /// TLS 1.2, 1.3, or both.
    pub versions: TlsVersions,
    /// Later connections resume the sessions of earlier ones.
    pub is_resuming: bool,
}

/// Versions of TLS that are offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersions {
    /// 1.3 with [`CIPHER_SUITE`] alone.
    Fixed,
    /// 1.3 and 1.2 with all suites.
    Any,
    /// 1.2 with all its suites.
    V1_2,
    /// 1.3 with all its suites.
    V1_3,
}

impl std::str::FromStr for TlsVersions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fixed" => Ok(Self::Fixed),
            "any" => Ok(Self::Any),
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            other => Err(format!(
                "`{other}` is no version of TLS; there are any, 1.2, 1.3 and fixed"
            )),
        }
    }
}

impl Default for TlsPlan {
    /// Each connection pays its whole handshake: what is measured does not hang on history.
    fn default() -> Self {
        Self {
            versions: TlsVersions::Fixed,
            is_resuming: false,
        }
    }
}

/// One server to load, with one client certificate.
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
        Self::with_tls(
            address,
            server_name,
            vec![authority],
            (chain, key),
            TlsPlan::default(),
        )
    }

    /// As [`Target::new`], with these authorities and settings.
    pub fn with_tls(
        address: SocketAddr,
        server_name: &str,
        authorities: Vec<CertificateDer<'static>>,
        (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
        plan: TlsPlan,
    ) -> Result<Self, TargetError> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if plan.versions == TlsVersions::Fixed {
            provider
                .cipher_suites
                .retain(|suite| suite.suite() == CIPHER_SUITE);
        }
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority)?;
        }
        let versions = match plan.versions {
            TlsVersions::Fixed | TlsVersions::V1_3 => &[&rustls::version::TLS13][..],
            TlsVersions::V1_2 => &[&rustls::version::TLS12],
            TlsVersions::Any => rustls::ALL_VERSIONS,
        };
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        tls.resumption = if plan.is_resuming {
            Resumption::store(Arc::new(Tickets::default()))
        } else {
            Resumption::disabled()
        };
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TargetError::ServerName(server_name.to_owned()))?;
        let mut target = Self {
            address,
            name,
            tls: Arc::new(tls),
            host: String::new(),
        };
        target.set_address(server_name, address);
        Ok(target)
    }

    /// Where it listens, and so what the `Host` header says.
    pub fn set_address(&mut self, server_name: &str, address: SocketAddr) {
        self.address = address;
        let port = address.port();
        self.host = if server_name.contains(':') {
            format!("[{server_name}]:{port}")
        } else {
            format!("{server_name}:{port}")
        };
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
        let files = PemFiles {
            authority,
            chain,
            key,
        };
        files.target(address, server_name, TlsPlan::default())
    }
}

/// Names of the PEM files of one client.
#[derive(Clone, Copy, Debug)]
pub struct PemFiles<'a> {
    /// Authorities that vouch for the server.
    pub authority: &'a Path,
    /// The client certificate and its chain.
    pub chain: &'a Path,
    /// Its private key.
    pub key: &'a Path,
}

impl PemFiles<'_> {
    /// Reads them.
    pub fn target(
        &self,
        address: SocketAddr,
        server_name: &str,
        plan: TlsPlan,
    ) -> Result<Target, TargetError> {
        let bad = |path: &Path, error| TargetError::Pem(path.display().to_string(), error);
        let certificates = |path: &Path| {
            let all = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let none = rustls::pki_types::pem::Error::NoItemsFound;
            match all {
                Ok(all) if all.is_empty() => Err(bad(path, none)),
                Ok(all) => Ok(all),
                Err(error) => Err(bad(path, error)),
            }
        };
        let authorities = certificates(self.authority)?;
        let chain = certificates(self.chain)?;
        let key = PrivateKeyDer::from_pem_file(self.key).map_err(|error| bad(self.key, error))?;
        Target::with_tls(address, server_name, authorities, (chain, key), plan)
    }
}

/// The pairs `NAME.crt` and `NAME.key` in a folder, by name; a certificate without a key is passed over.
pub fn identities(folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, TargetError> {
    let none = |why: String| TargetError::NoIdentities(folder.to_owned(), why);
    let entries = fs::read_dir(folder).map_err(|error| none(error.to_string()))?;
    let mut pairs = Vec::new();
    for entry in entries {
        let chain = entry.map_err(|error| none(error.to_string()))?.path();
        let key = chain.with_extension("key");
        if chain.extension().is_some_and(|end| end == "crt") && key.is_file() {
            pairs.push((chain, key));
        }
    }
    pairs.sort();
    if pairs.is_empty() {
        return Err(none("not one pair".to_owned()));
    }
    Ok(pairs)
}

/// The first address of `HOST:PORT` that accepts a connection.
pub fn reach(address: &str) -> Result<SocketAddr, TargetError> {
    let unreachable = |error| TargetError::Unreachable(address.to_owned(), error);
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for one in address.to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&one, REACH_TIMEOUT) {
            Ok(_) => return Ok(one),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// What an error of a connection means to whoever gave the certificates.
pub fn explained(error: &PipeError) -> String {
    let why = match error {
        PipeError::Tls(rustls::Error::InvalidCertificate(refused)) => match refused {
            // An authority of the same name with another key is another one.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its authority is not the one that was given (--ca)"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another name than the one that was given (--server-name)"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet"
            }
            _ => return format!("the server's certificate is refused: {refused:?}"),
        },
        PipeError::Tls(rustls::Error::AlertReceived(alert)) => {
            return format!(
                "the server ended TLS with the alert {alert:?}: does it know the client certificate that was given \
                 (--cert)?"
            );
        }
        other => return other.to_string(),
    };
    format!("the server's certificate is refused: {why}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pairs_of_a_folder_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let none = identities(folder.path()).unwrap_err().to_string();
        assert!(none.contains("NAME.crt"), "{none}");
        for name in [
            "b.crt", "b.key", "a.crt", "a.key", "ca.crt", "c.key", "d.pem",
        ] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = identities(folder.path()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|(chain, _)| chain.file_name().unwrap())
            .collect();
        assert_eq!(names, ["a.crt", "b.crt"]);
        assert!(identities(&folder.path().join("none")).is_err());
    }

    #[test]
    fn hosts_are_told_as_urls_have_them() {
        let authority = Authority::new("a").unwrap();
        let client = kms::cli::pki::Leaf {
            common_name: "c",
            sans: &[],
            server: false,
            client: true,
            days: 1,
        };
        let client = authority.issue(&client).unwrap();
        for (name, address, want) in [
            ("localhost", "127.0.0.1:1", "localhost:1"),
            ("127.0.0.1", "127.0.0.1:2", "127.0.0.1:2"),
            ("::1", "[::1]:3", "[::1]:3"),
        ] {
            let address = address.parse().unwrap();
            let target = Target::issued(address, name, &authority, &client).unwrap();
            assert_eq!(target.host, want);
        }
    }

    #[test]
    fn nobody_at_an_address_is_told() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        assert_eq!(reach(&address).unwrap().to_string(), address);
        drop(free);
        for address in [address.as_str(), "127.0.0.1", "no.such.name.invalid:1"] {
            let error = reach(address).unwrap_err().to_string();
            assert!(error.starts_with(address), "{error}");
        }
    }
}
