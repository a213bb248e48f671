//! Keys that exist once for each role: `kms.role.NAME.aliases` and so on.
//!
//! A NAME has no dots, so what follows it may have some. Must never be true: a part that ends as another does,
//! for environment variables are told apart by their ends.

use super::Default::{self, Derived, Value};
use super::{Key, Kind, environment_name};

const PREFIX: &str = "kms.role.";
/// Characters of a NAME.
const NAME_MAX: usize = 32;

const fn role(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Key {
    Key {
        name,
        old_name: None,
        kind,
        default,
        only_with: &[],
        help,
    }
}

/// The keys, with NAME for the role's.
pub static ROLE_KEYS: [Key; 7] = [
    role(
        "kms.role.NAME.aliases",
        Kind::Globs,
        Derived(
            "device: cmxDevice*; backend: cmxBackend*; other roles: required, unless kms.role.NAME.ca.alias is set",
        ),
        "Keystore aliases of the client certificates that have this role. * and ? match any text and one character.",
    ),
    role(
        "kms.role.NAME.operations",
        Kind::Operations,
        Derived("device: encrypt,decrypt,datakey,read; backend: all; other roles: required"),
        "What they may do.",
    ),
    role(
        "kms.role.NAME.keys",
        Kind::Globs,
        Value("*"),
        "On which keys.",
    ),
    role(
        "kms.role.NAME.ca.alias",
        Kind::Aliases,
        Default::None,
        "Keystore aliases of trusted certificates that are client CAs: certificates that they issued have this role, \
         if kms.role.NAME.ca.subjects or kms.role.NAME.ca.san says so, beside those of kms.role.NAME.aliases. Never \
         an alias of kms.hsm.ca.alias.",
    ),
    role(
        "kms.role.NAME.ca.subjects",
        Kind::Subjects,
        Default::None,
        "Which subjects have this role. With kms.role.NAME.ca.alias this or kms.role.NAME.ca.san is required; if \
         both are set, both must fit.",
    ),
    role(
        "kms.role.NAME.ca.san",
        Kind::AltNames,
        Default::None,
        "Which alternative names have this role; one of a certificate's names must fit.",
    ),
    role(
        "kms.role.NAME.ca.crl.file",
        Kind::Path,
        Default::None,
        "Lists of revoked certificates, PEM or DER: one of each CA of kms.role.NAME.ca.alias. They count in all \
         roles of these CAs. After its nextUpdate a list lets no new connection of its CA in. Read again when it \
         changes.",
    ),
];

/// What follows `kms.role.NAME.`.
fn part(key: &Key) -> &'static str {
    key.name.strip_prefix("kms.role.NAME.").unwrap_or(key.name)
}

/// NAME and key of a `kms.role.NAME.*` out of [`ROLE_KEYS`].
pub(in crate::config) fn role_part(name: &str) -> Option<(&str, &'static Key)> {
    let (role, rest) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let key = ROLE_KEYS.iter().find(|key| part(key) == rest)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!role.is_empty() && role.len() <= NAME_MAX && role.chars().all(legal)).then_some((role, key))
}

/// NAME, as an environment variable has it, and the part of a `KMS_ROLE_NAME_*`.
pub(in crate::config) fn role_environment(variable: &str) -> Option<(&str, &'static str)> {
    let rest = variable.strip_prefix("KMS_ROLE_")?;
    ROLE_KEYS.iter().find_map(|key| {
        let name = rest.strip_suffix(&environment_name(part(key)))?;
        Some((name.strip_suffix('_')?, part(key)))
    })
}
