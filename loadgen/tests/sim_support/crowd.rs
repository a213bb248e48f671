//! Many connections that unwrap without pause and compare every plaintext: some ask for keys that are in the
//! cache, the others for ever other ones.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kms::wire::base64;
use kms_loadgen::Target;
use kms_loadgen::client::Client;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use serde_json::Value;

use super::PATIENCE;
use super::service::TIMEOUT_MS;

/// Connections that ask for cached keys.
pub const HOT: usize = 16;
/// Connections that ask for others; every second one asks in batches.
pub const COLD: usize = 48;
/// Data keys that all hot ones share.
const HOT_KEYS: usize = 32;
/// Data keys of each cold one: together many times what the cache holds.
const COLD_KEYS: usize = 250;
/// Items of a batch.
const BATCH: usize = 5;
/// Between the requests of a hot one, so that they leave the machine to the others.
const PAUSE: Duration = Duration::from_millis(5);
/// An answer may come this much after its deadline, for the machine may be busy.
const LENIENCE: Duration = Duration::from_secs(8);

/// A request and the plaintexts, in base64, that may be in its answer.
#[derive(Clone)]
struct Question {
    body: Vec<u8>,
    plaintexts: Vec<String>,
}

/// One request and what became of it.
#[derive(Debug)]
pub struct Seen {
    pub place: usize,
    pub began: Instant,
    pub took: Duration,
    /// 0: no answer.
    pub status: u16,
    /// Plaintexts that came; all of them right.
    pub right: usize,
    /// What is wrong with the answer, or why there is none.
    pub wrong: Option<String>,
}

impl Seen {
    pub fn is_hot(&self) -> bool {
        self.place < HOT
    }
}

/// A running crowd, ended with this.
pub struct Crowd {
    seen: Receiver<Seen>,
    stops: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// Statuses that cold ones got, and how often.
pub type Statuses = BTreeMap<u16, usize>;

impl Crowd {
    /// Wraps data keys, warms the hot ones and starts asking.
    pub fn start(target: &Target) -> Self {
        let mut client = Client::connect(target).unwrap();
        let mut random = SmallRng::seed_from_u64(7);
        let hot = questions(&mut client, &mut random, HOT_KEYS, 1);
        for question in &hot {
            let seen = ask(&mut client, question, 0);
            assert!(seen.status == 200 && seen.right == 1, "warming: {seen:?}");
        }
        let (tell, seen) = mpsc::channel();
        let mut crowd = Self {
            seen,
            stops: Vec::new(),
            threads: Vec::new(),
        };
        for place in 0..HOT + COLD {
            let items = if place % 2 == 0 { 1 } else { BATCH };
            let (asked, pause) = if place < HOT {
                (hot.clone(), PAUSE)
            } else {
                let own = questions(&mut client, &mut random, COLD_KEYS, items);
                (own, Duration::ZERO)
            };
            let (stop, stopped) = mpsc::channel();
            let (target, tell) = (target.clone(), tell.clone());
            crowd.stops.push(stop);
            crowd.threads.push(std::thread::spawn(move || {
                ask_on(&target, &asked, place, pause, &stopped, &tell);
            }));
        }
        crowd
    }

    /// The next answer, checked for what must never be.
    fn next(&self) -> Seen {
        let seen = self.seen.recv_timeout(PATIENCE).expect("the crowd asks");
        assert!(seen.wrong.is_none(), "{seen:?}");
        assert!(!seen.is_hot() || seen.status == 200, "a hit: {seen:?}");
        let limit = Duration::from_millis(TIMEOUT_MS) + LENIENCE;
        assert!(seen.took < limit, "{seen:?}");
        seen
    }

    /// Watches until every connection has had `rounds` answers to what it asked from now on.
    pub fn watch(&self, rounds: usize) -> Statuses {
        let (from, mut left) = (Instant::now(), vec![rounds; HOT + COLD]);
        let mut statuses = Statuses::new();
        while left.iter().any(|left| *left > 0) {
            let seen = self.next();
            if seen.began >= from {
                left[seen.place] = left[seen.place].saturating_sub(1);
                if !seen.is_hot() {
                    *statuses.entry(seen.status).or_default() += 1;
                }
            }
        }
        statuses
    }

    /// Watches until every cold connection has had all it asked for; how long that took.
    pub fn watch_recovery(&self, after: &str) -> Duration {
        let (from, mut waiting) = (Instant::now(), vec![true; HOT + COLD]);
        waiting[..HOT].fill(false);
        while waiting.iter().any(|waiting| *waiting) {
            let seen = self.next();
            if seen.began >= from && seen.status == 200 {
                waiting[seen.place] = false;
            }
            assert!(from.elapsed() < PATIENCE, "no recovery after {after}");
        }
        from.elapsed()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn ask_on(
    target: &Target,
    asked: &[Question],
    place: usize,
    pause: Duration,
    stopped: &Receiver<()>,
    tell: &Sender<Seen>,
) {
    let mut client = Client::connect(target).unwrap();
    for question in asked.iter().cycle() {
        let seen = ask(&mut client, question, place);
        let gone = seen.status == 0;
        // Who ends the crowd listens no more.
        if tell.send(seen).is_err() || gone {
            return;
        }
        if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn ask(client: &mut Client, question: &Question, place: usize) -> Seen {
    let began = Instant::now();
    let answer = client.request("POST", "/v1/transit/decrypt/demo", None, &question.body);
    let (status, checked) = match answer {
        Ok(answer) => (
            answer.status,
            check(&question.plaintexts, answer.status, &answer.body),
        ),
        Err(error) => (0, Err(error.to_string())),
    };
    Seen {
        place,
        began,
        took: began.elapsed(),
        status,
        right: checked.as_ref().map_or(0, |right| *right),
        wrong: checked.err(),
    }
}

/// How many plaintexts the answer holds, each at its place; or what is wrong with it.
fn check(plaintexts: &[String], status: u16, body: &[u8]) -> Result<usize, String> {
    let said = || String::from_utf8_lossy(body).into_owned();
    let json: Value = serde_json::from_slice(body).map_err(|_| said())?;
    let results = match json.pointer("/data/batch_results") {
        Some(results) => results.as_array().cloned().ok_or_else(said)?,
        None => json.get("data").cloned().into_iter().collect(),
    };
    let complete = results.len() == plaintexts.len();
    if !complete && (status == 200 || !results.is_empty()) {
        return Err(said());
    }
    let mut right = 0;
    for (result, want) in results.iter().zip(plaintexts) {
        match result["plaintext"].as_str() {
            Some(plaintext) if plaintext == want => right += 1,
            // An item that failed says so.
            None | Some("") if status != 200 && result["error"].is_string() => {}
            _ => return Err(format!("{want} was wrapped: {}", said())),
        }
    }
    if status != 200 && results.is_empty() && !json["errors"].is_array() {
        return Err(said());
    }
    Ok(right)
}

/// Wraps `count` random data keys and asks for them `items` at a time.
fn questions(
    client: &mut Client,
    random: &mut SmallRng,
    count: usize,
    items: usize,
) -> Vec<Question> {
    let plaintexts: Vec<String> = (0..count).map(|_| data_key(random)).collect();
    let body = batch("plaintext", &plaintexts);
    let answer = client.request("POST", "/v1/transit/encrypt/demo", None, &body);
    let json: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
    let results = json["data"]["batch_results"].as_array().unwrap();
    let ciphertexts: Vec<String> = results
        .iter()
        .map(|result| result["ciphertext"].as_str().unwrap().to_owned())
        .collect();
    let parts = ciphertexts.chunks(items).zip(plaintexts.chunks(items));
    parts
        .map(|(ciphertexts, plaintexts)| Question {
            body: match ciphertexts {
                [one] => format!(r#"{{"ciphertext":"{one}"}}"#).into_bytes(),
                many => batch("ciphertext", many),
            },
            plaintexts: plaintexts.to_vec(),
        })
        .collect()
}

fn batch(field: &str, values: &[String]) -> Vec<u8> {
    let items: Vec<Value> = values
        .iter()
        .map(|value| serde_json::json!({ field: value }))
        .collect();
    serde_json::json!({ "batch_input": items })
        .to_string()
        .into_bytes()
}

fn data_key(random: &mut SmallRng) -> String {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    let mut out = Vec::new();
    base64::put(&mut out, &bytes);
    String::from_utf8(out).unwrap()
}
