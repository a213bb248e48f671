//! Keystores that go both ways between us and Java's `KeyStore`: what we write is a Java client's key store and trust
//! store, what Java writes (PKCS12, JKS, JCEKS) is our server's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::pedantic,
    missing_docs
)]

mod support;

use std::fs;
use std::path::Path;

use support::client::Client;
use support::node::Node;
use support::pki::{CLIENT, KeyKind, SERVER};
use support::run;
use support::site::{P12_PASSWORD, STORE_PASSWORD, Site, config};

const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn java(site: &Site, args: &[&str]) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/RoundTrip.java");
    let quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", program];
    run(&site.pki.folder, "java", &[&quick, args].concat())
}

/// A keystore by our commands: keys with their chains, then certificates.
fn ours(site: &Site, store: &str, keys: &[&str], trusted: &[&str]) {
    fs::write(
        site.pki.path("store.password"),
        format!("{STORE_PASSWORD}\n"),
    )
    .unwrap();
    let kms = |args: &[&str]| {
        let password = ["--password-file", "store.password"];
        run(
            &site.pki.folder,
            env!("CARGO_BIN_EXE_kms"),
            &[args, &password].concat(),
        )
    };
    kms(&["keystore", "init", store]);
    for name in keys {
        let [key, crt] = ["key", "crt"].map(|end| format!("{name}.{end}"));
        // Root and intermediate as they come; what does not belong to the chain is left out.
        let chain = [
            "--cert",
            "siteRoot.crt",
            "--cert",
            "siteCA.crt",
            "--cert",
            &crt,
        ];
        kms(&[
            &["cert", "import", store, "--alias", name, "--key", &key],
            &chain[..],
        ]
        .concat());
    }
    for name in trusted {
        kms(&[
            "keystore",
            "import",
            store,
            "--alias",
            name,
            "--cert",
            &format!("{name}.crt"),
        ]);
    }
}

/// A site whose clients' authority is below a root.
fn site(kind: KeyKind) -> Site {
    let site = Site::new(kind);
    let pki = &site.pki;
    pki.root("siteRoot");
    pki.intermediate("siteCA", "siteRoot");
    for (name, usage) in [
        ("kmsServer", SERVER),
        ("cmxDevice", CLIENT),
        ("cmxBackend", CLIENT),
    ] {
        pki.leaf(name, "siteCA", usage);
        pki.concat(&[name, "siteCA"], &format!("{name}.chain"));
        pki.pkcs12(name, &format!("{name}.chain"), P12_PASSWORD);
    }
    site
}

/// A server with this keystore, and what Java gets from it with a keystore of ours.
fn serves(site: &Site, name: &str, store: &Path, client: &str) {
    let file = format!(
        "kms.hsm.embedded.file={}/keys-{name}",
        site.folder().display()
    );
    let embedded = [
        "kms.hsm.protocol=EMBEDDED",
        "kms.hsm.embedded.passphrase=correct horse battery staple",
        &file,
    ];
    let node = Node::start(&config(site.folder(), store.to_str().unwrap(), &embedded));
    let backend = Client {
        pki: &site.pki,
        name: "cmxBackend",
        password: P12_PASSWORD,
        authority: "siteRoot.crt",
        port: node.port,
    };
    backend.create("java").ok();
    let body = format!("{{\"plaintext\":\"{DEK}\"}}");
    let url = backend.url("/v1/transit/encrypt/java");
    let said = java(
        site,
        &["ask", "PKCS12", client, STORE_PASSWORD, &url, &body],
    );
    assert!(
        said.starts_with("200 ") && said.contains("vault:v1:"),
        "{name}: {said}"
    );
}

#[test]
fn java_and_we_use_each_others_keystores() {
    for kind in [KeyKind::Rsa2048, KeyKind::P256] {
        let site = site(kind);
        ours(&site, "device.p12", &["cmxDevice"], &["siteRoot"]);
        ours(
            &site,
            "server.p12",
            &["kmsServer"],
            &["cmxDevice", "cmxBackend"],
        );
        serves(&site, "ours", &site.pki.path("server.p12"), "device.p12");
        let key = format!("key:kmsServer:kmsServer.p12:{P12_PASSWORD}");
        for format in ["PKCS12", "JKS", "JCEKS"] {
            let store = format!("by-java.{format}");
            let entries = [
                &*key,
                "trust:cmxDevice:cmxDevice.crt",
                "trust:cmxBackend:cmxBackend.crt",
            ];
            java(
                &site,
                &[&["write", format, &store, STORE_PASSWORD], &entries[..]].concat(),
            );
            serves(&site, format, &site.pki.path(&store), "device.p12");
        }
    }
}
