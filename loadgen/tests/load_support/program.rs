//! The program `kms-loadgen` as people start it, against a node in this process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs
)]

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use kms_loadgen::results::{RunResult, files};

use crate::sim_support::service::Service;
use crate::sim_support::{Bench, quick};

pub struct Stage {
    pub service: Service,
    pub bench: Bench,
}

pub fn stage() -> Stage {
    let bench = quick();
    let service = Service::start(&bench.site, &[bench.sim.address]);
    Stage { service, bench }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-loadgen"));
    command.stdin(Stdio::null()).env_remove("VAULT_TOKEN");
    command
}

impl Stage {
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.bench.folder.path().join(name)
    }

    /// A command with its options for the server.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command.args(words);
        command
            .arg("--address")
            .arg(self.service.target.address.to_string());
        for (option, name) in [
            ("--ca", "ca.crt"),
            ("--cert", "cmxDevice.crt"),
            ("--key", "cmxDevice.key"),
        ] {
            command.arg(option).arg(self.bench.site.file(name));
        }
        command
    }

    /// Of a load, on a machine that may be busy.
    pub fn load(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.args(["--lag-ms-max", "5000", "--connections", "4", "--quiet"]);
        command
    }
}

pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs it, and holds its exit code.
pub fn ends(command: &mut Command, code: i32) -> (String, String) {
    let output = command.output().unwrap();
    let (said, wrong) = texts(&output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}:\n{said}\n{wrong}"
    );
    (said, wrong)
}

pub fn result(folder: &Path) -> RunResult {
    files::load(folder).unwrap()
}

/// One that goes on while the test does something to it.
pub struct Running {
    child: Child,
    progress: Lines<BufReader<ChildStderr>>,
}

impl Running {
    /// Its results go to `out`.
    pub fn start(mut command: Command, out: &Path) -> Self {
        command.arg("--out").arg(out);
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, progress }
    }

    /// Waits for a line of its progress with these words.
    pub fn tells(&mut self, words: &str) {
        let mut lines = self.progress.by_ref().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(words)), "never: {words}");
    }

    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}"))
            .arg(self.child.id().to_string());
        assert!(kill.status().unwrap().success());
    }

    /// Waits for its end, and holds its exit code.
    pub fn ends(mut self, code: i32) {
        // Or it could not tell the rest.
        self.progress.for_each(drop);
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
    }
}
