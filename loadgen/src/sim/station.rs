//! When a message is done: engines, ceiling and jitter as arithmetic on time that is passed in.
//!
//! Must never be true: a clock that is read here; an answer dated before its request. Called by the
//! event loop, which does the waiting, and by whoever simulates without one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Pareto};

use super::preset::{Model, Overload};

/// Milliseconds of full speed that an idle HSM saves up under its ceiling.
const BURST_MS: f64 = 20.0;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// It is done at this time, nanoseconds.
    Done(u64),
    /// It is refused as "busy" at this time, nanoseconds.
    Busy(u64),
}

impl Admission {
    /// When its answer is due, nanoseconds.
    pub fn due_ns(self) -> u64 {
        match self {
            Self::Done(due_ns) | Self::Busy(due_ns) => due_ns,
        }
    }
}

/// The engines of one HSM and what they have to do.
#[derive(Debug)]
pub struct Station {
    model: Model,
    random: SmallRng,
    jitter: Option<LogNormal<f64>>,
    tail: Option<Pareto<f64>>,
    /// When each engine is free, nanoseconds.
    free_ns: BinaryHeap<Reverse<u64>>,
    /// When the ceiling's account is even again, nanoseconds.
    even_ns: u64,
}

/// Nanoseconds of so many milliseconds; what is negative or no number is nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, as it should
pub fn ns_of_ms(ms: f64) -> u64 {
    (ms * 1e6) as u64
}

impl Station {
    /// An idle HSM; equal seeds give equal times.
    pub fn new(model: Model, seed: u64) -> Self {
        let jitter = (model.sigma > 0.0)
            .then(|| LogNormal::new(0.0, model.sigma).ok())
            .flatten();
        let tail = model
            .tail
            .and_then(|tail| Pareto::new(tail.min_ms, tail.alpha).ok());
        Self {
            random: SmallRng::seed_from_u64(seed),
            jitter,
            tail,
            free_ns: (0..model.engines).map(|_| Reverse(0)).collect(),
            even_ns: 0,
            model,
        }
    }

    /// Its numbers.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Changes its numbers from now on; messages under way keep their time.
    pub fn set_model(&mut self, model: Model, seed: u64) {
        *self = Self::new(model, seed);
    }

    /// A message of `items` has arrived at `now_ns`.
    pub fn admit(&mut self, now_ns: u64, items: usize) -> Admission {
        if self.model.reject_probability > 0.0
            && self.random.random_bool(self.model.reject_probability)
        {
            return Admission::Busy(now_ns.saturating_add(self.message_ns()));
        }
        if self.model.is_instant() {
            return Admission::Done(now_ns);
        }
        let taken_ns = self
            .message_ns()
            .saturating_add(ns_of_ms(self.model.item_ms * count(items)));
        let free_ns = self.free_ns.peek().map_or(0, |free| free.0);
        let start_ns = free_ns.max(now_ns).max(self.ceiling_ns(now_ns));
        let waits_ns = start_ns - now_ns;
        let rejects = self.model.overload == Overload::Reject && self.ceiling_ns(now_ns) > now_ns
            || self
                .model
                .queue_ms_max
                .is_some_and(|max| waits_ns > ns_of_ms(max));
        if rejects {
            return Admission::Busy(now_ns.saturating_add(self.message_ns()));
        }
        if let Some(rate) = self.model.ceiling_ops_s {
            let cost_ns = ns_of_ms(1000.0 * count(items) / rate);
            self.even_ns = self.even_ns.max(now_ns).saturating_add(cost_ns);
        }
        let due_ns = start_ns.saturating_add(taken_ns);
        if let Some(mut earliest) = self.free_ns.peek_mut() {
            *earliest = Reverse(due_ns);
        }
        Admission::Done(due_ns)
    }

    /// When the ceiling lets the next message start.
    fn ceiling_ns(&self, now_ns: u64) -> u64 {
        if self.model.ceiling_ops_s.is_none() {
            return now_ns;
        }
        self.even_ns.saturating_sub(ns_of_ms(BURST_MS))
    }

    /// What the message itself takes.
    fn message_ns(&mut self) -> u64 {
        let slow = match (self.model.tail, &self.tail) {
            (Some(tail), Some(pareto)) if self.random.random_bool(tail.probability) => {
                Some(pareto.sample(&mut self.random))
            }
            _ => None,
        };
        let jitter = self
            .jitter
            .map_or(1.0, |jitter| jitter.sample(&mut self.random));
        ns_of_ms(slow.unwrap_or(self.model.message_ms * jitter))
    }

    /// Milliseconds of the next pause, if the model has any.
    pub fn stall_ms(&mut self) -> Option<f64> {
        let stalls = self.model.stalls?;
        let share: f64 = self.random.random();
        Some(stalls.min_ms + share * (stalls.max_ms - stalls.min_ms))
    }
}

/// Batches are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn count(items: usize) -> f64 {
    items as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::preset::Preset;
    use super::*;

    const MS: u64 = 1_000_000;

    fn plain(message_ms: f64, item_ms: f64, engines: u32) -> Model {
        Model {
            message_ms,
            item_ms,
            engines,
            ..Preset::Null.model()
        }
    }

    #[test]
    fn presets_keep_their_medians_and_tails() {
        for preset in Preset::ALL {
            let model = preset.model();
            let alone = Model {
                ceiling_ops_s: None,
                queue_ms_max: None,
                reject_probability: 0.0,
                ..model.clone()
            };
            let mut station = Station::new(alone, 7);
            let mut took: Vec<u64> = (0..20_000_u64)
                .map(|at| {
                    let now_ns = at * 1_000_000 * MS;
                    station.admit(now_ns, 1).due_ns() - now_ns
                })
                .collect();
            took.sort_unstable();
            let name = preset.name();
            #[allow(clippy::cast_precision_loss)]
            let ms = |rank: usize| took[rank] as f64 / 1e6;
            let p50 = model.message_ms + model.item_ms;
            assert!(
                (ms(10_000) - p50).abs() <= 0.03 * p50,
                "{name}: {} ms",
                ms(10_000)
            );
            let p99 = model.message_ms * (2.326 * model.sigma).exp() + model.item_ms;
            assert!(ms(19_800) >= 0.9 * p99, "{name}: p99 {} ms", ms(19_800));
            if model.tail.is_none() {
                assert!(ms(19_800) <= 1.1 * p99, "{name}: p99 {} ms", ms(19_800));
            }
        }
    }

    #[test]
    fn engines_serve_side_by_side_and_then_in_turn() {
        let mut station = Station::new(plain(1.0, 0.5, 2), 1);
        let due: Vec<u64> = (0..4)
            .map(|_| station.admit(10 * MS, 2).due_ns() / MS)
            .collect();
        assert_eq!(due, [12, 12, 14, 14]);
    }

    #[test]
    fn the_ceiling_queues_or_rejects() {
        let rate = Model {
            ceiling_ops_s: Some(1000.0),
            ..plain(0.0, 0.0, 100)
        };
        let mut queues = Station::new(rate.clone(), 1);
        let last = (0..100).map(|_| queues.admit(MS, 10)).last().unwrap();
        // 1000 items at 1000 a second, less what was saved up.
        assert_eq!(last, Admission::Done((1000 - 10 - 20 + 1) * MS));
        let mut rejects = Station::new(
            Model {
                overload: Overload::Reject,
                ..rate.clone()
            },
            1,
        );
        let served = (0..100_u64)
            .filter(|at| matches!(rejects.admit(at * MS, 10), Admission::Done(_)))
            .count();
        assert!((10..=13).contains(&served), "{served}");
        let mut impatient = Station::new(
            Model {
                queue_ms_max: Some(5.0),
                ..rate
            },
            1,
        );
        let served = (0..100).filter(|_| matches!(impatient.admit(MS, 10), Admission::Done(_)));
        assert_eq!(served.count(), 3);
    }

    #[test]
    fn equal_seeds_give_equal_times() {
        let run = |seed| {
            let mut station = Station::new(Preset::BusyHsm.model(), seed);
            (0..100)
                .map(|at| station.admit(at * MS, 3))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn settings_are_checked() {
        let mut model = Preset::LanHsm.model();
        for (name, value, want) in [
            ("message-ms", "5", true),
            ("ceiling", "none", true),
            ("ceiling", "0", false),
            ("engines", "0", false),
            ("batch-max", "1025", false),
            ("reject", "1.5", false),
            ("item-ms", "-1", false),
            ("item-ms", "NaN", false),
            ("overload", "drop", false),
            ("colour", "red", false),
        ] {
            assert_eq!(model.set(name, value).is_ok(), want, "{name} {value}");
        }
        assert!((model.message_ms - 5.0).abs() < 1e-9 && model.ceiling_ops_s.is_none());
    }
}
