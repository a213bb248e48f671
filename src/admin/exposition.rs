//! `/metrics`: the Prometheus text exposition format, version 0.0.4.

use std::fmt::Write;
use std::time::Instant;

use super::shared_cache;
use crate::server::Shared;

/// Everything that is counted, as text.
pub(super) fn render(shared: &Shared) -> String {
    let mut text = String::with_capacity(4096);
    let metrics = &shared.metrics;
    requests(shared, &mut text);
    for (name, help, value) in [
        (
            "kms_connections_accepted_total",
            "Connections accepted.",
            metrics.accepted.get(),
        ),
        (
            "kms_connections_turned_away_total",
            "Connections turned away at kms.connections.max.",
            metrics.turned_away.get(),
        ),
        (
            "kms_connections_limited_total",
            "Connections turned away at kms.limit.connections.",
            metrics.turned_away_address.get(),
        ),
        (
            "kms_requests_limited_total",
            "Requests answered 429 at kms.limit.rate or kms.limit.inflight.",
            metrics.sum(|worker| &worker.requests_limited),
        ),
        (
            "kms_handshakes_total",
            "Handshakes with a certificate that is accepted.",
            metrics.handshakes.get(),
        ),
        (
            "kms_handshakes_failed_total",
            "Handshakes that failed or were refused.",
            metrics.handshakes_failed.get(),
        ),
        (
            "kms_request_timeouts_total",
            "Requests answered 504 because the HSM did not answer in time.",
            metrics.sum(|worker| &worker.timeouts),
        ),
    ] {
        number(&mut text, name, "counter", help, value);
    }
    refreshes(shared, &mut text);
    audit(shared, &mut text);
    if let Some(cluster) = shared.engine.shared_cache() {
        shared_cache::render(cluster, &mut text);
    }
    servers(shared, &mut text);
    certificates(shared, &mut text);
    gauges(shared, &mut text);
    outage_budget(shared, &mut text);
    text
}

/// One line for each HSM that is spoken to.
fn servers(shared: &Shared, text: &mut String) {
    const NAME: &str = "kms_hsm_server_connections";
    let servers = shared.engine.hsm().servers();
    if servers.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "# HELP {NAME} Connections to this HSM.\n# TYPE {NAME} gauge"
    );
    for server in servers {
        // Hosts and ports hold neither quotes nor backslashes.
        let (label, live) = (server.label, server.live);
        let _ = writeln!(text, "{NAME}{{server=\"{label}\"}} {live}");
    }
}

fn audit(shared: &Shared, text: &mut String) {
    let Some(audit) = &shared.audit else {
        return;
    };
    for (name, help, counter) in [
        (
            "kms_audit_dropped_total",
            "Lines of the audit log that were dropped (kms.audit.mode = best-effort).",
            &audit.dropped,
        ),
        (
            "kms_audit_failed_total",
            "Writes to the audit log that failed.",
            &audit.failed,
        ),
    ] {
        number(text, name, "counter", help, counter.get());
    }
}

/// One line for each certificate that the node lives by, and for each list of revoked ones.
fn certificates(shared: &Shared, text: &mut String) {
    const NAME: &str = "kms_certificate_not_after_seconds";
    const LIST: &str = "kms_crl_next_update_seconds";
    let all = shared.certificates.load();
    let (lists, certificates): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.is_list());
    let label = |alias: &str| alias.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = writeln!(
        text,
        "# HELP {NAME} End of a certificate's validity, seconds since 1970.\n# TYPE {NAME} gauge"
    );
    for one in certificates {
        let (alias, usage, end) = (label(&one.alias), one.usage, one.not_after_unix_s);
        let _ = writeln!(text, "{NAME}{{alias=\"{alias}\",use=\"{usage}\"}} {end}");
    }
    // One CA may have several, of which the first to end counts.
    let mut ends = std::collections::BTreeMap::new();
    for one in lists {
        let end = ends.entry(&one.alias).or_insert(one.not_after_unix_s);
        *end = one.not_after_unix_s.min(*end);
    }
    if ends.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "# HELP {LIST} When the list of revoked certificates of a client CA is out of date, seconds since 1970.\n\
         # TYPE {LIST} gauge"
    );
    for (alias, end) in ends {
        let _ = writeln!(text, "{LIST}{{alias=\"{}\"}} {end}", label(alias));
    }
}

fn refreshes(shared: &Shared, text: &mut String) {
    let metrics = &shared.metrics;
    family(
        text,
        "kms_reloads_total",
        "Reloads of configuration and keystores; a refused one changed nothing.",
        "outcome",
        &[
            ("done", metrics.reloads.get()),
            ("refused", metrics.reloads_refused.get()),
        ],
    );
    family(
        text,
        "kms_refreshes_total",
        "Cache entries fetched anew before their life was over, by what became of it.",
        "outcome",
        &[
            ("renewed", metrics.refreshes.get()),
            ("failed", metrics.refreshes_failed.get()),
            ("given_up", metrics.refreshes_given_up.get()),
        ],
    );
    number(
        text,
        "kms_unwraps_stale_total",
        "counter",
        "Unwraps (items) served after their life because the HSM was not reachable (kms.cache.stale.max.s).",
        metrics.sum(|worker| &worker.stale),
    );
}

/// Writing to a String cannot fail.
fn outage_budget(shared: &Shared, text: &mut String) {
    let budget = shared.engine.outage_budget(Instant::now());
    let name = "kms_outage_served_ratio";
    let _ = writeln!(
        text,
        "# HELP {name} Share of the last 5 minutes' operations that the cache would serve if the HSM stopped now: hits of \
         all unwraps, wraps and key changes. During an outage, what is left of it.\n# TYPE {name} gauge\n{name} {}",
        budget.served_percent / 100.0
    );
    let name = "kms_outage_budget_seconds";
    let _ = writeln!(
        text,
        "# HELP {name} How long at least that percentage of such operations would be served, by the lives left to the \
         entries that were hit, kms.cache.stale.max.s included; 0: not even at first.\n# TYPE {name} gauge"
    );
    for step in &budget.steps {
        let _ = writeln!(
            text,
            "{name}{{served=\"{}%\"}} {}",
            step.percent, step.seconds
        );
    }
}

fn gauges(shared: &Shared, text: &mut String) {
    let health = shared.engine.hsm().health();
    let usage = shared.arena.usage();
    for (name, help, value) in [
        (
            "kms_connections",
            "Connections now.",
            shared.connections() as u64,
        ),
        (
            "kms_clients",
            "Clients known now: certificates at an address.",
            shared.quota.clients() as u64,
        ),
        (
            "kms_cache_entries",
            "Unwrapped keys held now.",
            shared.engine.cache().len() as u64,
        ),
        (
            "kms_hsm_in_flight",
            "Fetches in flight now.",
            shared.engine.in_flight() as u64,
        ),
        (
            "kms_hsm_queue",
            "Jobs waiting for an HSM connection now.",
            health.queued as u64,
        ),
        (
            "kms_hsm_up",
            "1 when the back end answered last, and does what it is asked.",
            u64::from(health.up && health.access.refused.is_none()),
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
        number(text, name, "gauge", help, value);
    }
    if let Some(left_s) = health.access.ends_in_s {
        number(
            text,
            "kms_hsm_access_ends_seconds",
            "gauge",
            "Seconds until this server's access to the back end (a Vault's token) ends unless it is renewed.",
            left_s,
        );
    }
}

fn requests(shared: &Shared, text: &mut String) {
    let metrics = &shared.metrics;
    family(
        text,
        "kms_requests_total",
        "Requests answered, by class of status.",
        "class",
        &[
            ("2xx", metrics.sum(|worker| &worker.requests_ok)),
            ("4xx", metrics.sum(|worker| &worker.requests_refused)),
            ("5xx", metrics.sum(|worker| &worker.requests_failed)),
        ],
    );
    let (misses, shared_unwraps) = (metrics.sum(|worker| &worker.misses), metrics.shared.get());
    family(
        text,
        "kms_unwraps_total",
        "Unwraps (items), by where the plaintext came from.",
        "source",
        &[
            ("cache", metrics.sum(|worker| &worker.hits)),
            ("joined", metrics.sum(|worker| &worker.joins)),
            ("shared", shared_unwraps),
            ("hsm", misses.saturating_sub(shared_unwraps)),
        ],
    );
}

pub(super) fn family(
    text: &mut String,
    name: &str,
    help: &str,
    label: &str,
    values: &[(&str, u64)],
) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for (value_of_label, value) in values {
        let _ = writeln!(text, "{name}{{{label}=\"{value_of_label}\"}} {value}");
    }
}

pub(super) fn number(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    let _ = writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
    );
}
