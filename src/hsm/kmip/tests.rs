//! The KMIP back end against an HSM that lies, over real TLS on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::super::pool::{PoolPlan, Served, Session as _};
use super::super::{Answer, Hsm, HsmError, Job, ObjectId, Request};
use super::*;
use crate::secret::SecretBytes;
use fake::{Act, FakeHsm, Lie, Payload, Said, World, cipher, soon, store, tag};

mod fake;
mod family;
mod lies;
mod names;
mod opening;
mod pipeline;

type Outcome = Result<Answer, HsmError>;

/// A session of its own, without the pool's threads.
fn open(hsm: &FakeHsm, login: Option<Login>) -> Result<Session, String> {
    open_as(hsm.plan(login))
}

fn open_as(plan: KmipPlan) -> Result<Session, String> {
    let connector = KmipConnector::shared(plan, store());
    connector.open(&connector.places.at(0).unwrap(), soon())
}

fn job(request: Request, deadline: Instant) -> (Job, Receiver<Outcome>) {
    let (tx, rx) = channel();
    let done = Box::new(move |result| tx.send(result).unwrap());
    (
        Job {
            request,
            deadline,
            client: crate::hsm::ClientTag::default(),
            sent: None,
            done,
        },
        rx,
    )
}

/// What became of each job: `None`, it is to be retried or was not sent.
fn serve(
    session: &mut Session,
    requests: Vec<Request>,
    deadline: Instant,
) -> (Vec<Option<Outcome>>, Served) {
    let (jobs, results): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .map(|request| job(request, deadline))
        .unzip();
    let served = session.serve(jobs, None);
    let outcomes = results.iter().map(|rx| rx.try_recv().ok()).collect();
    (outcomes, served)
}

fn ask(session: &mut Session, request: Request) -> Outcome {
    let (mut outcomes, served) = serve(session, vec![request], soon());
    assert_eq!(served.broken, None);
    outcomes.remove(0).expect("an outcome")
}

fn object(uid: &str) -> ObjectId {
    ObjectId(uid.into())
}

fn sealed(plain: &[u8]) -> Vec<u8> {
    let data = cipher(plain);
    [&[9; 12][..], &data, &tag(&data, &[9; 12], b"aad")].concat()
}

fn decrypt(uid: &str, sealed: Vec<u8>) -> Request {
    Request::Decrypt {
        object: object(uid),
        sealed,
        associated_data: b"aad".to_vec(),
    }
}

fn plaintext(outcome: Outcome) -> Result<Vec<u8>, HsmError> {
    outcome.map(|answer| match answer {
        Answer::Plaintext(key) => key.expose(<[u8]>::to_vec),
        other => panic!("{other:?}"),
    })
}

#[test]
fn wraps_and_unwraps_short_and_long() {
    let hsm = FakeHsm::start(World::default());
    let mut session = open(&hsm, None).unwrap();
    for len in [1, 32, 512, 16 * 1024, 30 * 1024, 200 * 1024] {
        let plain: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let wrap = Request::Encrypt {
            object: object("uid-1"),
            plaintext: SecretBytes::new(plain.clone()),
            associated_data: b"aad".to_vec(),
        };
        let Ok(Answer::Sealed(wrapped)) = ask(&mut session, wrap) else {
            panic!("{len} bytes")
        };
        assert_eq!(wrapped.len(), len + 28);
        let unwrapped = plaintext(ask(&mut session, decrypt("uid-1", wrapped)));
        assert_eq!(unwrapped, Ok(plain), "{len} bytes");
    }
    assert!(session.is_quiet());
}

#[test]
fn one_failing_item_says_why_and_costs_the_others_nothing() {
    for (wrong_tag, batch_max) in [(0x0A, 64), (0x100, 64), (0x0A, 2)] {
        let mut world = World {
            batch_max,
            wrong_tag,
            ..World::default()
        };
        world.keys.push(fake::key("uid-2", "sleeping", 1));
        let hsm = FakeHsm::start(world);
        let mut session = open(&hsm, None).unwrap();
        let mut forged = sealed(b"forged");
        forged[20] ^= 1;
        let requests = vec![
            decrypt("uid-1", sealed(b"first")),
            decrypt("uid-1", forged),
            decrypt("uid-9", sealed(b"missing")),
            decrypt("uid-2", sealed(b"not active")),
            decrypt("uid-1", vec![1; 27]),
            decrypt("uid-1", sealed(b"last")),
        ];
        let (outcomes, served) = serve(&mut session, requests, soon());
        let got: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| plaintext(outcome.expect("an outcome")))
            .collect();
        let state = crate::hsm::KeyState::PreActive;
        let want = [
            Ok(b"first".to_vec()),
            Err(HsmError::AuthenticationFailed),
            Err(HsmError::ObjectNotFound),
            Err(HsmError::NotActive { state }),
            Err(HsmError::AuthenticationFailed),
            Ok(b"last".to_vec()),
        ];
        assert_eq!(got, want, "tag reason {wrong_tag:#x}, batch {batch_max}");
        assert_eq!(served.broken, None);
        assert!(session.is_quiet());
    }
}

#[test]
fn bytes_that_cannot_hold_a_tag_never_reach_the_hsm() {
    let hsm = FakeHsm::start(World::default());
    let mut session = open(&hsm, None).unwrap();
    let seen = hsm.world.lock().seen.len();
    // The nonce, a ciphertext of 32 and a tag cut to 4 bytes is long enough, and the tag then wrong.
    for len in [0, 1, 12, 27] {
        let outcome = ask(&mut session, decrypt("uid-1", vec![0; len]));
        assert_eq!(
            plaintext(outcome),
            Err(HsmError::AuthenticationFailed),
            "{len} bytes"
        );
    }
    assert_eq!(hsm.world.lock().seen.len(), seen);
}

#[test]
fn a_job_past_its_deadline_costs_no_connection() {
    let hsm = FakeHsm::start(World::default());
    let mut session = open(&hsm, None).unwrap();
    let seen = hsm.world.lock().seen.len();
    let requests = vec![
        decrypt("uid-1", sealed(b"late")),
        Request::Find {
            name: "demo".into(),
        },
    ];
    let (outcomes, served) = serve(&mut session, requests, Instant::now());
    for outcome in outcomes {
        assert_eq!(outcome.unwrap().map(drop), Err(HsmError::TimedOut));
    }
    assert_eq!(served.broken, None);
    assert_eq!(hsm.world.lock().seen.len(), seen);
}

fn pool(hsm: &FakeHsm) -> Pool {
    let sizes = PoolPlan {
        name: "kmip1",
        connections: 1,
        batch_max: 32,
        pipeline_max: 1,
        queue_max: 100,
        connect_timeout: Duration::from_secs(20),
    };
    let store = Store::new(store().arena(), None);
    start(hsm.plan(None), sizes, store).unwrap()
}

fn ask_pool(pool: &Pool, request: Request, deadline: Instant) -> Outcome {
    let (job, rx) = job(request, deadline);
    pool.submit(job);
    rx.recv_timeout(Duration::from_secs(30))
        .expect("an outcome")
}

/// Lies once about a Decrypt, and is honest ever after.
fn once(act: impl FnOnce(&[u8]) -> Act + Send + 'static) -> Lie {
    let mut act = Some(act);
    Box::new(move |said: &mut Vec<Said>, honest: &[u8]| {
        let decrypts = matches!(&said[0].result, Ok(Payload::Decrypted { .. }));
        match act.take_if(|_| decrypts) {
            Some(act) => act(honest),
            None => Act::Send,
        }
    })
}

#[test]
fn a_broken_connection_is_replaced() {
    type Row = (&'static str, Lie, Result<Vec<u8>, HsmError>);
    let rows: [Row; 4] = [
        (
            "ends before its answer: asked again, and the client sees nothing",
            once(|_| Act::End),
            Ok(b"first".to_vec()),
        ),
        (
            "no KMIP",
            once(|_| Act::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
            Err(HsmError::Protocol("the HSM's answer is no KMIP message")),
        ),
        ("never", once(|_| Act::Hang), Err(HsmError::TimedOut)),
        (
            "another answer behind the first, unasked",
            once(|honest| Act::Bytes([honest, honest].concat())),
            Err(HsmError::Protocol("the HSM sent bytes behind its answer")),
        ),
    ];
    for (name, lie, want) in rows {
        let hsm = FakeHsm::start(World {
            lie,
            ..World::default()
        });
        let pool = pool(&hsm);
        let patience = match want {
            Err(HsmError::TimedOut) => Duration::from_millis(300),
            _ => Duration::from_secs(20),
        };
        // The pool may still be connecting, which must not use up the patience.
        let find = Request::Find {
            name: "demo".into(),
        };
        assert!(ask_pool(&pool, find, soon()).is_ok(), "{name}");
        let first = decrypt("uid-1", sealed(b"first"));
        let first = ask_pool(&pool, first, Instant::now() + patience);
        assert_eq!(plaintext(first), want, "{name}");
        let second = ask_pool(&pool, decrypt("uid-1", sealed(b"second")), soon());
        assert_eq!(plaintext(second), Ok(b"second".to_vec()), "{name}");
        assert_eq!(hsm.world.lock().connections, 2, "{name}");
    }
}
