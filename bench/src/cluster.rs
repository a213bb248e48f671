//! Three nodes before one simulated HSM, with and without a shared cache: what the HSM is asked, how soon a
//! restarted node is warm, and what a miss costs while the engine hangs.
//!
//! Must never be true: an unwrap counted whose plaintext was not compared; a server left running.

mod load;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kms::wire::base64;
use kms_loadgen::Target;
use kms_loadgen::client::Client;
use kms_loadgen::sim::Preset;
use kms_loadgen::sim::site::Ports;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::hsm::{Simulated, simulate};
use crate::peers::ours;
use crate::server::{Server, StartError, find_program, free_address};

pub use load::measure;

/// Nodes of the cluster.
const NODES: usize = 3;
/// Clients of each node, each with a connection and one request at a time.
const CLIENTS: usize = 4;
/// Data keys in all; each node's own cache holds a tenth.
const KEYS: usize = 10_000;
const ENTRIES_MAX: usize = KEYS / 10;
/// Items of one wrap request.
const BATCH: usize = 200;
const REMEDY: &str = "apt-get install redis-server, or set KMS_BENCH_REDIS to the program";

fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::Failed(format!("cluster: {error}"))
}

/// The site: HSM, engine, wrapped keys.
struct House {
    folder: tempfile::TempDir,
    hsm: Simulated,
    engine: Server,
    wrapped: Arc<Vec<String>>,
}

struct Node {
    server: Server,
    health: SocketAddr,
    config: PathBuf,
}

/// Latencies of unwraps by one node's clients.
struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Result<Times, String>>>,
}

/// When each unwrap was asked for, and how long it took.
type Times = Vec<(Instant, Duration)>;

fn data_key(at: usize) -> String {
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&(at as u64 + 1).to_be_bytes());
    let mut out = Vec::new();
    base64::put(&mut out, &bytes);
    String::from_utf8(out).unwrap_or_default()
}

impl House {
    fn build() -> Result<Self, StartError> {
        let folder = tempfile::Builder::new().prefix("kms-bench-").tempdir()?;
        let ports = Ports {
            service: 1,
            health: 2,
        };
        let hsm = simulate(&folder.path().join("site"), Preset::LanHsm.model(), ports)?;
        let program = std::env::var_os("KMS_BENCH_REDIS").map(PathBuf::from);
        let usual = [
            PathBuf::from("redis-server"),
            PathBuf::from("/usr/bin/redis-server"),
        ];
        let candidates: Vec<PathBuf> = program.into_iter().chain(usual).collect();
        let program = find_program(&candidates).ok_or_else(|| failed(REMEDY))?;
        let address = free_address()?;
        let place = folder.path().join("redis");
        fs::create_dir(&place)?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&place);
        let engine = Server::start("redis-server", command, address, &place)?;
        let mut house = Self {
            folder,
            hsm,
            engine,
            wrapped: Arc::default(),
        };
        house.wrap_keys()?;
        Ok(house)
    }

    fn wrap_keys(&mut self) -> Result<(), StartError> {
        let node = self.node("wrapper", false)?;
        let mut client =
            Client::connect(&self.target(node.server.address, "cmxBackend")?).map_err(failed)?;
        let mut ask = |path: &str, body: &str| -> Result<Value, StartError> {
            let answer = client
                .request("POST", path, None, body.as_bytes())
                .map_err(failed)?;
            if answer.status != 200 {
                return Err(failed(String::from_utf8_lossy(&answer.body)));
            }
            serde_json::from_slice(&answer.body).map_err(failed)
        };
        ask("/v1/transit/keys/demo", "{}")?;
        let mut wrapped = Vec::with_capacity(KEYS);
        for first in (0..KEYS).step_by(BATCH) {
            let items: Vec<String> = (first..first + BATCH)
                .map(|at| format!("{{\"plaintext\":\"{}\"}}", data_key(at)))
                .collect();
            let body = format!("{{\"batch_input\":[{}]}}", items.join(","));
            let answer = ask("/v1/transit/encrypt/demo", &body)?;
            let results = answer["data"]["batch_results"].as_array();
            for result in results.into_iter().flatten() {
                wrapped.push(result["ciphertext"].as_str().unwrap_or_default().to_owned());
            }
        }
        self.wrapped = Arc::new(wrapped);
        Ok(())
    }

    fn target(&self, address: SocketAddr, who: &str) -> Result<Target, StartError> {
        let site = &self.hsm.site;
        let file = |end: &str| site.file(&format!("{who}.{end}"));
        Target::from_pem(
            address,
            "localhost",
            &site.file("ca.crt"),
            &file("crt"),
            &file("key"),
        )
        .map_err(failed)
    }

    fn node(&self, name: &'static str, shared: bool) -> Result<Node, StartError> {
        let (address, health) = (free_address()?, free_address()?);
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder)?;
        let site = |file: &str| self.hsm.site.file(file).display().to_string();
        let kind = if shared { "distributed" } else { "none" };
        let text = format!(
            "kms.server.address=127.0.0.1\nkms.server.port={}\nkms.health.address={health}\n\
             kms.keystore.file={}\nkms.keystore.password.file={}\nkms.keystore.alias=kmsClient\n\
             kms.server.alias=kmsServer\nkms.hsm.server.url={}\nkms.hsm.server.name=localhost\n\
             kms.threads=2\nkms.hsm.pool.size=4\nkms.cache.entries.max={ENTRIES_MAX}\nkms.audit.mode=off\n\
             kms.control.socket=control.sock\nkms.cache.type={kind}\n\
             kms.distributed.cache.config.file=cluster.properties\n",
            address.port(),
            site("kmsKeystore.p12"),
            site("keystore.password"),
            self.hsm.sim.address,
        );
        let config = folder.join("kms.properties");
        write(&config, &text)?;
        let text = format!(
            "kms.cluster.node={name}\nkms.cluster.addresses={}\nkms.cluster.tls=off\n",
            self.engine.address
        );
        write(&folder.join("cluster.properties"), &text)?;
        start(config, address, health)
    }

    fn crowd(&self, node: &Node, seed: u64, pick: Pick) -> Result<Crowd, StartError> {
        let target = self.target(node.server.address, "cmxDevice")?;
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let threads = (0..CLIENTS).map(|at| {
            let (stop, done, target) = (Arc::clone(&stop), Arc::clone(&done), target.clone());
            let wrapped = Arc::clone(&self.wrapped);
            std::thread::spawn(move || {
                let random = SmallRng::seed_from_u64(seed * 100 + at as u64);
                ask_on(&target, &wrapped, random, pick, &stop, &done)
            })
        });
        Ok(Crowd {
            threads: threads.collect(),
            stop,
        })
    }
}

fn write(path: &Path, text: &str) -> Result<(), StartError> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o600),
    )?)
}

fn start(config: PathBuf, address: SocketAddr, health: SocketAddr) -> Result<Node, StartError> {
    let mut command = Command::new(ours::program()?);
    command.args(["serve", "--config"]).arg(&config);
    let folder = config.parent().unwrap_or(Path::new("."));
    let mut server = Server::start("kms", command, address, folder)?;
    server.wait_until(|| {
        ask_health(health, "/readyz").is_ok_and(|said| said.contains("\"ready\""))
    })?;
    Ok(Node {
        server,
        health,
        config,
    })
}

fn ask_health(address: SocketAddr, path: &str) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

impl Node {
    /// Unwraps so far: from its own cache, the shared one, the HSM.
    fn unwraps(&self) -> Result<[f64; 3], StartError> {
        let text = ask_health(self.health, "/metrics")?;
        let of = |source: &str| {
            let name = format!("kms_unwraps_total{{source=\"{source}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        Ok([of("cache"), of("shared"), of("hsm")])
    }
}

/// Which key is asked for next.
#[derive(Clone, Copy)]
enum Pick {
    /// By Zipf's law with exponent 1: the n-th key with a weight of 1/n.
    Zipf,
    /// Each once in turn: no node's own cache has it.
    Cold,
}

fn ask_on(
    target: &Target,
    wrapped: &[String],
    mut random: SmallRng,
    pick: Pick,
    stop: &AtomicBool,
    done: &AtomicUsize,
) -> Result<Times, String> {
    let mut client = Client::connect(target).map_err(|error| error.to_string())?;
    // A key by its share of the sum of 1/n, which the logarithm follows.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let mut zipf = || (wrapped.len() as f64).powf(random.random::<f64>()) as usize - 1;
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let at = match pick {
            Pick::Zipf => zipf(),
            Pick::Cold => done.load(Ordering::Relaxed) % wrapped.len(),
        };
        let body = format!("{{\"ciphertext\":\"{}\"}}", wrapped[at]);
        let begun = Instant::now();
        let answer = client
            .request("POST", "/v1/transit/decrypt/demo", None, body.as_bytes())
            .map_err(|error| error.to_string())?;
        took.push((begun, begun.elapsed()));
        done.fetch_add(1, Ordering::Relaxed);
        let right = String::from_utf8_lossy(&answer.body).contains(&data_key(at));
        if answer.status != 200 || !right {
            return Err(format!(
                "{}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
    }
    Ok(took)
}

impl Crowd {
    fn end(self) -> Result<Times, StartError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in self.threads {
            let took = thread.join().map_err(|_| failed("a client panicked"))?;
            all.extend(took.map_err(failed)?);
        }
        Ok(all)
    }
}
