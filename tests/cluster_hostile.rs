//! The shared cache against an engine that answers as none should, and one that somebody else writes into: lookups
//! end within their budget with nothing believed, and all is well again once the engine is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::doc_markdown,
    missing_docs
)]

#[path = "cluster_support/mod.rs"]
mod cluster_support;
#[path = "cluster_support/engine.rs"]
mod engine;
#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster_support::{DEK, Node, Site, plan_at};
use engine::{Engine, Reaction};
use kms::cluster::{Access, Mode};
use kms::secret::SecretString;
use support::{PATIENCE, wait_until};

const BUDGET: Duration = Duration::from_millis(100);
/// For how long an engine answers as none should.
const SPELL: Duration = Duration::from_millis(800);
/// Connections that a node makes meanwhile, for commands and for messages together: rests of 10, 20, 40 ms and so
/// on. Without growing rests it is more than fifty.
const CONNECTIONS_MAX: usize = 18;

fn node(site: &Site, engine: &Engine) -> Node {
    let access = Access {
        tls: None,
        server_name: None,
        username: None,
        password: SecretString::default(),
    };
    let place = ("127.0.0.1".to_owned(), engine.port);
    let mut plan = plan_at(&[place], access, Mode::Standalone, "a");
    plan.budget = BUDGET;
    site.node(plan)
}

fn is_record(command: &[Vec<u8>]) -> bool {
    matches!(command[0].as_slice(), b"GET" | b"GETRANGE")
        && command[1].windows(3).any(|part| part == b":d:")
}

fn is(word: &'static str) -> impl Fn(&[Vec<u8>]) -> bool {
    move |command| command[0] == word.as_bytes()
}

type Which = Box<dyn Fn(&[Vec<u8>]) -> bool + Send>;

fn rows() -> Vec<(&'static str, Which, Reaction)> {
    let say = |bytes: &[u8]| Reaction::Say(bytes.to_vec());
    let record = || Box::new(is_record) as Which;
    let many = [b"*60000\r\n".to_vec(), b":1\r\n".repeat(60_000)].concat();
    vec![
        ("a number", record(), say(b":1\r\n")),
        ("an array", record(), say(b"*1\r\n$1\r\nx\r\n")),
        ("many values", record(), Reaction::Say(many)),
        ("another protocol", record(), say(b"HTTP/1.1 400 Bad\r\n")),
        ("a huge length", record(), say(b"$2000000000\r\n")),
        ("a negative length", record(), say(b"$-7\r\n")),
        ("deep", record(), Reaction::Say(b"*1\r\n".repeat(5000))),
        ("no line end", record(), Reaction::Say(vec![b'+'; 5000])),
        ("two for one", record(), say(b"$-1\r\n$-1\r\n")),
        ("half of one", record(), say(b"$80\r\nKL2")),
        ("byte by byte", record(), Reaction::Trickle(b"+".to_vec())),
        ("the end", record(), Reaction::Close),
        ("nothing", record(), Reaction::Silence),
        (
            "moved to nowhere",
            record(),
            say(b"-MOVED 1 \r\n"),
        ),
        ("read only", record(), say(b"-READONLY no\r\n")),
        ("a token that is a number", Box::new(|command| command[0].starts_with(b"GET") && command[1].ends_with(b":epoch")), say(b":1\r\n")),
        ("a sealing key that is an array", Box::new(|command| command[0].starts_with(b"GET") && command[1].ends_with(b":csk")), say(b"*0\r\n")),
        ("the role of a replica", Box::new(is("ROLE")), say(b"*1\r\n$5\r\nslave\r\n")),
        ("a role that is none", Box::new(is("ROLE")), say(b"*3\r\n*0\r\n$-1\r\n:1\r\n")),
        ("the end at PING", Box::new(is("PING")), Reaction::Close),
        (
            "messages without end",
            Box::new(is("SUBSCRIBE")),
            Reaction::Trickle(b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n".to_vec()),
        ),
        ("no subscription", Box::new(is("SUBSCRIBE")), say(b"-ERR no\r\n")),
        ("the end at SUBSCRIBE", Box::new(is("SUBSCRIBE")), Reaction::Close),
        (
            "a message too long",
            Box::new(is("SUBSCRIBE")),
            say(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1048577\r\n"),
        ),
    ]
}

#[test]
fn whatever_the_engine_answers_is_a_miss_in_time() {
    let site = Site::new();
    for (name, which, reaction) in rows() {
        let engine = Engine::start();
        let node = node(&site, &engine);
        node.share(b"one", &DEK);
        let connections = engine.connections();
        engine.twist(move |command| which(command).then(|| reaction.clone()));
        let mut longest = Duration::ZERO;
        let end = Instant::now() + SPELL;
        while Instant::now() < end {
            let begun = Instant::now();
            if let Some(named) = node.cluster.name(&cluster_support::what(b"one"), begun) {
                let found = node.look_up(&named);
                assert!(
                    !matches!(&found, Ok(Some(key)) if *key != DEK),
                    "{name}: {found:?}"
                );
            }
            longest = longest.max(begun.elapsed());
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let made = engine.connections() - connections;
        assert!(
            longest < BUDGET + Duration::from_millis(400),
            "{name}: a lookup took {longest:?}"
        );
        assert!(made <= CONNECTIONS_MAX, "{name}: {made} connections");
        engine.be_honest();
        node.share(b"two", &DEK);
        let begun = Instant::now();
        drop(node);
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(2),
            "{name}: ending took {took:?}"
        );
        println!("{name}: the longest lookup took {longest:?}, {made} connections");
    }
}

/// Asks for the token's value, or writes it.
fn is_token(command: &[Vec<u8>]) -> bool {
    command.get(1).is_some_and(|name| name.ends_with(b":epoch"))
}

#[test]
fn an_engine_that_takes_no_writes_is_asked_no_more_than_it_is_polled() {
    let site = Site::new();
    let engine = Engine::start();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    engine.twist(move |command| {
        let refused = Reaction::Say(b"-MISCONF no writes\r\n".to_vec());
        counter.fetch_add(is_token(command).into(), Ordering::SeqCst);
        (is_token(command) && command[0] == b"SET").then_some(refused)
    });
    let _node = node(&site, &engine);
    wait_until("the token is not looked for", PATIENCE, || {
        (asked.load(Ordering::SeqCst) > 5).then_some(())
    });
    let before = asked.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_secs(1));
    // A look every 100 ms, and for each two attempts of two commands.
    let within_a_second = asked.load(Ordering::SeqCst) - before;
    assert!(within_a_second <= 100, "{within_a_second} commands");
}
