//! What a run gave: the [`Outcome`] of a plain drive, and reports of full [`crate::results`]: [`html`] for
//! browsers, [`terminal`] for terminals.

mod buckets;
mod charts;
mod details;
pub mod html;
mod markup;
mod page;
mod plot;
mod scale;
mod side_by_side;
mod summary;
pub mod terminal;
mod units;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies are kept from 1 us to 60 s with three digits.
const LATENCY_NS_MIN: u64 = 1_000;
const LATENCY_NS_MAX: u64 = 60_000_000_000;
const STATUSES: usize = 600;

/// Counts and times of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Nanoseconds from the request's write to its answer.
    pub latency: Histogram<u64>,
    /// Answers with status 200 and the expected bytes.
    pub right: u64,
    /// Answers with status 200 that lack the expected bytes. One of them is one too many.
    pub wrong: u64,
    /// Connections that failed or were closed with requests in flight; their requests are not counted.
    pub failed_connections: u64,
    /// Connections opened again during the run.
    pub reconnects: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// CPU time of the driving thread.
    pub client_cpu: Duration,
    statuses: Vec<u64>,
}

/// The figures of an [`Outcome`] as numbers, for JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// All answers a second.
    pub requests_per_s: f64,
    /// Microseconds.
    pub p50_us: f64,
    /// Microseconds.
    pub p90_us: f64,
    /// Microseconds.
    pub p99_us: f64,
    /// Microseconds.
    pub p999_us: f64,
    /// Microseconds.
    pub max_us: f64,
    /// CPU of the load generator, microseconds a request.
    pub client_cpu_us: f64,
    /// Answers.
    pub answers: u64,
    /// Answers of status 200 with other bytes than expected.
    pub wrong: u64,
    /// How many answers of each status.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections lost with requests in flight.
    pub failed_connections: u64,
    /// Connections opened again.
    pub reconnects: u64,
    /// Seconds.
    pub elapsed_s: f64,
}

impl Outcome {
    /// Nothing yet. Fails never: the bounds are constants, but the histogram's maker cannot know.
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            latency: Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 3)?,
            right: 0,
            wrong: 0,
            failed_connections: 0,
            reconnects: 0,
            elapsed: Duration::ZERO,
            client_cpu: Duration::ZERO,
            statuses: vec![0; STATUSES],
        })
    }

    /// One answer.
    pub fn record(&mut self, status: u16, as_expected: bool, latency: Duration) {
        if let Some(count) = self.statuses.get_mut(usize::from(status)) {
            *count += 1;
        }
        match (status, as_expected) {
            (200, true) => self.right += 1,
            (200, false) => self.wrong += 1,
            _ => {}
        }
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
    }

    /// All answers, whatever they said.
    pub fn answers(&self) -> u64 {
        self.latency.len()
    }

    /// Whether every answer was right and no connection was lost.
    pub fn is_clean(&self) -> bool {
        self.right == self.answers() && self.failed_connections == 0 && self.right > 0
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answers() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Microseconds at a quantile from 0 to 1.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// How many answers of each status.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        let counted = (0..).zip(&self.statuses).filter(|(_, count)| **count > 0);
        counted.map(|(status, count)| (status, *count)).collect()
    }

    /// As numbers.
    pub fn figures(&self) -> Figures {
        Figures {
            requests_per_s: self.rate(),
            p50_us: self.quantile_us(0.5),
            p90_us: self.quantile_us(0.9),
            p99_us: self.quantile_us(0.99),
            p999_us: self.quantile_us(0.999),
            max_us: self.latency.max() as f64 / 1e3,
            client_cpu_us: micros_each(self.client_cpu, self.answers()),
            answers: self.answers(),
            wrong: self.wrong,
            statuses: self.statuses(),
            failed_connections: self.failed_connections,
            reconnects: self.reconnects,
            elapsed_s: self.elapsed.as_secs_f64(),
        }
    }
}

/// Microseconds of `total` for each of `count`.
pub fn micros_each(total: Duration, count: u64) -> f64 {
    total.as_secs_f64() * 1e6 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_right_answers_make_a_clean_run() {
        for (name, answers, failed, clean) in [
            ("none at all", &[][..], 0, false),
            ("all right", &[(200, true), (200, true)], 0, true),
            ("one wrong", &[(200, true), (200, false)], 0, false),
            ("one refused", &[(200, true), (503, true)], 0, false),
            ("one connection lost", &[(200, true)], 1, false),
        ] {
            let mut outcome = Outcome::new().unwrap();
            outcome.failed_connections = failed;
            for &(status, as_expected) in answers {
                outcome.record(status, as_expected, Duration::from_micros(50));
            }
            assert_eq!(outcome.is_clean(), clean, "{name}");
            assert_eq!(outcome.answers(), answers.len() as u64, "{name}");
        }
    }

    #[test]
    fn figures_are_per_request() {
        let mut outcome = Outcome::new().unwrap();
        for micros in 1..=1000 {
            outcome.record(200, true, Duration::from_micros(micros));
        }
        outcome.record(503, true, Duration::from_hours(1));
        outcome.elapsed = Duration::from_millis(500);
        outcome.client_cpu = Duration::from_micros(2002);
        let figures = outcome.figures();
        let near = |got: f64, want: f64| (got / want - 1.0).abs() < 0.005;
        assert!(near(figures.requests_per_s, 2002.0) && near(figures.client_cpu_us, 2.0));
        assert!(
            near(figures.p50_us, 501.0) && near(figures.p99_us, 991.0),
            "{figures:?}"
        );
        assert!(
            figures.max_us >= 60e6,
            "a latency beyond the bounds is kept at the bound"
        );
        assert_eq!(figures.statuses, BTreeMap::from([(200, 1000), (503, 1)]));
    }
}
