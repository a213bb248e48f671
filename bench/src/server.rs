//! One server process: started on the servers' core, awaited, stopped by its process id.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::on_server_core;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of a server's log that an error quotes.
const LOG_QUOTED_BYTES: usize = 2000;

/// Why a server is not there.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Its program is not on this machine.
    NotInstalled {
        /// The program.
        program: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// It is, and did not come up.
    Failed(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { program, remedy } => {
                write!(f, "{program} is not installed ({remedy})")
            }
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    name: &'static str,
    log: PathBuf,
}

impl Server {
    /// Starts `command` on the servers' core, its output in a log in `folder`. Ready when `address` accepts.
    pub fn start(
        name: &'static str,
        command: Command,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<Self, StartError> {
        let mut server = Self::spawn(name, command, address, folder)?;
        server.wait_until(|| TcpStream::connect(address).is_ok())?;
        Ok(server)
    }

    /// As [`Server::start`], without waiting: it may not have begun to listen.
    pub fn spawn(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<Self, StartError> {
        let log = folder.join("log");
        let output = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = on_server_core(|| command.spawn())?.map_err(|error| {
            StartError::Failed(format!(
                "{name}: cannot start {}: {error}",
                command.get_program().display()
            ))
        })?;
        Ok(Self {
            child,
            address,
            name,
            log,
        })
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits for `ready`, at most 30 s, and no longer than the process lives.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), StartError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(&format!("ended at once ({status})")));
            }
            if Instant::now() > deadline {
                return Err(self.failed("is not ready after 30 s"));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn failed(&self, what: &str) -> StartError {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = log
            .get(log.len().saturating_sub(LOG_QUOTED_BYTES)..)
            .unwrap_or_default();
        StartError::Failed(format!(
            "{} {what}: {}",
            self.name,
            String::from_utf8_lossy(tail).trim()
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that is free now.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The first of `candidates` that is a file; a bare name is looked up in `PATH`.
pub fn find_program(candidates: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates.iter().find_map(|candidate| {
        if candidate.components().count() > 1 {
            return candidate.is_file().then(|| candidate.clone());
        }
        std::env::split_paths(&path)
            .map(|folder| folder.join(candidate))
            .find(|whole| whole.is_file())
    })
}
