//! Lives and deaths of tokens, at a real OpenBao.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use vault_support::service_support::Running;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{
    Bao, health, house, house_like, is_ready, node, told, wait, wait_health, write_secret,
};

/// Wraps under the key `k` at OpenBao itself; one the node has not seen.
fn wrapped(bao: &Bao) -> String {
    let said = bao.root("POST", "transit/encrypt/k", r#"{"plaintext":"aGVsbG8="}"#);
    format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&said))
}

/// Status and body of an unwrap by the node.
fn unwrap(running: &Running, body: &str) -> (u16, String) {
    let answer = running.device().post("/v1/transit/decrypt/k", body);
    (answer.status, answer.body)
}

fn works(running: &Running, bao: &Bao, name: &str) {
    let (status, said) = unwrap(running, &wrapped(bao));
    assert_eq!(status, 200, "{name}: {said}");
    assert!(
        said.contains("\"plaintext\":\"aGVsbG8=\""),
        "{name}: {said}"
    );
}

/// How long a token lives yet, as OpenBao says; `None`: not at all.
fn left_s(bao: &Bao, token: &str) -> Option<u64> {
    let (status, said) = bao.ask("GET", "auth/token/lookup-self", token, "");
    (status == 200).then(|| member(&said, "ttl"))
}

fn member(json: &str, name: &str) -> u64 {
    let (_, rest) = json
        .split_once(&format!("\"{name}\":"))
        .unwrap_or(("", "0"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap_or(0)
}

fn bao_with_key(house: &vault_support::service_support::House) -> Bao {
    let bao = Bao::start(house);
    bao.root("POST", "transit/keys/k", "");
    bao
}

#[test]
fn tokens_of_all_kinds_serve_and_say_how_long() {
    let first = house();
    let bao = bao_with_key(&first);
    for (name, members, ends, remark) in [
        ("renewable", r#""policies":["kms"],"ttl":"1h""#, true, false),
        (
            "periodic",
            r#""policies":["kms"],"period":"1h""#,
            true,
            false,
        ),
        (
            "not renewable",
            r#""policies":["kms"],"ttl":"1h","renewable":false"#,
            true,
            true,
        ),
        (
            "batch",
            r#""policies":["kms"],"ttl":"1h","type":"batch","renewable":false"#,
            true,
            true,
        ),
        (
            "without default",
            r#""policies":["kms"],"ttl":"1h","no_default_policy":true"#,
            false,
            false,
        ),
        ("root", r#""policies":["root"]"#, false, false),
    ] {
        let token = bao.token_of(members);
        let running = node(
            house_like(&first),
            &bao,
            &format!("kms.hsm.vault.token={token}"),
        );
        let health = wait_health(&running, name, is_ready);
        assert_eq!(
            health.access.ends_in_s.is_some(),
            ends,
            "{name}: {health:?}"
        );
        assert_eq!(
            health.detail.contains("cannot be renewed"),
            remark,
            "{name}: {health:?}"
        );
        let (_, said) = bao.ask("GET", "transit/keys/k", &token, "");
        let metrics = told(&running, "/metrics");
        let gauge = metrics.contains("\nkms_hsm_access_ends_seconds 3");
        assert_eq!(gauge, ends, "{name}: {metrics}");
        assert!(said.contains("\"name\":\"k\""), "{name}: {said}");
        running.stop();
    }
}

#[test]
fn a_short_token_is_renewed_as_long_as_it_lives() {
    let house = house();
    let bao = bao_with_key(&house);
    let token = bao.token_of(r#""policies":["kms"],"period":"2s""#);
    let running = node(house, &bao, &format!("kms.hsm.vault.token={token}"));
    wait_health(&running, "ready", is_ready);
    // Two lives later it is the same token.
    let created = |bao: &Bao| {
        let (status, said) = bao.ask("GET", "auth/token/lookup-self", &token, "");
        assert_eq!(status, 200, "the token died: {said}");
        (
            member(&said, "creation_time"),
            member(&said, "last_renewal_time"),
        )
    };
    wait("two lives", || {
        let (made, renewed) = created(&bao);
        (renewed >= made + 4).then_some(())
    });
    works(&running, &bao, "renewed");
    running.stop();
}

#[test]
fn a_token_at_its_end_is_replaced_from_its_file_without_a_failure() {
    let house = house();
    let bao = bao_with_key(&house);
    let file = house.dir.path().join("token");
    let first = bao.token_of(r#""policies":["kms"],"ttl":"2s","explicit_max_ttl":"4s""#);
    write_secret(&file, &first);
    let line = format!("kms.hsm.vault.token.file={}", file.display());
    let running = node(house, &bao, &line);
    wait_health(&running, "ready", is_ready);
    // Its last lease is shorter: that is told before it ends.
    let health = wait_health(&running, "the end is told", |health| {
        works(&running, &bao, "before the end");
        health.detail.contains("cannot be renewed: replace it")
    });
    assert!(is_ready(&health), "{health:?}");
    let second = bao.token_of(r#""policies":["kms"],"ttl":"1h""#);
    write_secret(&file, &second);
    wait("the first token's end", || {
        works(&running, &bao, "between");
        left_s(&bao, &first).is_none().then_some(())
    });
    works(&running, &bao, "after the end");
    let health = wait_health(&running, "the new one is known", |health| {
        health.access.ends_in_s.is_some_and(|left| left > 60)
    });
    assert!(is_ready(&health), "{health:?}");
    running.stop();
}

#[test]
fn a_revoked_token_is_told_and_warm_keys_are_served() {
    let house = house();
    let bao = bao_with_key(&house);
    let file = house.dir.path().join("token");
    let first = bao.token("");
    write_secret(&file, &first);
    let lines = format!(
        "kms.hsm.vault.token.file={}\nkms.cache.stale.max.s=60",
        file.display()
    );
    let running = node(house, &bao, &lines);
    wait_health(&running, "ready", is_ready);
    let (warm, cold) = (wrapped(&bao), wrapped(&bao));
    assert_eq!(unwrap(&running, &warm).0, 200);
    bao.revoke(&first);
    let (status, said) = unwrap(&running, &cold);
    assert_eq!(status, 502, "{said}");
    assert!(said.contains("the token is not good (any more)"), "{said}");
    assert_eq!(unwrap(&running, &warm).0, 200, "warm");
    // Up, and not ready: no outage in which stale keys may be served, but nothing that works either.
    let now = health(&running);
    assert!(now.up && !is_ready(&now), "{now:?}");
    assert!(
        now.detail
            .contains("put a new one into kms.hsm.vault.token or its file"),
        "{now:?}"
    );
    let ready = kms::admin::readiness(running.node.shared());
    assert_eq!((ready.state, ready.status), ("degraded", 200));
    assert!(told(&running, "/metrics").contains("\nkms_hsm_up 0\n"));
    write_secret(&file, &bao.token(""));
    // Looked at by itself, without a request.
    wait_health(&running, "the new token is found", is_ready);
    assert_eq!(unwrap(&running, &cold).0, 200);
    running.stop();
}
