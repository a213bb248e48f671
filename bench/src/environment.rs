//! What the figures were measured on: part of every report.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use kms::wire::calendar::timestamp;
use serde::Serialize;

/// The machine, the time, and what of ours was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Day of the run, UTC.
    pub date: String,
    /// Our version, and the state of the tree where git tells it.
    pub version: String,
    /// As the kernel names it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Load average of the last minute, before the run.
    pub load_before: String,
    /// Run time that other guests of the host took during the run, seconds.
    pub stolen_s: f64,
}

impl Environment {
    /// Looked up now.
    pub fn now() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let now = timestamp(SystemTime::now());
        Self {
            date: now.split('T').next().unwrap_or_default().to_owned(),
            version: version(),
            cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            stolen_s: 0.0,
        }
    }

    /// Its make in a few words.
    pub fn machine(&self) -> String {
        format!("{}, {} cores, Linux {}", self.cpu, self.cores, self.kernel)
    }

    /// Notes the steal time since `before`.
    pub fn finish(&mut self, before: Duration) {
        let now = kms_loadgen::cpu::stolen().unwrap_or(before);
        self.stolen_s = now.saturating_sub(before).as_secs_f64();
    }
}

/// Our version and the commit, with a word on changes beside it. The README that tables are written into is none.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        Some((output.status.success(), output.stdout))
    };
    let Some((true, commit)) = git(&["rev-parse", "--short", "HEAD"]) else {
        return version.to_owned();
    };
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    let others = [
        "diff",
        "--quiet",
        "HEAD",
        "--",
        ":/",
        ":(top,exclude)bench/README.md",
    ];
    match git(&others) {
        Some((true, _)) => format!("{version}, {commit}"),
        _ => format!("{version}, {commit} and changes"),
    }
}
