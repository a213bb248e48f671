//! The program `kms-loadgen hsm-sim` as a process, told by its pid what to do.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-loadgen"));
    command.arg("hsm-sim").stdin(Stdio::null());
    command
}

/// A running simulator, ended with this.
pub struct Sim {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    greeting: Value,
}

impl Sim {
    pub fn start(folder: &Path, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", folder, more)
    }

    pub fn start_at(address: &str, folder: &Path, more: &[&str]) -> Self {
        let mut child = program()
            .args(["--address", address, "--json", "--write-site"])
            .arg(folder.join("site"))
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        lines.read_line(&mut greeting).unwrap();
        let greeting = serde_json::from_str(&greeting).unwrap();
        Self {
            child,
            lines,
            greeting,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.text("address").parse().unwrap()
    }

    /// `STOP`, `CONT` or `KILL`; of the last it also waits for the end.
    pub fn signal(&mut self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}"))
            .arg(self.child.id().to_string());
        assert!(kill.status().unwrap().success(), "{name}");
        if name == "KILL" {
            self.child.wait().unwrap();
        }
    }

    pub fn text(&self, name: &str) -> &str {
        self.greeting[name].as_str().unwrap()
    }

    pub fn port(&self) -> &str {
        self.text("address").rsplit_once(':').unwrap().1
    }

    pub fn order(&self, words: &[&str]) -> Output {
        let mut command = program();
        command.args(["ctl", self.text("control")]).args(words);
        command.output().unwrap()
    }

    /// SIGTERM: what it says last, and its exit code.
    pub fn terminate(mut self) -> (Value, Option<i32>) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut last = String::new();
        self.lines.read_to_string(&mut last).unwrap();
        let code = self.child.wait().unwrap().code();
        (serde_json::from_str(&last).unwrap(), code)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Ended already in most cases.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
