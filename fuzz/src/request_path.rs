//! The whole way of a request: a client's bytes, session, engine, HSM, reply.
//!
//! The first byte of an input is how the world behaves ([`World`]), the rest is what the client sends.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kms::cache::{Cache, CacheConfig};
use kms::engine::{Engine, EngineLimits, Outcome, Waiter};
use kms::identity::{Operations, Pin, Role};
use kms::metrics::Metrics;
use kms::net::time::Time;
use kms::server::loopback::{self, Awaits, Loopback};
use kms::server::{Settings, Shared};
use kms::wire::base64;
use kms::wire::http::{
    Method, Progress, Request, RequestDecoder, ResponseDecoder, ResponseProgress,
};
use kms::wire::transit::{self, Verb};

use crate::arena;
use crate::toy_hsm::{self, ToyHsm};

mod seeds;

pub use seeds::seeds;

const BODY_BYTES_MAX: usize = 8192;

/// How the client and the HSM behave.
#[derive(Clone, Copy, Debug)]
struct World {
    /// Bytes that arrive at a time.
    piece: usize,
    /// The HSM answers when everything has arrived, not after each piece.
    late: bool,
    /// Requests run out of time before the HSM answers.
    slow: bool,
    /// Of the HSM; see [`ToyHsm::answer`].
    mood: u8,
}

impl World {
    fn of(control: u8) -> Self {
        let piece = [usize::MAX, 1, 7, 64][usize::from(control & 3)];
        Self {
            piece,
            late: control & 4 != 0,
            slow: control & 8 != 0,
            mood: control >> 5,
        }
    }

    /// Everything goes well, and at once.
    const KIND: Self = Self {
        piece: usize::MAX,
        late: false,
        slow: false,
        mood: 0,
    };

    fn is_kind(self) -> bool {
        !self.slow && self.mood == 0
    }
}

/// What the client asked, as far as its answer can be foretold.
struct Asked {
    head_only: bool,
    /// For an unwrap: the only right plaintext of each item, if there is one.
    plaintexts: Option<Vec<Option<Vec<u8>>>>,
}

/// One answer.
#[derive(Debug)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// Runs one input; panics when an invariant is broken.
pub fn request_path(data: &[u8]) {
    if let Some((&control, bytes)) = data.split_first() {
        run(control, bytes);
    }
}

/// As [`request_path`], giving the answers.
pub fn run(control: u8, bytes: &[u8]) -> Vec<Answered> {
    let world = World::of(control);
    let asked = read_requests(bytes);
    let answered = read_answers(&asked, &converse(world, bytes));
    // One more: what could not be read is refused.
    assert!(
        answered.len() <= asked.len() + 1,
        "{} answers to {} requests",
        answered.len(),
        asked.len()
    );
    for (asked, answered) in asked.iter().zip(&answered) {
        check_plaintexts(asked, answered);
    }
    if world.is_kind() && (world.piece != usize::MAX || world.late) {
        let statuses = |all: &[Answered]| {
            all.iter()
                .map(|answered| answered.status)
                .collect::<Vec<_>>()
        };
        let smooth = read_answers(&asked, &converse(World::KIND, bytes));
        assert_eq!(
            statuses(&answered),
            statuses(&smooth),
            "in pieces or late, and whole"
        );
    }
    answered
}

fn read_requests(bytes: &[u8]) -> Vec<Asked> {
    let (mut bytes, mut all) = (bytes.to_vec(), Vec::new());
    loop {
        let mut decoder = RequestDecoder::default();
        let Ok(Progress::Request(request, used)) = decoder.step(&mut bytes, BODY_BYTES_MAX) else {
            return all;
        };
        let asked = Asked {
            head_only: request.head.method == Method::Head,
            plaintexts: foretell(&request),
        };
        all.push(asked);
        bytes.drain(..used);
    }
}

fn foretell(request: &Request<'_>) -> Option<Vec<Option<Vec<u8>>>> {
    let key = request.head.path.strip_prefix("/v1/transit/decrypt/")?;
    let crypt = if request.head.form {
        transit::crypt_form
    } else {
        transit::crypt_body
    };
    let body = crypt(Verb::Decrypt, request.body).ok()?;
    let open = |item: &transit::Item<'_>| {
        let (version, encoded) = transit::parse_ciphertext(item.text.as_str()).ok()?;
        let sealed = decode(encoded)?;
        let associated_data = match &item.associated_data {
            Some(text) => decode(text.as_str())?,
            None => Vec::new(),
        };
        toy_hsm::open(&toy_hsm::object(key, version), &sealed, &associated_data)
    };
    Some(body.items().map(open).collect())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = vec![0; base64::decoded_len_max(text.len())];
    let len = base64::decode(text.as_bytes(), &mut out).ok()?;
    out.truncate(len);
    Some(out)
}

/// The replies' bytes.
fn converse(world: World, bytes: &[u8]) -> Vec<u8> {
    let hsm = Arc::new(ToyHsm::default());
    let (tx, tickets) = mpsc::channel();
    let start = Instant::now();
    let shared = shared(&hsm, tx, start);
    let pin = Arc::new(pin());
    let mut loopback = Loopback::open(&shared, pin, start, 1_800_000_000).expect("locked memory");
    let mut replies = Vec::new();
    let mut awaits = Awaits::Bytes;
    for piece in bytes.chunks(world.piece) {
        awaits = loopback.feed(&mut piece.to_vec(), &mut replies);
        if !world.late {
            awaits = settle(world, &hsm, &tickets, &mut loopback, &mut replies, awaits);
        }
    }
    awaits = settle(world, &hsm, &tickets, &mut loopback, &mut replies, awaits);
    assert_ne!(awaits, Awaits::Tickets, "a request waits for nobody");
    // Answers to what was given up are no longer anybody's.
    let before = replies.len();
    hsm.answer(world.mood);
    for (waiter, outcome) in tickets.try_iter() {
        loopback.ticket(waiter, outcome, &mut replies);
    }
    assert_eq!(replies.len(), before, "a late ticket was answered");
    drop(loopback);
    assert_eq!(shared.engine.in_flight(), 0, "fetches left over");
    replies
}

/// Until nothing is parked.
fn settle(
    world: World,
    hsm: &ToyHsm,
    tickets: &mpsc::Receiver<(Waiter, Outcome)>,
    loopback: &mut Loopback<'_>,
    replies: &mut Vec<u8>,
    mut awaits: Awaits,
) -> Awaits {
    while awaits == Awaits::Tickets {
        if world.slow {
            awaits = loopback.give_up(replies);
            continue;
        }
        let mut moved = hsm.answer(world.mood);
        for (waiter, outcome) in tickets.try_iter() {
            moved = true;
            awaits = loopback.ticket(waiter, outcome, replies);
        }
        if !moved {
            break;
        }
    }
    awaits
}

fn shared(hsm: &Arc<ToyHsm>, tickets: mpsc::Sender<(Waiter, Outcome)>, start: Instant) -> Shared {
    let metrics = Arc::new(Metrics::new(1));
    let cache = Cache::new(
        &CacheConfig {
            entries_max: 16,
            ttl_s: 600,
            stale_max_s: 0,
        },
        arena(),
        start,
    );
    let engine = Engine::new(
        Arc::new(cache),
        Arc::clone(hsm) as _,
        EngineLimits {
            flights_max: 256,
            waiters_max: 1024,
        },
        Arc::clone(&metrics),
        Time::simulated(start).0,
        move |waiter, outcome| drop(tickets.send((waiter, outcome))),
    );
    let settings = Settings {
        connections_max: 1,
        balancers: Vec::new(),
        body_bytes_max: BODY_BYTES_MAX,
        request_timeout: Duration::from_secs(5),
        handshake_timeout: Duration::from_secs(5),
        receive_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        send_timeout: Duration::from_secs(5),
        sweep_every: Duration::from_secs(1),
        handshake_threads: 1,
        buffered_bytes_max: 1 << 20,
    };
    loopback::shared(engine.expect("random numbers"), metrics, arena(), settings)
        .expect("protocol versions")
}

fn pin() -> Pin {
    let keys = vec!["demo*".to_owned(), "new*".to_owned()];
    let role = Role {
        name: "toy".to_owned(),
        operations: Operations::all(),
        keys,
    };
    Pin {
        alias: "toy".to_owned(),
        subject: "CN=toy".to_owned(),
        fingerprint: [0; 32],
        spki: Vec::new(),
        not_before_unix_s: 0,
        not_after_unix_s: i64::MAX,
        role: Arc::new(role),
        revoked: AtomicBool::new(false),
        issued: None,
    }
}

/// The replies are well-formed to the last byte, and their bodies are JSON.
fn read_answers(asked: &[Asked], replies: &[u8]) -> Vec<Answered> {
    let (mut rest, mut all) = (replies.to_vec(), Vec::new());
    let mut closed = false;
    while !rest.is_empty() {
        assert!(!closed, "an answer after the last");
        let head_only = asked.get(all.len()).is_some_and(|asked| asked.head_only);
        let step = ResponseDecoder::new(head_only)
            .step(&mut rest, usize::MAX, true)
            .map(|progress| match progress {
                ResponseProgress::Response(response, used) => {
                    closed = !response.keep_alive;
                    (
                        Answered {
                            status: response.status,
                            body: response.body.to_vec(),
                        },
                        used,
                    )
                }
                other => panic!("an answer cut short: {other:?}"),
            });
        let Ok((answered, used)) = step else {
            // Told to send a body that never came: the interim answer is the last.
            assert_eq!(rest, kms::wire::http::CONTINUE, "{step:?}");
            return all;
        };
        if !answered.body.is_empty() {
            let json = serde_json::from_slice::<serde_json::Value>(&answered.body);
            let text = String::from_utf8_lossy(&answered.body);
            assert!(
                json.is_ok_and(|json| json.is_object()),
                "a body that is no JSON object: {text}"
            );
        }
        all.push(answered);
        rest.drain(..used);
    }
    all
}

fn check_plaintexts(asked: &Asked, answered: &Answered) {
    let Some(right) = &asked.plaintexts else {
        return;
    };
    let Ok(answer) = transit::parse_answer(Verb::Decrypt, &answered.body) else {
        panic!("an answer that our own client cannot read")
    };
    if answer.batch {
        assert_eq!(answer.items.len(), right.len(), "items of the answer");
    }
    for (item, right) in answer.items.iter().zip(right) {
        let text = item.text.as_ref().map_or("", |text| text.as_str());
        if text.is_empty() {
            continue;
        }
        assert!(item.error.is_none(), "a plaintext beside an error");
        assert!(
            right.is_some() && decode(text) == *right,
            "a wrong plaintext"
        );
    }
}
