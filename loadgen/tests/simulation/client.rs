//! One client: what it asks, in which pieces, and whether every answer is right, in order and in time.

use std::collections::VecDeque;

use kms::wire::http::{ResponseDecoder, ResponseProgress};
use kms::wire::json::Text;
use kms::wire::transit::{self, Verb};
use kms_loadgen::client::put_request;
use kms_loadgen::sim::hsm::Hsm;
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use crate::plan::{MS, Plan};
use crate::truth::{self, KEYS, Mint, Sealed};

/// What a request is and what its answer must be.
#[derive(Clone, Debug)]
pub enum Ask {
    Decrypt(Vec<Sealed>, bool),
    Rewrap(Sealed),
    Encrypt(&'static str, Vec<Vec<u8>>, bool),
    Datakey(&'static str),
    Rotate,
    Config,
    Read(&'static str),
}

impl Ask {
    /// Numbers of the ciphertexts whose plaintexts it is answered.
    pub fn unwraps(&self) -> impl Iterator<Item = usize> {
        let items = match self {
            Self::Decrypt(items, _) => &items[..],
            _ => &[],
        };
        items.iter().map(|item| item.number)
    }
}

/// A request as it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub ask: Ask,
    pub bytes: Vec<u8>,
    /// It comes when all faults are over: it must succeed.
    pub must_succeed: bool,
}

/// A request that was sent whole.
#[derive(Debug)]
pub struct Sent {
    pub ask: Ask,
    pub must_succeed: bool,
    /// When its last byte arrived, or when the one before it was answered.
    pub since_ns: u64,
    /// It was the only one then.
    pub is_alone: bool,
    /// The cache must have it.
    pub is_warm: bool,
    /// The cache may have it: somebody has asked for it since the last purge.
    pub may_hit: bool,
}

/// Bytes to be delivered at a time, and the request that they complete.
pub struct Piece {
    pub at_ns: u64,
    pub bytes: Vec<u8>,
    pub completes: Option<Request>,
    /// It is not the first of its request.
    pub goes_on: bool,
}

/// What is asked by one client, in pieces.
pub fn script(plan: &Plan, mint: &mut Mint, pool: &[Sealed], r: &mut SmallRng) -> VecDeque<Piece> {
    let mut pieces = VecDeque::new();
    let mut at_ns = r.random_range(0..300) * MS;
    for _ in 0..r.random_range(1..=5) {
        if plan.calm_from_ns > 0 && at_ns > plan.calm_from_ns + 500 * MS {
            break;
        }
        for _ in 0..r.random_range(1..=4) {
            let ask = ask(plan, mint, pool, r);
            at_ns = split(request(ask, false), at_ns, &mut pieces, r);
        }
        at_ns += r.random_range(1..1200) * MS;
    }
    let calm_ns = at_ns.max(plan.calm_from_ns + 1000 * MS);
    let fresh = mint.sealed(0, false);
    split(
        request(Ask::Decrypt(vec![fresh], false), true),
        calm_ns,
        &mut pieces,
        r,
    );
    pieces
}

fn ask(plan: &Plan, mint: &mut Mint, pool: &[Sealed], r: &mut SmallRng) -> Ask {
    let any = |r: &mut SmallRng| pool[r.random_range(0..pool.len())].clone();
    let key = KEYS[usize::from(r.random_bool(0.2))];
    match r.random_range(0..100) {
        0..60 => Ask::Decrypt(vec![any(r)], false),
        60..75 => {
            let count = r.random_range(1..=8);
            let mut items: Vec<Sealed> = (0..count).map(|_| any(r)).collect();
            let key = items[0].key;
            items.retain(|item| item.key == key);
            items.shuffle(r);
            Ask::Decrypt(items, true)
        }
        75..83 => {
            let plaintexts = (0..r.random_range(1..=4)).map(|_| mint.plaintext());
            let plaintexts: Vec<_> = plaintexts.collect();
            let batch = plaintexts.len() > 1;
            Ask::Encrypt(key, plaintexts, batch)
        }
        83..88 => Ask::Rewrap(any(r)),
        88..93 => Ask::Datakey(key),
        93..96 => Ask::Read(key),
        96..98 if !plan.incidents.is_empty() => Ask::Rotate,
        98.. if !plan.incidents.is_empty() => Ask::Config,
        _ => Ask::Decrypt(vec![mint.sealed(0, r.random_bool(0.3))], false),
    }
}

fn request(ask: Ask, must_succeed: bool) -> Request {
    let texts = |field: &str, texts: Vec<&str>, batch: bool| {
        let items = texts
            .iter()
            .map(|text| format!("{{\"{field}\":\"{text}\"}}"));
        let items: Vec<String> = items.collect();
        if batch {
            format!("{{\"batch_input\":[{}]}}", items.join(","))
        } else {
            items.concat()
        }
    };
    let (method, path, body) = match &ask {
        Ask::Decrypt(items, batch) => {
            let body = texts(
                "ciphertext",
                items.iter().map(|item| &*item.text).collect(),
                *batch,
            );
            ("POST", format!("decrypt/{}", items[0].key), body)
        }
        Ask::Rewrap(item) => {
            let body = texts("ciphertext", vec![&item.text], false);
            ("POST", format!("rewrap/{}", item.key), body)
        }
        Ask::Encrypt(key, plaintexts, batch) => {
            let encoded: Vec<String> = plaintexts.iter().map(|one| truth::encode(one)).collect();
            let body = texts(
                "plaintext",
                encoded.iter().map(|one| &**one).collect(),
                *batch,
            );
            ("POST", format!("encrypt/{key}"), body)
        }
        Ask::Datakey(key) => ("POST", format!("datakey/plaintext/{key}"), "{}".to_owned()),
        Ask::Rotate => ("POST", format!("keys/{}/rotate", KEYS[1]), "{}".to_owned()),
        Ask::Config => {
            let body = r#"{"min_encryption_version":1}"#.to_owned();
            ("POST", format!("keys/{}/config", KEYS[1]), body)
        }
        Ask::Read(key) => ("GET", format!("keys/{key}"), String::new()),
    };
    let mut bytes = Vec::new();
    let path = format!("/v1/transit/{path}");
    put_request(&mut bytes, "kms", method, &path, None, body.as_bytes());
    Request {
        ask,
        bytes,
        must_succeed,
    }
}

/// Cuts a request at random places; when the last piece arrives.
fn split(request: Request, mut at_ns: u64, pieces: &mut VecDeque<Piece>, r: &mut SmallRng) -> u64 {
    let mut rest = request.bytes.clone();
    let mut goes_on = false;
    let cuts = [0, 0, 0, 1, 2, 5][r.random_range(0..6)];
    for _ in 0..cuts {
        if rest.len() < 2 {
            break;
        }
        let after = rest.split_off(r.random_range(1..rest.len()));
        pieces.push_back(Piece {
            at_ns,
            bytes: std::mem::replace(&mut rest, after),
            completes: None,
            goes_on: std::mem::replace(&mut goes_on, true),
        });
        at_ns += r.random_range(0..3) * MS / 2;
    }
    pieces.push_back(Piece {
        at_ns,
        bytes: rest,
        completes: Some(request),
        goes_on,
    });
    at_ns
}

/// An answer, whole.
pub struct Answered {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn kind(&self) -> &'static str {
        match self.status {
            200 | 204 => "answered 200",
            400 => "answered 400",
            404 => "answered 404",
            429 => "answered 429",
            502 => "answered 502",
            503 => "answered 503",
            504 => "answered 504",
            other => panic!("an answer of status {other}"),
        }
    }
}

/// Takes whole answers off the front of `replies`.
pub fn answers(replies: &mut Vec<u8>) -> Vec<Answered> {
    let mut all = Vec::new();
    while !replies.is_empty() {
        let step = ResponseDecoder::new(false).step(replies, usize::MAX, false);
        let used = match step.unwrap() {
            ResponseProgress::Response(response, used) => {
                all.push(Answered {
                    status: response.status,
                    body: response.body.to_vec(),
                });
                used
            }
            other => panic!("a reply written in part: {other:?}"),
        };
        replies.drain(..used);
    }
    all
}

/// What may be wrong with answers.
pub struct Judge<'a> {
    pub plan: &'a Plan,
    pub hsm: &'a Hsm,
    pub ns: u64,
}

impl Judge<'_> {
    /// Panics unless the answer is right, or a failure that this seed allows.
    pub fn check(&self, sent: &Sent, answered: &Answered) {
        let must = sent.must_succeed && self.plan.has_room() || self.plan.is_calm();
        let failure = || {
            let body = String::from_utf8_lossy(&answered.body);
            format!("{:?} was answered {}: {body}", sent.ask, answered.status)
        };
        let is_ok = answered.status < 300;
        match &sent.ask {
            Ask::Decrypt(items, batch) => decrypted(items, *batch, answered, must),
            Ask::Encrypt(key, plaintexts, batch) => {
                assert!(is_ok || !must, "{}", failure());
                let expected = plaintexts.iter().map(|one| (*key, Some(&one[..])));
                self.wrapped(&expected.collect::<Vec<_>>(), *batch, answered);
            }
            Ask::Rewrap(item) => {
                let is_right = item.plaintext.is_some();
                assert!(
                    is_ok == is_right || !(must && item.is_sure),
                    "{}",
                    failure()
                );
                self.wrapped(&[(item.key, item.plaintext.as_deref())], false, answered);
            }
            Ask::Datakey(key) => {
                assert!(is_ok || !must, "{}", failure());
                let told = transit::parse_answer(Verb::Decrypt, &answered.body).unwrap();
                let told = told.items.first().and_then(|item| item.text.as_ref());
                let told = told.and_then(|text| truth::decode(text.as_str()));
                self.wrapped(&[(*key, told.as_deref())], false, answered);
            }
            Ask::Read(_) => assert!(is_ok || !must, "{}", failure()),
            Ask::Rotate | Ask::Config => {}
        }
    }

    fn wrapped(&self, expected: &[(&str, Option<&[u8]>)], batch: bool, answered: &Answered) {
        let answer = transit::parse_answer(Verb::Encrypt, &answered.body).unwrap();
        if answered.status >= 300 && !batch {
            return;
        }
        if !answer.errors.is_empty() {
            return;
        }
        assert_eq!(answer.items.len(), expected.len(), "items of the answer");
        for (item, (key, plaintext)) in answer.items.iter().zip(expected) {
            let text = item.text.as_ref().map_or("", |text| text.as_str());
            if text.is_empty() || self.plan.spoils_wraps() {
                continue;
            }
            let opens = truth::opens(self.hsm, self.plan.seed, key, text, *plaintext);
            assert!(opens, "a ciphertext of another plaintext");
        }
    }

    /// Panics unless the answer came in time.
    pub fn check_time(&self, sent: &Sent, status: u16, late_ns: u64) {
        let took_ns = self.ns - sent.since_ns;
        let allowed_ns = (self.plan.timeout_ms + 20) * MS + late_ns;
        assert!(took_ns <= allowed_ns, "{:?} took {took_ns} ns", sent.ask);
        if sent.must_succeed && self.plan.has_room() {
            // The HSM is back: nobody waits for a pause or a dead connection any more.
            let usual_ns = (self.plan.usual_ms + 50) * MS;
            assert!(took_ns <= usual_ns, "not recovered: took {took_ns} ns");
        }
        if sent.is_warm && sent.is_alone {
            assert!(took_ns == 0, "a hit waited {took_ns} ns");
        }
        let is_hit = took_ns == 0
            && sent.is_alone
            && status == 200
            && matches!(sent.ask, Ask::Decrypt(_, false));
        assert!(sent.may_hit || !is_hit, "a hit after a purge");
    }
}

fn decrypted(items: &[Sealed], batch: bool, answered: &Answered, must: bool) {
    let status = answered.status;
    let answer = transit::parse_answer(Verb::Decrypt, &answered.body).unwrap();
    if answer.errors.is_empty() {
        assert_eq!(answer.batch, batch, "another kind of answer");
        assert_eq!(answer.items.len(), items.len(), "items of the answer");
    } else {
        assert!(answer.items.iter().all(|item| item.text.is_none()));
    }
    for (at, asked) in items.iter().enumerate() {
        let text = answer.items.get(at).and_then(|item| item.text.as_ref());
        let text = text.map(Text::as_str).filter(|text| !text.is_empty());
        if let Some(text) = text {
            assert_eq!(truth::decode(text), asked.plaintext, "a wrong plaintext");
        } else if must && asked.is_sure {
            let body = String::from_utf8_lossy(&answered.body);
            assert!(
                asked.plaintext.is_none(),
                "refused without need: {status} {body}"
            );
        }
    }
}
