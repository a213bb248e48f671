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

use des::{Plan, Row, World, allowed, hold};
use kms_loadgen::sim::{Model, Preset};
use kms_tune::model::balance::Balance;
use kms_tune::model::bounded::{self, Cold, Policy};
use kms_tune::model::lives::{self, Flows, Lives};
use kms_tune::model::popularity::Popularity;
use kms_tune::model::stream::{self, Stream};

/// A message of one item takes this and no more.
fn fixed(message_ms: f64) -> Model {
    Model {
        message_ms,
        ..Preset::Null.model()
    }
}

fn lives_of(plan: &Plan) -> Lives {
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
    let warm = lives_of(plan).of(&own, plan.rate * (1.0 - plan.cold_share) / nodes);
    let cold = lives_of(plan).of_cold(
        plan.rate * plan.cold_share / nodes,
        plan.cold_reads.into(),
        plan.cold_gap_s,
    );
    let one = warm.plus(&cold);
    Flows::default().combine(&one, nodes)
}

/// Three standard deviations of a count a second that should be `per_s`.
fn chance(what: &str, per_s: f64, seconds: f64) -> f64 {
    if what.ends_with("/s") {
        // What should hardly ever happen may do so a few times.
        3.0 * ((per_s + 1.0 / seconds) / seconds).sqrt()
    } else {
        0.0
    }
}

fn compare(rows: &mut Vec<Row>, name: &str, plan: Plan) {
    let flows = of_all_nodes(&plan);
    let nodes = plan.nodes as f64;
    let seen = World::new(plan).run();
    for (what, formula, predicted, simulated) in [
        (
            "hit ratio",
            &lives::HIT_RATIO,
            flows.hit_ratio(),
            seen.hit_ratio(),
        ),
        (
            "fetches/s",
            &lives::FETCHES,
            flows.fetches(),
            seen.fetches_per_s(),
        ),
        (
            "misses/s",
            &lives::MISSES,
            flows.misses,
            seen.misses / seen.seconds,
        ),
        (
            "joins/s",
            &lives::JOINS,
            flows.joins,
            seen.joins / seen.seconds,
        ),
        ("entries held", &lives::HELD, flows.held / nodes, seen.held),
    ] {
        rows.push((
            format!("{name}: {what}"),
            predicted,
            simulated,
            allowed(formula, simulated) + chance(what, predicted, seen.seconds),
        ));
    }
}

/// A name, and what is unusual.
type Case = (&'static str, fn(&mut Plan));

/// Caches in which lives end by their time alone.
const ROOMY: [Case; 8] = [
    ("usual", |_| {}),
    ("not fetched ahead", |plan| plan.ahead = false),
    ("slow HSM", |plan| {
        plan.model = fixed(80.0);
        plan.connections = 64;
    }),
    ("flat", |plan| {
        plan.zipf_s = 0.0;
        plan.keys = 20_000;
    }),
    ("steep", |plan| plan.zipf_s = 1.2),
    ("two nodes, spread", |plan| plan.nodes = 2),
    ("three nodes, by hash", |plan| {
        plan.nodes = 3;
        plan.by_hash = true;
        plan.zipf_s = 0.6;
    }),
    ("cold keys read twice", |plan| {
        plan.cold_share = 0.3;
        plan.cold_reads = 2;
    }),
];

#[test]
fn lives_with_room() {
    let mut rows = Vec::new();
    for (seed, (name, change)) in (1..).zip(ROOMY) {
        let mut plan = Plan {
            seed,
            run_s: 100.0,
            ..Plan::usual(fixed(1.0))
        };
        change(&mut plan);
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
                        run_s: (f64::from(ttl_s) * 5.0).max(120_000.0 / rate),
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

/// Caches that are full.
fn full() -> [(&'static str, Plan); 3] {
    let usual = Plan {
        keys: 20_000,
        rate: 2000.0,
        ttl_s: 60,
        warm_s: 30.0,
        run_s: 60.0,
        ..Plan::usual(fixed(1.0))
    };
    [
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
                ..usual
            },
        ),
    ]
}

/// The server's cache in the simulated site, and at a smaller scale on a made-up stream.
#[test]
fn a_full_cache_at_a_smaller_scale() {
    let mut rows = Vec::new();
    for (name, plan) in full() {
        let keys = Popularity::zipf(plan.keys as f64, plan.zipf_s);
        let (rate, entries, ttl_s) = (plan.rate, plan.entries as f64, f64::from(plan.ttl_s));
        let stream = Stream {
            rate: rate * (1.0 - plan.cold_share),
            cold_rate: rate * plan.cold_share,
            cold_reads: plan.cold_reads,
            cold_gap_s: plan.cold_gap_s,
            entries,
            ttl_s,
            fetch_s: 0.001,
            entries_run: 3000.0,
            requests_max: 250_000,
            seed: 9,
        };
        let run = stream.run(&keys).unwrap();
        let cold = Cold {
            rate: stream.cold_rate,
            reads: plan.cold_reads.into(),
            gap_s: plan.cold_gap_s,
        };
        let clock = bounded::clock_flows(&keys, stream.rate, &cold, entries, ttl_s);
        let lru = bounded::hit_ratio(Policy::Lru, &keys, rate, entries, ttl_s);
        let has_cold = plan.cold_share > 0.0;
        let seen = World::new(plan).run();
        let (hits, fetches) = (seen.hit_ratio(), seen.fetches_per_s());
        for (what, flows, formulas) in [
            ("run", run, [&stream::HIT_RATIO, &stream::FETCHES]),
            ("CLOCK", clock, [&bounded::HIT_RATIO, &bounded::FETCHES]),
        ] {
            rows.push((
                format!("{name}, {what}: hit ratio"),
                flows.hit_ratio(),
                hits,
                allowed(formulas[0], hits),
            ));
            rows.push((
                format!("{name}, {what}: fetches/s"),
                flows.fetches(),
                fetches,
                allowed(formulas[1], fetches),
            ));
        }
        assert!(has_cold || lru < hits + 0.01, "{name}: LRU {lru}");
        assert!(hits < bounded::best(&keys, entries) + 0.005, "{name}");
    }
    hold(&rows);
}
