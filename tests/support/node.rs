//! Our own server as operators run it: the program, a configuration file, its log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::{PATIENCE, run, wait_until};

pub struct Node {
    pub process: Process,
    pub port: u16,
    pub health_port: u16,
}

impl Node {
    pub fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts it with these environment variables, and waits until it says that it serves.
    pub fn start_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program());
        command.args(["serve", "--config"]).arg(config);
        command.envs(environment.iter().copied());
        let mut process = Process::start(&mut command, &config.with_extension("log"));
        let (port, health_port) =
            wait_until("kms serve does not say that it serves", PATIENCE, || {
                process.assert_alive();
                let log = process.log();
                let line = log.lines().find(|line| line.contains("serving address="))?;
                Some((port_of(line, "address=")?, port_of(line, "health=")?))
            });
        Self {
            process,
            port,
            health_port,
        }
    }

    /// Status and body of a health path.
    pub fn health(&self, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.health_port);
        let said = run(
            Path::new("."),
            "curl",
            &["-sS", "--max-time", "10", "-w", "\n%{http_code}", &url],
        );
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Waits until `/readyz` answers `status` with `word` in it.
    pub fn wait_ready(&self, status: u16, word: &str) {
        let mut last = (0, String::new());
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while std::time::Instant::now() < end {
            last = self.health("/readyz");
            if last.0 == status && last.1.contains(word) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        panic!(
            "/readyz is not {status} {word}: {last:?}\n{}",
            self.process.log()
        );
    }
}

/// Our program: also for the tests of another package, beside which it is built.
pub fn program() -> PathBuf {
    if let Some(built) = option_env!("CARGO_BIN_EXE_kms") {
        return built.into();
    }
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().and_then(Path::parent).unwrap();
    let program = folder.join("kms");
    assert!(
        program.exists(),
        "kms is not built: cargo build --workspace"
    );
    program
}

fn port_of(line: &str, name: &str) -> Option<u16> {
    let value = line.split(name).nth(1)?.split_whitespace().next()?;
    value.rsplit(':').next()?.parse().ok()
}
