//! Every operation through a node whose back end is a real OpenBao, with exactly the guide's policy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use kms::hsm::vault::policy;
use vault_support::service_support::Running;
use vault_support::service_support::client::Client;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{Bao, house, is_ready, node, ready, text_of, wait_health};

const HELLO: &str = r#"{"plaintext":"aGVsbG8="}"#;

fn ask(client: &mut Client, method: &str, path: &str, body: &str) -> (u16, String) {
    client.ask(method, &format!("/v1/transit/{path}"), body);
    let answer = client.answer();
    (answer.status, answer.body)
}

fn good(client: &mut Client, method: &str, path: &str, body: &str) -> String {
    let (status, said) = ask(client, method, path, body);
    assert!(
        (200..300).contains(&status),
        "{method} {path} {body}: {status} {said}"
    );
    said
}

/// A node with the guide's policy and a back end's client; keys `k` and `l`.
fn site() -> (Bao, Running, Client) {
    let house = house();
    let bao = Bao::start(&house);
    let running = ready(&bao, house, "");
    let mut client = running.backend();
    for key in ["k", "l"] {
        let said = good(&mut client, "POST", &format!("keys/{key}"), "");
        assert!(said.contains(&format!("\"name\":\"{key}\"")), "{said}");
        assert!(said.contains("\"supports_derivation\":true"), "{said}");
    }
    (bao, running, client)
}

fn wrap(client: &mut Client, key: &str, body: &str) -> String {
    ciphertext_of(&good(client, "POST", &format!("encrypt/{key}"), body))
}

/// The plaintext of a ciphertext, asked at OpenBao itself; `more` members of the request.
fn unwrapped_there(bao: &Bao, key: &str, ciphertext: &str, more: &str) -> String {
    let body = format!(r#"{{"ciphertext":"{ciphertext}"{more}}}"#);
    text_of(
        &bao.root("POST", &format!("transit/decrypt/{key}"), &body),
        "plaintext",
    )
}

#[test]
fn the_guides_policy_is_enough_to_wrap_and_unwrap() {
    let (bao, running, mut client) = site();
    let wrapped = wrap(&mut client, "k", HELLO);
    assert!(wrapped.starts_with("vault:v1:"), "{wrapped}");
    let body = format!(r#"{{"ciphertext":"{wrapped}"}}"#);
    let said = good(&mut client, "POST", "decrypt/k", &body);
    assert_eq!(text_of(&said, "plaintext"), "aGVsbG8=");
    let tampered = format!("{}AAAA", &wrapped[..wrapped.len() - 4]);
    let data = r#"{"plaintext":"YmFi","associated_data":"YWFk"}"#;
    let data = wrap(&mut client, "k", data);
    let batch = format!(
        r#"{{"batch_input":[{{"ciphertext":"{wrapped}","reference":"r1"}},{{"ciphertext":"{tampered}"}},{{"ciphertext":"{data}","associated_data":"YWFk"}},{{"ciphertext":"{data}","associated_data":"YWFl"}}]}}"#
    );
    let (status, said) = ask(&mut client, "POST", "decrypt/k", &batch);
    let failed =
        r#"{"plaintext":"","error":"cipher: message authentication failed","reference":""}"#;
    let want = format!(
        r#"[{{"plaintext":"aGVsbG8=","reference":"r1"}},{failed},{{"plaintext":"YmFi","reference":""}},{failed}]"#
    );
    assert_eq!(status, 400);
    assert!(said.contains(&want), "{said}");
    // A data key is ours, wrapped there.
    let made = good(&mut client, "POST", "datakey/plaintext/k", "");
    let there = unwrapped_there(&bao, "k", &ciphertext_of(&made), "");
    assert_eq!(there, text_of(&made, "plaintext"));
    drop(client);
    running.stop();
}

#[test]
fn the_guides_policy_is_enough_for_keys_save_deleting_them() {
    let (bao, running, mut client) = site();
    let names = good(&mut client, "GET", "keys?list=true", "");
    assert!(names.contains(r#""keys":["k","l"]"#), "{names}");
    let nothing = (404, "{\"errors\":[]}\n".to_owned());
    assert_eq!(ask(&mut client, "GET", "keys/nope", ""), nothing);
    let unwrap = format!(r#"{{"ciphertext":"{}"}}"#, wrap(&mut client, "k", HELLO));
    let rotated = good(&mut client, "POST", "keys/k/rotate", "");
    assert!(rotated.contains("\"latest_version\":2"), "{rotated}");
    let again = ciphertext_of(&good(&mut client, "POST", "rewrap/k", &unwrap));
    assert!(again.starts_with("vault:v2:"), "{again}");
    let high = r#"{"min_decryption_version":9}"#;
    let (status, said) = ask(&mut client, "POST", "keys/k/config", high);
    let want = "cannot set min decryption version of 9, latest key version is 2";
    assert!(status == 400 && said.contains(want), "{status} {said}");
    let body = r#"{"min_decryption_version":2,"deletion_allowed":true}"#;
    let said = good(&mut client, "POST", "keys/k/config", body);
    assert!(said.contains("\"deletion_allowed\":true"), "{said}");
    let (status, said) = ask(&mut client, "POST", "decrypt/k", &unwrap);
    let want = "disallowed by policy (too old)";
    assert!(status == 400 && said.contains(want), "{status} {said}");
    let (status, said) = ask(&mut client, "DELETE", "keys/k", "");
    let want = "deleting needs a stanza of its own";
    assert!(status == 502 && said.contains(want), "{status} {said}");
    assert!(
        is_ready(&vault_support::health(&running)),
        "a policy is no dead token"
    );
    bao.policy("kms", &with_deleting());
    for (key, status, want) in [
        ("k", 204, ""),
        (
            "l",
            400,
            "error deleting policy l: deletion is not allowed for this key",
        ),
        (
            "k",
            400,
            "error deleting policy k: could not delete key; not found",
        ),
    ] {
        let (got, said) = ask(&mut client, "DELETE", &format!("keys/{key}"), "");
        assert!(got == status && said.contains(want), "{key}: {got} {said}");
    }
    drop(client);
    running.stop();
}

fn with_deleting() -> String {
    format!(
        "{}{}",
        policy::needed("transit"),
        policy::to_delete("transit")
    )
}

#[test]
fn ciphertexts_pass_through_in_both_directions() {
    let house = house();
    let bao = Bao::start(&house);
    for kind in [
        "aes256-gcm96",
        "aes128-gcm96",
        "chacha20-poly1305",
        "xchacha20-poly1305",
        "rsa-2048",
    ] {
        let body = format!(r#"{{"type":"{kind}"}}"#);
        bao.root("POST", &format!("transit/keys/{kind}"), &body);
    }
    let running = ready(&bao, house, "");
    let mut client = running.device();
    for kind in [
        "aes256-gcm96",
        "aes128-gcm96",
        "chacha20-poly1305",
        "xchacha20-poly1305",
        "rsa-2048",
    ] {
        let body = r#"{"plaintext":"aGVsbG8="}"#;
        let theirs = ciphertext_of(&bao.root("POST", &format!("transit/encrypt/{kind}"), body));
        let unwrap = format!(r#"{{"ciphertext":"{theirs}"}}"#);
        for time in ["cold", "warm"] {
            let said = good(&mut client, "POST", &format!("decrypt/{kind}"), &unwrap);
            assert_eq!(text_of(&said, "plaintext"), "aGVsbG8=", "{kind} {time}");
        }
        let ours = ciphertext_of(&good(&mut client, "POST", &format!("encrypt/{kind}"), body));
        let unwrap = format!(r#"{{"ciphertext":"{ours}"}}"#);
        let said = bao.root("POST", &format!("transit/decrypt/{kind}"), &unwrap);
        assert_eq!(text_of(&said, "plaintext"), "aGVsbG8=", "{kind}");
        let said = good(&mut client, "GET", &format!("keys/{kind}"), "");
        assert!(said.contains(&format!("\"type\":\"{kind}\"")), "{said}");
    }
    let misses = |running: &vault_support::service_support::Running| {
        running.node.shared().metrics.sum(|worker| &worker.misses)
    };
    assert_eq!(misses(&running), 5, "each was asked for once");
    drop(client);
    running.stop();
}

const IN_CONTEXT: &str = r#"{"plaintext":"aGVsbG8=","context":"Y3R4"}"#;

/// A key `d` that is derived.
fn derived() -> (Bao, Running, Client) {
    let (bao, running, mut client) = site();
    let said = good(&mut client, "POST", "keys/d", r#"{"derived":true}"#);
    assert!(said.contains("\"derived\":true"), "{said}");
    (bao, running, client)
}

#[test]
fn a_derived_key_is_another_for_each_context() {
    let (_bao, running, mut client) = derived();
    let wrapped = wrap(&mut client, "d", IN_CONTEXT);
    let unwrap = |context: &str| format!(r#"{{"ciphertext":"{wrapped}","context":"{context}"}}"#);
    // Warm under its own context, and not served under another, or none.
    for time in ["cold", "warm"] {
        let said = good(&mut client, "POST", "decrypt/d", &unwrap("Y3R4"));
        assert_eq!(text_of(&said, "plaintext"), "aGVsbG8=", "{time}");
    }
    for (context, want) in [
        ("Y3R5", "cipher: message authentication failed"),
        ("", "missing 'context' for key derivation"),
        ("!!", "illegal base64 data at input byte 0"),
    ] {
        let (status, said) = ask(&mut client, "POST", "decrypt/d", &unwrap(context));
        assert!(
            status == 400 && said.contains(want),
            "{context}: {status} {said}"
        );
    }
    let (status, said) = ask(&mut client, "POST", "encrypt/d", HELLO);
    let want = "missing 'context' for key derivation";
    assert!(status == 400 && said.contains(want), "{status} {said}");
    let batch = [unwrap("Y3R4"), unwrap("Y3R5")].join(",");
    let batch = format!(r#"{{"batch_input":[{batch}]}}"#);
    let (status, said) = ask(&mut client, "POST", "decrypt/d", &batch);
    let want = r#"{"plaintext":"aGVsbG8=","reference":""}"#;
    assert!(status == 400 && said.contains(want), "{status} {said}");
    drop(client);
    running.stop();
}

#[test]
fn a_context_goes_wherever_a_derived_key_is_used() {
    let (bao, running, mut client) = derived();
    let context = r#"{"context":"Y3R4"}"#;
    let made = good(&mut client, "POST", "datakey/plaintext/d", context);
    let there = unwrapped_there(&bao, "d", &ciphertext_of(&made), r#","context":"Y3R4""#);
    assert_eq!(there, text_of(&made, "plaintext"));
    let wrapped = wrap(&mut client, "d", IN_CONTEXT);
    let body = format!(r#"{{"ciphertext":"{wrapped}","context":"Y3R4"}}"#);
    let again = ciphertext_of(&good(&mut client, "POST", "rewrap/d", &body));
    assert_ne!(again, wrapped);
    let there = unwrapped_there(&bao, "d", &again, r#","context":"Y3R4""#);
    assert_eq!(there, "aGVsbG8=");
    let body = r#"{"derived":true,"convergent_encryption":true}"#;
    let said = good(&mut client, "POST", "keys/c", body);
    assert!(said.contains("\"convergent_encryption\":true"), "{said}");
    let [one, two] = [(); 2].map(|()| wrap(&mut client, "c", IN_CONTEXT));
    assert_eq!(one, two, "convergent");
    // An encrypt makes the key that its context calls for.
    let made = wrap(&mut client, "new", IN_CONTEXT);
    let there = unwrapped_there(&bao, "new", &made, r#","context":"Y3R4""#);
    assert_eq!(there, "aGVsbG8=");
    drop(client);
    running.stop();
}

#[test]
fn a_key_made_anew_is_another() {
    let house = house();
    let bao = Bao::start(&house);
    bao.policy("kms", &with_deleting());
    let running = ready(&bao, house, "");
    let mut client = running.backend();
    good(&mut client, "POST", "keys/k", "");
    let wrapped = ciphertext_of(&good(
        &mut client,
        "POST",
        "encrypt/k",
        r#"{"plaintext":"aGVsbG8="}"#,
    ));
    let unwrap = format!(r#"{{"ciphertext":"{wrapped}"}}"#);
    good(&mut client, "POST", "decrypt/k", &unwrap);
    good(
        &mut client,
        "POST",
        "keys/k/config",
        r#"{"deletion_allowed":true}"#,
    );
    assert_eq!(ask(&mut client, "DELETE", "keys/k", "").0, 204);
    let (status, said) = ask(&mut client, "POST", "decrypt/k", &unwrap);
    assert_eq!(
        (status, &*said),
        (400, "{\"errors\":[\"encryption key not found\"]}\n")
    );
    good(&mut client, "POST", "keys/k", "");
    let (status, said) = ask(&mut client, "POST", "decrypt/k", &unwrap);
    assert_eq!(status, 400);
    assert!(said.contains("message authentication failed"), "{said}");
    drop(client);
    running.stop();
}

#[test]
fn long_plaintexts_and_keys_changed_behind_our_back() {
    let house = house();
    let bao = Bao::start(&house);
    let running = ready(&bao, house, "kms.request.body.max=1 MiB");
    let mut client = running.backend();
    good(&mut client, "POST", "keys/k", "");
    // Longer than any buffer that a connection has.
    let long = "QUFB".repeat(150_000);
    let wrapped = wrap(&mut client, "k", &format!(r#"{{"plaintext":"{long}"}}"#));
    let body = format!(r#"{{"ciphertext":"{wrapped}"}}"#);
    let said = good(&mut client, "POST", "decrypt/k", &body);
    assert!(text_of(&said, "plaintext") == long, "another plaintext");
    // Somebody else rotates the key and forbids its old version: the first wrap is refused, the next one is
    // with the new one.
    bao.root("POST", "transit/keys/k/rotate", "");
    let body = r#"{"min_decryption_version":2,"min_encryption_version":2}"#;
    bao.root("POST", "transit/keys/k/config", body);
    let (status, said) = ask(&mut client, "POST", "encrypt/k", HELLO);
    assert_eq!(status, 400, "{said}");
    vault_support::wait("the new version", || {
        let (status, said) = ask(&mut client, "POST", "encrypt/k", HELLO);
        (status == 200 && said.contains("\"ciphertext\":\"vault:v2:")).then_some(())
    });
    drop(client);
    running.stop();
}

#[test]
fn a_namespace_and_a_mount_of_the_sites_own() {
    let house = house();
    let bao = Bao::start(&house);
    bao.root("POST", "sys/namespaces/team", "");
    bao.root(
        "POST",
        "team/sys/mounts/keys/of/ours",
        r#"{"type":"transit"}"#,
    );
    let mount = "kms.hsm.vault.token=root-test\nkms.hsm.vault.namespace=team\nkms.hsm.vault.mount=keys/of/ours\n";
    let running = node(house, &bao, mount);
    wait_health(&running, "ready", is_ready);
    let mut client = running.backend();
    good(&mut client, "POST", "keys/k", "");
    let wrapped = ciphertext_of(&good(
        &mut client,
        "POST",
        "encrypt/k",
        r#"{"plaintext":"aGVsbG8="}"#,
    ));
    let body = format!(r#"{{"ciphertext":"{wrapped}"}}"#);
    let there = bao.root("POST", "team/keys/of/ours/decrypt/k", &body);
    assert_eq!(text_of(&there, "plaintext"), "aGVsbG8=");
    drop(client);
    running.stop();
}
