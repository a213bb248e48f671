//! A second-level cache that the nodes share, asked on a miss, before the HSM.
//!
//! As the server has it (docs/cluster.md): what the HSM unwrapped is put there for S, whoever asked; a copy begins a
//! whole life of its own at the node that takes it; and entries in use are fetched ahead from the HSM, by each node
//! for itself, which puts the record anew. So for a key of which each of N nodes has its cycles, c a second (a miss or
//! a fetch ahead, then K during which there is neither, then 1/l until the next), m of them misses at all nodes and r
//! fetches ahead:
//!
//! - a record that is born lasts until S pass without a fetch ahead: (e^(r S) - 1) / r on average, S without any
//! - then the next miss or fetch ahead of any node makes it anew. Until one node's next t pass with the chance
//!   1 - c t up to K, e^(-l (t - K)) / (1 + l K) beyond, and those of N nodes are independent
//! - of the misses one such round asks the HSM, all others find the record
//!
//! Hot keys are so asked for once a life by each node, and no shared cache changes that; what it saves are the misses
//! of keys that are asked for a few times within S by all nodes together. Source: alternating renewal. Error: held by
//! `tests/des_shared.rs`. Domain: as [`super::lives`]; the shared cache up, and large enough for all records.

use crate::trace::{Error, Formula, Held};

use super::lives::Flows;
use super::popularity::Popularity;

/// [`Shared::copies`], of the hits.
pub static COPIES: Formula = Formula {
    text: "sum over the keys of misses of all nodes less those that ask the HSM / hits/s; none without a shared cache",
    source: "alternating renewal of the record (tuning/src/model/shared.rs)",
    error: Error::Relative(0.04),
    domain: "the shared cache up and large enough for all records",
    held: Held::Test("des_shared"),
};
/// [`Flows::hit_ratio`] of [`Shared::whole`].
pub static HIT_RATIO: Formula = Formula {
    text: "1 - (misses that the shared cache does not have, and who joins them) / requests",
    source: "alternating renewal of the record (tuning/src/model/shared.rs)",
    error: Error::Absolute(0.007),
    domain: "the shared cache up and large enough for all records",
    held: Held::Test("des_shared"),
};
/// [`Flows::fetches`] of [`Shared::whole`].
pub static FETCHES: Formula = Formula {
    text: "sum over the keys of m / (m + r) / (alive + gone) + r: once a record's round, and all fetches ahead",
    source: "alternating renewal of the record (tuning/src/model/shared.rs)",
    error: Error::Relative(0.03),
    domain: "the shared cache up and large enough for all records",
    held: Held::Test("des_shared"),
};
/// [`Flows::misses`] of [`Shared::whole`].
pub static MISSES: Formula = Formula {
    text: "sum over the keys of m / (m + r) / (alive + gone): alive = (e^(r S) - 1) / r, gone until any node's next miss or fetch ahead",
    source: "alternating renewal of the record (tuning/src/model/shared.rs)",
    error: Error::Relative(0.04),
    domain: "the shared cache up and large enough for all records",
    held: Held::Test("des_shared"),
};

/// What becomes of requests of all nodes together, a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    /// Hits are those of the nodes and of the shared cache; held is what one node holds.
    pub whole: Flows,
    /// Of the hits, those that a node had to fetch from the shared cache.
    pub copies: f64,
}

/// `nodes` nodes that are asked for `rate` in all, each doing for a key what `local` says of its rate there;
/// records live `record_s`.
pub fn shared(
    local: impl Fn(f64) -> Flows,
    popularity: &Popularity,
    rate: f64,
    nodes: f64,
    record_s: f64,
) -> Shared {
    let mut all = Shared::default();
    for group in popularity.groups() {
        let of_key = of_key(rate * group.share / nodes, &local, nodes, record_s);
        all.whole = all.whole.combine(&of_key.whole, group.keys);
        all.copies += group.keys * of_key.copies;
    }
    all
}

/// One key that each node is asked for `rate` times a second.
fn of_key(rate: f64, local: &impl Fn(f64) -> Flows, nodes: f64, record_s: f64) -> Shared {
    let one = local(rate);
    let (misses, ahead) = (one.misses * nodes, one.ahead * nodes);
    if rate <= 0.0 || one.fetches() <= 0.0 {
        return Shared::default();
    }
    let alive_s = if ahead * record_s < 1e-6 {
        record_s
    } else {
        (ahead * record_s).exp_m1() / ahead
    };
    let rounds = 1.0 / (alive_s + gone_s(rate, one.fetches(), nodes));
    let asks = (misses / (misses + ahead) * rounds).min(misses);
    let copies = misses - asks;
    let joins = one.joins * nodes * asks / misses.max(f64::MIN_POSITIVE);
    Shared {
        whole: Flows {
            // Who joins a lookup of the shared cache waits for no HSM either.
            hits: one.requests() * nodes - asks - joins,
            joins,
            misses: asks,
            ahead,
            held: one.held,
        },
        copies,
    }
}

/// How long no node of `nodes` misses or fetches ahead, from a random moment on; each does `cycles` times a second.
fn gone_s(rate: f64, cycles: f64, nodes: f64) -> f64 {
    // Between two there are K during which there is none, and 1 / rate on average.
    let quiet_s = (1.0 / cycles - 1.0 / rate).max(0.0);
    let beyond = 1.0 / (1.0 + rate * quiet_s);
    let within_s = (1.0 - beyond.powf(nodes + 1.0)) / (cycles * (nodes + 1.0));
    within_s + beyond.powf(nodes) / (nodes * rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache without fetches ahead, lives of 10 s.
    fn local(rate: f64) -> Flows {
        let misses = rate / (1.0 + 10.0 * rate);
        Flows {
            hits: rate - misses,
            misses,
            held: 10.0 * misses,
            ..Flows::default()
        }
    }

    #[test]
    fn one_node_asks_once_a_round_of_both_lives() {
        // Rarely asked for: no second request within a life, so a record's round is S and the time to the next.
        let rare = of_key(1e-4, &local, 1.0, 600.0);
        let want = 1.0 / (600.0 + 1e4);
        assert!((rare.whole.misses / want - 1.0).abs() < 0.01, "{rare:?}");
        let mut before = f64::INFINITY;
        for record_s in [1.0, 10.0, 100.0, 1000.0] {
            let asks = of_key(0.2, &local, 3.0, record_s).whole.misses;
            assert!(asks < before && asks > 0.0, "{record_s}: {asks}");
            before = asks;
        }
    }

    #[test]
    fn nothing_is_lost_between_the_node_and_the_hsm() {
        for rate in [1e-3, 0.1, 10.0] {
            let all = of_key(rate, &local, 3.0, 60.0);
            let asked = all.whole.requests();
            assert!((asked / (3.0 * rate) - 1.0).abs() < 1e-9, "{all:?}");
            let misses = 3.0 * local(rate).misses;
            assert!(
                (all.copies + all.whole.misses - misses).abs() < 1e-9,
                "{all:?}"
            );
            assert!(all.copies >= 0.0 && all.whole.misses > 0.0, "{all:?}");
        }
    }
}
