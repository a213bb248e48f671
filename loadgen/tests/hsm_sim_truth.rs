//! What the simulated HSM tells of itself: the ground truth, and limits that no client asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sim_support;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use kms::hsm::Answer;
use kms::wire::kmip::{ProtocolVersion, RequestPayload};
use kms_loadgen::sim::preset::Stalls;
use kms_loadgen::sim::{HsmPlan, Model, Preset};
use ring::digest;
use serde_json::Value;
use sim_support::{
    Bare, Bench, PATIENCE, ask, ask_all, decrypt, find, object, plain, sealed, sim, wrapped,
};

fn logged() -> Bench {
    sim(Preset::Null.model(), |folder| HsmPlan {
        truth: Some(folder.join("truth.jsonl")),
        ..HsmPlan::default()
    })
}

fn truth(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("truth.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn hex(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    let pairs = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    pairs.collect()
}

/// What `score` is for: clients' answers against the log, with every fault that a client can survive.
#[test]
fn clients_can_be_scored_by_the_ground_truth() {
    let bench = logged();
    let hsm = bench.pool(1);
    let key = object(&hsm, "demo");
    let pairs = wrapped(&hsm, &key, 64);
    for order in [
        "wrong-id p=0.3",
        "duplicate-id p=0.3",
        "missing-item p=0.3",
        "late-item p=0.3",
        "partial every=7",
    ] {
        bench.order(order);
    }
    let mut got = Vec::new();
    for _ in 0..10 {
        let unwraps = pairs
            .iter()
            .map(|(_, sealed)| decrypt(&key, sealed))
            .collect();
        for (outcome, (_, sealed)) in ask_all(&hsm, unwraps, PATIENCE).into_iter().zip(&pairs) {
            got.extend(plain(outcome).ok().map(|plain| (hex(sealed), hex(&plain))));
        }
    }
    let lines = truth(bench.folder.path());
    let text = |line: &Value, name: &str| line[name].as_str().map(str::to_owned);
    let true_plain: HashMap<_, _> = lines
        .iter()
        .filter_map(|line| {
            Some((
                text(line, "ciphertext_sha256")?,
                text(line, "plaintext_sha256")?,
            ))
        })
        .collect();
    assert!(got.len() > 100, "{} answers", got.len());
    for (sealed, plain) in &got {
        assert_eq!(true_plain.get(sealed), Some(plain), "a wrong plaintext");
    }
    let faults: std::collections::HashSet<_> = lines
        .iter()
        .filter_map(|line| text(line, "fault"))
        .collect();
    for fault in ["wrong-id", "duplicate-id", "missing-item", "late-item"] {
        assert!(faults.contains(fault), "{fault} struck nothing: {faults:?}");
    }
    assert!(lines.iter().all(|line| line["name"] == "demo"));
}

#[test]
fn refused_ciphertexts_are_logged_without_a_plaintext() {
    let bench = logged();
    let hsm = bench.pool(1);
    let key = object(&hsm, "demo");
    let mut bad = sealed(ask(&hsm, sim_support::encrypt(&key, b"plain")));
    bad[13] ^= 1;
    plain(ask(&hsm, decrypt(&key, &bad))).unwrap_err();
    let lines = truth(bench.folder.path());
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["op"], &last["reason"]),
        (&"decrypt".into(), &10.into())
    );
    assert_eq!(last["ciphertext_sha256"], hex(&bad));
    assert!(last["plaintext_sha256"].is_null());
}

/// A connection that has had an answer. On a busy machine a handshake may take longer than the idle limit.
fn served(bench: &Bench) -> Bare {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut bare = bench.bare();
        match bare.exchange(ProtocolVersion::V1_4, &[RequestPayload::Query(&[1])]) {
            Ok(_) => return bare,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let idle = Model {
        idle_ms: Some(60.0),
        ..Preset::Null.model()
    };
    let bench = sim(idle, |_| HsmPlan::default());
    // The goodbye of TLS, or nothing any more.
    let ended = served(&bench).read_for(PATIENCE).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::UnexpectedEof);
    // A message that takes longer than the idle limit is no idleness.
    bench.order("set message-ms 150");
    served(&bench);
}

#[test]
fn the_model_stalls_by_itself() {
    let stalling = Model {
        stalls: Some(Stalls {
            min_ms: 30.0,
            max_ms: 30.0,
            every_s: 0.05,
        }),
        ..Preset::Null.model()
    };
    let bench = sim(stalling, |_| HsmPlan::default());
    let hsm = bench.pool(1);
    let slowest_us = || bench.status()["service_us"]["max"].as_f64().unwrap();
    let until = Instant::now() + PATIENCE;
    while slowest_us() < 1000.0 {
        assert!(matches!(ask(&hsm, find("demo")), Ok(Answer::Key(Some(_)))));
        assert!(Instant::now() < until, "no stall was met");
    }
}
