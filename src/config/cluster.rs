//! `cluster.properties` -> [`Cluster`]: read when `kms.cache.type = distributed`, by the rules of `kms.properties`.
//!
//! The original named its `JGroups` configuration in the same place: that is recognised and answered. Must never be
//! true: a password on its way in plaintext to another machine without being asked for. Called by `build`.

pub mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::build::Builder;
use super::error::{Problem, Warning};
use super::model::{Origin, Setting};
use super::source;
use super::table::Key;
use super::url::{Endpoint, Url};
use super::value::Value;
use crate::secret::SecretString;

/// The keys that clients cannot use begin so.
pub const RESERVED_KEYS: &str = "connected-kms-cache";

/// How the engine's servers belong together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClusterMode {
    /// One server.
    Standalone,
    /// Sentinels tell which server of this name is the master.
    Sentinel {
        /// The name.
        master: String,
    },
    /// A Redis Cluster.
    Cluster,
}

/// User and password.
#[derive(Clone, Debug, Default)]
pub struct ClusterLogin {
    /// `None`: a password alone.
    pub username: Option<String>,
    /// Empty: no login.
    pub password: SecretString,
}

/// TLS to the engine.
#[derive(Clone, Debug)]
pub struct ClusterTls {
    /// Authorities, PEM.
    pub ca_file: PathBuf,
    /// Our certificate and its key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Name to expect, if not the server's host.
    pub server_name: Option<String>,
}

/// The shared cache.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The properties file.
    pub file: PathBuf,
    /// Name of the cluster.
    pub name: String,
    /// Name of this node; `None`: the host's.
    pub node: Option<String>,
    /// How the servers belong together.
    pub mode: ClusterMode,
    /// The server, the sentinels, or some servers of the cluster.
    pub addresses: Vec<Endpoint>,
    /// Into the servers.
    pub login: ClusterLogin,
    /// Into the sentinels.
    pub sentinel_login: ClusterLogin,
    /// `None`: plaintext.
    pub tls: Option<ClusterTls>,
    /// What a lookup may add to a miss.
    pub budget_ms: u64,
    /// Life of a record.
    pub ttl_s: u64,
    /// Name of the HSM's key.
    pub key: String,
    /// Life of a sealing key.
    pub key_life_h: u64,
    /// How often the token is looked at.
    pub poll_ms: u64,
    /// How long a node without the engine keeps its own cache.
    pub alone_max_s: u64,
    /// Operations at the HSM at once, if set.
    pub hsm_inflight_max: Option<usize>,
}

/// What [`read`] found.
pub(super) struct Read {
    pub cluster: Option<Cluster>,
    pub settings: Vec<Setting>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

/// Reads `file`, which `kms.distributed.cache.config.file` names.
pub(super) fn read(file: &Path, environment: &[(OsString, OsString)]) -> Read {
    let refuse = |problem| Read {
        cluster: None,
        settings: Vec::new(),
        problems: vec![problem],
        warnings: Vec::new(),
    };
    let (text, mode) = match source::read_file(file) {
        Ok(read) => read,
        Err(error) => {
            return refuse(Problem::Unreadable {
                path: file.to_owned(),
                reason: format!(
                    "{error} (kms.distributed.cache.config.file); conf/cluster.properties is an example, and \
                     docs/cluster.md tells how to set it up"
                ),
            });
        }
    };
    if is_jgroups(file, &text) {
        return refuse(jgroups(file));
    }
    let mut builder = Builder {
        folder: file.parent().unwrap_or(Path::new("")),
        all: source::gather(&table::CLUSTER, file, &text, environment),
    };
    let cluster = builder.cluster(file);
    let settings = builder.cluster_settings();
    let is_exposed = mode & 0o044 != 0;
    let here = |key: &str| matches!(builder.origin(key), Origin::File { .. });
    let holds_password = [table::PASSWORD.name, table::SENTINEL_PASSWORD.name]
        .iter()
        .any(|key| here(key));
    let mut warnings = std::mem::take(&mut builder.all.warnings);
    if is_exposed && holds_password {
        warnings.push(Warning::PasswordReadable {
            path: file.to_owned(),
            mode,
        });
    }
    Read {
        cluster,
        settings,
        problems: builder.all.problems,
        warnings,
    }
}

/// The original's file: XML, by its name or by its content.
fn is_jgroups(file: &Path, text: &[u8]) -> bool {
    let is_xml = file
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("xml"));
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    is_xml || text.trim_ascii_start().starts_with(b"<")
}

fn jgroups(file: &Path) -> Problem {
    Problem::Syntax {
        origin: Origin::File {
            path: file.to_owned(),
            line: 1,
        },
        reason: "this is the original's JGroups configuration. Nodes no longer find each other: they share a cache on \
                 Redis or Valkey. Begin with conf/cluster.properties and docs/cluster.md, and name that file in \
                 kms.distributed.cache.config.file; `kms migrate` takes over the rest of the original's settings"
            .to_owned(),
    }
}

/// Letters, digits and `more`.
fn is_name(text: &str, more: &str, max: usize) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    (1..=max).contains(&text.len()) && text.chars().all(legal)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Builder<'_> {
    fn cluster(&mut self, file: &Path) -> Option<Cluster> {
        let mode = self.cluster_mode();
        let addresses = self.cluster_addresses(&mode);
        let tls = self.cluster_tls(&addresses);
        self.cluster_names();
        let login = |builder: &Self, username, password| ClusterLogin {
            username: builder.text(username),
            password: builder.secret(password).unwrap_or_default(),
        };
        let number = |builder: &Self, key| builder.number(key).and_then(|n| u64::try_from(n).ok());
        for (username, password) in [
            (&table::USERNAME, &table::PASSWORD),
            (&table::SENTINEL_USERNAME, &table::SENTINEL_PASSWORD),
        ] {
            if self.text(username).is_some() && self.secret(password).is_none() {
                let remedy = format!("{} is set: set its password too", username.name);
                self.missing(password.name, &remedy);
            }
        }
        Some(Cluster {
            file: file.to_owned(),
            name: self.text(&table::NAME)?,
            node: self.text(&table::NODE),
            mode,
            addresses,
            login: login(self, &table::USERNAME, &table::PASSWORD),
            sentinel_login: login(self, &table::SENTINEL_USERNAME, &table::SENTINEL_PASSWORD),
            tls,
            budget_ms: number(self, &table::BUDGET_MS)?,
            ttl_s: number(self, &table::TTL_S)?,
            key: self.text(&table::KEY)?,
            key_life_h: number(self, &table::KEY_LIFE_H)?,
            poll_ms: number(self, &table::POLL_MS)?,
            alone_max_s: number(self, &table::ALONE_MAX_S)?,
            hsm_inflight_max: self.number(&table::HSM_INFLIGHT_MAX),
        })
    }

    fn cluster_mode(&mut self) -> ClusterMode {
        let master = self.text(&table::SENTINEL_MASTER);
        match (self.word(&table::MODE), master) {
            ("sentinel", Some(master)) => return ClusterMode::Sentinel { master },
            ("cluster", _) => {}
            _ => {
                self.refuse_sentinel("standalone");
                return ClusterMode::Standalone;
            }
        }
        self.refuse_sentinel("cluster");
        ClusterMode::Cluster
    }

    fn refuse_sentinel(&mut self, mode: &str) {
        for key in [
            &table::SENTINEL_MASTER,
            &table::SENTINEL_USERNAME,
            &table::SENTINEL_PASSWORD,
        ] {
            let origin = self.origin(key.name);
            if origin != Origin::Default {
                self.all.problems.push(Problem::Conflict {
                    origin,
                    reason: format!(
                        "{} is set and kms.cluster.mode is {mode}: set that to sentinel, or remove this",
                        key.name
                    ),
                });
            }
        }
    }

    fn cluster_addresses(&mut self, mode: &ClusterMode) -> Vec<Endpoint> {
        let Some(Value::Urls(urls)) = self.value(&table::ADDRESSES) else {
            self.missing(
                table::ADDRESSES.name,
                "name the server, the sentinels, or some servers of the cluster",
            );
            return Vec::new();
        };
        if *mode == ClusterMode::Standalone && urls.len() > 1 {
            self.all.problems.push(Problem::Conflict {
                origin: self.origin(table::ADDRESSES.name),
                reason: "kms.cluster.addresses names several servers and kms.cluster.mode is standalone: name one, or \
                         set kms.cluster.mode to sentinel or cluster"
                    .to_owned(),
            });
        }
        let port = match mode {
            ClusterMode::Sentinel { .. } => 26_379,
            _ => 6_379,
        };
        let endpoint = |url: Url| Endpoint {
            port: url.port.unwrap_or(port),
            host: url.host,
        };
        urls.into_iter().map(endpoint).collect()
    }

    fn cluster_tls(&mut self, addresses: &[Endpoint]) -> Option<ClusterTls> {
        if self.word(&table::TLS) == "off" {
            let far = addresses.iter().find(|one| !is_loopback(&one.host));
            if let (Some(far), "no") = (far, self.word(&table::PLAINTEXT_ALLOWED)) {
                self.all.problems.push(Problem::Conflict {
                    origin: self.origin(table::TLS.name),
                    reason: format!(
                        "kms.cluster.tls is off and {far} may be another machine: set it to on, or, if everybody on the \
                         way may know the password, kms.cluster.plaintext.allowed to yes"
                    ),
                });
            }
            return None;
        }
        let ca_file = self.path(&table::TLS_CA_FILE);
        if ca_file.is_none() {
            self.missing(
                table::TLS_CA_FILE.name,
                "kms.cluster.tls is on: name the file of the authority that signed the engine's certificates",
            );
        }
        let client = match (
            self.path(&table::TLS_CERT_FILE),
            self.path(&table::TLS_KEY_FILE),
        ) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (cert, _) => {
                let missing = if cert.is_none() {
                    &table::TLS_CERT_FILE
                } else {
                    &table::TLS_KEY_FILE
                };
                self.missing(
                    missing.name,
                    "certificate and private key belong together: set both or neither",
                );
                None
            }
        };
        Some(ClusterTls {
            ca_file: ca_file?,
            client,
            server_name: self.text(&table::TLS_SERVER_NAME),
        })
    }

    fn cluster_names(&mut self) {
        for (key, is_right, reason) in [
            (
                &table::NAME,
                (|text: &str| is_name(text, "-_", 32)) as fn(&str) -> bool,
                "letters, digits, - and _, at most 32",
            ),
            (
                &table::NODE,
                |text| is_name(text, "-_.", 64),
                "letters, digits, -, _ and dots, at most 64",
            ),
            (
                &table::KEY,
                |text| text.starts_with(RESERVED_KEYS) && is_name(text, "-_.", 128),
                "it begins with connected-kms-cache, and has letters, digits, -, _ and dots",
            ),
        ] {
            let Some(text) = self.text(key).filter(|text| !is_right(text)) else {
                continue;
            };
            self.all.problems.push(Problem::BadValue {
                origin: self.origin(key.name),
                key: key.name.to_owned(),
                value: Some(text),
                reason: "it is part of names in the engine or the HSM".to_owned(),
                expected: reason.to_owned(),
            });
        }
    }

    fn cluster_settings(&self) -> Vec<Setting> {
        let one = |key: &&'static Key| self.setting(key.name, key.default);
        table::KEYS.iter().map(one).collect()
    }
}
