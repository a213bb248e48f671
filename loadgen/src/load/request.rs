//! Requests from data keys, and whether an answer is the right one.
//!
//! Sans-IO; composes into buffers that are used again. Must never be true: an answer that counts as right
//! whose plaintext was not compared. Ciphertexts that come back can't be foreseen: a sample is kept, and
//! unwrapped after the run. Called by the event loop.

use std::sync::Arc;

use kms::secret::SecretString;
use kms::wire::http::{RequestHead, write_request};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::mix::{Kind, Operation};
use super::prepared::Prepared;

/// Answers kept to be unwrapped after the run.
const SAMPLES_MAX: usize = 256;
const PLAINTEXT: &[u8] = b"\"plaintext\":\"";
const CIPHERTEXT: &[u8] = b"\"ciphertext\":\"";

/// Whether an answer with a success status holds what it should.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// Each item as expected.
    Right,
    /// A plaintext that is another.
    Wrong,
    /// Not what such an answer looks like.
    Malformed,
}

/// A ciphertext that the server gave during the run, and what it should unwrap to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// What gave it.
    pub operation: Operation,
    /// As text.
    pub ciphertext: String,
    /// In base64.
    pub plaintext: String,
}

/// Where requests go, apart from the connection.
#[derive(Clone, Debug)]
pub struct Address {
    /// For the `Host` header.
    pub host: String,
    /// Path of the Transit engine below `/v1/`.
    pub mount: String,
    /// Name of the master key.
    pub transit_key: String,
    /// `X-Vault-Token`.
    pub token: Option<SecretString>,
    /// `X-Vault-Namespace`.
    pub namespace: Option<String>,
}

impl Address {
    /// The path of an operation.
    pub fn path(&self, operation: Operation) -> String {
        format!(
            "/v1/{}/{}/{}",
            self.mount,
            operation.path(),
            self.transit_key
        )
    }

    /// Headers of every request.
    pub fn headers(&self) -> Headers<'_> {
        let mut headers = Headers {
            all: [("Content-Type", "application/json"); 3],
            count: 1,
        };
        let more = [
            (
                "X-Vault-Token",
                self.token.as_ref().map(SecretString::expose),
            ),
            ("X-Vault-Namespace", self.namespace.as_deref()),
        ];
        for (name, value) in more {
            if let (Some(value), Some(place)) = (value, headers.all.get_mut(headers.count)) {
                *place = (name, value);
                headers.count += 1;
            }
        }
        headers
    }
}

/// Headers, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    all: [(&'a str, &'a str); 3],
    count: usize,
}

impl<'a> Headers<'a> {
    /// Names and values.
    pub fn as_slice(&self) -> &[(&'a str, &'a str)] {
        self.all.get(..self.count).unwrap_or_default()
    }
}

/// Composes and checks.
pub struct Requests {
    address: Address,
    /// Paths in the order of [`Operation::ALL`].
    paths: [String; 4],
    prepared: Arc<Prepared>,
    body: Vec<u8>,
    request: Vec<u8>,
    /// Where the value stood in the last answer.
    hint: usize,
    samples: Vec<Sample>,
    seen: u64,
    random: SmallRng,
}

impl Requests {
    /// For data keys that this server wrapped.
    pub fn new(address: Address, prepared: Arc<Prepared>, seed: u64) -> Self {
        Self {
            paths: Operation::ALL.map(|operation| address.path(operation)),
            address,
            prepared,
            body: Vec::new(),
            request: Vec::new(),
            hint: 0,
            samples: Vec::new(),
            seen: 0,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// A whole request, head and body.
    pub fn compose(&mut self, kind: Kind, items: &[u32]) -> &[u8] {
        self.body.clear();
        match (kind.operation, items) {
            (Operation::DataKey, _) => self.body.extend_from_slice(b"{}"),
            (_, [only]) => self.put_item(kind.operation, *only),
            (_, many) => {
                self.body.extend_from_slice(b"{\"batch_input\":[");
                for (at, item) in many.iter().enumerate() {
                    if at > 0 {
                        self.body.push(b',');
                    }
                    self.put_item(kind.operation, *item);
                }
                self.body.extend_from_slice(b"]}");
            }
        }
        let headers = self.address.headers();
        let head = RequestHead {
            method: "POST",
            target: self
                .paths
                .get(kind.operation as usize)
                .map_or("", String::as_str),
            host: &self.address.host,
            headers: headers.as_slice(),
            keep_alive: true,
        };
        self.request.clear();
        write_request(&mut self.request, &head, &self.body);
        &self.request
    }

    fn put_item(&mut self, operation: Operation, item: u32) {
        let (name, value) = match operation {
            Operation::Encrypt => (PLAINTEXT, self.prepared.plaintext(item)),
            _ => (CIPHERTEXT, self.prepared.ciphertext(item)),
        };
        self.body.push(b'{');
        self.body.extend_from_slice(name);
        self.body.extend_from_slice(value);
        self.body.extend_from_slice(b"\"}");
    }

    /// Whether the body of a success is the answer to [`Requests::compose`] of the same items.
    pub fn check(&mut self, kind: Kind, items: &[u32], body: &[u8]) -> Content {
        if kind.operation == Operation::Decrypt {
            let quick = self.compare(items, body);
            // Another server may write its JSON otherwise.
            return quick.unwrap_or_else(|| self.compare_slowly(items, body));
        }
        self.seen += 1;
        // A reservoir: each answer of the run equally likely.
        let place = match self.samples.len() {
            SAMPLES_MAX => {
                usize::try_from(self.random.random_range(0..self.seen)).unwrap_or(SAMPLES_MAX)
            }
            filled => filled,
        };
        if place >= SAMPLES_MAX {
            return Self::look(kind, body);
        }
        let Some(sample) = self.sample(kind, items, body) else {
            return Content::Malformed;
        };
        match self.samples.get_mut(place) {
            Some(old) => *old = sample,
            None => self.samples.push(sample),
        }
        Content::Right
    }

    /// `None`: not in the form that Transit servers write.
    fn compare(&mut self, items: &[u32], body: &[u8]) -> Option<Content> {
        let mut at = match items {
            [_] => find(body, PLAINTEXT, &mut self.hint)?,
            _ => find_from(body, PLAINTEXT, 0)?,
        };
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                at = find_from(body, PLAINTEXT, at)?;
            }
            let want = self.prepared.plaintext(*item);
            let (got, rest) = body.get(at..)?.split_at_checked(want.len())?;
            if got != want || rest.first() != Some(&b'"') {
                return None;
            }
            at += want.len();
        }
        match find_from(body, PLAINTEXT, at) {
            Some(_) => None,
            None => Some(Content::Right),
        }
    }

    fn compare_slowly(&self, items: &[u32], body: &[u8]) -> Content {
        let Some(results) = results(body) else {
            return Content::Malformed;
        };
        if results.len() != items.len() {
            return Content::Malformed;
        }
        let mut content = Content::Right;
        for (result, item) in results.iter().zip(items) {
            match result.get("plaintext").and_then(Value::as_str) {
                Some(text) if text.as_bytes() == self.prepared.plaintext(*item) => {}
                Some(_) => return Content::Wrong,
                None => content = Content::Malformed,
            }
        }
        content
    }

    /// Whether as many ciphertexts are there as there should be.
    fn look(kind: Kind, body: &[u8]) -> Content {
        let mut at = 0;
        for _ in 0..kind.items {
            match find_from(body, CIPHERTEXT, at) {
                Some(found)
                    if body
                        .get(found..)
                        .is_some_and(|value| value.starts_with(b"vault:v")) =>
                {
                    at = found;
                }
                _ => return Content::Malformed,
            }
        }
        Content::Right
    }

    /// One item of an answer.
    fn sample(&mut self, kind: Kind, items: &[u32], body: &[u8]) -> Option<Sample> {
        let results = results(body)?;
        if results.len() != usize::from(kind.items) {
            return None;
        }
        let item = self.random.random_range(0..results.len());
        let text = |result: &Value, name: &str| Some(result.get(name)?.as_str()?.to_owned());
        let all_there = results.iter().all(|result| {
            result
                .get("ciphertext")
                .and_then(Value::as_str)
                .is_some_and(|text| text.starts_with("vault:v"))
        });
        let result = results.get(item).filter(|_| all_there)?;
        let plaintext = match kind.operation {
            Operation::DataKey => text(result, "plaintext")?,
            _ => String::from_utf8(self.prepared.plaintext(*items.get(item)?).to_vec()).ok()?,
        };
        Some(Sample {
            operation: kind.operation,
            ciphertext: text(result, "ciphertext")?,
            plaintext,
        })
    }

    /// What is to be unwrapped after the run.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.samples)
    }
}

/// `data`, or the items of a batch.
fn results(body: &[u8]) -> Option<Vec<Value>> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let data = json.get("data")?;
    match data.get("batch_results") {
        Some(results) => results.as_array().cloned(),
        None => Some(vec![data.clone()]),
    }
}

/// Where the value behind `name` begins: at the hint, as in the answer before, or the first there is.
fn find(body: &[u8], name: &[u8], hint: &mut usize) -> Option<usize> {
    let before = body.get(..*hint).unwrap_or_default();
    if before.ends_with(name) {
        return Some(*hint);
    }
    let found = find_from(body, name, 0)?;
    *hint = found;
    Some(found)
}

fn find_from(body: &[u8], name: &[u8], at: usize) -> Option<usize> {
    let rest = body.get(at..)?;
    let found = rest.windows(name.len()).position(|part| part == name)?;
    Some(at + found + name.len())
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
