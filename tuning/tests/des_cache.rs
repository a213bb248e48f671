//! The formulas of caches against the simulated site, each within the error that its module states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    missing_docs
)]

mod des;

use des::{Plan, World, hold};
use kms_loadgen::sim::{Model, Preset};
use kms_tune::model::balance::Balance;
use kms_tune::model::bounded::{self, Policy};
use kms_tune::model::lives::{Flows, Lives};
use kms_tune::model::popularity::Popularity;
use kms_tune::model::shared::shared;
use kms_tune::model::stream::Stream;

/// A message of one item takes this and no more.
fn fixed(message_ms: f64) -> Model {
    Model {
        message_ms,
        ..Preset::Null.model()
    }
}

fn lives(plan: &Plan) -> Lives {
    Lives {
        ttl_s: f64::from(plan.ttl_s),
        fetch_s: plan.model.message_ms / 1000.0,
        refused: 0.0,
        ahead: plan.ahead,
    }
}

fn of_all_nodes(plan: &Plan) -> Flows {
    let keys = Popularity::zipf(plan.keys as f64, plan.zipf_s);
    let balance = if plan.by_hash {
        Balance::Hash
    } else {
        Balance::Spread
    };
    let nodes = plan.nodes as f64;
    let own = balance.keys_of_node(&keys, nodes);
    let warm = lives(plan).of(&own, plan.rate * (1.0 - plan.cold_share) / nodes);
    let cold = lives(plan).of_cold(
        plan.rate * plan.cold_share / nodes,
        plan.cold_reads.into(),
        plan.cold_gap_s,
    );
    let one = warm.plus(&cold);
    Flows::default().combine(&one, nodes)
}

/// Points of hit ratio, share of fetches, share of entries held.
const HIT: f64 = 0.003;
const FETCHES: f64 = 0.02;
const HELD: f64 = 0.01;

fn compare(rows: &mut Vec<(String, f64, f64, f64)>, name: &str, plan: Plan) {
    let flows = of_all_nodes(&plan);
    let nodes = plan.nodes as f64;
    let seen = World::new(plan).run();
    rows.push((
        format!("{name}: hit ratio"),
        flows.hit_ratio(),
        seen.hit_ratio(),
        HIT,
    ));
    rows.push((
        format!("{name}: fetches/s"),
        flows.fetches(),
        seen.fetches_per_s(),
        FETCHES * seen.fetches_per_s(),
    ));
    let held = flows.held / nodes;
    rows.push((
        format!("{name}: entries held"),
        held,
        seen.held,
        HELD * seen.held,
    ));
}

#[test]
fn lives_with_room() {
    let usual = Plan::usual(fixed(1.0));
    let mut rows = Vec::new();
    for (name, plan) in [
        ("usual", usual.clone()),
        (
            "not fetched ahead",
            Plan {
                ahead: false,
                ..usual.clone()
            },
        ),
        (
            "slow HSM",
            Plan {
                model: fixed(80.0),
                connections: 64,
                ..usual.clone()
            },
        ),
        (
            "flat",
            Plan {
                zipf_s: 0.0,
                keys: 20_000,
                ..usual.clone()
            },
        ),
        (
            "steep",
            Plan {
                zipf_s: 1.2,
                ..usual.clone()
            },
        ),
        (
            "two nodes, spread",
            Plan {
                nodes: 2,
                ..usual.clone()
            },
        ),
        (
            "three nodes, by hash",
            Plan {
                nodes: 3,
                by_hash: true,
                zipf_s: 0.6,
                ..usual.clone()
            },
        ),
        (
            "cold keys read twice",
            Plan {
                cold_share: 0.3,
                cold_reads: 2,
                ..usual.clone()
            },
        ),
    ] {
        compare(&mut rows, name, plan);
    }
    hold(&rows);
}

#[test]
#[ignore = "a minute"]
fn lives_with_room_grid() {
    let mut rows = Vec::new();
    for keys in [1000, 20_000] {
        for zipf_s in [0.6, 1.0] {
            for rate in [200.0, 3000.0] {
                for ttl_s in [10, 60] {
                    let plan = Plan {
                        keys,
                        zipf_s,
                        rate,
                        ttl_s,
                        warm_s: f64::from(ttl_s) * 2.0,
                        run_s: f64::from(ttl_s) * 5.0,
                        ..Plan::usual(fixed(2.0))
                    };
                    compare(
                        &mut rows,
                        &format!("{keys} keys, s {zipf_s}, {rate}/s, ttl {ttl_s}"),
                        plan,
                    );
                }
            }
        }
    }
    hold(&rows);
}

#[test]
fn a_shared_cache_asks_as_one() {
    let plan = Plan {
        nodes: 3,
        shared: true,
        ahead: false,
        ..Plan::usual(fixed(1.0))
    };
    let keys = Popularity::zipf(plan.keys as f64, plan.zipf_s);
    let predicted = shared(&lives(&plan), &keys, plan.rate, 3.0);
    let seen = World::new(plan).run();
    let copies = seen.copies / seen.seconds;
    hold(&[
        (
            "fetches/s".into(),
            predicted.whole.fetches(),
            seen.fetches_per_s(),
            0.03 * seen.fetches_per_s(),
        ),
        (
            "hit ratio".into(),
            predicted.whole.hit_ratio(),
            seen.hit_ratio(),
            0.005,
        ),
        ("copies/s".into(), predicted.copies, copies, 0.05 * copies),
    ]);
}

/// The server's cache in the simulated site, and at a smaller scale on a made-up stream.
#[test]
fn a_full_cache_at_a_smaller_scale() {
    let usual = Plan {
        keys: 20_000,
        rate: 2000.0,
        ttl_s: 60,
        warm_s: 30.0,
        run_s: 60.0,
        ..Plan::usual(fixed(1.0))
    };
    let mut rows = Vec::new();
    for (name, plan) in [
        (
            "a tenth fits",
            Plan {
                entries: 2000,
                ..usual.clone()
            },
        ),
        (
            "a quarter fits, flat",
            Plan {
                entries: 5000,
                zipf_s: 0.6,
                ..usual.clone()
            },
        ),
        (
            "a quarter fits, cold keys",
            Plan {
                entries: 5000,
                cold_share: 0.3,
                cold_reads: 2,
                ..usual.clone()
            },
        ),
    ] {
        let keys = Popularity::zipf(plan.keys as f64, plan.zipf_s);
        let stream = Stream {
            rate: plan.rate * (1.0 - plan.cold_share),
            cold_rate: plan.rate * plan.cold_share,
            cold_reads: plan.cold_reads,
            cold_gap_s: plan.cold_gap_s,
            entries: plan.entries as f64,
            ttl_s: plan.ttl_s.into(),
            fetch_s: 0.001,
            entries_run: 3000.0,
            requests_max: 250_000,
            seed: 9,
        };
        let run = stream.run(&keys).unwrap();
        let (rate, entries, ttl_s) = (plan.rate, plan.entries as f64, f64::from(plan.ttl_s));
        let lru = bounded::hit_ratio(Policy::Lru, &keys, rate, entries, ttl_s);
        let has_cold = plan.cold_share > 0.0;
        let seen = World::new(plan).run();
        rows.push((
            format!("{name}: hit ratio"),
            run.hit_ratio(),
            seen.hit_ratio(),
            0.01,
        ));
        rows.push((
            format!("{name}: fetches/s"),
            run.fetches(),
            seen.fetches_per_s(),
            0.03 * seen.fetches_per_s(),
        ));
        assert!(
            has_cold || lru < seen.hit_ratio() + 0.01,
            "{name}: LRU {lru}"
        );
        assert!(
            seen.hit_ratio() < bounded::best(&keys, entries) + 0.005,
            "{name}"
        );
    }
    hold(&rows);
}
