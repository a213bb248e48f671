//! `sys/health`: this node as a Vault would describe itself.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::api::reply::Reply;
use crate::wire::Out;
use crate::wire::transit::{self, HealthBody};

use super::Engine;

impl Engine {
    /// Unsealed once the HSM has answered; losing it afterwards changes nothing, as on `/readyz`.
    pub(super) fn health<O: Out>(&self, reply: &mut Reply<'_, O>) {
        let sealed = !self.hsm.health().was_up;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let body = HealthBody {
            sealed,
            server_time_unix_s: now.as_secs(),
            version: env!("CARGO_PKG_VERSION"),
            cluster_name: "connected-kms",
            cluster_id: &self.cluster_id,
        };
        reply.plain(if sealed { 503 } else { 200 }, |out| transit::health(out, &body));
    }
}
