//! What the figures were measured on: part of every report.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
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
        Self {
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

    /// Notes the steal time since `before`.
    pub fn finish(&mut self, before: Duration) {
        let now = kms_loadgen::cpu::stolen().unwrap_or(before);
        self.stolen_s = now.saturating_sub(before).as_secs_f64();
    }
}
