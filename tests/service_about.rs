//! Who the client is and what the server is, as clients of a Vault ask.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use kms::api::{About, Command};
use serde_json::{Value, json};
use service_support::desk::{Desk, Said, VALIDITY_S};
use service_support::transit::errors;

fn about(desk: &Desk, about: About) -> Said {
    desk.ask(&Command::About(about))
}

fn login_as(desk: &Desk, name: &str) -> Said {
    desk.ask(&Command::LoginAs { name: name.into() })
}

fn read(said: &Said) -> Value {
    assert_eq!(said.status, 200, "{}", said.body);
    serde_json::from_str(&said.body).expect("JSON")
}

#[test]
fn the_certificate_is_the_identity() {
    let desk = Desk::new();
    let said = read(&about(&desk, About::Login));
    let auth = &said["auth"];
    assert_eq!(said["data"], Value::Null);
    for (member, want) in [
        ("client_token", json!("certificate-is-the-identity")),
        ("policies", json!(["default", "backend"])),
        ("token_policies", json!(["default", "backend"])),
        ("lease_duration", json!(2_764_800)),
        ("renewable", json!(true)),
        ("token_type", json!("service")),
        ("orphan", json!(true)),
        ("num_uses", json!(0)),
        ("mfa_requirement", Value::Null),
        (
            "metadata",
            json!({
                "cert_name": "cmxbackend",
                "common_name": "cmxBackend",
                "fingerprint_sha256": "07".repeat(32),
                "subject": "CN=cmxBackend,O=Test",
            }),
        ),
    ] {
        assert_eq!(auth[member], want, "{member}");
    }
    let accessor = auth["accessor"].as_str().expect("a text");
    assert!(accessor.len() == 24 && accessor.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let entity: Vec<_> = auth["entity_id"]
        .as_str()
        .expect("a text")
        .split('-')
        .map(str::len)
        .collect();
    assert_eq!(entity, [8, 4, 4, 4, 12]);
    for name in ["", "backend", "CMXbackend"] {
        assert_eq!(read(&login_as(&desk, name))["auth"], *auth, "{name}");
    }
    assert_eq!(read(&about(&desk, About::RenewSelf))["auth"], *auth);
    let mut other = Desk::new();
    other.pin.fingerprint = [8; 32];
    let theirs = read(&about(&other, About::Login));
    assert_ne!(theirs["auth"]["accessor"], auth["accessor"]);
    assert_ne!(theirs["auth"]["entity_id"], auth["entity_id"]);
}

#[test]
fn a_login_under_another_name_is_refused() {
    for name in ["device", "backend ", "cmx", "*"] {
        let said = login_as(&Desk::new(), name);
        let text = "invalid certificate or no client certificate supplied";
        assert_eq!((said.status, said.body), (400, errors(text)), "{name}");
    }
}

#[test]
fn a_token_is_described_by_its_certificate() {
    let mut desk = Desk::new();
    let auth = read(&about(&desk, About::Login))["auth"].clone();
    let (from, to) = VALIDITY_S;
    for (name, now, ttl, lease) in [
        ("begin", from, to - from, 2_764_800),
        ("last day", to - 86_400, 86_400, 86_400),
        ("last second", to, 0, 0),
    ] {
        desk.unix_s = now;
        let said = read(&about(&desk, About::LookupSelf));
        let want = json!({
            "accessor": auth["accessor"],
            "creation_time": from,
            "creation_ttl": to - from,
            "display_name": "cert-cmxbackend",
            "entity_id": auth["entity_id"],
            "expire_time": "2026-12-23T04:26:40Z",
            "explicit_max_ttl": 0,
            "id": auth["client_token"],
            "issue_time": "2026-11-18T11:06:40Z",
            "meta": auth["metadata"],
            "num_uses": 0,
            "orphan": true,
            "path": "auth/cert/login",
            "policies": auth["policies"],
            "renewable": true,
            "ttl": ttl,
            "type": "service",
        });
        assert_eq!(said["data"], want, "{name}");
        let renewed = read(&about(&desk, About::RenewSelf));
        assert_eq!(renewed["auth"]["lease_duration"], lease, "{name}");
    }
}

#[test]
fn what_the_server_is() {
    let desk = Desk::new();
    for (asked, want) in [
        (About::Init, "{\"initialized\":true}\n"),
        (About::Leader, "{\"ha_enabled\":false}\n"),
    ] {
        let said = about(&desk, asked);
        assert_eq!((said.status, said.body.as_str()), (200, want));
    }
    let status = read(&about(&desk, About::SealStatus));
    let health = read(&desk.ask(&Command::Health));
    for (member, want) in [
        ("type", json!("shamir")),
        ("initialized", json!(true)),
        ("sealed", json!(false)),
        ("t", json!(1)),
        ("n", json!(1)),
        ("storage_type", json!("fake")),
        ("version", health["version"].clone()),
        ("cluster_name", health["cluster_name"].clone()),
        ("cluster_id", health["cluster_id"].clone()),
    ] {
        assert_eq!(status[member], want, "{member}");
    }
    let said = about(&desk, About::RevokeSelf);
    assert_eq!((said.status, said.body.as_str()), (204, ""));
    assert_eq!(
        about(&desk, About::Login).status,
        200,
        "there is nothing to revoke"
    );
}
