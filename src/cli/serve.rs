//! `kms serve`: the server until it is told to stop.

use std::path::Path;
use std::process::ExitCode;

use crate::config;
use crate::node::{self, Node, Options};
use crate::secret::{Mode, harden};

use super::fail;

/// Forces how memory is locked; for tests of both ways, hence no configuration key.
const ARENA_MODE: &str = "KMS_TEST_ARENA_MODE";

pub(super) fn run(file: &Path) -> ExitCode {
    let loaded = match config::load(file, std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(error) => return fail(error),
    };
    let logger = match super::log::install(&loaded.config.log) {
        Ok(logger) => logger,
        Err(error) => return fail(format!("kms.log.file: {error}")),
    };
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    if let Err(error) = harden::harden_process() {
        return fail(error);
    }
    let options = match arena_mode() {
        Ok(arena_mode) => Options {
            arena_mode,
            ..Options::default()
        },
        Err(why) => return fail(why),
    };
    let node = match Node::start(&loaded.config, options) {
        Ok(node) => node,
        Err(error) => return fail(error),
    };
    let on_hangup = || {
        match logger.reopen() {
            Ok(()) => log::info!("SIGHUP: the log file was reopened"),
            Err(error) => log::error!("SIGHUP: the log file could not be reopened: {error}"),
        }
        if let Some(Err(error)) = node.shared().audit.as_ref().map(|audit| audit.reopen()) {
            log::error!("SIGHUP: {error}; the old file stays in use");
        }
        // What came of it is in the log.
        let _ = node.reloader().reload();
    };
    match node::until_signalled(on_hangup) {
        Ok(signal) => log::info!("{signal} received"),
        Err(error) => log::error!("signals cannot be received: {error}"),
    }
    node.drain_and_stop();
    ExitCode::SUCCESS
}

fn arena_mode() -> Result<Option<Mode>, String> {
    match std::env::var(ARENA_MODE).as_deref() {
        Err(_) => Ok(None),
        Ok("memfd_secret") => Ok(Some(Mode::MemfdSecret)),
        Ok("mlock") => Ok(Some(Mode::Mlock)),
        Ok(other) => Err(format!(
            "{ARENA_MODE}={other}: must be memfd_secret or mlock"
        )),
    }
}
