//! Counters and histograms that every room may feed: plain atomics, no labels made at run time, never a secret.
//!
//! What is counted on the hit path is kept per worker, each set on cache lines of its own, and
//! added up when somebody asks. Must never be true: a counter that costs a hit a shared cache line; a lock.

mod distinct;
mod histogram;
mod hsm;
mod labels;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam::utils::CachePadded;

pub use distinct::Distinct;
pub use histogram::{Histogram, ITEM_BOUNDS, ItemHistogram, Seen, TIME_BOUNDS_NS, TimeHistogram};
pub use hsm::{Exchanged, HsmMetrics};
pub use labels::{Kind, Reason, Refusal};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    #[inline]
    pub fn bump(&self) {
        self.add(1);
    }

    /// `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Equal parts that the life of a cache entry is counted in.
pub const LIFE_PARTS: usize = 32;

/// What one worker counts.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Requests answered with a 2xx.
    pub requests_ok: Counter,
    /// Requests answered with a 4xx.
    pub requests_refused: Counter,
    /// Of these, answered 429 for a limit of their client.
    pub requests_limited: Counter,
    /// Requests answered with a 5xx.
    pub requests_failed: Counter,
    /// Unwraps (items) served from the cache.
    pub hits: Counter,
    /// Of these, by which part of its life the entry had left; rewraps not counted.
    pub hits_by_life: [Counter; LIFE_PARTS],
    /// Unwraps (items) served after their life, because the HSM was not reachable.
    pub stale: Counter,
    /// Other operations that the HSM was asked for: wraps, data keys, lists and changes of keys.
    pub others: Counter,
    /// Unwraps (items) that asked the shared cache or the HSM.
    pub misses: Counter,
    /// Unwraps (items) that joined another's fetch.
    pub joins: Counter,
    /// Requests whose time was over before the HSM answered.
    pub timeouts: Counter,
    /// What was not done, by [`Reason`].
    undone: [Counter; Reason::ALL.len()],
    /// How long requests took, by [`Kind`].
    durations: [TimeHistogram; Kind::ALL.len()],
}

impl WorkerMetrics {
    /// Without counts.
    pub const fn new() -> Self {
        Self {
            requests_ok: Counter::new(),
            requests_refused: Counter::new(),
            requests_limited: Counter::new(),
            requests_failed: Counter::new(),
            hits: Counter::new(),
            hits_by_life: [const { Counter::new() }; LIFE_PARTS],
            stale: Counter::new(),
            others: Counter::new(),
            misses: Counter::new(),
            joins: Counter::new(),
            timeouts: Counter::new(),
            undone: [const { Counter::new() }; Reason::ALL.len()],
            durations: [const { TimeHistogram::of_times() }; Kind::ALL.len()],
        }
    }

    /// So many requests of a kind took so long.
    pub fn took(&self, kind: Kind, time: Duration, requests: u64) {
        if let Some(durations) = self.durations.get(kind as usize) {
            durations.observe_many(histogram::nanos(time), requests);
        }
    }

    /// A request, or an item of one, was not done.
    pub fn not_done(&self, reason: Reason) {
        if let Some(counter) = self.undone.get(reason as usize) {
            counter.bump();
        }
    }
}

/// All counters of a node, but those of its HSM.
#[derive(Debug)]
pub struct Metrics {
    workers: Box<[CachePadded<WorkerMetrics>]>,
    started: (Instant, SystemTime),
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections turned away at the connection limit.
    pub turned_away: Counter,
    /// Connections turned away at the limit of their address.
    pub turned_away_address: Counter,
    /// Handshakes completed with a pinned certificate.
    pub handshakes: Counter,
    /// From the first byte due to the last, of those that began anew and of those that resumed.
    pub handshake_times: [TimeHistogram; 2],
    /// Handshakes that failed or were refused, by [`Refusal`].
    handshakes_failed: [Counter; Refusal::ALL.len()],
    /// Reloads of configuration and keystores that took effect.
    pub reloads: Counter,
    /// Reloads that were refused: the old state serves on.
    pub reloads_refused: Counter,
    /// When the state in force was taken: seconds since 1970.
    reloaded_unix_s: AtomicU64,
    /// Whether the last reload took effect; 1 before the first.
    reload_ok: AtomicU64,
    /// Orders that came by the control socket and were carried out.
    pub orders: [Counter; ORDERS.len()],
    /// The same of those that were refused.
    pub orders_refused: [Counter; ORDERS.len()],
    /// Unwraps (items) that the cache which the nodes share had.
    pub shared: Counter,
    /// Cache entries that were fetched anew before their life was over.
    pub refreshes: Counter,
    /// Such fetches that the HSM refused or failed.
    pub refreshes_failed: Counter,
    /// Such fetches that were given up because there was no capacity to spare.
    pub refreshes_given_up: Counter,
}

/// What may be ordered by the control socket, in the order of [`Metrics::orders`].
pub const ORDERS: [&str; 5] = ["status", "reload", "drain", "purge", "renew-key"];

impl Metrics {
    /// Counters for `workers` workers.
    pub fn new(workers: usize) -> Self {
        let now = SystemTime::now();
        Self {
            workers: (0..workers).map(|_| CachePadded::default()).collect(),
            started: (Instant::now(), now),
            accepted: Counter::new(),
            turned_away: Counter::new(),
            turned_away_address: Counter::new(),
            handshakes: Counter::new(),
            handshake_times: [const { TimeHistogram::of_times() }; 2],
            handshakes_failed: [const { Counter::new() }; Refusal::ALL.len()],
            reloads: Counter::new(),
            reloads_refused: Counter::new(),
            reloaded_unix_s: AtomicU64::new(unix_s(now)),
            reload_ok: AtomicU64::new(1),
            orders: [const { Counter::new() }; ORDERS.len()],
            orders_refused: [const { Counter::new() }; ORDERS.len()],
            shared: Counter::new(),
            refreshes: Counter::new(),
            refreshes_failed: Counter::new(),
            refreshes_given_up: Counter::new(),
        }
    }

    /// The counters of worker `index`; those of nobody for an index that does not exist.
    #[inline]
    pub fn worker(&self, index: u16) -> &WorkerMetrics {
        static NONE: WorkerMetrics = WorkerMetrics::new();
        self.workers
            .get(usize::from(index))
            .map_or(&NONE, |padded| padded)
    }

    /// The sum of one counter over all workers.
    pub fn sum(&self, counter: impl Fn(&WorkerMetrics) -> &Counter) -> u64 {
        self.workers
            .iter()
            .map(|worker| counter(worker).get())
            .sum()
    }

    /// How long requests of a kind took, at all workers.
    pub fn durations(&self, kind: Kind) -> Seen {
        let workers = self.workers.iter();
        Seen::sum(workers.filter_map(|worker| worker.durations.get(kind as usize)))
    }

    /// What was not done for that reason, at all workers.
    pub fn undone(&self, reason: Reason) -> u64 {
        let of_reason = |worker: &CachePadded<WorkerMetrics>| {
            worker.undone.get(reason as usize).map_or(0, Counter::get)
        };
        self.workers.iter().map(of_reason).sum()
    }

    /// A handshake came to nothing.
    pub fn handshake_failed(&self, why: Refusal) {
        if let Some(counter) = self.handshakes_failed.get(why as usize) {
            counter.bump();
        }
    }

    /// Handshakes that came to nothing for that reason.
    pub fn handshakes_failed(&self, why: Refusal) -> u64 {
        self.handshakes_failed
            .get(why as usize)
            .map_or(0, Counter::get)
    }

    /// A reload took effect, or not.
    pub fn reloaded(&self, is_done: bool) {
        if is_done {
            self.reloads.bump();
            let now = unix_s(SystemTime::now());
            self.reloaded_unix_s.store(now, Ordering::Relaxed);
        } else {
            self.reloads_refused.bump();
        }
        self.reload_ok.store(is_done.into(), Ordering::Relaxed);
    }

    /// Whether the last reload took effect, and when the state in force was taken, in seconds since 1970.
    pub fn last_reload(&self) -> (bool, u64) {
        let is_ok = self.reload_ok.load(Ordering::Relaxed) == 1;
        (is_ok, self.reloaded_unix_s.load(Ordering::Relaxed))
    }

    /// When these counters began, by the clock and by the calendar.
    pub fn started(&self) -> (Instant, SystemTime) {
        self.started
    }
}

fn unix_s(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_count_is_added_up() {
        let metrics = Metrics::new(2);
        for (worker, kind, us, requests) in [
            (0, Kind::Hit, 7, 3),
            (1, Kind::Hit, 70, 1),
            (1, Kind::Miss, 2000, 1),
            (9, Kind::Miss, 2000, 1),
        ] {
            let time = Duration::from_micros(us);
            metrics.worker(worker).took(kind, time, requests);
        }
        let hits = metrics.durations(Kind::Hit);
        assert_eq!((hits.count, hits.sum), (4, 91_000));
        assert_eq!(hits.cumulative[1], (10_000, 3));
        let misses = metrics.durations(Kind::Miss);
        assert_eq!(misses.count, 1, "there is no worker 9");
        metrics.worker(0).not_done(Reason::Other);
        metrics.worker(1).not_done(Reason::Other);
        let undone = [Reason::Other, Reason::QueueFull].map(|reason| metrics.undone(reason));
        assert_eq!(undone, [2, 0]);
    }

    #[test]
    fn a_refused_reload_changes_no_date() {
        let metrics = Metrics::new(1);
        let (is_ok, began) = metrics.last_reload();
        assert!(is_ok && began > 0);
        metrics.reloaded(false);
        assert_eq!(metrics.last_reload(), (false, began));
        metrics.reloaded(true);
        assert!(metrics.last_reload().0);
        let counts = (metrics.reloads.get(), metrics.reloads_refused.get());
        assert_eq!(counts, (1, 1));
    }
}
