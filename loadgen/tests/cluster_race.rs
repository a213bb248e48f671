//! Eight nodes that start at the same moment, with no key in the HSM and none in the engine: all of them end with the
//! same one.
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

use std::time::Duration;

use cluster_support::House;
use serde_json::Value;
use support::node::Node;
use support::redis::Redis;
use support::wait_until;

const NODES: usize = 8;
const PATIENCE: Duration = Duration::from_mins(1);

fn status(node: &Node) -> Value {
    serde_json::from_str(&node.health("/status").1).unwrap()
}

/// Starts all of them at once.
fn race(house: &House, redis: &Redis, more: &str) -> Vec<Node> {
    let configs: Vec<_> = (0..NODES)
        .map(|at| house.configure(&format!("n{at}"), redis, more))
        .collect();
    std::thread::scope(|scope| {
        let starts: Vec<_> = configs
            .iter()
            .map(|config| scope.spawn(|| Node::start(config)))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    })
}

/// The id of the one sealing key that all of them use.
fn agreed(nodes: &[Node], round: usize) -> String {
    wait_until(&format!("round {round}: no one key"), PATIENCE, || {
        let ids = nodes.iter().map(|node| {
            let cluster = status(node)["cluster"].clone();
            let id = cluster["key_id"].as_str().map(str::to_owned);
            id.filter(|_| cluster["usable"] == true)
        });
        let ids: Option<Vec<String>> = ids.collect();
        let ids = ids?;
        ids.windows(2)
            .all(|pair| pair[0] == pair[1])
            .then(|| ids[0].clone())
    })
}

fn rounds(rounds: usize) {
    let house = House::new(sim_support::quick());
    let redis = Redis::standalone(&house.pki);
    for round in 0..rounds {
        redis.cli(0, &["FLUSHALL"]);
        let more = format!("kms.cluster.key=connected-kms-cache-{round}");
        let nodes = race(&house, &redis, &more);
        let first = agreed(&nodes, round);
        // What one of them wrapped each of them unwraps after a restart: there is one key in the HSM.
        drop(nodes);
        let again = race(&house, &redis, &more);
        assert_eq!(agreed(&again, round), first, "round {round}");
        for node in &again {
            let log = node.process.log();
            assert!(!log.contains("not believed"), "round {round}: {log}");
        }
    }
}

#[test]
fn racing_nodes_agree_on_their_first_key() {
    rounds(3);
}

#[test]
#[ignore = "long: twenty rounds of eight nodes, each started twice"]
fn racing_nodes_agree_twenty_times() {
    rounds(20);
}
