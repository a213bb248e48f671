//! The machine that made the load: part of every result, because a figure without it means nothing.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One machine, looked up at the start of a run; what a machine does not tell is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its host name.
    pub name: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the CPU as the kernel names it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: u32,
    /// Cores that are online.
    pub cores_online: u32,
    /// Memory in all.
    pub memory_bytes: Option<u64>,
    /// Frequency governor of the first core.
    pub governor: Option<String>,
    /// Source of the clock.
    pub clocksource: Option<String>,
    /// Load average of the last minute, before the run.
    pub load_before: Option<f64>,
    /// CPU time that other guests of the host took during the run, all cores together.
    pub stolen_us: Option<u64>,
    /// CPU limit of the control group, in cores.
    pub cgroup_cores: Option<f64>,
    /// Memory limit of the control group.
    pub cgroup_memory_bytes: Option<u64>,
    /// Memory that may be locked, in the words of `ulimit`.
    pub memlock: Option<String>,
    /// Files that may be open, in the words of `ulimit`.
    pub nofile: Option<String>,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let limits = read("/proc/self/limits").unwrap_or_default();
        let cgroup = cgroup_folder();
        let of_cgroup = |file: &str| read(&format!("{}/{file}", cgroup.as_deref()?));
        Self {
            name: read("/proc/sys/kernel/hostname").unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            cpu: read("/proc/cpuinfo")
                .and_then(|text| cpu_model(&text))
                .unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism()
                .map_or(0, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            cores_online: read("/sys/devices/system/cpu/online")
                .map_or(0, |text| count_cores(&text)),
            memory_bytes: read("/proc/meminfo").and_then(|text| memory(&text)),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clocksource: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            load_before: read("/proc/loadavg")
                .and_then(|text| text.split(' ').next()?.parse().ok()),
            stolen_us: None,
            cgroup_cores: of_cgroup("cpu.max").and_then(|text| quota(&text)),
            cgroup_memory_bytes: of_cgroup("memory.max").and_then(|text| text.parse().ok()),
            memlock: limit(&limits, "Max locked memory"),
            nofile: limit(&limits, "Max open files"),
        }
    }

    /// Notes the steal time between two readings of [`crate::cpu::stolen`].
    pub fn set_stolen(&mut self, before: Duration, after: Duration) {
        let stolen = after.saturating_sub(before);
        self.stolen_us = Some(u64::try_from(stolen.as_micros()).unwrap_or(u64::MAX));
    }
}

/// None for what is not there; a machine need not tell.
fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let mut lines = cpuinfo.lines();
    let value = lines.find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    value.map(|(_, model)| model.trim().to_owned())
}

/// `0-3,8` is five.
fn count_cores(online: &str) -> u32 {
    let part = |part: &str| -> Option<u32> {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
                last.checked_sub(first)?.checked_add(1)
            }
            None => part.parse::<u32>().ok().map(|_| 1),
        }
    };
    online
        .split(',')
        .filter_map(part)
        .fold(0, u32::saturating_add)
}

fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// `150000 100000` of `cpu.max` is one and a half cores; `max 100000` is no limit.
fn quota(cpu_max: &str) -> Option<f64> {
    let (quota, period) = cpu_max.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

/// The folder of this process' group in the unified hierarchy.
fn cgroup_folder() -> Option<String> {
    let groups = read("/proc/self/cgroup")?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{}", group.trim_end_matches('/')))
}

/// The soft limit and its unit, e.g. `8388608 bytes`, `unlimited`.
fn limit(limits: &str, name: &str) -> Option<String> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_ascii_whitespace();
    let (soft, _hard, unit) = (words.next()?, words.next()?, words.next());
    Some(match (soft, unit) {
        ("unlimited", _) | (_, None) => soft.to_owned(),
        (_, Some(unit)) => format!("{soft} {unit}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(
            cpu_model("processor\t: 0\nmodel name\t: A: B\n").unwrap(),
            "A: B"
        );
        assert_eq!(cpu_model("Hardware\t: x"), None);
        for (text, want) in [("0", 1), ("0-3,8", 5), ("", 0), ("3-1", 0)] {
            assert_eq!(count_cores(text), want, "{text}");
        }
        for (text, want) in [
            ("max 100000", None),
            ("150000 100000", Some(1.5)),
            ("1 0", None),
        ] {
            assert_eq!(quota(text), want, "{text}");
        }
        assert_eq!(memory("MemTotal:       2 kB\n"), Some(2048));
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
            Max open files            20000                20000                files     \n\
            Max locked memory         unlimited            unlimited            bytes     \n";
        for (name, want) in [
            ("Max open files", Some("20000 files")),
            ("Max locked memory", Some("unlimited")),
            ("Max stack size", None),
        ] {
            assert_eq!(limit(limits, name).as_deref(), want, "{name}");
        }
    }

    #[test]
    fn this_machine_says_something() {
        let here = Machine::here();
        assert!(
            here.cores > 0 && !here.kernel.is_empty() && here.nofile.is_some(),
            "{here:?}"
        );
    }
}
