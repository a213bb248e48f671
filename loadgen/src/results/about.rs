//! Who measured, when and with which arguments.

use serde::{Deserialize, Serialize};

/// Whether a result tells of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// The run ended as planned.
    #[default]
    Whole,
    /// It was cut short; why, for people.
    Partial(String),
}

/// The run, apart from what it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// A name for headings; the scenario's, or what `--name` said.
    #[serde(default)]
    pub name: Option<String>,
    /// Version of `kms-loadgen`.
    pub tool_version: String,
    /// As given, secrets replaced: see [`redacted`].
    pub command_line: Vec<String>,
    /// Seed of all that is random.
    pub seed: u64,
    /// Wall clock at the first planned request, microseconds since 1970.
    pub start_unix_us: u64,
    /// From the first planned request to the last answer or the end of waiting for it.
    pub duration_us: u64,
    /// Whether all of it is here.
    #[serde(default)]
    pub completeness: Completeness,
    /// The runs that this one was merged of; empty for a single one.
    #[serde(default)]
    pub merged_from: Vec<Source>,
    /// What readers ought to know: why a merge was forced, what could not be measured.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One run that went into a merged one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Version of `kms-loadgen` that made it.
    pub tool_version: String,
    /// Its arguments.
    pub command_line: Vec<String>,
    /// Its seed.
    pub seed: u64,
    /// Its start, microseconds since 1970.
    pub start_unix_us: u64,
    /// Its length.
    pub duration_us: u64,
    /// Name of its machine.
    pub machine: String,
}

/// Options whose value is a secret.
const SECRET_OPTIONS: [&str; 3] = ["--token", "--password", "--passphrase"];
const REDACTED: &str = "[redacted]";

/// The arguments as they may be kept: the value of an option that is a secret, in either form, is replaced.
pub fn redacted(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut value_is_secret = false;
    for argument in arguments {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (argument.as_str(), None),
        };
        let is_secret = SECRET_OPTIONS.contains(&option);
        kept.push(match (value_is_secret, is_secret, value) {
            (true, _, _) => REDACTED.to_owned(),
            (false, true, Some(_)) => format!("{option}={REDACTED}"),
            _ => argument.clone(),
        });
        value_is_secret = !value_is_secret && is_secret && value.is_none();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_kept() {
        for (name, given, want) in [
            ("none", "run --seed 7", "run --seed 7"),
            (
                "apart",
                "run --token hvs.x --seed 7",
                "run --token [redacted] --seed 7",
            ),
            ("together", "run --token=a=b", "run --token=[redacted]"),
            (
                "looks like an option",
                "run --token --token x",
                "run --token [redacted] x",
            ),
            ("at the end", "run --token", "run --token"),
            (
                "a file's name is none",
                "run --token-file t",
                "run --token-file t",
            ),
        ] {
            let kept = redacted(given.split(' ').map(str::to_owned));
            assert_eq!(kept.join(" "), want, "{name}");
        }
    }
}
