//! The cache that the nodes share, as this node sees it; nothing where none is.

use crate::cluster::{Report, Stats};
use crate::server::Shared;

use super::text::Text;
use super::text::Type::{Counter, Gauge};

pub(super) fn put(text: &mut Text, shared: &Shared) {
    let Some(cluster) = shared.engine.shared_cache() else {
        return;
    };
    counters(text, cluster.stats());
    gauges(text, &cluster.report());
}

fn counters(text: &mut Text, stats: &Stats) {
    text.family(
        "kms_shared_cache_lookups_total",
        Counter,
        "Lookups in the shared cache, by what became of them: found, absent, no answer within kms.cluster.budget.ms, \
         not asked because the server is down or does not answer.",
    );
    for (outcome, counter) in [
        ("found", &stats.found),
        ("absent", &stats.absent),
        ("timed_out", &stats.timed_out),
        ("not_asked", &stats.not_asked),
    ] {
        text.sample(&[("outcome", outcome)], counter.get());
    }
    text.family(
        "kms_shared_cache_writes_total",
        Counter,
        "Records written to the shared cache; those that could not be sent were left out.",
    );
    for (outcome, counter) in [("sent", &stats.written), ("left_out", &stats.not_written)] {
        text.sample(&[("outcome", outcome)], counter.get());
    }
    text.family(
        "kms_shared_cache_refused_total",
        Counter,
        "What the shared cache held or told and was not believed: anything but 0 means that somebody else writes there.",
    );
    for (what, counter) in [
        ("record", &stats.refused),
        ("message", &stats.messages_refused),
        ("sealing_key", &stats.keys_refused),
    ] {
        text.sample(&[("what", what)], counter.get());
    }
    text.family(
        "kms_shared_cache_messages_total",
        Counter,
        "Changes at other nodes, by how they were noticed: told by a message, or by the token alone.",
    );
    for (how, counter) in [("told", &stats.messages), ("missed", &stats.missed)] {
        text.sample(&[("how", how)], counter.get());
    }
}

fn gauges(text: &mut Text, report: &Report) {
    let up = report.servers.iter().filter(|server| server.up).count();
    for (name, help, value) in [
        (
            "kms_shared_cache_up",
            "1 while the shared cache is used: connected, the cluster's token and sealing key known.",
            usize::from(report.usable),
        ),
        (
            "kms_shared_cache_subscribed",
            "1 while messages of other nodes come.",
            usize::from(report.subscribed),
        ),
        (
            "kms_shared_cache_peers",
            "Other nodes heard of within the last seconds.",
            report.peers.len(),
        ),
        (
            "kms_shared_cache_servers_up",
            "Servers and sentinels that are connected and answer.",
            up,
        ),
    ] {
        text.one(name, Gauge, help, value);
    }
}
