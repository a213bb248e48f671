//! A run in blocks of whole seconds, and draws of them.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::results::{RunResult, Second, sum};

/// Fewer seconds than this say nothing about how seconds differ.
pub(super) const SECONDS_MIN: usize = 10;
/// So many blocks are enough for an interval, and quick to draw from.
const BLOCKS_MAX: usize = 40;

/// Counts of one block or of one draw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) seconds: f64,
    pub(super) sent: f64,
    pub(super) right: f64,
    pub(super) failed: f64,
    pub(super) server_cpu_us: f64,
    pub(super) client_cpu_us: f64,
}

/// One run: distinct latencies in order, and for each block how many are not longer than each.
pub(super) struct Blocks {
    values_ns: Vec<u64>,
    cumulative: Vec<Vec<u64>>,
    sums_ns: Vec<f64>,
    counts: Vec<Counts>,
    pub(super) seconds_each: usize,
}

/// What one draw gave.
pub(super) struct Draw {
    /// At each quantile asked for.
    pub(super) quantiles_ns: Vec<f64>,
    pub(super) mean_ns: f64,
    pub(super) counts: Counts,
}

impl Blocks {
    /// None when the run has too few seconds, or lost the histogram of one.
    pub(super) fn of(run: &RunResult) -> Option<Self> {
        if run.series.len() < SECONDS_MIN {
            return None;
        }
        let seconds_each = run.series.len().div_ceil(BLOCKS_MAX);
        let mut sparse = Vec::new();
        let mut counts = Vec::new();
        for chunk in run.series.chunks(seconds_each) {
            sparse.push(latencies(chunk)?);
            counts.push(counts_of(chunk));
        }
        let mut values_ns: Vec<u64> = sparse.iter().flat_map(BTreeMap::keys).copied().collect();
        values_ns.sort_unstable();
        values_ns.dedup();
        let running = |block: &BTreeMap<u64, u64>| {
            let own = |value| block.get(value).copied().unwrap_or(0);
            let mut seen = 0;
            let add = |value| {
                seen = own(value).saturating_add(seen);
                seen
            };
            values_ns.iter().map(add).collect()
        };
        let whole = |block: &BTreeMap<u64, u64>| -> f64 {
            block
                .iter()
                .map(|(value, count)| *value as f64 * *count as f64)
                .sum()
        };
        Some(Self {
            cumulative: sparse.iter().map(running).collect(),
            sums_ns: sparse.iter().map(whole).collect(),
            values_ns,
            counts,
            seconds_each,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// As many blocks as there are, each time any of them.
    pub(super) fn draw(&self, random: &mut SmallRng, quantiles: &[f64]) -> Draw {
        let mut times = vec![0_u64; self.len()];
        for _ in 0..self.len() {
            let at = random.random_range(0..self.len());
            if let Some(times) = times.get_mut(at) {
                *times += 1;
            }
        }
        let mut counts = Counts::default();
        let mut sum_ns = 0.0;
        for ((times, own), own_ns) in times.iter().zip(&self.counts).zip(&self.sums_ns) {
            counts.add(own, *times as f64);
            sum_ns += own_ns * *times as f64;
        }
        let total = self.not_longer(self.values_ns.len().saturating_sub(1), &times);
        Draw {
            quantiles_ns: quantiles
                .iter()
                .map(|quantile| self.quantile(*quantile, total, &times))
                .collect(),
            mean_ns: sum_ns / total.max(1) as f64,
            counts,
        }
    }

    /// How many latencies of the draw are not longer than the value at `at`.
    fn not_longer(&self, at: usize, times: &[u64]) -> u64 {
        let of_block = |(block, times): (&Vec<u64>, &u64)| {
            block.get(at).copied().unwrap_or(0).saturating_mul(*times)
        };
        sum(self.cumulative.iter().zip(times).map(of_block))
    }

    fn quantile(&self, quantile: f64, total: u64, times: &[u64]) -> f64 {
        let wanted = (quantile * total as f64).max(1.0);
        let (mut low, mut high) = (0, self.values_ns.len().saturating_sub(1));
        while low < high {
            let middle = low.midpoint(high);
            if self.not_longer(middle, times) as f64 >= wanted {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.values_ns.get(low).copied().unwrap_or(0) as f64
    }
}

impl Counts {
    fn add(&mut self, other: &Self, times: f64) {
        self.seconds += other.seconds * times;
        self.sent += other.sent * times;
        self.right += other.right * times;
        self.failed += other.failed * times;
        self.server_cpu_us += other.server_cpu_us * times;
        self.client_cpu_us += other.client_cpu_us * times;
    }
}

/// None when a second has percentiles but no histogram.
fn latencies(seconds: &[Second]) -> Option<BTreeMap<u64, u64>> {
    let mut all = BTreeMap::new();
    for second in seconds {
        match (&second.interval, &second.latency) {
            (Some(interval), _) => {
                for step in interval.unpack()?.iter_recorded() {
                    let count: &mut u64 = all.entry(step.value_iterated_to()).or_default();
                    *count = count.saturating_add(step.count_at_value());
                }
            }
            (None, None) => {}
            (None, Some(_)) => return None,
        }
    }
    Some(all)
}

fn counts_of(seconds: &[Second]) -> Counts {
    let total = |figure: &dyn Fn(&Second) -> u64| sum(seconds.iter().map(figure)) as f64;
    Counts {
        seconds: seconds.len() as f64,
        sent: total(&|second| second.sent),
        right: total(&|second| second.right),
        failed: total(&|second| sum(second.errors.values().copied())),
        server_cpu_us: total(&|second| second.server_cpu_us.unwrap_or(0)),
        client_cpu_us: total(&|second| second.client_cpu_us.unwrap_or(0)),
    }
}
