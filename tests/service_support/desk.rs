//! An engine on a fake back end, without sockets, with a clock that the test turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kms::api::reply::{Reply, ReplyHead};
use kms::api::{Command, auth};
use kms::cache::{Cache, CacheConfig};
use kms::engine::{Call, Engine, EngineLimits, Flow, Gather, Outcome, Waiter};
use kms::hsm::{ClientTag, Hsm};
use kms::identity::{Pin, Role};
use kms::metrics::Metrics;
use kms::net::time::{Hand, Time};
use kms::quota::{Address, Client, Quota, QuotaConfig};
use kms::secret::{Arena, ArenaPlan};
use kms::wire::transit::{CryptBody, Verb, crypt_body};
use parking_lot::Mutex;

use super::fake_hsm::{FakeHsm, decrypt_body};

type Tickets = Arc<Mutex<Vec<(Waiter, Outcome)>>>;

/// What a test's certificate is good for, seconds since 1970.
pub const VALIDITY_S: (i64, i64) = (1_795_000_000, 1_798_000_000);

pub struct Desk {
    pub engine: Engine,
    pub hsm: Arc<FakeHsm>,
    pub metrics: Arc<Metrics>,
    tickets: Tickets,
    pub pin: Pin,
    client: Arc<Client>,
    pub now: Instant,
    pub unix_s: i64,
}

/// A request on its way.
#[derive(Default)]
pub struct Asking {
    gather: Gather,
    number: u32,
}

impl Asking {
    /// A new request; `number` tells it from others.
    pub fn new(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }
}

/// What a request was answered.
#[derive(Debug, Eq, PartialEq)]
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Said {
    /// `data` of the envelope, or the whole body of another shape.
    pub fn data(&self) -> &str {
        let Some((_, rest)) = self.body.split_once("\"data\":") else {
            return self.body.trim_end();
        };
        rest.split_once(",\"wrap_info\"")
            .map_or(rest, |parts| parts.0)
    }

    pub fn ciphertext(&self) -> String {
        super::transit::ciphertext_of(self.data())
    }
}

/// The body of a decrypt, rewrap or encrypt.
pub fn body(verb: Verb, text: &str) -> CryptBody<'_> {
    crypt_body(verb, text.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// A role that may do everything on the keys that `keys` covers.
pub fn role(keys: &str) -> Role {
    Role {
        name: "backend".to_owned(),
        operations: "all".parse().unwrap(),
        keys: vec![keys.to_owned()],
    }
}

impl Desk {
    pub fn new() -> Self {
        Self::with(3600, 0, Instant::now(), Time::real())
    }

    /// With these lives in the cache, and a clock that [`Desk::pass`] moves.
    pub fn simulated(ttl_s: u32, stale_max_s: u32) -> (Self, Hand) {
        let start = Instant::now();
        let (time, hand) = Time::simulated(start);
        (Self::with(ttl_s, stale_max_s, start, time), hand)
    }

    /// So much time passes.
    pub fn pass(&mut self, hand: &Hand, time: Duration) {
        self.now += time;
        hand.set(self.now);
    }

    fn with(ttl_s: u32, stale_max_s: u32, now: Instant, time: Time) -> Self {
        let plan = ArenaPlan {
            key_bytes: 1 << 20,
            large_count: 2,
            large_bytes: 4096,
            buffer_bytes: 64 * 1024,
            mode: None,
        };
        let arena = Arena::reserve(&plan).unwrap();
        let sizes = CacheConfig {
            entries_max: 100,
            ttl_s,
            stale_max_s,
        };
        let hsm = FakeHsm::new(arena);
        let tickets = Tickets::default();
        let inbox = Arc::clone(&tickets);
        let limits = EngineLimits {
            flights_max: 10,
            waiters_max: 20,
        };
        let metrics = Arc::new(Metrics::new(1));
        let engine = Engine::new(
            Arc::new(Cache::new(&sizes, arena, now)),
            Arc::clone(&hsm) as Arc<dyn Hsm>,
            limits,
            Arc::clone(&metrics),
            time,
            move |waiter, outcome| inbox.lock().push((waiter, outcome)),
        );
        let pin = Pin {
            alias: "cmxbackend".to_owned(),
            subject: "CN=cmxBackend,O=Test".to_owned(),
            fingerprint: [7; 32],
            spki: Vec::new(),
            not_before_unix_s: VALIDITY_S.0,
            not_after_unix_s: VALIDITY_S.1,
            role: Arc::new(role("*")),
            revoked: false.into(),
            issued: None,
        };
        let address = Address::of(([127, 0, 0, 1], 1).into());
        Self {
            engine: engine.unwrap(),
            hsm,
            metrics,
            tickets,
            pin,
            client: Quota::new(&QuotaConfig::UNLIMITED, now).client(&[0; 32], address, now),
            now,
            unix_s: VALIDITY_S.0 + 100,
        }
    }

    /// Runs a request once; `None`: it is parked.
    pub fn run(&self, asking: &mut Asking, command: &Command<'_>) -> Option<Said> {
        let (mut decoded, mut out) = (Vec::new(), Vec::new());
        let mut call = Call {
            pin: &self.pin,
            role: &self.pin.role,
            waiter: Waiter {
                worker: 0,
                conn: 0,
                generation: 0,
                request: asking.number,
                item: 0,
            },
            now: self.now,
            unix_s: self.unix_s,
            deadline: self.now + Duration::from_secs(2),
            quota: &self.client,
            client: ClientTag::default(),
            sent: None,
            decoded: &mut decoded,
        };
        let head = ReplyHead {
            date: b"Mon, 23 Nov 2026 18:28:34 GMT",
            connection: kms::wire::http::Connection::Silent,
            head_only: false,
            request_id: [0; 16],
        };
        let mut reply = Reply::new(&mut out, head);
        let gather = &mut asking.gather;
        match auth::authorise(&self.pin.role, command) {
            Err(fault) => reply.fault(&fault),
            Ok(()) => {
                if self.engine.run(&mut call, command, gather, &mut reply) == Flow::Parked {
                    return None;
                }
            }
        }
        let status = reply.status();
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        Some(Said {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Hands the tickets that have come for a request over.
    pub fn deliver(&self, asking: &mut Asking) {
        let mut tickets = self.tickets.lock();
        let mine = |ticket: &mut (Waiter, Outcome)| ticket.0.request == asking.number;
        let came: Vec<_> = tickets.extract_if(.., mine).collect();
        for (waiter, outcome) in came {
            asking.gather.accept(waiter.item, outcome, true);
        }
    }

    /// Runs a parked request again with the tickets that have come.
    pub fn resume(&self, asking: &mut Asking, command: &Command<'_>) -> Option<Said> {
        self.deliver(asking);
        self.run(asking, command)
    }

    /// Gives up on a parked request and runs it for the last time.
    pub fn give_up(&self, asking: &mut Asking, command: &Command<'_>) -> Option<Said> {
        asking.gather.give_up();
        self.run(asking, command)
    }

    /// Asks until there is an answer; the back end must answer at once.
    pub fn ask(&self, command: &Command<'_>) -> Said {
        let mut asking = Asking::new(u32::MAX);
        for _ in 0..10 {
            if let Some(said) = self.run(&mut asking, command) {
                return said;
            }
            self.deliver(&mut asking);
        }
        panic!("never answered");
    }

    pub fn decrypt(&self, text: &str) -> Said {
        let body = body(Verb::Decrypt, text);
        self.ask(&Command::Decrypt { key: "k", body })
    }

    pub fn encrypt(&self, text: &str) -> Said {
        let body = body(Verb::Encrypt, text);
        self.ask(&Command::Encrypt { key: "k", body })
    }

    pub fn rewrap(&self, text: &str) -> Said {
        let body = body(Verb::Decrypt, text);
        self.ask(&Command::Rewrap { key: "k", body })
    }

    /// Unwraps `plaintext` under version 1; returns the status and how often the HSM was asked for it.
    pub fn unwrap(&self, plaintext: &[u8]) -> (u16, usize) {
        let before = self.hsm.count("decrypt");
        let said = self.decrypt(&decrypt_body(plaintext));
        (said.status, self.hsm.count("decrypt") - before)
    }
}
