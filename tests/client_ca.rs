//! Client CAs beside pins, by the real openssl: who is let in by certificate, way and list, and which alert the others
//! see. TLS 1.2 and 1.3.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use std::fs;

use support::client::s_client;
use support::node::Node;
use support::pki::{CLIENT, KeyKind, Pki, SERVER};
use support::site::Site;

const REQUEST: &str = "POST /v1/auth/cert/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

enum Want {
    /// As the principal of this alias and role.
    Served(&'static str, &'static str),
    /// Number of the TLS alert.
    Alert(u16),
}
use Want::{Alert, Served};

const UNKNOWN_CA: Want = Alert(48);
const REVOKED: Want = Alert(44);
const EXPIRED: Want = Alert(45);
const NOT_FOR_CLIENTS: Want = Alert(43);
/// A client CA issued it, but not so that it could be let in.
const NOT_SO: Want = Alert(46);

/// Name, files of certificate and key, what is sent behind the certificate, what must happen.
const MATRIX: [(&str, &str, &[&str], Want); 26] = [
    (
        "of the CA, by subject",
        "device-1",
        &[],
        Served("deviceca", "device"),
    ),
    (
        "with the CA behind it",
        "device-1",
        &["deviceCA"],
        Served("deviceca", "device"),
    ),
    (
        "of the CA, by name",
        "probe",
        &[],
        Served("deviceca", "probe"),
    ),
    (
        "of the CA, pinned for another role",
        "cmxBackend2",
        &[],
        Served("cmxbackend2", "backend"),
    ),
    (
        "pinned, of another CA",
        "cmxDevice",
        &[],
        Served("cmxdevice", "device"),
    ),
    ("subject of no role", "printer-1", &[], NOT_SO),
    ("name of no role", "probe2", &[], NOT_SO),
    ("of two roles", "device-probe", &[], NOT_SO),
    ("the subject as a common name alone", "fake", &[], NOT_SO),
    (
        "another CA of that name",
        "impostor",
        &["deviceCA2"],
        UNKNOWN_CA,
    ),
    ("self-signed", "self-signed", &[], UNKNOWN_CA),
    ("of the server's CA", "sibling", &["siteCA"], UNKNOWN_CA),
    (
        "of the HSM's CA",
        "hsm-friend",
        &["kmipSigningCA"],
        UNKNOWN_CA,
    ),
    ("expired", "device-old", &[], EXPIRED),
    ("not yet valid", "device-early", &[], EXPIRED),
    ("for servers", "device-server", &[], NOT_FOR_CLIENTS),
    ("CA:TRUE", "device-ca", &[], NOT_FOR_CLIENTS),
    (
        "by an intermediate",
        "device-2",
        &["issuingCA"],
        Served("deviceca", "device"),
    ),
    (
        "by an intermediate that is not sent",
        "device-2",
        &[],
        UNKNOWN_CA,
    ),
    (
        "deeper than the intermediate allows",
        "device-3",
        &["deepCA", "issuingCA"],
        NOT_SO,
    ),
    ("by a leaf", "device-4", &["device-1"], NOT_SO),
    (
        "by the HSM's other CA, below the client CA",
        "device-5",
        &["hsmCA2"],
        NOT_SO,
    ),
    ("of X.509 version 1", "device-v1", &[], NOT_SO),
    ("signed with SHA-1", "device-sha1", &[], NOT_SO),
    ("revoked", "device-6", &[], REVOKED),
    (
        "by an intermediate that is revoked",
        "device-7",
        &["goneCA"],
        REVOKED,
    ),
];

/// What `deviceCA` issued itself.
fn make_direct(pki: &Pki) {
    pki.root("deviceCA");
    for name in ["device-1", "cmxBackend2", "printer-1", "device-6"] {
        pki.leaf(name, "deviceCA", CLIENT);
    }
    for (name, host) in [
        ("probe", "a.Probes.example.com"),
        ("probe2", "a.example.com"),
        ("device-probe", "b.probes.example.com"),
    ] {
        let name_it = format!("{CLIENT}subjectAltName=DNS:{host}\n");
        pki.leaf(name, "deviceCA", &name_it);
    }
    for (name, subject, extensions) in [
        ("fake", "/O=Other/CN=device-1,O=CMX Test", ""),
        (
            "device-ca",
            "/O=CMX Test/CN=device-ca",
            "basicConstraints=critical,CA:TRUE\n",
        ),
    ] {
        pki.key(name);
        pki.request(name, subject);
        pki.sign(name, "deviceCA", &format!("{extensions}{CLIENT}"));
    }
    pki.leaf("device-server", "deviceCA", SERVER);
    for (name, digest, more) in [
        ("device-v1", "-sha256", &[][..]),
        ("device-sha1", "-sha1", &["-extfile", "device-1.ext"]),
    ] {
        pki.key(name);
        pki.request(name, &format!("/O=CMX Test/CN={name}"));
        let [csr, crt] = ["csr", "crt"].map(|end| format!("{name}.{end}"));
        let own = [
            "x509", "-req", digest, "-days", "9", "-in", &csr, "-out", &crt,
        ];
        let by = [
            "-CA",
            "deviceCA.crt",
            "-CAkey",
            "deviceCA.key",
            "-CAcreateserial",
        ];
        pki.openssl(&[&own[..], &by, more].concat());
    }
    for (name, from, until) in [
        ("device-old", "20200101000000Z", "20210101000000Z"),
        ("device-early", "20450101000000Z", "20460101000000Z"),
    ] {
        pki.leaf_dated(name, "deviceCA", from, until);
    }
}

fn make_strangers(pki: &Pki) {
    pki.key("deviceCA2");
    pki.key("self-signed");
    // The name of deviceCA, to the letter.
    let is_ca = ["basicConstraints=critical,CA:TRUE"];
    pki.self_sign("deviceCA2", "/O=CMX Test/CN=deviceCA", &is_ca);
    pki.self_sign("self-signed", "/O=CMX Test/CN=device-1", &[]);
    pki.leaf("impostor", "deviceCA2", CLIENT);
    pki.leaf("sibling", "siteCA", CLIENT);
    pki.leaf("hsm-friend", "kmipSigningCA", CLIENT);
}

/// CAs below `deviceCA`, and the lists of all.
fn make_below(pki: &Pki) {
    for name in ["issuingCA", "hsmCA2", "goneCA"] {
        pki.intermediate(name, "deviceCA");
    }
    pki.intermediate("deepCA", "issuingCA");
    for (name, authority) in [
        ("device-2", "issuingCA"),
        ("device-3", "deepCA"),
        ("device-4", "device-1"),
        ("device-5", "hsmCA2"),
        ("device-7", "goneCA"),
    ] {
        pki.leaf(name, authority, CLIENT);
    }
    let mut all = Vec::new();
    for name in [
        "deviceCA",
        "issuingCA",
        "hsmCA2",
        "goneCA",
        "deepCA",
        "device-1",
    ] {
        let revoked: &[&str] = match name {
            "deviceCA" => &["device-6", "goneCA"],
            _ => &[],
        };
        pki.crl(name, revoked, "one.crl", &[]);
        all.extend(fs::read(pki.path("one.crl")).unwrap());
    }
    fs::write(pki.path("all.crl"), all).unwrap();
}

const ROLES: [&str; 9] = [
    "kms.hsm.ca.alias=kmipSigningCA,hsmCA2",
    "kms.role.device.ca.alias=deviceCA",
    "kms.role.device.ca.subjects=CN=device-*,O=CMX Test",
    "kms.role.device.ca.crl.file=keystore/all.crl",
    "kms.role.probe.ca.alias=deviceCA",
    "kms.role.probe.ca.san=DNS:*.probes.example.com",
    "kms.role.probe.operations=read",
    "kms.limit.connections=64",
    "kms.log.level=info",
];

fn show(pki: &Pki, port: u16, version: &str, name: &str, above: &[&str]) -> String {
    let [crt, key, chain] = ["crt", "key", "chain"].map(|end| format!("{name}.{end}"));
    // Or openssl itself would not show a certificate that is signed with SHA-1.
    let lax = "DEFAULT@SECLEVEL=0";
    let mut options = vec![version, "-cert", &crt, "-key", &key, "-cipher", lax];
    if !above.is_empty() {
        pki.concat(above, &chain);
        options.extend(["-cert_chain", &chain]);
    }
    s_client(pki, port, &options, REQUEST)
}

fn judge(case: &str, said: &str, want: &Want) -> Result<(), String> {
    let served = said.contains("HTTP/1.1 200");
    let reset = said.contains("errno=") || said.contains("Connection reset");
    let right = match want {
        Served(alias, role) => {
            served
                && said.contains(&format!("\"cert_name\":\"{alias}\""))
                && said.contains(&format!("\"{role}\"]"))
        }
        Alert(number) => {
            !served && !reset && said.contains(&format!("SSL alert number {number}\n"))
        }
    };
    if right {
        Ok(())
    } else {
        Err(format!("{case}:\n{said}"))
    }
}

fn hold_matrix(kind: KeyKind) {
    let site = Site::new(kind);
    make_direct(&site.pki);
    make_strangers(&site.pki);
    make_below(&site.pki);
    site.keystore(&[
        "cmxBackend",
        "cmxDevice",
        "cmxBackend2",
        "deviceCA",
        "hsmCA2",
    ]);
    let mut node = Node::start(&site.embedded_config(&ROLES));
    let mut wrong = Vec::new();
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, certificate, above, want) in &MATRIX {
            let said = show(&site.pki, node.port, version, certificate, above);
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
    let log = node.process.log();
    for want in [
        "no role takes its names: subject CN=printer-1,O=CMX Test, names none",
        "roles 'device' and 'probe' both take CN=device-probe,O=CMX Test",
        "a CA of the HSM stands between it and the client CA",
        "more CAs stand between it and the client CA than a CA allows",
    ] {
        assert!(log.contains(want), "{want}:\n{log}");
    }
}

#[test]
fn p256_certificates_of_a_client_ca_are_let_in_by_way_and_names() {
    hold_matrix(KeyKind::P256);
}

#[test]
fn rsa_certificates_of_a_client_ca_are_let_in_by_way_and_names() {
    hold_matrix(KeyKind::Rsa2048);
}
