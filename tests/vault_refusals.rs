//! What an operator is told when a Vault is set up otherwise than the node expects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use vault_support::service_support::Running;
use vault_support::{
    Bao, house, house_like, house_with_client, is_ready, node, node_at, ready, wait_health,
    with_keystore_of,
};

const UNWRAP: &str = r#"{"ciphertext":"vault:v1:r5DMUrXye3a6ETqb6qHrzgGh5ktcEIy3dUFaS9vcAELE"}"#;

/// What a client is told, and that nothing was given to it.
fn told(running: &Running, path: &str) -> (u16, String) {
    let answer = running.backend().post(path, UNWRAP);
    assert!(!answer.body.contains("plaintext\":\""), "{}", answer.body);
    (answer.status, answer.body)
}

#[test]
fn each_wrong_setting_is_its_own_error() {
    let bao_house = house();
    let bao = Bao::start(&bao_house);
    let good = format!("kms.hsm.vault.token={}", bao.token(""));
    for (name, lines, ready, status, want) in [
        (
            "wrong token",
            "kms.hsm.vault.token=s.wrong".to_owned(),
            false,
            502,
            "the token is not good (any more)",
        ),
        (
            "no such namespace",
            format!("{good}\nkms.hsm.vault.namespace=nowhere"),
            false,
            502,
            "correct kms.hsm.vault.namespace",
        ),
        // A token that may not see mounts is told of no policy instead.
        (
            "no such mount, by root",
            "kms.hsm.vault.token=root-test\nkms.hsm.vault.mount=nowhere".to_owned(),
            true,
            502,
            "correct kms.hsm.vault.mount",
        ),
        (
            "no such mount",
            format!("{good}\nkms.hsm.vault.mount=nowhere"),
            true,
            502,
            "or its policy does not allow that",
        ),
        (
            "no such key",
            good.clone(),
            true,
            400,
            "encryption key not found",
        ),
    ] {
        let running = node(house_like(&bao_house), &bao, &lines);
        wait_health(&running, name, |health| {
            if ready {
                is_ready(health)
            } else {
                health.access.refused.is_some()
            }
        });
        let (got, said) = told(&running, "/v1/transit/decrypt/k");
        assert_eq!(got, status, "{name}: {said}");
        let health = vault_support::health(&running);
        let all = format!("{said} {}", health.detail);
        assert!(all.contains(want), "{name}: {all}");
        assert_eq!(health.was_up, ready, "{name}");
        running.stop();
    }
}

#[test]
fn a_stranger_at_the_address_is_not_spoken_to() {
    let bao_house = house();
    let bao = Bao::start(&bao_house);
    // This house has an authority of its own.
    let running = node(house(), &bao, "kms.hsm.vault.token=root-test");
    let health = wait_health(&running, "refused", |health| {
        health.detail.contains("kms.hsm.ca.alias")
    });
    assert!(!health.up && !health.was_up);
    let (status, said) = told(&running, "/v1/transit/decrypt/k");
    assert_eq!(status, 503, "{said}");
    running.stop();
}

#[test]
fn a_certificate_is_shown_where_one_is_asked_for() {
    let with = house_with_client();
    let bao = Bao::strict(&with);
    let token = format!("kms.hsm.vault.token={}", bao.token(""));
    let running = node(house_like(&with), &bao, &token);
    wait_health(&running, "ready", is_ready);
    running.stop();
    let without = with_keystore_of(&with);
    let running = node(without, &bao, &token);
    let want = "the HSM requires a client certificate: name its alias in kms.keystore.alias";
    wait_health(&running, want, |health| health.detail.contains(want));
    running.stop();
}

#[test]
fn nobody_and_a_sealed_one_are_outages() {
    let bao_house = house();
    let bao = Bao::start(&bao_house);
    let sealed = ready(&bao, bao_house, "");
    bao.seal();
    wait_health(&sealed, "sealed", |health| {
        let _ = told(&sealed, "/v1/transit/decrypt/k");
        !health.up && health.detail.contains("the Vault is sealed: unseal it")
    });
    let (status, said) = told(&sealed, "/v1/transit/keys/other");
    assert_eq!(status, 503, "{said}");
    sealed.stop();
    let nobody = node_at(house(), 1, "kms.hsm.vault.token=t");
    wait_health(&nobody, "nobody", |health| {
        health.detail.contains("connecting failed")
    });
    nobody.stop();
}
