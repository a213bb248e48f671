//! The short form of `kms-tune validate`: the same sites, stages, predictions and bands, in simulated time.
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

use std::path::Path;

use des::workers::{hits, later};
use des::{Storm, World};
use kms_tune::input::{Field, Source, field};
use kms_tune::model::cpu::HitTime;
use kms_tune::plan::{Plan, Scenario};
use kms_tune::validate::{Expected, Row, STALL_WINDOW_S, Seen, model_of, restart_window_s};

/// Lives until the caches are at rest.
const REST_LIVES: f64 = 3.0;
/// Longer than with real time, so that chance is no part of the comparison.
const STAGE_S: f64 = 120.0;

struct Site {
    plan: Plan,
    world: des::Plan,
}

impl Site {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("sites")
            .join(name);
        let source = Source::read(&path)
            .unwrap()
            .with(&field::STALLS_PER_DAY, 0.0);
        let plan = Plan::alone(&source).unwrap();
        let value = |field: &'static Field| plan.site.get(field).value();
        let ttl_s = value(&field::TTL_S);
        let world = des::Plan {
            rate: value(&field::PEAK_RPS),
            keys: value(&field::KEYS_TOTAL) as usize,
            zipf_s: value(&field::ZIPF_S),
            nodes: plan.design.nodes.value() as usize,
            ttl_s: ttl_s as u32,
            entries: plan.design.entries.value() as usize,
            connections: plan.design.connections.value() as usize,
            batch_max: value(&field::HSM_BATCH_MAX) as usize,
            timeout_s: value(&field::TIMEOUT_MS) / 1000.0,
            warm_s: REST_LIVES * ttl_s,
            run_s: STAGE_S,
            ..des::Plan::usual(model_of(&plan.site))
        };
        Self { plan, world }
    }

    fn value(&self, field: &'static Field) -> f64 {
        self.plan.site.get(field).value()
    }

    /// What clients would see: hits are served by a worker, misses take what they take besides.
    fn seen(&self, scenario: &Scenario, seen: &des::Seen) -> Seen {
        let base_s = self.value(&field::HIT_BASE_US) / 1e6;
        let alone = HitTime {
            base_s,
            sigma: self.value(&field::HIT_SIGMA),
            served_s: self.value(&field::HIT_US) / 1e6,
            load: scenario.cpu_load.value(),
        };
        let besides_s = base_s + self.value(&field::MISS_OVERHEAD_US) / 1e6;
        let mut all = hits(&alone, seen.hits as usize, 3);
        let sigma = self.value(&field::MISS_OVERHEAD_SIGMA);
        all.extend(later(&seen.waited_s, besides_s, sigma, 5));
        all.sort_by(f64::total_cmp);
        let at_ms = |share: f64| 1000.0 * all[(share * (all.len() - 1) as f64) as usize];
        Seen {
            hit_ratio: seen.hits / seen.requests(),
            hsm_ops_s: (seen.misses + seen.ahead) / seen.seconds,
            p50_ms: at_ms(0.5),
            p99_ms: at_ms(0.99),
            failed: (seen.refused + seen.late) / seen.requests(),
            longest_s: seen.longest_s,
            waiting: 0.0,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let expected = Expected::of(&self.plan).unwrap();
        let peak = self.plan.scenario("peak").unwrap();
        let mut rows = expected.rows(
            "steady",
            &self.seen(peak, &World::new(self.world.clone()).run()),
        );
        let lost = self.plan.scenario("node_lost").unwrap();
        let fewer = des::Plan {
            nodes: lost.load.nodes.value() as usize,
            seed: 2,
            ..self.world.clone()
        };
        rows.extend(expected.rows("node loss", &self.seen(lost, &World::new(fewer).run())));
        rows.extend(expected.rows("storm", &self.storm()));
        rows.extend(expected.rows("restart", &self.restart()));
        rows.extend(expected.rows("stall", &self.stall()));
        rows
    }

    /// Only what is counted: the storm's own unwraps are among the answer times here.
    fn storm(&self) -> Seen {
        let ttl_s = self.value(&field::TTL_S);
        let window_s = self.value(&field::STORM_WINDOW_S);
        let keys = self.value(&field::STORM_DEVICES) * self.value(&field::STORM_KEYS_PER_DEVICE);
        let storm = Storm {
            from_s: (1.0 + REST_LIVES) * ttl_s,
            window_s,
            keys: keys as usize,
            reads: 1,
            gap_s: 1.0,
        };
        let seen = World::new(des::Plan {
            storm: Some(storm),
            run_s: window_s,
            seed: 3,
            ..self.world.clone()
        })
        .run();
        let scenario = &self.plan.passing.storm.as_ref().unwrap().scenario;
        let mut all = self.seen(scenario, &seen);
        all.hit_ratio = seen.hits / (seen.requests() - keys);
        // Not what the usual clients see.
        (all.p50_ms, all.p99_ms) = (f64::NAN, f64::NAN);
        all
    }

    fn restart(&self) -> Seen {
        let window_s = restart_window_s(self.value(&field::TTL_S));
        let nodes = self.world.nodes as f64;
        let (mut hits, mut requests, mut fetches) = (0.0, 0.0, 0.0);
        let rounds = 4;
        for seed in 0..rounds {
            let seen = World::new(des::Plan {
                cold_start: true,
                warm_s: 0.0,
                run_s: window_s,
                seed: 10 + seed,
                ..self.world.clone()
            })
            .run();
            hits += seen.hits;
            requests += seen.requests();
            fetches += seen.misses + seen.ahead;
        }
        Seen {
            hit_ratio: hits / requests,
            hsm_ops_s: fetches / f64::from(rounds as u32) / nodes / window_s,
            ..Seen::default()
        }
    }

    fn stall(&self) -> Seen {
        let ttl_s = self.value(&field::TTL_S);
        let stall_s = self.value(&field::STALL_S);
        let from_s = (1.0 + REST_LIVES) * ttl_s + 3.0;
        let seen = World::new(des::Plan {
            pause_s: Some((from_s, from_s + stall_s)),
            run_s: STALL_WINDOW_S,
            seed: 4,
            ..self.world.clone()
        })
        .run();
        let waiting = seen
            .waited_s
            .iter()
            .filter(|waited_s| **waited_s > stall_s / 2.0)
            .count() as f64;
        Seen {
            longest_s: seen.longest_s,
            waiting: waiting / seen.requests(),
            ..Seen::default()
        }
    }
}

fn hold(name: &str) {
    let mut missed = Vec::new();
    for row in Site::read(name).rows() {
        if row.measured.is_nan() {
            continue;
        }
        let (stage, what, predicted) = (row.stage, row.what, row.predicted.value());
        println!(
            "{stage}: {what}: predicted {predicted:.5}, simulated {:.5}, off {:.4}",
            row.measured,
            row.off()
        );
        if !row.holds() {
            missed.push(format!(
                "{stage}: {what}: predicted {predicted}, simulated {}",
                row.measured
            ));
        }
    }
    assert!(
        missed.is_empty(),
        "{name}, beyond the bands:\n{}",
        missed.join("\n")
    );
}

#[test]
fn an_hsm_in_the_same_building() {
    hold("lan-hsm.toml");
}

#[test]
fn an_hsm_a_continent_away() {
    hold("wan-hsm.toml");
}

#[test]
fn an_hsm_that_others_keep_busy() {
    hold("busy-hsm.toml");
}

/// Rows that are compared are all that `validate` compares.
#[test]
fn every_stage_has_rows() {
    let site = Site::read("lan-hsm.toml");
    let expected = Expected::of(&site.plan).unwrap();
    for (stage, rows) in [
        ("steady", 5),
        ("storm", 5),
        ("node loss", 5),
        ("restart", 2),
        ("stall", 2),
        ("other", 0),
    ] {
        assert_eq!(
            expected.rows(stage, &Seen::default()).len(),
            rows,
            "{stage}"
        );
    }
}
