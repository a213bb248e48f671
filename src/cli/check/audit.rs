//! Whether operations would be logged.
//!
//! Must never be true: nothing said where none would be, or where the server would not start for want of a folder.

use crate::config::{Audit, Config};
use crate::node;

use super::Report;
use super::files::folder_of;

/// A server goes on without an audit log where nobody named one, so whoever checks is told.
pub(super) fn examine(config: &Config, report: &mut Report) {
    let audit = &config.audit;
    if audit.mode.is_none() {
        let off = "kms.audit.mode = off: no operation is written to an audit log";
        report.notes.push(off.to_owned());
    } else if !node::is_audited(config) {
        report.notes.push(format!(
            "no audit log: the folder of {} is not there, and unless something makes it before the start, such as \
             LogsDirectory= of a service, no operation is logged; make it, or name a file with kms.audit.file",
            audit.file.display()
        ));
    } else {
        report.errors.extend(folder_missing(audit));
        if config.log.level < log::LevelFilter::Info {
            report.warnings.push(format!(
                "kms.log.level = {} hides the audit log's anchors, which are lines of level info: without them a cut \
                 tail or a chain that was left out does not show; set it to info",
                config.log.level.as_str().to_lowercase()
            ));
        }
    }
}

/// The first file for which there is no folder.
fn folder_missing(audit: &Audit) -> Option<String> {
    let files = [
        ("kms.audit.file", &audit.file),
        ("kms.audit.key.file", &audit.key_file),
    ];
    let (key, file) = files
        .into_iter()
        .find(|(_, file)| !folder_of(file).is_dir())?;
    Some(format!(
        "the folder of {} ({key}) is not there, and the server would not start; make it, or name another file",
        file.display()
    ))
}
