//! Histograms of atomic buckets: no lock, no allocation, read while they are written.
//!
//! A reader takes the count of a histogram from its buckets, so that the two never disagree. Must never be true:
//! a bucket that shrinks; bounds that are not ascending.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of durations, nanoseconds: 5 us to 10 s. Hits are told apart at the front, an HSM's timeouts at
/// the end.
pub const TIME_BOUNDS_NS: [u64; 20] = [
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Upper bounds of the operations in one message to the HSM.
pub const ITEM_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Of durations.
pub type TimeHistogram = Histogram<{ TIME_BOUNDS_NS.len() }>;
/// Of operations in a message.
pub type ItemHistogram = Histogram<{ ITEM_BOUNDS.len() }>;

/// Counts values by the bound that they do not exceed.
#[derive(Debug)]
pub struct Histogram<const BOUNDS: usize> {
    bounds: &'static [u64; BOUNDS],
    buckets: [AtomicU64; BOUNDS],
    /// Above all bounds.
    above: AtomicU64,
    sum: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Each bound, and how many values did not exceed it: cumulative.
    pub cumulative: Vec<(u64, u64)>,
    /// All values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    /// Without values. `bounds` ascend.
    pub const fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; BOUNDS],
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// One value.
    #[inline]
    pub fn observe(&self, value: u64) {
        self.observe_many(value, 1);
    }

    /// `times` values that are the same.
    #[inline]
    pub fn observe_many(&self, value: u64, times: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        let bucket = self.buckets.get(at).unwrap_or(&self.above);
        bucket.fetch_add(times, Ordering::Relaxed);
        self.sum
            .fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn seen(&self) -> Seen {
        Seen::sum([self])
    }
}

impl TimeHistogram {
    /// Without values.
    pub const fn of_times() -> Self {
        Self::new(&TIME_BOUNDS_NS)
    }

    /// One duration.
    #[inline]
    pub fn observe_time(&self, time: Duration) {
        self.observe(nanos(time));
    }
}

impl ItemHistogram {
    /// Without values.
    pub const fn of_items() -> Self {
        Self::new(&ITEM_BOUNDS)
    }
}

impl Default for TimeHistogram {
    fn default() -> Self {
        Self::of_times()
    }
}

impl Default for ItemHistogram {
    fn default() -> Self {
        Self::of_items()
    }
}

impl Seen {
    /// What several histograms of the same bounds hold together.
    pub fn sum<'a, const BOUNDS: usize>(
        all: impl IntoIterator<Item = &'a Histogram<BOUNDS>>,
    ) -> Self {
        let mut bounds: &[u64] = &[];
        let (mut buckets, mut above, mut sum) = ([0_u64; BOUNDS], 0_u64, 0_u64);
        for one in all {
            bounds = one.bounds;
            for (total, bucket) in buckets.iter_mut().zip(&one.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
            above += one.above.load(Ordering::Relaxed);
            sum = sum.wrapping_add(one.sum.load(Ordering::Relaxed));
        }
        let mut count = 0;
        let cumulative = bounds.iter().zip(buckets).map(|(bound, bucket)| {
            count += bucket;
            (*bound, count)
        });
        Self {
            cumulative: cumulative.collect(),
            count: count + above,
            sum,
        }
    }
}

/// Whole nanoseconds; enough for 584 years.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const fn ascends(bounds: &[u64]) -> bool {
    let mut at = 1;
    while at < bounds.len() {
        if bounds[at - 1] >= bounds[at] {
            return false;
        }
        at += 1;
    }
    true
}

const _: () = assert!(ascends(&TIME_BOUNDS_NS) && ascends(&ITEM_BOUNDS));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_at_the_bound_that_they_do_not_exceed() {
        for (name, items, at) in [
            ("nothing", 0, 0),
            ("one", 1, 0),
            ("a bound belongs to its bucket", 4, 2),
            ("above it", 5, 3),
            ("the last bound", 256, 8),
            ("above all", 257, 9),
        ] {
            let histogram = ItemHistogram::of_items();
            histogram.observe_many(items, 3);
            let seen = histogram.seen();
            assert_eq!((seen.count, seen.sum), (3, 3 * items), "{name}");
            let below = seen.cumulative.iter().filter(|(_, count)| *count == 0);
            assert_eq!(below.count(), at, "{name}");
        }
    }

    #[test]
    fn several_are_read_as_one() {
        let all = [TimeHistogram::of_times(), TimeHistogram::of_times()];
        all[0].observe_time(Duration::from_micros(5));
        all[1].observe_time(Duration::from_micros(6));
        all[1].observe_time(Duration::from_mins(1));
        let seen = Seen::sum(&all);
        let front: Vec<u64> = seen.cumulative.iter().map(|(_, count)| *count).collect();
        assert_eq!(front[..3], [1, 2, 2]);
        assert_eq!(front.last(), Some(&2));
        assert_eq!(seen.count, 3);
        assert_eq!(seen.sum, 60_000_011_000);
    }
}
