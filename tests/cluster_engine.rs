//! The shared cache against one real Redis over TLS: shared, refused, poisoned, hung, killed, told.
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

use std::time::{Duration, Instant};

use cluster_support::{DEK, Event, Site, house, plan, tls};
use kms::cluster::{ClusterPlan, Mode};
use kms::secret::SecretString;
use support::pki::Pki;
use support::redis::Redis;
use support::{PATIENCE, free_port, wait_until};

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

/// Whom a plan is spoiled by, and what the operator is told.
type Spoiled<'a> = (&'a str, Box<dyn Fn(&mut ClusterPlan) + 'a>, &'a str);

fn spoiled<'a>(pki: &'a Pki, plain: &'a Redis) -> Vec<Spoiled<'a>> {
    let shows = move |authority: &'static str, client: Option<&'static str>| {
        move |plan: &mut ClusterPlan| plan.access.tls = Some(tls(pki, authority, client))
    };
    let password = |text: &'static str| {
        move |plan: &mut ClusterPlan| plan.access.password = SecretString::new(text.to_owned())
    };
    vec![
        (
            "no certificate",
            Box::new(shows("engineCA", None)),
            "kms.cluster.tls.cert.file",
        ),
        (
            "a foreign certificate",
            Box::new(shows("engineCA", Some("foreign"))),
            "does not accept the client certificate",
        ),
        (
            "a foreign authority",
            Box::new(shows("foreignCA", Some("kmsEngine"))),
            "kms.cluster.tls.ca.file",
        ),
        (
            "a wrong password",
            Box::new(password("wrong")),
            "kms.cluster.password",
        ),
        ("no login", Box::new(password("")), "kms.cluster.password"),
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
            Box::new(|plan| "no-such-host.invalid".clone_into(&mut plan.places[0].host)),
            "cannot be resolved",
        ),
    ]
}

#[test]
fn a_server_that_does_not_let_us_in_is_told_with_the_remedy() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let plain = Redis::plaintext(&house.pki.folder.join("plain"));
    let site = Site::new();
    for (name, spoil, want) in spoiled(&house.pki, &plain) {
        let mut plan = plan(&redis, Some(&house.pki), Mode::Standalone, "a");
        spoil(&mut plan);
        let node = site.node(plan);
        let report = wait_until(name, PATIENCE, || {
            let report = node.cluster.report();
            let why = &report.servers.first()?.why;
            (why != "not connected yet" && why.contains(want)).then_some(report)
        });
        assert!(!report.usable, "{name}");
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
    // More than one reply may have: the connection must not end for it.
    let immense = format!("redis.call('SET','{}',string.rep('x',2000000))", names[0]);
    for (name, script) in [
        ("swapped", &swap),
        ("cut", &cut),
        ("changed", &flip),
        ("of another type", &list),
        ("huge", &huge),
        ("immense", &immense),
    ] {
        a.share(b"one", &DEK);
        a.share(b"two", &[8; 32]);
        let refused = b.cluster.stats().refused.get();
        redis.cli(0, &["EVAL", script, "0"]);
        b.diary.clear();
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
        assert_eq!(b.diary.all(), [], "{name}: the connection ended");
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
