//! Who may read and change what the server reads: configuration, keystores, secrets, key files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{Config, Origin};

use super::Report;

/// A file that the server reads or writes.
#[derive(Debug, Serialize)]
pub(super) struct FileMode {
    /// The configuration key that names it.
    key: String,
    file: PathBuf,
    /// Permission bits, octal.
    mode: String,
}

impl std::fmt::Display for FileMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}  {} ({})", self.mode, self.file.display(), self.key)
    }
}

/// Whether only its owner may read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Holds {
    PrivateKeys,
    Anything,
}

pub(super) fn examine(config: &Config, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (key, file, holds) in files(config) {
        if seen.insert(file.clone()) {
            look(&key, &file, holds, report);
        }
    }
}

fn files(config: &Config) -> Vec<(String, PathBuf, Holds)> {
    let mut all = Vec::new();
    let mut add =
        |key: &str, file: &Path, holds| all.push((key.to_owned(), file.to_owned(), holds));
    // Whether it holds a password is told where it is read.
    add("--config", &config.file, Holds::Anything);
    add(
        "kms.keystore.file",
        &config.keystore.file,
        Holds::PrivateKeys,
    );
    let other = &config.server.keystore.file;
    add("kms.server.keystore.file", other, Holds::PrivateKeys);
    if let Some(embedded) = &config.hsm.embedded {
        add("kms.hsm.embedded.file", &embedded.file, Holds::PrivateKeys);
    }
    if config.audit.mode.is_some() {
        let key_file = &config.audit.key_file;
        add("kms.audit.key.file", key_file, Holds::PrivateKeys);
        add("kms.audit.file", &config.audit.file, Holds::Anything);
    }
    if let Some(file) = &config.log.file {
        add("kms.log.file", file, Holds::Anything);
    }
    for role in &config.roles {
        if let Some(file) = role.ca.as_ref().and_then(|ca| ca.crl_file.as_ref()) {
            let key = format!("kms.role.{}.ca.crl.file", role.name);
            add(&key, file, Holds::Anything);
        }
    }
    for setting in config.effective() {
        if let Origin::SecretFile(file) = &setting.origin {
            // One that others may read was refused.
            add(&format!("{}.file", setting.key), file, Holds::Anything);
        }
    }
    all
}

fn look(key: &str, file: &Path, holds: Holds, report: &mut Report) {
    // That it is not there is told where it is needed.
    let Ok(about) = fs::metadata(file) else {
        return;
    };
    let mode = about.permissions().mode() & 0o7777;
    let shown = file.display();
    report.files.push(FileMode {
        key: key.to_owned(),
        file: file.to_owned(),
        mode: format!("{mode:o}"),
    });
    let mut warn = |what: String| report.warnings.push(what);
    if holds == Holds::PrivateKeys && is_open(mode, about.uid()) {
        warn(format!(
            "{shown} ({key}) may be read by others (mode {mode:o}): it holds private keys; chmod 600"
        ));
    }
    if mode & 0o022 != 0 && about.is_file() {
        warn(format!(
            "{shown} ({key}) may be changed by others (mode {mode:o}): who can, decides whom the server trusts and \
             what it tells; chmod go-w"
        ));
    }
    let folder = folder_of(file);
    let folder_mode = fs::metadata(folder).map_or(0, |about| about.permissions().mode());
    // In a sticky folder only the owner may replace a file.
    if folder_mode & 0o002 != 0 && folder_mode & 0o1000 == 0 {
        warn(format!(
            "{} may be written by everybody (mode {:o}), so anybody can put another {} ({key}) there; chmod o-w",
            folder.display(),
            folder_mode & 0o7777,
            file.file_name().unwrap_or_default().display()
        ));
    }
}

/// The folder of a file; of a mere name, this one.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether others than its owner and the server may read it. What is root's the server reads by its group.
fn is_open(mode: u32, owner: u32) -> bool {
    mode & 0o004 != 0 || (mode & 0o040 != 0 && owner != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_group_may_read_what_is_roots() {
        for (mode, owner, want) in [
            (0o600, 0, false),
            (0o640, 0, false),
            (0o640, 1000, true),
            (0o644, 0, true),
            (0o604, 1000, true),
        ] {
            assert_eq!(is_open(mode, owner), want, "{mode:o} of {owner}");
        }
    }

    #[test]
    fn who_may_read_and_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.p12");
        fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (mode, folder_mode, holds, want) in [
            (0o600, 0o700, Holds::PrivateKeys, &[][..]),
            (0o604, 0o700, Holds::PrivateKeys, &["chmod 600"]),
            (0o644, 0o755, Holds::Anything, &[]),
            (0o620, 0o700, Holds::PrivateKeys, &["chmod go-w"]),
            (
                0o666,
                0o700,
                Holds::PrivateKeys,
                &["chmod 600", "chmod go-w"],
            ),
            (0o600, 0o777, Holds::PrivateKeys, &["chmod o-w"]),
            (0o600, 0o1777, Holds::PrivateKeys, &[]),
        ] {
            set(&file, mode);
            set(folder.path(), folder_mode);
            let mut report = Report::default();
            look("kms.keystore.file", &file, holds, &mut report);
            let name = format!("{mode:o} in {folder_mode:o}");
            assert_eq!(
                report.warnings.len(),
                want.len(),
                "{name}: {:?}",
                report.warnings
            );
            for (told, want) in report.warnings.iter().zip(want) {
                assert!(told.contains(want), "{name}: {told}");
            }
            assert_eq!(report.files[0].mode, format!("{mode:o}"));
        }
        let mut report = Report::default();
        look("x", Path::new("/nowhere"), Holds::PrivateKeys, &mut report);
        assert!(report.files.is_empty() && report.warnings.is_empty());
    }
}
