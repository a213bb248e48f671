//! What is asked of the server before and after a run, one request at a time: wrapping data keys, finding out
//! whether wrapped ones are this server's, unwrapping a sample of what it gave.
//!
//! Must never be true: a run against ciphertexts that the server cannot unwrap. Called by [`super::job`] and by the
//! command `prepare`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mix::{Kind, Operation};
use super::prepared::{Origin, Prepared, PreparedError};
use super::proxy::ProxyFrom;
use super::request::{Address, Content, Requests, Sample};
use crate::client::{Answer, Client, ClientError};
use crate::target::Target;

/// Items of a batch of wraps.
const BATCH_ITEMS: u32 = 400;
/// How long a server that is busy or not ready yet is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// Ciphertexts of a file that are tried before a run.
const PROBES: u32 = 8;

/// Why there are no data keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum WrapError {
    /// The server did not answer, or refused.
    Client(ClientError),
    /// There are too many of them.
    Prepared(PreparedError),
    /// The file's ciphertexts are another server's, or another key's.
    Foreign {
        /// What the file says it is of.
        of: Box<Origin>,
        /// What is loaded.
        server: String,
        /// The key that is used.
        transit_key: String,
        /// How the server answered.
        why: String,
    },
}

impl fmt::Display for WrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => write!(f, "data keys cannot be wrapped: {error}"),
            Self::Prepared(error) => write!(f, "{error}"),
            Self::Foreign {
                of,
                server,
                transit_key,
                why,
            } => write!(
                f,
                "these ciphertexts are not of key `{transit_key}` of {server} ({why}); the file was made for key `{}` \
                 of {}: make one for this server with `kms-loadgen prepare`",
                of.transit_key, of.server
            ),
        }
    }
}

impl std::error::Error for WrapError {}

impl From<ClientError> for WrapError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<PreparedError> for WrapError {
    fn from(error: PreparedError) -> Self {
        Self::Prepared(error)
    }
}

/// One server, asked one thing at a time.
pub struct Desk<'a> {
    client: Client,
    target: &'a Target,
    address: &'a Address,
}

impl<'a> Desk<'a> {
    /// Connects.
    pub fn open(
        target: &'a Target,
        address: &'a Address,
        proxy: Option<ProxyFrom>,
    ) -> Result<Self, ClientError> {
        let header = proxy.map(|mut proxy| proxy.header(0, target.address));
        let client = Client::connect_behind(target, header.as_deref().unwrap_or_default())?;
        Ok(Self {
            client,
            target,
            address,
        })
    }

    fn post(&mut self, operation: Operation, body: &[u8]) -> Result<Answer, ClientError> {
        let path = self.address.path(operation);
        let headers = self.address.headers();
        self.client.send("POST", &path, headers.as_slice(), body)
    }

    /// As [`Desk::post`], again and again while the server says that it is busy.
    fn insist(&mut self, operation: Operation, body: &[u8]) -> Result<Answer, ClientError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.post(operation, body)?;
            let is_busy = matches!(answer.status, 429 | 502..=504);
            if answer.status == 200 {
                return Ok(answer);
            }
            if !is_busy || Instant::now() > until {
                return Err(ClientError::Status(answer.status, text(&answer.body)));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Wraps `keys` data keys from `seed`; `told` hears how many are done.
    pub fn wrap(
        &mut self,
        seed: u64,
        keys: u32,
        plaintext_bytes: u16,
        mut told: impl FnMut(u32),
    ) -> Result<Prepared, WrapError> {
        let origin = Origin::new(
            &self.target.host,
            self.client.server_certificate(),
            &self.address.mount,
            &self.address.transit_key,
        );
        let mut prepared = Prepared::plan(origin, seed, keys, plaintext_bytes);
        while prepared.len() < keys {
            let first = prepared.len();
            let last = keys.min(first + BATCH_ITEMS);
            let items = (first..last).map(|number| {
                let plaintext = String::from_utf8_lossy(prepared.plaintext(number)).into_owned();
                serde_json::json!({ "plaintext": plaintext })
            });
            let items: Vec<Value> = items.collect();
            let body = batch(&items);
            let answer = self.insist(Operation::Encrypt, body.as_bytes())?;
            for ciphertext in ciphertexts(&answer.body, (last - first) as usize)? {
                prepared.push(&ciphertext)?;
            }
            told(last);
        }
        Ok(prepared)
    }

    /// Unwraps some of `prepared`, spread over all: are they this server's?
    pub fn probe(&mut self, prepared: &Prepared, requests: &mut Requests) -> Result<(), WrapError> {
        let last = u64::from(prepared.len().saturating_sub(1));
        let spread = |n: u32| u32::try_from(last * u64::from(n) / u64::from(PROBES - 1));
        let mut numbers: Vec<u32> = (0..PROBES).filter_map(|n| spread(n).ok()).collect();
        numbers.dedup();
        self.unwrap_all(prepared, &numbers, requests)
    }

    /// Unwraps these data keys and compares each.
    pub fn unwrap_all(
        &mut self,
        prepared: &Prepared,
        numbers: &[u32],
        requests: &mut Requests,
    ) -> Result<(), WrapError> {
        let foreign = |why: String| WrapError::Foreign {
            of: Box::new(prepared.origin().clone()),
            server: self.target.host.clone(),
            transit_key: self.address.transit_key.clone(),
            why,
        };
        let item = |number: &u32| {
            let ciphertext = String::from_utf8_lossy(prepared.ciphertext(*number));
            serde_json::json!({ "ciphertext": ciphertext })
        };
        let items: Vec<Value> = numbers.iter().map(item).collect();
        let body = batch(&items);
        let answer = match self.insist(Operation::Decrypt, body.as_bytes()) {
            // 400 is what every Transit says of a ciphertext that it cannot open.
            Err(ClientError::Status(400, said)) => return Err(foreign(said)),
            other => other?,
        };
        let kind = Kind {
            operation: Operation::Decrypt,
            items: u16::try_from(numbers.len()).unwrap_or(u16::MAX),
        };
        // Of one item the answer is a batch as well.
        match requests.check(kind, numbers, &answer.body) {
            Content::Right => Ok(()),
            Content::Wrong => Err(foreign("it unwraps them to other data keys".to_owned())),
            Content::Malformed => Err(foreign(text(&answer.body))),
        }
    }

    /// Unwraps what the run's answers held. What is wrong, by operation; or why nothing can be said.
    pub fn verify(
        &mut self,
        samples: &[Sample],
    ) -> Result<BTreeMap<&'static str, u64>, ClientError> {
        let mut wrong = BTreeMap::new();
        for sample in samples {
            let body = serde_json::json!({ "ciphertext": sample.ciphertext }).to_string();
            let good = match self.insist(Operation::Decrypt, body.as_bytes()) {
                Ok(answer) => {
                    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                    json.pointer("/data/plaintext").and_then(Value::as_str)
                        == Some(sample.plaintext.as_str())
                }
                Err(ClientError::Status(400, _)) => false,
                Err(other) => return Err(other),
            };
            if !good {
                *wrong.entry(sample.operation.name()).or_default() += 1;
            }
        }
        Ok(wrong)
    }

    /// What the server calls itself, and its version.
    pub fn about(&mut self) -> (Option<String>, Option<String>) {
        let headers = self.address.headers();
        let Ok(answer) = self
            .client
            .send("GET", "/v1/sys/health", headers.as_slice(), b"")
        else {
            return (None, None);
        };
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let member = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        (member("cluster_name"), member("version"))
    }
}

fn batch(items: &[Value]) -> String {
    serde_json::json!({ "batch_input": items }).to_string()
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

/// The front of an answer that is an error; others may hold plaintexts.
fn text(body: &[u8]) -> String {
    if body.starts_with(b"{\"errors\":") {
        String::from_utf8_lossy(body).chars().take(400).collect()
    } else {
        format!("an answer of {} bytes that is not as expected", body.len())
    }
}
