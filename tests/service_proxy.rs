//! Behind a load balancer that tells whose a connection is (PROXY protocol v2).
//!
//! The test itself stands for the balancer, at 127.0.0.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::io::{Read, Write};
use std::net::SocketAddr;

use kms::wire::proxy::put_header;
use service_support::client::{self, Client};
use service_support::fake_hsm::decrypt_body;
use service_support::{DECRYPT, Running, impatient, unhurried, until};

const ON: &str =
    "kms.server.proxy-protocol=v2\nkms.server.proxy-protocol.from=192.0.2.1, 127.0.0.0/24\n";

fn header(running: &Running, client: &str) -> Vec<u8> {
    let mut header = Vec::new();
    put_header(&mut header, client.parse().unwrap(), running.address());
    header
}

/// A device that connects through a balancer which wrote `header`.
fn device(running: &Running, header: &[u8]) -> std::io::Result<Client> {
    let identity = Some(&running.house.device);
    let config = client::config(&running.house, identity, rustls::ALL_VERSIONS);
    let mut tcp = client::tcp(running.address());
    // In two pieces, as a network may.
    let (first, second) = header.split_at(header.len() / 2);
    tcp.write_all(first)?;
    tcp.write_all(second)?;
    Client::with(config, tcp)
}

/// Whether the server closes a connection that begins with `bytes`, and says nothing.
fn is_closed(to: SocketAddr, bytes: &[u8]) -> bool {
    let mut tcp = client::tcp(to);
    tcp.write_all(bytes).unwrap();
    matches!(tcp.read(&mut [0; 1]), Ok(0) | Err(_))
}

#[test]
fn limits_go_by_the_address_that_the_balancer_tells() {
    let running = Running::fake(&format!("{ON}kms.limit.rate=2"), unhurried());
    let ask = |client: &mut Client| client.post(DECRYPT, &decrypt_body(b"k")).status;
    let [one, other] = ["203.0.113.1:1000", "203.0.113.2:1000"];
    let mut first = device(&running, &header(&running, one)).unwrap();
    assert_eq!(
        [ask(&mut first), ask(&mut first), ask(&mut first)],
        [200, 200, 429]
    );
    let mut again = device(&running, &header(&running, "203.0.113.1:1001")).unwrap();
    assert_eq!(
        ask(&mut again),
        429,
        "another connection of the same client"
    );
    let mut second = device(&running, &header(&running, other)).unwrap();
    assert_eq!(ask(&mut second), 200, "another client");
    let local = [b"\r\n\r\n\0\r\nQUIT\n\x20\x00".as_slice(), &[0, 0]].concat();
    let mut balancer = device(&running, &local).unwrap();
    assert_eq!(ask(&mut balancer), 200, "the balancer's own connection");
    running.stop();
}

#[test]
fn connections_are_counted_to_their_client() {
    let running = Running::fake(&format!("{ON}kms.limit.connections=1"), unhurried());
    let one = header(&running, "203.0.113.1:1000");
    let held = device(&running, &one).unwrap();
    assert!(device(&running, &one).is_err(), "one too many");
    let other = device(&running, &header(&running, "[2001:db8::1]:1000")).unwrap();
    drop((held, other));
    until("the address is free again", || {
        device(&running, &one).is_ok()
    });
    running.stop();
}

#[test]
fn what_is_not_announced_is_closed() {
    let running = Running::fake(ON, impatient());
    let good = header(&running, "203.0.113.1:1000");
    for (name, bytes) in [
        (
            "TLS without a header",
            &b"\x16\x03\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"[..],
        ),
        (
            "version 1",
            b"PROXY TCP4 203.0.113.1 127.0.0.1 1000 8443\r\n",
        ),
        ("half a header", &good[..20]),
        ("nothing", b""),
    ] {
        assert!(is_closed(running.address(), bytes), "{name}");
    }
    assert!(device(&running, &good).is_ok(), "it serves on");
    until("all is given back", || {
        running.node.shared().connections() == 0
    });
    running.stop();

    let elsewhere = "kms.server.proxy-protocol=v2\nkms.server.proxy-protocol.from=192.0.2.1";
    let running = Running::fake(elsewhere, unhurried());
    assert!(device(&running, &good).is_err(), "from no balancer");
    running.stop();

    let running = Running::fake("", unhurried());
    assert!(device(&running, &good).is_err(), "nobody expects a header");
    running.stop();
}
