//! Simulated HSMs that are killed, frozen and started again by their pids, while many connections unwrap
//! through a whole node.
//!
//! How soon it is well again, is asserted in simulated time (`simulation`); here the clock is only a bound
//! against hanging.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

mod sim_support;

use kms_loadgen::sim::site::Site;
use sim_support::crowd::{Crowd, Statuses};
use sim_support::program::Sim;
use sim_support::service::Service;

/// So long that unwraps gather meanwhile and go in batches.
const MODEL: [&str; 2] = ["--message-ms", "2"];

fn only(what: &str, statuses: &Statuses, allowed: &[u16]) {
    let others = statuses.keys().filter(|status| !allowed.contains(status));
    assert_eq!(others.count(), 0, "{what}: {statuses:?}");
}

fn has(what: &str, statuses: &Statuses, wanted: &[u16]) {
    let is_there = wanted.iter().any(|status| statuses.contains_key(status));
    assert!(is_there, "{what}: {statuses:?}");
}

#[test]
fn an_hsm_alone_is_killed_and_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let mut hsm = Sim::start(folder.path(), &MODEL);
    let site = Site::open(&folder.path().join("site")).unwrap();
    let service = Service::start(&site, &[hsm.address()]);
    let crowd = Crowd::start(&service.target);
    crowd.watch_recovery("the start");
    for round in 0..2 {
        hsm.signal("KILL");
        let statuses = crowd.watch(2);
        // On a busy machine a request's deadline can come before the refusal.
        only("killed", &statuses, &[200, 503, 504]);
        has("killed", &statuses, &[503]);
        hsm = Sim::start_at(hsm.text("address"), folder.path(), &MODEL);
        let took = crowd.watch_recovery("a kill");
        println!("{round}: killed {statuses:?}, well again after {took:?}");

        hsm.signal("STOP");
        let statuses = crowd.watch(2);
        only("frozen", &statuses, &[200, 503, 504]);
        has("frozen", &statuses, &[503, 504]);
        hsm.signal("CONT");
        let took = crowd.watch_recovery("a freeze");
        println!("{round}: frozen {statuses:?}, well again after {took:?}");
    }
}

#[test]
fn another_hsm_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("second.sock");
    let more = ["--control", second.to_str().unwrap(), MODEL[0], MODEL[1]];
    let mut hsms = [
        Sim::start(folder.path(), &MODEL),
        Sim::start(folder.path(), &more),
    ];
    let site = Site::open(&folder.path().join("site")).unwrap();
    let addresses = [hsms[0].address(), hsms[1].address()];
    let service = Service::start(&site, &addresses);
    let crowd = Crowd::start(&service.target);
    crowd.watch_recovery("the start");
    for (at, options) in [(0, &MODEL[..]), (1, &more[..])] {
        hsms[at].signal("KILL");
        let took = crowd.watch_recovery("the death of one of two");
        let statuses = crowd.watch(2);
        only("one of two is dead", &statuses, &[200]);
        println!("{at}: killed {statuses:?}, well after {took:?}");
        hsms[at] = Sim::start_at(&addresses[at].to_string(), folder.path(), options);

        hsms[at].signal("STOP");
        let took = crowd.watch_recovery("the freeze of one of two");
        let statuses = crowd.watch(2);
        only("one of two is frozen", &statuses, &[200]);
        println!("{at}: frozen {statuses:?}, well after {took:?}");
        hsms[at].signal("CONT");
    }
}
