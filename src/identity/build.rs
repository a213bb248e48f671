//! From the keystore's trusted certificates and the configured roles to a [`Snapshot`].
//!
//! Must never be true: a pin with two roles, a pin out of an authority of the HSM or of clients, a
//! trusted certificate that becomes a pin though no role names its alias.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{
    BuildWarning, CaSpec, ClientCaError, ClientCas, IdentityError, Operation, Operations, Pin,
    Role, Snapshot, fingerprint, glob,
};

/// A role as configured: `kms.role.NAME.aliases`, `.operations`, `.keys`.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    /// NAME.
    pub name: String,
    /// Globs over keystore aliases; case does not matter.
    pub alias_globs: Vec<String>,
    /// What the role may do.
    pub operations: Operations,
    /// Globs over key names; case matters.
    pub key_globs: Vec<String>,
    /// The CAs that vouch for further holders.
    pub ca: Option<CaSpec>,
}

impl RoleSpec {
    /// The roles of an installation that configures none.
    pub fn defaults() -> [Self; 2] {
        let role = |name: &str, alias: &str, operations| Self {
            name: name.to_owned(),
            alias_globs: vec![alias.to_owned()],
            operations,
            key_globs: vec!["*".to_owned()],
            ca: None,
        };
        let device = [
            Operation::Encrypt,
            Operation::Decrypt,
            Operation::Datakey,
            Operation::Read,
        ];
        [
            role("device", "cmxDevice*", device.into_iter().collect()),
            role("backend", "cmxBackend*", Operations::all()),
        ]
    }

    /// Whether `alias`, lower-cased, is one of its client CAs.
    fn has_ca(&self, alias: &str) -> bool {
        let cas = self.ca.iter().flat_map(|ca| &ca.aliases);
        cas.into_iter().any(|ca| ca.to_lowercase() == alias)
    }

    /// Aliases named in full that are none of `aliases`, of a role that has one of them.
    fn without_entry(&self, aliases: &[String]) -> Vec<BuildWarning> {
        let in_full = |glob: &&String| !glob.contains(['*', '?']);
        let is_missing = |glob: &&String| !aliases.contains(&glob.to_lowercase());
        let warning = |alias: &String| BuildWarning::NoEntry {
            role: self.name.clone(),
            alias: alias.clone(),
        };
        if !aliases.iter().any(|alias| self.names(alias)) {
            return Vec::new();
        }
        let missing = self.alias_globs.iter().filter(in_full).filter(is_missing);
        missing.map(warning).collect()
    }

    fn names(&self, alias: &str) -> bool {
        self.alias_globs
            .iter()
            .any(|alias_glob| glob::matches(&alias_glob.to_lowercase(), alias))
    }
}

/// A trusted certificate of the keystore and what the parser said of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// Keystore alias, in any case.
    pub alias: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// Subject, RFC 4514.
    pub subject: String,
    /// Start of validity, seconds since 1970.
    pub not_before_unix_s: i64,
    /// End of validity, seconds since 1970.
    pub not_after_unix_s: i64,
    /// DER of the `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
}

impl Snapshot {
    /// Pins each trusted certificate whose alias exactly one role names. `hsm_authorities` are the
    /// aliases of `kms.hsm.ca.alias`: never pinned, whatever role would name them.
    pub fn build(
        roles: &[RoleSpec],
        trusted: impl IntoIterator<Item = CertificateFacts>,
        hsm_authorities: &[String],
        generation: u64,
        now_unix_s: i64,
    ) -> Result<(Self, Vec<BuildWarning>), IdentityError> {
        let mut trusted: Vec<CertificateFacts> = trusted.into_iter().collect();
        // The keystore's order must not decide which alias the logs will show.
        for facts in &mut trusted {
            facts.alias = facts.alias.to_lowercase();
        }
        trusted.sort_by(|one, other| one.alias.cmp(&other.alias));
        let (authorities, clients): (Vec<_>, Vec<_>) = trusted.into_iter().partition(|facts| {
            hsm_authorities
                .iter()
                .any(|alias| alias.to_lowercase() == facts.alias)
        });
        let shared: Vec<(&RoleSpec, Arc<Role>)> = roles
            .iter()
            .map(|spec| (spec, Arc::new(spec.role())))
            .collect();
        let mut doubts = Vec::new();
        let mut snapshot = Self {
            pins: HashMap::with_capacity(clients.len()),
            client_cas: ClientCas::build(&shared, &clients, &authorities, now_unix_s, &mut doubts)?,
            generation,
        };
        let aliases: Vec<String> = clients.iter().map(|facts| facts.alias.clone()).collect();
        let mut warnings: Vec<_> = doubts.into_iter().map(BuildWarning::ClientCa).collect();
        let (cas, clients): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .partition(|facts| roles.iter().any(|role| role.has_ca(&facts.alias)));
        for facts in clients {
            let Some(role) = role_of(&shared, &facts.alias)? else {
                warnings.push(BuildWarning::NoRole {
                    alias: facts.alias,
                    subject: facts.subject,
                });
                continue;
            };
            if let Some(authority) = authorities
                .iter()
                .find(|authority| authority.der == facts.der)
            {
                let authority = authority.alias.clone();
                return Err(IdentityError::HsmAuthority {
                    alias: facts.alias,
                    authority,
                });
            }
            if let Some(ca) = cas.iter().find(|ca| ca.der == facts.der) {
                let (alias, ca) = (facts.alias, ca.alias.clone());
                return Err(ClientCaError::IsClient { alias, ca }.into());
            }
            warnings.extend(facts.date_warning(now_unix_s));
            let revoked = snapshot.client_cas.revoked_pin(&facts);
            warnings.extend(revoked.map(BuildWarning::ClientCa));
            warnings.extend(snapshot.insert(facts, role)?);
        }
        warnings.extend(snapshot.empty_roles(&shared));
        warnings.extend(roles.iter().flat_map(|spec| spec.without_entry(&aliases)));
        Ok((snapshot, warnings))
    }

    fn empty_roles(&self, roles: &[(&RoleSpec, Arc<Role>)]) -> Vec<BuildWarning> {
        let held = |role: &Arc<Role>| self.pins.values().any(|pin| Arc::ptr_eq(&pin.role, role));
        let empty = roles
            .iter()
            .filter(|(spec, role)| spec.ca.is_none() && !held(role));
        let warning = |(spec, _): &(&RoleSpec, Arc<Role>)| BuildWarning::EmptyRole {
            role: spec.name.clone(),
            alias_globs: spec.alias_globs.clone(),
        };
        empty.map(warning).collect()
    }

    fn insert(
        &mut self,
        facts: CertificateFacts,
        role: &Arc<Role>,
    ) -> Result<Option<BuildWarning>, IdentityError> {
        let fingerprint = fingerprint(&facts.der);
        match self.pins.entry(fingerprint) {
            Entry::Occupied(first) if Arc::ptr_eq(&first.get().role, role) => {
                let first = first.get().alias.clone();
                Ok(Some(BuildWarning::Duplicate {
                    first,
                    second: facts.alias,
                }))
            }
            Entry::Occupied(first) => Err(IdentityError::SameCertificate {
                first: first.get().alias.clone(),
                first_role: first.get().role.name.clone(),
                second: facts.alias,
                second_role: role.name.clone(),
            }),
            Entry::Vacant(place) => {
                place.insert(Arc::new(Pin {
                    alias: facts.alias,
                    subject: facts.subject,
                    fingerprint,
                    spki: facts.spki,
                    not_before_unix_s: facts.not_before_unix_s,
                    not_after_unix_s: facts.not_after_unix_s,
                    role: Arc::clone(role),
                    revoked: AtomicBool::new(false),
                    issued: None,
                }));
                Ok(None)
            }
        }
    }
}

impl RoleSpec {
    fn role(&self) -> Role {
        Role {
            name: self.name.clone(),
            operations: self.operations,
            keys: self.key_globs.clone(),
        }
    }
}

impl CertificateFacts {
    fn date_warning(&self, now_unix_s: i64) -> Option<BuildWarning> {
        let alias = self.alias.clone();
        if now_unix_s > self.not_after_unix_s {
            Some(BuildWarning::Expired {
                alias,
                not_after_unix_s: self.not_after_unix_s,
            })
        } else if now_unix_s < self.not_before_unix_s {
            Some(BuildWarning::NotYetValid {
                alias,
                not_before_unix_s: self.not_before_unix_s,
            })
        } else {
            None
        }
    }
}

/// The one role that names the lower-cased `alias`.
fn role_of<'a>(
    roles: &'a [(&RoleSpec, Arc<Role>)],
    alias: &str,
) -> Result<Option<&'a Arc<Role>>, IdentityError> {
    let mut naming = roles
        .iter()
        .filter(|(spec, _)| spec.names(alias))
        .map(|(_, role)| role);
    let first = naming.next();
    match (first, naming.next()) {
        (Some(first), Some(second)) => Err(IdentityError::TwoRoles {
            alias: alias.to_owned(),
            first: first.name.clone(),
            second: second.name.clone(),
        }),
        _ => Ok(first),
    }
}
