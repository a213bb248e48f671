//! Nodes as processes, in front of a simulated HSM in this process and of real servers of Redis.
//!
//! The program `kms` is the one that is built beside these tests; `./test` builds both.
#![allow(dead_code)]

pub mod balanced;
pub mod network;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kms_loadgen::Target;
use kms_loadgen::client::Client;
use serde_json::{Value, json};

use crate::sim_support::Bench;
use crate::support::node::{Node, program};
use crate::support::pki::{KeyKind, Pki};
use crate::support::redis::{MASTER, PASSWORD, Redis, certificates};
use crate::support::wait_until;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A site: HSM, certificates, a key `demo`.
pub struct House {
    pub bench: Bench,
    pub pki: Pki,
}

impl House {
    pub fn new(bench: Bench) -> Self {
        let pki = Pki::new(&bench.folder.path().join("engine"), KeyKind::P256);
        certificates(&pki);
        Self { bench, pki }
    }

    pub fn hsm(&self) -> SocketAddr {
        self.bench.sim.address
    }

    /// Configures and starts node `name`.
    pub fn node(&self, name: &str, redis: &Redis, more: &str) -> Member<'_> {
        let config = self.configure(name, redis, more);
        self.start(name, config)
    }

    /// Starts what [`Self::configure`] wrote.
    pub fn start(&self, name: &str, config: PathBuf) -> Member<'_> {
        Member {
            node: Node::start(&config),
            name: name.to_owned(),
            config,
            house: self,
        }
    }

    /// Writes both files; lines of `more` that begin with `kms.cluster.` go into the second.
    pub fn configure(&self, name: &str, redis: &Redis, more: &str) -> PathBuf {
        let site = |file: &str| self.bench.site.file(file).display().to_string();
        let engine = |file: &str| self.pki.text(file);
        let folder = self.bench.folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let (cluster, main): (Vec<&str>, Vec<&str>) = more
            .lines()
            .partition(|line| line.starts_with("kms.cluster."));
        let base = format!(
            "kms.server.address=127.0.0.1\nkms.server.port=0\nkms.health.address=127.0.0.1:0\n\
             kms.keystore.file={}\nkms.keystore.password.file={}\nkms.keystore.alias=kmsClient\n\
             kms.server.alias=kmsServer\nkms.hsm.protocol=kmip1\nkms.hsm.server.url={}\nkms.hsm.server.name=localhost\n\
             kms.hsm.ca.alias=kmipSigningCA\nkms.hsm.pool.size=2\nkms.hsm.queue.max=512\nkms.threads=2\n\
             kms.cache.entries.max=1000\nkms.connections.max=256\nkms.request.body.max=64k\n\
             kms.control.socket=control.sock\nkms.audit.file=audit.log\nkms.cache.type=distributed\n\
             kms.distributed.cache.config.file=cluster.properties",
            site("kmsKeystore.p12"),
            site("keystore.password"),
            self.hsm(),
        );
        write(&folder.join("kms.properties"), &merged(&base, &main));
        let addresses: Vec<String> = redis
            .addresses()
            .iter()
            .map(|(host, port)| format!("{host}:{port}"))
            .collect();
        let mode = match (redis.sentinels.len(), redis.servers.len()) {
            (0, 1) => "standalone".to_owned(),
            (0, _) => "cluster".to_owned(),
            _ => format!("sentinel\nkms.cluster.sentinel.master={MASTER}"),
        };
        let tls = if redis.tls {
            format!(
                "kms.cluster.tls.ca.file={}\nkms.cluster.tls.cert.file={}\nkms.cluster.tls.key.file={}",
                engine("engineCA.crt"),
                engine("kmsEngine.crt"),
                engine("kmsEngine.key")
            )
        } else {
            "kms.cluster.tls=off".to_owned()
        };
        let base = format!(
            "kms.cluster.name=test\nkms.cluster.node={name}\nkms.cluster.mode={mode}\n\
             kms.cluster.addresses={}\nkms.cluster.username=kms\nkms.cluster.password={PASSWORD}\n\
             kms.cluster.budget.ms=100\n{tls}",
            addresses.join(",")
        );
        let _ = fs::set_permissions(
            self.pki.path("kmsEngine.key"),
            fs::Permissions::from_mode(0o600),
        );
        write(&folder.join("cluster.properties"), &merged(&base, &cluster));
        folder.join("kms.properties")
    }

    /// A connection to a service at `address`.
    pub fn target(&self, address: SocketAddr, certificate: &str) -> Target {
        let site = &self.bench.site;
        Target::from_pem(
            address,
            "localhost",
            &site.file("ca.crt"),
            &site.file(&format!("{certificate}.crt")),
            &site.file(&format!("{certificate}.key")),
        )
        .unwrap()
    }
}

/// Lines of `more` take the place of those of `base` with their key.
fn merged(base: &str, more: &[&str]) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let set: Vec<String> = more.iter().map(|line| key(line)).collect();
    let kept = base.lines().filter(|line| !set.contains(&key(line)));
    kept.chain(more.iter().copied())
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A running node.
pub struct Member<'a> {
    pub node: Node,
    pub name: String,
    pub config: PathBuf,
    house: &'a House,
}

impl Member<'_> {
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.node.port))
    }

    pub fn device(&self) -> Asker {
        Asker::new(self.house.target(self.address(), "cmxDevice"))
    }

    pub fn backend(&self) -> Asker {
        Asker::new(self.house.target(self.address(), "cmxBackend"))
    }

    pub fn wait_ready(&self) {
        self.node.wait_ready(200, "\"ready\"");
    }

    /// Ready, with the shared cache in use and `others` nodes known.
    pub fn wait_joined(&self, others: usize) {
        self.wait_ready();
        wait_until(&format!("{} does not join", self.name), PATIENCE, || {
            let status = self.status();
            let cluster = &status["cluster"];
            let peers = cluster["peers"].as_array().map_or(0, Vec::len);
            let joined =
                cluster["usable"] == true && cluster["subscribed"] == true && peers >= others;
            joined.then_some(())
        });
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.node.health("/status").1).unwrap()
    }

    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.node.health("/metrics").1;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}:\n{text}"))
            .parse()
            .unwrap()
    }

    /// Unwraps for which this node asked the HSM.
    pub fn by_hsm(&self) -> u64 {
        let count = self.metric("kms_unwraps_total{source=\"hsm\"}");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = count as u64;
        count
    }

    /// `kms` with these words, and this node's configuration: exit code and what it said.
    pub fn order(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program());
        command.args(words).arg("--config").arg(&self.config);
        let done = command.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).unwrap())
    }

    /// Sources of the unwraps in its audit log.
    pub fn sources(&self) -> Vec<String> {
        let log = fs::read_to_string(self.config.with_file_name("audit.log")).unwrap();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["operation"] == "decrypt" && line["status"] == 200)
            .map(|line| line["source"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

/// A client that checks what it gets.
pub struct Asker {
    target: Target,
    client: Client,
}

impl Asker {
    pub fn new(target: Target) -> Self {
        let client = Client::connect(&target).unwrap();
        Self { target, client }
    }

    /// `None`: nobody takes the connection yet.
    pub fn try_new(target: &Target) -> Option<Self> {
        let client = Client::connect(target).ok()?;
        let target = target.clone();
        Some(Self { target, client })
    }

    /// As [`Self::ask`], where an answer need not come.
    pub fn try_ask(&mut self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let path = format!("/v1/transit/{path}");
        let body = body.to_string();
        let answer = self
            .client
            .request(method, &path, None, body.as_bytes())
            .ok()?;
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Some((answer.status, json))
    }

    /// Status and JSON; a connection that ended is made anew once.
    pub fn ask(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("/v1/transit/{path}");
        let body = body.to_string();
        let answer = self
            .client
            .request(method, &path, None, body.as_bytes())
            .or_else(|_| {
                self.client = Client::connect(&self.target)?;
                self.client.request(method, &path, None, body.as_bytes())
            })
            .unwrap();
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, json)
    }

    pub fn create(&mut self, key: &str) {
        let (status, said) = self.ask("POST", &format!("keys/{key}"), &json!({}));
        assert_eq!(status, 200, "{said}");
    }

    /// Wraps, and gives the ciphertext.
    pub fn wrap(&mut self, key: &str, plaintext: &str) -> String {
        let (status, said) = self.ask(
            "POST",
            &format!("encrypt/{key}"),
            &json!({ "plaintext": plaintext }),
        );
        assert_eq!(status, 200, "{said}");
        said["data"]["ciphertext"].as_str().unwrap().to_owned()
    }

    /// Status, and the plaintext if it was a success.
    pub fn unwrap(&mut self, key: &str, ciphertext: &str) -> (u16, String) {
        let (status, said) = self.ask(
            "POST",
            &format!("decrypt/{key}"),
            &json!({ "ciphertext": ciphertext }),
        );
        let plaintext = said["data"]["plaintext"].as_str().unwrap_or_default();
        (status, plaintext.to_owned())
    }

    /// Asks until the unwrap has this status; how long that took from `since` on.
    pub fn until_status(
        &mut self,
        key: &str,
        ciphertext: &str,
        wanted: u16,
        since: Instant,
    ) -> Duration {
        let end = Instant::now() + PATIENCE;
        loop {
            let (status, _) = self.unwrap(key, ciphertext);
            if status == wanted {
                return since.elapsed();
            }
            assert!(
                Instant::now() < end,
                "{wanted} is awaited, {status} is answered"
            );
        }
    }
}

/// A data key's base64, by number.
pub fn data_key(number: usize) -> String {
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    let mut out = Vec::new();
    kms::wire::base64::put(&mut out, &bytes);
    String::from_utf8(out).unwrap()
}
