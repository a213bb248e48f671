//! From the keystore's trusted certificates and the configured roles to a [`Snapshot`].
//!
//! Must never be true: a pin with two roles, a pin out of an authority of the HSM, a trusted
//! certificate that becomes a pin though no role names its alias.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use x509_parser::time::ASN1Time;

use super::{Operation, Operations, Pin, Role, Snapshot, fingerprint, glob};

/// A role as configured: `kms.role.NAME.aliases`, `.operations`, `.keys`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleSpec {
    /// NAME.
    pub name: String,
    /// Globs over keystore aliases; case does not matter.
    pub alias_globs: Vec<String>,
    /// What the role may do.
    pub operations: Operations,
    /// Globs over key names; case matters.
    pub key_globs: Vec<String>,
}

impl RoleSpec {
    /// The roles of an installation that configures none.
    pub fn defaults() -> [Self; 2] {
        let role = |name: &str, alias: &str, operations| Self {
            name: name.to_owned(),
            alias_globs: vec![alias.to_owned()],
            operations,
            key_globs: vec!["*".to_owned()],
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

    /// Aliases named in full that are none of `aliases`, of a role that has one of them.
    fn without_entry(&self, aliases: &[String]) -> Vec<BuildWarning> {
        let in_full = |glob: &&String| !glob.contains('*');
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

/// Why no snapshot was built: the keystore and the roles contradict each other.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum IdentityError {
    /// Two roles name one alias.
    TwoRoles {
        alias: String,
        first: String,
        second: String,
    },
    /// One certificate stands under two aliases of different roles.
    SameCertificate {
        first: String,
        first_role: String,
        second: String,
        second_role: String,
    },
    /// A client's certificate is also an authority of the HSM.
    HsmAuthority { alias: String, authority: String },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoRoles {
                alias,
                first,
                second,
            } => write!(
                f,
                "alias `{alias}` is named by two roles, `{first}` and `{second}`: narrow \
                 kms.role.{first}.aliases or kms.role.{second}.aliases so that only one names it"
            ),
            Self::SameCertificate {
                first,
                first_role,
                second,
                second_role,
            } => write!(
                f,
                "aliases `{first}` (role `{first_role}`) and `{second}` (role `{second_role}`) hold the \
                 same certificate, so its role is undecided: remove one of them from the keystore"
            ),
            Self::HsmAuthority { alias, authority } => write!(
                f,
                "alias `{alias}` holds the same certificate as `{authority}`, which kms.hsm.ca.alias \
                 names: the HSM's authority cannot be a client; give the client its own certificate"
            ),
        }
    }
}

impl std::error::Error for IdentityError {}

/// What an operator should know about a snapshot that was built all the same.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum BuildWarning {
    /// No role names the alias: its certificate is refused like a stranger's.
    NoRole { alias: String, subject: String },
    /// No trusted certificate for the role.
    EmptyRole {
        role: String,
        alias_globs: Vec<String>,
    },
    /// The role has certificates, but none of this alias, which it names in full.
    NoEntry { role: String, alias: String },
    /// Refused at the handshake from then on.
    Expired {
        alias: String,
        not_after_unix_s: i64,
    },
    /// Refused at the handshake until then.
    NotYetValid {
        alias: String,
        not_before_unix_s: i64,
    },
    /// One certificate under two aliases of one role: logged as `first`.
    Duplicate { first: String, second: String },
}

impl fmt::Display for BuildWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRole { alias, subject } => write!(
                f,
                "trusted certificate `{alias}` ({subject}) is named by no role and will be refused: \
                 add its alias to a kms.role.NAME.aliases if it is a client's"
            ),
            Self::EmptyRole { role, alias_globs } => write!(
                f,
                "role `{role}` has no certificate: no trusted entry of the keystore matches \
                 kms.role.{role}.aliases = {}",
                alias_globs.join(",")
            ),
            Self::NoEntry { role, alias } => write!(
                f,
                "role `{role}` names the alias `{alias}`, and no trusted entry of the keystore has it: \
                 import that certificate, or correct kms.role.{role}.aliases"
            ),
            Self::Expired {
                alias,
                not_after_unix_s,
            } => write!(
                f,
                "client certificate `{alias}` expired on {} and will be refused: import its successor",
                date(*not_after_unix_s)
            ),
            Self::NotYetValid {
                alias,
                not_before_unix_s,
            } => write!(
                f,
                "client certificate `{alias}` is valid only from {} and will be refused until then; \
                 check this host's clock",
                date(*not_before_unix_s)
            ),
            Self::Duplicate { first, second } => {
                write!(
                    f,
                    "aliases `{first}` and `{second}` hold the same certificate; logs will say `{first}`"
                )
            }
        }
    }
}

/// A point in time for people.
fn date(unix_s: i64) -> String {
    ASN1Time::from_timestamp(unix_s).map_or_else(
        |_| format!("second {unix_s} of 1970"),
        |time| time.to_string(),
    )
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
        let mut snapshot = Self {
            pins: HashMap::with_capacity(clients.len()),
            generation,
        };
        let mut warnings = Vec::new();
        let aliases: Vec<String> = clients.iter().map(|facts| facts.alias.clone()).collect();
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
            warnings.extend(facts.date_warning(now_unix_s));
            warnings.extend(snapshot.insert(facts, role)?);
        }
        warnings.extend(snapshot.empty_roles(&shared));
        warnings.extend(roles.iter().flat_map(|spec| spec.without_entry(&aliases)));
        Ok((snapshot, warnings))
    }

    fn empty_roles(&self, roles: &[(&RoleSpec, Arc<Role>)]) -> Vec<BuildWarning> {
        let held = |role: &Arc<Role>| self.pins.values().any(|pin| Arc::ptr_eq(&pin.role, role));
        let empty = roles.iter().filter(|(_, role)| !held(role));
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
