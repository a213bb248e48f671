//! A host made of files, on which everything is as it should be, and what may be wrong with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kms_tune::doctor::{Verdict, Wants};

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max core file size        0                    unlimited            bytes\n\
                      Max open files            65536                65536                files\n\
                      Max locked memory         67108864             67108864             bytes\n";

/// A host on which everything is as it should be.
pub fn good() -> BTreeMap<&'static str, String> {
    let files = [
        ("proc/42/limits", LIMITS),
        ("proc/42/status", "Name:\tkms\nCapEff:\t0000000000000000\n"),
        ("proc/42/cgroup", "0::/system.slice/kms.service\n"),
        (
            "sys/fs/cgroup/system.slice/kms.service/cpu.max",
            "400000 100000\n",
        ),
        ("sys/fs/cgroup/system.slice/kms.service/memory.max", "max\n"),
        (
            "proc/meminfo",
            "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
        ),
        (
            "proc/swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        ),
        ("proc/stat", "cpu  1000 0 1000 8000 0 0 0 10 0 0\n"),
        ("proc/cmdline", "root=/dev/vda1\n"),
        ("proc/sys/kernel/osrelease", "6.8.0-31-generic\n"),
        ("proc/sys/kernel/yama/ptrace_scope", "1\n"),
        ("proc/sys/kernel/numa_balancing", "0\n"),
        ("proc/sys/fs/suid_dumpable", "0\n"),
        ("proc/sys/vm/swappiness", "1\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
        ("proc/sys/net/core/netdev_max_backlog", "1000\n"),
        ("proc/sys/net/core/busy_poll", "0\n"),
        ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4096\n"),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
        ("proc/sys/net/ipv4/tcp_keepalive_time", "7200\n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "262144\n"),
        ("sys/power/resume", "0:0\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "performance\n",
        ),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "tsc\n",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        ),
        ("sys/class/net/eth0/operstate", "up\n"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
        ("sys/class/net/lo/operstate", "up\n"),
    ];
    files
        .into_iter()
        .map(|(path, text)| (path, text.to_owned()))
        .collect()
}

pub fn wants() -> Wants {
    Wants {
        locked_bytes: 60e6,
        files: 60_000.0,
        resident_bytes: 500e6,
        threads: 4.0,
        clients: 40_000.0,
        hsm_connections: 8.0,
        handshakes_s: 100.0,
        tightest_ms: Some(5.0),
    }
}

pub fn write(root: &Path, files: &BTreeMap<&'static str, String>) {
    for (path, text) in files {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

/// A check, the file that is other than it should be, its text, the verdict and a part of the remedy.
pub const FAULTS: [(&str, &str, &str, Verdict, &str); 24] = [
    (
        "swap",
        "proc/swaps",
        "Filename Type\n/dev/sda2 partition 1 0 -2\n",
        Verdict::Error,
        "swapoff /dev/sda2",
    ),
    (
        "hibernation",
        "sys/power/resume",
        "8:2\n",
        Verdict::Error,
        "systemctl mask",
    ),
    (
        "core dumps",
        "proc/42/limits",
        "Max core file size        unlimited            unlimited            bytes\nMax open files            65536                65536 files\nMax locked memory         67108864             67108864 bytes\n",
        Verdict::Error,
        "LimitCORE=0",
    ),
    (
        "fs.suid_dumpable",
        "proc/sys/fs/suid_dumpable",
        "1",
        Verdict::Error,
        "sysctl -w fs.suid_dumpable=0",
    ),
    (
        "fs.suid_dumpable",
        "proc/sys/fs/suid_dumpable",
        "2",
        Verdict::Warning,
        "sysctl",
    ),
    (
        "kernel.yama",
        "proc/sys/kernel/yama/ptrace_scope",
        "0",
        Verdict::Warning,
        "sysctl",
    ),
    (
        "memfd_secret",
        "proc/sys/kernel/osrelease",
        "5.10.0-30",
        Verdict::Warning,
        "Linux 5.14",
    ),
    (
        "memfd_secret",
        "proc/cmdline",
        "secretmem.enable=0",
        Verdict::Warning,
        "secretmem.enable=1",
    ),
    (
        "locked memory",
        "proc/42/limits",
        "Max core file size        0                    unlimited            bytes\nMax open files            65536                65536 files\nMax locked memory         8388608              67108864 bytes\n",
        Verdict::Error,
        "LimitMEMLOCK=63M",
    ),
    (
        "open files",
        "proc/42/limits",
        "Max core file size        0                    unlimited            bytes\nMax open files            1024                 65536 files\nMax locked memory         67108864             67108864 bytes\n",
        Verdict::Error,
        "LimitNOFILE=60000",
    ),
    (
        "CPU quota",
        "sys/fs/cgroup/system.slice/kms.service/cpu.max",
        "150000 100000",
        Verdict::Warning,
        "CPUQuota=400%",
    ),
    (
        "memory limit",
        "sys/fs/cgroup/system.slice/kms.service/memory.max",
        "100000000",
        Verdict::Error,
        "MemoryMax=",
    ),
    (
        "memory of the host",
        "proc/meminfo",
        "MemTotal: 500000 kB",
        Verdict::Error,
        "larger machine",
    ),
    (
        "net.core.somaxconn",
        "proc/sys/net/core/somaxconn",
        "128",
        Verdict::Warning,
        "sysctl -w net.core.somaxconn=1024",
    ),
    (
        "net.ipv4.tcp_max_syn",
        "proc/sys/net/ipv4/tcp_max_syn_backlog",
        "128",
        Verdict::Warning,
        "sysctl",
    ),
    (
        "net.ipv4.tcp_slow",
        "proc/sys/net/ipv4/tcp_slow_start_after_idle",
        "1",
        Verdict::Warning,
        "=0",
    ),
    (
        "net.ipv4.ip_local",
        "proc/sys/net/ipv4/ip_local_port_range",
        "60000 60100",
        Verdict::Warning,
        "32768",
    ),
    (
        "net.netfilter",
        "proc/sys/net/netfilter/nf_conntrack_max",
        "65536",
        Verdict::Error,
        "=70000",
    ),
    (
        "processors",
        "sys/devices/system/cpu/online",
        "0,2",
        Verdict::Warning,
        "more processors",
    ),
    (
        "transparent huge",
        "sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never",
        Verdict::Warning,
        "echo madvise",
    ),
    (
        "kernel.numa",
        "proc/sys/kernel/numa_balancing",
        "1",
        Verdict::Warning,
        "sysctl",
    ),
    (
        "CPU frequency",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "powersave",
        Verdict::Warning,
        "cpupower",
    ),
    (
        "clock source",
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "hpet",
        Verdict::Warning,
        "tsc",
    ),
    (
        "steal time",
        "proc/stat",
        "cpu  100 0 100 700 0 0 0 100",
        Verdict::Warning,
        "a machine",
    ),
];
