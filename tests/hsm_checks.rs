//! An idle node in front of a real PyKMIP server that hangs and comes back: `/readyz` tells, though nobody asks for keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use std::path::Path;
use std::process::Command;

use support::client::Client;
use support::node::Node;
use support::pki::KeyKind;
use support::pykmip::Hsm;
use support::site::{P12_PASSWORD, Site};

const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn metric(node: &Node, name: &str) -> String {
    let (_, text) = node.health("/metrics");
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found
        .unwrap_or_else(|| panic!("no {name}"))
        .trim()
        .to_owned()
}

#[test]
fn an_idle_node_notices_that_its_hsm_hangs_and_answers_again() {
    let site = Site::new(KeyKind::P256);
    site.keystore(&["cmxBackend", "cmxDevice"]);
    let mut hsm = Hsm::new(&site.pki);
    hsm.start();
    let node = Node::start(&site.kmip_config(hsm.port, &["kms.hsm.pool.size=2"]));
    node.wait_ready(200, "\"ready\"");
    let backend = Client {
        pki: &site.pki,
        name: "cmxBackend",
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    };
    backend.create("demo").ok();
    backend.wrap("demo", DEK).ok();
    assert_eq!(metric(&node, "kms_hsm_up"), "1");
    hsm.freeze();
    node.wait_ready(200, "degraded");
    assert_eq!(metric(&node, "kms_hsm_up"), "0");
    assert_ne!(
        metric(&node, "kms_hsm_checks_total{outcome=\"failed\"}"),
        "0"
    );
    hsm.thaw();
    node.wait_ready(200, "\"ready\"");
    assert_ne!(metric(&node, "kms_hsm_checks_total{outcome=\"done\"}"), "0");
    backend.wrap("demo", DEK).ok();
}

/// Exit code, and what it said as JSON.
fn check(config: &Path, more: &[&str]) -> (i32, serde_json::Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
    command.args(["check", "--json", "--config"]).arg(config);
    let done = command.args(more).output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    let json = serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}"));
    (done.status.code().unwrap(), json)
}

/// The same with a key, named or found.
fn with_key(site: &Site, config: &Path) {
    let node = Node::start(config);
    node.wait_ready(200, "\"ready\"");
    let backend = Client {
        pki: &site.pki,
        name: "cmxBackend",
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    };
    backend.create("orders").ok();
    for (name, more, outcome, code, said_by) in [
        (
            "found",
            &[][..],
            "works",
            None,
            "under 'orders' version 1 in ",
        ),
        (
            "named",
            &["--key", "orders"],
            "works",
            None,
            "under 'orders' version 1 in ",
        ),
        (
            "absent",
            &["--key", "other"],
            "fails",
            Some(2),
            "there is no such key",
        ),
    ] {
        let (got, said) = check(config, more);
        let trip = &said["round_trips"][0];
        assert_eq!(trip["outcome"], outcome, "{name}: {said}");
        assert!(
            trip["detail"].as_str().unwrap().contains(said_by),
            "{name}: {said}"
        );
        // What the machine is like may be warned of.
        assert!(code.map_or(got < 2, |code| got == code), "{name}: {said}");
    }
}

#[test]
fn a_check_meets_and_tries_the_hsm() {
    let site = Site::new(KeyKind::P256);
    site.keystore(&["cmxBackend", "cmxDevice"]);
    let mut hsm = Hsm::new(&site.pki);
    hsm.start();
    let config = site.kmip_config(hsm.port, &[]);
    let (_, said) = check(&config, &[]);
    assert_eq!(said["back_end"][0]["up"], true, "{said}");
    let ahead = said["back_end"][0]["clock_ahead_s"].as_i64().unwrap();
    assert!(ahead.abs() <= 10, "{said}");
    assert_eq!(said["round_trips"][0]["outcome"], "no-key", "{said}");
    let notes = said["notes"].to_string();
    assert!(
        notes.contains("--key NAME") && notes.contains("cmxBackend"),
        "{notes}"
    );
    let files = said["files"].to_string();
    assert!(
        files.contains("kms.keystore.file") && files.contains("\"600\""),
        "{files}"
    );

    with_key(&site, &config);
    hsm.stop();
    let (code, said) = check(&config, &[]);
    assert!(
        code == 1 && said["round_trips"].as_array().unwrap().is_empty(),
        "{said}"
    );
}
