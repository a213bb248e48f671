//! The search for the highest rate that meets an SLO: brackets it in geometric steps, then halves the bracket.
//!
//! Sans-IO: it says which rate to try for how long, and is told what came of it. A probe whose confidence interval
//! holds the limit is repeated for longer; what stays unsure is neither met nor missed, and the interval that is
//! found keeps it inside. Must never be true: a rate called met that the generator could not offer. Called by the
//! command `knee`.

use crate::results::slo::Outcome;

/// Rates are doubled or halved until the knee lies between two of them.
const FACTOR: f64 = 2.0;
/// A probe that is unsure is made so many times as long, ...
const LONGER: u32 = 3;
/// ... and then once more.
const LONGEST: u32 = 9;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KneePlan {
    /// The first rate.
    pub from: f64,
    /// The lowest that is tried.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// Ends when the interval's ends are so near: 0.05 is five per cent.
    pub precision: f64,
    /// Ends after so many probes.
    pub probes_max: u32,
}

/// What a probe said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// The SLO's outcome, chance considered.
    Outcome(Outcome),
    /// The generator did not keep up.
    Invalid,
}

/// What to try next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Try {
    /// Requests a second.
    pub rate: f64,
    /// Times the usual length.
    pub longer: u32,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    plan: KneePlan,
    /// The highest rate that surely met the SLO.
    met: Option<f64>,
    /// The lowest above it that surely missed.
    missed: Option<f64>,
    /// Rates between, lowest and highest, that stayed unsure.
    unsure: Option<(f64, f64)>,
    /// The lowest rate that the generator could not offer.
    too_fast: Option<f64>,
    last: Try,
    probes: u32,
    was_invalid: bool,
    next: Option<Try>,
}

impl Search {
    /// Begins.
    pub fn new(plan: KneePlan) -> Self {
        let first = Try {
            rate: plan.from.clamp(plan.min, plan.max),
            longer: 1,
        };
        Self {
            plan,
            met: None,
            missed: None,
            unsure: None,
            too_fast: None,
            last: first,
            probes: 0,
            was_invalid: false,
            next: Some(first),
        }
    }

    /// What to try now; none when the search is over.
    pub fn next_try(&self) -> Option<Try> {
        self.next
    }

    /// The interval: the highest rate that surely met the SLO, and the lowest above that surely missed it.
    pub fn interval(&self) -> (Option<f64>, Option<f64>) {
        (self.met, self.missed)
    }

    /// The lowest rate that the generator could not offer, if it was the limit.
    pub fn too_fast(&self) -> Option<f64> {
        self.too_fast
    }

    /// What came of [`Search::next_try`].
    pub fn told(&mut self, told: Told) {
        let Some(tried) = self.next else {
            return;
        };
        self.last = tried;
        self.probes += 1;
        let rate = tried.rate;
        let repeated = match told {
            Told::Outcome(Outcome::Met) => {
                self.met = Some(self.met.map_or(rate, |met| met.max(rate)));
                None
            }
            Told::Outcome(Outcome::Missed) => {
                self.missed = Some(self.missed.map_or(rate, |missed| missed.min(rate)));
                None
            }
            Told::Outcome(Outcome::Unsure) if tried.longer < LONGEST => Some(tried.longer * LONGER),
            Told::Outcome(Outcome::Unsure) => {
                let (low, high) = self.unsure.unwrap_or((rate, rate));
                self.unsure = Some((low.min(rate), high.max(rate)));
                None
            }
            // A disturbance of the machine, perhaps.
            Told::Invalid if !self.was_invalid => Some(tried.longer),
            Told::Invalid => {
                self.too_fast = Some(self.too_fast.map_or(rate, |limit| limit.min(rate)));
                None
            }
        };
        self.was_invalid = told == Told::Invalid && repeated.is_some();
        let next = match repeated {
            Some(longer) => Some(Try { rate, longer }),
            None => self.choose().map(|rate| Try { rate, longer: 1 }),
        };
        self.next = next.filter(|_| self.probes < self.plan.probes_max);
    }

    fn choose(&self) -> Option<f64> {
        let plan = &self.plan;
        // What is above is missed, or cannot be offered.
        let above = [self.missed, self.too_fast]
            .into_iter()
            .flatten()
            .reduce(f64::min);
        let (low, high) = match self.unsure {
            None => (self.met, above),
            Some((low, high)) => {
                // First from below up to what is unsure, then from there up.
                let gap_below = self.met.is_none_or(|met| low / met > 1.0 + plan.precision);
                if gap_below {
                    (self.met, Some(low))
                } else {
                    (Some(high), above)
                }
            }
        };
        match (low, high) {
            (Some(low), Some(high)) if high / low <= 1.0 + plan.precision => None,
            (Some(low), Some(high)) => Some((low * high).sqrt()),
            (Some(low), None) => (low < plan.max).then(|| (low * FACTOR).min(plan.max)),
            (None, Some(high)) => (high > plan.min).then(|| (high / FACTOR).max(plan.min)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    const PLAN: KneePlan = KneePlan {
        from: 1000.0,
        min: 1.0,
        max: 1e6,
        precision: 0.05,
        probes_max: 60,
    };

    /// A server whose p99 rises with its load, seen through so many samples.
    fn outcome(rate: f64, knee: f64, samples: f64, random: &mut SmallRng) -> Outcome {
        // Share of answers above the limit: 1 % at the knee.
        let share = 0.01 * (rate / knee).powi(4);
        let noise = (share * samples).sqrt() * (random.random::<f64>() - 0.5) * 2.0;
        let over = (share * samples + noise).max(0.0);
        let (low, high) = (over - 2.0 * over.sqrt(), over + 2.0 * over.sqrt());
        match (low / samples < 0.01, high / samples < 0.01) {
            (true, true) => Outcome::Met,
            (false, false) => Outcome::Missed,
            _ => Outcome::Unsure,
        }
    }

    #[test]
    fn the_knee_lies_in_the_interval() {
        for knee in [3.0, 700.0, 1000.0, 1001.0, 45_000.0, 400_000.0] {
            for seed in 0..20 {
                let mut random = SmallRng::seed_from_u64(seed);
                let mut search = Search::new(PLAN);
                let mut probes = 0;
                while let Some(tried) = search.next_try() {
                    let samples = 20_000.0 * f64::from(tried.longer);
                    search.told(Told::Outcome(outcome(
                        tried.rate,
                        knee,
                        samples,
                        &mut random,
                    )));
                    probes += 1;
                }
                let (met, missed) = search.interval();
                let (met, missed) = (met.unwrap_or(0.0), missed.unwrap_or(f64::INFINITY));
                // Each end is sure at 95 %, not more.
                assert!(
                    met <= knee * 1.02 && missed >= knee * 0.98,
                    "{knee}, {seed}: {met} to {missed}"
                );
                assert!(missed / met < 1.2, "{knee}, {seed}: {met} to {missed}");
                assert!(probes <= 30, "{knee}, {seed}: {probes} probes");
            }
        }
    }

    #[test]
    fn ends_of_the_range_end_the_search() {
        for (name, told, from, want) in [
            ("always met", Outcome::Met, 1000.0, (Some(1e6), None)),
            ("always missed", Outcome::Missed, 1000.0, (None, Some(1.0))),
            ("always unsure", Outcome::Unsure, 1000.0, (None, None)),
            ("begins above", Outcome::Met, 1e9, (Some(1e6), None)),
        ] {
            let mut search = Search::new(KneePlan { from, ..PLAN });
            let mut probes = 0;
            while search.next_try().is_some() {
                search.told(Told::Outcome(told));
                probes += 1;
            }
            assert_eq!(search.interval(), want, "{name}");
            assert!(probes <= PLAN.probes_max, "{name}");
        }
    }

    #[test]
    fn a_generator_that_lags_is_no_missed_slo() {
        let mut search = Search::new(PLAN);
        let mut lagged_at = Vec::new();
        while let Some(tried) = search.next_try() {
            if tried.rate > 30_000.0 {
                lagged_at.push(tried.rate);
                search.told(Told::Invalid);
            } else {
                search.told(Told::Outcome(Outcome::Met));
            }
        }
        let (met, missed) = search.interval();
        assert_eq!(missed, None);
        assert!(
            met.is_some_and(|met| met > 28_000.0 && met <= 30_000.0),
            "{met:?}"
        );
        assert!(search.too_fast().is_some_and(|limit| limit < 32_000.0));
        assert!(
            lagged_at
                .chunks(2)
                .all(|pair| pair[0].to_bits() == pair[1].to_bits()),
            "each is tried twice"
        );
    }
}
