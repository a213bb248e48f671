//! AES-CBC with HMAC-SHA256 on a PyKMIP that speaks KMIP 1.2, as older HSMs do: sealed, opened,
//! changed; the second key of a version.
//!
//! Needs a Python with pykmip: `./test install` makes it; without it these tests fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::doc_markdown,
    missing_docs
)]

mod support;

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use kms::hsm::pool::Pool;
use kms::hsm::{Answer, Envelope, Hsm as _, HsmError, KeyChange, KeyRecord, ObjectId, Request};
use support::kmip::{Site, about, ask, ask_all, create, decrypt, encrypt, sealed};

const CBC: Envelope = Envelope::AesCbcHmac;

/// Revokes and destroys the objects of these names.
const DESTROY: &str = r#"
import sys
from kmip.core import enums
from kmip.core.factories.attributes import AttributeFactory
from kmip.pie.client import ProxyKmipClient
port, cert, key, ca, *names = sys.argv[1:]
with ProxyKmipClient("127.0.0.1", int(port), cert, key, ca) as client:
    for uid in client.locate():
        attribute = client.get_attributes(uid, ["Name"])[1][0]
        if attribute.attribute_value.name_value.value in names:
            client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
            client.destroy(uid)
"#;

fn find(hsm: &Pool, name: &str) -> Result<Option<Arc<KeyRecord>>, HsmError> {
    about(hsm, Request::Find { name: name.into() })
}

fn rotate(hsm: &Pool, name: &str) -> Arc<KeyRecord> {
    let rotated = about(hsm, Request::Rotate { name: name.into() });
    rotated.unwrap().unwrap()
}

fn opened(outcome: Result<Answer, HsmError>) -> Vec<u8> {
    match outcome {
        Ok(Answer::Plaintext(key)) => key.expose(<[u8]>::to_vec),
        other => panic!("{other:?}"),
    }
}

fn object(record: &KeyRecord, at: usize) -> ObjectId {
    record.versions[at].object.clone()
}

/// What the pool says once it has tried to connect.
fn detail(hsm: &Pool) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let detail = hsm.health().detail;
        if detail != "not connected yet" || Instant::now() > end {
            return detail;
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_main_job_on_kmip_1_2() {
    let site = Site::older("1.2");
    let hsm = site.pool_of(CBC);
    let record = create(&hsm, "demo");
    assert!(detail(&hsm).contains("KMIP 1.2"), "{}", detail(&hsm));
    let object = object(&record, 0);
    let keys: Vec<Vec<u8>> = (0..20_u8)
        .map(|n| vec![n; usize::from(n) * 3 + 1])
        .collect();
    let wraps = keys.iter().map(|key| encrypt(&object, key.clone()));
    let wrapped: Vec<Vec<u8>> = ask_all(&hsm, wraps.collect())
        .into_iter()
        .map(sealed)
        .collect();
    let unwraps = wrapped.iter().map(|one| decrypt(&object, one)).collect();
    for ((answer, key), sealed) in ask_all(&hsm, unwraps).into_iter().zip(&keys).zip(&wrapped) {
        assert_eq!(opened(answer), *key);
        assert_eq!(sealed.len(), CBC.sealed_bytes(key.len()));
    }

    let good = &wrapped[15];
    let places = [
        ("IV", 0),
        ("the IV's last byte", 15),
        ("ciphertext", 16),
        ("the last block, which holds the padding", good.len() - 33),
        ("MAC", good.len() - 32),
        ("the MAC's last byte", good.len() - 1),
    ];
    for (name, at) in places {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let refused = ask(&hsm, decrypt(&object, &bad)).map(drop);
        assert_eq!(refused, Err(HsmError::AuthenticationFailed), "{name}");
    }
    for associated_data in [&b"aae"[..], b"aa", b""] {
        let request = Request::Decrypt {
            object: object.clone(),
            sealed: good.clone(),
            associated_data: associated_data.to_vec(),
        };
        let refused = ask(&hsm, request).map(drop);
        assert_eq!(refused, Err(HsmError::AuthenticationFailed));
    }
    // A byte moved between the associated data and the IV.
    let moved = Request::Decrypt {
        object: object.clone(),
        sealed: [&b"d"[..], &good[..15], &good[16..]].concat(),
        associated_data: b"aa".to_vec(),
    };
    for request in [moved, decrypt(&object, &good[..good.len() - 16])] {
        let refused = ask(&hsm, request).map(drop);
        assert_eq!(refused, Err(HsmError::AuthenticationFailed));
    }
    assert!(hsm.health().up, "a refusal costs no connection");
}

#[test]
fn servers_that_are_too_old_are_refused_with_the_remedy() {
    for (version, envelope, wants) in [
        (
            "1.2",
            Envelope::AesGcm,
            ["1.2, 1.1, 1.0", "set kms.hsm.kmip.cipher = cbc-hmac"],
        ),
        (
            "1.1",
            CBC,
            ["1.1, 1.0", "enable KMIP 1.2 or later on the HSM"],
        ),
    ] {
        let site = Site::older(version);
        let hsm = site.pool_of(envelope);
        let text = detail(&hsm);
        for want in wants {
            assert!(text.contains(want), "{version}: {text}");
        }
    }
}

#[test]
fn versions_have_mac_keys_made_and_deleted_with_them() {
    let site = Site::older("1.2");
    let hsm = site.pool_of(CBC);
    let first = create(&hsm, "demo");
    let second = rotate(&hsm, "demo");
    assert_eq!(
        (second.latest(), &second.versions[0]),
        (2, &first.versions[0])
    );
    let sealed_1 = sealed(ask(&hsm, encrypt(&object(&second, 0), vec![1; 32])));
    let refused = ask(&hsm, decrypt(&object(&second, 1), &sealed_1)).map(drop);
    assert_eq!(
        refused,
        Err(HsmError::AuthenticationFailed),
        "another version"
    );
    let all = [
        "demo:v1 ACTIVE",
        "demo:v1:mac ACTIVE",
        "demo:v2 ACTIVE",
        "demo:v2:mac ACTIVE",
    ];
    assert_eq!(site.shown(), all);
    match ask(&hsm, Request::List) {
        Ok(Answer::Names(names)) => assert_eq!(names.join(" "), "demo"),
        other => panic!("{other:?}"),
    }

    let change = KeyChange {
        deletion_allowed: Some(true),
        ..KeyChange::default()
    };
    let name: Arc<str> = "demo".into();
    let configure = Request::Configure {
        name: Arc::clone(&name),
        change,
    };
    about(&hsm, configure).unwrap().unwrap();
    assert_eq!(about(&hsm, Request::Delete { name }), Ok(None));
    assert_eq!(site.shown(), [""; 0]);
}

#[test]
fn a_version_without_its_mac_key_is_unfinished_or_an_error() {
    let site = Site::older("1.2");
    let hsm = site.pool_of(CBC);
    create(&hsm, "demo");
    let second = rotate(&hsm, "demo");
    let sealed_1 = sealed(ask(&hsm, encrypt(&object(&second, 0), vec![1; 32])));
    let all = site.shown();
    // The newest is still being made; an older one is an error.
    site.run_client(DESTROY, &["demo:v2:mac"]);
    assert_eq!(find(&hsm, "demo").unwrap().unwrap().latest(), 1);
    assert_eq!(rotate(&hsm, "demo").latest(), 2, "finished, not a third");
    site.run_client(DESTROY, &["demo:v1:mac"]);
    let Err(HsmError::Refused { text, .. }) = find(&hsm, "demo") else {
        panic!("a version without its MAC key")
    };
    assert!(
        text.contains("demo:v1:mac") && text.contains("rotate"),
        "{text}"
    );
    let made = create(&hsm, "demo");
    assert_eq!(made.versions.len(), 2);
    let refused = ask(&hsm, decrypt(&object(&made, 0), &sealed_1)).map(drop);
    assert_eq!(
        refused,
        Err(HsmError::AuthenticationFailed),
        "a new MAC key"
    );
    assert_eq!(site.shown(), all);
}

#[test]
fn a_sites_own_key_and_what_is_left_of_one() {
    let site = Site::older("1.2");
    let hsm = site.pool_of(CBC);
    site.make(&["own"]);
    let Err(HsmError::Refused { text, .. }) = find(&hsm, "own") else {
        panic!("a key without its MAC key")
    };
    for want in ["\"own\"", "\"own:v1:mac\"", "/v1/transit/keys/own"] {
        assert!(text.contains(want), "{text}");
    }
    assert_eq!(site.shown(), ["own ACTIVE"], "a look makes nothing");
    let record = create(&hsm, "own");
    assert_eq!(site.shown(), ["own ACTIVE", "own:v1:mac ACTIVE"]);
    let object = object(&record, 0);
    let wrapped = sealed(ask(&hsm, encrypt(&object, vec![3; 32])));
    assert_eq!(opened(ask(&hsm, decrypt(&object, &wrapped))), [3; 32]);

    // The MAC key of a destroyed key must not serve a new one.
    site.run_client(DESTROY, &["own"]);
    assert_eq!(find(&hsm, "own"), Ok(None));
    let made = about(&hsm, Request::Create { name: "own".into() });
    let Err(HsmError::Refused { text, .. }) = made else {
        panic!("{made:?}")
    };
    assert!(text.contains("own:v1:mac"), "{text}");
    site.run_client(DESTROY, &["own:v1:mac"]);
    create(&hsm, "own");
}

#[test]
fn racing_nodes_agree_on_both_keys() {
    const NODES: usize = 4;
    let site = Site::older("1.3");
    let nodes: Vec<Pool> = (0..NODES).map(|_| site.pool_of(CBC)).collect();
    let mut want = Vec::new();
    for round in 0..5 {
        let name = format!("race{round}");
        let mut latest = 0;
        for version in 1..=2 {
            let barrier = Barrier::new(NODES);
            let records: Vec<Arc<KeyRecord>> = std::thread::scope(|scope| {
                let work = |node| {
                    let (barrier, name) = (&barrier, &name);
                    scope.spawn(move || {
                        barrier.wait();
                        if version == 1 {
                            create(node, name)
                        } else {
                            rotate(node, name)
                        }
                    })
                };
                let threads: Vec<_> = nodes.iter().map(work).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            // A node that comes late to a rotation may make the next version.
            let longest = records.iter().max_by_key(|record| record.latest()).unwrap();
            for record in &records {
                let same = longest.versions.iter().zip(&record.versions);
                assert!(same.clone().all(|(a, b)| a == b), "{records:?}");
                assert!(record.latest() > latest, "{records:?}");
            }
            latest = longest.latest();
        }
        for version in 1..=latest {
            want.push(format!("{name}:v{version} ACTIVE"));
            want.push(format!("{name}:v{version}:mac ACTIVE"));
        }
    }
    assert_eq!(site.shown(), want);
}
