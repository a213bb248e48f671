//! What is being fetched now: a bounded table of waiters, generic over the key, the waiter and the result.
//!
//! Must never be true: a waiter that nobody completes. Every exit of a lead delivers, the drop included.

use std::hash::Hash;
use std::sync::Arc;

/// The table. `R` is what a waiter gets; `abandoned` is what it gets when a lead is dropped.
pub struct Flights<K, W, R> {
    _p: std::marker::PhantomData<(K, W, R)>,
}

/// What joining meant.
pub enum Joined<K: Hash + Eq + Clone, W, R: Clone> {
    /// The first: fetch, then [`Lead::finish`].
    Lead(Lead<K, W, R>),
    /// Somebody fetches already; the waiter will be told.
    Waiting,
    /// A bound is reached (flights, or waiters in all); the waiter comes back.
    Full(W),
}

/// The duty to finish one flight.
pub struct Lead<K: Hash + Eq + Clone, W, R: Clone> {
    _p: std::marker::PhantomData<(K, W, R)>,
}

impl<K: Hash + Eq + Clone, W, R: Clone> Flights<K, W, R> {
    /// `deliver` is called outside all locks, once for each waiter.
    pub fn new(
        _flights_max: usize,
        _waiters_max: usize,
        _abandoned: R,
        _deliver: impl Fn(W, R) + Send + Sync + 'static,
    ) -> Arc<Self> {
        todo!()
    }
    /// Joins or starts the flight of `key`.
    /// `recheck` runs under the flight's lock before a new flight is made ("lock flight, look into
    /// the cache again"): `Some` is returned as `Err` and nothing is joined.
    pub fn join<H>(
        self: &Arc<Self>,
        _key: K,
        _waiter: W,
        _recheck: impl FnOnce() -> Option<H>,
    ) -> Result<Joined<K, W, R>, H> {
        todo!()
    }
    /// Flights now.
    pub fn len(&self) -> usize {
        todo!()
    }
}

impl<K: Hash + Eq + Clone, W, R: Clone> Lead<K, W, R> {
    /// Delivers `result` to every waiter. Insert into the cache before calling this.
    pub fn finish(self, _result: R) {
        todo!()
    }
}
