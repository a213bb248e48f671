//! What was answered, and how long that took, noted without a look at the clock for each request.
//!
//! A worker reads the clock when it wakes and when all answers of that wake are on their way. What was answered in
//! the wake in which it arrived took as long as the wake did, at most, and that is what is noted for it: a hit costs
//! one addition in memory of its worker's own. What had waited took from the wake in which it arrived. Must never be
//! true: a clock read, a lock or a shared cache line for a hit.

use std::time::Instant;

use crate::api::reply::Reply;
use crate::engine::Gather;
use crate::engine::gather::Item;
use crate::metrics::{Kind, Reason, WorkerMetrics};
use crate::net::scratch::Scratch;

/// Requests that had waited, noted before the clock is read for them.
const WAITED_MAX: usize = 256;

/// What one worker has answered since it woke.
pub(super) struct Tally {
    at_once: [u64; Kind::ALL.len()],
    waited: Vec<(Kind, Instant)>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            at_once: [0; Kind::ALL.len()],
            waited: Vec::with_capacity(WAITED_MAX),
        }
    }

    /// A request was answered that arrived in this wake, or `since` then.
    #[inline]
    pub(super) fn answered(&mut self, kind: Kind, since: Option<Instant>, metrics: &WorkerMetrics) {
        match since {
            None => {
                if let Some(count) = self.at_once.get_mut(kind as usize) {
                    *count += 1;
                }
            }
            Some(since) => self.waited(kind, since, metrics),
        }
    }

    fn waited(&mut self, kind: Kind, since: Instant, metrics: &WorkerMetrics) {
        if self.waited.len() == WAITED_MAX {
            self.settle_waited(Instant::now(), metrics);
        }
        self.waited.push((kind, since));
    }

    /// The wake that began at `woke` is over `now`: all answers are on their way.
    pub(super) fn settle(&mut self, woke: Instant, now: Instant, metrics: &WorkerMetrics) {
        let wake = now.saturating_duration_since(woke);
        for (kind, count) in Kind::ALL.into_iter().zip(&mut self.at_once) {
            if *count > 0 {
                metrics.took(kind, wake, std::mem::take(count));
            }
        }
        self.settle_waited(now, metrics);
    }

    fn settle_waited(&mut self, now: Instant, metrics: &WorkerMetrics) {
        for (kind, since) in self.waited.drain(..) {
            metrics.took(kind, now.saturating_duration_since(since), 1);
        }
    }
}

/// Counts an answer: by its status, and by why it, or which of its items, were not done.
pub(super) fn count(counters: &WorkerMetrics, reply: &Reply<'_, Scratch>, gather: &Gather) {
    let status = reply.status();
    if status == 429 {
        counters.requests_limited.bump();
    }
    match status {
        500.. => counters.requests_failed.bump(),
        400.. => counters.requests_refused.bump(),
        _ => counters.requests_ok.bump(),
    }
    if let Some(reason) = reply.reason() {
        return counters.not_done(reason);
    }
    let mut is_told = false;
    for reason in gather.items.iter().filter_map(of_item) {
        counters.not_done(reason);
        is_told = true;
    }
    if status >= 500 && !is_told {
        counters.not_done(Reason::Other);
    }
}

fn of_item(item: &Item) -> Option<Reason> {
    match item {
        Item::Failed(fault) => fault.reason,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_wake_is_noted_once_for_all_that_it_answered() {
        let metrics = Metrics::new(1);
        let worker = metrics.worker(0);
        let mut tally = Tally::new();
        let woke = Instant::now();
        let us = |us| woke + Duration::from_micros(us);
        for _ in 0..3 {
            tally.answered(Kind::Hit, None, worker);
        }
        tally.answered(Kind::Miss, Some(woke), worker);
        assert_eq!(metrics.durations(Kind::Hit).count, 0, "not before the end");
        tally.settle(us(900), us(960), worker);
        tally.settle(us(970), us(980), worker);
        for (kind, count, sum_us) in [
            (Kind::Hit, 3, 180),
            (Kind::Miss, 1, 960),
            (Kind::Other, 0, 0),
        ] {
            let seen = metrics.durations(kind);
            assert_eq!((seen.count, seen.sum), (count, sum_us * 1000), "{kind:?}");
        }
    }

    #[test]
    fn any_number_may_have_waited() {
        let metrics = Metrics::new(1);
        let (mut tally, woke) = (Tally::new(), Instant::now());
        let count = 2 * WAITED_MAX + 1;
        for _ in 0..count {
            tally.answered(Kind::Joined, Some(woke), metrics.worker(0));
        }
        assert_eq!(tally.waited.capacity(), WAITED_MAX);
        tally.settle(woke, woke, metrics.worker(0));
        assert_eq!(metrics.durations(Kind::Joined).count, count as u64);
    }
}
