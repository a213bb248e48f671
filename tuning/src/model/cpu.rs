//! Processor time: requests, messages to the HSM, handshakes; and how it grows with threads.
//!
//! Sources: a sum; Gunther's Universal Scalability Law, X(k) = gamma k / (1 + alpha (k - 1) + beta k (k - 1)),
//! fitted by least squares on k / X(k), which is linear in 1/gamma, alpha/gamma and beta/gamma, each point by
//! its relative error. Error: that of what was measured. Domain: as many threads as cores.

use crate::trace::{Error, Formula, Held};

/// Quantiles of [`HitTime`].
pub static HIT_TIME: Formula = Formula {
    text: "quantile of the time alone (lognormal) + the wait for the worker (M/M/1 at the CPU's load)",
    source: "Kendall; each connection stays with its worker",
    error: Error::Relative(0.1),
    domain: "CPU load up to 0.8",
    held: Held::Test("des_cpu"),
};

/// The law's three numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usl {
    /// Rate of one thread.
    pub gamma: f64,
    /// What threads wait for each other.
    pub alpha: f64,
    /// What they cost each other.
    pub beta: f64,
}

impl Usl {
    /// Rate of `threads` threads.
    pub fn rate(&self, threads: f64) -> f64 {
        self.gamma * self.factor(threads)
    }

    /// By how much `threads` do more than one.
    pub fn factor(&self, threads: f64) -> f64 {
        threads / (1.0 + self.alpha * (threads - 1.0) + self.beta * threads * (threads - 1.0))
    }

    /// Threads beyond which more do less; none without `beta`.
    pub fn knee(&self) -> Option<f64> {
        (self.beta > 0.0).then(|| ((1.0 - self.alpha) / self.beta).sqrt())
    }

    /// From measured (threads, rate); at least one point of one thread or three points. What one or two points
    /// leave open is 0.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let usable = points
            .iter()
            .filter(|(threads, rate)| *threads >= 1.0 && *rate > 0.0);
        let rows: Vec<[f64; 4]> = usable
            .map(|(k, rate)| {
                // Divided by k / X, so that each point weighs by its relative error.
                let weight = rate / k;
                [weight, (k - 1.0) * weight, k * (k - 1.0) * weight, 1.0]
            })
            .collect();
        let distinct = |least: usize| {
            let mut threads: Vec<u64> = points.iter().map(|(k, _)| k.to_bits()).collect();
            threads.sort_unstable();
            threads.dedup();
            threads.len() >= least
        };
        // Negative coefficients are noise: leave them out, the quadratic one first.
        for columns in [3, 2, 1] {
            if !distinct(columns) {
                continue;
            }
            let Some(solution) = least_squares(&rows, columns) else {
                continue;
            };
            if solution[0] > 0.0 && solution[1] >= 0.0 && solution[2] >= 0.0 {
                let gamma = 1.0 / solution[0];
                return Some(Self {
                    gamma,
                    alpha: solution[1] * gamma,
                    beta: solution[2] * gamma,
                });
            }
        }
        None
    }
}

/// Solves the normal equations of the first `columns` columns; the last column is the right side.
fn least_squares(rows: &[[f64; 4]], columns: usize) -> Option<[f64; 3]> {
    let mut matrix = [[0.0; 4]; 3];
    for row in rows {
        for i in 0..columns {
            for j in 0..columns {
                matrix[i][j] += row[i] * row[j];
            }
            matrix[i][3] += row[i] * row[3];
        }
    }
    for pivot in 0..columns {
        let best = (pivot..columns)
            .max_by(|a, b| matrix[*a][pivot].abs().total_cmp(&matrix[*b][pivot].abs()))?;
        matrix.swap(pivot, best);
        let scale = matrix[pivot][pivot];
        if scale.abs() < 1e-12 {
            return None;
        }
        matrix[pivot].iter_mut().for_each(|cell| *cell /= scale);
        let row = matrix[pivot];
        for (at, other) in matrix.iter_mut().enumerate().take(columns) {
            if at != pivot {
                let factor = other[pivot];
                other
                    .iter_mut()
                    .zip(row)
                    .for_each(|(cell, by)| *cell -= factor * by);
            }
        }
    }
    let mut solution = [0.0; 3];
    for (at, value) in solution.iter_mut().enumerate().take(columns) {
        *value = matrix[at][3];
    }
    Some(solution)
}

/// CPU times of one request of each kind, seconds.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// An unwrap from the cache.
    pub hit_s: f64,
    /// An unwrap that asks the HSM.
    pub miss_s: f64,
    /// A message to the HSM.
    pub message_s: f64,
    /// A full handshake.
    pub handshake_s: f64,
    /// A resumed one.
    pub resumed_s: f64,
}

/// What one node is asked for, a second.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Served from the cache.
    pub hits: f64,
    /// Jobs for the HSM and those that joined one.
    pub misses: f64,
    /// Messages to the HSM.
    pub messages: f64,
    /// Handshakes.
    pub handshakes: f64,
    /// Share of them that resume.
    pub resumed: f64,
}

impl Costs {
    /// Cores that the work keeps busy.
    pub fn cores(&self, work: &Work) -> f64 {
        work.hits * self.hit_s
            + work.misses * self.miss_s
            + work.messages * self.message_s
            + self.handshakes(work)
    }

    /// Of these, by handshakes.
    pub fn handshakes(&self, work: &Work) -> f64 {
        work.handshakes * (work.resumed * self.resumed_s + (1.0 - work.resumed) * self.handshake_s)
    }
}

/// Answer times of hits: what they take alone, and the wait for a worker that has others to serve first.
///
/// The wait is that of M/M/1 for each worker, since a connection stays with its worker. Error: held by
/// `tests/des_cpu.rs`.
#[derive(Clone, Copy, Debug)]
pub struct HitTime {
    /// Median when nothing else is asked, seconds.
    pub base_s: f64,
    /// Sigma of it, lognormal.
    pub sigma: f64,
    /// Mean CPU time of what a worker serves at a time, seconds.
    pub served_s: f64,
    /// Share of the time that a worker is busy.
    pub load: f64,
}

impl HitTime {
    /// Share that takes longer than `time_s`.
    pub fn exceeds(&self, time_s: f64) -> f64 {
        // Of mean waits: beyond 16 of them there is less than one in a million.
        const STEP: f64 = 0.25;
        const STEPS: u32 = 64;
        if self.load >= 1.0 {
            return 1.0;
        }
        let alone = |time_s: f64| {
            if time_s <= 0.0 {
                1.0
            } else if self.sigma <= 0.0 {
                f64::from(u8::from(time_s < self.base_s))
            } else {
                super::distribution::normal_above((time_s / self.base_s).ln() / self.sigma)
            }
        };
        let mean_s = self.served_s / (1.0 - self.load);
        let waiting = |at: u32| {
            let (from, to) = (f64::from(at) * STEP, f64::from(at + 1) * STEP);
            let share = (-from).exp() - (-to).exp();
            share * alone(time_s - mean_s * (from + to) / 2.0)
        };
        let waits = (0..STEPS).map(waiting).sum::<f64>();
        (1.0 - self.load) * alone(time_s) + self.load * waits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_law_is_found_again_in_its_own_points() {
        for (name, law) in [
            (
                "linear",
                Usl {
                    gamma: 1e5,
                    alpha: 0.0,
                    beta: 0.0,
                },
            ),
            (
                "waits",
                Usl {
                    gamma: 2e5,
                    alpha: 0.05,
                    beta: 0.0,
                },
            ),
            (
                "waits and costs",
                Usl {
                    gamma: 1.7e5,
                    alpha: 0.03,
                    beta: 0.002,
                },
            ),
        ] {
            for noise in [0.0, 0.004] {
                let points: Vec<_> = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0]
                    .into_iter()
                    .enumerate()
                    .map(|(at, k)| {
                        let sign = if at % 2 == 0 { 1.0 } else { -1.0 };
                        (k, law.rate(k) * (1.0 + sign * noise))
                    })
                    .collect();
                let found = Usl::fit(&points).unwrap();
                for k in [1.0, 5.0, 16.0] {
                    let off = (found.rate(k) / law.rate(k) - 1.0).abs();
                    assert!(
                        off < 3.0 * noise + 1e-9,
                        "{name} {noise}: {found:?} is {off} off at {k}"
                    );
                }
            }
        }
        let knee = Usl {
            gamma: 1.0,
            alpha: 0.03,
            beta: 0.002,
        }
        .knee()
        .unwrap();
        assert!((knee - 22.02).abs() < 0.01, "{knee}");
    }

    #[test]
    fn few_points_leave_the_rest_at_nothing() {
        for (name, points, want) in [
            ("none", &[][..], None),
            ("one", &[(1.0, 1e5)][..], Some((1e5, 0.0))),
            ("two", &[(1.0, 1e5), (2.0, 1.8e5)][..], Some((1e5, 0.111_1))),
            (
                "two that gain too much",
                &[(1.0, 1e5), (2.0, 2.2e5)][..],
                Some((1.048e5, 0.0)),
            ),
        ] {
            let found = Usl::fit(points).map(|law| (law.gamma, law.alpha));
            match (found, want) {
                (None, None) => {}
                (Some((gamma, alpha)), Some((want_gamma, want_alpha))) => {
                    assert!((gamma / want_gamma - 1.0).abs() < 0.01, "{name}: {gamma}");
                    assert!((alpha - want_alpha).abs() < 1e-3, "{name}: {alpha}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
