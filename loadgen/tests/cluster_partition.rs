//! A real partition, in network namespaces: a node and part of the engine on one side, the others on the other, the
//! HSM reachable from both.
//!
//! Long, and wants root for the namespaces: with `./test --all`. Without root they fail and say so.
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

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster_support::network::Network;
use cluster_support::{Asker, House, data_key};
use kms_loadgen::sim::{HsmPlan, Preset};
use serde_json::{Value, json};
use support::node::program;
use support::process::Process;
use support::redis::{Redis, Stand};
use support::wait_until;

const PATIENCE: Duration = Duration::from_mins(1);

/// A node in a namespace.
struct Member<'a> {
    process: Process,
    stand: Stand,
    address: SocketAddr,
    health: String,
    config: PathBuf,
    house: &'a House,
}

impl<'a> Member<'a> {
    fn start(house: &'a House, name: &str, redis: &Redis, stand: Stand, more: &str) -> Self {
        let more = format!(
            "kms.server.address={}\nkms.cluster.tls.server.name=localhost\nkms.cluster.budget.ms=20\n{more}",
            stand.host
        );
        let config = house.configure(name, redis, &more);
        let mut command = stand.command(program().to_str().unwrap());
        command.args(["serve", "--config"]).arg(&config);
        let mut process = Process::start(&mut command, &config.with_extension("log"));
        let (address, health) =
            wait_until("kms serve does not say that it serves", PATIENCE, || {
                process.assert_alive();
                let log = process.log();
                let line = log.lines().find(|line| line.contains("serving address="))?;
                let value = |name: &str| {
                    let value = line.split(name).nth(1)?.split_whitespace().next()?;
                    Some(value.to_owned())
                };
                Some((value("address=")?.parse().ok()?, value("health=")?))
            });
        Self {
            process,
            stand,
            address,
            health,
            config,
            house,
        }
    }

    fn asker(&self, certificate: &str) -> Asker {
        Asker::new(self.house.target(self.address, certificate))
    }

    /// The body of a health path.
    fn health(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.health);
        let mut curl = self.stand.command("curl");
        let said = curl
            .args(["-sS", "--max-time", "10", &url])
            .output()
            .unwrap();
        String::from_utf8(said.stdout).unwrap()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.health("/status")).unwrap()
    }

    fn wait_joined(&self, peers: usize) {
        wait_until("it does not join", PATIENCE, || {
            let cluster = self.status()["cluster"].clone();
            let known = cluster["peers"].as_array().map_or(0, Vec::len);
            let joined = cluster["usable"] == true && cluster["subscribed"] == true;
            (joined && known == peers).then_some(())
        });
    }

    fn order(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program());
        command.args(words).arg("--config").arg(&self.config);
        let done = command.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).unwrap())
    }
}

fn house(network: &Network) -> House {
    let address = format!("{}:0", network.here()).parse().unwrap();
    let model = Preset::Null.model();
    House::new(sim_support::sim_at(address, model, |_| HsmPlan::default()))
}

/// A key whose old plaintext both nodes keep; and its ciphertext.
fn shared_key(key: &str, one: &mut Asker, other: &mut Asker) -> String {
    one.create(key);
    let old = one.wrap(key, &data_key(1));
    for asker in [one, other] {
        assert_eq!(asker.unwrap(key, &old), (200, data_key(1)));
        assert_eq!(asker.unwrap(key, &old), (200, data_key(1)));
    }
    old
}

fn withdraw(key: &str, at: &mut Asker) -> Instant {
    assert_eq!(
        at.ask("POST", &format!("keys/{key}/rotate"), &json!({})).0,
        200
    );
    let change = json!({ "min_decryption_version": 2 });
    assert_eq!(
        at.ask("POST", &format!("keys/{key}/config"), &change).0,
        200
    );
    Instant::now()
}

/// The first node is with the old master and alone, the second with all other servers. What the second withdraws the
/// first refuses within `bound`, and again quickly once the halves have each other.
fn halves(network: &Network, house: &House, redis: &Redis, name: &str, bound: Duration) {
    let cluster = format!("kms.cluster.name={name}");
    let one = Member::start(house, "one", redis, network.stand(0), &cluster);
    let other = Member::start(house, "other", redis, network.stand(1), &cluster);
    one.wait_joined(1);
    other.wait_joined(1);
    let (mut alone, mut backend) = (one.asker("cmxDevice"), other.asker("cmxBackend"));
    let old = shared_key("before", &mut backend, &mut alone);
    let healthy = alone.until_status("before", &old, 400, withdraw("before", &mut backend));
    let old = shared_key("during", &mut backend, &mut alone);
    network.cut();
    let cut = Instant::now();
    let during = alone.until_status("during", &old, 400, withdraw("during", &mut backend));
    assert_eq!(backend.unwrap("during", &old).0, 400);
    println!(
        "{name}: refused on the other side of the partition {during:?} later, {:?} after the cut",
        cut.elapsed()
    );
    // Both sides serve meanwhile.
    let fresh = backend.wrap("during", &data_key(2));
    assert_eq!(alone.unwrap("during", &fresh), (200, data_key(2)));
    assert_eq!(backend.unwrap("during", &fresh), (200, data_key(2)));
    network.heal();
    let healed = Instant::now();
    one.wait_joined(1);
    other.wait_joined(1);
    println!(
        "{name}: used again {:?} after the partition healed",
        healed.elapsed()
    );
    let old = shared_key("after", &mut backend, &mut alone);
    let after = alone.until_status("after", &old, 400, withdraw("after", &mut backend));
    println!("{name}: refused after {healthy:?} before the partition, after {after:?} after it");
    assert!(during < bound, "{during:?}");
    assert!(
        healthy.max(after) < Duration::from_secs(1),
        "{healthy:?} {after:?}"
    );
}

#[test]
#[ignore = "long: waits for the engine to notice a partition; wants root"]
fn a_cluster_is_cut_in_two() {
    let network = Network::new();
    let house = house(&network);
    let redis = Redis::cluster_at(&house.pki, &network.stand(0), &network.stand(1));
    // The lone master must be the one that has the token: the worst case.
    let has_token = |name: &String| redis.keeper(&format!("kms:{name}:epoch")) == 0;
    let name = (0..100)
        .map(|number| format!("part{number}"))
        .find(has_token);
    halves(
        &network,
        &house,
        &redis,
        &name.unwrap(),
        Duration::from_secs(10),
    );
}

#[test]
#[ignore = "long: waits for sentinels to notice a partition; wants root"]
fn sentinels_are_cut_off_from_the_old_master() {
    let network = Network::new();
    let house = house(&network);
    let redis = Redis::sentinel_at(&house.pki, &network.stand(0), &network.stand(1));
    halves(&network, &house, &redis, "test", Duration::from_secs(10));
}

#[test]
#[ignore = "long: waits until a node is not heard of for long; wants root"]
fn a_node_is_cut_off_from_the_engine_and_missed_when_it_is_asked_who_obeyed() {
    let network = Network::new();
    let house = house(&network);
    let redis = Redis::standalone_at(&house.pki, &network.stand(1));
    let one = Member::start(&house, "one", &redis, network.stand(0), "");
    let other = Member::start(&house, "other", &redis, network.stand(1), "");
    one.wait_joined(1);
    other.wait_joined(1);
    let (mut alone, mut backend) = (one.asker("cmxDevice"), other.asker("cmxBackend"));
    let old = shared_key("demo", &mut backend, &mut alone);
    network.cut();
    let took = alone.until_status("demo", &old, 400, withdraw("demo", &mut backend));
    println!("a node without the engine refused {took:?} later");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let fresh = backend.wrap("demo", &data_key(2));
    assert_eq!(alone.unwrap("demo", &fresh), (200, data_key(2)));
    // Long after it was last heard of, an order still names it.
    wait_until("it still counts as there", PATIENCE, || {
        let peers = other.status()["cluster"]["peers"].clone();
        (peers.as_array().map_or(0, Vec::len) == 0).then_some(())
    });
    let (code, said) = other.order(&["cache", "purge", "--cluster", "--json"]);
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &answer["silent"]),
        (Some(1), &json!(["one"])),
        "{said}"
    );
    network.heal();
    one.wait_joined(1);
    other.wait_joined(1);
    let (code, said) = other.order(&["cache", "purge", "--cluster", "--json"]);
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &answer["acknowledged"]),
        (Some(0), &json!(["one"])),
        "{said}"
    );
}

#[test]
#[ignore = "wants root, for a name server of its own"]
fn a_name_server_that_hangs_keeps_no_node_out_and_none_from_ending() {
    let network = Network::new();
    let house = house(&network);
    // Takes questions and answers none.
    let hanging = std::net::UdpSocket::bind((network.here(), 53)).unwrap();
    network.name_server(0);
    let redis = Redis::standalone_at(&house.pki, &network.stand(1));
    let more = format!(
        "kms.cluster.addresses=engine.example.com:{}",
        redis.servers[0].port
    );
    let begun = Instant::now();
    let mut node = Member::start(&house, "one", &redis, network.stand(0), &more);
    let mut backend = node.asker("cmxBackend");
    wait_until("it is not ready", PATIENCE, || {
        node.health("/readyz").contains("\"ready\"").then_some(())
    });
    println!(
        "a name server that hangs: ready {:?} after the start",
        begun.elapsed()
    );
    backend.create("demo");
    let wrapped = backend.wrap("demo", &data_key(1));
    assert_eq!(backend.unwrap("demo", &wrapped), (200, data_key(1)));
    hanging
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    assert!(hanging.recv(&mut [0; 512]).is_ok(), "it was not asked");
    let begun = Instant::now();
    drop(backend);
    assert_eq!(node.process.terminate(Duration::from_secs(20)), Some(0));
    println!(
        "a name server that hangs: ended within {:?}",
        begun.elapsed()
    );
}
