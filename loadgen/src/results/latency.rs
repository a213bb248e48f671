//! Latencies of a whole run, as histograms.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Loop;

/// Latencies from 1 us to 60 s with three digits, in nanoseconds; longer ones count as 60 s.
#[derive(Clone, PartialEq)]
pub struct Latency(Histogram<u64>);

impl fmt::Debug for Latency {
    /// Not each of its 27 000 buckets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, max_ns) = (self.count(), self.max_ns());
        write!(f, "Latency({count} latencies, max_ns: {max_ns:?})")
    }
}

impl Latency {
    /// Shortest that is told apart.
    pub const MIN_NS: u64 = 1_000;
    /// Longer ones are kept here.
    pub const MAX_NS: u64 = 60_000_000_000;
    /// Significant decimal digits.
    pub const DIGITS: u8 = 3;

    /// Nothing yet.
    pub fn new() -> Self {
        match Histogram::new_with_bounds(Self::MIN_NS, Self::MAX_NS, Self::DIGITS) {
            Ok(histogram) => Self(histogram),
            Err(_) => unreachable!("the bounds are constants that the first test uses"),
        }
    }

    /// One more.
    pub fn record(&mut self, latency: Duration) {
        self.record_ns(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// One more, in nanoseconds.
    pub fn record_ns(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    /// Adds each latency of another histogram, whatever its bounds.
    pub fn add(&mut self, other: &Histogram<u64>) {
        for step in other.iter_recorded() {
            self.0
                .saturating_record_n(step.value_iterated_to(), step.count_at_value());
        }
    }

    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At a quantile from 0 to 1; none when there is no latency.
    pub fn at_ns(&self, quantile: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.value_at_quantile(quantile).min(self.0.max()))
    }

    /// The longest; none when there is no latency.
    pub fn max_ns(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.0.max())
    }

    /// The mean; none when there is no latency.
    pub fn mean_ns(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.0.mean())
    }

    /// The histogram itself.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Self {
        let mut latency = Self::new();
        latency.add(histogram);
        latency
    }
}

/// The name of an operation: `decrypt`, `encrypt`, `datakey`, `rewrap`, `decrypt-batch10`.
///
/// Lower-case letters, digits and `-`, so that it can stand in any file format and file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Operation(String);

/// A text that cannot name an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOperation(String);

impl fmt::Display for BadOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(
            f,
            "{name:?} cannot name an operation: use 1 to 40 of a-z, 0-9 and -"
        )
    }
}

impl std::error::Error for BadOperation {}

impl Operation {
    /// Checks the name.
    pub fn new(name: &str) -> Result<Self, BadOperation> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=40).contains(&name.len()) && name.bytes().all(is_good) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadOperation(name.to_owned()))
        }
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Operation {
    type Error = BadOperation;

    fn try_from(name: String) -> Result<Self, BadOperation> {
        Self::new(&name)
    }
}

impl From<Operation> for String {
    fn from(operation: Operation) -> Self {
        operation.0
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Latencies of one operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperationLatency {
    /// Right answers, from the intended send time: what a client that keeps coming sees (corrected for
    /// coordinated omission). Empty in a closed loop, which intends nothing.
    pub response: Latency,
    /// The same answers from the actual write: what the server took (uncorrected).
    pub service: Latency,
    /// Failed requests from the intended send time (closed loop: the write) to the knowledge of it. Apart, since a quick refusal is
    /// no quick answer.
    pub failed: Latency,
}

/// All histograms of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// By operation.
    pub operations: BTreeMap<Operation, OperationLatency>,
    /// Full handshakes, from TCP connect to the end of TLS.
    pub handshake_full: Latency,
    /// Resumed ones.
    pub handshake_resumed: Latency,
    /// How late requests were written although there was a connection for them, from the intended send time: the
    /// generator's own fault. Waiting for the server is none. Empty in a closed loop.
    pub lag: Latency,
}

impl OperationLatency {
    /// The latency that counts: from the intended send time where there is one.
    pub fn headline(&self, mode: Loop) -> &Latency {
        match mode {
            Loop::Open => &self.response,
            Loop::Closed => &self.service,
        }
    }
}

impl Latencies {
    /// The latency that counts, of all operations together.
    pub fn headline(&self, mode: Loop) -> Latency {
        self.all(|operation| operation.headline(mode))
    }

    /// One kind of latency over all operations.
    pub fn all(&self, kind: impl Fn(&OperationLatency) -> &Latency) -> Latency {
        let mut sum = Latency::new();
        for operation in self.operations.values() {
            sum.add(kind(operation).histogram());
        }
        sum
    }

    /// Each histogram with its name in files: `decrypt.response`, `handshake.full`, `lag`.
    pub fn named(&self) -> impl Iterator<Item = (String, &Latency)> {
        let operations = self.operations.iter().flat_map(|(operation, latency)| {
            [
                (format!("{operation}.response"), &latency.response),
                (format!("{operation}.service"), &latency.service),
                (format!("{operation}.failed"), &latency.failed),
            ]
        });
        let others = [
            ("handshake.full", &self.handshake_full),
            ("handshake.resumed", &self.handshake_resumed),
            ("lag", &self.lag),
        ];
        operations.chain(others.map(|(name, latency)| (name.to_owned(), latency)))
    }

    /// The histogram of that name; none when no histogram can have it.
    pub fn by_name(&mut self, name: &str) -> Option<&mut Latency> {
        match name {
            "handshake.full" => return Some(&mut self.handshake_full),
            "handshake.resumed" => return Some(&mut self.handshake_resumed),
            "lag" => return Some(&mut self.lag),
            _ => {}
        }
        let (operation, kind) = name.split_once('.')?;
        let operation = self
            .operations
            .entry(Operation::new(operation).ok()?)
            .or_default();
        match kind {
            "response" => Some(&mut operation.response),
            "service" => Some(&mut operation.service),
            "failed" => Some(&mut operation.failed),
            _ => None,
        }
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (operation, theirs) in &other.operations {
            let ours = self.operations.entry(operation.clone()).or_default();
            ours.response.add(theirs.response.histogram());
            ours.service.add(theirs.service.histogram());
            ours.failed.add(theirs.failed.histogram());
        }
        self.handshake_full.add(other.handshake_full.histogram());
        self.handshake_resumed
            .add(other.handshake_resumed.histogram());
        self.lag.add(other.lag.histogram());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn latencies_are_kept_to_three_digits_between_the_bounds() {
        for (name, given_ns, want_ns) in [
            ("nothing", 0, 0),
            ("a microsecond", 1_000, 1_000),
            ("a millisecond", 1_000_000, 1_000_000),
            ("a second", 1_000_000_000, 1_000_000_000),
            ("the longest", Latency::MAX_NS, Latency::MAX_NS),
            ("an hour", 3_600_000_000_000, Latency::MAX_NS),
        ] {
            let mut latency = Latency::new();
            assert_eq!((latency.at_ns(0.5), latency.max_ns()), (None, None));
            latency.record_ns(given_ns);
            let got = latency.at_ns(0.999).unwrap();
            assert!(
                got.abs_diff(want_ns) <= 1023.max(want_ns / 500),
                "{name}: {got}"
            );
            assert_eq!(latency.count(), 1, "{name}");
        }
    }

    #[test]
    fn adding_is_recording_both() {
        let (mut one, mut two, mut both) = (Latency::new(), Latency::new(), Latency::new());
        for step in 1..2_000_u64 {
            let ns = step * step * 997;
            if step % 3 == 0 { &mut one } else { &mut two }.record_ns(ns);
            both.record_ns(ns);
        }
        one.add(two.histogram());
        assert_eq!(one.count(), both.count());
        for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let [got, want] = [&one, &both].map(|latency| latency.at_ns(quantile).unwrap());
            assert!(
                one.histogram().equivalent(got, want),
                "{quantile}: {got}, not {want}"
            );
        }
    }

    #[test]
    fn names_of_operations_fit_every_format() {
        for (name, good) in [
            ("decrypt", true),
            ("decrypt-batch10", true),
            ("", false),
            ("Decrypt", false),
            ("a,b", false),
            ("a b", false),
            ("../a", false),
            ("a\n", false),
            ("<script>", false),
        ] {
            assert_eq!(Operation::new(name).is_ok(), good, "{name:?}");
            let json = serde_json::to_string(name).unwrap();
            assert_eq!(
                serde_json::from_str::<Operation>(&json).is_ok(),
                good,
                "{name:?}"
            );
        }
    }
}
