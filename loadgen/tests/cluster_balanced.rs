//! Three nodes with a shared cache behind the real HAProxy, under load: drained and started anew one by one,
//! killed, frozen. Every plaintext is compared; a rolling restart costs no request.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::doc_markdown,
    missing_docs
)]

mod cluster_support;
mod sim_support;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use cluster_support::House;
use cluster_support::balanced::{CLIENTS, Crowd, site};
use support::redis::Redis;
use support::wait_until;

#[test]
fn all_nodes_are_drained_and_started_anew_without_a_failed_request() {
    let house = House::new(sim_support::quick());
    let redis = Redis::standalone(&house.pki);
    let mut site = site(&house, &redis, "");
    let crowd = Crowd::start(&site.target, &site.wrapped);
    crowd.goes_on("the start", 200);
    for at in 0..3 {
        let mut node = site.nodes[at].take().unwrap();
        let (code, said) = node.order(&["drain"]);
        assert_eq!(code, Some(0), "{said}");
        node.node.wait_ready(404, "draining");
        // The balancer has seen it and clients have gone elsewhere: nothing is cut.
        wait_until("clients stay", Duration::from_secs(30), || {
            (node.status()["connections"] == 0).then_some(())
        });
        let config = node.config.clone();
        assert_eq!(
            node.node.process.terminate(Duration::from_secs(20)),
            Some(0)
        );
        drop(node);
        crowd.goes_on("one node is gone", 200);
        let again = house.start(&format!("n{at}"), config);
        again.wait_joined(2);
        crowd.goes_on("it is back", 200);
        assert_eq!(
            again.by_hsm(),
            0,
            "its working set came from the shared cache"
        );
        site.nodes[at] = Some(again);
    }
    let (right, failed, renewed) = crowd.end();
    println!(
        "rolling restart: {right} right answers, {failed} failed, {renewed} connections made anew"
    );
    assert_eq!(failed, 0);
}

#[test]
fn a_node_is_killed_and_another_frozen() {
    let house = House::new(sim_support::quick());
    let redis = Redis::standalone(&house.pki);
    let mut site = site(&house, &redis, "");
    let crowd = Crowd::start(&site.target, &site.wrapped);
    crowd.goes_on("the start", 200);
    let node = site.nodes[0].take().unwrap();
    let config = node.config.clone();
    drop(node);
    let begun = Instant::now();
    crowd.goes_on("one node was killed", 500);
    println!(
        "500 answers {:?} after a node was killed; failed {}",
        begun.elapsed(),
        crowd.failed()
    );
    // At most what was on its way there.
    assert!(crowd.failed() <= 2 * CLIENTS, "{}", crowd.failed());
    let again = house.start("n0", config);
    again.wait_joined(2);
    site.nodes[0] = Some(again);
    crowd.goes_on("it is back", 200);
    let before = crowd.failed();
    let frozen = site.nodes[1].as_ref().unwrap();
    frozen.node.process.signal_all("STOP");
    let begun = Instant::now();
    crowd.goes_on("one node is frozen", 500);
    println!(
        "500 answers {:?} after a node was frozen; failed {}",
        begun.elapsed(),
        crowd.failed() - before
    );
    frozen.node.process.signal_all("CONT");
    frozen.wait_joined(2);
    crowd.goes_on("all are back", 200);
    let (right, failed, _) = crowd.end();
    println!("{right} right answers, {failed} failed");
    assert!(failed <= 6 * CLIENTS, "{failed}");
}
