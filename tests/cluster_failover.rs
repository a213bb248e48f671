//! The shared cache while its servers change places: sentinels and a Redis Cluster, killed and frozen masters.
//!
//! Each takes some seconds of the engine's own: the long ones run with `./test --all`.
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

use cluster_support::{Event, Node, Site, plan, sentinel_mode, what};
use kms::cluster::{Mode, Word};
use support::pki::{KeyKind, Pki};
use support::redis::{Redis, certificates};
use support::{PATIENCE, wait_until};

const DEK: [u8; 32] = [7; 32];

fn pki(folder: &tempfile::TempDir) -> Pki {
    let pki = Pki::new(folder.path(), KeyKind::P256);
    certificates(&pki);
    pki
}

/// Looks `sealed` up again and again until it is found; how long that took, and the longest lookup.
fn recovery(node: &Node, sealed: &[u8]) -> (Duration, Duration) {
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    loop {
        assert!(begun.elapsed() < PATIENCE, "never found again");
        let asked = Instant::now();
        let Some(named) = node.cluster.name(&what(sealed), asked) else {
            std::thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        match node.look_up(&named) {
            Ok(Some(found)) => {
                assert_eq!(found, DEK, "a wrong plaintext");
                return (begun.elapsed(), longest.max(asked.elapsed()));
            }
            Ok(None) => node.put(&named, &DEK),
            Err(()) => {}
        }
        longest = longest.max(asked.elapsed());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Two nodes; one shares something.
fn two(site: &Site, redis: &Redis, pki: &Pki, mode: &Mode) -> (Node, Node) {
    let node = |name| {
        let mut plan = plan(redis, Some(pki), mode.clone(), name);
        plan.budget = Duration::from_millis(50);
        site.node(plan)
    };
    let (a, b) = (node("a"), node("b"));
    a.share(b"one", &DEK);
    b.wait_found(b"one", &DEK);
    wait_until("they do not know each other", PATIENCE, || {
        (a.cluster.report().peers == ["b"] && b.cluster.report().subscribed).then_some(())
    });
    (a, b)
}

/// After a failover both find what is put, and what one withdraws the other is told.
fn works_again(a: &Node, b: &Node) {
    let (took, longest) = recovery(a, b"one");
    a.share_with(b, b"one", &DEK);
    println!("found again after {took:?}; the longest lookup took {longest:?}");
    wait_until("messages do not come again", PATIENCE, || {
        b.diary.clear();
        a.cluster.announce(Word::Withdrawn("k".into()));
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            if b.diary.all().contains(&Event::Withdrawn("k".into())) {
                return Some(());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        None
    });
}

#[test]
fn sentinels_name_another_master() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(&folder);
    let mut redis = Redis::sentinel(&pki);
    let site = Site::new();
    let (a, b) = two(&site, &redis, &pki, &sentinel_mode());
    b.diary.clear();
    let master = redis.master();
    redis.kill(master);
    works_again(&a, &b);
    assert!(b.diary.all().len() < 1000);
    let kinds: Vec<&str> = a
        .cluster
        .report()
        .servers
        .iter()
        .map(|server| server.role)
        .collect();
    assert_eq!(kinds.iter().filter(|role| **role == "sentinel").count(), 3);
}

#[test]
#[ignore = "long: waits for two failovers"]
fn a_master_that_hangs_is_replaced_and_comes_back_as_a_replica() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(&folder);
    let redis = Redis::sentinel(&pki);
    let site = Site::new();
    let (a, b) = two(&site, &redis, &pki, &sentinel_mode());
    let master = redis.master();
    redis.servers[master].process.signal_all("STOP");
    works_again(&a, &b);
    redis.servers[master].process.signal_all("CONT");
    wait_until("the old master is no replica", PATIENCE, || {
        redis
            .cli(master, &["ROLE"])
            .starts_with("slave")
            .then_some(())
    });
    works_again(&a, &b);
}

#[test]
fn a_master_of_a_cluster_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(&folder);
    let mut redis = Redis::cluster(&pki);
    let site = Site::new();
    let (a, b) = two(&site, &redis, &pki, &Mode::Cluster);
    // The one that keeps the token is the worst to lose.
    let keeper = redis.keeper("kms:test:epoch");
    let begun = Instant::now();
    redis.kill(keeper);
    for (what, usable) in [
        ("it is used without its token", false),
        ("it is not used again", true),
    ] {
        wait_until(what, PATIENCE, || {
            (a.cluster.is_usable(Instant::now()) == usable).then_some(())
        });
    }
    println!(
        "used again {:?} after its token's master was killed",
        begun.elapsed()
    );
    works_again(&a, &b);
}

/// What a server calls itself in the cluster.
fn id(redis: &Redis, at: usize) -> String {
    redis.cli(at, &["CLUSTER", "MYID"]).trim().to_owned()
}

fn is_master(redis: &Redis, at: usize) -> bool {
    redis.cli(at, &["ROLE"]).starts_with("master")
}

#[test]
#[ignore = "long: waits for a failover and moves slots"]
fn a_shard_of_a_cluster_hangs_and_slots_move() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(&folder);
    let redis = Redis::cluster(&pki);
    let site = Site::new();
    let (a, b) = two(&site, &redis, &pki, &Mode::Cluster);
    let token = redis.keeper("kms:test:epoch");
    let masters: Vec<usize> = (0..6).filter(|at| is_master(&redis, *at)).collect();
    let other = *masters.iter().find(|at| **at != token).unwrap();
    redis.servers[other].process.signal_all("STOP");
    let found = (0..60_u8).filter(|n| {
        let named = a.name(&[*n]);
        a.put(&named, &DEK);
        a.look_up(&named) == Ok(Some(DEK.to_vec()))
    });
    let found = found.count();
    assert!(
        (10..60).contains(&found),
        "{found} of 60 found while a shard hangs"
    );
    redis.servers[other].process.signal_all("CONT");
    wait_until("three masters again", PATIENCE, || {
        let masters = (0..6).filter(|at| is_master(&redis, *at)).count();
        (masters == 3).then_some(())
    });
    works_again(&a, &b);
    // Slots move: the keepers change, and nobody is told a wrong thing.
    let masters: Vec<usize> = (0..6).filter(|at| is_master(&redis, *at)).collect();
    let place = format!("127.0.0.1:{}", redis.servers[masters[0]].port);
    let (from, to) = (id(&redis, masters[0]), id(&redis, masters[1]));
    let words = [
        "--cluster",
        "reshard",
        &place,
        "--cluster-from",
        &from,
        "--cluster-to",
        &to,
    ];
    redis.cli(
        masters[0],
        &[&words[..], &["--cluster-slots", "3000", "--cluster-yes"]].concat(),
    );
    works_again(&a, &b);
}

#[test]
#[ignore = "long: waits for a failover that does not come"]
fn a_whole_shard_of_a_cluster_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(&folder);
    let mut redis = Redis::cluster(&pki);
    let site = Site::new();
    let (a, _b) = two(&site, &redis, &pki, &Mode::Cluster);
    let keeper = redis.keeper("kms:test:epoch");
    let own = id(&redis, keeper);
    let nodes = redis.cli(keeper, &["CLUSTER", "NODES"]);
    let is_replica = |at: &usize| {
        let port = format!(":{}@", redis.servers[*at].port);
        let mut lines = nodes.lines();
        lines.any(|line| line.contains(&port) && line.contains(&format!("slave {own}")))
    };
    let replica = (0..6).find(is_replica).expect("a replica");
    redis.kill(replica);
    redis.kill(keeper);
    wait_until("it is used without its token", PATIENCE, || {
        (!a.cluster.is_usable(Instant::now())).then_some(())
    });
    assert!(!a.cluster.is_fresh(Instant::now()));
    // Both are there again, empty: it is used again, under a token and a sealing key made anew.
    redis.restart(keeper);
    redis.restart(replica);
    let (took, _) = recovery(&a, b"one");
    println!("found again after {took:?}");
}

#[test]
#[ignore = "long: waits for a cluster to notice that it has no majority"]
fn a_minority_master_answers_until_it_notices_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(&folder);
    let redis = Redis::cluster(&pki);
    let site = Site::new();
    let (a, b) = two(&site, &redis, &pki, &Mode::Cluster);
    let keeper = redis.keeper("kms:test:epoch");
    let others: Vec<usize> = (0..6).filter(|at| *at != keeper).collect();
    let begun = Instant::now();
    for at in &others {
        redis.servers[*at].process.signal_all("STOP");
    }
    wait_until("a lone master is believed for good", PATIENCE, || {
        (!a.cluster.is_fresh(Instant::now())).then_some(())
    });
    println!("a lone master was believed for {:?}", begun.elapsed());
    b.diary.clear();
    for at in &others {
        redis.servers[*at].process.signal_all("CONT");
    }
    works_again(&a, &b);
}

#[test]
fn a_plaintext_engine_on_this_machine_works_too() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::plaintext(folder.path());
    let site = Site::new();
    let node = |name| site.node(plan(&redis, None, Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    a.share(b"one", &DEK);
    b.wait_found(b"one", &DEK);
}

#[test]
fn valkey_in_plaintext_is_killed_and_comes_back_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mut valkey = Redis::valkey(folder.path());
    assert!(
        valkey
            .cli(0, &["INFO", "server"])
            .contains("valkey_version")
    );
    let site = Site::new();
    let node = |name| site.node(plan(&valkey, None, Mode::Standalone, name));
    let (a, b) = (node("a"), node("b"));
    a.share(b"one", &DEK);
    b.wait_found(b"one", &DEK);
    wait_until("they do not know each other", PATIENCE, || {
        (a.cluster.report().peers == ["b"] && b.cluster.report().subscribed).then_some(())
    });
    let obeyed = a.cluster.order(Word::Purge(None));
    assert_eq!(obeyed.acknowledged, ["b"]);
    valkey.kill(0);
    wait_until("it is still used", PATIENCE, || {
        (!a.cluster.is_usable(Instant::now())).then_some(())
    });
    valkey.restart(0);
    works_again(&a, &b);
}
