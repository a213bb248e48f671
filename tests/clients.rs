//! Clients as sites have them, each with cmxDevice.p12: curl, Java's `HttpsURLConnection`, openssl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use support::client::{Client, s_client};
use support::node::Node;
use support::pki::{CLIENT, KeyKind};
use support::run;
use support::site::{P12_PASSWORD, Site};

const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn serve(kind: KeyKind) -> (Site, Node) {
    let site = Site::new(kind);
    site.pki.leaf("stranger", "siteCA", CLIENT);
    site.pki.pkcs12("stranger", "stranger.crt", P12_PASSWORD);
    site.keystore(&["cmxBackend", "cmxDevice"]);
    let node = Node::start(&site.embedded_config(&[]));
    client(&site, &node, "cmxBackend").create("clients").ok();
    (site, node)
}

fn client<'a>(site: &'a Site, node: &Node, name: &'a str) -> Client<'a> {
    Client {
        pki: &site.pki,
        name,
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    }
}

fn sealed(site: &Site, node: &Node) -> String {
    client(site, node, "cmxDevice")
        .wrap("clients", DEK)
        .ok()
        .field("ciphertext")
}

#[test]
fn curl_wraps_unwraps_and_is_told_what_is_wrong() {
    let (site, node) = serve(KeyKind::P256);
    let device = client(&site, &node, "cmxDevice");
    let ciphertext = sealed(&site, &node);
    assert_eq!(
        device
            .unwrap("clients", &ciphertext)
            .ok()
            .field("plaintext"),
        DEK
    );
    let bad = device.unwrap("clients", "vault:v1:AAAA");
    assert!(bad.status == 400 && bad.text.contains("errors"), "{bad:?}");
    let forbidden = device.create("another");
    assert_eq!(
        forbidden.status, 403,
        "a device may not create keys: {forbidden:?}"
    );
    assert_eq!(
        device.ask("/v1/transit/keys/clients", None).ok().status,
        200
    );
}

#[test]
fn java_wraps_and_unwraps_and_sees_why_a_stranger_is_refused() {
    for kind in [KeyKind::P256, KeyKind::Rsa2048] {
        let (site, node) = serve(kind);
        let ciphertext = sealed(&site, &node);
        let device = client(&site, &node, "cmxDevice");
        let encrypt = device.url("/v1/transit/encrypt/clients");
        let decrypt = device.url("/v1/transit/decrypt/clients");
        let wrap = format!("{{\"plaintext\":\"{DEK}\"}}");
        let unwrap = format!("{{\"ciphertext\":\"{ciphertext}\"}}");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/Device.java");
        for protocol in ["TLSv1.2", "TLSv1.3"] {
            let java = |name: &str| {
                let p12 = format!("{name}.p12");
                let args = [
                    "-XX:TieredStopAtLevel=1",
                    program,
                    &p12,
                    P12_PASSWORD,
                    "siteCA.crt",
                    protocol,
                    &encrypt,
                    &wrap,
                    &decrypt,
                    &unwrap,
                ];
                run(&site.pki.folder, "java", &args)
            };
            let said = java("cmxDevice");
            let lines: Vec<_> = said.lines().collect();
            assert!(
                lines[0].starts_with("200 ") && lines[0].contains("vault:v1:"),
                "{said}"
            );
            assert!(
                lines[1].starts_with("200 ") && lines[1].contains(DEK),
                "{said}"
            );
            let said = java("stranger");
            let refused = said.matches("refused ").count();
            let alerts = said.matches("Received fatal alert: unknown_ca").count();
            assert_eq!((refused, alerts), (2, 2), "{kind:?} {protocol}: {said}");
        }
    }
}

#[test]
fn openssl_speaks_both_versions_with_forward_secrecy_only() {
    let (site, node) = serve(KeyKind::Rsa2048);
    let request = "GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let own = [
        "-cert",
        "cmxDevice.crt",
        "-key",
        "cmxDevice.key",
        "-CAfile",
        "siteCA.crt",
    ];
    let ask = |more: &[&str]| s_client(&site.pki, node.port, &[&own, more].concat(), request);
    for version in ["-tls1_2", "-tls1_3"] {
        let said = ask(&[version]);
        assert!(said.contains("HTTP/1.1 200"), "{version}: {said}");
        assert!(
            said.contains("Verify return code: 0 (ok)"),
            "{version}: {said}"
        );
    }
    for (name, options) in [
        ("TLS 1.1", &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"][..]),
        (
            "RSA key exchange",
            &["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA256"],
        ),
    ] {
        let said = ask(options);
        assert!(
            !said.contains("HTTP/1.1") && said.contains("alert"),
            "{name}: {said}"
        );
    }
}
