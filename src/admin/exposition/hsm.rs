//! The way to the HSM, the cache in front of it, and what would be left without it.

use std::time::Instant;

use crate::hsm::ServerState;
use crate::metrics::HsmMetrics;
use crate::server::Shared;

use super::text::Type::{Counter, Gauge, Histogram};
use super::text::{Text, Unit, seconds};

pub(super) fn put(text: &mut Text, shared: &Shared) {
    state(text, shared);
    servers(text, shared);
    // The same families with every back end: an alert need not know which it is.
    let none = HsmMetrics::default();
    let hsm = shared.engine.hsm();
    messages(text, hsm.metrics().unwrap_or(&none));
    cache(text, shared);
    refreshes(text, shared);
    outage_budget(text, shared);
}

fn state(text: &mut Text, shared: &Shared) {
    let health = shared.engine.hsm().health();
    for (name, help, value) in [
        (
            "kms_hsm_up",
            "1 when the back end answered last, and does what it is asked.",
            usize::from(health.up && health.access.refused.is_none()),
        ),
        (
            "kms_hsm_queue",
            "Jobs waiting for an HSM connection now.",
            health.queued,
        ),
        (
            "kms_hsm_in_flight",
            "Fetches in flight now.",
            shared.engine.in_flight(),
        ),
    ] {
        text.one(name, Gauge, help, value);
    }
    if let Some(left_s) = health.access.ends_in_s {
        text.one(
            "kms_hsm_access_ends_seconds",
            Gauge,
            "Seconds until this server's access to the back end (a Vault's token) ends unless it is renewed.",
            left_s,
        );
    }
}

/// One line for each HSM that is spoken to.
fn servers(text: &mut Text, shared: &Shared) {
    let servers = shared.engine.hsm().servers();
    if servers.is_empty() {
        return;
    }
    text.family(
        "kms_hsm_server_connections",
        Gauge,
        "Connections to this HSM.",
    );
    for server in &servers {
        text.sample(&[("server", &server.label)], server.live);
    }
    text.family(
        "kms_hsm_server_state",
        Gauge,
        "1 for the state of this HSM, 0 for all others: it does what it is asked (active), it answers and refused or \
         spoilt the last check (degraded), it is not reached (unavailable), it was not asked yet (unknown).",
    );
    for server in &servers {
        for state in ServerState::ALL {
            let labels = [("server", &*server.label), ("state", state.label())];
            text.sample(&labels, u8::from(server.state == state));
        }
    }
    text.family(
        "kms_hsm_server_check_seconds",
        Gauge,
        "How long the last check of this HSM took that succeeded; 0 before the first.",
    );
    for server in &servers {
        let us = server.check_us.unwrap_or(0);
        text.sample(
            &[("server", &server.label)],
            seconds(us.saturating_mul(1000)),
        );
    }
}

fn messages(text: &mut Text, hsm: &HsmMetrics) {
    text.family(
        "kms_hsm_message_duration_seconds",
        Histogram,
        "Messages to the HSM until their answer or the end of patience: those of wraps and unwraps, and all others.",
    );
    for (about, times) in [("crypt", &hsm.crypt_times), ("other", &hsm.other_times)] {
        text.histogram(&[("about", about)], &times.seen(), Unit::Seconds);
    }
    text.family(
        "kms_hsm_message_items",
        Histogram,
        "Wraps and unwraps in one message to the HSM.",
    );
    text.histogram(&[], &hsm.items.seen(), Unit::Items);
    text.family(
        "kms_hsm_wait_seconds",
        Histogram,
        "How long clients' operations waited for an HSM connection, those whose time was over meanwhile included.",
    );
    text.histogram(&[], &hsm.waits.seen(), Unit::Seconds);
    text.family(
        "kms_hsm_connects_total",
        Counter,
        "Attempts to connect to an HSM and to negotiate.",
    );
    for (outcome, counter) in [("done", &hsm.connected), ("failed", &hsm.connect_failed)] {
        text.sample(&[("outcome", outcome)], counter.get());
    }
    text.one(
        "kms_hsm_connections_broken_total",
        Counter,
        "Connections to an HSM that broke, hung or brought nonsense while they were used.",
        hsm.broken.get(),
    );
    text.family(
        "kms_hsm_checks_total",
        Counter,
        "Operations of this server's own that show whether an HSM works, when no client's did of late.",
    );
    for (outcome, counter) in [("done", &hsm.checks), ("failed", &hsm.checks_failed)] {
        text.sample(&[("outcome", outcome)], counter.get());
    }
}

fn cache(text: &mut Text, shared: &Shared) {
    let (cache, usage) = (shared.engine.cache(), shared.arena.usage());
    for (name, help, value) in [
        (
            "kms_cache_entries",
            "Unwrapped keys held now.",
            cache.len() as u64,
        ),
        (
            "kms_cache_entries_max",
            "Unwrapped keys that may be held (kms.cache.entries.max).",
            cache.entries_max() as u64,
        ),
        (
            "kms_arena_key_bytes_used",
            "Locked bytes in use for keys.",
            usage.key_bytes_used as u64,
        ),
        (
            "kms_arena_key_bytes",
            "Locked bytes for keys in all.",
            usage.key_bytes_total as u64,
        ),
    ] {
        text.one(name, Gauge, help, value);
    }
    let stats = cache.stats();
    text.family(
        "kms_cache_removed_total",
        Counter,
        "Unwrapped keys that left the cache: pushed out for others, past their life, or purged.",
    );
    for (reason, value) in [
        ("evicted", stats.evictions),
        ("expired", stats.expirations),
        ("purged", stats.purged),
    ] {
        text.sample(&[("reason", reason)], value);
    }
    text.one(
        "kms_cache_purges_total",
        Counter,
        "Purges, of one master key or of all.",
        cache.purges(),
    );
}

fn refreshes(text: &mut Text, shared: &Shared) {
    let metrics = &shared.metrics;
    text.family(
        "kms_refreshes_total",
        Counter,
        "Cache entries fetched anew before their life was over, by what became of it.",
    );
    for (outcome, counter) in [
        ("renewed", &metrics.refreshes),
        ("failed", &metrics.refreshes_failed),
        ("given_up", &metrics.refreshes_given_up),
    ] {
        text.sample(&[("outcome", outcome)], counter.get());
    }
}

fn outage_budget(text: &mut Text, shared: &Shared) {
    let budget = shared.engine.outage_budget(Instant::now());
    text.one(
        "kms_outage_served_ratio",
        Gauge,
        "Share of the last 5 minutes' operations that the cache would serve if the HSM stopped now: hits of all \
         unwraps, wraps and key changes. During an outage, what is left of it.",
        budget.served_percent / 100.0,
    );
    text.family(
        "kms_outage_budget_seconds",
        Gauge,
        "How long at least that percentage of such operations would be served, by the lives left to the entries that \
         were hit, kms.cache.stale.max.s included; 0: not even at first.",
    );
    for step in &budget.steps {
        let served = format!("{}%", step.percent);
        text.sample(&[("served", &served)], step.seconds);
    }
}
