//! When what happens next that no socket tells.

use std::time::Duration;

/// A second of the run.
pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// Times of one run.
pub(super) struct Times {
    started_unix_us: u64,
    /// The warm-up is over.
    pub begin_ns: u64,
    pub is_measuring: bool,
    /// What takes too long is looked for.
    pub tick_ns: u64,
    /// A second of wall clock ends.
    pub second_ns: u64,
    pub cpu_begin: Duration,
    pub cpu_second: Duration,
}

impl Times {
    pub fn new(started_unix_us: u64, begin_ns: u64) -> Self {
        let into_second_ns = started_unix_us % 1_000_000 * 1000;
        Self {
            started_unix_us,
            begin_ns,
            is_measuring: begin_ns == 0,
            tick_ns: 0,
            second_ns: SECOND_NS - into_second_ns,
            cpu_begin: Duration::ZERO,
            cpu_second: Duration::ZERO,
        }
    }

    /// Seconds since 1970, of a second's beginning.
    pub fn unix_s(&self, at_ns: u64) -> u64 {
        // Rounded: a second's beginning is computed to the microsecond.
        (self.started_unix_us + at_ns / 1000 + 1) / 1_000_000
    }
}
