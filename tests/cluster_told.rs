//! What the nodes of a shared cache tell each other through one real Redis, and what they notice untold.
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

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster_support::{DEK, Event, House, Node, POLL_EVERY, Site, house, plan};
use kms::cluster::{Mode, Word};
use support::redis::Redis;
use support::{PATIENCE, wait_until};

/// Two nodes that know each other; the second looks at the token so often.
fn two(house: &House, redis: &Redis, site: &Site, poll_every: Duration) -> (Node, Node) {
    let plan = |name| plan(redis, Some(&house.pki), Mode::Standalone, name);
    let a = site.node(plan("a"));
    let mut plan_of_b = plan("b");
    plan_of_b.poll_every = poll_every;
    let b = site.node(plan_of_b);
    a.wait_usable();
    wait_until("they do not know each other", PATIENCE, || {
        let is_told = b.cluster.report().subscribed && b.key_id() == a.key_id();
        (is_told && a.cluster.report().peers == ["b"]).then_some(())
    });
    (a, b)
}

/// Announces `word`, which `b` is told as `want` and by nothing else; how long that took.
fn told(a: &Node, b: &Node, name: &str, word: Word, want: &Event) -> Duration {
    b.diary.clear();
    let begun = Instant::now();
    a.cluster.announce(word);
    let at = b.diary.when(name, |event| event == want);
    let all = b.diary.all();
    assert!(!all.contains(&Event::Missed), "{name}: {all:?}");
    at.saturating_duration_since(begun)
}

#[test]
fn a_change_is_told_by_its_message() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    // A look at the token that is quicker than the message is right as well, but not what this is about.
    let (a, b) = two(&house, &redis, &site, 10 * PATIENCE);
    let key = || "k".to_owned();
    for (name, word, want) in [
        ("withdrawn", Word::Withdrawn(key()), Event::Withdrawn(key())),
        ("grown", Word::Grown(key()), Event::Grown(key())),
        ("purged", Word::Purge(None), Event::Purge(None)),
        (
            "one purged",
            Word::Purge(Some(key())),
            Event::Purge(Some(key())),
        ),
    ] {
        let took = told(&a, &b, name, word, &want);
        println!("{name}: told after {took:?}");
    }
}

#[test]
fn changes_reach_the_other_nodes_also_when_messages_are_lost() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let (a, b) = two(&house, &redis, &site, POLL_EVERY);
    b.wait_usable();
    let mut longest = Duration::ZERO;
    for round in 0..5 {
        b.diary.clear();
        redis.cli(0, &["CLIENT", "KILL", "TYPE", "pubsub"]);
        let begun = Instant::now();
        a.cluster.announce(Word::Withdrawn("k".into()));
        let at = b.diary.when("a lost message", |event| {
            matches!(event, Event::Missed | Event::Withdrawn(_))
        });
        longest = longest.max(at.saturating_duration_since(begun));
        wait_until("not subscribed again", PATIENCE, || {
            (a.cluster.report().subscribed && b.cluster.report().subscribed).then_some(())
        });
        assert!(round < 5);
    }
    println!("message lost: noticed after {longest:?} at most");
}

#[test]
fn a_token_that_goes_back_or_is_nonsense_counts_as_changed() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let node = |name| site.node(plan(&redis, Some(&house.pki), Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    a.wait_usable();
    b.wait_usable();
    wait_until("not subscribed", PATIENCE, || {
        b.cluster.report().subscribed.then_some(())
    });
    // The token goes back, as after a failover that lost the last writes.
    let token = redis.cli(0, &["GET", "kms:test:epoch"]);
    a.cluster.announce(Word::Withdrawn("k".into()));
    b.diary.when("the change", |event| {
        matches!(event, Event::Missed | Event::Withdrawn(_))
    });
    b.diary.clear();
    redis.cli(0, &["SET", "kms:test:epoch", token.trim()]);
    b.diary
        .when("the token going backwards", |event| *event == Event::Missed);
    // Nonsense in its place is replaced.
    b.diary.clear();
    redis.cli(0, &["SET", "kms:test:epoch", "nonsense"]);
    b.diary
        .when("the nonsense", |event| *event == Event::Missed);
    a.share_with(&b, b"after", &DEK);
}

#[test]
fn an_order_tells_who_obeyed_and_empties_the_shared_cache() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let node = |name| site.node(plan(&redis, Some(&house.pki), Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    let mut c = Some(node("c"));
    a.share(b"one", &DEK);
    let before = a.name(b"one");
    wait_until("they do not know each other", PATIENCE, || {
        (a.cluster.report().peers == ["b", "c"]).then_some(())
    });
    let obeyed = a.cluster.order(Word::Purge(None));
    assert!(obeyed.published);
    assert_eq!(
        (obeyed.acknowledged, obeyed.silent.len()),
        (vec!["b".to_owned(), "c".to_owned()], 0)
    );
    assert_eq!(
        b.look_up(&b.name(b"one")),
        Ok(None),
        "the old one is not looked at"
    );
    a.put(&before, &DEK);
    assert_eq!(
        b.look_up(&b.name(b"one")),
        Ok(None),
        "nor one that was on its way"
    );
    c.take();
    // Who has said that it leaves is not waited for.
    let obeyed = a.cluster.order(Word::Purge(Some("k".into())));
    assert_eq!(
        (obeyed.acknowledged, obeyed.silent.len()),
        (vec!["b".to_owned()], 0)
    );
}

#[test]
fn forged_messages_are_not_obeyed() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let b = site.node(plan(&redis, Some(&house.pki), Mode::Standalone, "b"));
    b.wait_usable();
    wait_until("not subscribed", PATIENCE, || {
        b.cluster.report().subscribed.then_some(())
    });
    let token = redis.cli(0, &["GET", "kms:test:epoch"]);
    let token = token.trim();
    let id = b.key_id().unwrap();
    let mac = "0".repeat(64);
    let long = "x".repeat(100_000);
    for line in [
        "",
        "purge everything",
        &format!("kms1 {id} {mac} evil purge {token} {token} -"),
        &format!("kms1 0000000000000000 {mac} evil purge {token} {token} -"),
        &long,
    ] {
        let refused = b.cluster.stats().messages_refused.get();
        redis.cli(0, &["PUBLISH", "kms:test:bulletin", line]);
        wait_until(line.get(..20).unwrap_or(line), PATIENCE, || {
            (b.cluster.stats().messages_refused.get() > refused).then_some(())
        });
    }
    assert_eq!(b.diary.all(), []);
}

#[test]
fn without_the_hsm_there_is_no_sealing_key_and_with_it_there_is() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    site.hsm.down.store(true, Ordering::SeqCst);
    let a = site.node(plan(&redis, Some(&house.pki), Mode::Standalone, "a"));
    wait_until("the trouble is not told", PATIENCE, || {
        a.cluster
            .report()
            .detail
            .contains("the test's HSM is down")
            .then_some(())
    });
    assert!(!a.cluster.is_settled(Instant::now()));
    site.hsm.down.store(false, Ordering::SeqCst);
    a.wait_usable();
    assert!(a.cluster.is_settled(Instant::now()));
}

#[test]
fn a_password_that_is_changed_ends_nothing_and_a_wrong_one_is_told() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let a = site.node(plan(&redis, Some(&house.pki), Mode::Standalone, "a"));
    a.share(b"one", &DEK);
    redis.cli(0, &["ACL", "SETUSER", "kms", "-getrange"]);
    wait_until("it goes on without its rights", PATIENCE, || {
        (!a.cluster.is_usable(Instant::now())).then_some(())
    });
    redis.cli(0, &["ACL", "SETUSER", "kms", "+getrange"]);
    a.wait_found(b"one", &DEK);
    redis.cli(0, &["ACL", "SETUSER", "kms", "resetpass", ">another"]);
    redis.cli(0, &["CLIENT", "KILL", "TYPE", "normal"]);
    wait_until("the new password is not asked for", PATIENCE, || {
        let report = a.cluster.report();
        report.detail.contains("kms.cluster.password").then_some(())
    });
}
