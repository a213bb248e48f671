//! The whole product on the simulated HSM, in each version of KMIP that keys can be sealed in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    missing_docs
)]

mod sim_support;

use kms::hsm::Request;
use kms::wire::kmip::ProtocolVersion;
use kms_loadgen::client::Client;
use kms_loadgen::sim::{HsmPlan, Preset};
use serde_json::{Value, json};
use sim_support::service::Service;
use sim_support::{ask, plain, sim};

const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The status and the answer, `null` without one.
fn call(client: &mut Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let path = format!("/v1/transit/{path}");
    let answer = client
        .request(method, &path, None, body.to_string().as_bytes())
        .unwrap();
    (
        answer.status,
        serde_json::from_slice(&answer.body).unwrap_or_default(),
    )
}

/// As [`call`], but it must succeed: the answer's data.
fn done(client: &mut Client, method: &str, path: &str, body: Value) -> Value {
    let (status, mut answer) = call(client, method, path, &body);
    assert!(
        matches!(status, 200 | 204),
        "{method} {path}: {status} {answer}"
    );
    answer["data"].take()
}

/// A key's life, from its creation to its end.
fn live(backend: &mut Client, device: &mut Client) {
    done(backend, "POST", "keys/k", json!({}));
    let first = done(device, "POST", "encrypt/k", json!({ "plaintext": DEK }));
    let first = first["ciphertext"].clone();
    assert!(first.as_str().unwrap().starts_with("vault:v1:"), "{first}");
    done(backend, "POST", "keys/k/rotate", json!({}));
    let rewrapped = done(backend, "POST", "rewrap/k", json!({ "ciphertext": first }));
    let rewrapped = rewrapped["ciphertext"].clone();
    assert!(
        rewrapped.as_str().unwrap().starts_with("vault:v2:"),
        "{rewrapped}"
    );
    for ciphertext in [&first, &rewrapped] {
        let opened = done(
            device,
            "POST",
            "decrypt/k",
            json!({ "ciphertext": ciphertext }),
        );
        assert_eq!(opened["plaintext"], DEK, "{ciphertext}");
    }
    let made = done(device, "POST", "datakey/plaintext/k", json!({}));
    let opened = done(
        device,
        "POST",
        "decrypt/k",
        json!({ "ciphertext": made["ciphertext"] }),
    );
    assert_eq!(opened["plaintext"], made["plaintext"]);

    let config = json!({ "min_decryption_version": 2 });
    done(backend, "POST", "keys/k/config", config);
    let shown = done(backend, "GET", "keys/k", json!({}));
    assert_eq!(
        (&shown["latest_version"], &shown["min_decryption_version"]),
        (&json!(2), &json!(2))
    );
    let (status, said) = call(device, "POST", "decrypt/k", &json!({ "ciphertext": first }));
    assert_eq!(status, 400, "{said}");
    let listed = done(backend, "LIST", "keys", json!({}));
    assert_eq!(listed["keys"], json!(["demo", "k"]));
    let (status, said) = call(backend, "DELETE", "keys/k", &json!({}));
    assert_eq!(status, 400, "not allowed yet: {said}");
    done(
        backend,
        "POST",
        "keys/k/config",
        json!({ "deletion_allowed": true }),
    );
    done(backend, "DELETE", "keys/k", json!({}));
    let listed = done(backend, "LIST", "keys", json!({}));
    assert_eq!(listed["keys"], json!(["demo"]));
    done(backend, "POST", "keys/k", json!({}));
}

#[test]
fn a_key_lives_in_each_version() {
    for (version, cipher) in [
        (ProtocolVersion::V1_2, "cbc-hmac"),
        (ProtocolVersion::V1_4, "cbc-hmac"),
        (ProtocolVersion::V1_4, "gcm"),
        (ProtocolVersion::V2_0, "gcm"),
        (ProtocolVersion::V2_1, "gcm"),
    ] {
        for duplicate_names in [false, true] {
            let bench = sim(Preset::Null.model(), |_| HsmPlan {
                version_min: version,
                version_max: version,
                duplicate_names,
                ..HsmPlan::default()
            });
            let more = format!("kms.hsm.kmip.cipher={cipher}");
            let service = Service::start_with(&bench.site, &[bench.sim.address], &[&more]);
            let [mut backend, mut device] =
                ["cmxBackend", "cmxDevice"].map(|name| service.client_as(&bench.site, name));
            live(&mut backend, &mut device);
            if cipher != "gcm" {
                continue;
            }
            let pool = bench.pool(1);
            let random = || plain(ask(&pool, Request::Random { bytes: 32 })).unwrap();
            let [one, other] = [random(), random()];
            assert!(one.len() == 32 && one != other, "KMIP {version}");
        }
    }
}
