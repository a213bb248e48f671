//! The formulas of a shared cache against the simulated site, each within the error that it states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    dead_code,
    missing_docs
)]

mod des;

use des::{Plan, Row, World, allowed, hold};
use kms_loadgen::sim::{Model, Preset};
use kms_tune::model::lives::Lives;
use kms_tune::model::popularity::Popularity;
use kms_tune::model::shared::{self, shared};

fn usual() -> Plan {
    Plan {
        nodes: 3,
        shared: true,
        record_s: 40.0,
        warm_s: 100.0,
        run_s: 100.0,
        ..Plan::usual(Model {
            message_ms: 1.0,
            ..Preset::Null.model()
        })
    }
}

fn compare(rows: &mut Vec<Row>, name: &str, plan: Plan) {
    let lives = Lives {
        ttl_s: f64::from(plan.ttl_s),
        fetch_s: plan.model.message_ms / 1000.0,
        refused: 0.0,
        ahead: plan.ahead,
    };
    let keys = Popularity::zipf(plan.keys as f64, plan.zipf_s);
    let nodes = plan.nodes as f64;
    let predicted = shared(
        |rate| lives.of_key(rate),
        &keys,
        plan.rate,
        nodes,
        plan.record_s,
    );
    let seen = World::new(plan).run();
    let per_s = |count: f64| count / seen.seconds;
    for (what, formula, predicted, simulated) in [
        (
            "fetches/s",
            &shared::FETCHES,
            predicted.whole.fetches(),
            seen.fetches_per_s(),
        ),
        (
            "misses/s",
            &shared::MISSES,
            predicted.whole.misses,
            per_s(seen.misses),
        ),
        (
            "hit ratio",
            &shared::HIT_RATIO,
            predicted.whole.hit_ratio(),
            seen.hit_ratio(),
        ),
        (
            "copies/s",
            &shared::COPIES,
            predicted.copies,
            per_s(seen.copies),
        ),
    ] {
        let chance = if what.ends_with("/s") {
            3.0 * (simulated / seen.seconds).sqrt()
        } else {
            0.0
        };
        let off_max = allowed(formula, simulated) + chance;
        rows.push((format!("{name}: {what}"), predicted, simulated, off_max));
    }
}

/// A name, and what is unusual.
type Case = (&'static str, fn(&mut Plan));

const CASES: [Case; 6] = [
    ("usual", |_| {}),
    ("not fetched ahead", |plan| plan.ahead = false),
    ("records live as long as entries", |plan| {
        plan.record_s = 20.0;
    }),
    ("records live long", |plan| {
        plan.record_s = 100.0;
        plan.warm_s = 220.0;
    }),
    ("flat", |plan| {
        plan.zipf_s = 0.3;
        plan.keys = 20_000;
    }),
    ("five nodes, steep", |plan| {
        plan.nodes = 5;
        plan.zipf_s = 1.2;
    }),
];

#[test]
fn records_live_and_are_found() {
    let mut rows = Vec::new();
    for (seed, (name, change)) in (1..).zip(CASES) {
        let mut plan = Plan { seed, ..usual() };
        change(&mut plan);
        compare(&mut rows, name, plan);
    }
    hold(&rows);
}
