//! A node whose configuration and keystore are on disk, to be changed while it runs.

use std::fs;
use std::path::PathBuf;

use kms::cli::pki::{Issued, Leaf};
use kms::keystore::{NewEntry, write_pkcs12};
use kms::node::{Node, Options};
use kms::secret::SecretString;
use rustls::pki_types::CertificateDer;

use super::transit::ciphertext_of;
use super::{House, Running, file, private_key, unhurried};

pub fn issue(house: &House, common_name: &str, server: bool) -> Issued {
    let leaf = Leaf {
        common_name,
        sans: if server { &["localhost"] } else { &[] },
        server,
        client: !server,
        days: 2,
    };
    house.authority.issue(&leaf).unwrap()
}

/// A keystore with this server certificate and these pins.
pub fn keystore(server: &Issued, pins: &[(&str, &Issued)], password: &str) -> Vec<u8> {
    let der = |issued: &Issued| CertificateDer::from(issued.cert_der.clone());
    let (key, chain) = (private_key(server), [der(server)]);
    let pins: Vec<_> = pins
        .iter()
        .map(|(alias, issued)| (*alias, der(issued)))
        .collect();
    let mut entries = vec![NewEntry::Key {
        alias: "kmsServer",
        key: &key,
        chain: &chain,
    }];
    entries.extend(
        pins.iter()
            .map(|(alias, certificate)| NewEntry::Trusted { alias, certificate }),
    );
    write_pkcs12(&entries, &SecretString::new(password.to_owned())).unwrap()
}

pub fn store(house: &House) -> PathBuf {
    file(house, "store.p12")
}

/// As an editor or `cp` to another name and `mv` does it.
pub fn replace(path: &std::path::Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(&new, path).unwrap();
}

/// A node whose files are on disk, so that they can be read again.
pub fn start(more: &str) -> Running {
    let house = House::build();
    fs::write(file(&house, "kms.properties"), house.properties(more)).unwrap();
    let options = Options {
        deadlines: unhurried(),
        ..Options::default()
    };
    let node = Node::start(&house.config(more), options).unwrap();
    let running = Running {
        house,
        node,
        hsm: None,
    };
    assert_eq!(running.backend().post("/v1/transit/keys/k", "").status, 200);
    running
}

pub fn wrap(running: &Running, plaintext: &str) -> String {
    let body = format!(r#"{{"plaintext":"{plaintext}"}}"#);
    let answer = running.backend().post("/v1/transit/encrypt/k", &body);
    format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&answer.body))
}

pub const UNWRAP: &str = "/v1/transit/decrypt/k";
pub const PLAINTEXT: &str = "c2VjcmV0IG9mIGEgZGV2aWNl";
