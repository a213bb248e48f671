//! What is simulated, what was seen, and how it is compared.

use std::collections::HashSet;

use kms_loadgen::sim::Model;
use kms_tune::trace::{Error, Formula};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rate: f64,
    pub keys: usize,
    pub zipf_s: f64,
    pub cold_share: f64,
    pub cold_reads: u32,
    pub cold_gap_s: f64,
    pub nodes: usize,
    pub by_hash: bool,
    pub shared: bool,
    pub ttl_s: u32,
    pub entries: usize,
    pub ahead: bool,
    pub connections: usize,
    pub batch_max: usize,
    pub model: Model,
    pub hsms: usize,
    /// Life of a record in the shared cache.
    pub record_s: f64,
    /// Nothing is answered from then to then, seconds.
    pub pause_s: Option<(f64, f64)>,
    /// The connection is given up when a message takes longer, and who waited is late.
    pub timeout_s: f64,
    /// Keys that nobody has, asked for within a window.
    pub storm: Option<Storm>,
    /// A node is gone from then on, seconds.
    pub gone_s: Option<f64>,
    /// Starts with an empty cache.
    pub cold_start: bool,
    /// Simulated seconds before counting, and while.
    pub warm_s: f64,
    pub run_s: f64,
    pub seed: u64,
}

/// A restore storm.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    pub from_s: f64,
    pub window_s: f64,
    pub keys: usize,
    pub reads: u32,
    pub gap_s: f64,
}

impl Plan {
    /// A quiet site; change what matters.
    pub fn usual(model: Model) -> Self {
        Self {
            rate: 1000.0,
            keys: 5000,
            zipf_s: 0.9,
            cold_share: 0.0,
            cold_reads: 1,
            cold_gap_s: 2.0,
            nodes: 1,
            by_hash: false,
            shared: false,
            ttl_s: 20,
            entries: 100_000,
            ahead: true,
            connections: 4,
            batch_max: 32,
            model,
            hsms: 1,
            record_s: 600.0,
            timeout_s: f64::INFINITY,
            storm: None,
            pause_s: None,
            gone_s: None,
            cold_start: false,
            warm_s: 20.0,
            run_s: 60.0,
            seed: 1,
        }
    }
}

/// What was seen while counting.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub hits: f64,
    pub joins: f64,
    pub misses: f64,
    pub ahead: f64,
    pub copies: f64,
    pub messages: f64,
    pub items: f64,
    pub held: f64,
    pub seconds: f64,
    /// Of misses and joins, sorted.
    pub waited_s: Vec<f64>,
    /// Clients' jobs, and of them those that found all connections busy.
    pub jobs: f64,
    pub busy: f64,
    /// Of misses and joins, those that were refused, and those that waited too long.
    pub refused: f64,
    pub late: f64,
    /// Most entries that the first node ever held.
    pub held_max: f64,
    pub queue_max: usize,
    /// Longest time from asking to answer, and when it began.
    pub longest_s: f64,
    /// When jobs last waited while all connections were busy.
    pub busy_until_s: f64,
    /// Jobs in each second, from the start.
    pub jobs_by_s: Vec<f64>,
}

impl Seen {
    pub fn requests(&self) -> f64 {
        self.hits + self.joins + self.misses
    }

    pub fn hit_ratio(&self) -> f64 {
        self.hits / self.requests()
    }

    pub fn fetches_per_s(&self) -> f64 {
        (self.misses + self.ahead) / self.seconds
    }
}

/// What a formula says, what the simulation saw, by how much they may differ.
pub type Row = (String, f64, f64, f64);

/// Whether all of a table's rows hold; every row is shown.
pub fn hold(rows: &[Row]) {
    let (mut bad, mut seen) = (String::new(), HashSet::new());
    for (name, predicted, simulated, off_max) in rows {
        assert!(seen.insert(name), "two rows {name}");
        let off = (predicted - simulated).abs();
        let line = format!(
            "{name}: predicted {predicted:.5}, simulated {simulated:.5}, off {off:.5}, allowed {off_max:.5}\n"
        );
        print!("{line}");
        // What is no number is not within anything.
        if off.is_nan() || off > *off_max {
            bad += &line;
        }
    }
    assert!(bad.is_empty(), "beyond the stated error:\n{bad}");
}

/// By how much a formula may be off at a value.
pub fn allowed(formula: &Formula, value: f64) -> f64 {
    match formula.error {
        Error::Exact => 1e-9 * value.abs(),
        Error::Relative(share) => share * value.abs(),
        Error::Absolute(width) => width,
    }
}
