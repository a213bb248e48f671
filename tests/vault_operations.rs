//! Every operation through a node whose back end is a real OpenBao, with exactly the guide's policy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use kms::hsm::vault::policy;
use vault_support::service_support::client::Client;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{Bao, house, is_ready, node, ready, text_of, wait_health};

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

#[test]
fn the_guides_policy_is_enough_for_all_but_deleting() {
    let house = house();
    let bao = Bao::start(&house);
    let running = ready(&bao, house, "");
    let mut client = running.backend();
    // Keys.
    for key in ["k", "l"] {
        let said = good(&mut client, "POST", &format!("keys/{key}"), "");
        assert!(said.contains(&format!("\"name\":\"{key}\"")), "{said}");
        assert!(said.contains("\"supports_derivation\":true"), "{said}");
    }
    let names = good(&mut client, "GET", "keys?list=true", "");
    assert!(names.contains(r#""keys":["k","l"]"#), "{names}");
    assert_eq!(
        ask(&mut client, "GET", "keys/nope", ""),
        (404, "{\"errors\":[]}\n".to_owned())
    );
    // Wraps and unwraps, alone and in a batch of which one item is bad.
    let wrapped = ciphertext_of(&good(
        &mut client,
        "POST",
        "encrypt/k",
        r#"{"plaintext":"aGVsbG8="}"#,
    ));
    assert!(wrapped.starts_with("vault:v1:"), "{wrapped}");
    let body = format!(r#"{{"ciphertext":"{wrapped}"}}"#);
    assert_eq!(
        text_of(&good(&mut client, "POST", "decrypt/k", &body), "plaintext"),
        "aGVsbG8="
    );
    let tampered = format!("{}AAAA", &wrapped[..wrapped.len() - 4]);
    let data = ciphertext_of(&good(
        &mut client,
        "POST",
        "encrypt/k",
        r#"{"plaintext":"YmFi","associated_data":"YWFk"}"#,
    ));
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
    let body = format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&made));
    let there = bao.root("POST", "transit/decrypt/k", &body);
    assert_eq!(text_of(&there, "plaintext"), text_of(&made, "plaintext"));
    // A rewrap is an unwrap and a wrap.
    let rotated = good(&mut client, "POST", "keys/k/rotate", "");
    assert!(rotated.contains("\"latest_version\":2"), "{rotated}");
    let body = format!(r#"{{"ciphertext":"{wrapped}"}}"#);
    let again = ciphertext_of(&good(&mut client, "POST", "rewrap/k", &body));
    assert!(again.starts_with("vault:v2:"), "{again}");
    // Settings, by the Vault's own rules.
    let (status, said) = ask(
        &mut client,
        "POST",
        "keys/k/config",
        r#"{"min_decryption_version":9}"#,
    );
    assert_eq!(status, 400);
    assert!(
        said.contains("cannot set min decryption version of 9, latest key version is 2"),
        "{said}"
    );
    let body = r#"{"min_decryption_version":2,"deletion_allowed":true}"#;
    let said = good(&mut client, "POST", "keys/k/config", body);
    assert!(said.contains("\"deletion_allowed\":true"), "{said}");
    let body = format!(r#"{{"ciphertext":"{wrapped}"}}"#);
    let (status, said) = ask(&mut client, "POST", "decrypt/k", &body);
    assert_eq!(status, 400);
    assert!(said.contains("disallowed by policy (too old)"), "{said}");
    // Deleting needs more.
    let (status, said) = ask(&mut client, "DELETE", "keys/k", "");
    assert_eq!(status, 502);
    assert!(
        said.contains("deleting needs a stanza of its own"),
        "{said}"
    );
    assert!(
        is_ready(&vault_support::health(&running)),
        "a policy is no dead token"
    );
    let stanzas = format!(
        "{}{}",
        policy::needed("transit"),
        policy::to_delete("transit")
    );
    bao.policy("kms", &stanzas);
    let (status, said) = ask(&mut client, "DELETE", "keys/k", "");
    assert_eq!((status, &*said), (204, ""));
    let (status, said) = ask(&mut client, "DELETE", "keys/l", "");
    assert_eq!(status, 400);
    let want = "error deleting policy l: deletion is not allowed for this key";
    assert!(said.contains(want), "{said}");
    let (status, said) = ask(&mut client, "DELETE", "keys/k", "");
    assert_eq!(status, 400);
    assert!(said.contains("could not delete key; not found"), "{said}");
    drop(client);
    running.stop();
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

#[test]
fn a_derived_key_is_another_for_each_context() {
    let house = house();
    let bao = Bao::start(&house);
    let running = ready(&bao, house, "");
    let mut client = running.backend();
    let said = good(&mut client, "POST", "keys/d", r#"{"derived":true}"#);
    assert!(said.contains("\"derived\":true"), "{said}");
    let body = r#"{"derived":true,"convergent_encryption":true}"#;
    let said = good(&mut client, "POST", "keys/c", body);
    assert!(said.contains("\"convergent_encryption\":true"), "{said}");
    let wrap = r#"{"plaintext":"aGVsbG8=","context":"Y3R4"}"#;
    let wrapped = ciphertext_of(&good(&mut client, "POST", "encrypt/d", wrap));
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
        assert_eq!(status, 400, "{context}");
        assert!(said.contains(want), "{context}: {said}");
    }
    let (status, said) = ask(&mut client, "POST", "encrypt/d", r#"{"plaintext":"aGk="}"#);
    assert_eq!(status, 400);
    assert!(
        said.contains("missing 'context' for key derivation"),
        "{said}"
    );
    // Derived and other items of one batch are asked for apart.
    let batch = format!(
        r#"{{"batch_input":[{},{}]}}"#,
        unwrap("Y3R4"),
        unwrap("Y3R5")
    );
    let (status, said) = ask(&mut client, "POST", "decrypt/d", &batch);
    assert_eq!(status, 400);
    assert!(
        said.contains(r#"{"plaintext":"aGVsbG8=","reference":""}"#),
        "{said}"
    );
    let made = good(
        &mut client,
        "POST",
        "datakey/plaintext/d",
        r#"{"context":"Y3R4"}"#,
    );
    let body = format!(
        r#"{{"ciphertext":"{}","context":"Y3R4"}}"#,
        ciphertext_of(&made)
    );
    let there = bao.root("POST", "transit/decrypt/d", &body);
    assert_eq!(text_of(&there, "plaintext"), text_of(&made, "plaintext"));
    let again = ciphertext_of(&good(&mut client, "POST", "rewrap/d", &unwrap("Y3R4")));
    assert_ne!(again, wrapped);
    let [one, two] = [(); 2].map(|()| ciphertext_of(&good(&mut client, "POST", "encrypt/c", wrap)));
    assert_eq!(one, two, "convergent");
    drop(client);
    running.stop();
}

#[test]
fn a_key_made_anew_is_another() {
    let house = house();
    let bao = Bao::start(&house);
    bao.policy(
        "kms",
        &format!(
            "{}{}",
            policy::needed("transit"),
            policy::to_delete("transit")
        ),
    );
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
