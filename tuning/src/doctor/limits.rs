//! What the process may have: locked memory, files, processors, memory.

use super::{Check, Finding, Host, Verdict, Wants};

/// `CAP_IPC_LOCK`.
const IPC_LOCK: u64 = 1 << 14;
const KIB: f64 = 1024.0;

pub(super) fn checks(host: &Host, wants: &Wants) -> Vec<Finding> {
    vec![
        memlock(host, wants),
        nofile(host, wants),
        cpu_quota(host, wants),
        memory_quota(host, wants),
        memory(host, wants),
    ]
}

/// The soft limit of that name; infinite is unlimited.
pub(super) fn soft(host: &Host, name: &str) -> Option<f64> {
    let table = host.read_of_process("limits")?;
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let first = line.split_whitespace().next()?;
    // What is no number is `unlimited`.
    Some(first.parse().unwrap_or(f64::INFINITY))
}

fn memlock(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "locked memory (RLIMIT_MEMLOCK)",
        "the server locks all memory for keys at its start, or does not start",
    );
    let capable = host.read_of_process("status").is_some_and(|status| {
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        effective
            .is_some_and(|bits| u64::from_str_radix(bits.trim(), 16).unwrap_or(0) & IPC_LOCK != 0)
    });
    let wanted = format!("at least {:.0} bytes", wants.locked_bytes);
    match soft(host, "Max locked memory") {
        None => check.absent("no limits of that process"),
        Some(limit) if limit.is_infinite() => check.ok("unlimited", wanted),
        Some(limit) if limit >= wants.locked_bytes => check.ok(format!("{limit:.0} bytes"), wanted),
        Some(limit) if capable => check.ok(format!("{limit:.0} bytes, and CAP_IPC_LOCK"), wanted),
        Some(limit) => {
            let mib = (wants.locked_bytes * 1.1 / KIB / KIB).ceil();
            let fix = format!(
                "LimitMEMLOCK={mib:.0}M in the service (ulimit -l {:.0} in a shell)",
                mib * KIB
            );
            check.finding(Verdict::Error, format!("{limit:.0} bytes"), wanted, fix)
        }
    }
}

fn nofile(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "open files (RLIMIT_NOFILE)",
        "each connection is one; beyond the limit none is accepted",
    );
    let limit = soft(host, "Max open files");
    check.at_least(limit, wants.files, Verdict::Error, |least| {
        format!("LimitNOFILE={least:.0} in the service (ulimit -n {least:.0} in a shell)")
    })
}

/// The cgroup's folder, version 2.
fn cgroup(host: &Host) -> Option<String> {
    let lines = host.read_of_process("cgroup")?;
    let path = lines
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?
        .to_owned();
    Some(format!("sys/fs/cgroup{path}"))
}

fn cpu_quota(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "CPU quota (cgroup cpu.max)",
        "threads beyond the quota are stopped for the rest of each period",
    );
    let quota = cgroup(host).and_then(|folder| host.read(&format!("{folder}/cpu.max")));
    let Some(quota) = quota else {
        return check.absent("no quota in this cgroup");
    };
    let numbers: Vec<Option<f64>> = quota
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [Some(quota), Some(period)] if period > 0.0 => {
            let cores = quota / period;
            if cores + 1e-9 >= wants.threads {
                check.ok(
                    format!("{cores} cores"),
                    format!("at least {:.0} cores", wants.threads),
                )
            } else {
                let fix = format!(
                    "CPUQuota={:.0}% in the service, or plan with machine.cores = {cores:.0}",
                    wants.threads * 100.0
                );
                check.finding(
                    Verdict::Warning,
                    format!("{cores} cores"),
                    format!("at least {:.0} cores", wants.threads),
                    fix,
                )
            }
        }
        _ => check.ok("none", "none, or the threads' number"),
    }
}

fn memory_quota(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "memory limit (cgroup memory.max)",
        "beyond it the process is killed",
    );
    let limit = cgroup(host).and_then(|folder| host.read(&format!("{folder}/memory.max")));
    let wanted = format!("at least {:.0} bytes", wants.resident_bytes * 1.2);
    match limit.map(|limit| limit.parse::<f64>()) {
        None => check.absent("no limit in this cgroup"),
        Some(Err(_)) => check.ok("none", wanted),
        Some(Ok(limit)) if limit >= wants.resident_bytes * 1.2 => {
            check.ok(format!("{limit:.0} bytes"), wanted)
        }
        Some(Ok(limit)) => {
            let fix = format!(
                "MemoryMax={:.0} in the service",
                (wants.resident_bytes * 1.5).ceil()
            );
            check.finding(Verdict::Error, format!("{limit:.0} bytes"), wanted, fix)
        }
    }
}

fn memory(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "memory of the host",
        "what is locked cannot be given back when the host is short of it",
    );
    let available = host.read("proc/meminfo").and_then(|table| {
        let line = table
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    });
    let bytes = available.map(|kib| kib * KIB);
    check.at_least(
        bytes,
        (wants.resident_bytes * 2.0).max(256e6),
        Verdict::Error,
        |_| "a larger machine, or a smaller policy.entries_max".to_owned(),
    )
}
