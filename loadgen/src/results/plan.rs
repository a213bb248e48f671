//! What a run was asked to do.

use serde::{Deserialize, Serialize};

use super::Operation;

/// What decides when the next request is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loop {
    /// A schedule: clients that keep coming. Latency counts from the intended send time.
    #[default]
    Open,
    /// The answer before it. Shows a ceiling; hides what a stall does (coordinated omission).
    Closed,
}

/// The plan of one process; merged runs of one plan differ only in their number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Open or closed loop.
    pub mode: Loop,
    /// The schedule in the words of its option, e.g. `poisson 10000/s`.
    pub schedule: String,
    /// The rate over time that the schedule aims at; empty in a closed loop.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Operations and their weights.
    pub mix: Vec<MixPart>,
    /// The key stream in the words of its option, e.g. `zipf 0.99`.
    pub key_stream: String,
    /// Data keys that are asked for.
    pub working_set: u64,
    /// Connections at a time.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// Client certificates, rotated over the connections.
    pub identities: u32,
    /// How long a connection lives, e.g. `keep-alive`, `new connection per request`.
    pub reuse: String,
    /// Whether later handshakes resume earlier ones.
    pub resumption: bool,
    /// Planned length, without warm-up.
    pub duration_us: u64,
    /// Load before the first figure was taken.
    #[serde(default)]
    pub warm_up_us: u64,
    /// How long an answer was waited for.
    #[serde(default)]
    pub timeout_us: u64,
    /// File name of the scenario, if there was one.
    #[serde(default)]
    pub scenario: Option<String>,
    /// Processes that did this at the same time, each with a seed of its own.
    #[serde(default = "one")]
    pub processes: u32,
}

fn one() -> u32 {
    1
}

/// From `at_us` on the schedule aims at this rate, until the next stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Since the start.
    pub at_us: u64,
    /// Requests a second of one process.
    pub rate_per_s: f64,
    /// The rate at the end of the stage, where it changes within it.
    #[serde(default)]
    pub ramps_to_per_s: Option<f64>,
}

/// One operation of the mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixPart {
    /// Which.
    pub operation: Operation,
    /// Its share is this over the sum of all.
    pub weight: f64,
    /// Items in one request.
    pub batch: u32,
}
