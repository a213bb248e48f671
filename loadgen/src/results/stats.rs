//! What chance allows: confidence intervals of quantiles and shares.
//!
//! Both are exact (from the binomial distribution) and hold for independent samples. Latencies of
//! one stall are not independent; `compare` therefore resamples whole stretches of time instead where
//! it can, and says which way it went.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its low end.
    pub low: f64,
    /// Its high end; none when the samples are too few to bound it.
    pub high: Option<f64>,
}

/// Half of the 5 % that a 95 % interval leaves out.
const TAIL: f64 = 0.025;

/// The 95 % interval of a quantile from 0 to 1 by order statistics, in the histogram's unit. With few samples
/// all may lie below the quantile by chance: of 100, all are below the true p99 in 37 % of the cases, and
/// nothing is known above. None when there is no sample.
pub fn quantile_interval(histogram: &Histogram<u64>, quantile: f64) -> Option<Interval> {
    let count = histogram.len();
    if count == 0 {
        return None;
    }
    let (low, high) = quantile_ranks(count, quantile);
    let at = |rank: u64| {
        let share = rank as f64 / count as f64;
        histogram.value_at_quantile(share).min(histogram.max()) as f64
    };
    Some(Interval {
        low: if low == 0 { 0.0 } else { at(low) },
        high: (high <= count).then(|| at(high)),
    })
}

/// Ranks (from 1) of the samples between which the quantile lies: below the low one with at most
/// 2.5 % chance, above the high one likewise. 0 is below all of them, `count + 1` above.
fn quantile_ranks(count: u64, quantile: f64) -> (u64, u64) {
    // Among `count` samples, the number below the true quantile is binomial. Rank r exceeds the
    // quantile when at most r-1 samples are below it.
    let low = search(count, |rank| binomial_at_most(rank, count, quantile) > TAIL);
    let high = search(count, |rank| {
        binomial_at_most(rank, count, quantile) >= 1.0 - TAIL
    });
    (low, high.saturating_add(1))
}

/// The smallest rank from 0 to `count` for which a growing condition holds.
fn search(count: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The 95 % interval of a share after Clopper and Pearson.
pub fn ratio_interval(part: u64, whole: u64) -> (f64, f64) {
    if whole == 0 {
        return (0.0, 1.0);
    }
    let part = part.min(whole);
    let low = if part == 0 {
        0.0
    } else {
        bisect(|share| 1.0 - binomial_at_most(part - 1, whole, share) > TAIL)
    };
    let high = if part == whole {
        1.0
    } else {
        bisect(|share| binomial_at_most(part, whole, share) < TAIL)
    };
    (low, high)
}

/// The smallest share from 0 to 1 for which a growing condition holds.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The chance of at most `successes` in `trials`.
fn binomial_at_most(successes: u64, trials: u64, chance: f64) -> f64 {
    if successes >= trials {
        return 1.0;
    }
    let successes = successes as f64;
    incomplete_beta(trials as f64 - successes, successes + 1.0, 1.0 - chance)
}

/// The regularised incomplete beta function by its continued fraction (Lentz's method).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front =
        (a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp();
    // The fraction converges quickly on this side of the mean only.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut upper = 1.0;
    let mut lower = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = lower;
    for step in 1..100_000_u32 {
        let half = f64::from(step);
        let even = half * (b - half) * x / ((a + 2.0 * half - 1.0) * (a + 2.0 * half));
        lower = 1.0 / nonzero(1.0 + even * lower);
        upper = nonzero(1.0 + even / upper);
        fraction *= lower * upper;
        let odd = -(a + half) * (a + b + half) * x / ((a + 2.0 * half) * (a + 2.0 * half + 1.0));
        lower = 1.0 / nonzero(1.0 + odd * lower);
        upper = nonzero(1.0 + odd / upper);
        let change = lower * upper;
        fraction *= change;
        if (change - 1.0).abs() < 1e-13 {
            break;
        }
    }
    fraction
}

/// Stirling's series, after shifting small arguments up.
fn ln_gamma(value: f64) -> f64 {
    let (mut x, mut shift) = (value, 0.0);
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    shift + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn binomials_are_right() {
        // Reference values: sums of the exact terms.
        for (successes, trials, chance, want) in [
            (0, 10, 0.5, 0.000_976_562_5),
            (5, 10, 0.5, 0.623_046_875),
            (9, 10, 0.5, 0.999_023_437_5),
            (10, 10, 0.5, 1.0),
            (0, 1, 0.01, 0.99),
            (2, 100, 0.01, 0.920_626_797_7),
        ] {
            let got = binomial_at_most(successes, trials, chance);
            assert!(
                (got - want).abs() < 1e-9,
                "{successes} of {trials} at {chance}: {got}"
            );
        }
        // Far out and in the middle of a very long run.
        let middle = binomial_at_most(99_000_000, 100_000_000, 0.99);
        assert!((middle - 0.5).abs() < 1e-3, "{middle}");
    }

    #[test]
    fn shares_have_the_intervals_of_the_tables() {
        for (part, whole, low, high) in [
            (0, 10, 0.0, 0.308_497),
            (1, 10, 0.002_529, 0.445_016),
            (5, 10, 0.187_086, 0.812_914),
            (10, 10, 0.691_503, 1.0),
            (0, 3000, 0.0, 0.001_229),
        ] {
            let got = ratio_interval(part, whole);
            assert!(
                (got.0 - low).abs() < 1e-5 && (got.1 - high).abs() < 1e-5,
                "{part}/{whole}: {got:?}"
            );
        }
        assert_eq!(ratio_interval(0, 0), (0.0, 1.0));
    }

    #[test]
    fn quantiles_have_the_ranks_of_the_tables() {
        // The median's 95 % ranks are a classic table: the largest rank r with P(X <= r-1) <= 2.5 %.
        for (count, quantile, want) in [
            (1, 0.5, (0, 2)),
            (10, 0.5, (2, 9)),
            (20, 0.5, (6, 15)),
            (100, 0.5, (40, 61)),
        ] {
            let (low, high) = quantile_ranks(count, quantile);
            assert_eq!((low, high), want, "{count}");
        }
    }

    #[test]
    fn few_samples_bound_no_high_percentile() {
        for (count, quantile, want) in [
            (0, 0.5, None),
            (1, 0.5, Some((0.0, None))),
            (100, 0.99, Some((97.0, None))),
            (367, 0.99, Some((359.0, None))),
            (368, 0.99, Some((360.0, Some(368.0)))),
            (1000, 0.5, Some((469.0, Some(532.0)))),
        ] {
            let mut histogram = Histogram::<u64>::new(3).unwrap();
            (1..=count).for_each(|value| histogram.record(value).unwrap());
            let got = quantile_interval(&histogram, quantile);
            let got = got.map(|interval| (interval.low, interval.high));
            assert_eq!(got, want, "{quantile} of {count}");
        }
    }
}
