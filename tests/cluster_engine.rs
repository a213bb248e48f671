//! The shared cache against one real Redis over TLS: shared, refused, poisoned, hung, killed, told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "cluster_support/mod.rs"]
mod cluster_support;
#[path = "support/mod.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster_support::{Event, Site, plan, tls};
use kms::cluster::{Mode, Word};
use kms::secret::SecretString;
use support::pki::{KeyKind, Pki};
use support::redis::{Redis, certificates};
use support::{PATIENCE, free_port, wait_until};

struct House {
    pki: Pki,
    _folder: tempfile::TempDir,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), KeyKind::P256);
    certificates(&pki);
    House {
        pki,
        _folder: folder,
    }
}

const DEK: [u8; 32] = [7; 32];

#[test]
fn what_one_node_puts_another_finds_and_the_engine_cannot_read() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let node = |name| site.node(plan(&redis, Some(&house.pki), Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    a.share(b"wrapped", &DEK);
    b.wait_found(b"wrapped", &DEK);
    assert_eq!(b.look_up(&b.name(b"another")), Ok(None));
    assert_eq!(a.key_id(), b.key_id(), "one sealing key");
    let names = redis.cli(0, &["KEYS", "*"]);
    assert_eq!(
        names.lines().count(),
        3,
        "token, sealing key, record: {names}"
    );
    assert!(!names.contains("object-1"), "{names}");
    let record = names.lines().find(|name| name.contains(":d:")).unwrap();
    let life: i64 = redis.cli(0, &["PTTL", record]).trim().parse().unwrap();
    assert!((50_000..=66_000).contains(&life), "{life} ms");
    let bytes = redis.cli(0, &["STRLEN", record]);
    assert_eq!(bytes.trim(), "80");
}

#[test]
fn racing_nodes_agree_on_one_sealing_key() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let rounds = 20;
    for round in 0..rounds {
        redis.cli(0, &["FLUSHALL"]);
        let nodes: Vec<_> = (0..8)
            .map(|at| {
                site.node(plan(
                    &redis,
                    Some(&house.pki),
                    Mode::Standalone,
                    &format!("n{at}"),
                ))
            })
            .collect();
        nodes.iter().for_each(cluster_support::Node::wait_usable);
        let ids: Vec<_> = nodes.iter().map(cluster_support::Node::key_id).collect();
        assert!(
            ids.windows(2).all(|pair| pair[0] == pair[1]),
            "{round}: {ids:?}"
        );
    }
}

#[test]
fn a_server_that_does_not_let_us_in_is_told_with_the_remedy() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let plain = Redis::plaintext(&house.pki.folder.join("plain"));
    let site = Site::new();
    let base = || plan(&redis, Some(&house.pki), Mode::Standalone, "a");
    for (name, change, want) in [
        (
            "no certificate",
            Box::new(|plan: &mut kms::cluster::ClusterPlan| {
                plan.access.tls = Some(tls(&house.pki, "engineCA", None));
            }) as Box<dyn Fn(&mut kms::cluster::ClusterPlan)>,
            "kms.cluster.tls.cert.file",
        ),
        (
            "a foreign certificate",
            Box::new(|plan| plan.access.tls = Some(tls(&house.pki, "engineCA", Some("foreign")))),
            "does not accept the client certificate",
        ),
        (
            "a foreign authority",
            Box::new(|plan| {
                plan.access.tls = Some(tls(&house.pki, "foreignCA", Some("kmsEngine")))
            }),
            "kms.cluster.tls.ca.file",
        ),
        (
            "a wrong password",
            Box::new(|plan| plan.access.password = SecretString::new("wrong".to_owned())),
            "kms.cluster.password",
        ),
        (
            "no login",
            Box::new(|plan| plan.access.password = SecretString::default()),
            "kms.cluster.password",
        ),
        (
            "plaintext to a TLS port",
            Box::new(|plan| plan.access.tls = None),
            "",
        ),
        (
            "TLS to a plaintext port",
            Box::new(|plan| plan.places[0].port = plain.servers[0].port),
            "tls-port",
        ),
        (
            "nobody there",
            Box::new(|plan| plan.places[0].port = free_port()),
            "connecting failed",
        ),
        (
            "no such name",
            Box::new(|plan| plan.places[0].host = "no-such-host.invalid".to_owned()),
            "cannot be resolved",
        ),
    ] {
        let mut plan = base();
        change(&mut plan);
        let node = site.node(plan);
        let report = wait_until(name, PATIENCE, || {
            let report = node.cluster.report();
            let why = &report.servers.first()?.why;
            (why != "not connected yet" && why.contains(want)).then_some(report)
        });
        assert!(
            !report.usable && !report.detail.contains("wrong password"),
            "{name}"
        );
        assert!(!node.cluster.is_usable(Instant::now()), "{name}");
    }
}

#[test]
fn what_somebody_else_writes_is_missed_and_never_a_wrong_key() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let node = |name| site.node(plan(&redis, Some(&house.pki), Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    a.share(b"one", &DEK);
    a.share(b"two", &[8; 32]);
    let records = || -> Vec<String> {
        let names = redis.cli(0, &["KEYS", "*:d:*"]);
        names.lines().map(str::to_owned).collect()
    };
    let names = records();
    assert_eq!(names.len(), 2);
    let swap = format!(
        "local a=redis.call('GET','{0}') redis.call('SET','{0}',redis.call('GET','{1}')) redis.call('SET','{1}',a)",
        names[0], names[1]
    );
    let cut = format!(
        "redis.call('SET','{0}',string.sub(redis.call('GET','{0}'),1,60))",
        names[0]
    );
    let flip = format!("redis.call('SETRANGE','{}',40,'XXXX')", names[0]);
    let list = format!(
        "redis.call('DEL','{0}') redis.call('LPUSH','{0}','x')",
        names[0]
    );
    let huge = format!("redis.call('SET','{}',string.rep('x',300000))", names[0]);
    for (name, script) in [
        ("swapped", &swap),
        ("cut", &cut),
        ("changed", &flip),
        ("of another type", &list),
        ("huge", &huge),
    ] {
        a.share(b"one", &DEK);
        a.share(b"two", &[8; 32]);
        let refused = b.cluster.stats().refused.get();
        redis.cli(0, &["EVAL", script, "0"]);
        for (sealed, right) in [(b"one", &DEK), (b"two", &[8; 32])] {
            let found = b.look_up(&b.name(sealed));
            assert!(
                !matches!(&found, Ok(Some(key)) if key != right),
                "{name}: {found:?}"
            );
        }
        assert!(
            b.cluster.stats().refused.get() > refused,
            "{name}: nobody noticed"
        );
    }
    // What was not believed was deleted, and a fresh one is found again.
    a.share(b"one", &DEK);
    b.wait_found(b"one", &DEK);
}

#[test]
fn a_planted_sealing_key_is_refused_and_replaced() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let a = site.node(plan(&redis, Some(&house.pki), Mode::Standalone, "a"));
    a.share(b"one", &DEK);
    let own = a.key_id();
    // As a tenant could who has a data key wrapped by the HSM: it wraps, but under another key and purpose.
    for (name, planted) in [
        ("nonsense", "nonsense".to_owned()),
        ("an old form", "KC\u{1}\u{1}".to_owned()),
    ] {
        let refused = a.cluster.stats().keys_refused.get();
        redis.cli(0, &["SET", "kms:test:csk", &planted]);
        wait_until(name, PATIENCE, || {
            (a.cluster.stats().keys_refused.get() > refused).then_some(())
        });
        assert!(a.key_id().is_some(), "{name}: it goes on with what it has");
    }
    let stranger = site.another_hsm();
    redis.cli(0, &["FLUSHALL"]);
    let other = site.node_of(
        plan(&redis, Some(&house.pki), Mode::Standalone, "x"),
        &stranger,
    );
    other.wait_usable();
    drop(other);
    let fresh = site.node(plan(&redis, Some(&house.pki), Mode::Standalone, "b"));
    fresh.wait_usable();
    assert!(fresh.cluster.stats().keys_refused.get() > 0);
    assert_ne!(fresh.key_id(), own);
    wait_until("the nodes do not agree again", PATIENCE, || {
        (a.key_id() == fresh.key_id()).then_some(())
    });
    a.share(b"two", &DEK);
    fresh.wait_found(b"two", &DEK);
}

#[test]
fn a_new_sealing_key_takes_over_while_the_old_one_still_reads() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let node = |name| site.node(plan(&redis, Some(&house.pki), Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    a.share(b"one", &DEK);
    b.wait_found(b"one", &DEK);
    let old = a.key_id();
    a.cluster.renew_key();
    wait_until("no new key", PATIENCE, || {
        (a.key_id() != old && a.key_id() == b.key_id()).then_some(())
    });
    b.wait_found(b"one", &DEK);
    a.wait_found(b"one", &DEK);
    b.share(b"two", &[9; 32]);
    a.wait_found(b"two", &[9; 32]);
}

#[test]
fn the_engine_is_down_at_start_and_hung_and_killed() {
    let house = house();
    let mut redis = Redis::standalone(&house.pki);
    let site = Site::new();
    redis.kill(0);
    let mut plan = plan(&redis, Some(&house.pki), Mode::Standalone, "a");
    plan.budget = Duration::from_millis(20);
    let node = site.node(plan);
    assert!(
        !node.cluster.is_settled(Instant::now()),
        "it is waited for at first"
    );
    wait_until("it is waited for without end", PATIENCE, || {
        node.cluster.is_settled(Instant::now()).then_some(())
    });
    redis.restart(0);
    node.share(b"one", &DEK);
    let named = node.name(b"one");
    // Hung: callers have their answer within the budget, and soon at once.
    redis.servers[0].process.signal_all("STOP");
    let mut at_once = 0;
    let until = Instant::now() + Duration::from_millis(900);
    while Instant::now() < until {
        let begun = Instant::now();
        assert_eq!(node.look_up(&named), Err(()));
        at_once += u32::from(begun.elapsed() < Duration::from_millis(5));
    }
    assert!(at_once > 10, "{at_once} were answered at once");
    redis.servers[0].process.signal_all("CONT");
    node.wait_found(b"one", &DEK);
    // Killed, and back without anything: nobody is told a wrong thing, and keys and token are made anew.
    redis.kill(0);
    wait_until("it is still used", PATIENCE, || {
        (!node.cluster.is_usable(Instant::now())).then_some(())
    });
    node.diary.clear();
    redis.restart(0);
    node.diary
        .when("that something may have been missed", |event| {
            *event == Event::Missed
        });
    node.share(b"two", &DEK);
    assert_eq!(node.look_up(&node.name(b"one")), Ok(None));
}

#[test]
fn changes_reach_the_other_nodes_also_when_messages_are_lost() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let node = |name| site.node(plan(&redis, Some(&house.pki), Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    a.wait_usable();
    b.wait_usable();
    wait_until("they do not know each other", PATIENCE, || {
        (a.cluster.report().peers == ["b"] && b.cluster.report().subscribed).then_some(())
    });
    for (name, word, want) in [
        (
            "withdrawn",
            Word::Withdrawn("k".into()),
            Event::Withdrawn("k".into()),
        ),
        ("grown", Word::Grown("k".into()), Event::Grown("k".into())),
        ("purged", Word::Purge(None), Event::Purge(None)),
        (
            "one purged",
            Word::Purge(Some("k".into())),
            Event::Purge(Some("k".into())),
        ),
    ] {
        b.diary.clear();
        let begun = Instant::now();
        a.cluster.announce(word);
        let at = b.diary.when(name, |event| *event == want);
        println!("{name}: told after {:?}", at - begun);
        assert!(
            !b.diary.all().contains(&Event::Missed),
            "{name}: {:?}",
            b.diary.all()
        );
    }
    let mut longest = Duration::ZERO;
    for round in 0..10 {
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
        assert!(round < 10);
    }
    println!("message lost: noticed after {longest:?} at most");
    // The token goes back, as after a failover that lost the last writes.
    let token = redis.cli(0, &["GET", "kms:test:epoch"]);
    a.cluster.announce(Word::Withdrawn("k".into()));
    b.diary
        .when("the change", |event| matches!(event, Event::Withdrawn(_)));
    b.diary.clear();
    redis.cli(0, &["SET", "kms:test:epoch", token.trim()]);
    b.diary
        .when("the token going backwards", |event| *event == Event::Missed);
    // Nonsense in its place is replaced.
    b.diary.clear();
    redis.cli(0, &["SET", "kms:test:epoch", "nonsense"]);
    b.diary
        .when("the nonsense", |event| *event == Event::Missed);
    a.share(b"after", &DEK);
    b.wait_found(b"after", &DEK);
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
    let obeyed = a.cluster.order(Word::Purge(Some("k".into())));
    assert_eq!(
        (obeyed.acknowledged, obeyed.silent),
        (vec!["b".to_owned()], vec!["c".to_owned()])
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
    redis.cli(0, &["ACL", "SETUSER", "kms", "-get"]);
    wait_until("it goes on without its rights", PATIENCE, || {
        (!a.cluster.is_usable(Instant::now())).then_some(())
    });
    redis.cli(0, &["ACL", "SETUSER", "kms", "+get"]);
    a.wait_found(b"one", &DEK);
    redis.cli(0, &["ACL", "SETUSER", "kms", "resetpass", ">another"]);
    redis.cli(0, &["CLIENT", "KILL", "TYPE", "normal"]);
    wait_until("the new password is not asked for", PATIENCE, || {
        let report = a.cluster.report();
        report.detail.contains("kms.cluster.password").then_some(())
    });
}
