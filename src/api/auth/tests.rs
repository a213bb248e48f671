#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::About;
use crate::identity::Operations;
use crate::wire::transit::{
    ConfigBody, IgnoredBody, KeyBody, ListQuery, Verb, config_body, crypt_body, datakey_body,
    ignored_body, key_body,
};

/// The commands that wrap and unwrap, by name, and the operation each needs.
fn of_texts(key: &str) -> Vec<(&'static str, Command<'_>, Option<Operation>)> {
    let plaintext = crypt_body(Verb::Encrypt, br#"{"plaintext":"aGk="}"#).unwrap();
    let ciphertext = |verb| crypt_body(verb, br#"{"ciphertext":"vault:v1:AA"}"#).unwrap();
    let datakey = |plaintext| Command::Datakey {
        key,
        plaintext,
        body: datakey_body(b"", false).unwrap(),
    };
    vec![
        (
            "encrypt",
            Command::Encrypt {
                key,
                body: plaintext,
            },
            Some(Operation::Encrypt),
        ),
        (
            "decrypt",
            Command::Decrypt {
                key,
                body: ciphertext(Verb::Decrypt),
            },
            Some(Operation::Decrypt),
        ),
        (
            "rewrap",
            Command::Rewrap {
                key,
                body: ciphertext(Verb::Rewrap),
            },
            Some(Operation::Rewrap),
        ),
        ("datakey plaintext", datakey(true), Some(Operation::Datakey)),
        ("datakey wrapped", datakey(false), Some(Operation::Datakey)),
    ]
}

/// The others on `key` that need an operation.
fn of_keys(key: &str) -> Vec<(&'static str, Command<'_>, Option<Operation>)> {
    let config: ConfigBody = config_body(b"", false).unwrap();
    let nothing: IgnoredBody = ignored_body(b"", false, &[]).unwrap();
    let kind: KeyBody<'_> = key_body(b"").unwrap();
    let list = Command::ListKeys(ListQuery {
        after: key.into(),
        ..ListQuery::default()
    });
    let read = Command::ReadKey {
        key,
        warnings: Vec::new(),
    };
    vec![
        ("list", list, Some(Operation::List)),
        (
            "rotate",
            Command::RotateKey { key, body: nothing },
            Some(Operation::Rotate),
        ),
        (
            "config",
            Command::ConfigKey { key, body: config },
            Some(Operation::Configure),
        ),
        (
            "delete",
            Command::DeleteKey { key },
            Some(Operation::Delete),
        ),
        (
            "create",
            Command::CreateKey { key, body: kind },
            Some(Operation::Create),
        ),
        ("read", read, Some(Operation::Read)),
    ]
}

/// Those that need none.
fn of_anyone<'a>() -> [(&'static str, Command<'a>, Option<Operation>); 8] {
    let about = |name, about| (name, Command::About(about), None);
    [
        ("health", Command::Health, None),
        about("login", About::Login),
        about("lookup-self", About::LookupSelf),
        about("renew-self", About::RenewSelf),
        about("revoke-self", About::RevokeSelf),
        about("seal-status", About::SealStatus),
        about("init", About::Init),
        about("leader", About::Leader),
    ]
}

/// Name of a set, and the operations in it.
fn operation_sets() -> Vec<(String, Vec<Operation>)> {
    use Operation::{Datakey, Decrypt, Encrypt, Read};
    let mut sets = vec![
        ("none".to_owned(), vec![]),
        ("all".to_owned(), Operation::ALL.to_vec()),
        ("device".to_owned(), vec![Encrypt, Decrypt, Datakey, Read]),
    ];
    for operation in Operation::ALL {
        sets.push((format!("only {operation}"), vec![operation]));
        let others = Operation::ALL
            .into_iter()
            .filter(|&other| other != operation);
        sets.push((format!("all but {operation}"), others.collect()));
    }
    sets
}

/// The role's globs, a key, whether they cover it.
const GLOBS: &[(&[&str], &str, bool)] = &[
    (&["*"], "site-a", true),
    (&["site-*"], "site-a", true),
    (&["site-*"], "other", false),
    (&["site-*"], "Site-a", false),
    (&["site-a"], "site-a", true),
    (&["site-a"], "site-ab", false),
    (&["x", "*-a"], "site-a", true),
    (&[], "site-a", false),
];

#[test]
fn a_command_is_allowed_exactly_when_the_role_has_its_operation_on_its_key() {
    let refused = Fault::new(403, "1 error occurred:\n\t* permission denied\n\n");
    for (set, operations) in operation_sets() {
        for &(globs, key, covered) in GLOBS {
            let role = Role {
                name: "r".to_owned(),
                operations: operations.iter().copied().collect::<Operations>(),
                keys: globs.iter().map(|&glob| glob.to_owned()).collect(),
            };
            let commands = of_texts(key).into_iter().chain(of_keys(key));
            for (name, command, needed) in commands.chain(of_anyone()) {
                let allowed = match needed {
                    None => true,
                    // A list is cut down to the names that the globs cover.
                    Some(Operation::List) => operations.contains(&Operation::List),
                    Some(operation) => covered && operations.contains(&operation),
                };
                let want = if allowed {
                    Ok(())
                } else {
                    Err(refused.clone())
                };
                let found = authorise(&role, &command);
                assert_eq!(found, want, "{name} of {key} by {set} on {globs:?}");
            }
        }
    }
}

#[test]
fn every_operation_guards_some_command() {
    for operation in Operation::ALL {
        let guarded = of_texts("k")
            .into_iter()
            .chain(of_keys("k"))
            .any(|(_, _, needed)| needed == Some(operation));
        assert!(guarded, "{operation}");
    }
}
