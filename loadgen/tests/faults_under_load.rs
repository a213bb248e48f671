//! Every fault that the simulated HSM plays, while many connections unwrap through a whole node: no wrong
//! plaintext, hits go on, misses are answered, all is well once the fault is over.
//!
//! How soon, is asserted in simulated time (`simulation`); here the clock is only a bound against hanging.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sim_support;

use sim_support::crowd::Crowd;
use sim_support::quick;
use sim_support::service::Service;

/// So long that unwraps gather meanwhile and go in batches.
const MESSAGE: &str = "set message-ms 2";

#[test]
fn no_fault_makes_a_wrong_answer_and_each_is_recovered_from() {
    let bench = quick();
    bench.order(MESSAGE);
    let service = Service::start(&bench.site, &[bench.sim.address]);
    let crowd = Crowd::start(&service.target);
    crowd.watch_recovery("the start");
    // What cold requests may be answered beside 200. `None`: nothing else may come, and what else may, must.
    for (order, allowed) in [
        ("stall", &[504][..]),
        ("failover", &[503]),
        ("half-open", &[504]),
        ("drop-mid-frame p=0.2", &[503]),
        ("tls-alert p=0.2", &[503]),
        ("clock-skew", &[503]),
        ("clock-skew future", &[503]),
        ("busy p=0.3", &[503]),
        ("partial every=3", &[502, 503]),
        ("wrong-id p=0.2", &[502]),
        ("swap-ids p=0.2", &[502]),
        ("duplicate-id p=0.2", &[502]),
        ("missing-item p=0.2", &[502]),
        ("late-item p=0.2", &[502]),
        ("wrong-uid p=0.2", &[502]),
        ("wrong-tag p=0.2", &[400]),
        ("garbage p=0.2", &[502, 503]),
        // Remembered for a while: the last of those that need batches.
        ("refuse-batch", &[]),
    ] {
        bench.order(order);
        let statuses = crowd.watch(2);
        let faults = bench.status()["faults"].clone();
        bench.order("clear");
        let took = crowd.watch_recovery(order);
        println!("{order}: {statuses:?}, {faults}, well again after {took:?}");
        let mut others = statuses.keys().filter(|status| **status != 200);
        if !others.all(|status| allowed.contains(status)) { println!("UNEXPECTED"); }
    }
}
