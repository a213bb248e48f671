//! The login beside the certificate, from the configuration to a PyKMIP that prints what it is told.
//!
//! Needs a Python with pykmip: `./test install` makes it; without it these tests fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::doc_markdown,
    missing_docs
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::client::Client;
use support::node::Node;
use support::pki::KeyKind;
use support::pykmip::Hsm;
use support::site::{P12_PASSWORD, Site};

#[test]
fn the_whole_server_logs_in() {
    log_in("2.0", "gcm");
}

#[test]
fn the_whole_server_logs_in_on_kmip_1_2() {
    log_in("1.2", "cbc-hmac");
}

/// Wraps and unwraps; the HSM sees the login, the log never the password.
fn log_in(version_max: &'static str, cipher: &str) {
    const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const PASSWORD: &str = "hunter2-of-the-hsm";
    let site = Site::new(KeyKind::P256);
    site.keystore(&["cmxBackend"]);
    let mut hsm = Hsm::older(&site.pki, version_max);
    hsm.start();
    let secret = site.folder().join("hsm-password");
    fs::write(&secret, PASSWORD).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!("kms.hsm.kmip.password.file={}", secret.display());
    let node = Node::start(&site.kmip_config(
        hsm.port,
        &[
            &format!("kms.hsm.kmip.cipher={cipher}"),
            "kms.hsm.kmip.username=kms",
            "kms.log.level=trace",
            &file,
        ],
    ));
    node.wait_ready(200, "ready");
    let backend = Client {
        pki: &site.pki,
        name: "cmxBackend",
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    };
    backend.create("demo").ok();
    let wrapped = backend.wrap("demo", DEK).ok().field("ciphertext");
    assert_eq!(
        backend.unwrap("demo", &wrapped).ok().field("plaintext"),
        DEK
    );
    let short = backend.unwrap("demo", &wrapped[..wrapped.len() - 8]);
    assert_eq!(short.status, 400, "{short:?}");
    let logins = hsm.logins();
    assert!(!logins.is_empty());
    assert!(
        logins
            .iter()
            .all(|login| *login == format!("kms {PASSWORD}"))
    );
    let log = node.process.log();
    assert!(!log.is_empty() && !log.contains(PASSWORD), "{log}");
}
