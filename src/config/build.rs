//! Gathered values -> [`Config`]: defaults, relations between keys, and every problem in one answer.

mod client_ca;
mod hsm;
mod roles;
mod vault;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::cluster;
use super::error::{ConfigError, Problem, Warning};
use super::model::{
    Audit, AuditMode, CacheSettings, ClientLimits, Config, Control, KeystoreRef, LogFormat,
    LogSettings, Origin, Server, Setting, Sizes,
};
use super::network::Network;
use super::source::{self, Gathered};
use super::table::{self, Default as KeyDefault, KEYS, Key};
use super::value::{self, Value};
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
        all: source::gather(&table::MAIN, file, text, &environment),
    };
    let config = builder.config(file, &environment);
    let Gathered {
        mut problems,
        warnings,
        ..
    } = builder.all;
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
        _ => {
            problems.sort_by_key(Problem::line);
            Err(ConfigError::new(file, problems, warnings))
        }
    }
}

/// Gathers the parts.
pub(super) struct Builder<'a> {
    pub(super) folder: &'a Path,
    pub(super) all: Gathered,
}

impl Builder<'_> {
    /// The value in force: set, or the default; `None` if unset, derived or refused.
    pub(super) fn value(&self, key: &Key) -> Option<Value> {
        match (self.all.held.get(key.name), key.default) {
            (Some(held), _) => Some(held.value.clone()),
            (None, KeyDefault::Value(text)) => value::check(key.kind, text, self.folder).ok(),
            (None, _) => None,
        }
    }

    pub(super) fn number(&self, key: &Key) -> Option<usize> {
        if let Some(Value::Number(number)) = self.value(key) {
            usize::try_from(number).ok()
        } else {
            None
        }
    }

    pub(super) fn text(&self, key: &Key) -> Option<String> {
        if let Some(Value::Text(text)) = self.value(key) {
            Some(text)
        } else {
            None
        }
    }

    pub(super) fn word(&self, key: &Key) -> &'static str {
        if let Some(Value::Choice(word)) = self.value(key) {
            word
        } else {
            ""
        }
    }

    pub(super) fn path(&self, key: &Key) -> Option<std::path::PathBuf> {
        if let Some(Value::Path(path)) = self.value(key) {
            Some(path)
        } else {
            None
        }
    }

    pub(super) fn secret(&self, key: &Key) -> Option<SecretString> {
        if let Some(Value::Secret(secret)) = self.value(key) {
            Some(secret)
        } else {
            None
        }
    }

    pub(super) fn origin(&self, name: &str) -> Origin {
        self.all
            .held
            .get(name)
            .map_or(Origin::Default, |held| held.origin.clone())
    }

    /// Notes that a needed key is missing, unless its value was refused already.
    pub(super) fn missing(&mut self, name: &str, remedy: &str) {
        if !self.all.refused.iter().any(|refused| refused == name) {
            self.all.problems.push(Problem::Missing {
                key: name.to_owned(),
                remedy: remedy.to_owned(),
            });
        }
    }

    fn config(&mut self, file: &Path, environment: &[(OsString, OsString)]) -> Option<Config> {
        let keystore = self.keystore();
        let hsm = self.hsm();
        let roles = self.roles();
        let mut settings = self.settings();
        let cache = self.cache(environment, &mut settings);
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
            proxies: self.proxies(),
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
        let limits = ClientLimits {
            inflight: self.number(&table::LIMIT_INFLIGHT),
            rate: self.number(&table::LIMIT_RATE)?,
            connections: self.number(&table::LIMIT_CONNECTIONS),
        };
        let log = self.log()?;
        let (hsm, cache) = (hsm?, cache?);
        Some(Config {
            file: file.to_owned(),
            server,
            health_address,
            control: self.control()?,
            keystore,
            client_alias,
            hsm,
            cache,
            roles,
            limits,
            log,
            audit: self.audit()?,
            sizes,
            settings,
        })
    }

    fn audit(&mut self) -> Option<Audit> {
        let file = self.path(&table::AUDIT_FILE)?;
        let beside = || {
            let mut name = file.clone().into_os_string();
            name.push(".key");
            name.into()
        };
        Some(Audit {
            key_file: self.path(&table::AUDIT_KEY_FILE).unwrap_or_else(beside),
            is_set: self.origin(table::AUDIT_FILE.name) != Origin::Default,
            mode: match self.word(&table::AUDIT_MODE) {
                "strict" => Some(AuditMode::Strict),
                "best-effort" => Some(AuditMode::BestEffort),
                _ => None,
            },
            sync: self.word(&table::AUDIT_SYNC) == "on",
            file,
        })
    }

    fn control(&mut self) -> Option<Control> {
        Some(Control {
            socket: self.path(&table::CONTROL_SOCKET)?,
            is_set: self.origin(table::CONTROL_SOCKET.name) != Origin::Default,
        })
    }

    fn proxies(&mut self) -> Vec<Network> {
        let from = self.value(&table::SERVER_PROXY_FROM);
        let on = self.word(&table::SERVER_PROXY_PROTOCOL) == "v2";
        match (on, from) {
            (true, Some(Value::Networks(networks))) => networks,
            (true, _) => {
                self.missing(
                    table::SERVER_PROXY_FROM.name,
                    "name the load balancers: whoever may send the header may claim any client's address",
                );
                Vec::new()
            }
            (false, Some(_)) => {
                self.all.problems.push(Problem::Conflict {
                    origin: self.origin(table::SERVER_PROXY_FROM.name),
                    reason: "kms.server.proxy-protocol.from is set and kms.server.proxy-protocol is off; set that \
                             to v2, or remove this"
                        .to_owned(),
                });
                Vec::new()
            }
            (false, None) => Vec::new(),
        }
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

    fn cache(
        &mut self,
        environment: &[(OsString, OsString)],
        settings: &mut Vec<Setting>,
    ) -> Option<CacheSettings> {
        let cluster = if self.word(&table::CACHE_TYPE) == "distributed" {
            let file = self.path(&table::CACHE_CLUSTER_FILE)?;
            let read = cluster::read(&file, environment);
            settings.extend(read.settings);
            self.all.problems.extend(read.problems);
            self.all.warnings.extend(read.warnings);
            if self.word(&table::HSM_PROTOCOL) == "EMBEDDED" {
                self.all.problems.push(Problem::Conflict {
                    origin: self.origin(table::CACHE_TYPE.name),
                    reason: "kms.cache.type is distributed and kms.hsm.protocol is EMBEDDED: each node would have \
                             master keys of its own, so there is nothing to share; use none"
                        .to_owned(),
                });
            }
            Some(read.cluster?)
        } else {
            None
        };
        let ttl_s = u32::try_from(self.number(&table::CACHE_TTL_S)?).ok()?;
        let stale_max_s = u32::try_from(self.number(&table::CACHE_STALE_MAX_S)?).ok()?;
        Some(CacheSettings {
            cluster,
            entries_max: self.number(&table::CACHE_ENTRIES_MAX)?,
            ttl_s,
            stale_max_s,
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
}
