//! Each fault of the simulated HSM does what it says, and is over when it should be: what our own pool and a
//! bare KMIP client see of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sim_support;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use kms::hsm::pool::Pool;
use kms::hsm::{HsmError, ObjectId};
use kms::wire::kmip::{
    Decrypt, Decrypted, GCM_PARAMETERS, ProtocolVersion, RequestPayload, decode_response,
};
use sim_support::{
    Bare, Bench, PATIENCE, ask, ask_all, decrypt, encrypt, object, plain, quick, sealed, wrapped,
};

const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn ready(count: u8) -> (Bench, ObjectId, Pairs) {
    let bench = quick();
    let hsm = bench.pool(1);
    let key = object(&hsm, "demo");
    let pairs = wrapped(&hsm, &key, count);
    (bench, key, pairs)
}

fn is_unavailable(error: &HsmError) -> bool {
    matches!(error, HsmError::Unavailable(_))
}

/// A pool that has lost its connection, or was told to wait, may refuse for a while before it serves again.
fn assert_recovers(hsm: &Pool, key: &ObjectId, pair: &(Vec<u8>, Vec<u8>), after: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        match plain(ask(hsm, decrypt(key, &pair.1))) {
            Ok(plain) => return assert_eq!(plain, pair.0, "after {after}"),
            Err(error) => assert!(Instant::now() < until, "after {after}: {error:?}"),
        }
        std::thread::yield_now();
    }
}

/// What one Decrypt sees while the fault is on, and that all is well once it is cleared.
#[test]
fn the_pool_tells_each_fault_and_recovers() {
    type Check = fn(&HsmError) -> bool;
    let timed_out: Check = |error| *error == HsmError::TimedOut;
    let protocol: Check = |error| matches!(error, HsmError::Protocol(_));
    let unavailable: Check = is_unavailable;
    let busy: Check = |error| *error == HsmError::Busy;
    let refused: Check = |e| matches!(e, HsmError::Refused { reason: 0x2a, .. });
    let reasoned: Check = |e| matches!(e, HsmError::Refused { reason: 0x77, .. });
    let authentication: Check = |e| *e == HsmError::AuthenticationFailed;
    let (bench, key, pairs) = ready(1);
    for (order, check) in [
        ("stall", timed_out),
        ("failover", unavailable),
        ("half-open", timed_out),
        ("drop-mid-frame", unavailable),
        ("tls-alert", unavailable),
        ("clock-skew", unavailable),
        ("clock-skew future", unavailable),
        ("busy", busy),
        ("busy reason=0x77", reasoned),
        ("partial every=1", refused),
        ("wrong-id", protocol),
        ("wrong-uid", protocol),
        ("wrong-tag", authentication),
        ("garbage", protocol),
    ] {
        let hsm = bench.pool(1);
        plain(ask(&hsm, decrypt(&key, &pairs[0].1))).unwrap();
        bench.order(order);
        let unwraps = vec![decrypt(&key, &pairs[0].1)];
        let error =
            plain(ask_all(&hsm, unwraps, Duration::from_millis(300)).remove(0)).unwrap_err();
        assert!(check(&error), "{order}: {error:?}");
        assert_eq!(bench.order("clear"), "ok, 1 cleared", "{order}");
        assert_recovers(&hsm, &key, &pairs[0], order);
    }
}

#[test]
fn a_wrong_tag_spoils_what_is_wrapped() {
    let (bench, key, _) = ready(0);
    let hsm = bench.pool(1);
    bench.order("wrong-tag count=1");
    let spoilt = sealed(ask(&hsm, encrypt(&key, b"lost")));
    let opened = plain(ask(&hsm, decrypt(&key, &spoilt)));
    assert_eq!(opened, Err(HsmError::AuthenticationFailed));
    let good = sealed(ask(&hsm, encrypt(&key, b"kept")));
    assert_eq!(plain(ask(&hsm, decrypt(&key, &good))), Ok(b"kept".to_vec()));
}

#[test]
fn refused_batches_are_taken_one_by_one() {
    let (bench, key, pairs) = ready(16);
    bench.order("refuse-batch");
    let hsm = bench.pool(1);
    let unwraps = pairs
        .iter()
        .map(|(_, sealed)| decrypt(&key, sealed))
        .collect();
    for (outcome, (want, _)) in ask_all(&hsm, unwraps, PATIENCE).into_iter().zip(&pairs) {
        assert_eq!(plain(outcome).as_ref(), Ok(want));
    }
    assert!(bench.status()["totals"]["refused"].as_u64().unwrap() > 0);
}

/// Ids (from 1) and plaintexts of the answer to a batch of Decrypts; an empty plaintext for an error.
/// Most of these find several messages under way on the one connection.
#[test]
fn a_fault_of_one_message_costs_no_job_behind_it() {
    let (bench, key, pairs) = ready(200);
    for (order, failures_max) in [
        ("garbage count=1", 32),
        ("drop-mid-frame count=1", 32),
        ("wrong-id count=1", 32),
        ("duplicate-id count=1", 32),
        ("missing-item count=1", 32),
        ("late-item count=1", 32),
        ("wrong-uid count=1", 1),
        ("refuse-batch count=1", 0),
    ] {
        let hsm = bench.pool_pipelined(1, 4);
        plain(ask(&hsm, decrypt(&key, &pairs[0].1))).unwrap();
        bench.order(order);
        let unwraps = pairs.iter().map(|(_, sealed)| decrypt(&key, sealed));
        let outcomes = ask_all(&hsm, unwraps.collect(), PATIENCE);
        let mut failures = 0;
        for (outcome, (want, _)) in outcomes.into_iter().zip(&pairs) {
            match plain(outcome) {
                Ok(plain) => assert_eq!(plain, *want, "{order}"),
                Err(_) => failures += 1,
            }
        }
        assert!(failures <= failures_max, "{order}: {failures} failures");
        bench.order("clear");
    }
}

fn unwrap_batch(bare: &mut Bare, key: &ObjectId, pairs: &Pairs) -> Vec<(u64, Vec<u8>)> {
    let calls: Vec<_> = pairs
        .iter()
        .map(|(_, sealed)| {
            let cut = sealed.len() - 16;
            RequestPayload::Decrypt(Decrypt {
                unique_identifier: Some(&key.0),
                parameters: Some(GCM_PARAMETERS),
                data: &sealed[12..cut],
                iv: Some(&sealed[..12]),
                associated_data: b"aad",
                tag: Some(&sealed[cut..]),
            })
        })
        .collect();
    let answer = bare.exchange(V2_1, &calls).unwrap();
    let items = decode_response(&answer).unwrap().items;
    items
        .map(|item| {
            let item = item.unwrap();
            let plain = item
                .payload
                .clone()
                .map(|payload| Decrypted::decode(payload).unwrap());
            (
                item.id().unwrap(),
                plain.map_or(Vec::new(), |plain| plain.data.to_vec()),
            )
        })
        .collect()
}

#[test]
fn item_faults_strike_as_often_as_ordered_and_no_more() {
    let (bench, key, pairs) = ready(4);
    let mut bare = bench.bare();
    let mut first = 1;
    let mut batch = |bare: &mut Bare| {
        let got = unwrap_batch(bare, &key, &pairs);
        let got: Vec<_> = got
            .into_iter()
            .map(|(id, plain)| (id.wrapping_sub(first), plain))
            .collect();
        first += 4;
        got
    };
    let honest: Vec<(u64, Vec<u8>)> = (0..4)
        .zip(pairs.iter().map(|pair| pair.0.clone()))
        .collect();
    let wrong = |got: &[(u64, Vec<u8>)]| {
        got.iter()
            .zip(&honest)
            .filter(|(got, want)| got != want)
            .count()
    };
    let ids = |got: &[(u64, Vec<u8>)]| {
        let mut ids: Vec<u64> = got.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    };
    for (order, check) in [
        (
            "wrong-id count=1",
            (|got, wrong, ids| got == 4 && wrong == 1 && ids[3] > 4)
                as fn(usize, usize, Vec<u64>) -> bool,
        ),
        ("swap-ids count=1", |got, wrong, ids| {
            got == 4 && wrong == 2 && ids == [0, 1, 2, 3]
        }),
        ("duplicate-id count=1", |got, wrong, mut ids| {
            ids.dedup();
            got == 4 && wrong == 1 && ids.len() == 3
        }),
        ("missing-item count=1", |got, _, _| got == 3),
        ("partial count=1 every=3", |got, wrong, _| {
            got == 4 && wrong == 1
        }),
        ("partial every=2 count=2", |got, wrong, _| {
            got == 4 && wrong == 2
        }),
    ] {
        bench.order(order);
        let got = batch(&mut bare);
        assert!(check(got.len(), wrong(&got), ids(&got)), "{order}: {got:?}");
        assert_eq!(batch(&mut bare), honest, "after {order}");
    }
    bench.order("late-item count=1");
    assert_eq!(batch(&mut bare).len(), 3);
    let late = batch(&mut bare);
    assert_eq!(&late[..4], honest);
    let (id, plain) = &late[4];
    let place = usize::try_from(id.wrapping_add(4)).unwrap();
    assert_eq!(plain, &pairs[place].0, "the old id bears its own plaintext");
    assert_eq!(batch(&mut bare), honest);
}

#[test]
fn faults_end_by_themselves() {
    let (bench, key, pairs) = ready(1);
    for order in [
        "stall 50",
        "failover 50",
        "half-open 50",
        "garbage for=50",
        "busy count=1",
    ] {
        let hsm = bench.pool(1);
        bench.order(order);
        assert_recovers(&hsm, &key, &pairs[0], order);
    }
    assert_eq!(bench.order("clear"), "ok, 0 cleared");
}

#[test]
fn half_open_keeps_the_connection_and_failover_does_not() {
    let (bench, key, pairs) = ready(1);
    let mut bare = bench.bare();
    unwrap_batch(&mut bare, &key, &pairs);
    bench.order("half-open");
    bare.send(V2_1, &[RequestPayload::Query(&[1])]).unwrap();
    let silent = bare.read_for(Duration::from_millis(50)).unwrap_err().kind();
    assert!(
        matches!(silent, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silent:?}"
    );
    bench.order("clear half-open");
    let ended = bare.read_for(PATIENCE).unwrap_err().kind();
    assert!(
        !matches!(ended, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{ended:?}"
    );
    bench.order("failover");
    let refused = Bare::connect(bench.sim.address, &bench.tls()).map(drop);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    bench.order("clear");
    bench
        .bare()
        .exchange(V2_1, &[RequestPayload::Query(&[1])])
        .unwrap();
}

#[test]
fn orders_that_make_no_sense_change_nothing() {
    let bench = quick();
    for order in [
        "",
        "rain",
        "stall x",
        "set engines 0",
        "set x 1",
        "set engines",
        "clear rain",
    ] {
        let answer = bench.sim.order(order).unwrap();
        assert!(answer.starts_with("error: "), "{order}: {answer}");
    }
    assert_eq!(bench.status()["faults"], serde_json::json!({}));
}
