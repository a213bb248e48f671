//! The audit log that the configuration asks for.

use std::sync::Arc;

use crate::audit::{self, Log, Mode};
use crate::config::{AuditMode, Config};

use super::StartError;

/// Whether there is one.
pub fn is_kept(config: &Config) -> bool {
    let audit = &config.audit;
    let has_folder = || audit.file.parent().is_some_and(std::path::Path::is_dir);
    audit.mode.is_some() && (audit.is_set || has_folder())
}

/// Opens it. Where nobody named one and the usual folder is not there, there is none.
pub(super) fn open(config: &Config) -> Result<Option<Arc<Log>>, StartError> {
    let audit = &config.audit;
    let Some(mode) = audit.mode else {
        log::warn!("kms.audit.mode = off: no operation is written to an audit log");
        return Ok(None);
    };
    if !is_kept(config) {
        log::warn!(
            "no audit log: the folder of {} is not there; make it, or name a file with kms.audit.file",
            audit.file.display()
        );
        return Ok(None);
    }
    let settings = audit::Settings {
        file: audit.file.clone(),
        key_file: audit.key_file.clone(),
        mode: match mode {
            AuditMode::Strict => Mode::Strict,
            AuditMode::BestEffort => Mode::BestEffort,
        },
        sync: audit.sync,
    };
    Log::open(settings).map(Some).map_err(StartError::Audit)
}
