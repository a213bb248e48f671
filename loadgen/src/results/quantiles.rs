//! The few percentiles that tables, files and series name.

use serde::{Deserialize, Serialize};

use super::Latency;

/// Percentiles of one histogram, in nanoseconds. All of them lie in the histogram's three digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many latencies.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// 99.99th percentile.
    pub p9999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Quantiles {
    /// Of a histogram; none when it is empty.
    pub fn of(latency: &Latency) -> Option<Self> {
        Some(Self {
            count: latency.count(),
            p50_ns: latency.at_ns(0.5)?,
            p90_ns: latency.at_ns(0.9)?,
            p99_ns: latency.at_ns(0.99)?,
            p999_ns: latency.at_ns(0.999)?,
            p9999_ns: latency.at_ns(0.9999)?,
            max_ns: latency.max_ns()?,
        })
    }

    /// The percentiles in ascending order, the longest last.
    pub fn values_ns(&self) -> [u64; 6] {
        [
            self.p50_ns,
            self.p90_ns,
            self.p99_ns,
            self.p999_ns,
            self.p9999_ns,
            self.max_ns,
        ]
    }
}
