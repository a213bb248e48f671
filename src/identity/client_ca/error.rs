//! What is wrong, or doubtful, with client CAs and their lists of revoked certificates.
//!
//! Must never be true: a text without the key or alias that it is about.

use std::fmt;

use crate::identity::error::date;

/// Why no snapshot was built.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum ClientCaError {
    /// A role's client CA is also an authority of the HSM, or has its key.
    OfHsm {
        role: String,
        alias: String,
        authority: String,
    },
    /// A role's client CA is not among the trusted certificates.
    Missing { role: String, alias: String },
    /// It is there, and cannot be one.
    Unfit {
        role: String,
        alias: String,
        why: &'static str,
    },
    /// A client's certificate is also a client CA.
    IsClient { alias: String, ca: String },
    /// A list of revoked certificates in the name of a client CA that did not sign it.
    ListSigner { issuer: String },
    /// A role has lists of revoked certificates, but none of this CA.
    ListMissing {
        role: String,
        alias: String,
        subject: String,
    },
}

impl fmt::Display for ClientCaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfHsm {
                role,
                alias,
                authority,
            } => write!(
                f,
                "kms.role.{role}.ca.alias: `{alias}` is, or has the key of, `{authority}`, which kms.hsm.ca.alias \
                 names: the CA that vouches for the HSM never vouches for clients; have their certificates issued by \
                 another"
            ),
            Self::Missing { role, alias } => write!(
                f,
                "kms.role.{role}.ca.alias: the keystore has no trusted certificate `{alias}`: import the CA's, or \
                 correct the name"
            ),
            Self::Unfit { role, alias, why } => write!(
                f,
                "kms.role.{role}.ca.alias: `{alias}` {why}: import the certificate of the CA that issues the clients'"
            ),
            Self::IsClient { alias, ca } => write!(
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
        }
    }
}

impl std::error::Error for ClientCaError {}

/// What an operator should know about a snapshot that was built all the same.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum ClientCaWarning {
    /// A client CA vouches for nobody from then on.
    Expired {
        alias: String,
        not_after_unix_s: i64,
    },
    /// A client CA vouches for nobody until then.
    NotYetValid {
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

impl fmt::Display for ClientCaWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired {
                alias,
                not_after_unix_s,
            } => write!(
                f,
                "client CA `{alias}` expired on {}: what it issued is refused; import its successor",
                date(*not_after_unix_s)
            ),
            Self::NotYetValid {
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
        }
    }
}
