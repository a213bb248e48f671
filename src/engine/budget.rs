//! The outage budget: if the HSM stopped now, what share of the last minutes' operations would be
//! served, and for how long.
//!
//! Every hit is counted by how much of its entry's life was left. An operation like those of the window
//! would be served `t` after the HSM stopped if it was a hit whose entry had more than `t` left, with
//! `kms.cache.stale.max.s` added. All other operations would fail: misses, wraps, changes of keys. So
//! the budget is a lower bound as long as clients go on asking for what they asked for. Once the HSM is
//! down nothing is renewed: what was true then is kept, and only runs out.
//!
//! Must never be true: a share counted from before a purge or an outage; a lock on the way of a hit.
//! `node` ticks it, `admin` tells it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::metrics::{LIFE_PARTS, Metrics};

use super::Engine;

/// How far back operations are looked at.
pub const WINDOW: Duration = Duration::from_mins(5);
/// How often the counters are noted.
const STEP: Duration = Duration::from_secs(30);
/// Shares whose time is told, in percent of all operations.
pub const SHARES: [u64; 4] = [90, 75, 50, 25];

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
struct Totals {
    hits: [u64; LIFE_PARTS],
    operations: u64,
}

impl Totals {
    fn of(metrics: &Metrics) -> Self {
        let mut hits = [0; LIFE_PARTS];
        for (part, sum) in hits.iter_mut().enumerate() {
            // LIFE_PARTS counters: there is one for each part.
            *sum = metrics.sum(|worker| worker.hits_by_life.get(part).unwrap_or(&worker.hits));
        }
        let asked = metrics.sum(|worker| &worker.misses)
            + metrics.sum(|worker| &worker.joins)
            + metrics.sum(|worker| &worker.others);
        Self {
            operations: asked + hits.iter().sum::<u64>(),
            hits,
        }
    }

    fn since(&self, before: &Self) -> Self {
        let mut hits = self.hits;
        for (now, then) in hits.iter_mut().zip(before.hits) {
            *now = now.saturating_sub(then);
        }
        Self {
            hits,
            operations: self.operations.saturating_sub(before.operations),
        }
    }

    fn none() -> Self {
        Self {
            hits: [0; LIFE_PARTS],
            operations: 0,
        }
    }
}

/// What is known of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    noted: VecDeque<(Instant, Totals)>,
    purges: u64,
    /// Since the HSM is down: when that was noticed, and what was true then.
    outage: Option<(Instant, Duration, Totals)>,
}

/// For how long at least a share of the operations would be served.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// Percent of all operations.
    pub percent: u64,
    /// From now; 0: not even now.
    pub seconds: u64,
}

/// The budget. Without operations in the window nothing is known, and the shares are 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Seconds that were looked at.
    pub window_s: u64,
    /// Operations in them.
    pub operations: u64,
    /// Percent of them that would be served at first.
    pub served_percent: f64,
    /// How long certain shares would be.
    pub steps: Vec<Step>,
    /// When the last entry is over.
    pub ends_after_s: u64,
    /// Seconds that the HSM has been down for: the rest counts from now.
    pub down_for_s: Option<u64>,
}

impl State {
    fn tick(&mut self, now: Instant, up: bool, purges: u64, totals: &Totals) {
        if purges != self.purges {
            self.purges = purges;
            self.noted.clear();
            if let Some((_, window, kept)) = &mut self.outage {
                (*window, *kept) = (Duration::ZERO, Totals::none());
            }
        }
        if !up {
            if self.outage.is_none() {
                let (window, seen) = self.seen(now, totals);
                self.outage = Some((now, window, seen));
            }
            return;
        }
        if self.outage.take().is_some() {
            self.noted.clear();
        }
        let last = self.noted.back().map(|(at, _)| *at);
        if last.is_none_or(|at| now.saturating_duration_since(at) >= STEP) {
            self.noted.push_back((now, *totals));
        }
        while let Some((second, _)) = self.noted.get(1)
            && now.saturating_duration_since(*second) >= WINDOW
        {
            self.noted.pop_front();
        }
    }

    /// The window up to now, and what was counted in it.
    fn seen(&self, now: Instant, totals: &Totals) -> (Duration, Totals) {
        match self.noted.front() {
            Some((since, before)) => (now.saturating_duration_since(*since), totals.since(before)),
            None => (Duration::ZERO, Totals::none()),
        }
    }

    /// `least_left` tells the least rest of life in a part, `stale_max` included.
    fn budget(
        &self,
        now: Instant,
        totals: &Totals,
        least_left: impl Fn(usize) -> Duration,
    ) -> Budget {
        let (passed, window, seen) = if let Some((since, window, kept)) = &self.outage {
            (now.saturating_duration_since(*since), *window, *kept)
        } else {
            let (window, seen) = self.seen(now, totals);
            (Duration::ZERO, window, seen)
        };
        // From the longest life down: how many are served at least so long.
        let mut served = 0;
        let mut at_least: Vec<(u64, u64)> = Vec::with_capacity(LIFE_PARTS);
        for (part, hits) in seen.hits.iter().enumerate().rev() {
            served += hits;
            let left = least_left(part).checked_sub(passed);
            if let Some(left) = left.filter(|_| *hits > 0) {
                at_least.push((left.as_secs(), served));
            }
        }
        let at_first = at_least.last().map_or(0, |(_, served)| *served);
        let seconds = |percent: u64| {
            let enough = |(_, served): &&(u64, u64)| served * 100 >= percent * seen.operations;
            at_least.iter().find(enough).map_or(0, |(left, _)| *left)
        };
        Budget {
            window_s: window.as_secs(),
            operations: seen.operations,
            served_percent: percent(at_first, seen.operations),
            steps: SHARES
                .map(|percent| Step {
                    percent,
                    seconds: seconds(percent),
                })
                .to_vec(),
            ends_after_s: at_least.first().map_or(0, |(left, _)| *left),
            down_for_s: self.outage.map(|_| passed.as_secs()),
        }
    }
}

/// With one decimal.
#[allow(clippy::cast_precision_loss, reason = "a share of 1000")]
fn percent(part: u64, whole: u64) -> f64 {
    let per_mille = part
        .saturating_mul(1000)
        .checked_div(whole)
        .unwrap_or_default();
    per_mille as f64 / 10.0
}

impl Engine {
    /// Notes what the budget needs; call it once a second or more often.
    pub fn note_budget(&self, now: Instant) {
        let (up, purges) = (self.hsm.health().up, self.cache.purges());
        let totals = Totals::of(&self.metrics);
        self.ledger.0.lock().tick(now, up, purges, &totals);
    }

    /// If the HSM stopped now.
    pub fn outage_budget(&self, now: Instant) -> Budget {
        let totals = Totals::of(&self.metrics);
        let stale = self.cache.stale_max();
        let least_left = |part| self.cache.least_left(part) + stale;
        self.ledger.0.lock().budget(now, &totals, least_left)
    }
}

#[cfg(test)]
mod tests;
