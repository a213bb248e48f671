//! The one table of keys. A key is here once it works, not before.
//!
//! Must never be true: two keys of one name, a default outside its own range, a key without help.

mod roles;

pub use roles::ROLE_KEYS;
pub(super) use roles::{role_environment, role_part};

/// What a value is, and its range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path; a relative one starts at the folder of the properties file.
    Path,
    /// A password or passphrase: never shown, may come from `<key>.file`.
    Secret,
    /// A keystore alias; upper and lower case are the same.
    Alias,
    /// Aliases by comma.
    Aliases,
    /// An IP address.
    Address,
    /// IP addresses and networks by comma.
    Networks,
    /// `address:port`.
    Socket,
    /// A host name without port.
    Host,
    /// HSM addresses by comma.
    Urls,
    /// Addresses of servers by comma, without a scheme.
    Places,
    /// SHA-256 of a certificate.
    Fingerprint,
    /// One of these words; case does not matter.
    Choice(&'static [&'static str]),
    /// A whole number and its unit.
    Number {
        /// Lowest accepted.
        min: u64,
        /// Highest accepted.
        max: u64,
        /// For people; empty for a plain count.
        unit: &'static str,
    },
    /// Bytes, with an optional k, M or G.
    Bytes {
        /// Lowest accepted.
        min: u64,
        /// Highest accepted.
        max: u64,
    },
    /// Names with `*` and `?`, by comma.
    Globs,
    /// Operations of a role, by comma.
    Operations,
    /// Subjects of certificates, by semicolon.
    Subjects,
    /// Alternative names of certificates, by comma.
    AltNames,
}

/// What holds when a key is not set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Default {
    /// Nothing.
    None,
    /// This text, parsed like a set value.
    Value(&'static str),
    /// Worked out from other settings or the machine; the text says how.
    Derived(&'static str),
}

/// One key.
#[derive(Debug, Eq, PartialEq)]
pub struct Key {
    /// As in `kms.properties`.
    pub name: &'static str,
    /// The original's name, still read with a warning.
    pub old_name: Option<&'static str>,
    /// Value type and range.
    pub kind: Kind,
    /// When not set.
    pub default: Default,
    /// The values of `kms.hsm.protocol` that read it; set with another it is ignored with a warning.
    /// Empty: all.
    pub only_with: &'static [&'static str],
    /// One or two sentences for operators.
    pub help: &'static str,
}

impl Key {
    /// Whether the value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    /// The environment variable that overrides it.
    pub fn environment_name(&self) -> String {
        environment_name(self.name)
    }
}

/// `kms.hsm.server.url` is `KMS_HSM_SERVER_URL`.
pub(super) fn environment_name(key: &str) -> String {
    key.to_ascii_uppercase().replace(['.', '-'], "_")
}

/// The keys of one kind of file.
#[derive(Debug)]
pub struct Book {
    /// In the order of the example file.
    pub keys: &'static [&'static Key],
    /// Whether there are keys of roles too: [`ROLE_KEYS`].
    pub has_roles: bool,
    /// The example file.
    pub example: &'static str,
    /// How the names of its environment variables begin.
    pub environment: &'static str,
}

/// `kms.properties`.
pub static MAIN: Book = Book {
    keys: KEYS,
    has_roles: true,
    example: "conf/kms.properties",
    environment: "KMS_",
};

impl Book {
    /// The key of this name; old names are not found here.
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().copied().find(|key| key.name == name)
    }

    /// The known name nearest to `name`, if one is near.
    pub fn suggest(&self, name: &str) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        let secrets = self
            .keys
            .iter()
            .filter(|key| key.is_secret())
            .map(|key| format!("{}.file", key.name));
        let role = lower
            .strip_prefix("kms.role.")
            .filter(|_| self.has_roles)
            .and_then(|rest| rest.split_once('.'))
            .map(|(role, _)| role);
        let roles = role.into_iter().flat_map(|role| {
            ROLE_KEYS
                .iter()
                .map(move |key| key.name.replace("NAME", role))
        });
        let names = self.keys.iter().map(|key| key.name.to_owned());
        names
            .chain(secrets)
            .chain(roles)
            .map(|known| {
                (
                    strsim::jaro_winkler(&lower, &known),
                    strsim::damerau_levenshtein(&lower, &known),
                    known,
                )
            })
            .filter(|(_, edits, known)| *edits * 4 <= known.len())
            .min_by(|a, b| a.1.cmp(&b.1).then(b.0.total_cmp(&a.0)))
            .map(|(_, _, known)| known)
    }
}

pub(super) const fn number(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Number { min, max, unit }
}

/// A list of keys: a static each, and one of all.
macro_rules! keys {
    ($list:ident: $($id:ident $name:literal $(was $old:literal)? $(only $($only:literal)+)?, $kind:expr, $default:expr, $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub static $id: $crate::config::table::Key = $crate::config::table::Key {
                name: $name,
                old_name: $crate::config::table::first(&[$($old)?]),
                kind: $kind,
                default: $default,
                only_with: &[$($($only),+)?],
                help: $help,
            };
        )*
        /// Every key, in the order of the example file.
        pub static $list: &[&$crate::config::table::Key] = &[$(&$id),*];
    };
}

pub(super) const fn first(list: &[&'static str]) -> Option<&'static str> {
    match list {
        [one, ..] => Some(one),
        [] => None,
    }
}

pub(super) use keys;

use self::Default::{Derived, None as Unset, Value};

keys! {
    KEYS:
    SERVER_ADDRESS "kms.server.address", Kind::Address, Value("0.0.0.0"),
        "Address the service listens on.";
    SERVER_PORT "kms.server.port", number(0, 65535, ""), Value("8443"),
        "Port of the service. 0 takes a free one and logs it.";
    SERVER_PROXY_PROTOCOL "kms.server.proxy-protocol", Kind::Choice(&["off", "v2"]), Value("off"),
        "v2: each connection begins with a PROXY protocol v2 header, which names the client's address (HAProxy: send-proxy-v2). Connections without one are closed.";
    SERVER_PROXY_FROM "kms.server.proxy-protocol.from", Kind::Networks, Default::None,
        "The load balancers: with kms.server.proxy-protocol = v2 every connection from elsewhere is closed.";
    SERVER_KEYSTORE_FILE "kms.server.keystore.file", Kind::Path, Derived("that of kms.keystore.file"),
        "Keystore with the server certificate (was keystoreFile in Tomcat's server.xml).";
    SERVER_KEYSTORE_PASSWORD "kms.server.keystore.password", Kind::Secret, Derived("that of kms.keystore.password"),
        "Its password (was keystorePass in server.xml).";
    SERVER_ALIAS "kms.server.alias", Kind::Alias,
        Derived("the only private key that is not kms.keystore.alias, else kmsServer"),
        "Alias of the server certificate (was keyAlias in server.xml).";
    HEALTH_ADDRESS "kms.health.address", Kind::Socket, Value("127.0.0.1:8444"),
        "Address and port of /healthz, /readyz and /metrics. Read-only; may be opened to the load balancer.";
    CONTROL_SOCKET "kms.control.socket", Kind::Path, Value("/run/kms/control.sock"),
        "Unix socket for kms reload, kms drain, kms cache purge and kms status; its folder must be there. For this server's user and root alone.";
    KEYSTORE_FILE "kms.keystore.file", Kind::Path, Unset,
        "Keystore with this server's certificates and those of its clients: JKS, JCEKS or PKCS12. Required.";
    KEYSTORE_PASSWORD "kms.keystore.password", Kind::Secret, Unset,
        "Password of the keystore and of the keys in it. Required.";
    KEYSTORE_ALIAS "kms.keystore.alias", Kind::Alias, Value("kmsClient"),
        "Alias of the client certificate that is shown to the HSM. Not needed with EMBEDDED; with VAULT only if the Vault asks for one.";
    KEYSTORE_KEY_PASSWORD "kms.keystore.key.password", Kind::Secret, Derived("that of the keystore"),
        "Password of the private keys, when a JKS or JCEKS keystore gives them their own.";
    HSM_PROTOCOL "kms.hsm.protocol", Kind::Choice(&["kmip1", "VAULT", "EMBEDDED"]), Value("kmip1"),
        "How the HSM is spoken to. VAULT: the Transit engine of a Vault or OpenBao, over HTTPS. EMBEDDED keeps the master keys in this process: to try, to test, for sites without an HSM.";
    HSM_URL "kms.hsm.server.url" was "kmip.server.url" only "kmip1" "VAULT", Kind::Urls, Unset,
        "Where the HSM is: [scheme://]host[:port], several by comma for failover, IPv6 in brackets. Required with kmip1 and VAULT.";
    HSM_PORT "kms.hsm.server.port" was "kmip.server.port" only "kmip1" "VAULT", number(1, 65535, ""),
        Derived("5696 with kmip1, 8200 with VAULT"),
        "Port of the HSM. A port in the URL wins.";
    HSM_CA_ALIAS "kms.hsm.ca.alias" only "kmip1" "VAULT", Kind::Aliases, Value("kmipSigningCA"),
        "Alias of the CA that vouches for the HSM, several by comma during a rotation. It never vouches for clients.";
    HSM_SERVER_NAME "kms.hsm.server.name" only "kmip1" "VAULT", Kind::Host, Derived("the host of the URL"),
        "Name to expect in the HSM's certificate, when it is not the host of the URL.";
    HSM_FINGERPRINT "kms.hsm.fingerprint" only "kmip1" "VAULT", Kind::Fingerprint, Unset,
        "Pins the HSM's certificate by its SHA-256, for certificates whose name cannot be checked.";
    HSM_POOL_SIZE "kms.hsm.pool.size" only "kmip1" "VAULT", number(1, 64, "connections"),
        Derived("2 for each worker thread, at least 4, at most 32"),
        "Connections kept to the HSM.";
    HSM_BATCH_MAX "kms.hsm.batch.max" only "kmip1" "VAULT", number(1, 1024, "operations"), Value("32"),
        "Operations in one message to the HSM. 1 turns batching off.";
    HSM_QUEUE_MAX "kms.hsm.queue.max", number(1, 1_000_000, "operations"),
        Derived("16 full messages for each connection, at least 1024, at most 65536"),
        "Operations that may wait for the HSM. More are answered 503 at once.";
    HSM_TIMEOUT_MS "kms.hsm.timeout.ms", number(10, 600_000, "ms"), Value("2000"),
        "Deadline of one HSM operation, waiting included.";
    HSM_KMIP_USERNAME "kms.hsm.kmip.username" only "kmip1", Kind::Text, Unset,
        "User name sent in each message, if the HSM wants one beside the certificate.";
    HSM_KMIP_PASSWORD "kms.hsm.kmip.password" only "kmip1", Kind::Secret, Unset,
        "Password sent with the user name.";
    HSM_KMIP_CIPHER "kms.hsm.kmip.cipher" only "kmip1", Kind::Choice(&["gcm", "cbc-hmac"]), Value("gcm"),
        "How the HSM seals keys: gcm is AES-GCM and needs KMIP 1.4. cbc-hmac is AES-CBC with HMAC-SHA256 under a second HSM key, for HSMs of KMIP 1.2 and 1.3. What was sealed with one is not opened with the other.";
    HSM_KMIP_PIPELINE_MAX "kms.hsm.kmip.pipeline.max" only "kmip1", number(1, 16, "messages"), Value("1"),
        "Messages sent on one connection before the first is answered, once more waits than one for each connection. For an HSM that is far away and reads ahead: it saves the way, not the HSM's work. 1 turns this off.";
    HSM_VAULT_NAMESPACE "kms.hsm.vault.namespace" only "VAULT", Kind::Text, Unset,
        "Namespace of the Vault, sent as X-Vault-Namespace.";
    HSM_VAULT_MOUNT "kms.hsm.vault.mount" only "VAULT", Kind::Text, Value("transit"),
        "Where the Transit engine is mounted in the Vault.";
    HSM_VAULT_AUTH "kms.hsm.vault.auth" only "VAULT", Kind::Choice(&["token", "azure"]), Value("token"),
        "How to log in to the Vault: with a token that is given to this server, or with the identity of the Azure machine that it runs on.";
    HSM_VAULT_TOKEN "kms.hsm.vault.token" only "VAULT", Kind::Secret, Unset,
        "The Vault token. Required with kms.hsm.vault.auth = token. Its file (kms.hsm.vault.token.file) is read again when the token is refused or ends, so that it can be replaced without a restart.";
    HSM_VAULT_RENEW "kms.hsm.vault.auth.renew-before-expiry" only "VAULT", number(1, 86400, "s"), Value("30"),
        "Renew the Vault token this long before it expires; one that lives less than twice as long is renewed at half of its life.";
    HSM_VAULT_AZURE_ROLE "kms.hsm.vault.auth.azure.role" only "VAULT", Kind::Text, Unset,
        "Role of the Azure login. Required with kms.hsm.vault.auth = azure.";
    HSM_VAULT_AZURE_PATH "kms.hsm.vault.auth.azure.path" only "VAULT", Kind::Text, Value("/v1/auth/azure/login"),
        "Request path of the Azure login.";
    HSM_VAULT_AZURE_RESOURCE "kms.hsm.vault.auth.azure.resource" only "VAULT", Kind::Text,
        Value("https://vault.hashicorp.com/"),
        "Resource that the Azure token is asked for: what the Vault's Azure method is configured to accept.";
    HSM_VAULT_AZURE_METADATA "kms.hsm.vault.auth.azure.metadata" only "VAULT", Kind::Socket, Value("169.254.169.254:80"),
        "Where Azure's instance metadata service answers. Another address than Azure's must be a loopback address, for tests.";
    HSM_EMBEDDED_FILE "kms.hsm.embedded.file" only "EMBEDDED", Kind::Path, Unset,
        "File that holds the sealed master keys. Required with EMBEDDED.";
    HSM_EMBEDDED_PASSPHRASE "kms.hsm.embedded.passphrase" only "EMBEDDED", Kind::Secret, Unset,
        "Passphrase that seals the file. Required with EMBEDDED.";
    CACHE_TYPE "kms.cache.type", Kind::Choice(&["none", "distributed"]), Value("none"),
        "none: this node's own cache. distributed: shared by the nodes.";
    CACHE_CLUSTER_FILE "kms.distributed.cache.config.file", Kind::Path, Value("/etc/kms/cluster.properties"),
        "Settings of the shared cache; ignored with none.";
    CACHE_ENTRIES_MAX "kms.cache.entries.max", number(1, 100_000_000, "keys"), Value("100000"),
        "Unwrapped keys kept in locked memory.";
    CACHE_TTL_S "kms.cache.ttl.s", number(1, 86400, "s"), Value("300"),
        "How long an unwrapped key is kept. A key disabled in the HSM may be served this long.";
    CACHE_STALE_MAX_S "kms.cache.stale.max.s", number(0, 86400, "s"), Value("0"),
        "How long an unwrapped key whose life is over may still be served while the HSM is not reachable. Never after \
         it was purged or its certificate revoked. 0: not at all.";
    LIMIT_INFLIGHT "kms.limit.inflight", number(1, 1_000_000, "operations"),
        Derived("half of kms.hsm.queue.max"),
        "Operations that may wait for the HSM at once for one client: a certificate and an address (IPv6: its /64). More are answered 429; what the cache has is served on.";
    LIMIT_RATE "kms.limit.rate", number(0, 1_000_000_000, "operations a second"), Value("0"),
        "Operations a second of one client, those from the cache included; a batch counts each item. More are answered 429. 0: no limit.";
    LIMIT_CONNECTIONS "kms.limit.connections", number(1, 1_000_000, "connections"),
        Derived("half of kms.connections.max"),
        "Connections of one address, handshakes included. More are closed at once. Behind a load balancer all clients have its address.";
    LOG_LEVEL "kms.log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), Value("info"),
        "Least important message that is logged.";
    LOG_FILE "kms.log.file", Kind::Path, Derived("standard error"),
        "Log file, created with mode 0640 and appended to.";
    LOG_FORMAT "kms.log.format", Kind::Choice(&["text", "json"]), Value("text"),
        "Lines of text, or one JSON object a line.";
    AUDIT_FILE "kms.audit.file", Kind::Path, Value("/var/log/kms/audit.log"),
        "Audit log: one JSON line an operation, chained by HMAC, appended to; created with mode 0640. Not named and its folder not there: no audit log, which is warned of.";
    AUDIT_MODE "kms.audit.mode", Kind::Choice(&["strict", "best-effort", "off"]), Value("strict"),
        "strict: what cannot be written to the audit log is not answered. best-effort: lines wait in 1 MiB a worker, then are dropped and counted. off: no audit log.";
    AUDIT_KEY_FILE "kms.audit.key.file", Kind::Path, Derived("kms.audit.file with .key behind it"),
        "Key of the chains, 64 hexadecimal digits, mode 0600; made at the first start. Keep a copy elsewhere: kms audit verify needs it.";
    AUDIT_SYNC "kms.audit.sync", Kind::Choice(&["off", "on"]), Value("off"),
        "on: each write to the audit log waits for the disk (fdatasync), at the cost of some milliseconds a wake.";
    THREADS "kms.threads", number(1, 256, "threads"), Derived("one for each core"),
        "Worker threads.";
    HANDSHAKE_THREADS "kms.handshake.threads", number(1, 64, "threads"), Derived("one for each two worker threads"),
        "Threads for TLS handshakes, so that a storm of them does not slow open connections.";
    CONNECTIONS_MAX "kms.connections.max", number(1, 1_000_000, "connections"), Value("20000"),
        "Client connections. More are closed at once.";
    REQUEST_BODY_MAX "kms.request.body.max",
        Kind::Bytes { min: 1024, max: crate::limits::HTTP_BODY_BYTES_MAX as u64 }, Value("1 MiB"),
        "Largest request body. Larger ones are answered 413.";
}
