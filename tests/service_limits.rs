//! Bounds: sizes, memory, connections, slow peers; what the client is told, and that nothing leaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::io::Read;

use service_support::client::{self, request};
use service_support::fake_hsm::decrypt_body;
use service_support::{DECRYPT, ENCRYPT, Running, impatient, unhurried, until};

fn batch_of(plaintexts: impl Iterator<Item = Vec<u8>>) -> String {
    let items: Vec<String> = plaintexts
        .map(|plaintext| decrypt_body(&plaintext))
        .collect();
    format!("{{\"batch_input\":[{}]}}", items.join(","))
}

type Refusal = (&'static str, String, u16, &'static str);

fn head_with(headers: &str) -> String {
    format!("POST {ENCRYPT} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

fn bodies_too_large() -> Vec<Refusal> {
    let tiny = format!("1;{}\r\nx\r\n", "e".repeat(200)).repeat(2000);
    let chunked = head_with("Transfer-Encoding: chunked\r\n");
    let expecting = head_with("Expect: 100-continue\r\nContent-Length: 65537\r\n");
    let sent = head_with("Content-Length: 2000000\r\n") + &"x".repeat(2_000_000);
    let text = "http: request body too large";
    vec![
        (
            "declared",
            head_with("Content-Length: 65537\r\n"),
            413,
            text,
        ),
        ("declared and sent", sent, 413, text),
        ("one chunk", format!("{chunked}10001\r\n"), 413, text),
        (
            "chunks of mere framing",
            format!("{chunked}{tiny}"),
            413,
            text,
        ),
        ("asked before", expecting, 413, text),
    ]
}

fn heads_refused() -> Vec<Refusal> {
    let many = "H: v\r\n".repeat(101);
    let long = format!("X: {}\r\n", "x".repeat(33_000));
    let two_lengths = head_with("Content-Length: 1\r\nContent-Length: 2\r\n");
    let two_ways = head_with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n");
    let coding = head_with("Transfer-Encoding: gzip, chunked\r\n");
    let version = format!("POST {ENCRYPT} HTTP/2.0\r\nHost: h\r\n\r\n");
    let large = "request headers too large";
    let malformed = "malformed HTTP request";
    vec![
        ("a long header", head_with(&long), 431, large),
        (
            "an endless one",
            head_with(&long).replace("\r\n\r\n", ""),
            431,
            large,
        ),
        ("many", head_with(&many), 431, large),
        (
            "not HTTP",
            "\x16\x03\x01 hello\r\n\r\n".to_owned(),
            400,
            malformed,
        ),
        ("two lengths", two_lengths, 400, malformed),
        ("length and chunks", two_ways, 400, malformed),
        (
            "coding",
            coding,
            501,
            "only the chunked transfer coding is served",
        ),
        (
            "version",
            version,
            505,
            "only HTTP/1.0 and HTTP/1.1 are served",
        ),
        (
            "expectation",
            head_with("Expect: a miracle\r\n"),
            417,
            "only the expectation 100-continue",
        ),
    ]
}

#[test]
fn what_is_too_large_or_malformed_is_told_before_the_end() {
    let running = Running::fake("", unhurried());
    for (name, bytes, status, text) in bodies_too_large().into_iter().chain(heads_refused()) {
        let mut device = running.device();
        // The server may have ended the connection before the last byte is sent.
        let _ = device.try_send(&bytes);
        let answer = device
            .try_answer()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (found, connection) = (answer.status, answer.header("Connection"));
        assert_eq!(
            (found, connection),
            (status, Some("close")),
            "{name}: {}",
            answer.body
        );
        let start = format!("{{\"errors\":[\"{text}");
        assert!(answer.body.starts_with(&start), "{name}: {}", answer.body);
        device.end();
    }
    let refused = running
        .node
        .shared()
        .metrics
        .sum(|worker| &worker.requests_refused);
    assert_eq!(refused, 12, "every 4xx is counted");
    until("none is left", || running.node.shared().connections() == 0);
    running.stop();
}

#[test]
fn large_bodies_and_answers_pass() {
    let running = Running::fake(
        "kms.request.body.max=4 MiB\nkms.cache.entries.max=10000",
        unhurried(),
    );
    let mut device = running.device();
    let base64 = "QUJD".repeat(700_000);
    let answer = device.post(ENCRYPT, &format!("{{\"plaintext\":\"{base64}\"}}"));
    assert_eq!((answer.status, answer.body.len() > 2_800_000), (200, true));
    // As long as the cache keeps them; larger than a worker's reply buffer in sum.
    let answer = device.post(
        DECRYPT,
        &batch_of((0..400u32).map(|n| n.to_be_bytes().repeat(128))),
    );
    assert_eq!(
        (answer.status, answer.body.len() > 270_000),
        (200, true),
        "{}",
        answer.body.len()
    );
    assert_eq!(answer.body.matches("\"plaintext\":\"").count(), 400);
    running.node.shared().engine.cache().purge_all();
    // Longer ones are never kept, and not so many pass at once.
    let asked = running.hsm().count("decrypt");
    for (name, count, status, retry) in [
        ("a page each", 60, 200, None),
        ("too many", 300, 503, Some("1")),
        ("a page each, again", 64, 200, None),
    ] {
        let answer = device.post(
            DECRYPT,
            &batch_of((0..count).map(|n: u32| n.to_be_bytes().repeat(300))),
        );
        assert_eq!(
            (answer.status, answer.header("Retry-After")),
            (status, retry),
            "{name}"
        );
        assert_eq!(
            answer.body.contains("no locked memory is free"),
            status == 503,
            "{name}"
        );
    }
    assert_eq!(running.hsm().count("decrypt"), asked + 424);
    running.stop();
}

#[test]
fn a_batch_of_many_items_asks_for_each_once() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    for round in 0..2 {
        let body = batch_of((0..499u32).map(|n| (n % 250).to_be_bytes().to_vec()));
        let answer = device.post(DECRYPT, &body);
        assert_eq!(answer.status, 200, "round {round}: {}", answer.body);
        assert_eq!(answer.body.matches("\"plaintext\":\"").count(), 499);
        assert_eq!(
            running.hsm().count("decrypt"),
            250,
            "duplicates join, the second round hits"
        );
    }
    let too_many = batch_of((0..500u32).map(|n| n.to_be_bytes().to_vec()));
    let answer = device.post(DECRYPT, &too_many);
    let text = "{\"errors\":[\"refused JSON input due to high complexity: exceeded maximum number of strings\"]}\n";
    assert_eq!((answer.status, answer.body.as_str()), (400, text));
    running.stop();
}

#[test]
fn connections_beyond_the_limit_are_turned_away_and_room_is_made_again() {
    let running = Running::fake(
        "kms.connections.max=3\nkms.limit.connections=3",
        unhurried(),
    );
    let mut held: Vec<_> = (0..3).map(|_| running.device()).collect();
    let mut tcp = client::tcp(running.address());
    let mut rest = Vec::new();
    assert!(
        !tcp.read_to_end(&mut rest)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    );
    assert_eq!(running.node.shared().metrics.turned_away.get(), 1);
    held.pop();
    until("room", || running.node.shared().connections() == 2);
    assert_eq!(
        running.device().post(DECRYPT, &decrypt_body(b"x")).status,
        200
    );
    for device in &mut held {
        assert_eq!(device.post(DECRYPT, &decrypt_body(b"x")).status, 200);
    }
    running.stop();
}

/// Sends requests without reading until the server has stopped reading, and returns how many.
fn fill_up(device: &mut client::Client, one: &str) -> usize {
    device.tls.sock.set_nonblocking(true).unwrap();
    let (mut sent, mut stuck) = (0, 0);
    while stuck < 500 {
        if device.tls.conn.wants_write() {
            if device.write_some() {
                stuck = 0;
            } else {
                stuck += 1;
                std::thread::yield_now();
            }
        } else {
            std::io::Write::write_all(&mut device.tls.conn.writer(), one.as_bytes()).unwrap();
            sent += 1;
        }
    }
    sent
}

#[test]
fn reading_resumes_when_a_slow_reader_reads() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    let item = decrypt_body(&[b'x'; 500]);
    assert_eq!(device.post(DECRYPT, &item).status, 200);
    let one = request(
        "POST",
        DECRYPT,
        &format!("{{\"batch_input\":[{item},{item},{item},{item},{item}]}}"),
    );
    let sent = fill_up(&mut device, &one);
    assert!(sent > 100, "{sent}");
    for nth in 0..sent {
        let mut answer = None;
        until(&format!("answer {nth} of {sent}"), || {
            answer = device.whole_answer();
            answer.is_some()
                || !device.write_some() && {
                    device.read_some();
                    false
                }
        });
        assert_eq!(answer.unwrap().status, 200, "{nth}");
    }
    device.tls.sock.set_nonblocking(false).unwrap();
    assert_eq!(
        device.post(DECRYPT, &decrypt_body(b"y")).status,
        200,
        "and it is served on"
    );
    running.stop();
}

#[test]
fn a_peer_that_never_reads_is_cut() {
    let running = Running::fake("", impatient());
    let mut device = running.device();
    let big = decrypt_body(&[b'x'; 500]);
    let one = request(
        "POST",
        DECRYPT,
        &format!("{{\"batch_input\":[{big},{big},{big},{big},{big}]}}"),
    );
    fill_up(&mut device, &one);
    until("it is cut", || running.node.shared().connections() == 0);
    running.stop();
}

#[test]
fn health_is_told_to_whoever_asks_in_whatever_way() {
    let running = Running::fake("", unhurried());
    let health = running.node.health_address();
    for (name, request, want) in [
        (
            "alive",
            "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK",
        ),
        (
            "ready",
            "GET /readyz HTTP/1.0\r\n\r\n",
            "\"state\":\"ready\"",
        ),
        ("metrics", "GET /metrics HTTP/1.0\r\n\r\n", "kms_hsm_up 1"),
        (
            "half-closed",
            "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
            "alive",
        ),
        ("elsewhere", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 404"),
        (
            "a change",
            "POST /healthz HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 405",
        ),
        ("no HTTP", "\x16\x03\x01\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let mut tcp = client::tcp(health);
        std::io::Write::write_all(&mut tcp, request.as_bytes()).unwrap();
        if name == "half-closed" {
            tcp.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut text = String::new();
        tcp.read_to_string(&mut text).unwrap();
        assert!(text.contains(want), "{name}: {text}");
    }
    // Many requests at once, read only afterwards.
    let mut tcp = client::tcp(health);
    let many = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(500);
    let last = "GET /healthz HTTP/1.0\r\n\r\n";
    std::io::Write::write_all(&mut tcp, (many + last).as_bytes()).unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 501);
    running.stop();
}
