//! What of the machine matters to the server: limits, swap, core dumps, who may read its files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::config::Config;
use crate::config::plan::Plan;

/// Log, audit log, listeners, event loops, wakers, and what an administrator's shell needs beside.
const OTHER_FILES: u64 = 64;

/// Facts, and what of them needs attention.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) facts: Vec<String>,
    pub(super) warnings: Vec<String>,
}

pub(super) fn examine(config: &Config, plan: &Plan) -> Host {
    let mut host = Host::default();
    host.open_files(config, plan);
    host.swap(&fs::read_to_string("/proc/swaps").unwrap_or_default());
    host.facts
        .push("core dumps: the server turns them off for itself".to_owned());
    for (key, file) in [
        ("kms.keystore.file", &config.keystore.file),
        ("kms.server.keystore.file", &config.server.keystore.file),
    ] {
        host.readers(key, file);
    }
    host.warnings.dedup();
    host
}

impl Host {
    fn open_files(&mut self, config: &Config, plan: &Plan) {
        let needed = config.sizes.connections_max as u64 + plan.pool_size as u64 + OTHER_FILES;
        let Some(limit) = getrlimit(Resource::Nofile).maximum else {
            self.facts
                .push(format!("open files: no limit; {needed} may be needed"));
            return;
        };
        self.facts
            .push(format!("open files: limit {limit}; {needed} may be needed"));
        if limit < needed {
            self.warnings.push(format!(
                "open files: {needed} may be needed and RLIMIT_NOFILE allows {limit}; raise it (LimitNOFILE= in the \
                 service, ulimit -n) or lower kms.connections.max"
            ));
        }
    }

    /// A line for each device follows the heading.
    fn swap(&mut self, table: &str) {
        let fact = if table.lines().count() > 1 {
            "swap: on; keys are in locked memory and do not go there, but hibernation would write all memory: keep it off"
        } else {
            "swap: off"
        };
        self.facts.push(fact.to_owned());
    }

    fn readers(&mut self, key: &str, file: &Path) {
        // That it is not there is told elsewhere.
        let Ok(meta) = fs::metadata(file) else {
            return;
        };
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o044 != 0 {
            self.warnings.push(format!(
                "{} ({key}) may be read by others (mode {mode:o}): it holds private keys; chmod 600",
                file.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn swap_and_readers_are_seen() {
        let mut host = Host::default();
        host.swap("Filename Type Size Used Priority\n");
        host.swap("Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
        assert_eq!(host.facts[0], "swap: off");
        assert!(host.facts[1].starts_with("swap: on"), "{host:?}");
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, count) in [(0o600, 0), (0o640, 1), (0o604, 2)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            host.readers("kms.keystore.file", file.path());
            assert_eq!(host.warnings.len(), count, "{mode:o}");
        }
        host.readers("kms.keystore.file", Path::new("/nowhere"));
        assert_eq!(host.warnings.len(), 2);
    }
}
