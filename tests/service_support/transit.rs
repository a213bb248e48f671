//! What the client API's answers look like, and a node with a key.

use super::Running;
use super::client::{Answer, Client};

const ENVELOPE: &str = r#"","lease_id":"","renewable":false,"lease_duration":0,"data":"#;

pub fn site() -> (Running, Client) {
    let running = Running::embedded("");
    let mut backend = running.backend();
    assert_eq!(backend.post("/v1/transit/keys/k1", "").status, 200);
    (running, backend)
}

pub fn data_of<'a>(name: &str, answer: &'a Answer) -> (&'a str, &'a str) {
    let body = answer.body.strip_suffix('\n').unwrap_or(&answer.body);
    let rest = body
        .strip_prefix("{\"request_id\":\"")
        .unwrap_or_else(|| panic!("{name}: {body}"));
    let (id, rest) = rest.split_at(36);
    let shape: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_hexdigit() && !c.is_uppercase() {
                'x'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{name}");
    let rest = rest
        .strip_prefix(ENVELOPE)
        .unwrap_or_else(|| panic!("{name}: {body}"));
    let rest = rest
        .strip_suffix(",\"auth\":null}")
        .unwrap_or_else(|| panic!("{name}: {body}"));
    rest.rsplit_once(",\"wrap_info\":null,\"warnings\":")
        .unwrap_or_else(|| panic!("{name}: {body}"))
}

pub fn ciphertext_of(data: &str) -> String {
    let (_, rest) = data.split_once("\"ciphertext\":\"").expect("a ciphertext");
    rest.split('"').next().unwrap().to_owned()
}

pub fn encrypt(client: &mut Client, body: &str) -> String {
    let answer = client.post("/v1/transit/encrypt/k1", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    ciphertext_of(data_of(body, &answer).0)
}

pub fn errors(text: &str) -> String {
    if text.is_empty() {
        "{\"errors\":[]}\n".to_owned()
    } else {
        format!("{{\"errors\":[\"{text}\"]}}\n")
    }
}
