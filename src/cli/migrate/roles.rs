//! Who is who among the trusted certificates: the original let each of them in; here an alias has a role.
//!
//! A name decides (`backend`, `device`, in the alias or the subject), then what a certificate has issued. What
//! neither decides gets the smaller role if it can be a client's, and the operator is told. Must never be true: the
//! HSM's authority among the clients; the larger role by guess. Called by `migrate`.

use crate::identity::glob_matches;
use crate::keystore::{CertificateFacts, KeyEntry, Keystore, TrustedEntry, issued_by};

/// Default alias of the HSM's authority.
const AUTHORITY: &str = "kmipsigningca";

/// What the trusted certificates are for.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Roles {
    /// For `kms.hsm.ca.alias`; empty: none was found.
    pub(super) authorities: Vec<String>,
    /// Aliases with the role `backend`, those of the default glob left out.
    pub(super) backend: Vec<String>,
    /// Aliases with the role `device`, those of the default glob left out.
    pub(super) device: Vec<String>,
    /// What was concluded, a sentence each.
    pub(super) notes: Vec<String>,
    /// What the operator must decide, a sentence each.
    pub(super) decide: Vec<String>,
}

/// The keys of the installation.
pub(super) struct Own<'a> {
    pub(super) server: &'a KeyEntry,
    /// Shown to the HSM.
    pub(super) client: Option<&'a KeyEntry>,
    /// What kms.hsm.ca.alias names already.
    pub(super) authorities: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Client {
    Backend,
    Device,
}

struct Candidate<'a> {
    entry: &'a TrustedEntry,
    facts: CertificateFacts,
    client: Option<Client>,
}

/// Sorts the trusted entries of `store`.
pub(super) fn derive(store: &Keystore, own: &Own<'_>) -> Roles {
    let mut roles = Roles::default();
    let mut all: Vec<Candidate<'_>> = Vec::new();
    let mut entries: Vec<&TrustedEntry> = store.trusted.iter().collect();
    // Of two aliases with one certificate the one that tells something decides.
    entries.sort_by_key(|entry| (client_by_name(&entry.alias).is_none(), &entry.alias));
    for entry in entries {
        let Ok(facts) = CertificateFacts::from_der(&entry.certificate) else {
            continue;
        };
        if let Some(twin) = all
            .iter()
            .find(|one| one.entry.certificate == entry.certificate)
        {
            let (alias, twin) = (&entry.alias, &twin.entry.alias);
            roles.notes.push(format!(
                "'{alias}' holds the same certificate as '{twin}' and goes with it"
            ));
            continue;
        }
        let client = client_by_name(&entry.alias).or_else(|| client_by_name(&facts.subject));
        all.push(Candidate {
            entry,
            facts,
            client,
        });
    }
    roles.find_authorities(&all, own);
    let keys: Vec<&KeyEntry> = store.keys.iter().chain([own.server]).collect();
    for one in &all {
        if !roles.authorities.contains(&one.entry.alias) {
            roles.sort_in(one, &all, &keys);
        }
    }
    roles.take_twins(store, &all);
    roles
}

fn client_by_name(text: &str) -> Option<Client> {
    let text: String = text
        .to_lowercase()
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .collect();
    match (text.contains("backend"), text.contains("device")) {
        (true, false) => Some(Client::Backend),
        (false, true) => Some(Client::Device),
        _ => None,
    }
}

fn default_glob(client: Client) -> &'static str {
    match client {
        Client::Backend => "cmxbackend*",
        Client::Device => "cmxdevice*",
    }
}

impl Roles {
    /// Named, by the usual alias, by what issued our certificate for the HSM, or as the only one left.
    fn find_authorities(&mut self, all: &[Candidate<'_>], own: &Own<'_>) {
        if !own.authorities.is_empty() {
            self.authorities.clone_from(&own.authorities);
            return;
        }
        if all.iter().any(|one| one.entry.alias == AUTHORITY) {
            self.authorities.push(AUTHORITY.to_owned());
            return;
        }
        let left: Vec<&Candidate<'_>> = all
            .iter()
            .filter(|one| one.client.is_none() && one.facts.ca)
            .collect();
        let issued_ours = |one: &&&Candidate<'_>| {
            own.client
                .is_some_and(|client| client.chain.iter().any(|der| vouches(one.entry, der)))
        };
        let others = |one: &&&Candidate<'_>| !issued_other(one, all, &[own.server]);
        let named = |one: &&Candidate<'_>| {
            let text = format!("{} {}", one.entry.alias, one.facts.subject).to_lowercase();
            ["kmip", "hsm", "eskm", "vault"]
                .iter()
                .any(|part| text.contains(part))
        };
        let by_name: Vec<_> = all
            .iter()
            .filter(|one| one.client.is_none())
            .filter(named)
            .collect();
        if let [only] = by_name.as_slice() {
            self.conclude(only, "its name says so");
            return;
        }
        match left
            .iter()
            .filter(|one| issued_ours(one) || others(one))
            .collect::<Vec<_>>()
            .as_slice()
        {
            [] => {}
            [only] if issued_ours(only) => {
                self.conclude(only, "it has issued this server's certificate for the HSM");
            }
            [only] => self.conclude(
                only,
                "no other authority is left that has issued nothing here",
            ),
            several => {
                self.authorities
                    .extend(several.iter().map(|one| one.entry.alias.clone()));
                self.decide.push(format!(
                    "which of {} vouches for the HSM? All may, as in the original: keep only the right ones in \
                     kms.hsm.ca.alias, and if one is a client's own certificate, move it to a kms.role.NAME.aliases",
                    self.authorities.join(", ")
                ));
            }
        }
    }

    fn conclude(&mut self, authority: &Candidate<'_>, why: &str) {
        let alias = &authority.entry.alias;
        self.notes.push(format!(
            "'{alias}' is the HSM's authority (kms.hsm.ca.alias): {why}"
        ));
        self.authorities.push(alias.clone());
    }

    fn sort_in(&mut self, one: &Candidate<'_>, all: &[Candidate<'_>], keys: &[&KeyEntry]) {
        let (alias, subject) = (&one.entry.alias, &one.facts.subject);
        if keys
            .iter()
            .any(|key| key.chain.first() == Some(&one.entry.certificate))
        {
            let note = format!("'{alias}' is a certificate of this server's own and gets no role");
            self.notes.push(note);
        } else if let Some(client) = one.client {
            self.give(client, alias);
        } else if one.facts.ca && issued_other(one, all, keys) {
            self.notes.push(format!(
                "'{alias}' ({subject}) is an authority of other certificates here and gets no role: clients are let in \
                 by their own certificates"
            ));
        } else if one.facts.ca {
            self.decide.push(format!(
                "'{alias}' ({subject}) may be an authority or a self-signed client: it got no role and is refused. \
                 If it is a client's, add it to kms.role.device.aliases or kms.role.backend.aliases"
            ));
        } else {
            self.give(Client::Device, alias);
            self.decide.push(format!(
                "'{alias}' ({subject}): nothing says whether it is the back end's or a device's. It got the role \
                 device, the smaller one: if it is the back end's, move it to kms.role.backend.aliases"
            ));
        }
    }

    fn give(&mut self, client: Client, alias: &str) {
        if glob_matches(default_glob(client), alias) {
            return;
        }
        match client {
            Client::Backend => self.backend.push(alias.to_owned()),
            Client::Device => self.device.push(alias.to_owned()),
        }
    }

    /// One certificate under two aliases must not have two roles.
    fn take_twins(&mut self, store: &Keystore, all: &[Candidate<'_>]) {
        let twins = store
            .trusted
            .iter()
            .filter(|entry| all.iter().all(|one| one.entry.alias != entry.alias));
        for twin in twins {
            let of = all
                .iter()
                .find(|one| one.entry.certificate == twin.certificate);
            let Some(of) = of.map(|of| &of.entry.alias) else {
                continue;
            };
            for (list, client) in [
                (&mut self.backend, Client::Backend),
                (&mut self.device, Client::Device),
            ] {
                if list.contains(of) || glob_matches(default_glob(client), of) {
                    list.push(twin.alias.clone());
                }
            }
        }
    }
}

/// Whether `entry` is or has issued the certificate `der`.
fn vouches(entry: &TrustedEntry, der: &[u8]) -> bool {
    entry.certificate.as_ref() == der || issued_by(der, &entry.certificate)
}

/// Whether it has issued a certificate of these keys, or another trusted one.
fn issued_other(one: &Candidate<'_>, all: &[Candidate<'_>], keys: &[&KeyEntry]) -> bool {
    let others = all
        .iter()
        .filter(|other| other.entry.alias != one.entry.alias);
    keys.iter()
        .any(|key| key.chain.iter().any(|der| vouches(one.entry, der)))
        || others
            .into_iter()
            .any(|other| issued_by(&other.entry.certificate, &one.entry.certificate))
}

#[cfg(test)]
mod tests;
