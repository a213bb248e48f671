//! Every fault that the simulated HSM plays, while many connections unwrap through a whole node: no wrong
//! plaintext, hits go on, misses are answered, all is well once the fault is over.
//!
//! How soon, is asserted in simulated time (`simulation`); here the clock is only a bound against hanging.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

mod sim_support;

use std::time::Instant;

use sim_support::crowd::Crowd;
use sim_support::service::Service;
use sim_support::{Bench, PATIENCE, quick};

/// So long that unwraps gather meanwhile and go in batches.
const MESSAGE: &str = "set message-ms 2";

/// How a fault shows.
enum Kind {
    /// While it is on, nothing works: what is allowed beside 200 must come.
    State,
    /// It strikes now and then and is counted. A request of several items that has struck one of them is
    /// answered 400, as in Transit.
    Event,
}

use Kind::{Event, State};

/// Order, what cold requests may be answered beside 200, how it shows. Where an HSM that is gone may show, so may one
/// that is slow: on a busy machine the deadline can come before the refusal.
type Row = (&'static str, &'static [u16], Kind);

const ROWS: &[Row] = &[
    ("stall", &[503, 504], State),
    ("failover", &[503, 504], State),
    ("half-open", &[503, 504], State),
    ("drop-mid-frame p=0.2", &[503, 504], Event),
    ("tls-alert p=0.2", &[503, 504], Event),
    ("clock-skew", &[503, 504], State),
    ("clock-skew future", &[503, 504], State),
    ("busy p=0.3", &[503, 504], Event),
    ("partial every=3", &[400, 502, 503, 504], Event),
    ("wrong-id p=0.2", &[400, 502], Event),
    ("duplicate-id p=0.2", &[400, 502], Event),
    ("missing-item p=0.2", &[400, 502], Event),
    ("late-item p=0.2", &[400, 502], Event),
    ("wrong-uid p=0.2", &[400, 502], Event),
    ("wrong-tag p=0.2", &[400], Event),
    ("garbage p=0.2", &[400, 502, 503, 504], Event),
];

#[test]
fn no_fault_makes_a_wrong_answer_and_each_is_recovered_from() {
    play(ROWS);
}

#[test]
fn an_hsm_that_exchanges_ids_costs_nobody_anything() {
    play(&[("swap-ids p=0.5", &[], Event)]);
}

#[test]
fn an_hsm_that_takes_no_batches_costs_nobody_anything() {
    play(&[("refuse-batch", &[], Event)]);
}

fn play(rows: &[Row]) {
    let bench = quick();
    bench.order(MESSAGE);
    let service = Service::start(&bench.site, &[bench.sim.address]);
    let crowd = Crowd::start(&service.target);
    crowd.watch_recovery("the start");
    for (order, allowed, kind) in rows {
        bench.order(order);
        let mut statuses = crowd.watch(3);
        let from = Instant::now();
        while matches!(kind, Event) && struck(&bench, order) == 0 && from.elapsed() < PATIENCE {
            for (status, count) in crowd.watch(1) {
                *statuses.entry(status).or_default() += count;
            }
        }
        let faults = bench.status()["faults"].clone();
        bench.order("clear");
        let took = crowd.watch_recovery(order);
        println!("{order}: {statuses:?}, {faults}, well again after {took:?}");
        let mut others = statuses.keys().filter(|status| **status != 200);
        let is_felt = match kind {
            State => statuses.keys().any(|status| *status != 200),
            Event => count(&faults, order) > 0,
        };
        assert!(is_felt, "{order} never struck: {statuses:?}, {faults}");
        let is_allowed = others.all(|status| allowed.contains(status));
        assert!(is_allowed, "{order}: {statuses:?}");
    }
}

/// How often the fault of this order has struck.
fn struck(bench: &Bench, order: &str) -> u64 {
    count(&bench.status()["faults"], order)
}

fn count(faults: &serde_json::Value, order: &str) -> u64 {
    let name = order.split(' ').next().unwrap();
    faults[name].as_u64().unwrap()
}
