//! An idle node in front of a real OpenBao whose engine goes away, or that is sealed: `/readyz` tells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use vault_support::service_support::scrape::scrape;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{Bao, house, is_ready, ready, wait_health};

#[test]
fn an_idle_node_notices_a_vault_that_does_not_do_what_it_should() {
    let house = house();
    let bao = Bao::start(&house);
    let running = ready(&bao, house, "");
    let mut backend = running.backend();
    assert_eq!(backend.post("/v1/transit/keys/k", "").status, 200);
    let wrapped = backend.post("/v1/transit/encrypt/k", r#"{"plaintext":"YQ=="}"#);
    assert!(ciphertext_of(&wrapped.body).starts_with("vault:v1:"));
    // The engine is gone.
    bao.root("DELETE", "sys/mounts/transit", "");
    let refused = wait_health(&running, "no engine", |health| {
        health.access.refused.is_some()
    });
    let why = refused.access.refused.unwrap();
    assert!(refused.up && why.contains("kms.hsm.vault.mount"), "{why}");
    let up = scrape(&running)["kms_hsm_up"];
    assert!(up < 0.5, "{up}");
    bao.root("POST", "sys/mounts/transit", r#"{"type":"transit"}"#);
    // The key is gone, but that is no fault of the Vault's.
    wait_health(&running, "an engine", is_ready);
    bao.seal();
    wait_health(&running, "sealed", |health| {
        !health.up && health.detail.contains("sealed")
    });
    bao.unseal();
    wait_health(&running, "unsealed", is_ready);
    running.stop();
}
