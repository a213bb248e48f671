//! Known keys are planted, used, and looked for in the whole image of the running server, as root:
//! raw, and their base64 at its three alignments, in both arena modes. While cached they are nowhere
//! but in the locked arena; after their time they are nowhere. Controls prove that the scan finds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

#[path = "process_image/scan.rs"]
mod scan;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use scan::{Hit, Image, needles};
use support::client::Client;
use support::node::Node;
use support::pki::{CLIENT, KeyKind};
use support::site::{P12_PASSWORD, Site};
use support::{pykmip, wait_until};

const KEYS: usize = 8;
const KEY_NAME: &str = "image-scan-positive-control";

/// Random, so that no program text has it.
fn random_keys() -> Vec<[u8; 32]> {
    let mut source = std::fs::File::open("/dev/urandom").unwrap();
    let mut keys = vec![[0; 32]; KEYS];
    for key in &mut keys {
        source.read_exact(key).unwrap();
    }
    keys
}

/// One open connection: the leftovers of a connection matter while it lives.
struct Connection {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Connection {
    fn open(site: &Site, port: u16, version: &str) -> Self {
        let mut child = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                version,
                "-cert",
                "cmxDevice.crt",
                "-key",
                "cmxDevice.key",
            ])
            .args(["-connect", &format!("127.0.0.1:{port}")])
            .current_dir(&site.pki.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Posts, and gives the body of a 200.
    fn post(&mut self, path: &str, body: &str) -> String {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        self.stdin
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
        self.stdin.flush().unwrap();
        let (mut status, mut length) = (String::new(), 0);
        self.stdout.read_line(&mut status).unwrap();
        loop {
            let mut line = String::new();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "closed after {status}"
            );
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(status.contains(" 200 "), "{status}{body}");
        body
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(body: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    value["data"][name].as_str().unwrap().to_owned()
}

/// A process that keeps what it was given, raw and in each alignment: the scan must see all of it.
#[test]
fn the_scan_finds_a_key_in_a_process_that_keeps_it() {
    let keys = random_keys();
    let program = "import sys,base64\n\
        raw=[bytes.fromhex(x) for x in sys.stdin.readline().split()]\n\
        kept=[base64.b64encode(b'x'*n+k) for k in raw for n in range(3)]\n\
        print('kept',flush=True)\nsys.stdin.readline()\n";
    let mut child = Command::new(pykmip::python())
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let hex: Vec<String> = keys
        .iter()
        .map(|key| key.iter().map(|b| format!("{b:02x}")).collect())
        .collect();
    writeln!(stdin, "{}", hex.join(" ")).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "kept\n");
    let hits = Image::of(child.id()).scan(&needles(&keys));
    drop(stdin);
    let _ = child.wait();
    for needle in needles(&keys) {
        let found = hits.iter().any(|hit| hit.needle == needle.name);
        assert!(found, "the scan is blind to {}", needle.name);
    }
}

/// Wraps each key, then unwraps it cold and warm.
fn plant(connection: &mut Connection, keys: &[[u8; 32]]) {
    let (encrypt, decrypt) = (
        format!("/v1/transit/encrypt/{KEY_NAME}"),
        format!("/v1/transit/decrypt/{KEY_NAME}"),
    );
    let sealed: Vec<String> = keys
        .iter()
        .map(|key| {
            let body = format!("{{\"plaintext\":\"{}\"}}", STANDARD.encode(key));
            field(&connection.post(&encrypt, &body), "ciphertext")
        })
        .collect();
    // Once cold, once warm.
    for round in 0..2 {
        for (key, sealed) in keys.iter().zip(&sealed) {
            let body = format!("{{\"ciphertext\":\"{sealed}\"}}");
            let answer = connection.post(&decrypt, &body);
            assert_eq!(
                field(&answer, "plaintext"),
                STANDARD.encode(key),
                "round {round}"
            );
        }
    }
}

fn plant_and_scan(mode: &str, version: &str) {
    let site = Site::new(KeyKind::P256);
    site.pki.leaf("spare", "siteCA", CLIENT);
    site.keystore(&["cmxBackend", "cmxDevice"]);
    let node = Node::start_with(
        &site.embedded_config(&["kms.cache.ttl.s=12", "kms.log.level=trace"]),
        &[("KMS_TEST_ARENA_MODE", mode)],
    );
    let backend = Client {
        pki: &site.pki,
        name: "cmxBackend",
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    };
    backend.create(KEY_NAME).ok();
    let keys = random_keys();
    let mut connection = Connection::open(&site, node.port, version);
    plant(&mut connection, &keys);
    let needles = needles(&keys);
    let image = Image::of(node.process.pid());
    let hits = image.scan(&needles);
    check_while_cached(mode, &image, &hits);
    // Not a secret, and kept by the server: a scan that misses it proves nothing about this process.
    assert!(
        image.finds(KEY_NAME.as_bytes()),
        "the scan does not see into the server"
    );

    wait_until(
        "keys are still in memory after their time",
        Duration::from_secs(60),
        || {
            Image::of(node.process.pid())
                .scan(&needles)
                .is_empty()
                .then_some(())
        },
    );
    let log = node.process.log();
    for needle in &needles {
        let text = String::from_utf8_lossy(&needle.bytes);
        assert!(
            needle.is_raw || !log.contains(&*text),
            "{} is in the log",
            needle.name
        );
    }
    drop(connection);
}

fn check_while_cached(mode: &str, image: &Image, hits: &[Hit]) {
    let stray: Vec<_> = hits.iter().filter(|hit| !hit.locked).collect();
    assert!(stray.is_empty(), "{mode}: outside the arena: {stray:#?}");
    let raw = hits.iter().filter(|hit| hit.is_raw).count();
    if mode == "mlock" {
        // Locked is not hidden from root: the cached keys themselves are the positive control.
        assert!(
            raw >= KEYS,
            "{mode}: only {raw} of {KEYS} cached keys were found"
        );
    } else {
        assert_eq!(hits.len(), 0, "{mode}: {hits:#?}");
        let hidden = image
            .unreadable
            .iter()
            .any(|line| line.contains("secretmem"));
        assert!(hidden, "{mode}: no hidden mapping: {:#?}", image.unreadable);
    }
}

#[test]
fn keys_are_only_in_the_arena_with_mlock_and_tls_1_3() {
    plant_and_scan("mlock", "-tls1_3");
}

#[test]
fn keys_are_only_in_the_arena_with_mlock_and_tls_1_2() {
    plant_and_scan("mlock", "-tls1_2");
}

#[test]
fn keys_are_nowhere_to_be_read_with_memfd_secret_and_tls_1_3() {
    plant_and_scan("memfd_secret", "-tls1_3");
}
