//! The server's process: started, awaited, stopped; only ours.
//!
//! Must never be true: a process that outlives its [`Node`]. Called by [`super::stage`] and by `kms-tune validate`.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::load::scrape::get;

/// From its start to readiness.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// From SIGTERM to its end: it drains.
const END_PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// Of its log, for errors.
const TAIL_LINES: usize = 5;

/// A running server.
pub struct Node {
    child: Child,
    properties: PathBuf,
    program: PathBuf,
    log: PathBuf,
    /// Host and port of its health listener.
    health: String,
}

impl Node {
    /// Starts it and waits until it is ready.
    pub fn start(
        program: &Path,
        properties: &Path,
        log: &Path,
        health: &str,
    ) -> Result<Self, String> {
        let child = spawn(program, properties, log)?;
        let mut node = Self {
            child,
            properties: properties.to_owned(),
            program: program.to_owned(),
            log: log.to_owned(),
            health: health.to_owned(),
        };
        node.wait_until_ready()?;
        Ok(node)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts it again, once it has ended.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.child = spawn(&self.program, &self.properties, &self.log)?;
        self.wait_until_ready()
    }

    /// SIGSTOP and SIGCONT.
    pub fn freeze(&mut self, is_frozen: bool) -> Result<(), String> {
        self.signal(if is_frozen {
            Signal::STOP
        } else {
            Signal::CONT
        })
    }

    /// SIGTERM: it drains. Waits for its end.
    pub fn terminate(&mut self) -> Result<ExitStatus, String> {
        self.signal(Signal::TERM)?;
        let until = Instant::now() + END_PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > until {
                self.kill()?;
                return Err(format!(
                    "the server did not end within {} s",
                    END_PATIENCE.as_secs()
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| error.to_string())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("the server cannot be killed: {error}");
        self.child.kill().map_err(failed)?;
        self.child.wait().map(|_| ()).map_err(failed)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), String> {
        // Once it was waited for, its number may be another's.
        if let Some(status) = self.ended()? {
            return Err(format!("the server has ended already, with {status}"));
        }
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("a process without a number")?;
        kill_process(pid, signal)
            .map_err(|error| format!("the server cannot be signalled: {error}"))
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + READY_PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                return Err(format!("the server ended with {status}:\n{}", self.tail()));
            }
            if get(&self.health, "/readyz").is_ok() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "the server was not ready within {} s:\n{}",
                    READY_PATIENCE.as_secs(),
                    self.tail()
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The last lines of its log.
    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(TAIL_LINES)..)
            .unwrap_or_default()
            .join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that was stopped cannot end itself; one that has ended is as good.
        if self.freeze(false).is_ok() && self.terminate().is_err() {
            let _ = self.kill();
        }
    }
}

fn spawn(program: &Path, properties: &Path, log: &Path) -> Result<Child, String> {
    let failed = |what: &Path| {
        let what = what.display().to_string();
        move |error: std::io::Error| format!("{what}: {error}")
    };
    let out: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed(log))?;
    let other = out.try_clone().map_err(failed(log))?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(properties);
    command.stdin(Stdio::null()).stdout(out).stderr(other);
    command.spawn().map_err(failed(program))
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}
