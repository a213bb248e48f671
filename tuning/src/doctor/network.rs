//! What connections meet on their way: queues, windows, ports, tracking, interrupts.

use super::{Check, Finding, Host, Verdict, Wants, sysctl};

/// Objectives below this make waiting for interrupts matter.
const BUSY_POLL_MS: f64 = 0.1;

pub(super) fn checks(host: &Host, wants: &Wants) -> Vec<Finding> {
    // Connections that may come while the acceptor is away for a tenth of a second, tenfold.
    let burst = wants.handshakes_s.max(1024.0);
    let number = |path: &str| host.number(&format!("proc/sys/net/{path}"));
    let mut findings = vec![
        Check::new("net.core.somaxconn", "new connections wait here to be accepted; what does not fit is dropped and comes a second later")
            .at_least(number("core/somaxconn"), burst, Verdict::Warning, sysctl("net.core.somaxconn")),
        Check::new("net.ipv4.tcp_max_syn_backlog", "half-open connections of a storm")
            .at_least(number("ipv4/tcp_max_syn_backlog"), burst, Verdict::Warning, sysctl("net.ipv4.tcp_max_syn_backlog")),
        Check::new("net.core.netdev_max_backlog", "packets that wait for a processor")
            .at_least(number("core/netdev_max_backlog"), 1000.0, Verdict::Warning, sysctl("net.core.netdev_max_backlog")),
        Check::new("net.ipv4.tcp_slow_start_after_idle", "an HSM connection that was idle would begin with a small window: a full message takes round trips more")
            .exactly(number("ipv4/tcp_slow_start_after_idle"), 0.0, Verdict::Warning, "sysctl -w net.ipv4.tcp_slow_start_after_idle=0"),
        keep_alive(host),
        ports(host, wants),
        conntrack(host, wants),
        busy_poll(host, wants),
        accepts(),
    ];
    findings.extend(queues(host, wants));
    findings
}

fn keep_alive(host: &Host) -> Finding {
    let check = Check::new(
        "net.ipv4.tcp_keepalive_time",
        "a firewall on the way forgets idle connections; the server asks each idle HSM connection something every 15 s",
    );
    match host.number("proc/sys/net/ipv4/tcp_keepalive_time") {
        None => check.absent("not there on this kernel"),
        Some(seconds) => check.ok(
            format!("{seconds:.0} s"),
            "any: the server does not rely on it",
        ),
    }
}

/// Outbound connections only: those to the HSMs.
fn ports(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "net.ipv4.ip_local_port_range",
        "only for connections to the HSMs, which are few and kept",
    );
    let range = host.read("proc/sys/net/ipv4/ip_local_port_range");
    let ends: Vec<f64> = range
        .iter()
        .flat_map(|text| text.split_whitespace())
        .filter_map(|end| end.parse().ok())
        .collect();
    let [low, high] = ends[..] else {
        return check.absent("not there on this kernel");
    };
    check.at_least(
        Some(high - low + 1.0),
        20.0 * wants.hsm_connections.max(16.0),
        Verdict::Warning,
        |_| "sysctl -w net.ipv4.ip_local_port_range='32768 60999'".to_owned(),
    )
}

fn conntrack(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "net.netfilter.nf_conntrack_max",
        "when its table is full, packets of new connections are dropped",
    );
    let found = host.number("proc/sys/net/netfilter/nf_conntrack_max");
    let least = 1.5 * (wants.clients + 60.0 * wants.handshakes_s) + 1000.0;
    check.at_least(
        found,
        least,
        Verdict::Error,
        sysctl("net.netfilter.nf_conntrack_max"),
    )
}

fn busy_poll(host: &Host, wants: &Wants) -> Finding {
    let check = Check::new(
        "net.core.busy_poll",
        "a processor that looks for packets itself saves the interrupt's time, and is busy all the time",
    );
    let Some(tightest) = wants.tightest_ms.filter(|ms| *ms < BUSY_POLL_MS) else {
        return check.absent("only matters for objectives below 0.1 ms");
    };
    let found = host.number("proc/sys/net/core/busy_poll");
    let mut finding = check.at_least(found, 50.0, Verdict::Warning, sysctl("net.core.busy_poll"));
    finding.wanted = format!("{} for an objective of {tightest} ms", finding.wanted);
    finding
}

fn accepts() -> Finding {
    Check::new(
        "SO_REUSEPORT balance",
        "several listeners share connections unevenly",
    )
    .absent("one acceptor gives each connection to the worker that has fewest")
}

/// Receive queues of each interface that is up.
fn queues(host: &Host, wants: &Wants) -> Vec<Finding> {
    let check = Check::new(
        "network queues",
        "one receive queue is served by one processor",
    );
    let mut findings = Vec::new();
    for name in host.names("sys/class/net") {
        let is_up = host
            .read(&format!("sys/class/net/{name}/operstate"))
            .as_deref()
            == Some("up");
        if name == "lo" || !is_up {
            continue;
        }
        let all = host.names(&format!("sys/class/net/{name}/queues"));
        let receive: Vec<&String> = all
            .iter()
            .filter(|queue| queue.starts_with("rx-"))
            .collect();
        let spread = receive.iter().any(|queue| {
            let cpus = host.read(&format!("sys/class/net/{name}/queues/{queue}/rps_cpus"));
            cpus.is_some_and(|mask| mask.chars().any(|c| c != '0' && c != ','))
        });
        let count = receive.len();
        let found = format!(
            "{name}: {count} receive queues{}",
            if spread { ", spread by RPS" } else { "" }
        );
        if count == 0 {
            continue;
        }
        if count > 1 || spread || wants.threads <= 4.0 {
            findings.push(check.ok(found, "more than one, or RPS, beyond 4 threads"));
        } else {
            let fix = format!(
                "ethtool -L {name} combined 4, or echo ff > /sys/class/net/{name}/queues/rx-0/rps_cpus"
            );
            findings.push(check.finding(
                Verdict::Warning,
                found,
                "more than one, or RPS, beyond 4 threads",
                fix,
            ));
        }
    }
    if findings.is_empty() {
        findings.push(check.absent("no interface is up"));
    }
    findings
}
