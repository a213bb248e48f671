//! Every endpoint once over mutual TLS, on the embedded back end: what a client meets, in one walk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use service_support::transit::{ciphertext_of, data_of, encrypt, errors, site};

/// Stands for the body with the ciphertext that version 1 made.
const OLD: &str = "OLD";

/// In their order: path, body, status, part of the answer.
const WRITES: [(&str, &str, u16, &str); 11] = [
    (
        "/v1/transit/keys/k1/rotate",
        "null",
        200,
        "\"latest_version\":2",
    ),
    ("/v1/transit/rewrap/k1", OLD, 200, "\"key_version\":2"),
    ("/v1/transit/decrypt/k1", OLD, 200, "\"plaintext\":\"eA==\""),
    (
        "/v1/transit/datakey/plaintext/k1",
        "{\"bits\":128}",
        200,
        "\"plaintext\":\"",
    ),
    (
        "/v1/transit/keys/k1/config",
        "{\"min_decryption_version\":2}",
        200,
        "\"keys\":{\"2\":",
    ),
    ("/v1/transit/decrypt/k1", OLD, 400, "(too old)"),
    (
        "/v1/transit/keys/k1/config",
        "{\"deletion_allowed\":\"true\"}",
        200,
        "\"deletion_allowed\":true",
    ),
    (
        "/v1/auth/cert/login",
        "{\"name\":\"backend\"}",
        200,
        "certificate-is-the-identity",
    ),
    (
        "/v1/auth/cert/login",
        "{\"name\":\"device\"}",
        400,
        "invalid certificate or no client",
    ),
    ("/v1/auth/token/renew-self", "{}", 200, "\"renewable\":true"),
    ("/v1/auth/token/revoke-self", "", 204, ""),
];

/// After those: method, path, status, part of the answer.
const READS: [(&str, &str, u16, &str); 7] = [
    ("LIST", "/v1/transit/keys", 200, "{\"keys\":[\"k1\"]}"),
    (
        "GET",
        "/v1/auth/token/lookup-self",
        200,
        "\"path\":\"auth/cert/login\"",
    ),
    (
        "GET",
        "/v1/sys/seal-status",
        200,
        "\"storage_type\":\"embedded\"",
    ),
    ("GET", "/v1/sys/leader", 200, "{\"ha_enabled\":false}"),
    ("DELETE", "/v1/transit/keys/k1", 204, ""),
    ("GET", "/v1/transit/keys/k1", 404, "{\"errors\":[]}"),
    ("LIST", "/v1/transit/keys", 404, "{\"errors\":[]}"),
];

#[test]
fn a_key_lives_from_create_to_delete() {
    let (running, mut client) = site();
    let wrapped = encrypt(&mut client, "{\"plaintext\":\"eA==\"}");
    let ciphertext = format!("{{\"ciphertext\":\"{wrapped}\"}}");
    for (path, body, status, part) in WRITES {
        let body = if body == OLD { &ciphertext } else { body };
        let answer = client.post(path, body);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
    }
    let datakey = client.post("/v1/transit/datakey/wrapped/k1", "");
    let data = data_of("wrapped", &datakey).0;
    assert!(!data.contains("plaintext") && ciphertext_of(data).starts_with("vault:v2:"));
    for (method, path, status, part) in READS {
        client.ask(method, path, "");
        let answer = client.answer();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(
            answer.body.contains(part),
            "{method} {path}: {}",
            answer.body
        );
    }
    let answer = client.post("/v1/transit/decrypt/k1", &ciphertext);
    assert_eq!(
        (answer.status, answer.body),
        (400, errors("encryption key not found"))
    );
    running.stop();
}
