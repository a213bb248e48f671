//! The shared cache in the course of years: certificates end and are renewed, clocks go wrong.
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

use cluster_support::{DEK, Site, house, plan, tls};
use kms::cluster::Mode;
use support::pki::Pki;
use support::redis::Redis;
use support::{PATIENCE, wait_until};

/// Has the server show another certificate, to new connections too.
fn show(redis: &Redis, pki: &Pki, name: &str) {
    let file = |kind: &str| pki.text(&format!("{name}.{kind}"));
    let (crt, key) = (file("crt"), file("key"));
    // The administrator too cannot check one that has ended.
    let order = |words: &[&str]| redis.cli(0, &[&["--insecure"], words].concat());
    order(&["CONFIG", "SET", "tls-cert-file", &crt, "tls-key-file", &key]);
    for kind in ["normal", "pubsub"] {
        order(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
    }
}

#[test]
fn certificates_that_end_are_told_and_renewed_ones_are_used() {
    let house = house();
    let pki = &house.pki;
    let names =
        "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";
    pki.leaf_dated("ended", "engineCA", "20200101000000Z", "20210101000000Z");
    pki.leaf("renewed", "engineCA", names);
    let redis = Redis::standalone(pki);
    let site = Site::new();
    let a = site.node(plan(&redis, Some(pki), Mode::Standalone, "a"));
    a.share(b"one", &DEK);
    show(&redis, pki, "ended");
    wait_until(
        "the end of the engine's certificate is not told",
        PATIENCE,
        || {
            let report = a.cluster.report();
            report.detail.contains("has expired").then_some(())
        },
    );
    assert!(!a.cluster.is_connected());
    // The engine's operator renews it: nothing is to be done at the nodes.
    show(&redis, pki, "renewed");
    a.wait_found(b"one", &DEK);
    // A node's own certificate has ended.
    let mut spoiled = plan(&redis, Some(pki), Mode::Standalone, "b");
    spoiled.access.tls = Some(tls(pki, "engineCA", Some("ended")));
    let b = site.node(spoiled);
    wait_until(
        "the end of the node's certificate is not told",
        PATIENCE,
        || {
            let report = b.cluster.report();
            report
                .detail
                .contains("kms.cluster.tls.cert.file")
                .then_some(())
        },
    );
}

#[test]
fn a_record_whose_time_is_over_by_this_nodes_clock_is_missed_and_left_to_others() {
    let house = house();
    let redis = Redis::standalone(&house.pki);
    let site = Site::new();
    let mut short = plan(&redis, Some(&house.pki), Mode::Standalone, "a");
    short.ttl = Duration::from_secs(1);
    let a = site.node(short);
    a.share(b"one", &DEK);
    let names = redis.cli(0, &["KEYS", "kms:test:d:*"]);
    let record = names.trim();
    // As for a node whose clock is ahead of the engine's, and as when somebody replays it later.
    redis.cli(0, &["PERSIST", record]);
    wait_until("it is found though its time is over", PATIENCE, || {
        (a.look_up(&a.name(b"one")) == Ok(None)).then_some(())
    });
    assert_eq!(
        redis.cli(0, &["EXISTS", record]).trim(),
        "1",
        "it was deleted"
    );
    assert_eq!(a.cluster.stats().refused.get(), 0, "it counts as forged");
    let begun = Instant::now();
    a.share(b"one", &DEK);
    println!("shared anew within {:?}", begun.elapsed());
}
