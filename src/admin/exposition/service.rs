//! What clients asked for, what became of it, how long it took.

use crate::metrics::{Kind, Reason, Refusal};
use crate::server::Shared;

use super::text::Type::{Counter, Gauge, Histogram};
use super::text::{Text, Unit};

pub(super) fn put(text: &mut Text, shared: &Shared) {
    requests(text, shared);
    not_done(text, shared);
    connections(text, shared);
    handshakes(text, shared);
}

fn requests(text: &mut Text, shared: &Shared) {
    let metrics = &shared.metrics;
    text.family(
        "kms_requests_total",
        Counter,
        "Requests answered, by class of status.",
    );
    for (class, value) in [
        ("2xx", metrics.sum(|worker| &worker.requests_ok)),
        ("4xx", metrics.sum(|worker| &worker.requests_refused)),
        ("5xx", metrics.sum(|worker| &worker.requests_failed)),
    ] {
        text.sample(&[("class", class)], value);
    }
    text.family(
        "kms_request_duration_seconds",
        Histogram,
        "From the wake in which a request was whole to its answer's way out, by kind: an unwrap that was a hit, \
         joined another's, or was a miss; everything else is other.",
    );
    for kind in Kind::ALL {
        let seen = metrics.durations(kind);
        text.histogram(&[("kind", kind.label())], &seen, Unit::Seconds);
    }
    text.family(
        "kms_unwraps_total",
        Counter,
        "Unwraps (items), by where the plaintext came from.",
    );
    let (misses, shared_unwraps) = (metrics.sum(|worker| &worker.misses), metrics.shared.get());
    for (source, value) in [
        ("cache", metrics.sum(|worker| &worker.hits)),
        ("joined", metrics.sum(|worker| &worker.joins)),
        ("shared", shared_unwraps),
        ("hsm", misses.saturating_sub(shared_unwraps)),
    ] {
        text.sample(&[("source", source)], value);
    }
    text.one(
        "kms_unwraps_stale_total",
        Counter,
        "Unwraps (items) served after their life because the HSM was not reachable (kms.cache.stale.max.s).",
        metrics.sum(|worker| &worker.stale),
    );
}

fn not_done(text: &mut Text, shared: &Shared) {
    let metrics = &shared.metrics;
    text.family(
        "kms_failures_total",
        Counter,
        "Requests, and items of batches, that were not done though their form was right, by reason, with the status \
         of a request of one.",
    );
    for reason in Reason::ALL {
        let (label, status) = reason.label();
        let value = metrics.undone(reason);
        text.sample(&[("reason", label), ("status", status)], value);
    }
    text.one(
        "kms_requests_limited_total",
        Counter,
        "Requests answered 429 at kms.limit.rate or kms.limit.inflight.",
        metrics.sum(|worker| &worker.requests_limited),
    );
    text.one(
        "kms_request_timeouts_total",
        Counter,
        "Requests whose time was over before the HSM answered; a 504, unless a stale plaintext served.",
        metrics.sum(|worker| &worker.timeouts),
    );
}

fn connections(text: &mut Text, shared: &Shared) {
    let metrics = &shared.metrics;
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
            "Connections turned away at kms.limit.connections, or not from a load balancer.",
            metrics.turned_away_address.get(),
        ),
    ] {
        text.one(name, Counter, help, value);
    }
    for (name, help, value) in [
        ("kms_connections", "Connections now.", shared.connections()),
        (
            "kms_connections_max",
            "Connections that there may be at once (kms.connections.max).",
            shared.settings.connections_max,
        ),
        (
            "kms_clients",
            "Clients known now: certificates at an address.",
            shared.quota.clients(),
        ),
    ] {
        text.one(name, Gauge, help, value);
    }
}

fn handshakes(text: &mut Text, shared: &Shared) {
    let metrics = &shared.metrics;
    text.one(
        "kms_handshakes_total",
        Counter,
        "Handshakes with an accepted certificate.",
        metrics.handshakes.get(),
    );
    text.family(
        "kms_handshakes_failed_total",
        Counter,
        "Handshakes that failed or were refused, by reason.",
    );
    for why in Refusal::ALL {
        let value = metrics.handshakes_failed(why);
        text.sample(&[("reason", why.label())], value);
    }
    text.family(
        "kms_handshake_duration_seconds",
        Histogram,
        "Handshakes with an accepted certificate, from the connection to the last byte, the client's own time and the \
         network's included.",
    );
    for (kind, times) in ["full", "resumed"].iter().zip(&metrics.handshake_times) {
        text.histogram(&[("kind", kind)], &times.seen(), Unit::Seconds);
    }
}
