//! Which certificates have which role, both ways: for `kms check`.

use serde::Serialize;

use crate::config::Config;
use crate::identity::{CaFacts, Snapshot};

use super::{Credentials, StartError};

/// A role, and who has it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RoleHolders {
    /// NAME of `kms.role.NAME`.
    pub role: String,
    /// What it may do.
    pub operations: Vec<&'static str>,
    /// On which keys.
    pub keys: Vec<String>,
    /// Aliases of the pinned certificates.
    pub certificates: Vec<String>,
    /// The CAs that vouch for further ones.
    pub client_cas: Vec<ClientCa>,
    /// Which of their certificates, by subject.
    pub ca_subjects: Vec<String>,
    /// Which of them, by alternative name.
    pub ca_san: Vec<String>,
}

/// A client CA of a role.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ClientCa {
    /// Keystore alias.
    pub alias: String,
    /// Its subject.
    pub subject: String,
    /// How many certificates its lists name as revoked; `None`: there are no lists.
    pub revoked: Option<usize>,
}

/// All roles, and the trusted certificates that have none and serve for nothing else.
pub fn roles(
    config: &Config,
    credentials: &Credentials,
) -> Result<(Vec<RoleHolders>, Vec<String>), StartError> {
    let snapshot = credentials.snapshot(config)?;
    let all = config.roles.iter().map(|settings| {
        let ca = settings.ca.as_ref();
        RoleHolders {
            role: settings.name.clone(),
            operations: settings.operations.clone(),
            keys: settings.keys.clone(),
            certificates: pins_of(&snapshot, &settings.name),
            client_cas: ca.map_or_else(Vec::new, |ca| client_cas(&snapshot, &ca.aliases)),
            ca_subjects: ca.map_or_else(Vec::new, |ca| texts(&ca.subjects)),
            ca_san: ca.map_or_else(Vec::new, |ca| texts(&ca.sans)),
        }
    });
    let all: Vec<RoleHolders> = all.collect();
    let is_used = |alias: &String| {
        let cas = config.roles.iter().filter_map(|role| role.ca.as_ref());
        let mut cas = cas.flat_map(|ca| &ca.aliases);
        cas.any(|ca| ca == alias)
            || config.hsm.ca_aliases.contains(alias)
            || all.iter().any(|role| role.certificates.contains(alias))
    };
    let mut without: Vec<String> = credentials
        .trusted_aliases()
        .map(str::to_lowercase)
        .collect();
    without.retain(|alias| !is_used(alias));
    without.sort();
    Ok((all, without))
}

fn texts(globs: &[impl ToString]) -> Vec<String> {
    globs.iter().map(ToString::to_string).collect()
}

fn pins_of(snapshot: &Snapshot, role: &str) -> Vec<String> {
    let pins = snapshot.pins.values();
    let held = pins.filter(|pin| pin.role.name == role);
    let mut aliases: Vec<String> = held.map(|pin| pin.alias.clone()).collect();
    aliases.sort();
    aliases
}

fn client_cas(snapshot: &Snapshot, aliases: &[String]) -> Vec<ClientCa> {
    let named = |ca: &CaFacts<'_>| aliases.iter().any(|alias| alias == ca.alias());
    let facts = snapshot.client_cas.facts().into_iter().filter(named);
    let client_ca = |ca: CaFacts<'_>| ClientCa {
        alias: ca.alias().to_owned(),
        subject: ca.subject().to_owned(),
        revoked: match ca.lists() {
            [] => None,
            lists => Some(lists.iter().map(|list| list.revoked).sum()),
        },
    };
    facts.map(client_ca).collect()
}
