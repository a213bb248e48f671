//! Whether a load balancer should send clients here.

use std::time::Instant;

use serde::Serialize;

use crate::server::{Phase, Shared};

/// All states, in the order of a node's life.
pub(super) const STATES: [&str; 5] = ["starting", "ready", "degraded", "draining", "stopping"];

/// The body of `/readyz`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Readiness {
    /// `starting`, `ready`, `degraded`, `draining` or `stopping`.
    pub state: &'static str,
    /// Name of the back end.
    pub backend: &'static str,
    /// What it is connected to, or what is wrong.
    pub backend_detail: String,
    /// The cache that the nodes share; none: this node has its own only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_cache: Option<String>,
    /// HTTP status of the answer.
    #[serde(skip)]
    pub status: u16,
}

/// Judges the node now. Once ready, losing the HSM is `degraded` and still 200: else one HSM outage
/// would take every node out and cut the warm unwraps that could still be served.
pub fn readiness(shared: &Shared) -> Readiness {
    let health = shared.engine.hsm().health();
    let works = health.up && health.access.refused.is_none();
    let cluster = shared.engine.shared_cache();
    // Once it had its key it has it for good, so this holds back starting nodes alone.
    let settled = cluster.is_none_or(|cluster| cluster.is_settled(Instant::now()));
    let (works, was_up) = (works && settled, health.was_up && settled);
    let phase = match shared.phase() {
        // Whoever is still connected is not to be cut by a balancer that takes a 503 for a dead server.
        Phase::Stopping if shared.connections() > 0 => Phase::Draining,
        phase if shared.is_leaving() => phase.max(Phase::Draining),
        phase => phase,
    };
    let (state, status) = judge(phase, works, was_up);
    Readiness {
        state,
        backend: shared.engine.hsm().name(),
        backend_detail: health.detail,
        shared_cache: cluster.map(|cluster| cluster.report().detail),
        status,
    }
}

fn judge(phase: Phase, up: bool, was_up: bool) -> (&'static str, u16) {
    match phase {
        Phase::Stopping => ("stopping", 503),
        Phase::Draining => ("draining", 404),
        Phase::Serving if up => ("ready", 200),
        Phase::Serving if was_up => ("degraded", 200),
        Phase::Serving | Phase::Starting => ("starting", 503),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hsm_lost_after_start_degrades_but_stays_ready() {
        for (name, phase, up, was_up, want) in [
            (
                "before listening",
                Phase::Starting,
                true,
                true,
                ("starting", 503),
            ),
            (
                "HSM never reached",
                Phase::Serving,
                false,
                false,
                ("starting", 503),
            ),
            ("HSM there", Phase::Serving, true, true, ("ready", 200)),
            ("HSM lost", Phase::Serving, false, true, ("degraded", 200)),
            ("draining", Phase::Draining, true, true, ("draining", 404)),
            (
                "draining without HSM",
                Phase::Draining,
                false,
                true,
                ("draining", 404),
            ),
            ("stopping", Phase::Stopping, true, true, ("stopping", 503)),
        ] {
            assert_eq!(judge(phase, up, was_up), want, "{name}");
            assert!(STATES.contains(&want.0), "{name}");
        }
    }
}
