//! The old `kms.properties`: what is carried over, under its name of today.
//!
//! Must never be true: a password outside its type. Called by `migrate`.

use std::path::PathBuf;

use super::files::{self, Folders};
use super::output::Output;
use super::report::Report;
use crate::config::{Assigned, Assignment, Warning, assignments, table};
use crate::secret::SecretString;

/// Keys that other parts of a migration write, or beginnings of such.
const HANDLED: [&str; 5] = [
    "kms.keystore.",
    "kms.cache.type",
    "kms.distributed.cache.config.file",
    "kms.hsm.ca.alias",
    "kms.hsm.vault.token",
];
/// Beginnings of keys that the original does not have.
const OURS: [&str; 2] = ["kms.server.", "kms.role."];

/// What the file sets.
pub(super) struct Settings {
    file: PathBuf,
    all: Vec<Assignment>,
}

impl Settings {
    /// `left_out` are keys that the operator gives up.
    pub(super) fn read(
        folders: &Folders,
        left_out: &[String],
        report: &mut Report,
    ) -> Result<Self, String> {
        let file = folders.conf.join("kms.properties");
        let text = files::text(&file, "name the folder that holds it with --from DIR")?;
        let (all, warnings) = assignments(&file, &text, left_out).map_err(|error| {
            format!(
                "{error}\nPut it right in a copy of the folder and name that with --from; a key that is not to be \
                 carried over is passed over with --leave-out KEY"
            )
        })?;
        report.read.push(file.display().to_string());
        let text = String::from_utf8_lossy(&text);
        for key in left_out.iter().filter(|key| text.contains(*key)) {
            report.lost(format!("kms.properties {key}"), "left out, as told");
        }
        for warning in &warnings {
            match warning {
                Warning::OldName { origin, old, new } => {
                    report.changed(
                        format!("{origin} {old}"),
                        format!("{new}, its name of today"),
                    );
                }
                other => report.warnings.push(other.to_string()),
            }
        }
        let settings = Self { file, all };
        let ours = settings
            .all
            .iter()
            .find(|one| OURS.iter().any(|start| one.key.starts_with(start)));
        match ours {
            Some(one) => Err(format!(
                "{}: {} is no setting of the original: this is a configuration of Connected KMS as it is now, which \
                 kms serve takes as it is",
                one.origin, one.key
            )),
            None => Ok(settings),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Assignment> {
        self.all.iter().find(|one| one.key == key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Assigned::Text(text) => Some(text),
            _ => None,
        }
    }

    /// File and line, for errors.
    pub(super) fn place(&self, key: &str) -> String {
        let found = self.get(key).map(|one| one.origin.to_string());
        found.unwrap_or_else(|| self.file.display().to_string())
    }

    /// A key without which there is nothing to migrate.
    pub(super) fn needed(&self, key: &str) -> Result<&Assigned, String> {
        let found = self.get(key).map(|one| &one.value);
        found.ok_or_else(|| {
            format!(
                "{}: {key} is not set: this installation has not been configured; to begin anew see README.md, \
                 \"Use it with an HSM\"",
                self.file.display()
            )
        })
    }

    pub(super) fn secret(&self, key: &str) -> Option<&SecretString> {
        match &self.get(key)?.value {
            Assigned::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// As the table spells it.
    pub(super) fn protocol(&self) -> &'static str {
        let written = self.text(table::HSM_PROTOCOL.name).unwrap_or("kmip1");
        let known = ["kmip1", "VAULT", "EMBEDDED"];
        let fits = known
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(written));
        fits.unwrap_or("kmip1")
    }

    /// Whether the protocol reads this key.
    fn is_read(&self, key: &str) -> bool {
        let only_with = table::MAIN.find(key).map_or(&[][..], |key| key.only_with);
        only_with.is_empty() || only_with.contains(&self.protocol())
    }

    /// Writes everything that needs no thought.
    pub(super) fn carry_over(&self, output: &mut Output, report: &mut Report) {
        let is_handled = |key: &str| {
            HANDLED
                .iter()
                .any(|known| key == *known || (known.ends_with('.') && key.starts_with(known)))
        };
        for one in self.all.iter().filter(|one| !is_handled(&one.key)) {
            let key = &one.key;
            if !self.is_read(key) {
                let what = format!("{} {key}", one.origin);
                report.lost(
                    what,
                    format!("is not read with kms.hsm.protocol = {}", self.protocol()),
                );
                continue;
            }
            match &one.value {
                Assigned::Text(text) => {
                    report.unchanged.push(format!("{key} = {text}"));
                    output.set(key, text);
                }
                Assigned::Path(path) => {
                    report.unchanged.push(format!("{key} = {}", path.display()));
                    output.set(key, path.display().to_string());
                }
                Assigned::Secret(secret) => {
                    report.changed(
                        format!("{} {key}", one.origin),
                        format!("{key}.file: a file of its own"),
                    );
                    output.secret(key, secret.clone());
                }
            }
        }
    }
}
