//! A second-level cache that the nodes share: the HSM is asked as if there were one node.
//!
//! A key's life begins with its fetch and ends everywhere at once, for a copy keeps the end of the
//! original. In a life of length L, with N nodes that each are asked for it at rate l/N, the node that fetched has it,
//! and each other takes a copy at its first request, if there is one: (N - 1)(1 - e^(-l L / N)) copies a life.
//! Source: renewal argument. Error: held by `tests/des_cache.rs`. Domain: as [`super::lives`]; the shared cache
//! up, and large enough for all that lives.

use crate::trace::{Error, Formula};

use super::lives::{Flows, Lives};
use super::popularity::Popularity;

/// [`Shared::copies`], of the hits.
pub static COPIES: Formula = Formula {
    text: "begun lives/s x (nodes - 1) (1 - e^(-l L / nodes)) / hits/s; none without a shared cache",
    source: "renewal argument (tuning/src/model/shared.rs)",
    error: Error::Relative(0.1),
    domain: "a copy keeps the end of its original's life",
};

/// What becomes of requests of all nodes together, a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    /// As one node with all requests; its hits are those of the nodes and of the shared cache.
    pub whole: Flows,
    /// Of its hits, those that a node had to fetch from the shared cache.
    pub copies: f64,
}

/// `nodes` nodes that are asked for `rate` in all.
pub fn shared(lives: &Lives, popularity: &Popularity, rate: f64, nodes: f64) -> Shared {
    let whole = lives.of(popularity, rate);
    let copies = popularity.sum(rate, |key| {
        let of_key = lives.of_key(key);
        let begun = of_key.fetches();
        if begun <= 0.0 {
            return 0.0;
        }
        // A life and the wait behind it are a cycle; the share of it that the key is held is its length.
        let life_s = of_key.held / begun;
        begun * (nodes - 1.0) * (1.0 - (-key * life_s / nodes).exp())
    });
    Shared { whole, copies }
}
