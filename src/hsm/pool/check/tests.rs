//! Checks by a pool without threads: which are made, and what comes of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::time::Duration;

use super::super::super::fleet::CHECK_EVERY;
use super::super::super::{Answer, Hsm};
use super::super::{Connector, Pace, Pool, PoolPlan, Seat, Served, Unthreaded};
use super::*;
use crate::net::time::{Hand, Time};
use crate::secret::{Arena, ArenaPlan, Mode};

mod keys;

fn job(request: Request) -> Queued {
    Queued {
        job: Job::new(request, Instant::now(), Box::new(|_| {})),
        tried: false,
        since: None,
    }
}

fn wrap(object: &str) -> Queued {
    job(Request::Encrypt {
        object: ObjectId(object.into()),
        plaintext: crate::secret::SecretBytes::new(vec![1]),
        associated_data: Vec::new(),
    })
}

fn unwrap(object: &str) -> Queued {
    job(Request::Decrypt {
        object: ObjectId(object.into()),
        sealed: vec![1],
        associated_data: Vec::new(),
    })
}

fn end(queued: Queued, is_ok: bool) {
    let outcome = Ok(Answer::Sealed(Vec::new()));
    (queued.job.done)(if is_ok { outcome } else { Err(HsmError::Busy) });
}

/// How the fake server takes what it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    Works,
    /// The connection breaks under what is asked, and a new one stands at once.
    Hangs,
    Refuses,
    /// Refuses the key `key`, and no other.
    RefusesKey,
    /// Opens another value than was sealed.
    Lies,
    /// Does not know the key any more.
    Forgot,
}

struct Server {
    mood: Mutex<Mood>,
    /// What it was asked, in order: `wrap`, `unwrap`, `probe`, `connect`.
    asked: Mutex<VecDeque<&'static str>>,
    arena: &'static Arena,
}

impl Server {
    fn note(&self, what: &'static str) {
        self.asked.lock().push_back(what);
    }

    fn asked(&self) -> String {
        let all: Vec<_> = self.asked.lock().drain(..).collect();
        all.join(" ")
    }

    fn answer(&self, request: &Request) -> Result<Answer, HsmError> {
        let stored = |bytes: &[u8]| Answer::Plaintext(self.arena.store(bytes).unwrap());
        let mood = *self.mood.lock();
        let is_key = |request: &Request| match request {
            Request::Encrypt { object, .. } | Request::Decrypt { object, .. } => {
                &*object.0 == "key"
            }
            _ => false,
        };
        match (request, mood) {
            (_, Mood::Refuses | Mood::RefusesKey) if mood == Mood::Refuses || is_key(request) => {
                Err(HsmError::Refused {
                    reason: 7,
                    text: "locked".into(),
                })
            }
            (_, Mood::Forgot) => Err(HsmError::ObjectNotFound),
            (Request::Encrypt { plaintext, .. }, _) => {
                Ok(Answer::Sealed(plaintext.expose().to_vec()))
            }
            (Request::Decrypt { .. }, Mood::Lies) => Ok(stored(b"something else")),
            (Request::Decrypt { sealed, .. }, _) => Ok(stored(sealed)),
            _ => panic!("not asked by a check"),
        }
    }
}

struct Fake(Arc<Server>);

impl Connector for Fake {
    fn servers(&self) -> Vec<Arc<str>> {
        vec!["hsm".into()]
    }
    fn connect(&self, _: usize, _: Instant) -> Result<Box<dyn Session>, String> {
        self.0.note("connect");
        Ok(Box::new(Fake(Arc::clone(&self.0))))
    }
}

impl Session for Fake {
    fn describe(&self) -> String {
        "fake".into()
    }
    fn serve(&mut self, jobs: Vec<Job>, _: Option<Instant>) -> Served {
        let mut served = Served::default();
        for job in jobs {
            let is_wrap = matches!(job.request, Request::Encrypt { .. });
            self.0.note(if is_wrap { "wrap" } else { "unwrap" });
            if *self.0.mood.lock() == Mood::Hangs {
                served.broken = Some("hung".into());
                served.retry.push(job);
            } else {
                let answer = self.0.answer(&job.request);
                served.worked |= answer.is_ok();
                (job.done)(answer);
            }
        }
        served
    }
    fn is_quiet(&mut self) -> bool {
        true
    }
    fn probe(&mut self, _: Instant) -> Result<(), Ailment> {
        self.0.note("probe");
        match *self.0.mood.lock() {
            Mood::Hangs => Err(Ailment::Broken("hung".into())),
            _ => Ok(()),
        }
    }
}

struct World {
    pool: Pool,
    seats: Vec<Seat>,
    server: Arc<Server>,
    hand: Hand,
    start: Instant,
}

impl World {
    fn new(connections: usize) -> Self {
        let plan = ArenaPlan {
            key_bytes: 16 * 1024,
            large_count: 0,
            large_bytes: 0,
            buffer_bytes: 4096,
            mode: Some(Mode::Mlock),
        };
        let server = Arc::new(Server {
            mood: Mutex::new(Mood::Works),
            asked: Mutex::default(),
            arena: Arena::reserve(&plan).unwrap(),
        });
        let start = Instant::now();
        let (time, hand) = Time::simulated(start);
        let plan = PoolPlan {
            name: "fake",
            connections,
            batch_max: 8,
            pipeline_max: 1,
            queue_max: 8,
            connect_timeout: Duration::from_secs(5),
        };
        let connector = Box::new(Fake(Arc::clone(&server)));
        let Unthreaded { pool, seats, .. } = Pool::unthreaded(plan, connector, time, 1);
        let mut world = Self {
            pool,
            seats,
            server,
            hand,
            start,
        };
        world.settle();
        world
    }

    /// Steps each seat until it has nothing to do.
    fn settle(&mut self) {
        for seat in &mut self.seats {
            while seat.step() == Pace::Now {}
        }
    }

    /// To so many milliseconds after the start: what the server was asked.
    fn at(&mut self, ms: u64) -> String {
        self.hand.set(self.start + Duration::from_millis(ms));
        self.settle();
        self.server.asked()
    }

    /// A client wraps something; whether it could.
    fn wrap(&mut self) -> bool {
        self.wrap_with("key")
    }

    fn wrap_with(&mut self, key: &str) -> bool {
        let (tell, told) = mpsc::channel();
        let Queued { mut job, .. } = wrap(key);
        job.deadline = self.hand.now() + Duration::from_secs(1);
        job.done = Box::new(move |outcome| tell.send(outcome.is_ok()).unwrap());
        self.pool.submit(job);
        self.settle();
        told.try_recv().unwrap()
    }

    fn turn(&self, mood: Mood) {
        *self.server.mood.lock() = mood;
    }

    /// Whether it is up, and whether it is refused.
    fn health(&self) -> (bool, bool) {
        let health = self.pool.health();
        (health.up, health.access.refused.is_some())
    }
}

const EVERY_MS: u64 = 1000 * CHECK_EVERY.as_secs();

#[test]
fn an_idle_server_is_checked_once_in_ten_seconds_by_one_connection() {
    let mut world = World::new(3);
    assert_eq!(world.at(0), "connect connect connect");
    for (name, ms, want) in [
        ("connecting showed it", EVERY_MS - 1, ""),
        ("due: no key is known", EVERY_MS, "probe"),
        // The two connections that were not used are kept alive.
        ("not yet again", 2 * EVERY_MS - 1, "probe probe"),
        ("due", 2 * EVERY_MS, "probe"),
    ] {
        assert_eq!(world.at(ms), want, "{name}");
    }
    assert_eq!(world.pool.metrics().unwrap().checks.get(), 2);
}

#[test]
fn clients_work_counts_and_lends_its_key() {
    let mut world = World::new(1);
    world.at(EVERY_MS - 1);
    assert!(world.wrap());
    assert_eq!(world.at(EVERY_MS), "wrap", "the client's");
    assert_eq!(world.at(2 * EVERY_MS - 2), "");
    assert_eq!(world.at(2 * EVERY_MS - 1), "wrap unwrap", "a check");
    world
        .hand
        .set(world.start + Duration::from_millis(4 * EVERY_MS));
    assert!(world.wrap());
    assert_eq!(
        world.at(4 * EVERY_MS),
        "wrap",
        "what waits comes first, and will do"
    );
    world.turn(Mood::Forgot);
    assert_eq!(
        world.at(5 * EVERY_MS),
        "wrap probe",
        "the key is the trouble"
    );
    assert_eq!(world.health(), (true, false));
    world.turn(Mood::Works);
    assert_eq!(world.at(6 * EVERY_MS), "probe", "no key is known any more");
}

#[test]
fn a_server_that_fails_a_check_is_not_up_until_something_succeeds() {
    for (mood, health, asked) in [
        (Mood::Hangs, (false, false), "wrap connect"),
        (Mood::Refuses, (true, true), "wrap wrap"),
        (Mood::Lies, (true, true), "wrap unwrap"),
    ] {
        let mut world = World::new(1);
        assert!(world.wrap() && world.wrap_with("other"));
        world.at(0);
        world.turn(mood);
        assert_eq!(world.at(EVERY_MS - 1), "", "{mood:?}");
        assert_eq!(world.health(), (true, false), "{mood:?}: not known yet");
        assert_eq!(world.at(EVERY_MS), asked, "{mood:?}");
        assert_eq!(world.health(), health, "{mood:?}");
        let state = world.pool.servers().remove(0);
        assert!(state.trouble.is_some(), "{mood:?}: {state:?}");
        assert_eq!(world.at(EVERY_MS + 499), "", "{mood:?}: not at once");
        world.turn(Mood::Works);
        assert_eq!(world.at(EVERY_MS + 500), "wrap unwrap", "{mood:?}");
        assert_eq!(world.health(), (true, false), "{mood:?}: well again");
        let metrics = world.pool.metrics().unwrap();
        assert_eq!((metrics.checks.get(), metrics.checks_failed.get()), (1, 1));
    }
}

#[test]
fn a_clients_success_ends_a_trouble_too() {
    let mut world = World::new(1);
    assert!(world.wrap() && world.wrap_with("other"));
    world.turn(Mood::Refuses);
    world.at(EVERY_MS);
    for (name, mood, is_done) in [
        ("a refusal is no success", Mood::Refuses, false),
        ("a success", Mood::Works, true),
    ] {
        assert_eq!(world.health(), (true, true), "{name}: before");
        world.turn(mood);
        assert_eq!(world.wrap(), is_done, "{name}");
        assert_eq!(world.health(), (true, !is_done), "{name}");
    }
}

#[test]
fn refusals_of_what_clients_ask_do_not_put_a_check_off() {
    let mut world = World::new(1);
    assert!(world.wrap() && world.wrap_with("other"));
    world.at(EVERY_MS - 1);
    world.turn(Mood::Refuses);
    assert!(!world.wrap());
    assert_eq!(
        world.at(EVERY_MS),
        "wrap wrap wrap",
        "the client's, a check"
    );
    assert_eq!(world.health(), (true, true));
}

#[test]
fn one_key_of_two_that_is_refused_is_no_trouble_of_the_servers() {
    let mut world = World::new(1);
    assert!(world.wrap());
    assert!(world.wrap_with("other"));
    world.at(0);
    world.turn(Mood::RefusesKey);
    assert_eq!(world.at(EVERY_MS), "wrap wrap unwrap");
    assert_eq!(world.health(), (true, false));
    assert_eq!(world.at(2 * EVERY_MS), "wrap unwrap", "forgotten");
    assert_eq!(world.pool.metrics().unwrap().checks_failed.get(), 0);
}

#[test]
fn the_only_key_that_is_refused_is_told_of_the_server() {
    let mut world = World::new(1);
    assert!(world.wrap());
    world.at(0);
    world.turn(Mood::RefusesKey);
    assert_eq!(world.at(EVERY_MS), "wrap");
    assert_eq!(world.health(), (true, true));
    assert_eq!(world.pool.metrics().unwrap().checks_failed.get(), 1);
}
