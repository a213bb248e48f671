//! A real OpenBao, and a node of ours that has it as back end.
//!
//! Used by tests/vault_*.rs. OpenBao serves twice: with TLS, for the node, and without on another port, for
//! the test itself.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]

mod openbao;
#[path = "../support/process.rs"]
mod process;
#[path = "../service_support/mod.rs"]
pub mod service_support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kms::cli::pki::{Issued, Leaf};
use kms::hsm::Health;
use kms::keystore::{NewEntry, write_pkcs12};
use kms::node::{Node, Options};
use kms::secret::SecretString;
pub use openbao::Bao;
use rustls::pki_types::CertificateDer;
use service_support::{House, Running, private_key, unhurried};

/// For what takes processes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The token that may do everything.
pub const ROOT: &str = "root-test";

/// Waits until `ready` gives something.
pub fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = vec![0; kms::wire::base64::encoded_len(der.len())];
    kms::wire::base64::encode(der, &mut text).unwrap();
    let lines: Vec<_> = text
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

pub fn public_key_pem(spki: &[u8]) -> String {
    pem("PUBLIC KEY", spki)
}

/// A folder of certificates in which the node trusts the authority of OpenBao's.
pub fn house() -> House {
    let house = House::build();
    write_store(&house, house.authority.cert_der(), None);
    house
}

/// As [`house`], with a certificate for the node to show to OpenBao.
pub fn house_with_client() -> House {
    let house = House::build();
    let client = issue(&house, "kmsClient", &[], false);
    write_store(&house, house.authority.cert_der(), Some(&client));
    house
}

/// Another folder in which the authority of `other` is trusted, without a certificate to show.
pub fn with_keystore_of(other: &House) -> House {
    let house = House::build();
    write_store(&house, other.authority.cert_der(), None);
    house
}

fn write_store(house: &House, authority: &[u8], client: Option<&Issued>) {
    let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    let server = issue(house, "kmsServer", &["localhost"], true);
    let mut keys = vec![("kmsServer", private_key(&server), [der(&server.cert_der)])];
    keys.extend(client.map(|issued| ("kmsClient", private_key(issued), [der(&issued.cert_der)])));
    let certificates = [
        ("cmxDevice", der(&house.device.cert_der)),
        ("cmxBackend", der(&house.backend.cert_der)),
        ("vaultCA", der(authority)),
    ];
    let mut entries = Vec::new();
    entries.extend(
        keys.iter()
            .map(|(alias, key, chain)| NewEntry::Key { alias, key, chain }),
    );
    entries.extend(
        certificates
            .iter()
            .map(|(alias, certificate)| NewEntry::Trusted { alias, certificate }),
    );
    let bytes = write_pkcs12(&entries, &SecretString::new("secret".to_owned())).unwrap();
    fs::write(house.dir.path().join("store.p12"), bytes).unwrap();
}

/// Another folder with the certificates of this one.
pub fn house_like(other: &House) -> House {
    let copy = |issued: &Issued| Issued {
        cert_der: issued.cert_der.clone(),
        cert_pem: issued.cert_pem.clone(),
        key_pkcs8_der: issued.key_pkcs8_der.clone(),
        key_pem: issued.key_pem.clone(),
    };
    let mut house = House::build();
    let store = |house: &House| house.dir.path().join("store.p12");
    fs::copy(store(other), store(&house)).unwrap();
    (house.device, house.backend) = (copy(&other.device), copy(&other.backend));
    // Clients judge the node by it.
    house.vouched_by = Some(other.authority.cert_der().to_vec());
    house
}

fn issue(house: &House, common_name: &str, sans: &[&str], server: bool) -> Issued {
    let leaf = Leaf {
        common_name,
        sans,
        server,
        client: !server,
        days: 2,
    };
    house.authority.issue(&leaf).unwrap()
}

/// The first text that is the member `name`, or in the array that it is.
pub fn text_of(json: &str, name: &str) -> String {
    let (_, rest) = json
        .split_once(&format!("\"{name}\":"))
        .unwrap_or_else(|| panic!("no {name}: {json}"));
    let text = rest.trim_start_matches(['[', '"']);
    text.split('"').next().unwrap().to_owned()
}

/// Writes a secret file, so that a reader never sees half of it.
pub fn write_secret(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, path).unwrap();
}

/// The lines of a node in front of the OpenBao at `port`.
pub fn lines(port: u16, more: &str) -> String {
    lines_of(&[port], more)
}

/// The lines of a node in front of several, by their ports.
fn lines_of(ports: &[u16], more: &str) -> String {
    let urls: Vec<String> = ports
        .iter()
        .map(|port| format!("https://localhost:{port}"))
        .collect();
    let urls = urls.join(",");
    format!(
        "kms.hsm.protocol=VAULT\nkms.hsm.server.url={urls}\nkms.hsm.ca.alias=vaultCA\n\
         kms.hsm.pool.size=2\nkms.hsm.timeout.ms=5000\n{more}"
    )
}

/// A node, which may not be ready yet.
pub fn node(house: House, bao: &Bao, more: &str) -> Running {
    node_at(house, bao.port, more)
}

pub fn node_at(house: House, port: u16, more: &str) -> Running {
    node_of(house, &[port], more)
}

/// A node in front of several, by their ports.
pub fn node_of(house: House, ports: &[u16], more: &str) -> Running {
    let options = Options {
        deadlines: unhurried(),
        ..Options::default()
    };
    let config = house.config(&lines_of(ports, more));
    let node = Node::start(&config, options).unwrap_or_else(|error| panic!("{error}"));
    Running {
        house,
        node,
        hsm: None,
    }
}

/// What the node tells on its health port.
pub fn told(running: &Running, path: &str) -> String {
    let mut stream = TcpStream::connect(running.node.health_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

pub fn health(running: &Running) -> Health {
    running.node.shared().engine.hsm().health()
}

/// Waits until the node's back end is as `condition` wants it.
pub fn wait_health(running: &Running, what: &str, condition: impl Fn(&Health) -> bool) -> Health {
    let end = Instant::now() + PATIENCE;
    loop {
        let health = health(running);
        if condition(&health) {
            return health;
        }
        assert!(Instant::now() < end, "waited in vain: {what}: {health:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub fn is_ready(health: &Health) -> bool {
    health.up && health.was_up && health.access.refused.is_none()
}

/// A node with a token of the guide's policy, ready.
pub fn ready(bao: &Bao, house: House, more: &str) -> Running {
    let token = format!("kms.hsm.vault.token={}\n{more}", bao.token(""));
    let running = node(house, bao, &token);
    wait_health(&running, "ready", is_ready);
    running
}
