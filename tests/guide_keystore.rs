//! The guide's chapter "Create the SSL certificates and Connected-KMS keystore", run for real with
//! openssl and keytool; the server starts from the kmsKeystore.jks that comes of it, talks to its HSM
//! with the client certificate in it, and a device has a key wrapped and unwrapped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use support::client::Client;
use support::node::Node;
use support::pki::{CLIENT, KeyKind, Pki, SERVER};
use support::pykmip::Hsm;
use support::site;

const KEYSTORE_PASSWORD: &str = site::STORE_PASSWORD;

/// Steps 2 to 8: a key, a request, what the authority returns, the chain, the PKCS12 file.
fn certificate(pki: &Pki, name: &str, common_name: &str, authority: &str, intermediate: bool) {
    pki.key(name);
    let subject = format!("/C=US/ST=Massachusetts/L=Boston/O=AcmeXYZ/CN={common_name}");
    pki.request(name, &subject);
    let usage = if name == "kmsServer" { SERVER } else { CLIENT };
    pki.sign(
        name,
        authority,
        &format!("basicConstraints=CA:FALSE\n{usage}"),
    );
    let chain = format!("{name}CertChain.crt");
    if intermediate {
        pki.concat(&[name, authority], &chain);
        let listed = pki.keytool(&["-printcert", "-v", "-file", &chain], "");
        let at = |text: &str| {
            listed
                .find(text)
                .unwrap_or_else(|| panic!("{text}: {listed}"))
        };
        assert!(
            at("Certificate[1]:") < at(&format!("CN={common_name}")),
            "{listed}"
        );
        assert!(
            at(&format!("CN={common_name}")) < at("Certificate[2]:"),
            "{listed}"
        );
    } else {
        pki.concat(&[name], &chain);
    }
    pki.pkcs12(name, &chain, &password(name));
    let store = format!("{name}.p12");
    let listed = pki.keytool(
        &[
            "-list",
            "-v",
            "-keystore",
            &store,
            "-storetype",
            "PKCS12",
            "-storepass",
            &password(name),
        ],
        "",
    );
    assert!(listed.contains("Entry type: PrivateKeyEntry"), "{listed}");
    let length = if intermediate { 2 } else { 1 };
    assert!(
        listed.contains(&format!("Certificate chain length: {length}")),
        "{listed}"
    );
}

fn password(name: &str) -> String {
    format!("{name}Pwd")
}

/// Steps 1 to 5 of "To create the Connected-KMS keystore", keytool's question answered as told.
fn keystore(pki: &Pki) {
    for name in ["kmsClient", "kmsServer"] {
        let (p12, own) = (format!("{name}.p12"), password(name));
        pki.keytool(
            &[
                "-importkeystore",
                "-srckeystore",
                &p12,
                "-srcstoretype",
                "PKCS12",
                "-srckeypass",
                &own,
                "-srcstorepass",
                &own,
                "-alias",
                name,
                "-deststorepass",
                KEYSTORE_PASSWORD,
                "-destkeypass",
                KEYSTORE_PASSWORD,
                "-destkeystore",
                "kmsKeystore.jks",
            ],
            "",
        );
    }
    for (name, more) in [
        ("kmipSigningCA", &["-trustcacerts"][..]),
        ("cmxBackend", &[]),
        ("cmxDevice", &[]),
    ] {
        let crt = format!("{name}.crt");
        let args = [
            &["-import"],
            more,
            &[
                "-alias",
                name,
                "-file",
                &crt,
                "-keystore",
                "kmsKeystore.jks",
            ],
            &["-storepass", KEYSTORE_PASSWORD],
        ]
        .concat();
        pki.keytool(&args, "yes\n");
    }
}

/// Step 6: two key entries, three certificates.
fn verify(pki: &Pki) {
    let listed = pki.keytool(
        &[
            "-v",
            "-list",
            "-keystore",
            "kmsKeystore.jks",
            "-storepass",
            KEYSTORE_PASSWORD,
        ],
        "",
    );
    assert_eq!(
        listed.matches("Entry type: PrivateKeyEntry").count(),
        2,
        "{listed}"
    );
    assert_eq!(
        listed.matches("Entry type: trustedCertEntry").count(),
        3,
        "{listed}"
    );
}

fn follow_the_guide(kind: KeyKind, intermediate: bool) {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(&folder.path().join("keystore"), kind);
    pki.root("rootCA");
    let authority = if intermediate {
        pki.intermediate("intermediateCA", "rootCA");
        "intermediateCA"
    } else {
        "rootCA"
    };
    pki.root("kmipSigningCA");
    pki.leaf("hsm", "kmipSigningCA", SERVER);
    for (name, common_name, authority, intermediate) in [
        (
            "cmxBackend",
            "cmxBackend.AcmeXYZ.com",
            authority,
            intermediate,
        ),
        (
            "cmxDevice",
            "cmxDevice.AcmeXYZ.com",
            authority,
            intermediate,
        ),
        ("kmsServer", "localhost", authority, intermediate),
        ("kmsClient", "kmsClient.AcmeXYZ.com", "kmipSigningCA", false),
    ] {
        certificate(&pki, name, common_name, authority, intermediate);
    }
    keystore(&pki);
    verify(&pki);

    let mut hsm = Hsm::new(&pki);
    hsm.start();
    let url = format!("kms.hsm.server.url=https://localhost:{}", hsm.port);
    let config = site::config(folder.path(), &pki.text("kmsKeystore.jks"), &[&url]);
    let node = Node::start(&config);
    node.wait_ready(200, "ready");
    let [backend, device] = ["cmxBackend", "cmxDevice"].map(|name| Client {
        pki: &pki,
        name,
        password: Box::leak(password(name).into_boxed_str()),
        authority: "rootCA.crt",
        port: node.port,
    });
    backend.create("guide").ok();
    let dek = "QSBkYXRhIGtleSBvZiAzMiBieXRlcyBpcyBqdXN0IDop";
    let sealed = device.wrap("guide", dek).ok().field("ciphertext");
    assert!(sealed.starts_with("vault:v1:"), "{sealed}");
    assert_eq!(device.unwrap("guide", &sealed).ok().field("plaintext"), dek);
    assert_eq!(
        backend.unwrap("guide", &sealed).ok().field("plaintext"),
        dek
    );
}

#[test]
fn rsa_signed_by_the_root() {
    follow_the_guide(KeyKind::Rsa2048, false);
}

#[test]
fn rsa_signed_by_an_intermediate() {
    follow_the_guide(KeyKind::Rsa2048, true);
}

#[test]
fn p256_signed_by_the_root() {
    follow_the_guide(KeyKind::P256, false);
}

#[test]
fn p256_signed_by_an_intermediate() {
    follow_the_guide(KeyKind::P256, true);
}
