//! How two keystores differ, entry by entry.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use super::super::password::{PasswordArguments, first_line};
use super::open;
use crate::keystore::{CertificateFacts, Keystore};

/// Kind and fingerprints of an entry.
type Face = (&'static str, Vec<String>);

pub(super) fn run(
    first: &Path,
    second: &Path,
    password: &PasswordArguments,
    second_password: Option<&Path>,
    json: bool,
) -> Result<ExitCode, String> {
    let password = password.known(&first.display().to_string())?;
    let other = match second_password {
        Some(file) => first_line(file)?,
        None => password.clone(),
    };
    let (one, two) = (open(first, &password, None)?, open(second, &other, None)?);
    let found = differences(&faces(&one), &faces(&two));
    if json {
        println!("{:#}", serde_json::json!({ "differences": found }));
    } else if found.is_empty() {
        println!("the same entries");
    } else {
        for line in &found {
            println!("{line}");
        }
    }
    Ok(ExitCode::from(u8::from(!found.is_empty())))
}

fn faces(store: &Keystore) -> BTreeMap<String, Face> {
    let print = |der: &[u8]| {
        CertificateFacts::from_der(der)
            .map_or_else(|_| "unreadable".to_owned(), |facts| facts.fingerprint())
    };
    let keys = store.keys.iter().map(|entry| {
        let chain = entry.chain.iter().map(|der| print(der)).collect();
        (entry.alias.clone(), ("private key", chain))
    });
    let trusted = store.trusted.iter().map(|entry| {
        let face = ("trusted certificate", vec![print(&entry.certificate)]);
        (entry.alias.clone(), face)
    });
    keys.chain(trusted).collect()
}

fn differences(one: &BTreeMap<String, Face>, two: &BTreeMap<String, Face>) -> Vec<String> {
    let mut found = Vec::new();
    for (alias, (kind, prints)) in one {
        match two.get(alias) {
            None => found.push(format!("- '{alias}' ({kind}) is in the first alone")),
            Some((other, _)) if other != kind => {
                found.push(format!(
                    "! '{alias}' is a {kind} in the first, a {other} in the second"
                ));
            }
            Some((_, others)) if others.first() != prints.first() => {
                found.push(format!("! '{alias}' ({kind}) has another certificate"));
            }
            Some((_, others)) if others != prints => {
                found.push(format!("! '{alias}' ({kind}) has another chain"));
            }
            Some(_) => {}
        }
    }
    for (alias, (kind, _)) in two {
        if !one.contains_key(alias) {
            found.push(format!("+ '{alias}' ({kind}) is in the second alone"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_compared_by_kind_and_certificates() {
        let store = |entries: &[(&str, &'static str, &[&str])]| -> BTreeMap<String, Face> {
            let face = |(alias, kind, prints): &(&str, &'static str, &[&str])| {
                let prints = prints.iter().map(|print| (*print).to_owned()).collect();
                ((*alias).to_owned(), (*kind, prints))
            };
            entries.iter().map(face).collect()
        };
        let one = store(&[
            ("same", "private key", &["A", "B"]),
            ("gone", "trusted certificate", &["C"]),
            ("kind", "private key", &["D"]),
            ("leaf", "private key", &["E", "B"]),
            ("chain", "private key", &["F", "B"]),
        ]);
        let two = store(&[
            ("same", "private key", &["A", "B"]),
            ("new", "trusted certificate", &["G"]),
            ("kind", "trusted certificate", &["D"]),
            ("leaf", "private key", &["H", "B"]),
            ("chain", "private key", &["F"]),
        ]);
        assert_eq!(
            differences(&one, &two),
            [
                "! 'chain' (private key) has another chain",
                "- 'gone' (trusted certificate) is in the first alone",
                "! 'kind' is a private key in the first, a trusted certificate in the second",
                "! 'leaf' (private key) has another certificate",
                "+ 'new' (trusted certificate) is in the second alone",
            ]
        );
        assert!(differences(&one, &one).is_empty());
    }
}
