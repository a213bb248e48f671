//! What makes times uneven: memory management, frequencies, clocks, neighbours.

use super::{Check, Finding, Host, Verdict, Wants};

/// Share of time that a hypervisor may take.
const STEAL_MAX: f64 = 0.01;

pub(super) fn checks(host: &Host, wants: &Wants) -> Vec<Finding> {
    vec![
        cores(host, wants),
        swappiness(host),
        huge_pages(host),
        Check::new(
            "kernel.numa_balancing",
            "pages are unmapped to see who uses them: stalls of hits",
        )
        .exactly(
            host.number("proc/sys/kernel/numa_balancing"),
            0.0,
            Verdict::Warning,
            "sysctl -w kernel.numa_balancing=0",
        ),
        governor(host),
        clock(host),
        steal(host),
    ]
}

fn cores(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new("processors", "as many worker threads run as are planned");
    let online = host
        .read("sys/devices/system/cpu/online")
        .map(|list| count(&list));
    let half = host
        .number("sys/devices/system/cpu/smt/active")
        .is_some_and(|active| active > 0.5);
    let mut finding = check.at_least(online, wants.threads.max(1.0), Verdict::Warning, |_| {
        "more processors, or fewer in machine.cores".to_owned()
    });
    if half {
        finding.found += ", of which two share a core";
    }
    finding
}

/// How many a list such as `0-3,8` names.
fn count(list: &str) -> f64 {
    let of = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let ends: (Option<f64>, Option<f64>) = (from.trim().parse().ok(), to.trim().parse().ok());
        ends.0.zip(ends.1).map_or(0.0, |(from, to)| to - from + 1.0)
    };
    list.split(',').map(of).sum()
}

fn swappiness(host: &Host) -> Finding {
    let check = Check::new(
        "vm.swappiness",
        "the server's other memory is read back from swap by the next hit",
    );
    let has_swap = host
        .read("proc/swaps")
        .is_some_and(|table| table.lines().count() > 1);
    match host.number("proc/sys/vm/swappiness") {
        None => check.absent("not there on this kernel"),
        Some(_) if !has_swap => check.absent("no swap"),
        Some(value) if value <= 10.0 => check.ok(format!("{value:.0}"), "at most 10"),
        Some(value) => check.finding(
            Verdict::Warning,
            format!("{value:.0}"),
            "at most 10",
            "sysctl -w vm.swappiness=1",
        ),
    }
}

fn huge_pages(host: &Host) -> Finding {
    let check = Check::new(
        "transparent huge pages",
        "always: memory grows by 2 MiB at a time, and is compacted while requests wait",
    );
    match host.read("sys/kernel/mm/transparent_hugepage/enabled") {
        None => check.absent("not there on this kernel"),
        Some(modes) if modes.contains("[always]") => check.finding(
            Verdict::Warning,
            "always",
            "madvise or never",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        Some(modes) => {
            let set = modes.split(['[', ']']).nth(1).unwrap_or("?").to_owned();
            check.ok(set, "madvise or never")
        }
    }
}

fn governor(host: &Host) -> Finding {
    let check = Check::new(
        "CPU frequency governor",
        "a processor that slept serves the next request slowly",
    );
    match host.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        None => check.absent("the frequency is not this host's to set"),
        Some(name) if name == "performance" => check.ok(name, "performance"),
        Some(name) => check.finding(
            Verdict::Warning,
            name,
            "performance",
            "cpupower frequency-set -g performance",
        ),
    }
}

fn clock(host: &Host) -> Finding {
    const GOOD: [&str; 5] = [
        "tsc",
        "kvm-clock",
        "hyperv_clocksource_tsc_page",
        "arch_sys_counter",
        "xen",
    ];
    let check = Check::new(
        "clock source",
        "the time is read with every wake; others cost a system call or worse",
    );
    match host.read("sys/devices/system/clocksource/clocksource0/current_clocksource") {
        None => check.absent("not there on this kernel"),
        Some(name) if GOOD.contains(&name.as_str()) => check.ok(name, "tsc, or the hypervisor's"),
        Some(name) => {
            let fix = "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource";
            check.finding(Verdict::Warning, name, "tsc, or the hypervisor's", fix)
        }
    }
}

/// Since the start of the host.
fn steal(host: &Host) -> Finding {
    let check = Check::new(
        "steal time",
        "the hypervisor gives the processor to others: no plan holds for that",
    );
    let Some(table) = host.read("proc/stat") else {
        return check.absent("no /proc/stat");
    };
    let first = table.lines().next().unwrap_or_default();
    let times: Vec<f64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|time| time.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal, in ticks.
    let (all, stolen) = (times.iter().take(8).sum::<f64>(), times.get(7).copied());
    let Some(stolen) = stolen.filter(|_| all > 0.0) else {
        return check.absent("not told by this kernel");
    };
    let share = stolen / all;
    let found = format!("{:.2} % since the start", share * 100.0);
    if share <= STEAL_MAX {
        return check.ok(found, "at most 1 %");
    }
    check.finding(
        Verdict::Warning,
        found,
        "at most 1 %",
        "a machine with processors of its own",
    )
}
