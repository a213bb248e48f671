//! Child processes that end with their owner, each by its own id, and their children with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with stdout and stderr going to `log`, and nothing to read.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let out = File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| {
                let program = command.get_program().display();
                panic!("{program} is needed ({error}): run ./test install")
            });
        Self {
            child,
            log: log.to_owned(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Panics with its log once it has ended.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the process ended with {status}:\n{}", self.log());
        }
    }

    /// SIGTERM, then as long as `limit`; whether it ended by itself, and its exit code.
    pub fn terminate(&mut self, limit: Duration) -> Option<i32> {
        signal(self.pid(), "TERM");
        self.wait(limit)
    }

    /// `STOP` or `CONT`, to it and its children.
    pub fn signal_all(&self, name: &str) {
        let mut family = vec![self.pid()];
        descendants(self.pid(), &mut family);
        for pid in family {
            signal(pid, name);
        }
    }

    /// As long as `limit`; its exit code, if it ended by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // While the process lives its children can be named; afterwards they belong to init.
        let mut family = Vec::new();
        if matches!(self.child.try_wait(), Ok(None)) {
            descendants(self.pid(), &mut family);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in family {
            signal(pid, "KILL");
        }
    }
}

fn descendants(pid: u32, into: &mut Vec<u32>) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            into.push(child);
            descendants(child, into);
        }
    }
}

fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}
