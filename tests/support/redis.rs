//! Redis servers of one test: one, a master with replica and sentinels, or a cluster of three masters with a
//! replica each; with TLS, client certificates and the users of docs/cluster.md, or in plaintext.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::pki::{CLIENT, Pki};
use super::process::Process;
use super::{PATIENCE, free_port, run, try_run, wait_for_port, wait_until};

/// Of the user `kms`.
pub const PASSWORD: &str = "kmspass-2f1c";
const ADMIN: &str = "adminpass-9d7e";
const REPLICA: &str = "replpass-77aa";
/// Name of the master that the sentinels watch.
pub const MASTER: &str = "kms";
const BOTH: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n\
     subjectAltName=DNS:localhost,IP:127.0.0.1\n";

pub struct Server {
    pub port: u16,
    pub process: Process,
    folder: PathBuf,
}

/// Servers with what lets a test and a node in.
pub struct Redis {
    pub folder: PathBuf,
    pub tls: bool,
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

/// `engineCA`, the servers' `redis`, our `kmsEngine`, and `foreign`, of an authority of its own.
pub fn certificates(pki: &Pki) {
    pki.root("engineCA");
    pki.root("foreignCA");
    pki.leaf("redis", "engineCA", BOTH);
    pki.leaf("kmsEngine", "engineCA", CLIENT);
    pki.leaf("foreign", "foreignCA", CLIENT);
}

/// As docs/cluster.md has them; only the administrator is the test's own.
fn users() -> String {
    let document = include_str!("../../docs/cluster.md");
    let rights = document
        .lines()
        .find_map(|line| line.trim().strip_prefix("user kms on >SECRET "))
        .unwrap_or_else(|| panic!("docs/cluster.md has no line for users.acl"))
        .replace("NAME", "*");
    format!(
        "user default off nopass -@all\nuser kms on >{PASSWORD} {rights}\nuser admin on >{ADMIN} ~* &* +@all\n\
         user replica on >{REPLICA} resetkeys resetchannels -@all +psync +replconf +ping\n"
    )
}

impl Redis {
    fn new(folder: &Path, tls: bool) -> Self {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("users.acl"), users()).unwrap();
        Self {
            folder: folder.to_owned(),
            tls,
            servers: Vec::new(),
            sentinels: Vec::new(),
        }
    }

    /// One server in `pki`'s folder, which must have [`certificates`].
    pub fn standalone(pki: &Pki) -> Self {
        let mut redis = Self::new(&pki.folder, true);
        redis.start_one("");
        redis
    }

    /// One server without TLS; `KMS_TEST_VALKEY` may name Valkey's program, to be run in the place of Redis's.
    pub fn plaintext(folder: &Path) -> Self {
        let mut redis = Self::new(folder, false);
        redis.start_one("");
        redis
    }

    /// A master, a replica and three sentinels.
    pub fn sentinel(pki: &Pki) -> Self {
        let mut redis = Self::new(&pki.folder, true);
        redis.start_one("");
        let master = redis.servers[0].port;
        redis.start_one(&format!("replicaof 127.0.0.1 {master}\n"));
        wait_until("the replica does not follow", PATIENCE, || {
            redis
                .cli(0, &["INFO", "replication"])
                .contains("state=online")
                .then_some(())
        });
        for _ in 0..3 {
            redis.start_sentinel(master);
        }
        wait_until("the sentinels do not know each other", PATIENCE, || {
            let knows = |sentinel: &Server| {
                let said = redis.ask(sentinel.port, &["SENTINEL", "master", MASTER]);
                said.contains("num-other-sentinels\n2") && said.contains("num-slaves\n1")
            };
            redis.sentinels.iter().all(knows).then_some(())
        });
        redis
    }

    /// Three masters with a replica each.
    pub fn cluster(pki: &Pki) -> Self {
        let mut redis = Self::new(&pki.folder, true);
        let more = "cluster-enabled yes\ncluster-node-timeout 2000\ncluster-require-full-coverage no\n\
                    cluster-allow-reads-when-down no\ntls-cluster yes\n";
        for _ in 0..6 {
            redis.start_one(more);
        }
        let places: Vec<String> = redis
            .servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port))
            .collect();
        let mut args = vec!["--cluster", "create"];
        args.extend(places.iter().map(String::as_str));
        args.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        redis.cli(0, &args);
        wait_until("the cluster is not complete", PATIENCE, || {
            let all = (0..6).all(|at| {
                redis
                    .cli(at, &["CLUSTER", "INFO"])
                    .contains("cluster_state:ok")
                    && redis
                        .cli(at, &["CLUSTER", "NODES"])
                        .matches("slave")
                        .count()
                        == 3
            });
            all.then_some(())
        });
        redis
    }

    fn start_one(&mut self, more: &str) {
        let port = loop {
            let port = free_port();
            // The cluster's bus is ten thousand above.
            if port < 55_000 {
                break port;
            }
        };
        let folder = self.folder.join(format!("redis-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let text = format!("{}{more}", self.config(port, &folder));
        fs::write(folder.join("redis.conf"), text).unwrap();
        let valkey = std::env::var("KMS_TEST_VALKEY").ok().filter(|_| !self.tls);
        let program = valkey.as_deref().unwrap_or("redis-server");
        let process = launch(program, &folder, "redis.conf", &[]);
        wait_for_port(program, port);
        self.servers.push(Server {
            port,
            process,
            folder,
        });
    }

    fn config(&self, port: u16, folder: &Path) -> String {
        let base = self.folder.display();
        let tls = if self.tls {
            format!(
                "port 0\ntls-port {port}\ntls-cert-file {base}/redis.crt\ntls-key-file {base}/redis.key\n\
                 tls-ca-cert-file {base}/engineCA.crt\ntls-auth-clients yes\ntls-replication yes\n\
                 tls-session-caching no\n"
            )
        } else {
            format!("port {port}\n")
        };
        format!(
            "bind 127.0.0.1\n{tls}aclfile {base}/users.acl\nmasteruser replica\nmasterauth {REPLICA}\n\
             save \"\"\nappendonly no\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\nmaxmemory 64mb\n\
             maxmemory-policy volatile-lru\ndir {}\nenable-debug-command local\n",
            folder.display()
        )
    }

    fn start_sentinel(&mut self, master: u16) {
        let port = free_port();
        let folder = self.folder.join(format!("sentinel-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let base = self.folder.display();
        let text = format!(
            "bind 127.0.0.1\nport 0\ntls-port {port}\ntls-cert-file {base}/redis.crt\n\
             tls-key-file {base}/redis.key\ntls-ca-cert-file {base}/engineCA.crt\ntls-auth-clients yes\n\
             tls-replication yes\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
             sentinel auth-user {MASTER} admin\nsentinel auth-pass {MASTER} {ADMIN}\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n",
            folder.display()
        );
        fs::write(folder.join("redis.conf"), text).unwrap();
        let process = launch("redis-server", &folder, "redis.conf", &["--sentinel"]);
        wait_for_port("redis-sentinel", port);
        self.sentinels.push(Server {
            port,
            process,
            folder,
        });
    }

    /// What an administrator is told by server `at`.
    pub fn cli(&self, at: usize, args: &[&str]) -> String {
        let (ok, said) = self.cli_of(self.servers[at].port, true, args);
        assert!(ok, "redis-cli {args:?}: {said}");
        said
    }

    /// As [`Self::cli`], whatever comes of it.
    pub fn try_cli(&self, at: usize, args: &[&str]) -> (bool, String) {
        self.cli_of(self.servers[at].port, true, args)
    }

    fn ask(&self, port: u16, args: &[&str]) -> String {
        self.cli_of(port, false, args).1
    }

    fn cli_of(&self, port: u16, as_admin: bool, args: &[&str]) -> (bool, String) {
        let port = port.to_string();
        let mut all = vec!["-p", &port, "--no-auth-warning"];
        if as_admin {
            all.extend(["--user", "admin", "--pass", ADMIN]);
        }
        if self.tls {
            all.extend(["--tls", "--cacert", "engineCA.crt"]);
            all.extend(["--cert", "kmsEngine.crt", "--key", "kmsEngine.key"]);
        }
        all.extend(args);
        try_run(&self.folder, "redis-cli", &all, "")
    }

    /// Ends server `at` as a power cut does.
    pub fn kill(&mut self, at: usize) {
        let pid = self.servers[at].process.pid().to_string();
        run(Path::new("/"), "kill", &["-KILL", &pid]);
        self.servers[at].process.wait(Duration::from_secs(10));
    }

    /// Starts it again, empty.
    pub fn restart(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.process = launch("redis-server", &server.folder, "redis.conf", &[]);
        wait_for_port("redis-server", server.port);
    }

    /// Index of the server that says it is the master; of several servers of a cluster, the keeper of `name`.
    pub fn master(&self) -> usize {
        let found = (0..self.servers.len()).find(|at| {
            let (ok, said) = self.try_cli(*at, &["ROLE"]);
            ok && said.starts_with("master")
        });
        found.expect("a master")
    }

    /// Index of the master that keeps `name` in a cluster.
    pub fn keeper(&self, name: &str) -> usize {
        let (ok, _) = (0..self.servers.len())
            .map(|at| (self.try_cli(at, &["GET", name]), at))
            .map(|((ok, said), at)| (ok && !said.starts_with("MOVED"), at))
            .find(|(keeps, _)| *keeps)
            .map(|(keeps, at)| (at, keeps))
            .expect("a keeper");
        ok
    }

    /// Addresses for `kms.cluster.addresses`.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        let servers = if self.sentinels.is_empty() {
            &self.servers
        } else {
            &self.sentinels
        };
        servers
            .iter()
            .map(|server| ("localhost".to_owned(), server.port))
            .collect()
    }
}

fn launch(program: &str, folder: &Path, config: &str, more: &[&str]) -> Process {
    let mut command = Command::new(program);
    command.arg(folder.join(config)).args(more);
    Process::start(&mut command, &folder.join("server.log"))
}
