//! Who gets past the handshake, and what comes right behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::io::Write;

use service_support::client::{self, Client, request};
use service_support::fake_hsm::decrypt_body;
use service_support::{DECRYPT, Running, unhurried, until};

#[test]
fn only_pinned_certificates_get_past_the_handshake() {
    let running = Running::fake("", unhurried());
    let house = &running.house;
    for (name, identity) in [
        ("none", None),
        ("stranger of the same CA", Some(&house.stranger)),
    ] {
        for versions in [
            &[&rustls::version::TLS12][..],
            &[&rustls::version::TLS13][..],
        ] {
            let outcome = Client::with(
                client::config(house, identity, versions),
                client::tcp(running.address()),
            )
            .and_then(|mut client| {
                client.try_send(request("GET", "/v1/sys/health", ""))?;
                client.try_answer()
            });
            let text = outcome.expect_err(name).to_string();
            assert!(
                text.contains("alert"),
                "{name}, {versions:?}: an alert says why, not: {text}"
            );
        }
    }
    until("none is left", || running.node.shared().connections() == 0);
    running.stop();
}

#[test]
fn the_first_request_may_come_with_the_last_handshake_bytes() {
    let running = Running::fake("", unhurried());
    for versions in [
        &[&rustls::version::TLS12][..],
        &[&rustls::version::TLS13][..],
    ] {
        let config = client::config(&running.house, Some(&running.house.device), versions);
        for _ in 0..8 {
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let connection =
                rustls::ClientConnection::new(std::sync::Arc::clone(&config), name).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, client::tcp(running.address()));
            // Buffered by rustls and sent in the flight of the client's Finished.
            tls.conn
                .writer()
                .write_all(request("POST", DECRYPT, &decrypt_body(b"early")).as_bytes())
                .unwrap();
            let mut client = Client::from_stream(tls);
            assert_eq!(client.answer().status, 200, "{versions:?}");
        }
    }
    running.stop();
}

#[test]
fn a_client_may_renew_its_traffic_keys() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    for _ in 0..4 {
        device.tls.conn.refresh_traffic_keys().unwrap();
        assert_eq!(device.post(DECRYPT, &decrypt_body(b"x")).status, 200);
    }
    running.stop();
}

#[test]
fn a_house_of_its_own_each() {
    // Two nodes in one process share nothing.
    let (one, two) = (
        Running::fake("", unhurried()),
        Running::fake("", unhurried()),
    );
    assert!(Client::connect(&one.house, Some(&one.house.device), two.address()).is_err());
    one.stop();
    assert_eq!(two.device().post(DECRYPT, &decrypt_body(b"x")).status, 200);
    two.stop();
}
