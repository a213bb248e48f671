//! Somebody else writes what he likes into the real engine, where the token and the sealing key are: all of it costs
//! misses and no more, and heals by itself.
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
#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant, UNIX_EPOCH};

use cluster_support::{DEK, Event, Node, Site, plan};
use kms::cluster::{Mode, Word};
use support::pki::{KeyKind, Pki};
use support::redis::{Redis, certificates};
use support::{PATIENCE, wait_until};

const TOKEN: &str = "kms:test:epoch";
const KEY: &str = "kms:test:csk";

struct House {
    pki: Pki,
    redis: Redis,
    site: Site,
    _folder: tempfile::TempDir,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), KeyKind::P256);
    certificates(&pki);
    House {
        redis: Redis::standalone(&pki),
        pki,
        site: Site::new(),
        _folder: folder,
    }
}

impl House {
    fn node(&self, name: &str) -> Node {
        let plan = plan(&self.redis, Some(&self.pki), Mode::Standalone, name);
        self.site.node(plan)
    }

    fn script(&self, script: &str) {
        self.redis.cli(0, &["EVAL", script, "0"]);
    }

    /// Two nodes that know each other.
    fn two(&self) -> (Node, Node) {
        let (a, b) = (self.node("a"), self.node("b"));
        a.wait_usable();
        b.wait_usable();
        wait_until("they do not know each other", PATIENCE, || {
            let (a, b) = (a.cluster.report(), b.cluster.report());
            let known = a.peers == ["b"] && b.peers == ["a"];
            (known && a.subscribed && b.subscribed).then_some(())
        });
        (a, b)
    }
}

#[test]
fn token_and_sealing_key_of_any_kind_are_replaced() {
    let house = house();
    let (a, b) = house.two();
    for (kind, make) in [
        ("nonsense", "redis.call('SET',k,'nonsense')"),
        ("immense", "redis.call('SET',k,string.rep('x',3000000))"),
        ("a list", "redis.call('DEL',k) redis.call('LPUSH',k,'x')"),
        ("gone", "redis.call('DEL',k)"),
        ("empty", "redis.call('SET',k,'')"),
    ] {
        for name in [TOKEN, KEY] {
            house.script(&format!("local k='{name}' {make}"));
            // A node without a key needs it; the others go on with theirs.
            let fresh = house.node("fresh");
            fresh.wait_usable();
            wait_until(&format!("{name} {kind}"), PATIENCE, || {
                let ids = [a.key_id(), b.key_id(), fresh.key_id()];
                ids.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
            });
            a.share_with(&b, b"one", &DEK);
            fresh.share_with(&a, b"two", &DEK);
        }
    }
}

#[test]
fn an_old_sealing_key_that_is_brought_back_is_not_used() {
    let house = house();
    let a = house.node("a");
    a.wait_usable();
    // The HSM did wrap it, and whoever could read the engine may have kept it until its key was known.
    let old = house.site.wrapped("test", 1_700_000_000_000);
    for (name, holds) in [
        ("a node that holds a newer one", true),
        ("a fresh node", false),
    ] {
        house.redis.set_bytes(0, KEY, &old);
        let fresh = (!holds).then(|| house.node("fresh"));
        let node = fresh.as_ref().unwrap_or(&a);
        wait_until(name, PATIENCE, || {
            (node.cluster.stats().keys_refused.get() > 0).then_some(())
        });
        node.wait_usable();
        assert!(a.key_id().is_some());
        wait_until("it is not replaced, or not by all", PATIENCE, || {
            let is_old = house.redis.holds(0, KEY, &old);
            (!is_old && node.key_id() == a.key_id()).then_some(())
        });
    }
}

#[test]
fn a_node_whose_clock_is_behind_makes_a_sealing_key_that_all_take() {
    let house = house();
    let (a, b) = house.two();
    let mut known = vec![a.key_id()];
    let mut agreed_on_another = |what| {
        let new = wait_until(what, PATIENCE, || {
            let (a, b) = (a.key_id(), b.key_id());
            (a == b && a.is_some() && !known.contains(&a)).then_some(a)
        });
        known.push(new);
    };
    // As a node made it whose clock is an hour ahead.
    let now_ms = UNIX_EPOCH.elapsed().unwrap().as_millis();
    let ahead_ms = u64::try_from(now_ms).unwrap() + 3_600_000;
    let ahead = house.site.wrapped("test", ahead_ms);
    house.redis.set_bytes(0, KEY, &ahead);
    agreed_on_another("the other's is not taken");
    a.share_with(&b, b"before", &DEK);
    a.cluster.renew_key();
    agreed_on_another("its own is not taken");
    a.share_with(&b, b"after", &DEK);
    b.wait_found(b"before", &DEK);
    let fresh = house.node("fresh");
    fresh.wait_usable();
    assert_eq!(fresh.key_id(), a.key_id());
    for node in [&a, &b, &fresh] {
        assert_eq!(node.cluster.stats().keys_refused.get(), 0);
    }
}

/// The value of the sealing key, its second entry replaced by the first of a copy.
const REVIVE: &str = "local function first(v) return v:sub(5, 18 + v:byte(17) * 256 + v:byte(18)) end \
    local now, old = redis.call('GET', 'kms:test:csk'), redis.call('GET', 'copy') \
    redis.call('SET', 'kms:test:csk', 'KC\\1\\2' .. first(now) .. first(old))";

#[test]
fn an_old_sealing_key_behind_the_one_in_use_is_not_used_either() {
    let house = house();
    let a = house.node("a");
    a.share(b"wrapped", &DEK);
    house.script(&format!("redis.call('COPY', '{KEY}', 'copy')"));
    for _ in 0..2 {
        let before = a.key_id();
        a.cluster.renew_key();
        wait_until("it is not renewed", PATIENCE, || {
            (a.key_id() != before).then_some(())
        });
    }
    let found = || a.look_up(&a.name(b"wrapped"));
    assert_eq!(found(), Ok(None), "two keys later");
    house.script(REVIVE);
    // Keys are looked at once a second.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert_eq!(found(), Ok(None));
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Any token that nodes believe in.
fn token(number: usize) -> String {
    format!("{number:032x}.{number:032x}")
}

#[test]
fn a_token_that_is_rewritten_all_the_time_does_not_empty_the_nodes_all_the_time() {
    let house = house();
    let (_a, b) = house.two();
    b.diary.clear();
    let mut written = 0;
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        written += 1;
        house.redis.cli(0, &["SET", TOKEN, &token(written)]);
        std::thread::park_timeout(Duration::from_millis(30));
    }
    let events = b.diary.all();
    let count = |wanted: &Event| events.iter().filter(|event| *event == wanted).count();
    let (purged, missed) = (count(&Event::Purge(None)), count(&Event::Missed));
    println!("{written} tokens in 3 s: missed {missed} times, purged {purged} times");
    assert!(missed > 10, "{missed}");
    assert_eq!(purged, 1);
}

/// The engine goes, these are announced, and it comes back empty; what the other is told until all is well again.
fn told_after_a_loss(house: &mut House, a: &Node, b: &Node, words: Vec<Word>) -> Vec<Event> {
    house.redis.kill(0);
    wait_until("it is still there", PATIENCE, || {
        (!a.cluster.is_connected() && !b.cluster.is_connected()).then_some(())
    });
    a.diary.clear();
    b.diary.clear();
    for word in words {
        a.cluster.announce(word);
    }
    house.redis.restart(0);
    let last = Event::Grown("last".into());
    wait_until("messages do not come again", PATIENCE, || {
        a.cluster.announce(Word::Grown("last".into()));
        b.diary.all().contains(&last).then(|| b.diary.all())
    })
}

#[test]
fn more_changes_than_can_be_told_are_looked_up_and_empty_nobody() {
    let mut house = house();
    let (a, b) = house.two();
    let many = || (0..200).map(|number| Word::Grown(format!("key{number}")));
    for (name, words) in [
        ("an engine that was emptied", Vec::new()),
        ("more than can be told", many().collect()),
    ] {
        let told = told_after_a_loss(&mut house, &a, &b, words);
        assert!(told.contains(&Event::Missed), "{name}: {told:?}");
        for events in [told, a.diary.all()] {
            assert!(!events.contains(&Event::Purge(None)), "{name}: {events:?}");
        }
    }
    // An order among them is not lost.
    let words = std::iter::once(Word::Purge(None)).chain(many()).collect();
    let told = told_after_a_loss(&mut house, &a, &b, words);
    assert!(told.contains(&Event::Purge(None)), "{told:?}");
}
