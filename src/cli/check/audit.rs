//! Whether operations would be logged.

use crate::config::Config;
use crate::node;

use super::Report;

/// A server goes on without an audit log where nobody named one, so whoever checks is told.
pub(super) fn examine(config: &Config, report: &mut Report) {
    if config.audit.mode.is_none() {
        let off = "kms.audit.mode = off: no operation is written to an audit log";
        report.notes.push(off.to_owned());
    } else if !node::is_audited(config) {
        report.notes.push(format!(
            "no audit log: the folder of {} is not there, and unless something makes it before the start, such as \
             LogsDirectory= of a service, no operation is logged; make it, or name a file with kms.audit.file",
            config.audit.file.display()
        ));
    } else if config.log.level < log::LevelFilter::Info {
        report.warnings.push(format!(
            "kms.log.level = {} hides the audit log's anchors, which are lines of level info: without them a cut \
             tail or a chain that was left out does not show; set it to info",
            config.log.level.as_str().to_lowercase()
        ));
    }
}
