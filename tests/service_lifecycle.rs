//! Connections and the node from first to last byte: TLS, parking, closing, draining.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::io::Write;
use std::sync::atomic::Ordering;

use kms::hsm::HsmError;
use kms::node::Deadlines;
use service_support::client::{self, Client, request};
use service_support::fake_hsm::{decrypt_body, record};
use service_support::{House, Running, impatient, until};

const DECRYPT: &str = "/v1/transit/decrypt/k";

fn unhurried() -> Deadlines {
    Deadlines { grace: std::time::Duration::ZERO, ..Deadlines::default() }
}

#[test]
fn smoke() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    let answer = device.post(DECRYPT, &decrypt_body(b"hello"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("{\"plaintext\":\"aGVsbG8=\"}"), "{}", answer.body);
    running.stop();
    assert!(device.end());
}
