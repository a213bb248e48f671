//! Who gets past the handshake: nobody without a pinned certificate. Each refusal is a TLS alert the
//! client sees, not a reset. TLS 1.2 and 1.3, by openssl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use support::client::s_client;
use support::node::Node;
use support::pki::{CLIENT, KeyKind, Pki};
use support::site::Site;

const REQUEST: &str = "GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

enum Want {
    Served,
    /// Numbers of TLS alerts.
    Alert(u16),
}
use Want::{Alert, Served};

const UNKNOWN_CA: Want = Alert(48);
const EXPIRED: Want = Alert(45);

/// Name, files of certificate and key, what must happen.
const MATRIX: [(&str, Option<&str>, Want); 13] = [
    ("pinned", Some("cmxDevice"), Served),
    (
        "pinned, self-signed with CA:TRUE",
        Some("cmxDeviceCa"),
        Served,
    ),
    ("none", None, Alert(116)),
    ("of a foreign authority", Some("foreign"), UNKNOWN_CA),
    (
        "of the authority of a pinned one",
        Some("sibling"),
        UNKNOWN_CA,
    ),
    ("self-signed", Some("selfSigned"), UNKNOWN_CA),
    ("self-signed with CA:TRUE", Some("selfSignedCa"), UNKNOWN_CA),
    ("issued by a pinned CA:TRUE leaf", Some("child"), UNKNOWN_CA),
    ("right subject, wrong key", Some("impostor"), UNKNOWN_CA),
    (
        "signed by the HSM's authority",
        Some("hsmFriend"),
        UNKNOWN_CA,
    ),
    (
        "our own certificate for the HSM",
        Some("kmsClient"),
        UNKNOWN_CA,
    ),
    ("pinned but expired", Some("cmxDeviceExpired"), EXPIRED),
    ("pinned but not yet valid", Some("cmxDeviceFuture"), EXPIRED),
];

fn make_clients(pki: &Pki) {
    let is_ca = ["basicConstraints=critical,CA:TRUE"];
    let no_ca = ["basicConstraints=critical,CA:FALSE"];
    for (name, subject, extensions) in [
        ("cmxDeviceCa", "/O=CMX Test/CN=cmxDeviceCa", &is_ca),
        ("selfSigned", "/O=CMX Test/CN=selfSigned", &no_ca),
        ("selfSignedCa", "/O=CMX Test/CN=selfSignedCa", &is_ca),
        // The subject of the pinned device, to the letter.
        ("impostor", "/O=CMX Test/CN=cmxDevice", &no_ca),
    ] {
        pki.key(name);
        pki.self_sign(name, subject, extensions);
    }
    pki.root("foreignCA");
    pki.leaf("foreign", "foreignCA", CLIENT);
    pki.leaf("sibling", "siteCA", CLIENT);
    pki.leaf("child", "cmxDeviceCa", CLIENT);
    pki.leaf("hsmFriend", "kmipSigningCA", CLIENT);
    pki.self_sign_dated("cmxDeviceExpired", "20200101000000Z", "20210101000000Z");
    pki.self_sign_dated("cmxDeviceFuture", "20450101000000Z", "20460101000000Z");
}

fn judge(case: &str, said: &str, want: &Want) -> Result<(), String> {
    let served = said.contains("HTTP/1.1 200");
    let reset = said.contains("errno=") || said.contains("Connection reset");
    let right = match want {
        Served => served,
        Alert(number) => !served && !reset && said.contains(&format!("SSL alert number {number}")),
    };
    if right {
        return Ok(());
    }
    Err(format!("{case}:\n{said}"))
}

fn hold_matrix(kind: KeyKind) {
    let site = Site::new(kind);
    make_clients(&site.pki);
    site.keystore(&[
        "cmxBackend",
        "cmxDevice",
        "cmxDeviceCa",
        "cmxDeviceExpired",
        "cmxDeviceFuture",
    ]);
    let mut node = Node::start(&site.embedded_config(&[]));
    let mut wrong = Vec::new();
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, certificate, want) in &MATRIX {
            let files = certificate.map(|name| [format!("{name}.crt"), format!("{name}.key")]);
            let mut options = vec![version];
            if let Some([crt, key]) = &files {
                options.extend(["-cert", crt, "-key", key]);
            }
            let said = s_client(&site.pki, node.port, &options, REQUEST);
            wrong.extend(judge(&format!("{version} {name}"), &said, want).err());
        }
    }
    node.process.assert_alive();
    assert!(
        wrong.is_empty(),
        "{} of the matrix:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn only_pinned_p256_certificates_get_past_the_handshake() {
    hold_matrix(KeyKind::P256);
}

#[test]
fn only_pinned_rsa_certificates_get_past_the_handshake() {
    hold_matrix(KeyKind::Rsa2048);
}

#[test]
fn a_wrong_outcome_is_noticed() {
    for (name, said, want) in [
        (
            "a reset",
            "SSL alert number 48\nwrite:errno=104",
            UNKNOWN_CA,
        ),
        ("another alert", "SSL alert number 40", UNKNOWN_CA),
        (
            "served all the same",
            "HTTP/1.1 200 OK\nSSL alert number 48",
            UNKNOWN_CA,
        ),
        ("refused all the same", "SSL alert number 48", Served),
    ] {
        assert!(judge(name, said, &want).is_err(), "{name}");
    }
}
