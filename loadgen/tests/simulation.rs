//! Deterministic simulation: clients, server, pool and HSMs in one thread, by seed.
//!
//! Everything but sockets, TLS and threads is the product's own: HTTP, engine, cache, flights, quotas,
//! the pool's steps, the KMIP codec. A seed decides the rest: sizes, latencies, who asks what in which
//! pieces, and what fails when. Each event is checked: no wrong plaintext, every request answered once,
//! in order and in time, no bound exceeded; and in the end nothing is held for anybody.
//!
//! `SEED=n` runs one seed, with `SEEDS=m` so many from there on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs
)]

#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/desk.rs"]
mod desk;
#[path = "simulation/hsm.rs"]
mod hsm;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/trace.rs"]
mod trace;
#[path = "simulation/truth.rs"]
mod truth;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What happens in some seed or other, besides faults of answers.
const EVENTS: [&str; 21] = [
    "answered 200",
    "answered 400",
    "answered 429",
    "answered 502",
    "answered 503",
    "answered 504",
    "down",
    "freeze",
    "gives up",
    "hangup",
    "hit while the HSM is away",
    "join",
    "late ticket",
    "pipelined",
    "purge",
    "recovered",
    "refresh",
    "refresh given up",
    "silent",
    "stale",
    "stall",
];
/// Events shown of a seed that failed.
const EVENTS_SHOWN: usize = 60;

fn run(seed: u64) -> u64 {
    let run = catch_unwind(AssertUnwindSafe(|| node::run(seed)));
    run.unwrap_or_else(|payload| {
        let faults = plan::Plan::of(seed).0.faults;
        eprintln!("{}faults: {faults:#?}", trace::tail(EVENTS_SHOWN));
        eprintln!("SEED={seed} cargo nextest run -p kms-loadgen --test simulation");
        resume_unwind(payload)
    })
}

/// Runs the seed of `SEED`, from `SEED` on as many as `SEEDS` says, or else `seeds`.
fn run_all(seeds: std::ops::Range<u64>) {
    let number = |name| Some(std::env::var(name).ok()?.parse::<u64>().expect("a number"));
    let seeds = match (number("SEED"), number("SEEDS")) {
        (None, _) => seeds,
        (Some(seed), count) => seed..seed + count.unwrap_or(1),
    };
    seeds.for_each(|seed| {
        run(seed);
    });
}

#[test]
fn seeds_0_to_499() {
    run_all(0..500);
}

#[test]
fn seeds_500_to_999() {
    run_all(500..1000);
}

/// What the seeds are there to bring about does come about.
#[test]
fn seeds_reach_everything() {
    let faults = plan::ANSWER_FAULTS.iter().copied();
    let mut missing: BTreeSet<&str> = faults.chain(EVENTS).collect();
    for seed in 0..400 {
        run(seed);
        for kind in trace::kinds() {
            missing.remove(kind);
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("{missing:?} never happened");
}

#[test]
fn a_seed_repeats() {
    for seed in (0..40).map(|n| n * 25 + 3) {
        assert_eq!(run(seed), run(seed), "two runs of seed {seed} differ");
    }
}
