//! What is wrong, or doubtful, with keystore and roles taken together.
//!
//! Must never be true: a text without the key or alias that it is about.

use std::fmt;

use x509_parser::time::ASN1Time;

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
    /// A role's client CA is also an authority of the HSM, or has its key.
    HsmCa {
        role: String,
        alias: String,
        authority: String,
    },
    /// A role's client CA is not among the trusted certificates.
    CaMissing { role: String, alias: String },
    /// It is there, and cannot be one.
    CaUnfit {
        role: String,
        alias: String,
        why: &'static str,
    },
    /// A client's certificate is also a client CA.
    CaIsClient { alias: String, ca: String },
    /// A list of revoked certificates in the name of a client CA that did not sign it.
    ListSigner { issuer: String },
    /// A role has lists of revoked certificates, but none of this CA.
    ListMissing {
        role: String,
        alias: String,
        subject: String,
    },
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
            _ => self.of_client_cas(f),
        }
    }
}

impl IdentityError {
    fn of_client_cas(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HsmCa {
                role,
                alias,
                authority,
            } => write!(
                f,
                "kms.role.{role}.ca.alias: `{alias}` is, or has the key of, `{authority}`, which kms.hsm.ca.alias \
                 names: the CA that vouches for the HSM never vouches for clients; have their certificates issued by \
                 another"
            ),
            Self::CaMissing { role, alias } => write!(
                f,
                "kms.role.{role}.ca.alias: the keystore has no trusted certificate `{alias}`: import the CA's, or \
                 correct the name"
            ),
            Self::CaUnfit { role, alias, why } => write!(
                f,
                "kms.role.{role}.ca.alias: `{alias}` {why}: import the certificate of the CA that issues the clients'"
            ),
            Self::CaIsClient { alias, ca } => write!(
                f,
                "alias `{alias}` holds the same certificate as `{ca}`, which a kms.role.NAME.ca.alias names: a CA is \
                 no client; remove one of the two"
            ),
            Self::ListSigner { issuer } => write!(
                f,
                "the list of revoked certificates of `{issuer}` was not signed by the key of the client CA of that \
                 name, or that CA may not sign lists (key usage without cRLSign): fetch it anew from the CA, or \
                 correct kms.role.NAME.ca.alias"
            ),
            Self::ListMissing {
                role,
                alias,
                subject,
            } => write!(
                f,
                "kms.role.{role}.ca.crl.file holds no list of client CA `{alias}` ({subject}): put the CA's list into \
                 it, PEM behind PEM if there are several"
            ),
            _ => Ok(()),
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
    /// A client CA vouches for nobody from then on.
    CaExpired {
        alias: String,
        not_after_unix_s: i64,
    },
    /// A client CA vouches for nobody until then.
    CaNotYetValid {
        alias: String,
        not_before_unix_s: i64,
    },
    /// New connections of the CA's certificates are refused until there is a newer list.
    StaleList {
        alias: String,
        next_update_unix_s: i64,
    },
    /// A list of no named CA.
    ForeignList { issuer: String },
    /// A pin that its CA has revoked. It goes on: a pin counts whoever issued it.
    RevokedPin { alias: String, ca: String },
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
            _ => self.of_client_cas(f),
        }
    }
}

impl BuildWarning {
    fn of_client_cas(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaExpired {
                alias,
                not_after_unix_s,
            } => write!(
                f,
                "client CA `{alias}` expired on {}: what it issued is refused; import its successor",
                date(*not_after_unix_s)
            ),
            Self::CaNotYetValid {
                alias,
                not_before_unix_s,
            } => write!(
                f,
                "client CA `{alias}` is valid only from {}: what it issued is refused until then; check this host's \
                 clock",
                date(*not_before_unix_s)
            ),
            Self::StaleList {
                alias,
                next_update_unix_s,
            } => write!(
                f,
                "the list of revoked certificates of client CA `{alias}` was due to be replaced on {}: new \
                 connections of its certificates are refused; put the CA's newest list into kms.role.NAME.ca.crl.file",
                date(*next_update_unix_s)
            ),
            Self::ForeignList { issuer } => write!(
                f,
                "the list of revoked certificates of `{issuer}` is of no client CA that a kms.role.NAME.ca.alias \
                 names: it counts for what a CA of that name issues below a named one, and for nothing else"
            ),
            Self::RevokedPin { alias, ca } => write!(
                f,
                "client certificate `{alias}` was revoked by client CA `{ca}`, but is accepted as it stands in the \
                 keystore: remove it there"
            ),
            _ => Ok(()),
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
