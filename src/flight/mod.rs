//! What is being fetched now: a bounded table of waiters, generic over the key, the waiter and the result.
//!
//! Must never be true: a waiter that nobody completes, or one that is completed twice. Every exit of a
//! lead delivers, the drop included. Called by `engine`, apart from the cache: a miss locks its flight
//! and looks into the cache again; a fill inserts into the cache before it finishes its flight.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Locks the table is split over; a power of two.
const SHARDS: usize = 16;

/// The waiters of one flight, first come first.
type Shard<K, W> = Mutex<HashMap<K, Vec<W>>>;

/// The table. `R` is what a waiter gets; `abandoned` is what it gets when a lead is dropped.
pub struct Flights<K, W, R> {
    shards: Box<[Shard<K, W>]>,
    hasher: RandomState,
    flying: Bound,
    waiting: Bound,
    abandoned: R,
    deliver: Box<dyn Fn(W, R) + Send + Sync>,
}

/// What joining meant.
pub enum Joined<K: Hash + Eq + Clone, W, R: Clone> {
    /// The first: fetch, then [`Lead::finish`].
    Lead(Lead<K, W, R>),
    /// Somebody fetches already; the waiter will be told.
    Waiting,
    /// As `Waiting`, and it is the first: until now it was fetched for nobody ([`Flights::begin`]).
    WaitingFirst,
    /// A bound is reached (flights, or waiters in all); the waiter comes back.
    Full(W),
}

/// The duty to finish one flight. Dropped unfinished (a panic, a closed queue), it delivers `abandoned`.
#[must_use = "dropping a lead tells its waiters that the fetch was abandoned"]
pub struct Lead<K: Hash + Eq + Clone, W, R: Clone> {
    table: Arc<Flights<K, W, R>>,
    /// `None` once finished.
    key: Option<K>,
}

/// A count that never passes its maximum.
struct Bound {
    now: AtomicUsize,
    max: usize,
}

impl Bound {
    fn new(max: usize) -> Self {
        Self {
            now: AtomicUsize::new(0),
            max,
        }
    }

    fn take(&self) -> bool {
        self.now
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < self.max).then_some(now + 1)
            })
            .is_ok()
    }

    fn give_back(&self, count: usize) {
        self.now.fetch_sub(count, Ordering::Relaxed);
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }
}

impl<K: Hash + Eq + Clone, W, R: Clone> Flights<K, W, R> {
    /// `deliver` is called outside all locks, once for each waiter.
    /// `waiters_max` counts the first waiter of each flight too.
    pub fn new(
        flights_max: usize,
        waiters_max: usize,
        abandoned: R,
        deliver: impl Fn(W, R) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let shard_capacity = flights_max.min(waiters_max).div_ceil(SHARDS);
        Arc::new(Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(HashMap::with_capacity(shard_capacity)))
                .collect(),
            hasher: RandomState::new(),
            flying: Bound::new(flights_max),
            waiting: Bound::new(waiters_max),
            abandoned,
            deliver: Box::new(deliver),
        })
    }

    /// Joins or starts the flight of `key`.
    /// `recheck` runs under the flight's lock before a new flight is made ("lock flight, look into
    /// the cache again"): `Some` is returned as `Err` and nothing is joined. It must not call this table.
    pub fn join<H>(
        self: &Arc<Self>,
        key: K,
        waiter: W,
        recheck: impl FnOnce() -> Option<H>,
    ) -> Result<Joined<K, W, R>, H> {
        let mut shard = self.shard(&key).lock();
        if let Some(waiting) = shard.get_mut(&key) {
            if !self.waiting.take() {
                return Ok(Joined::Full(waiter));
            }
            waiting.push(waiter);
            return Ok(match waiting.len() {
                1 => Joined::WaitingFirst,
                _ => Joined::Waiting,
            });
        }
        if let Some(ready) = recheck() {
            return Err(ready);
        }
        if !self.flying.take() {
            return Ok(Joined::Full(waiter));
        }
        if !self.waiting.take() {
            self.flying.give_back(1);
            return Ok(Joined::Full(waiter));
        }
        shard.insert(key.clone(), vec![waiter]);
        Ok(Joined::Lead(Lead {
            table: Arc::clone(self),
            key: Some(key),
        }))
    }

    /// Starts the flight of `key` for nobody; whoever joins it is told as usual. `None`: it flies already,
    /// or as many fly as may.
    pub fn begin(self: &Arc<Self>, key: K) -> Option<Lead<K, W, R>> {
        let mut shard = self.shard(&key).lock();
        if shard.contains_key(&key) || !self.flying.take() {
            return None;
        }
        shard.insert(key.clone(), Vec::new());
        Some(Lead {
            table: Arc::clone(self),
            key: Some(key),
        })
    }

    /// Whether anybody waits for the flight of `key`.
    pub fn is_awaited(&self, key: &K) -> bool {
        let shard = self.shard(key).lock();
        shard.get(key).is_some_and(|waiting| !waiting.is_empty())
    }

    /// Flights now.
    pub fn len(&self) -> usize {
        self.flying.now()
    }

    /// Whether nothing is being fetched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waiters now, the first of each flight included.
    pub fn waiters(&self) -> usize {
        self.waiting.now()
    }

    fn shard(&self, key: &K) -> &Shard<K, W> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "any bits of the hash will do"
        )]
        let hash = self.hasher.hash_one(key) as usize;
        &self.shards[hash % SHARDS]
    }

    /// Ends the flight of `key`: whoever joins from now on starts a new one, or sees its recheck.
    fn complete(&self, key: &K, result: &R) {
        // The guard is gone at the end of this statement: nothing is delivered under it.
        let waiting = self.shard(key).lock().remove(key).unwrap_or_default();
        self.flying.give_back(1);
        self.waiting.give_back(waiting.len());
        let mut panicked = None;
        for waiter in waiting {
            // One delivery that panics must not cost the other waiters theirs.
            let delivery = AssertUnwindSafe(|| (self.deliver)(waiter, result.clone()));
            if let Err(payload) = catch_unwind(delivery) {
                panicked = Some(payload);
            }
        }
        if let Some(payload) = panicked
            && !std::thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}

impl<K: Hash + Eq + Clone, W, R: Clone> Lead<K, W, R> {
    /// Delivers `result` to every waiter. Insert into the cache before calling this.
    pub fn finish(mut self, result: R) {
        if let Some(key) = self.key.take() {
            self.table.complete(&key, &result);
        }
    }
}

impl<K: Hash + Eq + Clone, W, R: Clone> Drop for Lead<K, W, R> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.table.complete(&key, &self.table.abandoned);
        }
    }
}
