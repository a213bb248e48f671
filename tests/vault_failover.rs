//! Two Vaults with the same key: while one of them serves, no client notices that the other does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use vault_support::service_support::Running;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{Bao, ROOT, house, is_ready, node_of, text_of, told, wait, wait_health};

/// Each part asks for as many keys that were never asked for.
const KEYS: usize = 30;

/// A key that both have, by backup and restore.
fn share_key(first: &Bao, second: &Bao) {
    let key = r#"{"exportable":true,"allow_plaintext_backup":true}"#;
    first.root("POST", "transit/keys/k", key);
    let said = first.root("GET", "transit/backup/k", "");
    let body = format!(r#"{{"backup":"{}"}}"#, text_of(&said, "backup"));
    second.root("POST", "transit/restore/k", &body);
}

/// Wraps data keys at `bao` itself and has the node unwrap them: none may fail.
fn unwrap_fresh(running: &Running, bao: &Bao, part: &str) {
    let mut client = running.device();
    for number in 0..KEYS {
        let mut text = vec![0; 12];
        let bytes = format!("{number:04}{part:4.4}");
        kms::wire::base64::encode(bytes.as_bytes(), &mut text).unwrap();
        let plaintext = String::from_utf8(text).unwrap();
        let body = format!(r#"{{"plaintext":"{plaintext}"}}"#);
        let said = bao.root("POST", "transit/encrypt/k", &body);
        let body = format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&said));
        let answer = client.post("/v1/transit/decrypt/k", &body);
        assert_eq!(answer.status, 200, "{part}: {}", answer.body);
        assert!(answer.body.contains(&plaintext), "{part}: {}", answer.body);
    }
}

/// Waits until the node leaves neither alone any more.
fn both_serve(running: &Running) {
    wait("both serve again", || {
        let servers = running.node.shared().engine.hsm().servers();
        assert_eq!(servers.len(), 2);
        let rests = servers.iter().any(|server| server.resting.is_some());
        (!rests).then_some(())
    });
}

#[test]
fn one_of_two_vaults_suffices() {
    let house = house();
    let (mut first, second) = (Bao::start(&house), Bao::beside(&house));
    share_key(&first, &second);
    // The same token at both.
    let more = format!("kms.hsm.vault.token={ROOT}\nkms.cache.ttl.s=600");
    let running = node_of(house, &[first.port, second.port], &more);
    wait_health(&running, "ready", is_ready);
    unwrap_fresh(&running, &first, "both");
    let metrics = told(&running, "/metrics");
    for port in [first.port, second.port] {
        let line = format!("\nkms_hsm_server_connections{{server=\"localhost:{port}\"}} ");
        assert!(metrics.contains(&line), "{metrics}");
    }
    first.seal();
    unwrap_fresh(&running, &second, "sealed");
    first.unseal();
    both_serve(&running);
    unwrap_fresh(&running, &first, "open again");
    second.seal();
    unwrap_fresh(&running, &first, "other sealed");
    second.unseal();
    both_serve(&running);
    first.kill();
    unwrap_fresh(&running, &second, "killed");
    running.stop();
}
