//! The back end against servers that answer whatever the test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod fake;
mod messages;
mod metadata;
mod opening;

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use super::Site;
use super::book::Book;
use super::session::{Session, object_id};
use crate::hsm::dial::Address;
use crate::hsm::places::Places;
use crate::hsm::pool::{Served, Session as _};
use crate::hsm::store::Store;
use crate::hsm::{Answer, HsmError, Job, ObjectId, Request};
use crate::secret::{Arena, ArenaPlan, SecretString};
use fake::{Fake, Reply, json};

/// A test never waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(10);
const HEALTHY: &str = r#"{"initialized":true,"sealed":false,"standby":false,"version":"2.7.2"}"#;

type Outcome = Result<Answer, HsmError>;

fn arena() -> &'static Arena {
    static ARENA: OnceLock<&'static Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        let plan = ArenaPlan {
            key_bytes: 64 * 1024,
            large_count: 2,
            large_bytes: 8192,
            buffer_bytes: 1 << 21,
            mode: None,
        };
        Arena::reserve(&plan).unwrap()
    })
}

fn address(port: u16) -> Address {
    Address {
        host: "127.0.0.1".to_owned(),
        port,
        server_name: ServerName::try_from("localhost").unwrap(),
    }
}

/// What a session of the server at `port` needs; with a token.
fn site(port: u16) -> Arc<Site> {
    let site = Site {
        places: Places::new(vec![address(port)], None),
        namespace: Some("team".to_owned()),
        mount: "transit".to_owned(),
        book: Book::default(),
        store: Arc::new(Store::new(arena(), None)),
    };
    site.book.give(SecretString::new("s.token".to_owned()));
    // Nobody keeps it: a refused one is not looked into.
    site.book.checked(Instant::now() + PATIENCE);
    Arc::new(site)
}

/// A server that is well, and answers everything else as `answer` says.
fn healthy(answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::start(move |request, body| match request {
        "GET /v1/sys/health" => json(200, HEALTHY),
        other => answer(other, body),
    })
}

fn open(fake: &Fake) -> Session {
    let site = site(fake.port);
    Session::open(
        &site,
        &site.places.at(0).unwrap(),
        Instant::now() + PATIENCE,
    )
    .unwrap()
}

fn job(request: Request, time: Duration) -> (Job, Receiver<Outcome>) {
    let (sender, receiver) = channel();
    let done = Box::new(move |outcome| sender.send(outcome).unwrap());
    (Job::new(request, Instant::now() + time, done), receiver)
}

fn object(name: &str) -> ObjectId {
    object_id(name, 1, "1795458514")
}

fn unwrap(name: &str, byte: u8) -> Request {
    Request::Decrypt {
        object: object(name),
        sealed: vec![byte; 30],
        associated_data: Vec::new(),
    }
}

/// Has the session do these; what each came to, if it was told.
fn serve(session: &mut Session, requests: Vec<Request>) -> (Served, Vec<Option<Outcome>>) {
    let (jobs, outcomes): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .map(|request| job(request, PATIENCE))
        .unzip();
    let served = session.serve(jobs, None);
    let outcomes = outcomes.iter().map(|outcome| outcome.try_recv().ok());
    (served, outcomes.collect())
}

fn shown(outcome: Option<&Outcome>) -> String {
    match outcome {
        None => "untold".to_owned(),
        Some(Ok(Answer::Plaintext(key))) => {
            key.expose(|plain| String::from_utf8_lossy(plain).into_owned())
        }
        Some(other) => format!("{other:?}"),
    }
}

/// An envelope of results.
fn results(items: &str) -> String {
    format!(
        r#"{{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":{{"batch_results":[{items}]}},"wrap_info":null,"warnings":null,"auth":null}}"#
    )
}

const GOOD: &str = r#"{"plaintext":"b25l","reference":""}"#;
