//! The typed configuration. Plain data: everything here was checked by `build`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::names::{SanGlob, SubjectGlob};
use super::network::Network;
use super::url::Endpoint;
use crate::secret::SecretString;

/// Where a value came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Not set anywhere.
    Default,
    /// This line of a properties file.
    File {
        /// The file.
        path: PathBuf,
        /// From 1; the first one of a continued line.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
    /// Read from this file, named by a `<key>.file`.
    SecretFile(PathBuf),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::SecretFile(path) => write!(f, "secret file {}", path.display()),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One line of `kms check`: a key, its value for people and where it came from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Setting {
    /// As in `kms.properties`.
    pub key: String,
    /// `(set)` for a secret, `(not set)` for nothing, a rule in brackets for a derived one.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// A keystore and what opens it.
#[derive(Clone, Debug)]
pub struct KeystoreRef {
    /// The file.
    pub file: PathBuf,
    /// Password of the store.
    pub password: SecretString,
    /// Password of the keys, if not that of the store.
    pub key_password: Option<SecretString>,
}

/// The service listener.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address and port; port 0 means any free one.
    pub address: SocketAddr,
    /// The load balancers, where each connection begins with a PROXY v2 header; empty: none does.
    pub proxies: Vec<Network>,
    /// Where the server certificate is.
    pub keystore: KeystoreRef,
    /// Its alias, lower-cased; `None`: the only private key that is not [`Config::client_alias`], else `kmsserver`.
    pub alias: Option<String>,
}

/// Where orders are taken.
#[derive(Clone, Debug)]
pub struct Control {
    /// The Unix socket.
    pub socket: PathBuf,
    /// It was named, and is no mere default.
    pub is_set: bool,
}

/// What performs the operations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Protocol {
    /// KMIP over mutual TLS.
    Kmip1,
    /// Transit of a Vault or OpenBao, over HTTPS.
    Vault,
    /// Master keys in this process.
    Embedded,
}

/// Optional credential in the header of each KMIP message.
#[derive(Clone, Debug)]
pub struct KmipCredential {
    /// User name.
    pub username: String,
    /// Password; empty if only a name is set.
    pub password: SecretString,
}

/// How an HSM seals keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KmipCipher {
    /// AES-GCM.
    Gcm,
    /// AES-CBC with HMAC-SHA256.
    CbcHmac,
}

/// Where the embedded back end keeps its keys.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The sealed file.
    pub file: PathBuf,
    /// What seals it.
    pub passphrase: SecretString,
}

/// How a Vault is spoken to.
#[derive(Clone, Debug)]
pub struct Vault {
    /// `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// Path of the Transit engine, without slashes at its ends.
    pub mount: String,
    /// How long before its end a token is renewed.
    pub renew_before_s: u64,
    /// How to log in.
    pub auth: VaultAuth,
}

/// How to log in to a Vault.
#[derive(Clone, Debug)]
pub enum VaultAuth {
    /// With a token.
    Token {
        /// As read at start.
        token: SecretString,
        /// Where it may be read again.
        file: Option<PathBuf>,
    },
    /// As the Azure machine that this server runs on.
    Azure(VaultAzure),
}

/// Settings of the Azure login.
#[derive(Clone, Debug)]
pub struct VaultAzure {
    /// The Vault's role.
    pub role: String,
    /// Request path, from `/v1/` on.
    pub path: String,
    /// Audience of the machine's token.
    pub resource: String,
    /// Azure's metadata service, or a loopback address.
    pub metadata: SocketAddr,
}

/// The back end.
#[derive(Clone, Debug)]
pub struct Hsm {
    /// Which one.
    pub protocol: Protocol,
    /// In order of preference; empty only with [`Protocol::Embedded`].
    pub endpoints: Vec<Endpoint>,
    /// Aliases of the CAs that vouch for the HSM, lower-cased.
    pub ca_aliases: Vec<String>,
    /// Name to expect, if not the endpoint's host.
    pub server_name: Option<String>,
    /// SHA-256 of the HSM's certificate (DER).
    pub fingerprint: Option<[u8; 32]>,
    /// Connections, if set; see [`super::plan`].
    pub pool_size: Option<usize>,
    /// Items of one message.
    pub batch_max: usize,
    /// Messages on their way on one connection.
    pub pipeline_max: usize,
    /// Jobs that may wait, if set; see [`super::plan`].
    pub queue_max: Option<usize>,
    /// Deadline of one operation, waiting included.
    pub timeout_ms: u64,
    /// Credential of the KMIP header.
    pub credential: Option<KmipCredential>,
    /// How the HSM seals keys.
    pub cipher: KmipCipher,
    /// `Some` exactly with [`Protocol::Embedded`].
    pub embedded: Option<Embedded>,
    /// `Some` exactly with [`Protocol::Vault`].
    pub vault: Option<Vault>,
}

/// Size and life of the cache.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The cache that the nodes share; `None`: this node's own is all.
    pub cluster: Option<super::cluster::Cluster>,
    /// Entries.
    pub entries_max: usize,
    /// Life of an entry.
    pub ttl_s: u32,
    /// How long after that an entry may be served while the HSM is down; 0: never.
    pub stale_max_s: u32,
}

/// What the holders of some aliases may do on which keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleSettings {
    /// NAME of `kms.role.NAME`.
    pub name: String,
    /// Globs of keystore aliases, lower-cased; empty: nobody has this role.
    pub aliases: Vec<String>,
    /// Names out of [`super::OPERATION_NAMES`], each once; `all` is already spelt out.
    pub operations: Vec<&'static str>,
    /// Globs of key names.
    pub keys: Vec<String>,
    /// The CAs that may vouch for further holders.
    pub ca: Option<RoleCa>,
}

/// Client CAs of a role, and which of their certificates have it. Globs are there for at least one of the two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleCa {
    /// Keystore aliases, lower-cased.
    pub aliases: Vec<String>,
    /// One of them must fit; empty: the subject does not matter.
    pub subjects: Vec<SubjectGlob>,
    /// One of them must fit; empty: alternative names do not matter.
    pub sans: Vec<SanGlob>,
    /// Lists of revoked certificates.
    pub crl_file: Option<PathBuf>,
}

impl RoleCa {
    /// Whether it takes every certificate of its CAs.
    pub fn takes_all(&self) -> bool {
        (self.subjects.is_empty() || self.subjects.iter().any(SubjectGlob::is_any))
            && (self.sans.is_empty() || self.sans.contains(&SanGlob::Any))
    }
}

/// What one client may have: a certificate and an address.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Operations waiting for the HSM, if set; see [`super::plan`].
    pub inflight: Option<usize>,
    /// Operations a second; 0: no limit.
    pub rate: usize,
    /// Connections of one address, if set; see [`super::plan`].
    pub connections: Option<usize>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// `time LEVEL target message`.
    Text,
    /// One JSON object.
    Json,
}

/// Logging.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Least important level.
    pub level: log::LevelFilter,
    /// `None`: standard error.
    pub file: Option<PathBuf>,
    /// Text or JSON.
    pub format: LogFormat,
}

/// The audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The file.
    pub file: PathBuf,
    /// It was named, and is no mere default.
    pub is_set: bool,
    /// Where the key of its chains is.
    pub key_file: PathBuf,
    /// `None`: off.
    pub mode: Option<AuditMode>,
    /// Whether writes wait for the disk.
    pub sync: bool,
}

/// What happens when the audit log cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuditMode {
    /// Nothing is answered.
    Strict,
    /// Lines are dropped.
    BestEffort,
}

/// What the plan of threads and memory starts from.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Workers, if set.
    pub threads: Option<usize>,
    /// Handshake threads, if set.
    pub handshake_threads: Option<usize>,
    /// Client connections.
    pub connections_max: usize,
    /// Bytes of a request body.
    pub request_body_bytes_max: usize,
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The properties file.
    pub file: PathBuf,
    /// The service.
    pub server: Server,
    /// Health and metrics.
    pub health_address: SocketAddr,
    /// Orders.
    pub control: Control,
    /// Certificates.
    pub keystore: KeystoreRef,
    /// Alias of the client certificate for the HSM, lower-cased.
    pub client_alias: String,
    /// The back end.
    pub hsm: Hsm,
    /// The cache.
    pub cache: CacheSettings,
    /// Roles, by name.
    pub roles: Vec<RoleSettings>,
    /// What one client may have.
    pub limits: ClientLimits,
    /// Logging.
    pub log: LogSettings,
    /// The audit log.
    pub audit: Audit,
    /// Sizes as set.
    pub sizes: Sizes,
    pub(super) settings: Vec<Setting>,
}

impl Config {
    /// Every key with its value and origin, for `kms check`. Secrets are `(set)`.
    pub fn effective(&self) -> &[Setting] {
        &self.settings
    }
}
