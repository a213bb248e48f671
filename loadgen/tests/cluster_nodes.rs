//! Nodes that share a cache: what one had unwrapped serves the others, what one withdrew none serves, and what
//! becomes of all that without the engine.
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

use cluster_support::{House, Member, data_key};
use serde_json::json;
use support::redis::Redis;

const KEYS: usize = 20;

/// Waits until each is ready and knows `others`.
fn all_joined(nodes: &[Member<'_>], others: usize) {
    for node in nodes {
        node.wait_joined(others);
    }
}

#[test]
fn what_one_node_had_unwrapped_serves_the_others_and_itself_after_a_restart() {
    let house = House::new(sim_support::quick());
    let redis = Redis::standalone(&house.pki);
    let mut nodes: Vec<_> = (0..3)
        .map(|at| house.node(&format!("n{at}"), &redis, ""))
        .collect();
    all_joined(&nodes, 2);
    nodes[0].backend().create("demo");
    let mut device = nodes[0].device();
    let wrapped: Vec<String> = (0..KEYS)
        .map(|at| device.wrap("demo", &data_key(at)))
        .collect();
    for (at, ciphertext) in wrapped.iter().enumerate() {
        assert_eq!(device.unwrap("demo", ciphertext), (200, data_key(at)));
    }
    assert_eq!(nodes[0].by_hsm(), KEYS as u64);
    for node in &nodes[1..] {
        let mut device = node.device();
        for (at, ciphertext) in wrapped.iter().enumerate() {
            assert_eq!(device.unwrap("demo", ciphertext), (200, data_key(at)));
            assert_eq!(device.unwrap("demo", ciphertext), (200, data_key(at)));
        }
        let sources = node.sources();
        let count = |source: &str| sources.iter().filter(|one| *one == source).count();
        assert_eq!(
            (count("shared"), count("cache")),
            (KEYS, KEYS),
            "{sources:?}"
        );
        assert!((node.metric("kms_unwraps_total{source=\"shared\"}") - 20.0).abs() < 0.1);
        assert_eq!(node.by_hsm(), 0, "the HSM was asked by one node only");
    }
    // A node is killed and started again: it serves all of it without an unwrap by the HSM, but for the sealing key.
    let gone = nodes.remove(0);
    let config = gone.config.clone();
    drop(gone);
    let again = house.start("n0", config);
    again.wait_joined(2);
    let mut device = again.device();
    for (at, ciphertext) in wrapped.iter().enumerate() {
        assert_eq!(device.unwrap("demo", ciphertext), (200, data_key(at)));
    }
    assert_eq!(again.by_hsm(), 0, "the HSM was asked after a restart");
    let records = redis.cli(
        0,
        &["EVAL", "return #redis.call('KEYS','kms:test:d:*')", "0"],
    );
    assert_eq!(records.trim(), KEYS.to_string());
}

#[test]
fn what_one_node_withdraws_no_other_serves() {
    let house = House::new(sim_support::quick());
    let redis = Redis::standalone(&house.pki);
    let nodes: Vec<_> = (0..2)
        .map(|at| house.node(&format!("n{at}"), &redis, ""))
        .collect();
    all_joined(&nodes, 1);
    let mut backend = nodes[0].backend();
    let mut other = nodes[1].device();
    let mut longest = [Duration::ZERO; 2];
    for round in 0..6 {
        let key = format!("key{round}");
        backend.create(&key);
        let old = backend.wrap(&key, &data_key(round));
        assert_eq!(other.unwrap(&key, &old), (200, data_key(round)));
        assert_eq!(other.unwrap(&key, &old), (200, data_key(round)));
        let (status, said) = backend.ask("POST", &format!("keys/{key}/rotate"), &json!({}));
        assert_eq!(status, 200, "{said}");
        let lost = round % 2 == 1;
        if lost {
            redis.cli(0, &["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        let change = json!({ "min_decryption_version": 2 });
        let (status, said) = backend.ask("POST", &format!("keys/{key}/config"), &change);
        assert_eq!(status, 200, "{said}");
        let took = other.until_status(&key, &old, 400, Instant::now());
        longest[usize::from(lost)] = longest[usize::from(lost)].max(took);
        assert_eq!(backend.unwrap(&key, &old).0, 400);
        all_joined(&nodes, 1);
    }
    println!(
        "withdrawn at the other node after {:?}, with messages lost after {:?}",
        longest[0], longest[1]
    );
    // Generous: the bounds are measured on a quiet machine.
    assert!(
        longest.iter().all(|took| *took < Duration::from_secs(3)),
        "{longest:?}"
    );
}

#[test]
fn a_deleted_key_and_this_servers_own_serve_nobody() {
    let house = House::new(sim_support::quick());
    let redis = Redis::standalone(&house.pki);
    let nodes: Vec<_> = (0..2)
        .map(|at| house.node(&format!("n{at}"), &redis, ""))
        .collect();
    all_joined(&nodes, 1);
    let mut backend = nodes[0].backend();
    let mut other = nodes[1].device();
    backend.create("gone");
    let old = backend.wrap("gone", &data_key(1));
    assert_eq!(other.unwrap("gone", &old), (200, data_key(1)));
    let allow = json!({ "deletion_allowed": true });
    assert_eq!(backend.ask("POST", "keys/gone/config", &allow).0, 200);
    assert_eq!(backend.ask("DELETE", "keys/gone", &json!({})).0, 204);
    other.until_status("gone", &old, 400, Instant::now());
    backend.create("gone");
    other.until_status("gone", &old, 400, Instant::now());
    let new = backend.wrap("gone", &data_key(2));
    assert_eq!(other.unwrap("gone", &new), (200, data_key(2)));
    // Nothing of this server's own key is a client's to use.
    for (method, path) in [
        ("POST", "decrypt/connected-kms-cache"),
        ("POST", "encrypt/connected-kms-cache"),
        ("POST", "keys/connected-kms-cache/rotate"),
        ("POST", "keys/connected-kms-cache/config"),
        ("DELETE", "keys/connected-kms-cache"),
        ("GET", "keys/connected-kms-cache"),
    ] {
        let body = json!({ "ciphertext": old, "plaintext": "YQ==" });
        assert_eq!(backend.ask(method, path, &body).0, 403, "{method} {path}");
    }
    let (_, names) = backend.ask("LIST", "keys", &json!({}));
    assert!(
        !names.to_string().contains("connected-kms-cache"),
        "{names}"
    );
}

#[test]
fn an_order_to_purge_reaches_all_nodes_and_says_which() {
    let house = House::new(sim_support::quick());
    let redis = Redis::standalone(&house.pki);
    let mut nodes: Vec<_> = (0..3)
        .map(|at| house.node(&format!("n{at}"), &redis, ""))
        .collect();
    all_joined(&nodes, 2);
    nodes[0].backend().create("demo");
    let wrapped = nodes[0].device().wrap("demo", &data_key(7));
    for node in &nodes {
        assert_eq!(node.device().unwrap("demo", &wrapped), (200, data_key(7)));
    }
    let asked = nodes[2].by_hsm();
    let (code, said) = nodes[1].order(&["cache", "purge", "--cluster", "--key", "demo"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("obeyed: n0, n2"), "{said}");
    assert_eq!(
        nodes[2].device().unwrap("demo", &wrapped),
        (200, data_key(7))
    );
    assert_eq!(
        nodes[2].by_hsm(),
        asked + 1,
        "neither a node nor the shared cache had it"
    );
    nodes[2].node.process.signal_all("STOP");
    let (code, said) = nodes[1].order(&["cache", "purge", "--cluster", "--json"]);
    nodes[2].node.process.signal_all("CONT");
    assert_eq!(code, Some(1), "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["acknowledged"], &said["silent"]),
        (&json!(["n0"]), &json!(["n2"]))
    );
    let (code, said) = nodes[1].order(&["cache", "renew-key"]);
    assert_eq!(code, Some(0), "{said}");
    nodes.truncate(1);
}

#[test]
fn a_check_tells_whether_the_engine_lets_this_node_in() {
    let house = House::new(sim_support::quick());
    let mut redis = Redis::standalone(&house.pki);
    let node = house.node("n0", &redis, "");
    node.wait_joined(0);
    let (_, said) = node.order(&["check"]);
    let line = format!(
        "up    shared cache, server localhost:{}: connected and logged in",
        redis.servers[0].port
    );
    assert!(said.contains(&line), "{said}");
    assert!(said.contains("kms.cluster.password = (set)"), "{said}");
    redis.kill(0);
    let (code, said) = node.order(&["check"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is down: connecting failed"), "{said}");
    std::fs::remove_file(house.pki.path("engineCA.crt")).unwrap();
    let (code, said) = node.order(&["check"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("kms.cluster.tls.ca.file"), "{said}");
}

#[test]
fn without_the_engine_a_node_serves_its_own_cache_while_the_hsm_vouches_for_it() {
    let house = House::new(sim_support::quick());
    let mut redis = Redis::standalone(&house.pki);
    let nodes: Vec<_> = (0..2)
        .map(|at| house.node(&format!("n{at}"), &redis, ""))
        .collect();
    all_joined(&nodes, 1);
    let mut backend = nodes[0].backend();
    backend.create("demo");
    let wrapped = backend.wrap("demo", &data_key(1));
    let mut other = nodes[1].device();
    assert_eq!(other.unwrap("demo", &wrapped), (200, data_key(1)));
    redis.kill(0);
    for node in &nodes {
        node.wait_ready();
    }
    // Past the second in which the last look at the token is good, its own cache is served all the same.
    let asked = nodes[1].by_hsm();
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(other.unwrap("demo", &wrapped), (200, data_key(1)));
    }
    assert_eq!(
        nodes[1].by_hsm(),
        asked,
        "the HSM unwrapped what the node had"
    );
    // What is withdrawn now cannot be told, but the HSM is asked every second.
    assert_eq!(backend.ask("POST", "keys/demo/rotate", &json!({})).0, 200);
    let change = json!({ "min_decryption_version": 2 });
    assert_eq!(backend.ask("POST", "keys/demo/config", &change).0, 200);
    let took = other.until_status("demo", &wrapped, 400, Instant::now());
    println!("withdrawn without the engine: seen after {took:?}");
    // Neither of the two: nobody vouches for what is cached.
    let fresh = backend.wrap("demo", &data_key(2));
    assert_eq!(other.unwrap("demo", &fresh), (200, data_key(2)));
    house.bench.order("stall");
    let took = {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(20);
        loop {
            let (status, _) = other.unwrap("demo", &fresh);
            if status != 200 {
                break begun.elapsed();
            }
            assert!(Instant::now() < end, "served without end");
        }
    };
    println!("neither engine nor HSM: not served any more after {took:?}");
    house.bench.order("clear");
    other.until_status("demo", &fresh, 200, Instant::now());
    // The engine is back, empty.
    redis.restart(0);
    all_joined(&nodes, 1);
    assert_eq!(nodes[0].device().unwrap("demo", &fresh), (200, data_key(2)));
}
