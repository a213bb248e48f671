//! `/status`: the node in one object, for `kms status`.

use std::time::Instant;

use serde::Serialize;

use super::readiness::{Readiness, readiness};
use crate::engine::budget::Budget;
use crate::hsm::ServerReport;
use crate::server::Shared;

/// The body of `/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// As `/readyz` tells it.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// Each HSM by its address: connections to it, and why it is left alone, if it is.
    pub servers: Vec<ServerReport>,
    /// Connections now.
    pub connections: usize,
    /// Jobs waiting for the HSM now.
    pub waiting: usize,
    /// Unwrapped keys held now.
    pub cache_entries: usize,
    /// What would be served without the HSM.
    pub outage_budget: Budget,
}

/// The node now.
pub fn status(shared: &Shared) -> Status {
    Status {
        readiness: readiness(shared),
        servers: shared.engine.hsm().servers(),
        connections: shared.connections(),
        waiting: shared.engine.hsm().health().queued,
        cache_entries: shared.engine.cache().len(),
        outage_budget: shared.engine.outage_budget(Instant::now()),
    }
}
