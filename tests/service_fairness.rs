//! Limits by certificate and address: one greedy client beside others, and where the time went.
//!
//! Addresses are 127.0.0.1 and 127.0.0.2: the whole of 127/8 is this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType};
use service_support::client::{self, Client};
use service_support::fake_hsm::{decrypt_body, sealed};
use service_support::{DECRYPT, ENCRYPT, PATIENCE, Running, holding, unhurried, until};

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A connection from [`OTHER`].
fn tcp_from_other(to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((OTHER, 0))).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let tcp = TcpStream::from(socket);
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// A device at [`OTHER`].
fn other_device(running: &Running) -> Client {
    let identity = Some(&running.house.device);
    let config = client::config(&running.house, identity, rustls::ALL_VERSIONS);
    Client::with(config, tcp_from_other(running.address())).unwrap()
}

/// A batch of unwraps that nobody has asked for before if `from` is new.
fn batch(from: u32, count: u32) -> String {
    let items = (from..from + count).map(|n| decrypt_body(&n.to_be_bytes()));
    let items = items.collect::<Vec<_>>().join(",");
    format!("{{\"batch_input\":[{items}]}}")
}

fn errors(text: &str) -> String {
    format!("{{\"errors\":[\"{text}\"]}}\n")
}

fn metrics(running: &Running) -> String {
    let mut tcp = client::tcp(running.node.health_address());
    std::io::Write::write_all(&mut tcp, b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_rate_refuses_with_the_time_to_wait_and_keeps_the_connection() {
    let running = Running::fake("kms.limit.rate=5", unhurried());
    let mut device = running.device();
    assert_eq!(device.post(DECRYPT, &batch(0, 100)).status, 200);
    for (name, path, body) in [
        ("from the cache too", DECRYPT, decrypt_body(&[0; 4])),
        ("a batch", DECRYPT, batch(0, 2)),
        ("a wrap", ENCRYPT, "{\"plaintext\":\"QUJD\"}".to_owned()),
    ] {
        let answer = device.post(path, &body);
        let text =
            "more than 5 operations a second from one certificate and address (kms.limit.rate)";
        assert_eq!((answer.status, answer.body), (429, errors(text)), "{name}");
        let header = |name| {
            let mut headers = answer.headers.iter();
            headers
                .find(|(held, _)| held == name)
                .map(|(_, value)| value.clone())
        };
        let wait_s: u32 = header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=20).contains(&wait_s), "{name}: {wait_s}");
        assert_eq!(header("Connection"), None, "{name}");
    }
    device.ask("GET", "/v1/sys/health", "");
    assert_eq!(device.answer().status, 200, "not an operation");
    let one = decrypt_body(&[0; 4]);
    assert_eq!(
        running.device().post(DECRYPT, &one).status,
        429,
        "by no new connection"
    );
    for (name, mut client) in [
        ("another address", other_device(&running)),
        ("another certificate", running.backend()),
    ] {
        assert_eq!(client.post(DECRYPT, &one).status, 200, "{name}");
    }
    let told = metrics(&running);
    for line in ["kms_requests_limited_total 4", "kms_clients 3"] {
        assert!(told.contains(&format!("\n{line}\n")), "{line}: {told}");
    }
    assert!(!told.contains("127.0.0"), "no address in a metric");
    running.stop();
}

#[test]
fn what_waits_for_the_hsm_is_limited_and_hits_are_not() {
    let running = holding("kms.limit.inflight=2", unhurried());
    let mut parked: Vec<Client> = (0..2).map(|_| running.device()).collect();
    for (n, device) in (0_u8..).zip(&mut parked) {
        device.ask("POST", DECRYPT, &decrypt_body(&[n]));
    }
    running.hsm().wait_for_held(2);
    let text = "more than 2 operations of one certificate and address wait for the HSM (kms.limit.inflight)";
    let mut device = running.device();
    for (name, path, body) in [
        ("a miss", DECRYPT, decrypt_body(b"cold")),
        ("joining one", DECRYPT, decrypt_body(&[0])),
        ("a batch with a hit in it", DECRYPT, {
            let items = [decrypt_body(b"first"), decrypt_body(b"cold")].join(",");
            format!("{{\"batch_input\":[{items}]}}")
        }),
        ("a wrap", ENCRYPT, "{\"plaintext\":\"QUJD\"}".to_owned()),
        (
            "an unknown key",
            "/v1/transit/decrypt/new",
            decrypt_body(b"cold"),
        ),
    ] {
        let answer = device.post(path, &body);
        assert_eq!(answer.header("Retry-After"), Some("1"), "{name}");
        assert_eq!((answer.status, answer.body), (429, errors(text)), "{name}");
    }
    let hit = device.post(DECRYPT, &decrypt_body(b"first"));
    assert_eq!(hit.status, 200, "what the cache has is served on");
    let mut others = [other_device(&running), running.backend()];
    for (n, other) in (0_u8..).zip(&mut others) {
        other.ask("POST", DECRYPT, &decrypt_body(&[9, n]));
    }
    running.hsm().wait_for_held(4);
    running.hsm().release_all();
    for client in parked.iter_mut().chain(&mut others) {
        assert_eq!(client.answer().status, 200);
    }
    let answer = device.post(DECRYPT, &batch(0, 5));
    assert_eq!(answer.status, 200, "alone, larger than the limit");
    running.stop();
}

#[test]
fn who_leaves_while_waiting_is_no_longer_counted() {
    let running = holding("kms.limit.inflight=1", unhurried());
    let mut gone = running.device();
    gone.ask("POST", DECRYPT, &decrypt_body(b"gone"));
    running.hsm().wait_for_held(1);
    let before = running.node.shared().connections();
    drop(gone);
    running.hsm().release_all();
    until("it is closed", || {
        running.node.shared().connections() < before
    });
    assert_eq!(
        running
            .device()
            .post(DECRYPT, &decrypt_body(b"cold"))
            .status,
        200
    );
    running.stop();
}

#[test]
fn an_address_may_have_so_many_connections() {
    let running = Running::fake("kms.limit.connections=2", unhurried());
    let mut device = running.device();
    let unfinished = client::tcp(running.address());
    until("it is let in", || running.node.shared().connections() == 2);
    for nth in 1..=3 {
        let mut rest = Vec::new();
        let end = client::tcp(running.address()).read_to_end(&mut rest);
        let waited = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waited && rest.is_empty(), "{nth}");
        let refused = &running.node.shared().metrics.turned_away_address;
        assert_eq!(refused.get(), nth);
    }
    assert!(metrics(&running).contains("\nkms_connections_limited_total 3\n"));
    let one = decrypt_body(b"x");
    assert_eq!(other_device(&running).post(DECRYPT, &one).status, 200);
    assert_eq!(device.post(DECRYPT, &one).status, 200);
    drop(unfinished);
    until("room", || running.node.shared().connections() == 1);
    assert_eq!(running.device().post(DECRYPT, &one).status, 200);
    running.stop();
}

#[test]
fn a_scanning_address_neither_starves_nor_flushes() {
    let running = Running::fake("kms.cache.entries.max=200", unhurried());
    let mut victim = other_device(&running);
    let asked = || running.hsm().count("decrypt");
    // Once: an entry that was asked for again is kept by the eviction alone.
    assert_eq!(victim.post(DECRYPT, &batch(0, 50)).status, 200);
    assert_eq!(asked(), 50);
    let mut scanner = running.device();
    let mut missed = 0;
    for round in 1..=4 {
        for part in 0..5 {
            let cold = batch(round * 1000 + part * 200, 200);
            assert_eq!(scanner.post(DECRYPT, &cold).status, 200);
        }
        let before = asked();
        assert_eq!(victim.post(DECRYPT, &batch(0, 50)).status, 200);
        missed += asked() - before;
    }
    assert!(
        missed <= 25,
        "{missed} of 500 unwraps had to be fetched again"
    );
    running.stop();
}

fn post_with(client: &mut Client, header: &str, path: &str, body: &str) -> Option<String> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\n{header}Content-Length: {length}\r\n\r\n");
    client.send(head + body);
    client.answer().header("Server-Timing").map(str::to_owned)
}

/// The value without its figures, each of which must be one.
fn without_figures(value: &str) -> String {
    let parts = value.split(", ").map(|part| {
        let (name, figure) = part.split_once(";dur=").expect("a duration");
        assert!(figure.parse::<f64>().unwrap() < 10_000.0, "{value}");
        name
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[test]
fn server_timing_is_told_to_who_asks() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    let asks = "X-KMS-Server-Timing: 1\r\n";
    let miss = Some("queue, cache;desc=miss, hsm");
    let hit = Some("cache;desc=hit");
    let two = format!(
        "{{\"batch_input\":[{},{}]}}",
        decrypt_body(b"1"),
        decrypt_body(b"2")
    );
    let damaged = sealed(b"1").replace("VFQ=", "VFE=");
    let damaged = format!("{{\"ciphertext\":\"{damaged}\"}}");
    for (name, header, path, body, want) in [
        ("not asked, a miss", "", DECRYPT, decrypt_body(b"0"), None),
        ("a miss", asks, DECRYPT, decrypt_body(b"1"), miss),
        ("a hit", asks, DECRYPT, decrypt_body(b"1"), hit),
        ("not asked, a hit", "", DECRYPT, decrypt_body(b"1"), None),
        ("a batch of both", asks, DECRYPT, two.clone(), miss),
        ("a batch of hits", asks, DECRYPT, two, hit),
        (
            "a wrap",
            asks,
            ENCRYPT,
            "{\"plaintext\":\"QUJD\"}".into(),
            Some("queue, hsm"),
        ),
        ("refused by the HSM", asks, DECRYPT, damaged, miss),
        ("refused at once", asks, DECRYPT, "{}".into(), None),
    ] {
        let told = post_with(&mut device, header, path, &body);
        let told = told.as_deref().map(without_figures);
        assert_eq!(told.as_deref(), want, "{name}");
    }
    running.stop();
}
