//! The HSM (a real PyKMIP server) is down at the start, comes, goes, and comes back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use std::time::Duration;

use support::client::{Client, Reply};
use support::node::Node;
use support::pki::KeyKind;
use support::pykmip::Hsm;
use support::site::{P12_PASSWORD, Site};

const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TIMEOUT: Duration = Duration::from_millis(1500);
/// For curl to start and shake hands on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// A clear refusal, within the deadline.
fn refused_in_time(what: &str, reply: &Reply) {
    assert!(matches!(reply.status, 503 | 504), "{what}: {reply:?}");
    assert!(reply.text.contains("\"errors\":[\""), "{what}: {reply:?}");
    let headers = reply.text.to_ascii_lowercase();
    assert!(headers.contains("retry-after:"), "{what}: {reply:?}");
    assert!(reply.elapsed < TIMEOUT + SLACK, "{what}: {reply:?}");
}

#[test]
fn the_hsm_is_down_comes_goes_and_comes_back() {
    let site = Site::new(KeyKind::P256);
    site.keystore(&["cmxBackend", "cmxDevice"]);
    let mut hsm = Hsm::new(&site.pki);
    let node = Node::start(&site.kmip_config(hsm.port, &["kms.hsm.timeout.ms=1500"]));
    let [backend, device] = ["cmxBackend", "cmxDevice"].map(|name| Client {
        pki: &site.pki,
        name,
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    });

    // Never there: started, alive, not ready.
    assert_eq!(node.health("/healthz").0, 200);
    assert_eq!(node.health("/readyz").0, 503);
    refused_in_time("before the HSM", &device.wrap("demo", DEK));

    hsm.start();
    node.wait_ready(200, "ready");
    backend.create("demo").ok();
    let sealed = |_| device.wrap("demo", DEK).ok().field("ciphertext");
    let [warm, cold, third] = [0, 1, 2].map(sealed);
    assert_eq!(device.unwrap("demo", &warm).ok().field("plaintext"), DEK);

    hsm.stop();
    node.wait_ready(200, "degraded");
    for _ in 0..3 {
        let reply = device.unwrap("demo", &warm).ok();
        assert_eq!(reply.field("plaintext"), DEK, "warm, without the HSM");
    }
    refused_in_time("cold, without the HSM", &device.unwrap("demo", &cold));
    refused_in_time("wrapping, without the HSM", &device.wrap("demo", DEK));
    assert_eq!(node.health("/readyz").0, 200, "still degraded");

    // Back by itself, the old keys with it.
    hsm.start();
    node.wait_ready(200, "\"ready\"");
    assert_eq!(device.unwrap("demo", &cold).ok().field("plaintext"), DEK);

    hsm.freeze();
    let reply = device.unwrap("demo", &warm).ok();
    assert_eq!(reply.field("plaintext"), DEK, "warm, the HSM frozen");
    refused_in_time("cold, the HSM frozen", &device.unwrap("demo", &third));
    hsm.thaw();
    node.wait_ready(200, "\"ready\"");
    assert_eq!(device.unwrap("demo", &third).ok().field("plaintext"), DEK);
}
