//! What passes, against the simulated site, within the errors that the formulas state.
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

use des::{Plan, World, allowed, hold};
use kms_loadgen::sim::{Model, Preset};
use kms_tune::model::lives::Lives;
use kms_tune::model::popularity::Popularity;
use kms_tune::model::transient;

/// Two connections, messages of 8: 1600 jobs a second.
fn model() -> Model {
    Model {
        message_ms: 8.0,
        item_ms: 0.25,
        ..Preset::Null.model()
    }
}

const CAPACITY: f64 = 1600.0;

fn slow() -> Plan {
    Plan {
        connections: 2,
        batch_max: 8,
        ttl_s: 60,
        warm_s: 0.0,
        ..Plan::usual(model())
    }
}

fn usual_fetches(plan: &Plan) -> f64 {
    let lives = Lives {
        ttl_s: f64::from(plan.ttl_s),
        fetch_s: 0.01,
        refused: 0.0,
        ahead: true,
    };
    lives
        .of(&Popularity::zipf(plan.keys as f64, plan.zipf_s), plan.rate)
        .fetches()
}

#[test]
fn an_empty_cache_fills() {
    let mut rows = Vec::new();
    for (name, keys, rate) in [
        ("twice too much", 20_000, 4000.0),
        ("thrice too much", 40_000, 6000.0),
    ] {
        let plan = Plan {
            keys,
            rate,
            cold_start: true,
            run_s: 30.0,
            ..slow()
        };
        let popularity = Popularity::zipf(keys as f64, plan.zipf_s);
        let backlog =
            transient::cold_start(&popularity, rate, 0.0, CAPACITY, usual_fetches(&plan), 60.0);
        let seen = World::new(plan).run();
        let jobs = seen.queue_max as f64;
        let formula = &transient::COLD_START;
        rows.push((
            format!("{name}: jobs"),
            backlog.jobs,
            jobs,
            allowed(formula, jobs),
        ));
        let wait_s = seen.longest_s;
        rows.push((
            format!("{name}: wait"),
            backlog.wait_s,
            wait_s,
            allowed(formula, wait_s),
        ));
        let over_s = seen.busy_until_s;
        rows.push((
            format!("{name}: over"),
            backlog.over_s,
            over_s,
            allowed(formula, over_s),
        ));
    }
    hold(&rows);
}

#[test]
fn the_hsm_pauses() {
    // All keys are new: the demand is the rate.
    let plan = Plan {
        rate: 1000.0,
        cold_share: 1.0,
        ahead: false,
        run_s: 14.0,
        pause_s: Some((64.0, 66.0)),
        ..slow()
    };
    let backlog = transient::pause(2.0, 1000.0, CAPACITY);
    let seen = World::new(plan).run();
    let (jobs, over_s) = (seen.queue_max as f64, seen.busy_until_s - 64.0);
    hold(&[
        (
            "jobs".into(),
            backlog.jobs,
            jobs,
            allowed(&transient::PAUSE, jobs),
        ),
        (
            "wait".into(),
            backlog.wait_s,
            seen.longest_s,
            allowed(&transient::PAUSE, seen.longest_s),
        ),
        (
            "over".into(),
            backlog.over_s,
            over_s,
            allowed(&transient::PAUSE, over_s),
        ),
    ]);
}

#[test]
fn a_node_is_gone() {
    let plan = Plan {
        nodes: 4,
        by_hash: true,
        keys: 20_000,
        zipf_s: 0.8,
        rate: 6000.0,
        connections: 16,
        batch_max: 32,
        gone_s: Some(70.0),
        run_s: 22.0,
        ..slow()
    };
    let keys = Popularity::zipf(plan.keys as f64, plan.zipf_s);
    let usual = {
        let lives = Lives {
            ttl_s: 60.0,
            fetch_s: 0.01,
            refused: 0.0,
            ahead: true,
        };
        lives.of(&keys.split(4.0), plan.rate / 4.0).fetches()
    };
    let seen = World::new(plan).run();
    // All survivors together, in the first two seconds without it.
    let asked: f64 = seen.jobs_by_s[70..72].iter().sum();
    let usual_of_three = 2.0 * usual * 3.0;
    let new = keys.sum(6000.0, |key| 1.0 - (-key * 2.0).exp()) / 4.0;
    let predicted = usual_of_three + new;
    hold(&[(
        "jobs of two seconds".into(),
        predicted,
        asked,
        allowed(&transient::NODE_GONE, asked),
    )]);
    let backlog = transient::node_gone(&keys, 6000.0, 4.0, usual, 1e9, 60.0);
    assert!(
        backlog.jobs < 1.0 && backlog.warm_s > 1.0 && backlog.warm_s < 60.0,
        "{backlog:?}"
    );
}

#[test]
fn a_storm_beyond_the_capacity() {
    // 3000 new keys a second for 4 s on 1600 a second.
    let plan = Plan {
        rate: 3000.0,
        cold_share: 1.0,
        ahead: false,
        run_s: 4.0,
        ..slow()
    };
    let backlog = transient::storm(12_000.0, 4.0, 0.0, CAPACITY);
    let seen = World::new(plan).run();
    let jobs = seen.queue_max as f64;
    hold(&[(
        "jobs".into(),
        backlog.jobs,
        jobs,
        allowed(&transient::STORM, jobs),
    )]);
}
