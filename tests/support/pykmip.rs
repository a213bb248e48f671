//! A PyKMIP server: the HSM of the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::pki::{KeyKind, Pki};
use super::process::Process;
use super::{free_port, wait_for_port};

const STOCK: &str = "from kmip.services.server.server import main; main()";

/// The Python that has PyKMIP.
pub fn python() -> PathBuf {
    let python = std::env::var_os("KMS_TEST_PYKMIP")
        .map_or_else(|| tools().join("pykmip/bin/python"), PathBuf::from);
    let place = python.display();
    assert!(python.exists(), "no PyKMIP at {place}: run ./test install");
    python
}

/// Where `./test install` puts what it brings: cargo keeps the tests' scratch space beside it.
pub fn tools() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().unwrap().join("test-tools")
}

/// Where the HSM is and what it has; it may be started and stopped many times and keeps its keys.
pub struct Hsm {
    pub port: u16,
    folder: PathBuf,
    kind: KeyKind,
    /// The newest KMIP that it speaks, if not all that PyKMIP has.
    version_max: Option<&'static str>,
    process: Option<Process>,
}

impl Hsm {
    /// Not started yet. `pki` has the HSM's certificate as `hsm` and its clients' authority as
    /// `kmipSigningCA`. With RSA it speaks TLS 1.3, with P-256 it is the stock server with TLS 1.2.
    pub fn new(pki: &Pki) -> Self {
        let folder = pki.path("hsm.state");
        fs::create_dir_all(folder.join("policy")).unwrap();
        let port = free_port();
        let [crt, key, ca] = ["hsm.crt", "hsm.key", "kmipSigningCA.crt"].map(|file| pki.text(file));
        let state = folder.display();
        let text = format!(
            "[server]\nhostname=127.0.0.1\nport={port}\ncertificate_path={crt}\nkey_path={key}\n\
             ca_path={ca}\nauth_suite=TLS1.2\npolicy_path={state}/policy\n\
             enable_tls_client_auth=True\nlogging_level=INFO\ndatabase_path={state}/pykmip.db\n"
        );
        fs::write(folder.join("server.conf"), text).unwrap();
        Self {
            port,
            folder,
            kind: pki.kind,
            version_max: None,
            process: None,
        }
    }

    /// As an older server: KMIP up to `version_max`, such as `1.2`. It prints the logins it gets.
    pub fn older(pki: &Pki, version_max: &'static str) -> Self {
        Self {
            version_max: Some(version_max),
            ..Self::new(pki)
        }
    }

    /// The logins an [`Hsm::older`] server got, each `user password`.
    pub fn logins(&self) -> Vec<String> {
        let said = fs::read_to_string(self.folder.join("out.log")).unwrap();
        let logins = said.lines().filter_map(|line| line.strip_prefix("login "));
        logins.map(str::to_owned).collect()
    }

    pub fn start(&mut self) {
        let mut command = Command::new(python());
        command.args(["-W", "ignore"]);
        if let Some(most) = self.version_max {
            command.env("KMS_TEST_KMIP_MAX", most);
        }
        match (self.kind, self.version_max) {
            (KeyKind::P256, None) => command.args(["-c", STOCK]),
            _ => command.arg(
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/pykmip_launcher.py"),
            ),
        };
        command.arg("-f").arg(self.folder.join("server.conf"));
        command.arg("-l").arg(self.folder.join("server.log"));
        self.process = Some(Process::start(&mut command, &self.folder.join("out.log")));
        // It may stay alive without listening, so the port is what is waited for.
        wait_for_port("PyKMIP", self.port);
    }

    /// Ends it and its helpers at once: connections to it break.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// It stays there, its port too, and does nothing.
    pub fn freeze(&self) {
        self.process.as_ref().unwrap().signal_all("STOP");
    }

    pub fn thaw(&self) {
        self.process.as_ref().unwrap().signal_all("CONT");
    }
}
