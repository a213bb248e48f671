//! A site of two nodes below one folder, its HSM, and its authority, for a document's commands to work on.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::free_ports;
use super::support::pki::{CLIENT, KeyKind, Pki, SERVER};
use super::support::pykmip::Hsm;

pub const NODES: [&str; 2] = ["node1", "node2"];

pub struct Site {
    root: tempfile::TempDir,
    /// Authorities and the HSM's files.
    pub pki: Pki,
    /// Service and health of each node.
    pub ports: [(u16, u16); 2],
    pub hsm: Hsm,
}

impl Site {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let pki = Pki::new(&root.path().join("authorities"), KeyKind::P256);
        pki.root("rootCA");
        pki.intermediate("issuingCA", "rootCA");
        pki.root("kmipSigningCA");
        pki.leaf("hsm", "kmipSigningCA", SERVER);
        let mut hsm = Hsm::new(&pki);
        hsm.start();
        let [a, b, c, d] = free_ports();
        let site = Self {
            root,
            pki,
            ports: [(a, b), (c, d)],
            hsm,
        };
        site.install_programs();
        for node in NODES {
            fs::create_dir_all(site.path(node)).unwrap();
            let lines = site.node_environment(node).into_iter();
            let text: String = lines
                .map(|(name, value)| format!("export {name}='{value}'\n"))
                .collect();
            fs::write(site.path(node).join("environment"), text).unwrap();
        }
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `kms`, and the programs that this machine shall not really run.
    fn install_programs(&self) {
        let bin = self.path("bin");
        fs::create_dir_all(&bin).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operations/bin");
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = bin.join(entry.file_name());
            fs::copy(entry.path(), &to).unwrap();
            fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_kms"), bin.join("kms")).unwrap();
    }

    /// What differs between nodes that share one machine.
    fn node_environment(&self, node: &str) -> Vec<(&'static str, String)> {
        let at = usize::from(node == NODES[1]);
        let (port, health) = self.ports[at];
        vec![
            ("NODE", node.to_owned()),
            ("KMS_SERVER_ADDRESS", "127.0.0.1".to_owned()),
            ("KMS_SERVER_PORT", port.to_string()),
            ("KMS_HEALTH_ADDRESS", format!("127.0.0.1:{health}")),
            (
                "KMS_CONTROL_SOCKET",
                self.text(&format!("{node}/control.sock")),
            ),
            (
                "KMS_AUDIT_FILE",
                self.text(&format!("{node}/var/log/kms/audit.log")),
            ),
            ("KMS_CACHE_ENTRIES_MAX", "1000".to_owned()),
            ("KMS_CONNECTIONS_MAX", "64".to_owned()),
            ("KMS_THREADS", "2".to_owned()),
            ("KMS_HSM_POOL_SIZE", "2".to_owned()),
            // PyKMIP on a busy machine.
            ("KMS_HSM_TIMEOUT_MS", "30000".to_owned()),
        ]
    }

    /// The document's variables, and the first node's own.
    pub fn environment(&self) -> Vec<(String, String)> {
        let me = fs::metadata(self.root()).unwrap();
        let (port, health) = self.ports[0];
        let path = std::env::var("PATH").unwrap();
        let variables = [
            ("ROOT", self.root().to_str().unwrap().to_owned()),
            ("PATH", format!("{}:{path}", self.text("bin"))),
            ("CONF", self.text("node1/etc/kms")),
            ("LOGS", self.text("node1/var/log/kms")),
            ("WORK", self.text("keystore")),
            ("NAME", "localhost".to_owned()),
            ("PORT", port.to_string()),
            ("HEALTH", format!("127.0.0.1:{health}")),
            ("NODES", NODES[1].to_owned()),
            ("HSM", format!("localhost:{}", self.hsm.port)),
            ("DOMAIN", "example.test".to_owned()),
            ("OWNER", format!("{}:{}", me.uid(), me.gid())),
            ("BIN", self.text("bin/kms")),
            ("PROGRAM", env!("CARGO_BIN_EXE_kms").to_owned()),
            ("YEAR", "20270115".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
        ];
        let own = self.node_environment(NODES[0]).into_iter();
        variables
            .into_iter()
            .chain(own)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// What an authority does at night: every request that lies there is signed.
    pub fn sign_requests(&self) {
        let work = self.path("keystore");
        for entry in fs::read_dir(&work).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let Some(name) = name.strip_suffix(".csr") else {
                continue;
            };
            if work.join(format!("{name}.crt")).exists() {
                continue;
            }
            let (authority, usage) = match name {
                _ if name.starts_with("kmsClient") => ("kmipSigningCA", CLIENT),
                _ if name.starts_with("kmsServer") => (
                    "issuingCA",
                    "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n",
                ),
                _ => ("issuingCA", CLIENT),
            };
            self.sign(&work, name, authority, usage);
        }
        for (from, to) in [
            ("issuingCA", "chain"),
            ("rootCA", "ca"),
            ("kmipSigningCA", "kmipSigningCA"),
        ] {
            // Once: clients read it all the time.
            let to = work.join(format!("{to}.crt"));
            if !to.exists() {
                fs::copy(self.pki.path(&format!("{from}.crt")), to).unwrap();
            }
        }
    }

    fn sign(&self, work: &Path, name: &str, authority: &str, usage: &str) {
        let file = |end: &str| {
            work.join(format!("{name}.{end}"))
                .to_str()
                .unwrap()
                .to_owned()
        };
        let [crt, key] = ["crt", "key"].map(|end| self.pki.text(&format!("{authority}.{end}")));
        let extensions = self.path("extensions");
        fs::write(
            &extensions,
            format!("basicConstraints=critical,CA:FALSE\n{usage}"),
        )
        .unwrap();
        self.pki.openssl(&[
            "x509",
            "-req",
            "-sha256",
            "-days",
            "397",
            "-in",
            &file("csr"),
            "-CA",
            &crt,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-copy_extensions",
            "copy",
            "-extfile",
            extensions.to_str().unwrap(),
            "-out",
            &file("crt"),
        ]);
    }

    /// Process id of a node's server.
    pub fn pid(&self, node: &str) -> String {
        let text = fs::read_to_string(self.path(node).join("pid")).unwrap();
        text.trim().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for node in NODES {
            let Ok(pid) = fs::read_to_string(self.path(node).join("pid")) else {
                continue;
            };
            // Only what still is that server: its number may be another's by now.
            let command = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(self.root().to_str().unwrap()) {
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
            }
        }
    }
}
