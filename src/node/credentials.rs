//! What the keystores hold, sorted by use: server certificate, client certificate, HSM CAs, pins, client CAs.

use std::borrow::Cow;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;

use crate::config::{Config, KeystoreRef, Origin, Protocol, RoleSettings};
use crate::identity::{self, BuildWarning, CaSpec, Expiry, Operations, RoleSpec, Snapshot};
use crate::keystore::{self, CertificateFacts, KeyEntry, Keystore};
use crate::limits::KEYSTORE_BYTES_MAX;
use crate::net::tls::Identity;

use super::StartError;
use super::client_cas::{self, Lists};

/// Alias of the server certificate when nothing else tells.
const SERVER_ALIAS: &str = "kmsserver";

/// Everything a node needs from its keystores.
pub struct Credentials {
    server: Identity,
    server_alias: String,
    client: Option<Identity>,
    authorities: Vec<CertificateDer<'static>>,
    trusted: Vec<identity::CertificateFacts>,
    lists: Lists,
    warnings: Vec<String>,
}

/// A chain that is shown to others.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Lower-cased keystore alias.
    pub alias: &'a str,
    /// `server` or `hsm-client`.
    pub usage: &'static str,
    /// Its own certificate first.
    pub certificates: &'a [CertificateDer<'static>],
}

impl Credentials {
    /// Opens the keystores of `config` and finds everything it names.
    pub fn load(config: &Config) -> Result<Self, StartError> {
        let main = open("kms.keystore.file", &config.keystore)?;
        let other = if config.server.keystore.file == config.keystore.file {
            None
        } else {
            Some(open("kms.server.keystore.file", &config.server.keystore)?)
        };
        Self::of(config, &main, other.as_ref())
    }

    /// Finds everything that `config` names in opened keystores: that of `kms.keystore.file`, and that of
    /// `kms.server.keystore.file` where it is another.
    pub fn of(
        config: &Config,
        main: &Keystore,
        other: Option<&Keystore>,
    ) -> Result<Self, StartError> {
        let server = server_entry(config, other.unwrap_or(main))?;
        let (server_alias, server) = (server.alias.clone(), identity_of(server));
        let client = main.key(&config.client_alias).map(identity_of);
        let needs_hsm = !config.hsm.endpoints.is_empty();
        // A Vault knows this server by its token and need not ask for a certificate; one that is named must be there.
        let needs_client = match config.hsm.protocol {
            Protocol::Vault => is_set(config, "kms.keystore.alias"),
            _ => needs_hsm,
        };
        if client.is_none() && needs_client {
            return Err(missing(main, "kms.keystore.alias", &config.client_alias));
        }
        let mut authorities = Vec::new();
        if needs_hsm && config.hsm.fingerprint.is_none() {
            for alias in &config.hsm.ca_aliases {
                let entry = main
                    .trusted(alias)
                    .ok_or_else(|| missing(main, "kms.hsm.ca.alias", alias))?;
                authorities.push(entry.certificate.clone());
            }
        }
        for role in &config.roles {
            for alias in role.ca.iter().flat_map(|ca| &ca.aliases) {
                let key = format!("kms.role.{}.ca.alias", role.name);
                main.trusted(alias)
                    .ok_or_else(|| missing(main, key, alias))?;
            }
        }
        let trusted = main
            .trusted
            .iter()
            .map(facts)
            .collect::<Result<Vec<_>, _>>()?;
        let mut credentials = Self {
            server,
            server_alias,
            client,
            authorities,
            trusted,
            lists: Lists::load(config)?,
            warnings: Vec::new(),
        };
        let (_, warnings) = credentials.build(config)?;
        let mended = [Some(main), other].into_iter().flatten();
        let mended = mended
            .flat_map(|store| &store.mended)
            .map(ToString::to_string);
        credentials.warnings = mended
            .chain(warnings.iter().map(ToString::to_string))
            .collect();
        Ok(credentials)
    }

    /// The certificate shown to clients.
    pub fn server(&self) -> &Identity {
        &self.server
    }

    /// The certificate shown to the HSM.
    pub fn client(&self) -> Option<&Identity> {
        self.client.as_ref()
    }

    /// Who may vouch for the HSM.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Aliases of all trusted certificates.
    pub(super) fn trusted_aliases(&self) -> impl Iterator<Item = &str> {
        self.trusted.iter().map(|facts| facts.alias.as_str())
    }

    /// What an operator should know: pins without roles, roles without pins, expiry.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The pins with their roles, as of now.
    pub fn snapshot(&self, config: &Config) -> Result<Snapshot, StartError> {
        self.build(config).map(|(snapshot, _)| snapshot)
    }

    /// Every certificate here that somebody relies on, and its end.
    pub fn expiries(&self, config: &Config) -> Vec<Expiry> {
        let expiry = |alias: &str, usage, der: &CertificateDer<'_>| {
            let facts = CertificateFacts::from_der(der).ok()?;
            Some(Expiry::of_certificate(alias, usage, facts.not_after_unix_s))
        };
        let leaf = |alias: &str, usage, identity: &Identity| {
            identity
                .chain
                .first()
                .and_then(|leaf| expiry(alias, usage, leaf))
        };
        let mut all = Vec::new();
        all.extend(leaf(&self.server_alias, "server", &self.server));
        let client = self.client.as_ref();
        all.extend(client.and_then(|client| leaf(&config.client_alias, "hsm-client", client)));
        for (alias, authority) in config.hsm.ca_aliases.iter().zip(&self.authorities) {
            all.extend(expiry(alias, "hsm-ca", authority));
        }
        if let Ok(pins) = self.snapshot(config) {
            let mut clients: Vec<Expiry> = pins.pins.values().map(|pin| pin.expiry()).collect();
            clients.sort_by(|a, b| a.alias.cmp(&b.alias));
            all.extend(clients);
            all.extend(client_cas::expiries(&pins.client_cas));
        }
        all
    }

    /// The chains that are shown to others.
    pub fn shown<'a>(&'a self, config: &'a Config) -> Vec<Shown<'a>> {
        let mut all = vec![Shown {
            alias: &self.server_alias,
            usage: "server",
            certificates: &self.server.chain,
        }];
        all.extend(self.client.as_ref().map(|client| Shown {
            alias: &config.client_alias,
            usage: "hsm-client",
            certificates: &client.chain,
        }));
        all
    }

    /// All other certificates of the keystores, and the HSM's authorities.
    pub fn others(&self) -> Vec<CertificateDer<'static>> {
        let trusted = self.trusted.iter();
        let mut all: Vec<_> = trusted
            .map(|one| CertificateDer::from(one.der.clone()))
            .collect();
        all.extend_from_slice(&self.authorities);
        all
    }

    /// First and last second of validity, since 1970, of every certificate here.
    pub fn validities(&self) -> Vec<(i64, i64)> {
        let mut all = self.others();
        let client = self.client.as_ref().map(|client| &client.chain);
        all.extend(
            self.server
                .chain
                .iter()
                .chain(client.into_iter().flatten())
                .cloned(),
        );
        let facts = all
            .iter()
            .filter_map(|der| CertificateFacts::from_der(der).ok());
        facts
            .map(|facts| (facts.not_before_unix_s, facts.not_after_unix_s))
            .collect()
    }

    fn build(&self, config: &Config) -> Result<(Snapshot, Vec<BuildWarning>), StartError> {
        let roles = config
            .roles
            .iter()
            .map(|settings| self.role(settings))
            .collect::<Result<Vec<_>, _>>()?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_unix_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        Snapshot::build(
            &roles,
            self.trusted.iter().cloned(),
            &config.hsm.ca_aliases,
            0,
            now_unix_s,
        )
        .map_err(StartError::Identity)
    }

    fn role(&self, settings: &RoleSettings) -> Result<RoleSpec, StartError> {
        let operations: Operations = settings.operations.join(",").parse().map_err(|error| {
            StartError::Backend(format!("kms.role.{}.operations: {error}", settings.name))
        })?;
        let ca = settings.ca.as_ref().map(|ca| CaSpec {
            aliases: ca.aliases.clone(),
            subjects: ca.subjects.clone(),
            sans: ca.sans.clone(),
            lists: ca.crl_file.as_ref().map(|file| self.lists.of(file)),
        });
        Ok(RoleSpec {
            name: settings.name.clone(),
            alias_globs: settings.aliases.clone(),
            operations,
            key_globs: settings.keys.clone(),
            ca,
        })
    }
}

fn is_set(config: &Config, key: &str) -> bool {
    let mut settings = config.effective().iter();
    settings.any(|setting| setting.key == key && setting.origin != Origin::Default)
}

fn open(key: &'static str, at: &KeystoreRef) -> Result<Keystore, StartError> {
    let bytes = read(key.into(), &at.file, KEYSTORE_BYTES_MAX)?;
    keystore::open(&bytes, &at.password, at.key_password.as_ref()).map_err(|error| {
        StartError::Keystore {
            file: at.file.clone(),
            error,
        }
    })
}

/// Reads a file of bounded size.
pub(super) fn read(
    key: Cow<'static, str>,
    file: &Path,
    bytes_max: usize,
) -> Result<Vec<u8>, StartError> {
    let read = || {
        let meta = std::fs::metadata(file)?;
        if !meta.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        let len = meta.len();
        if len > bytes_max as u64 {
            let text = format!("{len} bytes; it may have {bytes_max}");
            return Err(std::io::Error::other(text));
        }
        std::fs::read(file)
    };
    read().map_err(|error| StartError::Read {
        key,
        file: file.to_owned(),
        error,
    })
}

/// The configured alias; else the only private key that is not the client's; else `kmsServer`.
fn server_entry<'a>(config: &Config, store: &'a Keystore) -> Result<&'a KeyEntry, StartError> {
    if let Some(alias) = &config.server.alias {
        return store
            .key(alias)
            .ok_or_else(|| missing(store, "kms.server.alias", alias));
    }
    let mut others = store
        .keys
        .iter()
        .filter(|entry| entry.alias != config.client_alias);
    match (others.next(), others.next()) {
        (Some(only), None) => Ok(only),
        _ => store
            .key(SERVER_ALIAS)
            .ok_or_else(|| missing(store, "kms.server.alias", SERVER_ALIAS)),
    }
}

fn missing(store: &Keystore, key: impl Into<Cow<'static, str>>, alias: &str) -> StartError {
    let held: Vec<&str> = store.aliases().collect();
    let hint = match store.did_you_mean(alias) {
        Some(near) => format!("did you mean '{near}'? It holds: {}", held.join(", ")),
        None => format!("it holds: {}", held.join(", ")),
    };
    StartError::Alias {
        key: key.into(),
        alias: alias.to_owned(),
        hint,
    }
}

fn identity_of(entry: &KeyEntry) -> Identity {
    Identity {
        chain: entry.chain.clone(),
        key: entry.key.clone_key(),
    }
}

fn facts(entry: &keystore::TrustedEntry) -> Result<identity::CertificateFacts, StartError> {
    let facts = CertificateFacts::from_der(&entry.certificate).map_err(|error| {
        StartError::Certificate {
            alias: entry.alias.clone(),
            why: error.to_string(),
        }
    })?;
    Ok(identity::CertificateFacts {
        alias: entry.alias.clone(),
        der: entry.certificate.to_vec(),
        subject: facts.subject,
        not_before_unix_s: facts.not_before_unix_s,
        not_after_unix_s: facts.not_after_unix_s,
        spki: facts.spki,
    })
}
