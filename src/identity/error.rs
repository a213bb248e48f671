//! What is wrong, or doubtful, with keystore and roles taken together.
//!
//! Must never be true: a text without the key or alias that it is about.

use std::fmt;

use x509_parser::time::ASN1Time;

use super::client_ca::{ClientCaError, ClientCaWarning};

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
    /// A client CA, or a list of revoked certificates of one.
    ClientCa(ClientCaError),
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
            Self::ClientCa(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl From<ClientCaError> for IdentityError {
    fn from(error: ClientCaError) -> Self {
        Self::ClientCa(error)
    }
}

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
    /// A client CA, or a list of revoked certificates of one.
    ClientCa(ClientCaWarning),
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
            Self::ClientCa(warning) => write!(f, "{warning}"),
        }
    }
}

/// A point in time for people.
pub(super) fn date(unix_s: i64) -> String {
    ASN1Time::from_timestamp(unix_s).map_or_else(
        |_| format!("second {unix_s} of 1970"),
        |time| time.to_string(),
    )
}
