//! Gathered values -> [`Config`]: defaults, relations between keys, and every problem in one answer.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::error::{ConfigError, Problem, Warning};
use super::model::{
    CacheKind, CacheSettings, Config, Embedded, Hsm, KeystoreRef, KmipCredential, LogFormat,
    LogSettings, Origin, Protocol, RoleSettings, Server, Setting, Sizes,
};
use super::source::{self, Gathered};
use super::table::{self, Default as KeyDefault, KEYS, Key, ROLE_KEYS};
use super::url::{Endpoint, Url};
use super::value::{self, OPERATION_NAMES, Value};
use crate::secret::SecretString;

/// A configuration and what an operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// Checked.
    pub config: Config,
    /// For the log and `kms check`.
    pub warnings: Vec<Warning>,
}

/// Reads `file` and `environment` (`std::env::vars_os()`); environment wins over file, file over default.
pub fn load(
    file: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let (text, mode) = source::read_file(file).map_err(|error| {
        let problem = Problem::Unreadable {
            path: file.to_owned(),
            reason: error.to_string(),
        };
        ConfigError::new(file, vec![problem], Vec::new())
    })?;
    let mut loaded = parse(file, &text, environment)?;
    let held_here = |key: &&Key| {
        let setting = loaded
            .config
            .settings
            .iter()
            .find(|setting| setting.key == key.name);
        key.is_secret()
            && setting.is_some_and(|setting| matches!(setting.origin, Origin::File { .. }))
    };
    if mode & 0o044 != 0 && KEYS.iter().copied().any(|key| held_here(&key)) {
        loaded.warnings.push(Warning::PasswordReadable {
            path: file.to_owned(),
            mode,
        });
    }
    Ok(loaded)
}

/// As [`load`], with the text of the file given.
pub fn parse(
    file: &Path,
    text: &[u8],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let environment: Vec<_> = environment.into_iter().collect();
    let mut builder = Builder {
        folder: file.parent().unwrap_or(Path::new("")),
        all: source::gather(file, text, &environment),
    };
    let config = builder.config(file);
    let Gathered {
        mut problems,
        warnings,
        ..
    } = builder.all;
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
        _ => {
            problems.sort_by_key(|problem| problem.line());
            Err(ConfigError::new(file, problems, warnings))
        }
    }
}

struct Builder<'a> {
    folder: &'a Path,
    all: Gathered,
}

impl Builder<'_> {
    /// The value in force: set, or the default; `None` if unset, derived or refused.
    fn value(&self, key: &Key) -> Option<Value> {
        match (self.all.held.get(key.name), key.default) {
            (Some(held), _) => Some(held.value.clone()),
            (None, KeyDefault::Value(text)) => value::check(key.kind, text, self.folder).ok(),
            (None, _) => None,
        }
    }

    fn number(&self, key: &Key) -> Option<usize> {
        if let Some(Value::Number(number)) = self.value(key) {
            usize::try_from(number).ok()
        } else {
            None
        }
    }

    fn text(&self, key: &Key) -> Option<String> {
        if let Some(Value::Text(text)) = self.value(key) {
            Some(text)
        } else {
            None
        }
    }

    fn word(&self, key: &Key) -> &'static str {
        if let Some(Value::Choice(word)) = self.value(key) {
            word
        } else {
            ""
        }
    }

    fn path(&self, key: &Key) -> Option<std::path::PathBuf> {
        if let Some(Value::Path(path)) = self.value(key) {
            Some(path)
        } else {
            None
        }
    }

    fn secret(&self, key: &Key) -> Option<SecretString> {
        if let Some(Value::Secret(secret)) = self.value(key) {
            Some(secret)
        } else {
            None
        }
    }

    fn origin(&self, name: &str) -> Origin {
        self.all
            .held
            .get(name)
            .map_or(Origin::Default, |held| held.origin.clone())
    }

    /// Notes that a needed key is missing, unless its value was refused already.
    fn missing(&mut self, name: &str, remedy: &str) {
        if !self.all.refused.iter().any(|refused| refused == name) {
            self.all.problems.push(Problem::Missing {
                key: name.to_owned(),
                remedy: remedy.to_owned(),
            });
        }
    }

    fn config(&mut self, file: &Path) -> Option<Config> {
        let keystore = self.keystore();
        let hsm = self.hsm();
        let cache = self.cache();
        let roles = self.roles();
        let settings = self.settings();
        let (keystore, client_alias) = (keystore?, self.text(&table::KEYSTORE_ALIAS)?);
        let Some(Value::Address(address)) = self.value(&table::SERVER_ADDRESS) else {
            return None;
        };
        let Some(Value::Socket(health_address)) = self.value(&table::HEALTH_ADDRESS) else {
            return None;
        };
        let server_keystore = KeystoreRef {
            file: self
                .path(&table::SERVER_KEYSTORE_FILE)
                .unwrap_or_else(|| keystore.file.clone()),
            password: self
                .secret(&table::SERVER_KEYSTORE_PASSWORD)
                .unwrap_or_else(|| keystore.password.clone()),
            key_password: keystore.key_password.clone(),
        };
        let server = Server {
            address: SocketAddr::new(
                address,
                u16::try_from(self.number(&table::SERVER_PORT)?).ok()?,
            ),
            keystore: server_keystore,
            alias: self.text(&table::SERVER_ALIAS),
        };
        self.listeners_differ(&server, health_address);
        let sizes = Sizes {
            threads: self.number(&table::THREADS),
            handshake_threads: self.number(&table::HANDSHAKE_THREADS),
            connections_max: self.number(&table::CONNECTIONS_MAX)?,
            request_body_bytes_max: self.number(&table::REQUEST_BODY_MAX)?,
        };
        let log = self.log()?;
        let (hsm, cache) = (hsm?, cache?);
        Some(Config {
            file: file.to_owned(),
            server,
            health_address,
            keystore,
            client_alias,
            hsm,
            cache,
            roles,
            log,
            sizes,
            settings,
        })
    }

    fn listeners_differ(&mut self, server: &Server, health: SocketAddr) {
        let (a, b) = (server.address, health);
        let overlap = a.ip() == b.ip()
            || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
        if a.port() == b.port() && a.port() != 0 && overlap {
            let reason = format!(
                "kms.health.address {b} and the service on {a} are the same; give one another port"
            );
            self.all.problems.push(Problem::Conflict {
                origin: self.origin(table::HEALTH_ADDRESS.name),
                reason,
            });
        }
    }

    fn keystore(&mut self) -> Option<KeystoreRef> {
        let file = self.path(&table::KEYSTORE_FILE);
        if file.is_none() {
            self.missing(
                "kms.keystore.file",
                "name the keystore that holds the server's certificate and those of its clients",
            );
        }
        let password = self.secret(&table::KEYSTORE_PASSWORD);
        if password.is_none() {
            self.missing(
                "kms.keystore.password",
                "set it, or name a file that holds it with kms.keystore.password.file",
            );
        }
        Some(KeystoreRef {
            file: file?,
            password: password?,
            key_password: self.secret(&table::KEYSTORE_KEY_PASSWORD),
        })
    }

    fn hsm(&mut self) -> Option<Hsm> {
        let word = self.word(&table::HSM_PROTOCOL);
        self.warn_ignored(word);
        let (protocol, endpoints, embedded) = match word {
            "kmip1" => (Protocol::Kmip1, self.endpoints(), None),
            "EMBEDDED" => (Protocol::Embedded, Vec::new(), self.embedded()),
            "VAULT" => {
                self.not_served(&table::HSM_PROTOCOL, "VAULT", "use kmip1 or EMBEDDED");
                return None;
            }
            _ => return None,
        };
        let username = self.text(&table::HSM_KMIP_USERNAME);
        let password = self.secret(&table::HSM_KMIP_PASSWORD);
        if username.is_none() && password.is_some() && protocol == Protocol::Kmip1 {
            self.missing(
                "kms.hsm.kmip.username",
                "kms.hsm.kmip.password is set, and goes with a user name",
            );
        }
        let credential = username.map(|username| KmipCredential {
            username,
            password: password.unwrap_or_default(),
        });
        let ca_aliases = if let Some(Value::List(list)) = self.value(&table::HSM_CA_ALIAS) {
            list
        } else {
            Vec::new()
        };
        let fingerprint = if let Some(Value::Fingerprint(pin)) = self.value(&table::HSM_FINGERPRINT)
        {
            Some(pin)
        } else {
            None
        };
        Some(Hsm {
            protocol,
            endpoints,
            ca_aliases,
            server_name: self.text(&table::HSM_SERVER_NAME),
            fingerprint,
            pool_size: self.number(&table::HSM_POOL_SIZE),
            batch_max: self.number(&table::HSM_BATCH_MAX)?,
            queue_max: self.number(&table::HSM_QUEUE_MAX),
            timeout_ms: u64::try_from(self.number(&table::HSM_TIMEOUT_MS)?).ok()?,
            credential,
            embedded,
        })
    }

    fn endpoints(&mut self) -> Vec<Endpoint> {
        let Some(Value::Urls(urls)) = self.value(&table::HSM_URL) else {
            self.missing(
                "kms.hsm.server.url",
                "kms.hsm.protocol is kmip1, so name the HSM, such as https://kmshsm.example.com",
            );
            return Vec::new();
        };
        let common = self
            .number(&table::HSM_PORT)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(5696);
        let endpoint = |Url { host, port }| Endpoint {
            host,
            port: port.unwrap_or(common),
        };
        urls.into_iter().map(endpoint).collect()
    }

    fn embedded(&mut self) -> Option<Embedded> {
        let file = self.path(&table::HSM_EMBEDDED_FILE);
        if file.is_none() {
            self.missing(
                "kms.hsm.embedded.file",
                "kms.hsm.protocol is EMBEDDED, so name the file that holds the master keys",
            );
        }
        let passphrase = self.secret(&table::HSM_EMBEDDED_PASSPHRASE);
        if passphrase.is_none() {
            self.missing(
                "kms.hsm.embedded.passphrase",
                "kms.hsm.protocol is EMBEDDED, so set it, or name a file that holds it with kms.hsm.embedded.passphrase.file",
            );
        }
        Some(Embedded {
            file: file?,
            passphrase: passphrase?,
        })
    }

    fn not_served(&mut self, key: &Key, value: &str, remedy: &str) {
        let (origin, key) = (self.origin(key.name), key.name.to_owned());
        self.all.problems.push(Problem::NotServedYet {
            origin,
            key,
            value: value.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    fn warn_ignored(&mut self, protocol: &str) {
        for key in KEYS {
            let Some(only_with) = key.only_with.filter(|only| *only != protocol) else {
                continue;
            };
            if let (Some(held), false) = (self.all.held.get(key.name), protocol.is_empty()) {
                let (origin, key) = (held.origin.clone(), key.name.to_owned());
                let (protocol, only_with) = (protocol.to_owned(), only_with.to_owned());
                self.all.warnings.push(Warning::Ignored {
                    origin,
                    key,
                    protocol,
                    only_with,
                });
            }
        }
    }

    fn cache(&mut self) -> Option<CacheSettings> {
        if self.word(&table::CACHE_TYPE) == "distributed" {
            self.not_served(
                &table::CACHE_TYPE,
                "distributed",
                "use none: each node then keeps its own cache",
            );
        }
        let ttl_s = u32::try_from(self.number(&table::CACHE_TTL_S)?).ok()?;
        Some(CacheSettings {
            kind: CacheKind::Local,
            entries_max: self.number(&table::CACHE_ENTRIES_MAX)?,
            ttl_s,
        })
    }

    fn log(&self) -> Option<LogSettings> {
        let format = if self.word(&table::LOG_FORMAT) == "json" {
            LogFormat::Json
        } else {
            LogFormat::Text
        };
        Some(LogSettings {
            level: self.word(&table::LOG_LEVEL).parse().ok()?,
            file: self.path(&table::LOG_FILE),
            format,
        })
    }

    fn roles(&mut self) -> Vec<RoleSettings> {
        let mut names = std::mem::take(&mut self.all.roles);
        names.extend(["backend".to_owned(), "device".to_owned()]);
        names.sort();
        names.dedup();
        let roles: Vec<RoleSettings> = names
            .into_iter()
            .filter_map(|name| self.role(name))
            .collect();
        for (index, role) in roles.iter().enumerate() {
            for (other, alias) in roles
                .iter()
                .skip(index + 1)
                .flat_map(|other| other.aliases.iter().map(move |alias| (other, alias)))
            {
                if role.aliases.contains(alias) {
                    let (one, two) = (&role.name, &other.name);
                    let reason = format!(
                        "kms.role.{one}.aliases and kms.role.{two}.aliases both name {alias}; a certificate has one role"
                    );
                    let origin = self.origin(&format!("kms.role.{two}.aliases"));
                    self.all.problems.push(Problem::Conflict { origin, reason });
                }
            }
        }
        roles
    }

    fn role(&mut self, name: String) -> Option<RoleSettings> {
        let held = |part: &str| {
            self.all
                .held
                .get(&format!("kms.role.{name}.{part}"))
                .map(|held| held.value.clone())
        };
        let list = |part| {
            if let Some(Value::List(list)) = held(part) {
                Some(list)
            } else {
                None
            }
        };
        let operations = if let Some(Value::Operations(list)) = held("operations") {
            Some(list)
        } else {
            None
        };
        let (usual_aliases, usual_operations) = match name.as_str() {
            "device" => (
                Some("cmxdevice*"),
                Some(vec!["encrypt", "decrypt", "datakey", "read"]),
            ),
            "backend" => (Some("cmxbackend*"), Some(OPERATION_NAMES.to_vec())),
            _ => (None, None),
        };
        let aliases = list("aliases").or_else(|| usual_aliases.map(|alias| vec![alias.to_owned()]));
        let operations = operations.or(usual_operations);
        let keys = list("keys").unwrap_or_else(|| vec!["*".to_owned()]);
        if aliases.is_none() {
            self.missing(
                &format!("kms.role.{name}.aliases"),
                "name the keystore aliases that have this role",
            );
        }
        if operations.is_none() {
            self.missing(
                &format!("kms.role.{name}.operations"),
                "name what this role may do, or all",
            );
        }
        let aliases = aliases?.iter().map(|alias| alias.to_lowercase()).collect();
        Some(RoleSettings {
            name,
            aliases,
            operations: operations?,
            keys,
        })
    }

    /// Every key for `kms check`.
    fn settings(&self) -> Vec<Setting> {
        let one = |name: &str, default: KeyDefault| {
            let held = self.all.held.get(name);
            let value = match (held, default) {
                (Some(held), _) => held.shown.clone(),
                (None, KeyDefault::Value(text)) => text.to_owned(),
                (None, KeyDefault::Derived(rule)) => format!("({rule})"),
                (None, KeyDefault::None) => "(not set)".to_owned(),
            };
            Setting {
                key: name.to_owned(),
                value,
                origin: self.origin(name),
            }
        };
        let keys = KEYS.iter().map(|key| one(key.name, key.default));
        let held = self
            .all
            .held
            .keys()
            .filter(|name| table::role_part(name).is_some());
        let usual = ["device", "backend"].into_iter().flat_map(|role| {
            ROLE_KEYS
                .iter()
                .map(move |key| key.name.replace("NAME", role))
        });
        let mut roles: Vec<String> = held.cloned().chain(usual).collect();
        roles.sort();
        roles.dedup();
        let default = |name: &str| match (name.rsplit('.').next(), name.contains(".device.")) {
            (Some("aliases"), true) => KeyDefault::Value("cmxDevice*"),
            (Some("aliases"), false) => KeyDefault::Value("cmxBackend*"),
            (Some("operations"), true) => KeyDefault::Value("encrypt,decrypt,datakey,read"),
            (Some("operations"), false) => KeyDefault::Value("all"),
            _ => KeyDefault::Value("*"),
        };
        keys.chain(roles.iter().map(|name| one(name, default(name))))
            .collect()
    }
}
