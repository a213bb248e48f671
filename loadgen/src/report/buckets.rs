//! A series cut into so many columns as a plot can show: a day has no more than a minute.
//!
//! Latencies of a column come from the added histograms of its seconds.

use std::ops::RangeInclusive;

use crate::results::{Errors, Latency, Quantiles, RunResult, Second, add_counts, sum};

/// What fits a plot, and keeps a page with ten of them below a megabyte or two.
pub(super) const COLUMNS_MAX: u64 = 240;
const SECOND_US: u64 = 1_000_000;
/// A run's first and last second of wall clock are not whole; less than so much of one is shown with its neighbour,
/// for it says little of a rate or a percentile. A rate is over no less than that.
const COVERED_S_MIN: f64 = 0.25;

/// One column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bucket {
    /// Since the first column began.
    pub(super) begin_s: u64,
    /// Seconds that are known; 0 is a gap.
    pub(super) seconds: u64,
    /// Of these, so much lay before or after the run.
    pub(super) outside_s: f64,
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) right: u64,
    pub(super) errors: Errors,
    pub(super) latency: Option<Quantiles>,
    pub(super) lag_max_ns: u64,
    pub(super) handshakes: u64,
    pub(super) hits: Option<u64>,
    pub(super) joined: Option<u64>,
    pub(super) shared: Option<u64>,
    pub(super) misses: Option<u64>,
    pub(super) hsm_operations: Option<u64>,
    pub(super) client_cpu_us: Option<u64>,
    pub(super) server_cpu_us: Option<u64>,
}

/// A series in columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) buckets: Vec<Bucket>,
    /// Width of each.
    pub(super) seconds_each: u64,
    /// Wall clock at which the first one begins.
    pub(super) first_unix_s: u64,
    /// So much of the second before that is in the first one.
    pub(super) before_s: f64,
    /// So much of the second after the last one is in that.
    pub(super) after_s: f64,
}

impl Bucket {
    /// A count as a rate over the seconds that are known, so far as the run lay in them.
    pub(super) fn per_s(&self, count: u64) -> Option<f64> {
        let covered_s = (self.seconds as f64 - self.outside_s).max(COVERED_S_MIN);
        (self.seconds > 0).then(|| count as f64 / covered_s)
    }

    pub(super) fn failed(&self) -> u64 {
        sum(self.errors.values().copied())
    }
}

impl Columns {
    /// Of a run, which begins and ends within a second of wall clock.
    pub(super) fn of_run(run: &RunResult) -> Self {
        let begin_us = run.about.start_unix_us;
        let end_us = begin_us.saturating_add(run.about.duration_us);
        let series = until(&run.series, end_us);
        let (Some(first), Some(last)) = (series.first(), series.last()) else {
            return Self::of(series);
        };
        let within_s = |at_us: u64| (at_us % SECOND_US) as f64 / SECOND_US as f64;
        let is_in = |at_us: u64, second: &Second| at_us / SECOND_US == second.unix_s;
        let first_s = if is_in(begin_us, first) {
            1.0 - within_s(begin_us)
        } else {
            1.0
        };
        let last_s = if is_in(end_us, last) {
            within_s(end_us)
        } else {
            1.0
        };
        let (mut from, mut to) = (first.unix_s, last.unix_s);
        let is_known = |unix_s: u64| series.iter().any(|second| second.unix_s == unix_s);
        let joins_next = first_s < COVERED_S_MIN && from < to && is_known(from + 1);
        from += u64::from(joins_next);
        let joins_previous = last_s < COVERED_S_MIN && from < to && is_known(to - 1);
        to -= u64::from(joins_previous);
        let mut columns = Self::over(series, from..=to);
        columns.before_s = if joins_next { first_s } else { 0.0 };
        columns.after_s = if joins_previous { last_s } else { 0.0 };
        if let Some(bucket) = columns.buckets.first_mut() {
            bucket.outside_s += 1.0 - first_s;
        }
        if let Some(bucket) = columns.buckets.last_mut() {
            bucket.outside_s += 1.0 - last_s;
        }
        columns
    }

    pub(super) fn of(series: &[Second]) -> Self {
        match (series.first(), series.last()) {
            (Some(first), Some(last)) => Self::over(series, first.unix_s..=last.unix_s),
            _ => Self {
                seconds_each: 1,
                ..Self::default()
            },
        }
    }

    /// With a place for each of `range`; what lies before or after it is in the first or the last column.
    fn over(series: &[Second], range: RangeInclusive<u64>) -> Self {
        let (first, last) = range.into_inner();
        let span = last.saturating_sub(first).saturating_add(1);
        let seconds_each = span.div_ceil(COLUMNS_MAX).max(1);
        let mut columns = Self {
            buckets: Vec::new(),
            seconds_each,
            first_unix_s: first,
            before_s: 0.0,
            after_s: 0.0,
        };
        for at in 0..span.div_ceil(seconds_each) {
            columns.buckets.push(Bucket {
                begin_s: at * seconds_each,
                ..Bucket::default()
            });
        }
        let place =
            |second: &Second| (second.unix_s.clamp(first, last.max(first)) - first) / seconds_each;
        for chunk in series.chunk_by(|one, two| place(one) == place(two)) {
            let at = chunk.first().map_or(0, place);
            let bucket = usize::try_from(at)
                .ok()
                .and_then(|at| columns.buckets.get_mut(at));
            if let Some(bucket) = bucket {
                fill(bucket, chunk);
            }
        }
        columns
    }

    pub(super) fn end_s(&self) -> f64 {
        self.buckets.len() as f64 * self.seconds_each as f64
    }

    /// A figure of each column at its middle.
    pub(super) fn points(
        &self,
        figure: impl Fn(&Bucket) -> Option<f64>,
    ) -> Vec<(f64, Option<f64>)> {
        let point = |bucket: &Bucket| (self.middle_s(bucket), figure(bucket));
        self.buckets.iter().map(point).collect()
    }

    /// Places of the columns' middles in seconds.
    pub(super) fn middle_s(&self, bucket: &Bucket) -> f64 {
        bucket.begin_s as f64 + self.seconds_each as f64 / 2.0
    }
}

/// Without a last second in which nothing happened, for the run had ended before it.
fn until(series: &[Second], end_us: u64) -> &[Second] {
    match series {
        [rest @ .., last]
            if !rest.is_empty()
                && last.unix_s.saturating_mul(SECOND_US) >= end_us
                && (last.planned, last.sent, last.right) == (0, 0, 0)
                && last.errors.is_empty() =>
        {
            rest
        }
        all => all,
    }
}

fn fill(bucket: &mut Bucket, seconds: &[Second]) {
    bucket.seconds = seconds.len() as u64;
    let all = |figure: fn(&Second) -> u64| sum(seconds.iter().map(figure));
    let known = |figure: fn(&Second) -> Option<u64>| {
        let values: Vec<u64> = seconds.iter().filter_map(figure).collect();
        (!values.is_empty()).then(|| sum(values))
    };
    bucket.planned = all(|second| second.planned);
    bucket.sent = all(|second| second.sent);
    bucket.right = all(|second| second.right);
    bucket.handshakes = all(|second| second.handshakes);
    bucket.lag_max_ns = seconds
        .iter()
        .map(|second| second.lag_max_ns)
        .max()
        .unwrap_or(0);
    bucket.hits = known(|second| second.hits);
    bucket.joined = known(|second| second.joined);
    bucket.shared = known(|second| second.shared);
    bucket.misses = known(|second| second.misses);
    bucket.hsm_operations = known(|second| second.hsm_operations);
    bucket.client_cpu_us = known(|second| second.client_cpu_us);
    bucket.server_cpu_us = known(|second| second.server_cpu_us);
    for second in seconds {
        add_counts(&mut bucket.errors, &second.errors);
    }
    bucket.latency = latency(seconds);
}

fn latency(seconds: &[Second]) -> Option<Quantiles> {
    if let [only] = seconds {
        return only.latency;
    }
    let mut all = Latency::new();
    for second in seconds {
        match (&second.interval, &second.latency) {
            (Some(interval), _) => all.add(&interval.unpack()?),
            (None, None) => {}
            // Percentiles without their histogram cannot be added: show none rather than a mean.
            (None, Some(_)) => return None,
        }
    }
    Quantiles::of(&all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn second(unix_s: u64, ns: u64, count: u64) -> Second {
        let mut latency = Latency::new();
        (0..count).for_each(|_| latency.record_ns(ns));
        let mut second = Second {
            unix_s,
            right: count,
            hits: Some(count),
            ..Second::default()
        };
        second.set_latency(&latency);
        second
    }

    #[test]
    fn columns_are_bounded_and_gaps_are_gaps() {
        assert!(Columns::of(&[]).buckets.is_empty());
        for (name, seconds, want_buckets, want_each) in [
            ("one", vec![100], 1, 1),
            ("a gap", vec![100, 103], 4, 1),
            ("a day", (0..86_400).collect(), 240, 360),
            (
                "a clock that jumped",
                vec![0, 1, 1 << 40],
                240,
                (1 << 40) / 240 + 1,
            ),
        ] {
            // Most seconds without a latency: unpacking them is what takes time.
            let bare = |at: &u64| Second {
                unix_s: *at,
                right: 1,
                ..Second::default()
            };
            let series: Vec<_> = seconds.iter().map(bare).collect();
            let columns = Columns::of(&series);
            let right: u64 = columns.buckets.iter().map(|bucket| bucket.right).sum();
            assert_eq!(
                (columns.buckets.len(), columns.seconds_each),
                (want_buckets, want_each),
                "{name}"
            );
            assert_eq!(right, seconds.len() as u64, "{name}");
        }
        let gap = &Columns::of(&[second(5, 1, 1), second(7, 1, 1)]).buckets[1];
        assert_eq!(
            (gap.seconds, gap.per_s(0), gap.hits, gap.latency),
            (0, None, None, None)
        );
    }

    /// Name, begin and end of the run in milliseconds since second 5, right answers by second, and what each column
    /// then has: its first second, its right answers, their rate.
    type Border = (
        &'static str,
        (u64, u64),
        &'static [(u64, u64)],
        &'static [(u64, u64, Option<f64>)],
    );

    const BORDERS: [Border; 9] = [
        (
            "parts that tell enough",
            (750, 2300),
            &[(5, 25), (6, 100), (7, 30)],
            &[
                (5, 25, Some(100.0)),
                (6, 100, Some(100.0)),
                (7, 30, Some(100.0)),
            ],
        ),
        (
            "too little at the end",
            (750, 2050),
            &[(5, 25), (6, 100), (7, 5)],
            &[(5, 25, Some(100.0)), (6, 105, Some(100.0))],
        ),
        (
            "too little at the beginning",
            (800, 2500),
            &[(5, 20), (6, 100), (7, 50)],
            &[(6, 120, Some(100.0)), (7, 50, Some(100.0))],
        ),
        (
            "too little at both",
            (800, 2100),
            &[(5, 20), (6, 100), (7, 10)],
            &[(6, 130, Some(100.0))],
        ),
        (
            "two parts, each too little",
            (800, 1200),
            &[(5, 20), (6, 20)],
            &[(6, 40, Some(100.0))],
        ),
        (
            "within one second",
            (100, 600),
            &[(5, 50)],
            &[(5, 50, Some(100.0))],
        ),
        (
            "a gap beside the beginning",
            (800, 3000),
            &[(5, 25), (7, 100)],
            &[(5, 25, Some(100.0)), (6, 0, None), (7, 100, Some(100.0))],
        ),
        (
            "a gap beside the end",
            (0, 2100),
            &[(5, 100), (7, 25)],
            &[(5, 100, Some(100.0)), (6, 0, None), (7, 25, Some(100.0))],
        ),
        (
            "a second that the run did not reach",
            (0, 1990),
            &[(5, 100), (6, 99), (7, 0)],
            &[(5, 100, Some(100.0)), (6, 99, Some(100.0))],
        ),
    ];

    #[test]
    fn rates_are_of_the_part_that_the_run_lay_in() {
        for (name, (begin_ms, end_ms), seconds, want) in BORDERS {
            let of = |(unix_s, right): &(u64, u64)| Second {
                unix_s: *unix_s,
                right: *right,
                ..Second::default()
            };
            let mut run = RunResult {
                series: seconds.iter().map(of).collect(),
                ..RunResult::default()
            };
            run.about.start_unix_us = 5_000_000 + begin_ms * 1000;
            run.about.duration_us = (end_ms - begin_ms) * 1000;
            let columns = Columns::of_run(&run);
            assert_eq!(columns.buckets.len(), want.len(), "{name}");
            for (bucket, (unix_s, right, rate)) in columns.buckets.iter().zip(want) {
                assert_eq!(columns.first_unix_s + bucket.begin_s, *unix_s, "{name}");
                assert_eq!(bucket.right, *right, "{name}");
                let off = match (bucket.per_s(bucket.right), rate) {
                    (Some(per_s), Some(rate)) => (per_s - rate).abs(),
                    (per_s, rate) => f64::from(u8::from(per_s.is_some() != rate.is_some())),
                };
                assert!(off < 1e-6, "{name}: {bucket:?}");
            }
        }
    }

    #[test]
    fn a_columns_percentiles_are_of_all_its_latencies() {
        let series: Vec<_> = (0..480)
            .map(|at| second(at, 1_000_000 * (1 + at % 2), 1 + 98 * (1 - at % 2)))
            .collect();
        let columns = Columns::of(&series);
        let latency = columns.buckets[7].latency.unwrap();
        assert_eq!((columns.seconds_each, latency.count), (2, 100));
        assert!(
            latency.p99_ns < 1_001_000 && latency.max_ns >= 2_000_000,
            "{latency:?}"
        );
        let mut lost = series;
        lost[15].interval = None;
        assert_eq!(Columns::of(&lost).buckets[7].latency, None);
    }
}
