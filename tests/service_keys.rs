//! What the engine knows of keys as time passes: refreshed, changed, gone. Time is an argument here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kms::api::reply::{Reply, ReplyHead};
use kms::cache::{Cache, CacheConfig};
use kms::engine::{Call, Engine, EngineLimits, Flow, Gather, Outcome, Waiter};
use kms::hsm::{Hsm, HsmError, KeyState};
use kms::identity::Role;
use kms::keys::METADATA_TTL;
use kms::metrics::Metrics;
use kms::secret::{Arena, ArenaPlan};
use kms::wire::http::{Progress, RequestDecoder};
use parking_lot::Mutex;
use service_support::client::request;
use service_support::fake_hsm::{FakeHsm, decrypt_body, record};

/// Answers are kept as of the real time, which is a little later than a test's.
const REFRESH_DUE: Duration = METADATA_TTL.saturating_add(Duration::from_mins(1));

type Tickets = Arc<Mutex<Vec<(Waiter, Outcome)>>>;

/// An engine on a fake back end, with a clock that the test turns.
struct Desk {
    engine: Engine,
    hsm: Arc<FakeHsm>,
    tickets: Tickets,
    role: Role,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let plan = ArenaPlan {
            key_bytes: 1 << 20,
            large_count: 2,
            large_bytes: 4096,
            buffer_bytes: 64 * 1024,
            mode: None,
        };
        let arena = Arena::reserve(&plan).unwrap();
        let now = Instant::now();
        let cache = Cache::new(
            &CacheConfig {
                entries_max: 100,
                ttl_s: 3600,
                stale_max_s: 0,
            },
            arena,
            now,
        );
        let hsm = FakeHsm::new(arena);
        let tickets = Tickets::default();
        let inbox = Arc::clone(&tickets);
        let engine = Engine::new(
            Arc::new(cache),
            Arc::clone(&hsm) as Arc<dyn Hsm>,
            EngineLimits {
                flights_max: 10,
                waiters_max: 10,
            },
            Arc::new(Metrics::new(1)),
            now,
            move |waiter, outcome| inbox.lock().push((waiter, outcome)),
        );
        let role = Role {
            name: "all".to_owned(),
            operations: "encrypt,decrypt,create,read".parse().unwrap(),
            keys: vec!["*".to_owned()],
        };
        Self {
            engine: engine.unwrap(),
            hsm,
            tickets,
            role,
            now,
        }
    }

    /// Runs an unwrap until it is answered; returns the status and how often the HSM was asked for it.
    fn unwrap(&self, plaintext: &[u8]) -> (u16, usize) {
        let before = self.hsm.count("decrypt");
        let mut bytes =
            request("POST", "/v1/transit/decrypt/k", &decrypt_body(plaintext)).into_bytes();
        let mut gather = Gather::default();
        for _ in 0..5 {
            let mut decoder = RequestDecoder::default();
            let Ok(Progress::Request(request, _)) = decoder.step(&mut bytes, 4096) else {
                panic!("no request");
            };
            let command = kms::api::parse(&request).unwrap_or_else(|fault| panic!("{fault:?}"));
            let waiter = Waiter {
                worker: 0,
                conn: 0,
                generation: 0,
                request: 0,
                item: 0,
            };
            let (now, mut decoded, mut out) = (self.now, Vec::new(), Vec::new());
            let deadline = now + Duration::from_secs(2);
            let mut call = Call {
                client: kms::hsm::ClientTag::default(),
                sent: None,
                role: &self.role,
                waiter,
                now,
                deadline,
                decoded: &mut decoded,
            };
            let date = b"Mon, 23 Nov 2026 18:28:34 GMT";
            let head = ReplyHead {
                date,
                keep_alive: true,
                head_only: false,
                request_id: [0; 16],
            };
            let mut reply = Reply::new(&mut out, head);
            if self
                .engine
                .run(&mut call, &command, &mut gather, &mut reply)
                == Flow::Answered
            {
                return (reply.status(), self.hsm.count("decrypt") - before);
            }
            for (waiter, outcome) in self.tickets.lock().drain(..) {
                gather.accept(waiter.item, outcome, true);
            }
        }
        panic!("never answered");
    }
}

#[test]
fn a_record_is_refreshed_behind_warm_unwraps() {
    let mut desk = Desk::new();
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    assert_eq!(desk.unwrap(b"x"), (200, 0), "warm");
    desk.now += REFRESH_DUE;
    assert_eq!(desk.unwrap(b"x"), (200, 0), "warm while it is refreshed");
    assert_eq!(desk.hsm.count("find"), 2, "refreshed");
}

#[test]
fn what_a_refresh_shows_decides_over_what_is_cached() {
    let changed = |state| {
        let mut changed = (*record("k", "object-1")).clone();
        changed.versions[0].state = state;
        changed
    };
    let mut raised = (*record("k", "object-1")).clone();
    raised.min_decryption_version = 2;
    let same = || (*record("k", "object-1")).clone();
    let other = (*record("k", "object-2")).clone();
    let deactivated = changed(KeyState::Deactivated);
    let destroyed = changed(KeyState::Destroyed);
    for (name, next, purged, want) in [
        ("the same", same(), 0, (200, 0)),
        ("another object", other, 1, (200, 1)),
        ("deactivated", deactivated, 1, (200, 0)),
        ("destroyed", destroyed, 1, (400, 0)),
        ("minimum raised", raised, 1, (400, 0)),
    ] {
        let mut desk = Desk::new();
        assert_eq!(desk.unwrap(b"x"), (200, 1), "{name}");
        desk.hsm.set_key(Arc::new(next));
        assert_eq!(desk.unwrap(b"x"), (200, 0), "{name}: not looked at yet");
        desk.now += REFRESH_DUE;
        // This sets the refresh off, and the fake answers at once: what changed is purged by then.
        assert_eq!(desk.unwrap(b"x"), (200, purged), "{name}: purged");
        assert_eq!(desk.unwrap(b"y").0, want.0, "{name}: a cold one");
        assert_eq!(desk.unwrap(b"x"), want, "{name}");
    }
}

#[test]
fn a_key_that_is_gone_is_gone_and_an_outage_is_not() {
    let mut desk = Desk::new();
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    desk.hsm.fail(Some(HsmError::Unavailable("down".into())));
    desk.now += REFRESH_DUE;
    desk.unwrap(b"x");
    assert_eq!(desk.unwrap(b"x"), (200, 0), "warm through an outage");
    assert_eq!(desk.unwrap(b"cold").0, 503);
    desk.hsm.fail(None);
    desk.hsm.remove_key("k");
    desk.now += REFRESH_DUE;
    desk.unwrap(b"x");
    assert_eq!(desk.unwrap(b"x"), (400, 0), "gone");
}

#[test]
fn a_refusal_is_remembered_for_five_seconds() {
    let mut desk = Desk::new();
    assert_eq!(desk.unwrap(b"warm").0, 200);
    desk.hsm.fail(Some(HsmError::AuthenticationFailed));
    assert_eq!(desk.unwrap(b"x"), (400, 1));
    desk.hsm.fail(None);
    assert_eq!(desk.unwrap(b"x"), (400, 0), "remembered");
    desk.now += Duration::from_secs(6);
    assert_eq!(desk.unwrap(b"x"), (200, 1), "asked again");
}
