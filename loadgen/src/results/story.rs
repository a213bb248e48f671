//! What happened during a run, and what a search for the knee found.

use serde::{Deserialize, Serialize};

use super::slo;

/// Something that a scenario did, or that was seen, at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Wall clock, microseconds since 1970.
    pub at_unix_us: u64,
    /// Its end, for what lasts.
    #[serde(default)]
    pub until_unix_us: Option<u64>,
    /// For people: `HSM stalls`, `node killed`.
    pub label: String,
}

/// The highest rate that met an SLO, as an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// The expression that was to be met.
    pub slo: String,
    /// The highest rate that surely met it; none when no probe did.
    pub met_per_s: Option<f64>,
    /// The lowest rate above that surely missed it; none when no probe did.
    pub missed_per_s: Option<f64>,
    /// Every probe in the order of the search.
    pub probes: Vec<Probe>,
}

/// One rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Requests a second that were aimed at.
    pub rate_per_s: f64,
    /// Right answers a second that came.
    pub achieved_per_s: f64,
    /// How long it was held.
    pub duration_us: u64,
    /// Answers with a latency.
    pub samples: u64,
    /// Median, none when nothing was answered.
    pub p50_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile.
    pub p999_ns: Option<u64>,
    /// Failed share, from 0 to 1.
    pub error_ratio: Option<f64>,
    /// Whether the generator kept up.
    pub is_valid: bool,
    /// What the SLO says.
    pub outcome: slo::Outcome,
}
