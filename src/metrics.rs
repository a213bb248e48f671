//! Counters that every room may bump: plain atomics, no labels made at run time, never a secret.
//!
//! What is counted on the hit path is kept per worker, each set on cache lines of its own, and
//! added up when somebody asks. Must never be true: a counter that costs a hit a shared cache line.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
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
    /// Unwraps (items) that asked the HSM.
    pub misses: Counter,
    /// Unwraps (items) that joined another's fetch.
    pub joins: Counter,
    /// Requests whose time was over before the HSM answered.
    pub timeouts: Counter,
}

/// All counters of a node.
#[derive(Debug, Default)]
pub struct Metrics {
    workers: Box<[CachePadded<WorkerMetrics>]>,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections turned away at the connection limit.
    pub turned_away: Counter,
    /// Connections turned away at the limit of their address.
    pub turned_away_address: Counter,
    /// Handshakes completed with a pinned certificate.
    pub handshakes: Counter,
    /// Handshakes that failed or were refused.
    pub handshakes_failed: Counter,
    /// Reloads of configuration and keystores that took effect.
    pub reloads: Counter,
    /// Reloads that were refused: the old state serves on.
    pub reloads_refused: Counter,
    /// Unwraps (items) that the cache which the nodes share had.
    pub shared: Counter,
    /// Cache entries that were fetched anew before their life was over.
    pub refreshes: Counter,
    /// Such fetches that the HSM refused or failed.
    pub refreshes_failed: Counter,
    /// Such fetches that were given up because there was no capacity to spare.
    pub refreshes_given_up: Counter,
}

impl Metrics {
    /// Counters for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| CachePadded::default()).collect(),
            ..Self::default()
        }
    }

    /// The counters of worker `index`; those of the last worker for an index that does not exist.
    #[inline]
    pub fn worker(&self, index: u16) -> &WorkerMetrics {
        static NONE: WorkerMetrics = WorkerMetrics {
            requests_ok: Counter(AtomicU64::new(0)),
            requests_refused: Counter(AtomicU64::new(0)),
            requests_limited: Counter(AtomicU64::new(0)),
            requests_failed: Counter(AtomicU64::new(0)),
            hits: Counter(AtomicU64::new(0)),
            hits_by_life: [const { Counter(AtomicU64::new(0)) }; LIFE_PARTS],
            stale: Counter(AtomicU64::new(0)),
            others: Counter(AtomicU64::new(0)),
            misses: Counter(AtomicU64::new(0)),
            joins: Counter(AtomicU64::new(0)),
            timeouts: Counter(AtomicU64::new(0)),
        };
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
}
