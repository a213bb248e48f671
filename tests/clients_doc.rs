//! docs/clients.md, run: where the files go, how old ones are converted, and how clients connect with them, against a
//! server of ours. The powershell block is not run: it says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::pedantic,
    missing_docs
)]

mod docs;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use docs::{Shell, blocks};
use support::node::Node;
use support::openbao;
use support::pki::{KeyKind, Pki};
use support::pykmip::python;
use support::site::{P12_PASSWORD, Site};

/// Heading, text of the block, what it says.
const SAID: &[(&str, &str, &str)] = &[
    (
        "A server certificate of your own authority",
        "cacert.pem",
        "\"initialized\":true",
    ),
    ("Old .p12 files", "it is an old one", "\nit is an old one"),
    ("Old .p12 files", "convert", "the same entries"),
    ("Old .p12 files", "mv ", "CN=cmxDevice"),
    (
        "During a rotation",
        "SHA-256",
        "subject  CN=cmxDevice,O=CMX Test",
    ),
    ("By hand", "-K -", "vault:v1:"),
    ("By hand", "--cert cmxDevice.pem", "\"name\":\"orders\""),
    ("By hand", "bao", "secret"),
    ("By hand", "python3", "c2VjcmV0"),
];

/// What a device has from years ago, and its folders.
fn prepare(site: &Site, work: &Path) {
    let pki = &site.pki;
    fs::create_dir_all(work.join("keystore")).unwrap();
    for folder in ["system", "users", "export"] {
        fs::create_dir(work.join(folder)).unwrap();
    }
    let file = |name: &str| {
        work.join("keystore")
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let out = format!("pass:{P12_PASSWORD}");
    pki.openssl(&[
        "pkcs12",
        "-export",
        "-legacy",
        "-inkey",
        "cmxDevice.key",
        "-in",
        "cmxDevice.crt",
        "-name",
        "cmxDevice",
        "-out",
        &file("cmxDevice.p12"),
        "-passout",
        &out,
    ]);
    fs::write(file("device.password"), format!("{P12_PASSWORD}\n")).unwrap();
    fs::copy(pki.path("siteCA.crt"), file("ca.crt")).unwrap();
    // Authorities that the Agent comes with, without a line feed at the end.
    let known = fs::read_to_string(pki.path("kmipSigningCA.crt")).unwrap();
    fs::write(work.join("users/cacert.pem"), known.trim_end()).unwrap();
    fs::create_dir(work.join("bin")).unwrap();
    for (name, program) in [
        ("kms", Path::new(env!("CARGO_BIN_EXE_kms"))),
        ("bao", &openbao::program()),
        (
            "python3",
            &fs::canonicalize(python().parent().unwrap())
                .unwrap()
                .join("python"),
        ),
    ] {
        // A venv finds its packages by the path that it is called by, so no link.
        let script = format!("#!/bin/sh\nexec {} \"$@\"\n", program.display());
        let to = work.join("bin").join(name);
        fs::write(&to, script).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The document's variables.
fn environment(work: &Path, node: &Node) -> Vec<(String, String)> {
    let text = |name: &str| work.join(name).to_str().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    let all = [
        ("WORK", text("keystore")),
        ("NAME", "localhost".to_owned()),
        ("PORT", node.port.to_string()),
        ("SYSTEM", text("system")),
        ("USERS", text("users")),
        ("EXPORT", text("export")),
        ("PATH", format!("{}:{path}", text("bin"))),
        // Programs look for files of their user; there must be none.
        ("HOME", text("users")),
        ("LC_ALL", "C.UTF-8".to_owned()),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Each way of converting gives the same key and chain, under the same password, that new programs open.
fn judge_conversions(pki: &Pki, work: &Path) {
    let digest = |name: &str, legacy: bool| {
        let file = work
            .join("keystore")
            .join(name)
            .to_str()
            .unwrap()
            .to_owned();
        let pass = format!("pass:{P12_PASSWORD}");
        let legacy = if legacy { &["-legacy"][..] } else { &[] };
        let args = [
            &["pkcs12", "-in", &file, "-passin", &pass, "-nodes"],
            legacy,
        ]
        .concat();
        let text = pki.openssl(&args);
        let is_body = |line: &&str| {
            !line.contains(':') && !line.contains('=')
                || line.ends_with("==")
                || line.ends_with('=')
        };
        let mut lines: Vec<_> = text.lines().filter(is_body).map(str::to_owned).collect();
        lines.sort();
        lines.join("\n")
    };
    let old = digest("old_cmxDevice.p12", true);
    assert!(
        old.contains("BEGIN PRIVATE KEY") && old.contains("BEGIN CERTIFICATE"),
        "{old}"
    );
    for name in [
        "cmxDevice.p12",
        "openssl_cmxDevice.p12",
        "guide_cmxDevice.p12",
    ] {
        assert_eq!(digest(name, false), old, "{name}");
    }
}

#[test]
fn every_command_of_the_document_works() {
    let site = Site::new(KeyKind::Rsa2048);
    site.keystore(&["cmxBackend", "cmxDevice"]);
    let node = Node::start(&site.embedded_config(&[]));
    let backend = support::client::Client {
        pki: &site.pki,
        name: "cmxBackend",
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    };
    backend.create("orders").ok();
    let work = tempfile::tempdir().unwrap();
    prepare(&site, work.path());
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients.md")).unwrap();
    let all = blocks(&text).unwrap();
    let (variables, rest) = all.split_first().unwrap();
    let shell = Shell {
        document: "docs/clients.md",
        variables,
        folder: work.path(),
        environment: &environment(work.path(), &node),
    };
    let mut met = BTreeSet::new();
    for block in rest {
        let said = shell.run(block);
        for (at, (heading, part, want)) in SAID.iter().enumerate() {
            if block.heading == *heading && block.text.contains(part) {
                assert!(said.contains(want), "{heading}, {part}: {want} in {said}");
                met.insert(at);
            }
        }
    }
    let unmet: Vec<_> = SAID
        .iter()
        .enumerate()
        .filter(|(at, _)| !met.contains(at))
        .collect();
    assert!(unmet.is_empty(), "no block is like these: {unmet:?}");
    judge_conversions(&site.pki, work.path());
    let left = ["clear.pem", "temp_cmxDevice.pem", "temp_cmxDevice.key"];
    assert!(
        left.iter()
            .all(|name| !work.path().join("keystore").join(name).exists())
    );
}
