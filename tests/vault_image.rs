//! As tests/process_image.rs, with a Vault behind: what passes through HTTP and JSON on its way rests nowhere
//! but in the locked arena, while the connection to the Vault lives; and no token is logged.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::pedantic,
    clippy::duplicate_mod
)]

#[path = "process_image/scan.rs"]
mod scan;
mod support;
mod vault_support;

use std::net::SocketAddr;

use scan::{Image, needles};
use support::node::Node;
use vault_support::service_support::client::Client;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{Bao, house, lines, text_of, write_secret};

const KEYS: usize = 8;
const KEY_NAME: &str = "image-scan-positive-control";

fn base64(bytes: &[u8]) -> String {
    let mut text = vec![0; kms::wire::base64::encoded_len(bytes.len())];
    kms::wire::base64::encode(bytes, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Random, so that no program text has it.
fn random_keys() -> Vec<[u8; 32]> {
    use ring::rand::SecureRandom as _;
    let random = ring::rand::SystemRandom::new();
    let mut keys = vec![[0; 32]; KEYS];
    for key in &mut keys {
        random.fill(key).unwrap();
    }
    keys
}

/// Wraps each key through the node, then unwraps it cold, warm and as a batch.
fn plant(client: &mut Client, keys: &[[u8; 32]]) {
    let path = |verb: &str| format!("/v1/transit/{verb}/{KEY_NAME}");
    let mut items = Vec::new();
    for key in keys {
        let body = format!(r#"{{"plaintext":"{}"}}"#, base64(key));
        let answer = client.post(&path("encrypt"), &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let item = format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&answer.body));
        for time in ["cold", "warm"] {
            let answer = client.post(&path("decrypt"), &item);
            assert_eq!(text_of(&answer.body, "plaintext"), base64(key), "{time}");
        }
        items.push(item);
    }
    let batch = format!(r#"{{"batch_input":[{}]}}"#, items.join(","));
    assert_eq!(client.post(&path("rewrap"), &batch).status, 200);
    assert_eq!(client.post(&path("decrypt"), &batch).status, 200);
}

#[test]
fn keys_from_a_vault_are_only_in_the_arena() {
    let house = house();
    let bao = Bao::start(&house);
    bao.root("POST", &format!("transit/keys/{KEY_NAME}"), "");
    let token = bao.token("");
    let config = house.dir.path().join("kms.properties");
    let more = format!("kms.hsm.vault.token={token}\nkms.log.level=trace");
    write_secret(&config, &house.properties(&lines(bao.port, &more)));
    let node = Node::start_with(&config, &[("KMS_TEST_ARENA_MODE", "mlock")]);
    node.wait_ready(200, "ready");
    let address = SocketAddr::from(([127, 0, 0, 1], node.port));
    let mut client = Client::connect(&house, Some(&house.backend), address).unwrap();
    let keys = random_keys();
    plant(&mut client, &keys);
    let needles = needles(&keys);
    let image = Image::of(node.process.pid());
    let hits = image.scan(&needles);
    let stray: Vec<_> = hits.iter().filter(|hit| !hit.locked).collect();
    assert!(stray.is_empty(), "outside the arena: {stray:#?}");
    // The cached keys themselves are the positive control, and a name that is no secret.
    let raw = hits.iter().filter(|hit| hit.is_raw).count();
    assert!(raw >= KEYS, "only {raw} of {KEYS} cached keys were found");
    assert!(
        image.finds(KEY_NAME.as_bytes()),
        "the scan does not see into the server"
    );
    let log = node.process.log();
    assert!(log.contains("ureq"), "the log is not at its most talkative");
    assert!(!log.contains(&token), "the token is in the log");
    for key in &keys {
        assert!(!log.contains(&base64(key)), "a key is in the log");
    }
}
