#![allow(clippy::unwrap_used)]
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use kms::cli::pki::KeyKind;
use kms_loadgen::stream::Uniform;
use kms_loadgen::{DriveError, Driver, Exchanges, Plan, Target, Until};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;
use crate::credentials::{Credentials, SERVER_NAME};

/// A server in a thread of this process, which ends with it.
pub(crate) fn server(answer: &'static [u8]) -> (SocketAddr, Credentials) {
    let credentials = Credentials::new(KeyKind::P256).unwrap();
    let ca = CertificateDer::from(credentials.authority.cert_der().to_vec());
    let leaf = CertificateDer::from(credentials.server.cert_der.clone());
    let key = PrivatePkcs8KeyDer::from(credentials.server.key_pkcs8_der.expose().to_vec());
    let tls = server_config(ca, leaf, key.into()).unwrap();
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve_on(listener, &tls, answer));
    (address, credentials)
}

pub(crate) fn target(address: SocketAddr, credentials: &Credentials) -> Target {
    Target::issued(
        address,
        SERVER_NAME,
        &credentials.authority,
        &credentials.device,
    )
    .unwrap()
}

const PLAN: Plan = Plan {
    depth: 1,
    until: Until::Requests(500),
};

#[test]
fn the_driver_counts_right_wrong_and_refused_answers() {
    for (name, answer, right, wrong, refused) in [
        (
            "right",
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[key]"[..],
            500,
            0,
            0,
        ),
        (
            "wrong bytes",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[kex]",
            0,
            500,
            0,
        ),
        (
            "refused",
            b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\n[key]",
            0,
            0,
            500,
        ),
        (
            "chunked",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[key]\r\n0\r\n\r\n",
            500,
            0,
            0,
        ),
    ] {
        let (address, credentials) = server(answer);
        let mut exchanges = Exchanges::default();
        exchanges.push(b"GET /a HTTP/1.1\r\n\r\n", b"key");
        exchanges.push(b"GET /b HTTP/1.1\r\n\r\n", b"key");
        let mut driver = Driver::connect(&target(address, &credentials), 8).unwrap();
        let mut order = Uniform::new(1, exchanges.len()).unwrap();
        for run in 0..2 {
            let outcome = driver.run(&exchanges, &mut order, PLAN).unwrap();
            assert_eq!(
                (outcome.right, outcome.wrong),
                (right, wrong),
                "{name}, run {run}"
            );
            let statuses = outcome.statuses();
            assert_eq!(statuses.get(&503).copied().unwrap_or(0), refused, "{name}");
            assert_eq!((outcome.answers(), outcome.reconnects), (500, 0), "{name}");
            assert_eq!(outcome.is_clean(), right == 500, "{name}");
        }
    }
}

#[test]
fn a_run_ends_by_time_and_by_its_order() {
    let (address, credentials) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut exchanges = Exchanges::default();
    exchanges.push(b"GET /a HTTP/1.1\r\n\r\n", b"");
    let mut driver = Driver::connect(&target(address, &credentials), 2).unwrap();
    let until = Until::Elapsed(Duration::from_millis(50));
    let outcome = driver
        .run(
            &exchanges,
            &mut std::iter::repeat(0),
            Plan { depth: 1, until },
        )
        .unwrap();
    assert!(
        outcome.is_clean() && outcome.elapsed >= Duration::from_millis(50),
        "{outcome:?}"
    );
    let outcome = driver
        .run(&exchanges, &mut std::iter::repeat_n(0, 7), PLAN)
        .unwrap();
    assert_eq!(outcome.right, 7);
}

#[test]
fn servers_that_refuse_or_close_end_the_run_with_their_reason() {
    let (address, _) = server(b"");
    let strangers = Credentials::new(KeyKind::P256).unwrap();
    let refused = Driver::connect(&target(address, &strangers), 1);
    assert!(
        matches!(refused, Err(DriveError::Connect(_))),
        "another authority"
    );

    let closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (address, credentials) = server(closing);
    let mut exchanges = Exchanges::default();
    exchanges.push(b"GET /a HTTP/1.1\r\n\r\n", b"");
    let mut driver = Driver::connect(&target(address, &credentials), 1).unwrap();
    let plan = Plan {
        depth: 1,
        until: Until::Requests(20),
    };
    let outcome = driver
        .run(&exchanges, &mut std::iter::repeat(0), plan)
        .unwrap();
    assert_eq!(
        (
            outcome.right,
            outcome.reconnects,
            outcome.failed_connections
        ),
        (20, 20, 0)
    );
}
