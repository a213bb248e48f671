//! Whole plans against the simulated site: what they expect at the peak, in a restore storm and with pauses of the
//! HSM lies within the bands that they state.
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

use std::collections::HashSet;
use std::path::Path;

use des::workers::{hits, later};
use des::{Row, Seen, Storm, World, hold};
use kms_loadgen::sim::preset::{Overload, Tail};
use kms_loadgen::sim::{Model, Preset};
use kms_tune::input::{Source, field};
use kms_tune::model::cpu::HitTime;
use kms_tune::plan::Plan;
use kms_tune::trace::{Formula, Held, Origin, Quantity, find};

/// Where the storm begins: a life for the fill, and another to come to rest.
const STORM_FROM_S: f64 = 40.0;
const TTL_S: f64 = 20.0;

fn plan_of(text: &str) -> Plan {
    let source = Source::parse(Path::new("site.toml"), text).unwrap();
    Plan::alone(&source).unwrap()
}

/// The same site for the simulation.
fn world_of(plan: &Plan, run_s: f64, seed: u64) -> des::Plan {
    let site = &plan.site;
    let value = |field: &'static field::Field| site.get(field).value();
    let tail = (value(&field::TAIL_SHARE) > 0.0).then(|| Tail {
        probability: value(&field::TAIL_SHARE),
        min_ms: value(&field::TAIL_MIN_MS),
        alpha: value(&field::TAIL_ALPHA),
    });
    let model = Model {
        message_ms: value(&field::MESSAGE_MS),
        sigma: value(&field::SIGMA),
        item_ms: value(&field::ITEM_MS),
        engines: value(&field::ENGINES) as u32,
        ceiling_ops_s: site.opt(&field::CEILING).map(|ceiling| ceiling.value()),
        overload: if value(&field::OVERLOAD) > 0.5 {
            Overload::Reject
        } else {
            Overload::Queue
        },
        reject_probability: value(&field::REJECT_SHARE),
        tail,
        ..Preset::Null.model()
    };
    let storm = site.opt(&field::STORM_DEVICES).map(|devices| Storm {
        from_s: STORM_FROM_S,
        window_s: value(&field::STORM_WINDOW_S),
        keys: (devices.value() * value(&field::STORM_KEYS_PER_DEVICE)) as usize,
        reads: value(&field::STORM_READS_PER_KEY) as u32,
        gap_s: value(&field::STORM_GAP_S),
    });
    let stall_s = value(&field::STALL_S);
    let pause_from_s = TTL_S * 2.0 + 0.4 * run_s;
    des::Plan {
        rate: value(&field::PEAK_RPS),
        keys: value(&field::KEYS_TOTAL) as usize,
        zipf_s: value(&field::ZIPF_S),
        cold_share: value(&field::COLD_SHARE),
        nodes: plan.design.nodes.value() as usize,
        by_hash: site.word(&field::BALANCE) == "hash",
        ttl_s: value(&field::TTL_S) as u32,
        entries: plan.design.entries.value() as usize,
        connections: plan.design.connections.value() as usize,
        batch_max: value(&field::HSM_BATCH_MAX) as usize,
        hsms: value(&field::HSMS) as usize,
        timeout_s: value(&field::TIMEOUT_MS) / 1000.0,
        pause_s: (stall_s > 0.0).then_some((pause_from_s, pause_from_s + stall_s)),
        storm,
        warm_s: TTL_S,
        run_s,
        seed,
        ..des::Plan::usual(model)
    }
}

struct Comparison {
    roots: Vec<Quantity>,
    rows: Vec<Row>,
    formulas: HashSet<*const Formula>,
}

impl Comparison {
    fn new() -> Self {
        Self {
            roots: Vec::new(),
            rows: Vec::new(),
            formulas: HashSet::new(),
        }
    }

    /// `chance` is what the simulation itself may be off by.
    fn row(&mut self, case: &str, name: &str, simulated: f64, chance: f64) {
        let quantity = find(&self.roots, name).unwrap_or_else(|| panic!("no {name}"));
        if let Origin::Derived(formula) = quantity.origin() {
            self.formulas.insert(*formula);
        }
        let off_max = quantity.error() + chance;
        let row = format!("{case}: {name}");
        self.rows.push((row, quantity.value(), simulated, off_max));
    }

    /// Three standard deviations of a share of `of`, which come in clusters.
    fn share(&mut self, case: &str, name: &str, count: f64, of: f64, cluster: f64) {
        let chance = 3.0 * ((count + 1.0) * cluster).sqrt() / of;
        self.row(case, name, count / of, chance);
    }

    /// Quantiles of sorted seconds, in ms; more than one in `rare` is not looked at.
    fn quantiles(&mut self, case: &str, kind: &str, sorted: &[f64]) {
        let count = sorted.len() as f64;
        let at = |share: f64| {
            let rank = (share * count).clamp(0.0, count - 1.0) as usize;
            sorted[rank] * 1000.0
        };
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            if (1.0 - share) * count < 40.0 {
                continue;
            }
            // Waits of one message belong together: twice the spread of independent ones.
            let spread = 6.0 * (share * (1.0 - share) / count).sqrt();
            let chance = (at(share + spread) - at(share - spread)) / 2.0;
            self.row(case, &format!("{kind}_{name}_ms"), at(share), chance);
        }
    }

    fn steady(&mut self, case: &str, plan: &Plan, seen: &Seen) {
        self.roots = plan.quantities();
        let (requests, waited) = (seen.requests(), seen.misses + seen.joins);
        let batch = seen.items / seen.messages;
        self.share(case, "peak.hit_ratio", seen.hits, requests, 1.0);
        self.share(case, "peak.miss_share", waited, requests, 1.0);
        let fetches = seen.misses + seen.ahead;
        self.share(case, "peak.hsm_ops_s", fetches, seen.seconds, 1.0);
        // What a pause makes wait is not in these.
        if plan.site.get(&field::STALL_S).value() <= 0.0 {
            self.share(case, "peak.join_share", seen.joins, requests, 1.0);
            // Fetches ahead leave a connection free.
            let chance = 0.05 + 6.0 * (seen.busy * batch).sqrt() / seen.jobs;
            self.row(case, "peak.all_busy_share", seen.busy / seen.jobs, chance);
        }
        self.row(case, "peak.batch_items", batch, 0.01 * batch);
        self.share(
            case,
            "peak.refused_share",
            seen.refused,
            requests,
            2.0 * batch,
        );
        self.share(case, "peak.late_share", seen.late, waited, 2.0 * batch);
        let value = |field: &'static field::Field| plan.site.get(field).value();
        let besides_us = value(&field::HIT_BASE_US) + value(&field::MISS_OVERHEAD_US);
        let sigma = value(&field::MISS_OVERHEAD_SIGMA);
        let misses = later(&seen.waited_s, besides_us / 1e6, sigma, 4);
        self.quantiles(case, "peak.miss", &misses);
        let load = find(&self.roots, "peak.cpu_load").unwrap().value();
        let alone = HitTime {
            base_s: value(&field::HIT_BASE_US) / 1e6,
            sigma: value(&field::HIT_SIGMA),
            served_s: value(&field::HIT_US) / 1e6,
            load,
        };
        let mut all = hits(&alone, seen.hits as usize, 3);
        all.extend(misses);
        all.sort_by(f64::total_cmp);
        self.quantiles(case, "peak.all", &all);
    }
}

const USUAL: &str = "[workload]\npeak_rps = 2000\nkeys_total = 5000\nclients = 100\n";

/// A name, what the workload has besides, the rest of the site, simulated seconds.
type Case = (&'static str, &'static str, &'static str, f64);

const STEADY: [Case; 6] = [
    (
        "a rack",
        "",
        "[hsm]\nmessage_ms = 1\nsigma = 0.35\nitem_ms = 0.06\nconnections = 2\n\
         [policy]\nttl_s = 20\nnodes = 2\n",
        120.0,
    ),
    (
        "a machine that wakes late now and then",
        "",
        "[hsm]\nmessage_ms = 1\nsigma = 0.35\nitem_ms = 0.06\nconnections = 2\n\
         [policy]\nttl_s = 20\nnodes = 2\n[machine]\nmiss_overhead_sigma = 0.9\n",
        120.0,
    ),
    (
        "slow and by hash",
        "zipf_s = 0.6\n",
        "[hsm]\nmessage_ms = 20\nsigma = 0.4\nitem_ms = 0.5\nconnections = 4\n\
         [policy]\nttl_s = 20\nnodes = 3\nlb = \"hash\"\n",
        120.0,
    ),
    (
        "refuses",
        "",
        "[hsm]\nmessage_ms = 8\nsigma = 1.26\nitem_ms = 0.5\nreject_share = 0.02\nconnections = 16\n\
         [policy]\nttl_s = 20\nnodes = 1\nnodes_lost = 0\n",
        120.0,
    ),
    (
        "a tail over the deadline",
        "cold_share = 0.1\n",
        "[hsm]\nmessage_ms = 40\nsigma = 0.35\nitem_ms = 0.1\ntail_share = 0.01\ntail_min_ms = 100\n\
         tail_alpha = 1.5\nconnections = 24\n[policy]\nttl_s = 20\nnodes = 1\nnodes_lost = 0\ntimeout_ms = 250\n",
        150.0,
    ),
    (
        "pauses of the HSM",
        "",
        "[hsm]\nmessage_ms = 5\nsigma = 0.4\nitem_ms = 0.2\nstall_s = 1.5\nstalls_per_day = 720\nconnections = 8\n\
         [policy]\nttl_s = 20\nnodes = 1\nnodes_lost = 0\n",
        120.0,
    ),
];

#[test]
fn what_is_expected_at_the_peak() {
    let mut all = Comparison::new();
    for (seed, (name, workload, rest, run_s)) in (1..).zip(STEADY) {
        let plan = plan_of(&format!("{USUAL}{workload}{rest}"));
        let seen = World::new(world_of(&plan, run_s, seed)).run();
        all.steady(name, &plan, &seen);
    }
    hold(&all.rows);
}

/// Storms within what the HSM can do, beyond it, read again while the first read's life lasts, and after it.
const STORMS: [Case; 4] = [
    (
        "within",
        "[workload.storm]\ndevices = 3000\nwindow_s = 20\nreads_per_key = 2\n",
        "[hsm]\nmessage_ms = 8\nsigma = 0.3\nitem_ms = 0.25\nconnections = 2\nbatch_max = 8\n\
         [policy]\nttl_s = 20\nnodes = 2\n",
        60.0,
    ),
    (
        "beyond",
        "[workload.storm]\ndevices = 30_000\nwindow_s = 10\n",
        "[hsm]\nmessage_ms = 8\nsigma = 0.3\nitem_ms = 0.25\nconnections = 2\nbatch_max = 8\n\
         [policy]\nttl_s = 20\nnodes = 1\nnodes_lost = 0\ntimeout_ms = 60_000\n",
        60.0,
    ),
    (
        "long, several keys each",
        "[workload.storm]\ndevices = 4000\nkeys_per_device = 4\nwindow_s = 60\n",
        "[hsm]\nmessage_ms = 2\nsigma = 0.3\nitem_ms = 0.1\nconnections = 4\n\
         [policy]\nttl_s = 20\nnodes = 1\nnodes_lost = 0\n",
        100.0,
    ),
    (
        "read again when its life is over",
        "[workload.storm]\ndevices = 4000\nwindow_s = 20\nreads_per_key = 3\ngap_s = 30\n",
        "[hsm]\nmessage_ms = 2\nsigma = 0.3\nitem_ms = 0.1\nconnections = 4\n\
         [policy]\nttl_s = 20\nnodes = 2\n",
        120.0,
    ),
];

#[test]
fn what_a_storm_does() {
    let mut all = Comparison::new();
    for (seed, (name, workload, rest, run_s)) in (11..).zip(STORMS) {
        let plan = plan_of(&format!("{USUAL}{workload}{rest}"));
        let world = world_of(&plan, run_s, seed);
        let (storm, nodes) = (world.storm.unwrap(), world.nodes as f64);
        let quiet = World::new(des::Plan {
            storm: None,
            ..world.clone()
        })
        .run();
        let seen = World::new(world).run();
        all.roots = plan.quantities();
        let in_all = |seen: &Seen| {
            seen.jobs_by_s
                .iter()
                .skip(STORM_FROM_S as usize)
                .sum::<f64>()
        };
        let fetches = in_all(&seen) - in_all(&quiet);
        // The difference of two simulations.
        all.row(name, "storm.fetches", fetches, 6.0 * in_all(&quiet).sqrt());
        if storm.gap_s < TTL_S {
            let held = seen.held_max - quiet.held;
            all.row(name, "storm.node_entries", held, 6.0 * quiet.held.sqrt());
        }
        // Waits are compared where the storm is what makes them.
        let longest = find(&all.roots, "storm.longest_wait_s").unwrap().value();
        if longest > 0.5 {
            all.row(name, "storm.longest_wait_s", seen.longest_s, 0.05);
            let over_s = seen.busy_until_s - STORM_FROM_S;
            all.row(name, "storm.over_s", over_s, 0.5);
        } else {
            assert!(seen.longest_s < 0.5, "{name}: {} s", seen.longest_s);
        }
        assert!(nodes > 0.0 && storm.keys > 0);
    }
    hold(&all.rows);
}

#[test]
fn what_pauses_beyond_the_deadline_cost() {
    let plan = plan_of(&format!(
        "{USUAL}cold_share = 0.2\n[hsm]\nmessage_ms = 5\nsigma = 0.3\nitem_ms = 0.2\nstall_s = 3\nstalls_per_day = 864\n\
         connections = 8\n[policy]\nttl_s = 20\nnodes = 1\nnodes_lost = 0\ntimeout_ms = 1000\n"
    ));
    let seen = World::new(world_of(&plan, 100.0, 5)).run();
    let mut all = Comparison::new();
    all.roots = plan.quantities();
    all.share(
        "a pause",
        "stalls.failed_share",
        seen.late,
        seen.requests(),
        40.0,
    );
    hold(&all.rows);
}

/// No formula says that this file holds it that is not compared here.
#[test]
fn every_formula_that_names_this_file_is_compared() {
    let compared = [
        "peak.all_p50_ms",
        "peak.all_p999_ms",
        "peak.late_share",
        "peak.refused_share",
        "stalls.failed_share",
        "storm.fetches",
        "storm.node_entries",
        "storm.longest_wait_s",
    ];
    let plan = plan_of(&format!("{USUAL}{}{}", STORMS[0].1, STORMS[0].2));
    let roots = plan.quantities();
    let formula = |quantity: &Quantity| match quantity.origin() {
        Origin::Derived(formula) => Some(*formula),
        _ => None,
    };
    let known: Vec<&Formula> = compared
        .iter()
        .filter_map(|name| formula(&find(&roots, name).unwrap()))
        .collect();
    for quantity in &roots {
        if let Some(formula) = formula(quantity).filter(|one| one.held == Held::Test("des_plan")) {
            let name = quantity.name();
            assert!(known.contains(&formula), "{name} is compared nowhere here");
        }
    }
}
