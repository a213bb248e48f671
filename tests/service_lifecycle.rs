//! Connections and the node from first to last byte: parking, closing, deadlines, draining.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::io::Write;
use std::sync::atomic::Ordering;

use kms::admin;
use kms::node::Deadlines;
use service_support::client::{self, Client, request};
use service_support::fake_hsm::decrypt_body;
use service_support::{DECRYPT, Running, holding, impatient, unhurried, until};

#[test]
fn requests_behind_a_parked_one_are_answered_after_it() {
    let running = holding("", unhurried());
    let mut device = running.device();
    let miss = request("POST", DECRYPT, &decrypt_body(b"miss"));
    let hit = request("POST", DECRYPT, &decrypt_body(b"first"));
    device.send([miss.as_str(), &hit, &miss, "GET /v1/nothing HTTP/1.1\r\n"].concat());
    running.hsm().wait_for_held(1);
    device.send("Host: h\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n");
    running.hsm().release_all();
    let bodies = ["bWlzcw==", "Zmlyc3Q=", "bWlzcw=="];
    for want in bodies {
        let answer = device.answer();
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(want), "{want} in {}", answer.body);
    }
    let last = device.answer();
    assert_eq!(
        (last.status, last.header("Connection")),
        (404, Some("close"))
    );
    assert!(device.end(), "close_notify");
    assert_eq!(running.hsm().count("decrypt"), 2);
    running.stop();
}

#[test]
fn a_body_in_chunks_survives_being_parked() {
    let running = holding("", unhurried());
    let body = decrypt_body(b"chunked");
    let (front, back) = body.split_at(7);
    let head = format!("POST {DECRYPT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let whole = format!(
        "{head}7\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\n\r\n",
        back.len()
    );
    for (name, pieces) in [
        ("at once", vec![whole.as_str()]),
        ("in two", whole.split_inclusive(front).collect()),
    ] {
        running.hsm().hold();
        let (mut device, mut joiner) = (running.device(), running.device());
        for piece in pieces {
            device.send(piece);
        }
        running.hsm().wait_for_held(1);
        joiner.send(&whole);
        until("the join", || {
            running.node.shared().metrics.sum(|worker| &worker.joins) > 0 || name == "in two"
        });
        running.hsm().release_all();
        assert!(device.answer().body.contains("Y2h1bmtlZA=="), "{name}");
        assert!(joiner.answer().body.contains("Y2h1bmtlZA=="), "{name}");
        running.node.shared().engine.cache().purge_all();
    }
    running.stop();
}

#[test]
fn a_client_that_has_shut_down_its_sending_side_is_answered() {
    let running = holding("", unhurried());
    for (name, body, with_notify, parks) in [
        ("hit", decrypt_body(b"first"), false, false),
        ("hit, close_notify", decrypt_body(b"first"), true, false),
        ("miss", decrypt_body(b"one"), false, true),
        ("miss, close_notify", decrypt_body(b"two"), true, true),
    ] {
        running.hsm().hold();
        let mut device = running.device();
        device.ask("POST", DECRYPT, &body);
        device.shut_down(with_notify);
        if parks {
            running.hsm().wait_for_held(1);
        }
        running.hsm().release_all();
        assert_eq!(device.answer().status, 200, "{name}");
        assert!(device.end(), "{name}");
    }
    until("all gone", || running.node.shared().connections() == 0);
    running.stop();
}

#[test]
fn a_client_that_leaves_while_parked_costs_nothing_but_its_job() {
    let running = holding("", unhurried());
    let mut device = running.device();
    device.ask("POST", DECRYPT, &decrypt_body(b"left"));
    running.hsm().wait_for_held(1);
    drop(device);
    running.hsm().release_all();
    until("the connection is gone", || {
        running.node.shared().connections() == 0
    });
    let answer = running.device().post(DECRYPT, &decrypt_body(b"left"));
    assert_eq!(answer.status, 200);
    assert_eq!(
        running.hsm().count("decrypt"),
        2,
        "the abandoned unwrap filled the cache"
    );
    running.stop();
}

#[test]
fn draining_answers_what_is_in_flight_and_closes_the_rest() {
    let running = holding("", unhurried());
    let (mut idle, mut busy) = (running.device(), running.device());
    assert_eq!(idle.post(DECRYPT, &decrypt_body(b"first")).status, 200);
    busy.ask("POST", DECRYPT, &decrypt_body(b"slow"));
    running.hsm().wait_for_held(1);
    let (address, hsm) = (
        running.address(),
        std::sync::Arc::clone(running.hsm.as_ref().unwrap()),
    );
    let shared = std::sync::Arc::clone(running.node.shared());
    let told = || {
        let readiness = admin::readiness(&shared);
        (readiness.state, readiness.status)
    };
    let stopping = std::thread::spawn(move || running.stop());
    assert!(idle.end(), "an idle connection is told and closed");
    until("refused", || std::net::TcpStream::connect(address).is_err());
    assert_eq!(told(), ("draining", 404), "until the last has gone");
    hsm.release_all();
    let answer = busy.answer();
    assert_eq!(
        (answer.status, answer.header("Connection")),
        (200, Some("close"))
    );
    assert!(busy.end());
    stopping.join().unwrap();
    assert_eq!(told(), ("stopping", 503));
}

#[test]
fn a_revoked_pin_cuts_connections_idle_or_parked_or_asking() {
    let running = holding(
        "",
        Deadlines {
            sweep_every: std::time::Duration::from_millis(50),
            ..unhurried()
        },
    );
    let (mut idle, mut parked, mut other) = (running.device(), running.device(), running.backend());
    parked.ask("POST", DECRYPT, &decrypt_body(b"p"));
    running.hsm().wait_for_held(1);
    let pins = running.node.shared().pins.load();
    pins.pin(&running.house.device.cert_der)
        .unwrap()
        .revoked
        .store(true, Ordering::SeqCst);
    running.hsm().release_all();
    assert!(
        parked.try_answer().is_err(),
        "no plaintext for a revoked certificate"
    );
    // Either the request or the sweep finds it.
    let _ = idle.try_send(request("POST", DECRYPT, &decrypt_body(b"first")));
    assert!(idle.try_answer().is_err());
    let again = Client::connect(
        &running.house,
        Some(&running.house.device),
        running.address(),
    );
    assert!(
        again
            .and_then(|mut client| {
                client.try_send(request("GET", "/v1/sys/health", ""))?;
                client.try_answer()
            })
            .is_err()
    );
    assert_eq!(
        other.post(DECRYPT, &decrypt_body(b"p")).status,
        200,
        "others are served"
    );
    drop(pins);
    running.stop();
}

#[test]
fn many_connections_share_the_workers() {
    let running = Running::fake("kms.connections.max=200", unhurried());
    let mut devices: Vec<Client> = (0..24).map(|_| running.device()).collect();
    for round in 0..3u8 {
        for (index, device) in devices.iter_mut().enumerate() {
            device.ask(
                "POST",
                DECRYPT,
                &decrypt_body(&[round, u8::try_from(index).unwrap()]),
            );
        }
        for device in &mut devices {
            assert_eq!(device.answer().status, 200);
        }
    }
    assert_eq!(running.node.shared().connections(), 24);
    drop(devices);
    until("all gone", || running.node.shared().connections() == 0);
    running.stop();
}

#[test]
fn deadlines_are_for_everyone() {
    let running = Running::fake("", impatient());
    let unfinished =
        format!("POST {DECRYPT} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    for (name, bytes) in [
        ("idle", ""),
        ("half a head", "POST /v1/tra"),
        ("half a body", unfinished.as_str()),
    ] {
        let mut device = running.device();
        device.send(bytes);
        assert!(device.end(), "{name}");
    }
    for (name, bytes) in [
        ("no handshake", &b""[..]),
        ("half a hello", &[22, 3, 1, 1, 0, 1, 0][..]),
    ] {
        let mut tcp = client::tcp(running.address());
        tcp.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        let closed = std::io::Read::read_to_end(&mut tcp, &mut rest);
        assert!(
            !matches!(closed, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "{name}"
        );
    }
    until("none is left", || running.node.shared().connections() == 0);
    running.stop();
}
