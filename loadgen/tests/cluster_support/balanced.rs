//! Three nodes behind the real HAProxy, and clients that unwrap through it without pause and compare every plaintext.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kms_loadgen::Target;
use kms_loadgen::client::Client;
use serde_json::{Value, json};

use super::{Asker, House, Member, data_key};
use crate::support::process::Process;
use crate::support::redis::Redis;
use crate::support::{free_port, wait_for_port, wait_until};

const PROXIED: &str = "kms.server.proxy-protocol=v2\nkms.server.proxy-protocol.from=127.0.0.1\n";
pub const KEYS: usize = 50;
pub const CLIENTS: usize = 8;

/// `conf/haproxy.cfg` with ports of this test, and beside it a door to each node alone.
fn haproxy(folder: &Path, nodes: &[(u16, u16)]) -> (Process, SocketAddr, Vec<SocketAddr>) {
    let port = free_port();
    let text = include_str!("../../../conf/haproxy.cfg");
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
    let mut text: Vec<String> = text.lines().map(line).collect();
    let doors: Vec<u16> = nodes.iter().map(|_| free_port()).collect();
    for (door, (service, _)) in doors.iter().zip(nodes) {
        text.push(format!(
            "listen door{door}\n    bind 127.0.0.1:{door}\n    server only 127.0.0.1:{service} send-proxy-v2"
        ));
    }
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text.join("\n") + "\n").unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    // It is in a folder that is not in everybody's PATH.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    command.env("PATH", &path);
    let process = Process::start(&mut command, &folder.join("haproxy.log"));
    wait_for_port("haproxy", port);
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    (process, at(port), doors.into_iter().map(at).collect())
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
pub struct Crowd {
    tally: Arc<Tally>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Crowd {
    pub fn start(target: &Target, wrapped: &[String]) -> Self {
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

    pub fn right(&self) -> usize {
        self.tally.right.load(Ordering::Relaxed)
    }

    pub fn failed(&self) -> usize {
        self.tally.failed.load(Ordering::Relaxed)
    }

    /// Waits for so many more right answers.
    pub fn goes_on(&self, what: &str, more: usize) {
        let from = self.right();
        wait_until(what, Duration::from_secs(30), || {
            (self.right() >= from + more).then_some(())
        });
    }

    pub fn end(self) -> (usize, usize, usize) {
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

pub struct Site<'a> {
    pub nodes: Vec<Option<Member<'a>>>,
    pub wrapped: Vec<String>,
    pub target: Target,
    doors: Vec<SocketAddr>,
    house: &'a House,
    _haproxy: Process,
}

impl Site<'_> {
    /// A connection to node `at`, whatever the balancer thinks of it.
    pub fn door(&self, at: usize, certificate: &str) -> Asker {
        Asker::new(self.house.target(self.doors[at], certificate))
    }

    pub fn wait_joined(&self) {
        for node in self.nodes.iter().flatten() {
            node.wait_joined(2);
        }
    }

    /// Has every node keep a plaintext of the new key `key`, withdraws it at the first node, and waits until each
    /// other refuses it: the longest time that took.
    pub fn withdraw(&self, key: &str) -> Duration {
        let mut backend = self.door(0, "cmxBackend");
        backend.create(key);
        let old = backend.wrap(key, &data_key(0));
        let mut others: Vec<Asker> = (1..3).map(|at| self.door(at, "cmxDevice")).collect();
        for other in &mut others {
            assert_eq!(other.unwrap(key, &old), (200, data_key(0)));
            assert_eq!(other.unwrap(key, &old), (200, data_key(0)));
        }
        let rotated = backend.ask("POST", &format!("keys/{key}/rotate"), &json!({}));
        assert_eq!(rotated.0, 200, "{}", rotated.1);
        let change = json!({ "min_decryption_version": 2 });
        let raised = backend.ask("POST", &format!("keys/{key}/config"), &change);
        let since = Instant::now();
        assert_eq!(raised.0, 200, "{}", raised.1);
        let took = others
            .iter_mut()
            .map(|other| other.until_status(key, &old, 400, since));
        took.max().unwrap()
    }
}

/// Ports stay the same over a restart: HAProxy knows them.
pub fn site<'a>(house: &'a House, redis: &Redis, more: &str) -> Site<'a> {
    let mut nodes = Vec::new();
    let mut ports = Vec::new();
    for at in 0..3 {
        let (service, health) = (free_port(), free_port());
        let more = format!(
            "{PROXIED}kms.server.port={service}\nkms.health.address=127.0.0.1:{health}\nkms.limit.connections=200\n{more}"
        );
        let config = house.configure(&format!("n{at}"), redis, &more);
        nodes.push(Some(house.start(&format!("n{at}"), config)));
        ports.push((service, health));
    }
    for node in nodes.iter().flatten() {
        node.wait_joined(2);
    }
    let (haproxy, address, doors) = haproxy(house.bench.folder.path(), &ports);
    let target = house.target(address, "cmxDevice");
    let mut backend = wait_until("HAProxy takes no node in", Duration::from_secs(20), || {
        let mut asker = Asker::try_new(&house.target(address, "cmxBackend"))?;
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
        doors,
        house,
        _haproxy: haproxy,
    }
}
