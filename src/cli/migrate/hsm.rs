//! The way to the HSM, and the roles: settings that are carried over, and what the keystore tells.
//!
//! Called by `migrate`.

use super::installation::{Installation, VAULT_TOKEN};
use super::output::Output;
use super::report::Report;
use super::roles::{self, Own, Roles};
use super::stores::Stores;
use crate::identity::glob_matches;
use crate::keystore::Keystore;

const AUTHORITY_KEY: &str = "kms.hsm.ca.alias";

/// False: something is missing without which the server does not start; the report tells what.
pub(super) fn write(
    old: &Installation,
    stores: &Stores,
    output: &mut Output,
    report: &mut Report,
) -> bool {
    let (store, settings) = (&stores.main.store, &old.settings);
    output.heading("HSM");
    settings.carry_over(output, report);
    let has_token = settings.protocol() != "VAULT" || token(old, output, report);
    let named = settings.text(AUTHORITY_KEY);
    let Some(server) = stores.servers().store.key(&stores.server_alias) else {
        return false;
    };
    let own = Own {
        server,
        client: stores
            .client_alias
            .as_deref()
            .and_then(|alias| store.key(alias)),
        authorities: named.map_or_else(Vec::new, |named| {
            named
                .to_lowercase()
                .split(',')
                .map(|one| one.trim().to_owned())
                .collect()
        }),
    };
    let found = roles::derive(store, &own);
    let has_authority = settings.protocol() == "EMBEDDED"
        || settings.get("kms.hsm.fingerprint").is_some()
        || authority(old, &found, stores, output, report);
    write_roles(&found, store, output, report);
    report.decide.extend(found.decide);
    has_token && has_authority
}

fn token(old: &Installation, output: &mut Output, report: &mut Report) -> bool {
    const KEY: &str = "kms.hsm.vault.token";
    if old
        .settings
        .text("kms.hsm.vault.auth")
        .is_some_and(|auth| auth.eq_ignore_ascii_case("azure"))
    {
        return true;
    }
    let variable = old
        .setenv
        .variables
        .iter()
        .find(|variable| variable.name == VAULT_TOKEN && !variable.value.is_empty());
    let found = match (old.settings.secret(KEY), variable) {
        (Some(secret), _) => Some((secret.clone(), format!("{} {KEY}", old.settings.place(KEY)))),
        (None, Some(variable)) => {
            let place = format!("setenv.sh:{} {VAULT_TOKEN}", variable.line);
            Some((variable.value.clone(), place))
        }
        (None, None) => None,
    };
    if let Some((secret, place)) = found {
        report.changed(place, format!("{KEY}.file: a file of its own"));
        output.secret(KEY, secret);
        return true;
    }
    output.propose(format!("{KEY}.file"), "hsm.vault.token");
    report.decide.push(format!(
        "the token for the Vault is in none of the files: write it into a file of mode 0600 and name that with {KEY}.file"
    ));
    false
}

fn authority(
    old: &Installation,
    found: &Roles,
    stores: &Stores,
    output: &mut Output,
    report: &mut Report,
) -> bool {
    if found.authorities.is_empty() {
        let (what, alias) = match old.settings.protocol() {
            "VAULT" => ("the Vault's", "vaultCA"),
            _ => ("the HSM's", "kmipSigningCA"),
        };
        output.set(AUTHORITY_KEY, alias);
        report.decide.push(format!(
            "{} holds no certificate that could vouch for the HSM (Java may have taken one of its own): import {what} \
             authority with kms keystore import {} --alias {alias} --cert FILE, in the new folder",
            stores.main.file.display(),
            stores.main.name
        ));
        return false;
    }
    let list = found.authorities.join(", ");
    if list != "kmipsigningca" {
        output.set(AUTHORITY_KEY, &list);
    }
    true
}

fn write_roles(found: &Roles, store: &Keystore, output: &mut Output, report: &mut Report) {
    output.heading("roles");
    for note in &found.notes {
        output.comment(note);
        report.concluded.push(note.clone());
    }
    for (role, glob, aliases) in [
        ("device", "cmxDevice*", &found.device),
        ("backend", "cmxBackend*", &found.backend),
    ] {
        let key = format!("kms.role.{role}.aliases");
        if aliases.is_empty() {
            output.propose(key, glob);
            continue;
        }
        let by_glob = store
            .trusted
            .iter()
            .any(|entry| glob_matches(&glob.to_lowercase(), &entry.alias));
        let globs = by_glob.then(|| glob.to_owned()).into_iter();
        let list: Vec<String> = globs
            .chain(aliases.iter().map(|alias| as_glob(alias)))
            .collect();
        let list = list.join(", ");
        report.changed(
            format!("the keystore's aliases {}", aliases.join(", ")),
            format!("{key} = {list}"),
        );
        output.set(key, list);
    }
    output.comment(
        "A client's next certificate gets its role by its alias: add it here, or choose one that a name above fits.",
    );
}

/// A list is split at commas and trimmed, so what an alias has of those is any text.
fn as_glob(alias: &str) -> String {
    let stands = |c: char| if c == ',' || c.is_control() { '*' } else { c };
    let glob: String = alias.chars().map(stands).collect();
    match glob.trim() {
        trimmed if trimmed.len() < glob.len() => format!("*{trimmed}*"),
        _ => glob,
    }
}
