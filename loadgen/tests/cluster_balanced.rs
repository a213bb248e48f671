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

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster_support::{House, Member, data_key};
use kms_loadgen::Target;
use kms_loadgen::client::Client;
use serde_json::Value;
use support::process::Process;
use support::redis::Redis;
use support::{free_port, wait_for_port, wait_until};

const PROXIED: &str = "kms.server.proxy-protocol=v2\nkms.server.proxy-protocol.from=127.0.0.1\n";
const KEYS: usize = 50;
const CLIENTS: usize = 8;

/// `conf/haproxy.cfg` with ports of this test.
fn haproxy(folder: &Path, nodes: &[(u16, u16)]) -> (Process, SocketAddr) {
    let port = free_port();
    let text = include_str!("../../conf/haproxy.cfg");
    let servers = text
        .lines()
        .filter(|line| line.trim().starts_with("server kms"));
    assert_eq!(servers.count(), nodes.len());
    let mut at = nodes.iter().enumerate();
    let line = |line: &str| match line.trim() {
        "bind :8443" => format!("    bind 127.0.0.1:{port}"),
        "maxconn 20000" => "    maxconn 2000".to_owned(),
        server if server.starts_with("server kms") => {
            let (number, (service, health)) = at.next().unwrap();
            format!("    server kms{number} 127.0.0.1:{service} check port {health}")
        }
        _ => line.to_owned(),
    };
    let text: Vec<String> = text.lines().map(line).collect();
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text.join("\n") + "\n").unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    // It is in a folder that is not in everybody's PATH.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    command.env("PATH", &path);
    let process = Process::start(&mut command, &folder.join("haproxy.log"));
    wait_for_port("haproxy", port);
    (process, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// What became of the requests of a crowd.
#[derive(Default)]
struct Tally {
    right: AtomicUsize,
    failed: AtomicUsize,
    /// Connections that ended, to be made anew; no request was lost with them.
    renewed: AtomicUsize,
    stop: AtomicBool,
}

/// Clients that unwrap without pause, each on a connection that it makes anew when an answer said so.
struct Crowd {
    tally: Arc<Tally>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Crowd {
    fn start(target: &Target, wrapped: &[String]) -> Self {
        let tally = Arc::new(Tally::default());
        let threads = (0..CLIENTS)
            .map(|at| {
                let (tally, target, wrapped) =
                    (Arc::clone(&tally), target.clone(), wrapped.to_vec());
                std::thread::spawn(move || ask_on(&target, &wrapped, at, &tally))
            })
            .collect();
        Self { tally, threads }
    }

    fn right(&self) -> usize {
        self.tally.right.load(Ordering::Relaxed)
    }

    fn failed(&self) -> usize {
        self.tally.failed.load(Ordering::Relaxed)
    }

    /// Waits for so many more right answers.
    fn goes_on(&self, what: &str, more: usize) {
        let from = self.right();
        wait_until(what, Duration::from_secs(30), || {
            (self.right() >= from + more).then_some(())
        });
    }

    fn end(self) -> (usize, usize, usize) {
        self.tally.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client saw a wrong plaintext");
        }
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (
            count(&self.tally.right),
            count(&self.tally.failed),
            count(&self.tally.renewed),
        )
    }
}

fn ask_on(target: &Target, wrapped: &[String], first: usize, tally: &Tally) {
    let mut client: Option<Client> = None;
    for at in (first * 7..).map(|at| at % wrapped.len()) {
        if tally.stop.load(Ordering::Relaxed) {
            return;
        }
        let body = format!("{{\"ciphertext\":\"{}\"}}", wrapped[at]);
        let mut asked = 0;
        loop {
            asked += 1;
            let fresh = client.is_none();
            let answer = match client.take() {
                Some(held) => Ok(held),
                None => Client::connect(target),
            }
            .and_then(|mut held| {
                let answer =
                    held.request("POST", "/v1/transit/decrypt/demo", None, body.as_bytes())?;
                client = Some(held);
                Ok(answer)
            });
            match answer {
                Ok(answer) if answer.status == 200 => {
                    let json: Value = serde_json::from_slice(&answer.body).unwrap();
                    assert_eq!(json["data"]["plaintext"], data_key(at), "a wrong plaintext");
                    tally.right.fetch_add(1, Ordering::Relaxed);
                }
                // A connection that the node had ended after its last answer: as any client does, once more.
                Err(_) if !fresh && asked == 1 => {
                    tally.renewed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                _ => {
                    client = None;
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            break;
        }
    }
}

struct Site<'a> {
    nodes: Vec<Option<Member<'a>>>,
    wrapped: Vec<String>,
    target: Target,
    _haproxy: Process,
    _redis: Redis,
}

/// Ports stay the same over a restart: HAProxy knows them.
fn site(house: &House) -> Site<'_> {
    let redis = Redis::standalone(&house.pki);
    let mut nodes = Vec::new();
    let mut ports = Vec::new();
    for at in 0..3 {
        let (service, health) = (free_port(), free_port());
        let more = format!(
            "{PROXIED}kms.server.port={service}\nkms.health.address=127.0.0.1:{health}\nkms.limit.connections=200"
        );
        let config = house.configure(&format!("n{at}"), &redis, &more);
        nodes.push(Some(house.start(&format!("n{at}"), config)));
        ports.push((service, health));
    }
    for node in nodes.iter().flatten() {
        node.wait_joined(2);
    }
    let (haproxy, address) = haproxy(house.bench.folder.path(), &ports);
    let target = house.target(address, "cmxDevice");
    let mut backend = wait_until("HAProxy takes no node in", Duration::from_secs(20), || {
        let mut asker = cluster_support::Asker::try_new(&house.target(address, "cmxBackend"))?;
        let (status, _) = asker.try_ask("POST", "keys/demo", &serde_json::json!({}))?;
        (status == 200).then_some(asker)
    });
    let wrapped = (0..KEYS)
        .map(|at| backend.wrap("demo", &data_key(at)))
        .collect();
    Site {
        nodes,
        wrapped,
        target,
        _haproxy: haproxy,
        _redis: redis,
    }
}

#[test]
fn all_nodes_are_drained_and_started_anew_without_a_failed_request() {
    let house = House::new(sim_support::quick());
    let mut site = site(&house);
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
    let mut site = site(&house);
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
