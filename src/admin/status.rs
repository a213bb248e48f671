//! `/status`: the node in one object, for `kms status`.

use std::time::{Instant, SystemTime};

use serde::Serialize;

use super::readiness::{Readiness, readiness};
use crate::cluster;
use crate::engine::budget::Budget;
use crate::hsm::ServerReport;
use crate::server::Shared;

const DAY_S: i64 = 86_400;

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
    /// Certificates and lists of revoked ones, the one that ends first at the front.
    pub certificates: Vec<CertificateEnd>,
    /// Why the last reload was refused: what serves is not what the files say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_refused: Option<String>,
    /// What would be served without the HSM.
    pub outage_budget: Budget,
    /// The cache that the nodes share, in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<cluster::Report>,
}

/// A certificate that the node lives by, or a list of revoked ones.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CertificateEnd {
    /// Lower-cased keystore alias.
    pub alias: String,
    /// `server`, `hsm-client`, `hsm-ca`, `client`, `client-ca`, or for a list `client-crl`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Seconds since 1970.
    pub not_after_unix_s: i64,
    /// Whole days; negative once it is over.
    pub days_left: i64,
    /// Whether it is time to replace it.
    pub due: bool,
}

fn certificates(shared: &Shared) -> Vec<CertificateEnd> {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_unix_s = unix.map_or(0, |time| time.as_secs().cast_signed());
    let all = shared.certificates.load();
    let mut ends: Vec<CertificateEnd> = all
        .iter()
        .map(|one| CertificateEnd {
            alias: one.alias.clone(),
            usage: one.usage,
            not_after_unix_s: one.not_after_unix_s,
            days_left: (one.not_after_unix_s - now_unix_s).div_euclid(DAY_S),
            due: one.is_due(now_unix_s),
        })
        .collect();
    ends.sort_by_key(|end| end.not_after_unix_s);
    ends
}

/// The node now.
pub fn status(shared: &Shared) -> Status {
    Status {
        readiness: readiness(shared),
        servers: shared.engine.hsm().servers(),
        connections: shared.connections(),
        waiting: shared.engine.hsm().health().queued,
        cache_entries: shared.engine.cache().len(),
        certificates: certificates(shared),
        reload_refused: shared.reload_refused.lock().clone(),
        outage_budget: shared.engine.outage_budget(Instant::now()),
        cluster: shared.engine.shared_cache().map(|cluster| cluster.report()),
    }
}
