//! Lists of revoked certificates and roles of client CAs, as operators have them: files by the real openssl, `kms serve`
//! that takes a new list without being asked, `kms check` that tells what is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use std::fs;
use std::process::Command;

use support::client::s_client;
use support::node::Node;
use support::pki::{CLIENT, KeyKind, Pki};
use support::site::Site;
use support::wait_until;

const REQUEST: &str =
    "GET /v1/auth/token/lookup-self HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn show(pki: &Pki, port: u16, version: &str, name: &str) -> String {
    let [crt, key] = ["crt", "key"].map(|end| format!("{name}.{end}"));
    s_client(pki, port, &[version, "-cert", &crt, "-key", &key], REQUEST)
}

/// Panics unless the server refused it with this alert.
fn assert_alert(said: &str, number: u16) {
    let alert = format!("SSL alert number {number}\n");
    assert!(
        said.contains(&alert) && !said.contains("HTTP/1.1 200"),
        "{said}"
    );
}

/// A site whose devices are of `deviceCA`, with a list that revokes none.
fn small_site() -> Site {
    let site = Site::new(KeyKind::P256);
    let pki = &site.pki;
    pki.root("deviceCA");
    pki.leaf("device-1", "deviceCA", CLIENT);
    pki.crl("deviceCA", &[], "device.crl", &[]);
    site.keystore(&["cmxBackend", "cmxDevice", "deviceCA"]);
    site
}

const DEVICE: [&str; 3] = [
    "kms.role.device.ca.alias=deviceCA",
    "kms.role.device.ca.subjects=CN=device-*",
    "kms.role.device.ca.crl.file=keystore/device.crl",
];

#[test]
fn a_list_counts_until_it_is_out_of_date_and_a_newer_one_at_once() {
    let site = small_site();
    let pki = &site.pki;
    let past = [
        "-crl_lastupdate",
        "20200101000000Z",
        "-crl_nextupdate",
        "20210101000000Z",
    ];
    pki.crl("deviceCA", &[], "device.crl", &past);
    let mut node = Node::start(&site.embedded_config(&DEVICE));
    let served = || {
        let said = show(pki, node.port, "-tls1_3", "device-1");
        said.contains("HTTP/1.1 200")
    };
    assert_alert(&show(pki, node.port, "-tls1_2", "device-1"), 48);
    assert!(
        node.process.log().contains("is out of date"),
        "{}",
        node.process.log()
    );
    let pinned = show(pki, node.port, "-tls1_2", "cmxDevice");
    assert!(pinned.contains("HTTP/1.1 200"), "{pinned}");
    // Newer ones, as a cron job brings them; DER too.
    pki.crl("deviceCA", &[], "new.pem", &[]);
    pki.openssl(&[
        "crl", "-in", "new.pem", "-outform", "DER", "-out", "new.crl",
    ]);
    fs::rename(pki.path("new.crl"), pki.path("device.crl")).unwrap();
    wait_until("the new list counts", support::PATIENCE, || {
        served().then_some(())
    });
    pki.crl("deviceCA", &["device-1"], "new.crl", &[]);
    fs::rename(pki.path("new.crl"), pki.path("device.crl")).unwrap();
    wait_until("the revoked one is refused", support::PATIENCE, || {
        (!served()).then_some(())
    });
    assert_alert(&show(pki, node.port, "-tls1_3", "device-1"), 44);
    let (_, metrics) = node.health("/metrics");
    for want in [
        "kms_crl_next_update_seconds{alias=\"deviceca\"} 1",
        "{alias=\"deviceca\",use=\"client-ca\"} 1",
    ] {
        assert!(metrics.contains(want), "{want}:\n{metrics}");
    }
    node.process.assert_alive();
}

/// `kms check` on the site with these lines: exit code and what it said.
fn check(site: &Site, lines: &[&str], options: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kms"))
        .arg("check")
        .args(options)
        .arg("--config")
        .arg(site.embedded_config(lines))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn refused(site: &Site, rows: &[(&str, &[&str], &str)]) {
    for (name, lines, want) in rows {
        let (code, said) = check(site, lines, &[]);
        assert!(
            code == Some(2) && said.contains(want),
            "{name}: {code:?} {said}"
        );
    }
}

#[test]
fn what_cannot_be_a_client_ca_is_told_before_the_start() {
    let with = |alias| [alias, DEVICE[1]];
    refused(
        &small_site(),
        &[
            (
                "the HSM's",
                &with("kms.role.device.ca.alias=KMIPsigningCA"),
                "the CA that vouches for the HSM never vouches for clients",
            ),
            (
                "not there",
                &with("kms.role.device.ca.alias=deviceAC"),
                "kms.role.device.ca.alias: the keystore has no 'deviceac'; did you mean 'deviceca'?",
            ),
            (
                "no CA",
                &with("kms.role.device.ca.alias=cmxBackend"),
                "`cmxbackend` is no CA's certificate",
            ),
            (
                "no globs",
                &DEVICE[..1],
                "kms.role.device.ca.subjects is not set",
            ),
        ],
    );
}

/// Lists that are none of `deviceCA`'s.
fn make_bad_lists(pki: &Pki) {
    pki.root("otherCA");
    pki.crl("otherCA", &[], "other.crl", &[]);
    pki.key("deviceCA2");
    let is_ca = ["basicConstraints=critical,CA:TRUE"];
    pki.self_sign("deviceCA2", "/O=CMX Test/CN=deviceCA", &is_ca);
    pki.crl("deviceCA2", &[], "namesake.crl", &[]);
    let config = fs::read_to_string(pki.path("deviceCA.cnf")).unwrap();
    let unnumbered = config.replace("crlnumber", "#crlnumber");
    fs::write(pki.path("deviceCA.v1.cnf"), unnumbered).unwrap();
    let ca = [
        "ca",
        "-config",
        "deviceCA.v1.cnf",
        "-cert",
        "deviceCA.crt",
        "-keyfile",
        "deviceCA.key",
    ];
    pki.openssl(&[&ca[..], &["-gencrl", "-crldays", "3", "-out", "v1.crl"]].concat());
    let broken = "-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n";
    fs::write(pki.path("broken.crl"), broken).unwrap();
}

#[test]
fn what_is_wrong_with_a_list_is_told_before_the_start() {
    let site = small_site();
    make_bad_lists(&site.pki);
    for (file, want) in [
        ("none.crl", "none.crl cannot be read"),
        ("broken.crl", "list 1 is damaged"),
        ("v1.crl", "list 1 is of version 1"),
        ("namesake.crl", "was not signed by the key of the client CA"),
        (
            "other.crl",
            "holds no list of client CA `deviceca` (CN=deviceCA,O=CMX Test)",
        ),
    ] {
        let list = format!("kms.role.device.ca.crl.file=keystore/{file}");
        refused(&site, &[(file, &[DEVICE[0], DEVICE[1], &list], want)]);
    }
}

#[test]
fn a_check_tells_roles_and_certificates_both_ways() {
    let site = small_site();
    let lines = [
        &DEVICE[..],
        &[
            "kms.role.nobody.aliases=x*",
            "kms.role.nobody.operations=read",
            "kms.role.backend.aliases=cmxBackendX*",
        ],
    ]
    .concat();
    let (code, said) = check(&site, &lines, &[]);
    assert_eq!(code, Some(1), "{said}");
    for want in [
        "  backend (encrypt,decrypt,datakey,rewrap,read,list,create,rotate,configure,delete on *): NOBODY\n",
        "  device (encrypt,decrypt,datakey,read on *): cmxdevice\n    and what client CA deviceca (CN=deviceCA,O=CMX Test) issues with subject CN=device-*; revoked: 0\n",
        "  nobody (read on *): NOBODY\n",
        "  no role, so refused: cmxbackend\n",
        "  deviceca (client-ca): until ",
        "  deviceca (client-crl): until ",
        "trusted certificate `cmxbackend` (CN=cmxBackend,O=CMX Test) is named by no role",
        "role `nobody` has no certificate",
    ] {
        assert!(said.contains(want), "{want}:\n{said}");
    }
    let (code, said) = check(&site, &lines, &["--json"]);
    assert_eq!(code, Some(1), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["without_role"], serde_json::json!(["cmxbackend"]));
    let device = &report["roles"][1];
    assert_eq!(device["certificates"], serde_json::json!(["cmxdevice"]));
    assert_eq!(device["ca_subjects"], serde_json::json!(["CN=device-*"]));
    assert_eq!(
        device["client_cas"],
        serde_json::json!([{"alias": "deviceca", "subject": "CN=deviceCA,O=CMX Test", "revoked": 0}])
    );
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("named by no role")
            && warnings.contains("role `nobody` has no certificate"),
        "{warnings}"
    );
}
