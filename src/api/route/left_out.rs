//! The endpoints of a Transit mount that this server leaves out: each is refused by name, with the
//! reason, so that nobody takes it for a mistyped path.

use super::super::Fault;
use super::Action;
use super::transit::is_key_name;

const ENCRYPTION_ONLY: &str = "the back end keeps keys for encryption only";
const KEYS_STAY: &str = "master keys never leave the back end";
const NO_IMPORT: &str = "master keys are made in the back end, not brought there";
const NO_RANDOM: &str = "ask datakey for random bytes under a key";
const NO_DIGEST: &str = "a digest needs no key server";
const VERSIONS_STAY: &str = "old versions are destroyed in the back end, not here";
const CONFIGURED: &str = "it is set in kms.properties";

/// The methods that OpenBao has for an endpoint.
const READ: &[Action] = &[Action::Read];
const WRITE: &[Action] = &[Action::Write];
const READ_WRITE: &[Action] = &[Action::Read, Action::Write];
const DELETE: &[Action] = &[Action::Delete];

/// Answers a path of Transit's that is not served, or that Transit does not have.
#[cold]
pub(super) fn refuse(action: Action, rest: &str) -> Fault {
    let Some((endpoint, methods, why)) = find(rest) else {
        return Fault::unsupported_path();
    };
    if !methods.contains(&action) {
        return Fault::unsupported_operation();
    }
    Fault::new(
        400,
        format!("transit/{endpoint} is not served by this server: {why}"),
    )
}

type LeftOut = (&'static str, &'static [Action], &'static str);

/// The endpoint that `rest`, what follows `transit/`, names.
fn find(rest: &str) -> Option<LeftOut> {
    let mut parts = rest.splitn(3, '/');
    let path = (parts.next()?, parts.next(), parts.next());
    let named = |name: &str| is_key_name(name);
    Some(match path {
        ("sign", Some(key), _) if named(key) => ("sign", WRITE, ENCRYPTION_ONLY),
        ("verify", Some(key), _) if named(key) => ("verify", WRITE, ENCRYPTION_ONLY),
        ("hmac", Some(key), _) if named(key) => ("hmac", WRITE, ENCRYPTION_ONLY),
        ("hash", name, _) if name != Some("") => ("hash", WRITE, NO_DIGEST),
        ("random", name, _) if name != Some("") => ("random", WRITE, NO_RANDOM),
        ("export", Some(kind), Some(key)) if named(kind) && !key.is_empty() => {
            ("export", READ, KEYS_STAY)
        }
        ("byok-export", Some(to), Some(key)) if named(to) && !key.is_empty() => {
            ("byok-export", READ, KEYS_STAY)
        }
        ("backup", Some(key), None) if named(key) => ("backup", READ, KEYS_STAY),
        ("restore", key, None) if key.is_none_or(named) => ("restore", WRITE, NO_IMPORT),
        ("wrapping_key", None, None) => ("wrapping_key", READ, NO_IMPORT),
        ("cache-config", None, None) => ("cache-config", READ_WRITE, CONFIGURED),
        ("config", Some("keys"), None) => ("config/keys", READ_WRITE, CONFIGURED),
        ("keys", Some(_), Some(what)) => return of_key(what),
        _ => return None,
    })
}

/// What follows `keys/:name/`.
fn of_key(what: &str) -> Option<LeftOut> {
    Some(match what {
        "import" => ("keys/:name/import", WRITE, NO_IMPORT),
        "import_version" => ("keys/:name/import_version", WRITE, NO_IMPORT),
        "trim" => ("keys/:name/trim", WRITE, VERSIONS_STAY),
        "soft-delete" => ("keys/:name/soft-delete", DELETE, VERSIONS_STAY),
        "soft-delete-restore" => ("keys/:name/soft-delete-restore", WRITE, VERSIONS_STAY),
        "csr" => ("keys/:name/csr", WRITE, ENCRYPTION_ONLY),
        "set-certificate" => ("keys/:name/set-certificate", WRITE, ENCRYPTION_ONLY),
        _ => return None,
    })
}
