//! Where keys might get to: swap, core dumps, hibernation, other processes.

use super::{Check, Finding, Host, Verdict};

pub(super) fn checks(host: &Host) -> Vec<Finding> {
    vec![
        swap(host),
        hibernation(host),
        cores(host),
        dumpable(host),
        ptrace(host),
        secret_memory(host),
    ]
}

/// Swap on plain devices; RAM and encrypted devices are none.
fn swap(host: &Host) -> Finding {
    let check = Check::new(
        "swap",
        "locked memory is never swapped, but buffers of the TLS library are, and hibernation writes all",
    );
    let Some(table) = host.read("proc/swaps") else {
        return check.absent("no /proc/swaps");
    };
    let devices = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    let plain: Vec<&str> = devices.filter(|device| !is_safe(host, device)).collect();
    if plain.is_empty() {
        return check.ok("none that is not encrypted", "none, or encrypted");
    }
    let fix = format!(
        "swapoff {} && remove it from /etc/fstab, or put it on dm-crypt with a random key",
        plain.join(" ")
    );
    check.finding(Verdict::Error, plain.join(", "), "none, or encrypted", fix)
}

fn is_safe(host: &Host, device: &str) -> bool {
    let name = device.rsplit('/').next().unwrap_or(device);
    if name.starts_with("zram") {
        return true;
    }
    let is_crypt = |name: &str| {
        let uuid = host.read(&format!("sys/block/{name}/dm/uuid"));
        uuid.is_some_and(|uuid| uuid.starts_with("CRYPT-"))
    };
    let is_named =
        |other: &String| host.read(&format!("sys/block/{other}/dm/name")).as_deref() == Some(name);
    is_crypt(name)
        || host
            .names("sys/block")
            .iter()
            .any(|other| is_named(other) && is_crypt(other))
}

fn hibernation(host: &Host) -> Finding {
    let check = Check::new(
        "hibernation",
        "it writes all memory to a disk, locked or not",
    );
    match host.read("sys/power/resume").as_deref() {
        None => check.absent("not there on this kernel"),
        Some("0:0") => check.ok("no device", "no device"),
        Some(device) => check.finding(
            Verdict::Error,
            format!("resumes from {device}"),
            "no device",
            "systemctl mask hibernate.target hybrid-sleep.target && remove resume= from the kernel's command line",
        ),
    }
}

fn cores(host: &Host) -> Finding {
    let check = Check::new(
        "core dumps",
        "a core dump is a copy of the process's memory; the server also turns them off for itself",
    );
    let Some(soft) = super::limits::soft(host, "Max core file size") else {
        return check.absent("no limits of that process");
    };
    if soft < 0.5 {
        return check.ok("limit 0", "limit 0");
    }
    let found = if soft.is_infinite() {
        "unlimited".to_owned()
    } else {
        format!("limit {soft:.0}")
    };
    check.finding(
        Verdict::Error,
        found,
        "limit 0",
        "LimitCORE=0 in the service (ulimit -c 0 in a shell)",
    )
}

fn dumpable(host: &Host) -> Finding {
    let check = Check::new(
        "fs.suid_dumpable",
        "1 lets a process that gave up root be dumped by anybody",
    );
    match host.number("proc/sys/fs/suid_dumpable") {
        None => check.absent("not there on this kernel"),
        Some(value) if value < 0.5 => check.ok("0", "0"),
        Some(value) => {
            // 2: by root only.
            let verdict = if value > 1.5 {
                Verdict::Warning
            } else {
                Verdict::Error
            };
            check.finding(
                verdict,
                format!("{value:.0}"),
                "0",
                "sysctl -w fs.suid_dumpable=0",
            )
        }
    }
}

fn ptrace(host: &Host) -> Finding {
    let check = Check::new(
        "kernel.yama.ptrace_scope",
        "0 lets processes of one user read each other; the server shuts itself against that as well",
    );
    match host.number("proc/sys/kernel/yama/ptrace_scope") {
        None => check.absent("no Yama in this kernel"),
        Some(value) if value > 0.5 => check.ok(format!("{value:.0}"), "at least 1"),
        Some(_) => check.finding(
            Verdict::Warning,
            "0",
            "at least 1",
            "sysctl -w kernel.yama.ptrace_scope=1",
        ),
    }
}

/// Since 5.14; on by default since 6.5.
fn secret_memory(host: &Host) -> Finding {
    let check = Check::new(
        "memfd_secret",
        "without it root can read keys through /proc; the server falls back to mlock",
    );
    let Some(release) = host.read("proc/sys/kernel/osrelease") else {
        return check.absent("no release told");
    };
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let set = host.read("proc/cmdline").unwrap_or_default();
    let is_set = |value: &str| {
        set.split_whitespace()
            .any(|word| word == format!("secretmem.enable={value}"))
    };
    let is_on = version >= (6, 5) && !is_set("0") || version >= (5, 14) && is_set("1");
    if is_on {
        return check.ok(format!("Linux {release}"), "on");
    }
    let fix = if version >= (5, 14) {
        "secretmem.enable=1 on the kernel's command line"
    } else {
        "Linux 5.14 or later, best 6.5"
    };
    check.finding(Verdict::Warning, format!("Linux {release}"), "on", fix)
}
