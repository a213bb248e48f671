//! `kms.properties` and the environment, checked and typed: [`load`] gives a whole [`Config`] or every problem at once.
//!
//! One table ([`table`]) says which keys there are; parsing, `kms check`, the commented example file and
//! the documentation all come from it. Must never be true: a key that is read but not in the table, a
//! value in force that was not range-checked, a secret in an error, a warning or [`Config::effective`].
//! Called by `node` and `cli`; the rooms below get plain values from them and never read a key themselves.

mod assigned;
mod build;
pub mod cluster;
mod error;
mod model;
mod names;
mod network;
pub mod plan;
mod properties;
mod source;
pub mod table;
mod template;
mod url;
mod value;

pub use assigned::{Assigned, Assignment, assignments, java_properties};
pub use build::{Loaded, load, parse};
pub use error::{ConfigError, Problem, Warning};
pub use model::{
    Audit, AuditMode, CacheSettings, Config, Control, Embedded, Hsm, KeystoreRef, KmipCipher,
    KmipCredential, LogFormat, LogSettings, Origin, Protocol, RoleCa, RoleSettings, Server,
    Setting, Sizes, Vault, VaultAuth, VaultAzure,
};
pub use names::{SanGlob, SubjectGlob};
pub use network::Network;
pub use source::reread_secret;
pub use template::{render_cluster_template, render_template};
pub use url::Endpoint;
pub use value::OPERATION_NAMES;

#[cfg(test)]
mod tests;
