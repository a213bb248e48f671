//! What a properties file sets, each value checked by itself: for `kms migrate`, which writes another file from it.
//!
//! Must never be true: a secret outside its type. Relations between keys are `build`'s.

use std::path::{Path, PathBuf};

use super::error::{ConfigError, Problem, Warning};
use super::model::Origin;
use super::value::Value;
use super::{properties, source};
use crate::secret::SecretString;

/// One key that is set.
#[derive(Debug)]
pub struct Assignment {
    /// Its name of today, whichever was written.
    pub key: String,
    /// What it is set to.
    pub value: Assigned,
    /// Where.
    pub origin: Origin,
}

/// A checked value, as it would be written again.
#[derive(Debug)]
pub enum Assigned {
    /// As written.
    Text(String),
    /// A relative one begins at the folder of its file now.
    Path(PathBuf),
    /// A password.
    Secret(SecretString),
}

/// All that `text` sets, by key, and what an operator should know about it. Keys of `left_out` are passed over,
/// whether known or not.
pub fn assignments(
    file: &Path,
    text: &[u8],
    left_out: &[String],
) -> Result<(Vec<Assignment>, Vec<Warning>), ConfigError> {
    let all = source::gather(&super::table::MAIN, file, text, &[]);
    let is_left_out = |key: &String| left_out.contains(key);
    let mut problems = all.problems;
    problems.retain(|problem| match problem {
        Problem::UnknownKey { key, .. } | Problem::BadValue { key, .. } => !is_left_out(key),
        _ => true,
    });
    if !problems.is_empty() {
        problems.sort_by_key(Problem::line);
        return Err(ConfigError::new(file, problems, all.warnings));
    }
    let kept = all.held.into_iter().filter(|(key, _)| !is_left_out(key));
    let assignment = |(key, held): (String, source::Held)| Assignment {
        key,
        origin: held.origin,
        value: match held.value {
            Value::Secret(secret) => Assigned::Secret(secret),
            Value::Path(path) => Assigned::Path(path),
            _ => Assigned::Text(held.shown),
        },
    };
    Ok((kept.map(assignment).collect(), all.warnings))
}

/// Names and values of any file in Java's properties syntax, in its order; a value may be a secret.
pub fn java_properties(
    file: &Path,
    text: &[u8],
) -> Result<Vec<(String, SecretString)>, ConfigError> {
    let (entries, problems) = properties::parse(file, text);
    if !problems.is_empty() {
        return Err(ConfigError::new(file, problems, Vec::new()));
    }
    let taken = |mut entry: properties::Entry| {
        (
            entry.key,
            SecretString::new(std::mem::take(&mut *entry.value)),
        )
    };
    Ok(entries.into_iter().map(taken).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = "/usr/share/kms/conf/kms.properties";

    #[test]
    fn values_are_told_by_key_with_their_lines() {
        let text =
            "kms.keystore.password=pw\nkmip.server.url = hsm\nkms.keystore.file=k.jks\nkms.odd=1\n";
        let (all, warnings) =
            assignments(Path::new(FILE), text.as_bytes(), &["kms.odd".to_owned()]).unwrap();
        let told: Vec<String> = all
            .iter()
            .map(|one| format!("{} {} {:?}", one.key, one.origin, one.value))
            .collect();
        assert_eq!(
            told,
            [
                "kms.hsm.server.url /usr/share/kms/conf/kms.properties:2 Text(\"hsm\")",
                "kms.keystore.file /usr/share/kms/conf/kms.properties:3 Path(\"/usr/share/kms/conf/k.jks\")",
                "kms.keystore.password /usr/share/kms/conf/kms.properties:1 Secret(SecretString(..))",
            ]
        );
        assert!(matches!(&warnings[..], [Warning::OldName { .. }]));
    }

    #[test]
    fn what_is_not_left_out_is_an_error_with_its_line() {
        for (name, text, left_out, want) in [
            ("unknown", "\nkms.odd=1", "", ":2: unknown key kms.odd"),
            (
                "a bad value",
                "kms.server.port=x",
                "",
                ":1: kms.server.port = \"x\"",
            ),
            (
                "another left out",
                "kms.odd=1",
                "kms.even",
                ":1: unknown key kms.odd",
            ),
        ] {
            let error = assignments(Path::new(FILE), text.as_bytes(), &[left_out.to_owned()]);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(want), "{name}: {error}");
        }
        let left = ["kms.server.port".to_owned()];
        let (all, _) = assignments(Path::new(FILE), b"kms.server.port=x", &left).unwrap();
        assert!(all.is_empty());
    }
}
