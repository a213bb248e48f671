//! An idle node in front of a real PyKMIP server that hangs and comes back: `/readyz` tells, though nobody asks for keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

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
