//! The node: its state, its certificates, its configuration, its audit log, its operator's orders.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::audit;
use crate::metrics::ORDERS;
use crate::server::Shared;

use super::super::readiness::{STATES, readiness};
use super::text::Text;
use super::text::Type::{Counter, Gauge};

pub(super) fn put(text: &mut Text, shared: &Shared) {
    state(text, shared);
    certificates(text, shared);
    configuration(text, shared);
    audit_log(text, shared);
}

fn state(text: &mut Text, shared: &Shared) {
    text.family(
        "kms_build_info",
        Gauge,
        "1; the version and the back end are labels.",
    );
    let (version, backend) = (env!("CARGO_PKG_VERSION"), shared.engine.hsm().name());
    text.sample(&[("version", version), ("backend", backend)], 1);
    text.family(
        "kms_state",
        Gauge,
        "1 for the state that /readyz tells, 0 for all others.",
    );
    let now = readiness(shared).state;
    for state in STATES {
        text.sample(&[("state", state)], u8::from(state == now));
    }
}

/// One line for each certificate that the node lives by, and for each list of revoked ones.
fn certificates(text: &mut Text, shared: &Shared) {
    let all = shared.certificates.load();
    let (lists, certificates): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.is_list());
    let ends: BTreeMap<(&str, &str), i64> = certificates
        .iter()
        .map(|one| ((&*one.alias, one.usage), one.not_after_unix_s))
        .collect();
    text.family(
        "kms_certificate_not_after_seconds",
        Gauge,
        "End of a certificate's validity, seconds since 1970.",
    );
    for ((alias, usage), end_s) in &ends {
        text.sample(&[("alias", alias), ("use", usage)], end_s);
    }
    text.family(
        "kms_certificate_expires_in_seconds",
        Gauge,
        "Seconds until a certificate's end; negative once it is over.",
    );
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_s = unix.map_or(0, |time| time.as_secs().cast_signed());
    for ((alias, usage), end_s) in &ends {
        let left_s = end_s.saturating_sub(now_s);
        text.sample(&[("alias", alias), ("use", usage)], left_s);
    }
    // One CA may have several, of which the first to end counts.
    let mut next: BTreeMap<&str, i64> = BTreeMap::new();
    for list in lists {
        let end = next.entry(&list.alias).or_insert(list.not_after_unix_s);
        *end = list.not_after_unix_s.min(*end);
    }
    if next.is_empty() {
        return;
    }
    text.family(
        "kms_crl_next_update_seconds",
        Gauge,
        "When the list of revoked certificates of a client CA is out of date, seconds since 1970.",
    );
    for (alias, end_s) in next {
        text.sample(&[("alias", alias)], end_s);
    }
}

fn configuration(text: &mut Text, shared: &Shared) {
    let metrics = &shared.metrics;
    text.family(
        "kms_reloads_total",
        Counter,
        "Reloads of configuration and keystores; a refused one changed nothing.",
    );
    for (outcome, counter) in [
        ("done", &metrics.reloads),
        ("refused", &metrics.reloads_refused),
    ] {
        text.sample(&[("outcome", outcome)], counter.get());
    }
    let (is_ok, at_s) = metrics.last_reload();
    text.one(
        "kms_config_last_reload_successful",
        Gauge,
        "1 unless the last reload was refused.",
        u8::from(is_ok),
    );
    text.one(
        "kms_config_last_reload_success_timestamp_seconds",
        Gauge,
        "When the configuration in force was taken, seconds since 1970.",
        at_s,
    );
    text.family(
        "kms_control_orders_total",
        Counter,
        "Orders that came by the control socket.",
    );
    for (outcome, counters) in [
        ("done", &metrics.orders),
        ("refused", &metrics.orders_refused),
    ] {
        for (order, counter) in ORDERS.iter().zip(counters) {
            text.sample(&[("order", order), ("outcome", outcome)], counter.get());
        }
    }
}

fn audit_log(text: &mut Text, shared: &Shared) {
    let log = shared.audit.as_deref();
    text.one(
        "kms_audit_enabled",
        Gauge,
        "1 when there is an audit log.",
        u8::from(log.is_some()),
    );
    let (lines, bytes) = log.map_or((0, 0), audit::Log::written);
    let (dropped, failed) = log.map_or((0, 0), |log| (log.dropped.get(), log.failed.get()));
    for (name, help, value) in [
        (
            "kms_audit_lines_total",
            "Lines written to the audit log.",
            lines,
        ),
        (
            "kms_audit_bytes_total",
            "Bytes written to the audit log.",
            bytes,
        ),
        (
            "kms_audit_dropped_total",
            "Lines of the audit log that were dropped (kms.audit.mode = best-effort).",
            dropped,
        ),
        (
            "kms_audit_failed_total",
            "Writes to the audit log that failed.",
            failed,
        ),
    ] {
        text.one(name, Counter, help, value);
    }
}
