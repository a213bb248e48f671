//! The cache that the nodes share: its servers met, its files read.

use crate::config::Config;
use crate::node;

use super::Report;

/// The server starts without its engine too, but not without the files that it needs to log in there.
pub(super) fn examine(config: &Config, report: &mut Report) {
    match node::probe_shared_cache(config) {
        Ok(found) => {
            for down in found.iter().filter(|probed| !probed.up) {
                let text = format!("{} is down: {}", down.place, down.detail);
                report.warnings.push(text);
            }
            report.back_end.extend(found);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
}
