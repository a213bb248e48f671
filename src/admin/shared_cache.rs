//! The shared cache in `/metrics`.

use super::exposition::{family, number};
use crate::cluster::{Cluster, Report};

/// Its counters and gauges, as text.
pub(super) fn render(cluster: &Cluster, text: &mut String) {
    let (stats, report) = (cluster.stats(), cluster.report());
    family(
        text,
        "kms_shared_cache_lookups_total",
        "Lookups in the shared cache, by what became of them: found, absent, no answer within kms.cluster.budget.ms, not \
         asked because the server is down or does not answer.",
        "outcome",
        &[
            ("found", stats.found.get()),
            ("absent", stats.absent.get()),
            ("timed_out", stats.timed_out.get()),
            ("not_asked", stats.not_asked.get()),
        ],
    );
    family(
        text,
        "kms_shared_cache_writes_total",
        "Records written to the shared cache; those that could not be sent were left out.",
        "outcome",
        &[
            ("sent", stats.written.get()),
            ("left_out", stats.not_written.get()),
        ],
    );
    family(
        text,
        "kms_shared_cache_refused_total",
        "What the shared cache held or told and was not believed: anything but 0 means that somebody else writes there.",
        "what",
        &[
            ("record", stats.refused.get()),
            ("message", stats.messages_refused.get()),
            ("sealing_key", stats.keys_refused.get()),
        ],
    );
    family(
        text,
        "kms_shared_cache_messages_total",
        "Changes at other nodes, by how they were noticed: told by a message, or by the token alone.",
        "how",
        &[
            ("told", stats.messages.get()),
            ("missed", stats.missed.get()),
        ],
    );
    gauges(&report, text);
}

fn gauges(report: &Report, text: &mut String) {
    let up = report.servers.iter().filter(|server| server.up).count();
    for (name, help, value) in [
        (
            "kms_shared_cache_up",
            "1 while the shared cache is used: connected, the cluster's token and sealing key known.",
            u64::from(report.usable),
        ),
        (
            "kms_shared_cache_subscribed",
            "1 while messages of other nodes come.",
            u64::from(report.subscribed),
        ),
        (
            "kms_shared_cache_peers",
            "Other nodes heard of within the last seconds.",
            report.peers.len() as u64,
        ),
        (
            "kms_shared_cache_servers_up",
            "Servers and sentinels that are connected and answer.",
            up as u64,
        ),
    ] {
        number(text, name, "gauge", help, value);
    }
}
