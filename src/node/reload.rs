//! A changed configuration and changed keystores in a running node: whole, or not at all.
//!
//! Everything is read and checked first; then pins, server certificate, the way to the HSM, limits and log level
//! take effect together. What was sized at start stays as it is and is named. Must never be true: a state in
//! force of which a part was refused; a pin that was removed and still serves; a secret in a report.
//! Called on SIGHUP, on `kms reload` and when the files change.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

use crate::config::{self, Config, ConfigError, Loaded, Origin, Protocol, Setting};
use crate::identity::Snapshot;
use crate::net::tls;
use crate::server::{Bell, Shared};

use super::{Credentials, StartError, backend, client_cas, plan_for_this_machine};

/// Keys, or beginnings of keys, whose change takes effect by a reload; all others wait for a start.
const RELOADABLE: [&str; 13] = [
    "kms.keystore.",
    "kms.server.keystore.",
    "kms.server.alias",
    "kms.hsm.ca.alias",
    "kms.hsm.fingerprint",
    "kms.hsm.server.name",
    "kms.hsm.server.url",
    "kms.hsm.server.port",
    "kms.role.",
    "kms.limit.inflight",
    "kms.limit.rate",
    "kms.limit.connections",
    "kms.log.level",
];

/// What a reload did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// What is different now, a sentence each; empty: nothing had changed.
    pub changes: Vec<String>,
    /// Keys that have changed since the start and take effect at the next one.
    pub needs_restart: Vec<String>,
    /// As at start.
    pub warnings: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum ReloadError {
    /// The properties file.
    Config(ConfigError),
    /// Anything that it names.
    State(StartError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::State(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// What the way to the HSM is made of, to see whether it changed.
#[derive(Clone, Eq, PartialEq)]
struct Face {
    /// Host, port and expected name of each.
    servers: Vec<(String, u16, Option<String>)>,
    client: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
    fingerprint: Option<[u8; 32]>,
}

impl Face {
    fn of(config: &Config, credentials: &Credentials) -> Self {
        let name = &config.hsm.server_name;
        let servers = config.hsm.endpoints.iter();
        Self {
            servers: servers
                .map(|at| (at.host.clone(), at.port, name.clone()))
                .collect(),
            client: credentials
                .client()
                .map_or_else(Vec::new, |client| client.chain.clone()),
            authorities: credentials.authorities().to_vec(),
            fingerprint: config.hsm.fingerprint,
        }
    }
}

/// What is in force.
struct Running {
    config: Config,
    server: Vec<CertificateDer<'static>>,
    face: Face,
}

/// Takes new state into a running node.
pub struct Reloader {
    /// As at the start: what was sized by it.
    start: Vec<Setting>,
    /// Of the back end that runs: another one waits for the next start.
    protocol: Protocol,
    running: Mutex<Running>,
    shared: Arc<Shared>,
    bell: Bell,
}

impl Reloader {
    pub(super) fn new(
        config: &Config,
        credentials: &Credentials,
        shared: Arc<Shared>,
        bell: Bell,
    ) -> Self {
        shared
            .certificates
            .store(Arc::new(credentials.expiries(config)));
        Self {
            start: config.effective().to_vec(),
            protocol: config.hsm.protocol,
            running: Mutex::new(Running {
                config: config.clone(),
                server: credentials.server().chain.clone(),
                face: Face::of(config, credentials),
            }),
            shared,
            bell,
        }
    }

    /// The files whose change is of interest.
    pub(super) fn files(&self) -> Vec<std::path::PathBuf> {
        let config = &self.running.lock().config;
        let mut files = vec![config.file.clone(), config.keystore.file.clone()];
        files.push(config.server.keystore.file.clone());
        files.extend(client_cas::files(config));
        files.extend(config.effective().iter().filter_map(keystore_password));
        files.dedup();
        files
    }

    /// Reads the properties file again, and everything that it names.
    pub fn reload(&self) -> Result<Report, ReloadError> {
        let file = self.running.lock().config.file.clone();
        match config::load(&file, std::env::vars_os()) {
            Ok(loaded) => self.take(&loaded),
            Err(error) => Err(self.refuse(ReloadError::Config(error))),
        }
    }

    /// Takes `loaded` for the properties file.
    pub fn take(&self, loaded: &Loaded) -> Result<Report, ReloadError> {
        let mut running = self.running.lock();
        match self.apply(&mut running, &loaded.config) {
            Ok(mut report) => {
                let warnings = loaded.warnings.iter().map(ToString::to_string);
                report.warnings.splice(0..0, warnings);
                self.shared.metrics.reloaded(true);
                *self.shared.reload_refused.lock() = None;
                log_report(&report);
                Ok(report)
            }
            Err(error) => Err(self.refuse(ReloadError::State(error))),
        }
    }

    fn refuse(&self, error: ReloadError) -> ReloadError {
        self.shared.metrics.reloaded(false);
        *self.shared.reload_refused.lock() = Some(error.to_string());
        log::error!("reload refused, the old state serves on: {error}");
        error
    }

    fn apply(&self, running: &mut Running, config: &Config) -> Result<Report, StartError> {
        // Checks, all of them before the first change.
        let credentials = Credentials::load(config)?;
        let mut pins = credentials.snapshot(config)?;
        let server_tls = tls::service_config(credentials.server(), Arc::clone(&self.shared.pins))
            .map_err(|error| StartError::ServerCertificate(error.to_string()))?;
        let face = Face::of(config, &credentials);
        // Not what was accepted last: that may be waiting for a start.
        let is_same_backend = config.hsm.protocol == self.protocol;
        let way = if is_same_backend && face != running.face {
            backend::way(config, &credentials)?
        } else {
            None
        };

        let mut report = Report {
            warnings: credentials.warnings().to_vec(),
            needs_restart: changed(&self.start, config.effective(), false),
            ..Report::default()
        };
        let old = self.shared.pins.load_full();
        report.changes.extend(pin_changes(&old, &pins));
        let server = credentials.server().chain.clone();
        let is_new_server = server != running.server;
        if is_new_server {
            report
                .changes
                .push("the server certificate was replaced".to_owned());
        }
        let settings = changed(running.config.effective(), config.effective(), true);
        report.changes.extend(settings);

        pins.generation = old.generation + 1;
        let is_new_peer = is_new_server || !report.changes.is_empty();
        Snapshot::revoke_missing(&old, &pins);
        self.shared.pins.store(Arc::new(pins));
        if is_new_peer {
            // Its session store is empty, so nobody resumes what a removed certificate began.
            self.shared.tls.store(server_tls);
        }
        self.bell.ring();
        if let Some(way) = way {
            self.shared.engine.hsm().renew(way);
            report
                .changes
                .push("connections to the HSM are made anew".to_owned());
        }
        self.limit(config);
        log::set_max_level(config.log.level);
        let expiries = credentials.expiries(config);
        self.shared.certificates.store(Arc::new(expiries));
        *running = Running {
            config: config.clone(),
            server,
            face: if is_same_backend {
                face
            } else {
                running.face.clone()
            },
        };
        Ok(report)
    }

    fn limit(&self, config: &Config) {
        let plan = plan_for_this_machine(config);
        let limits = self.shared.quota.limits();
        for (limit, value) in [
            (&limits.inflight, plan.client_inflight_max),
            (&limits.rate, config.limits.rate),
            (&limits.connections, plan.address_connections_max),
        ] {
            limit.store(value, Ordering::Relaxed);
        }
    }
}

/// The file of a keystore's password: a new keystore may come before it, and is refused until it is there.
fn keystore_password(setting: &Setting) -> Option<std::path::PathBuf> {
    let key = &setting.key;
    match &setting.origin {
        Origin::SecretFile(file)
            if key.starts_with("kms.keystore.") || key.starts_with("kms.server.keystore.") =>
        {
            Some(file.clone())
        }
        _ => None,
    }
}

fn log_report(report: &Report) {
    for warning in &report.warnings {
        log::warn!("{warning}");
    }
    for key in &report.needs_restart {
        log::warn!("reload: {key} has changed and takes effect at the next start");
    }
    match report.changes.as_slice() {
        [] => log::info!("reloaded; nothing that can be reloaded has changed"),
        changes => log::info!("reloaded: {}", changes.join("; ")),
    }
}

fn is_reloadable(key: &str) -> bool {
    RELOADABLE
        .iter()
        .any(|known| key == *known || (known.ends_with('.') && key.starts_with(known)))
}

/// Keys that are not in `new` as in `old`: those that a reload takes, with their values, or the others.
fn changed(old: &[Setting], new: &[Setting], reloadable: bool) -> Vec<String> {
    let find = |settings: &[Setting], key: &str| {
        let mut found = settings.iter().filter(|setting| setting.key == key);
        found.next().map(|setting| setting.value.clone())
    };
    let keys: Vec<&str> = old.iter().chain(new).map(|setting| &*setting.key).collect();
    let mut seen = HashSet::new();
    let differs = |key: &&str| find(old, key) != find(new, key);
    let unset = || "(not set)".to_owned();
    keys.into_iter()
        .filter(|key| seen.insert(*key) && is_reloadable(key) == reloadable)
        .filter(differs)
        .map(|key| {
            let before = find(old, key).unwrap_or_else(unset);
            let after = find(new, key).unwrap_or_else(unset);
            format!("{key}: {before} -> {after}")
        })
        .collect()
}

fn pin_changes(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let missing = |from: &Snapshot, of: &Snapshot, what: &str| {
        let mut gone: Vec<String> = of
            .pins
            .iter()
            .filter(|(print, _)| !from.pins.contains_key(*print))
            .map(|(_, pin)| {
                format!(
                    "client certificate '{}' ({}) {what}",
                    pin.alias, pin.subject
                )
            })
            .collect();
        gone.sort();
        gone
    };
    let mut all = missing(new, old, "removed");
    all.extend(missing(old, new, "added"));
    all.extend(client_cas::changes(&old.client_cas, &new.client_cas));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Vec<Setting> {
        let setting = |(key, value): &(&str, &str)| Setting {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            origin: Origin::Default,
        };
        pairs.iter().map(setting).collect()
    }

    #[test]
    fn keys_are_told_apart_by_when_they_take_effect() {
        let old = settings(&[
            ("kms.limit.rate", "0"),
            ("kms.threads", "2"),
            ("kms.cache.ttl.s", "300"),
            ("kms.role.device.keys", "*"),
        ]);
        let new = settings(&[
            ("kms.limit.rate", "10"),
            ("kms.threads", "4"),
            ("kms.cache.ttl.s", "300"),
            ("kms.role.audit.keys", "a*"),
        ]);
        for (name, reloadable, want) in [
            (
                "taken",
                true,
                &[
                    "kms.limit.rate: 0 -> 10",
                    "kms.role.device.keys: * -> (not set)",
                    "kms.role.audit.keys: (not set) -> a*",
                ][..],
            ),
            ("left", false, &["kms.threads: 2 -> 4"]),
        ] {
            assert_eq!(changed(&old, &new, reloadable), want, "{name}");
        }
        assert!(is_reloadable("kms.server.alias") && !is_reloadable("kms.server.port"));
        assert!(!is_reloadable("kms.limit.rates") && is_reloadable("kms.keystore.password"));
    }
}
