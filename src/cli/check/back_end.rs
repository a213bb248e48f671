//! Each HSM, met and tried: a handshake, and a data key there and back.

use crate::config::{Config, Protocol};
use crate::node::{self, Credentials, TrialOutcome};

use super::{Report, clock};

/// An HSM that is down is a warning, for the server starts without it; a key file that does not open
/// is an error.
pub(super) fn examine(
    config: &Config,
    credentials: &Credentials,
    key: Option<&str>,
    report: &mut Report,
) {
    match node::probe(config, credentials) {
        Ok(found) => report.back_end = found,
        Err(error) => return report.errors.push(error.to_string()),
    }
    for down in report.back_end.iter().filter(|probed| !probed.up) {
        match config.hsm.protocol {
            Protocol::Kmip1 | Protocol::Vault => report
                .warnings
                .push(format!("HSM {} is down: {}", down.place, down.detail)),
            // The text names the key.
            Protocol::Embedded => report.errors.push(down.detail.clone()),
        }
    }
    clock::compare(&report.back_end.clone(), report);
    try_keys(config, credentials, key, report);
}

fn try_keys(config: &Config, credentials: &Credentials, key: Option<&str>, report: &mut Report) {
    let up = report.back_end.iter().filter(|probed| probed.up);
    let places: Vec<String> = up.map(|probed| probed.place.clone()).collect();
    match node::try_keys(config, credentials, &places, key) {
        Ok(tried) => report.round_trips = tried,
        Err(error) => return report.errors.push(error.to_string()),
    }
    for tried in &report.round_trips {
        let told = format!("HSM {}: {}", tried.place, tried.detail);
        match (tried.outcome, key) {
            (TrialOutcome::Works, _) => {}
            (TrialOutcome::Lies, _) | (TrialOutcome::Fails, Some(_)) => report.errors.push(told),
            (TrialOutcome::Fails, None) => report.warnings.push(format!(
                "{told}; this key was chosen because it can be listed: if another one is meant, name it with --key NAME"
            )),
            (TrialOutcome::NoKey, _) => report.notes.push(format!(
                "{told}: no wrap and unwrap was tried; name a key with --key NAME, or make one once the server runs: \
                 POST /v1/transit/keys/NAME as cmxBackend"
            )),
        }
    }
}
