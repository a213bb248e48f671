//! What the HSM's message is made of, and CPU times as they count here.

use crate::input::{Site, field};
use crate::model::distribution::Message;
use crate::trace::{Error, Formula, Held, Quantity, Unit};

static FETCH: Formula = Formula {
    text: "mean of the message's time + item_ms",
    source: "lognormal mean: median x e^(sigma^2 / 2), and the tail",
    error: Error::Exact,
    domain: "an idle connection",
    held: Held::Arithmetic,
};

static AUDITED: Formula =
    Formula::arithmetic("machine's, less audit_us when policy.audit is false");

/// The message of the values of [`Frame::message`].
pub fn message_of(
    [
        median_ms,
        sigma,
        tail_share,
        tail_min_ms,
        tail_alpha,
        timeout_ms,
    ]: [f64; 6],
) -> Message {
    Message {
        median_s: median_ms / 1000.0,
        sigma,
        tail_share,
        tail_min_s: tail_min_ms / 1000.0,
        tail_alpha,
        longest_s: timeout_ms / 1000.0,
    }
}

pub(super) fn message(site: &Site) -> [Quantity; 6] {
    [
        &field::MESSAGE_MS,
        &field::SIGMA,
        &field::TAIL_SHARE,
        &field::TAIL_MIN_MS,
        &field::TAIL_ALPHA,
        &field::TIMEOUT_MS,
    ]
    .map(|field| site.get(field))
}

/// A CPU time as measured, with an audit line, and without the line where none is written.
pub(super) fn audited(site: &Site, field: &'static field::Field, name: &str) -> Quantity {
    let (cost, line) = (site.get(field), site.get(&field::AUDIT_US));
    let audit = site.get(&field::AUDIT);
    Quantity::derive(
        name,
        Unit::Micros,
        &AUDITED,
        [&cost, &line, &audit],
        |[cost, line, audit]| {
            let saved = if audit > 0.5 { 0.0 } else { line };
            (cost - saved).max(0.1)
        },
    )
}

pub(super) fn fetch_ms(site: &Site) -> Quantity {
    let (parts, item) = (message(site), site.get(&field::ITEM_MS));
    let [median, sigma, share, min, alpha, timeout] = &parts;
    Quantity::derive(
        "fetch_ms",
        Unit::Millis,
        &FETCH,
        [median, sigma, share, min, alpha, timeout, &item],
        |[median, sigma, share, min, alpha, timeout, item]| {
            message_of([median, sigma, share, min, alpha, timeout]).mean_s() * 1000.0 + item
        },
    )
}
