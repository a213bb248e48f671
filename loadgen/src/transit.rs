//! Data keys for a run: random ones wrapped in batches by the server under load, and the unwrap
//! requests that must give them back.

use kms::wire::base64;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use serde_json::Value;

use crate::client::{Client, ClientError, put_request};
use crate::exchange::Exchanges;
use crate::target::Target;

/// Bytes of a data key.
pub const DATA_KEY_BYTES: usize = 32;
/// Items of one batch; OpenBao takes at most 499.
const BATCH_ITEMS: usize = 400;

/// One server's Transit engine.
pub struct Transit<'a> {
    /// The server.
    pub target: &'a Target,
    /// Name of the key.
    pub key: &'a str,
    /// Sent to every server alike; the certificate may make it needless.
    pub token: Option<&'a str>,
}

impl Transit<'_> {
    /// Creates the key; one that exists is no error.
    pub fn create_key(&self) -> Result<(), ClientError> {
        let path = format!("/v1/transit/keys/{}", self.key);
        let answer = Client::connect(self.target)?.request("POST", &path, self.token, b"{}")?;
        match answer.status {
            200 | 204 => Ok(()),
            status => Err(ClientError::Status(status, text(&answer.body))),
        }
    }

    /// Wraps `count` data keys made from `seed` and prepares the request that unwraps each.
    pub fn unwraps(&self, seed: u64, count: usize) -> Result<Exchanges, ClientError> {
        let mut client = Client::connect(self.target)?;
        let mut random = SmallRng::seed_from_u64(seed);
        let mut exchanges = Exchanges::default();
        let mut request = Vec::new();
        while exchanges.len() < count {
            let items = BATCH_ITEMS.min(count - exchanges.len());
            let plaintexts: Vec<String> = (0..items).map(|_| data_key(&mut random)).collect();
            for (plaintext, ciphertext) in
                plaintexts.iter().zip(self.wrap(&mut client, &plaintexts)?)
            {
                request.clear();
                let body = format!("{{\"ciphertext\":\"{ciphertext}\"}}");
                self.put_decrypt(&mut request, &body);
                exchanges.push(
                    &request,
                    format!("\"plaintext\":\"{plaintext}\"").as_bytes(),
                );
            }
        }
        Ok(exchanges)
    }

    /// As [`Self::unwraps`], but each request is a batch of `items`, at most 400; `count` is rounded up to
    /// whole batches.
    pub fn batches(&self, seed: u64, count: usize, items: usize) -> Result<Exchanges, ClientError> {
        let items = items.clamp(1, BATCH_ITEMS);
        let mut client = Client::connect(self.target)?;
        let mut random = SmallRng::seed_from_u64(seed);
        let mut exchanges = Exchanges::default();
        let mut request = Vec::new();
        for _ in 0..count.div_ceil(items) {
            let plaintexts: Vec<String> = (0..items).map(|_| data_key(&mut random)).collect();
            let ciphertexts = self.wrap(&mut client, &plaintexts)?;
            request.clear();
            self.put_decrypt(&mut request, &batch_input("ciphertext", &ciphertexts));
            exchanges.push(&request, batch_results(&plaintexts).as_bytes());
        }
        Ok(exchanges)
    }

    /// The answer to the first of `exchanges`, as it stands on the wire without its head.
    pub fn sample(&self, ciphertext_request: &[u8]) -> Result<Vec<u8>, ClientError> {
        let body_at = ciphertext_request
            .windows(4)
            .position(|part| part == b"\r\n\r\n")
            .map_or(0, |at| at + 4);
        let body = ciphertext_request.get(body_at..).unwrap_or_default();
        let answer = Client::connect(self.target)?.request(
            "POST",
            &self.path("decrypt"),
            self.token,
            body,
        )?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(ClientError::Status(status, text(&answer.body))),
        }
    }

    fn path(&self, operation: &str) -> String {
        format!("/v1/transit/{operation}/{}", self.key)
    }

    fn put_decrypt(&self, out: &mut Vec<u8>, body: &str) {
        put_request(
            out,
            &self.target.host,
            "POST",
            &self.path("decrypt"),
            self.token,
            body.as_bytes(),
        );
    }

    fn wrap(&self, client: &mut Client, plaintexts: &[String]) -> Result<Vec<String>, ClientError> {
        let body = batch_input("plaintext", plaintexts);
        let answer = client.request("POST", &self.path("encrypt"), self.token, body.as_bytes())?;
        if answer.status != 200 {
            return Err(ClientError::Status(answer.status, text(&answer.body)));
        }
        ciphertexts(&answer.body, plaintexts.len())
    }
}

/// The body of a batch request.
fn batch_input(field: &str, values: &[String]) -> String {
    let items: Vec<String> = values
        .iter()
        .map(|one| format!("{{\"{field}\":\"{one}\"}}"))
        .collect();
    format!("{{\"batch_input\":[{}]}}", items.join(","))
}

/// What an answer says of a batch that went well, as every Transit writes it.
fn batch_results(plaintexts: &[String]) -> String {
    let items: Vec<String> = plaintexts
        .iter()
        .map(|one| format!("{{\"plaintext\":\"{one}\",\"reference\":\"\"}}"))
        .collect();
    format!("\"batch_results\":[{}]", items.join(","))
}

fn ciphertexts(body: &[u8], items: usize) -> Result<Vec<String>, ClientError> {
    let bad = || ClientError::Answer(text(body));
    let json: Value = serde_json::from_slice(body).map_err(|_| bad())?;
    let results = json
        .pointer("/data/batch_results")
        .and_then(Value::as_array)
        .ok_or_else(bad)?;
    let all: Option<Vec<String>> = results
        .iter()
        .map(|result| Some(result.get("ciphertext")?.as_str()?.to_owned()))
        .collect();
    all.filter(|all| all.len() == items).ok_or_else(bad)
}

fn data_key(random: &mut SmallRng) -> String {
    let mut bytes = [0; DATA_KEY_BYTES];
    random.fill_bytes(&mut bytes);
    let mut out = Vec::new();
    base64::put(&mut out, &bytes);
    text(&out)
}

/// The front of an answer, for an error.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_item_must_have_been_wrapped() {
        let two = br#"{"data":{"batch_results":[{"ciphertext":"vault:v1:a"},{"ciphertext":"vault:v1:b"}]}}"#;
        assert_eq!(ciphertexts(two, 2).unwrap(), ["vault:v1:a", "vault:v1:b"]);
        for (name, body, items) in [
            ("too few", &two[..], 3),
            ("too many", two, 1),
            (
                "one failed",
                br#"{"data":{"batch_results":[{"error":"no"}]}}"#,
                1,
            ),
            ("no batch", br#"{"data":{}}"#, 1),
            ("no JSON", b"<html>", 1),
        ] {
            assert!(
                matches!(ciphertexts(body, items), Err(ClientError::Answer(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn batches_are_asked_and_expected_in_order() {
        let two = ["YQ==".to_owned(), "Yg==".to_owned()];
        assert_eq!(
            batch_input("ciphertext", &two),
            r#"{"batch_input":[{"ciphertext":"YQ=="},{"ciphertext":"Yg=="}]}"#
        );
        assert_eq!(
            batch_results(&two),
            r#""batch_results":[{"plaintext":"YQ==","reference":""},{"plaintext":"Yg==","reference":""}]"#
        );
    }

    #[test]
    fn data_keys_are_32_bytes_in_base64_and_differ() {
        let mut random = SmallRng::seed_from_u64(1);
        let (one, other) = (data_key(&mut random), data_key(&mut random));
        assert_eq!(one.len(), 44);
        assert_ne!(one, other);
    }
}
