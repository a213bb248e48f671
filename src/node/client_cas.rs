//! The client CAs of a configuration: their lists of revoked certificates read, their ends, what a reload changed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::identity::{CaFacts, ClientCas, Expiry, fingerprint};
use crate::keystore::{RevocationList, revocation_lists};
use crate::limits::CRL_FILE_BYTES_MAX;

use super::StartError;
use super::credentials::read;

/// What the files of `kms.role.NAME.ca.crl.file` hold.
#[derive(Default)]
pub(super) struct Lists(HashMap<PathBuf, Vec<Arc<RevocationList>>>);

impl Lists {
    /// Reads each file once.
    pub(super) fn load(config: &Config) -> Result<Self, StartError> {
        let mut held = HashMap::new();
        for role in &config.roles {
            let Some(file) = role.ca.as_ref().and_then(|ca| ca.crl_file.as_ref()) else {
                continue;
            };
            if held.contains_key(file) {
                continue;
            }
            let key = format!("kms.role.{}.ca.crl.file", role.name);
            let bytes = read(key.clone().into(), file, CRL_FILE_BYTES_MAX)?;
            let lists = revocation_lists(&bytes).map_err(|error| StartError::Revocation {
                key,
                file: file.clone(),
                error,
            })?;
            held.insert(file.clone(), lists.into_iter().map(Arc::new).collect());
        }
        Ok(Self(held))
    }

    /// Those of a file that was read.
    pub(super) fn of(&self, file: &PathBuf) -> Vec<Arc<RevocationList>> {
        self.0.get(file).cloned().unwrap_or_default()
    }
}

/// The files that a reload must look at.
pub(super) fn files(config: &Config) -> impl Iterator<Item = PathBuf> {
    let cas = config.roles.iter().filter_map(|role| role.ca.as_ref());
    cas.filter_map(|ca| ca.crl_file.clone())
}

/// When CAs and lists end.
pub(super) fn expiries(cas: &ClientCas) -> Vec<Expiry> {
    let all = cas.facts();
    let ends = all
        .iter()
        .map(|ca| Expiry::of_certificate(ca.alias(), "client-ca", ca.not_after_unix_s()));
    let lists = all.iter().flat_map(|ca| {
        let lists = ca.lists().iter();
        lists.map(|list| Expiry::of_list(ca.alias(), list))
    });
    ends.chain(lists).collect()
}

/// What is different, a sentence each.
pub(super) fn changes(old: &ClientCas, new: &ClientCas) -> Vec<String> {
    let (old, new) = (old.facts(), new.facts());
    let find = |all: &[CaFacts<'_>], one: &CaFacts<'_>| {
        let mut all = all.iter();
        all.position(|ca| ca.fingerprint() == one.fingerprint())
    };
    let say = |ca: &CaFacts<'_>, what: &str| {
        format!("client CA '{}' ({}) {what}", ca.alias(), ca.subject())
    };
    let gone = old.iter().filter(|ca| find(&new, ca).is_none());
    let mut all: Vec<String> = gone.map(|ca| say(ca, "removed")).collect();
    for ca in &new {
        match find(&old, ca).and_then(|place| old.get(place)) {
            None => all.push(say(ca, "added")),
            Some(before) => all.extend(list_changes(*before, *ca)),
        }
    }
    all
}

fn list_changes(old: CaFacts<'_>, new: CaFacts<'_>) -> Option<String> {
    let prints = |ca: CaFacts<'_>| -> Vec<[u8; 32]> {
        let lists = ca.lists().iter();
        lists.map(|list| fingerprint(list.der())).collect()
    };
    if prints(old) == prints(new) {
        return None;
    }
    let revoked = |ca: CaFacts<'_>| -> usize { ca.lists().iter().map(|list| list.revoked).sum() };
    let made = |ca: CaFacts<'_>| ca.lists().first().map(|list| list.this_update_unix_s);
    let older = match (made(old), made(new)) {
        (Some(before), Some(after)) if after < before => ", and is OLDER than before",
        _ => "",
    };
    let (alias, before, after) = (new.alias(), revoked(old), revoked(new));
    Some(match (old.lists().is_empty(), new.lists().is_empty()) {
        (_, true) => format!("client CA '{alias}' has no list of revoked certificates any more"),
        (true, _) => format!("client CA '{alias}' has a list of revoked certificates, {after}"),
        _ => format!(
            "the list of revoked certificates of client CA '{alias}' was replaced: {before} -> {after}{older}"
        ),
    })
}
