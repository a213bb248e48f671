//! Key versions, settings and lists against a real PyKMIP, and nodes that race for them. PyKMIP lets
//! names repeat, so nothing but our own protocol keeps the nodes from making a key each.
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

use kms::hsm::pool::Pool;
use kms::hsm::{Answer, Hsm as _, HsmError, KeyChange, KeyRecord, ObjectId, Request};
use support::kmip::{Site, about, ask, create, decrypt, encrypt, sealed};
use support::pki::KeyKind;

fn rotate(hsm: &Pool, name: &str) -> Arc<KeyRecord> {
    let found = about(hsm, Request::Rotate { name: name.into() });
    found.unwrap().expect("a key")
}

fn find(hsm: &Pool, name: &str) -> Option<Arc<KeyRecord>> {
    about(hsm, Request::Find { name: name.into() }).unwrap()
}

fn objects(record: &KeyRecord) -> Vec<ObjectId> {
    let versions = record.versions.iter();
    versions.map(|version| version.object.clone()).collect()
}

/// Has all nodes do the same at the same moment.
fn race<T: Send>(nodes: &[Pool], work: impl Fn(&Pool) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(nodes.len());
    std::thread::scope(|scope| {
        let each = |node| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(node)
            })
        };
        let threads: Vec<_> = nodes.iter().map(each).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

/// What each node seals the next one opens.
fn pass_round(nodes: &[Pool], object: &ObjectId) {
    let wrapped: Vec<_> = nodes
        .iter()
        .map(|node| sealed(ask(node, encrypt(object, vec![7; 32]))))
        .collect();
    for (node, sealed) in nodes.iter().cycle().skip(1).zip(&wrapped) {
        match ask(node, decrypt(object, sealed)) {
            Ok(Answer::Plaintext(key)) => key.expose(|key| assert_eq!(key, [7; 32])),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn racing_nodes_agree_on_every_version() {
    const ROUNDS: usize = 20;
    const NODES: usize = 8;
    let site = Site::new(KeyKind::P256);
    // One after the other: PyKMIP's queue of new connections holds five.
    let connected = |_| {
        let node = site.pool();
        assert!(find(&node, "race00").is_none());
        node
    };
    let nodes: Vec<Pool> = (0..NODES).map(connected).collect();
    let (mut want, mut late) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let name = format!("race{round:02}");
        let made = race(&nodes, |node| create(node, &name));
        assert_eq!(objects(&made[0]).len(), 1, "round {round}");
        assert!(
            made.iter().all(|record| *record == made[0]),
            "round {round}: {made:?}"
        );
        pass_round(&nodes, &objects(&made[0])[0]);
        let rotated = race(&nodes, |node| rotate(node, &name));
        // A node that looked only when another was done has rotated once more; it shares the rest.
        let longest = rotated.iter().map(|record| objects(record));
        let longest = longest.max_by_key(Vec::len).expect("nodes");
        for record in &rotated {
            let known = objects(record);
            assert!(
                known.len() > 1 && longest.starts_with(&known),
                "round {round}: {rotated:?}"
            );
            late += known.len() - 2;
        }
        for (object, version) in longest.iter().zip(1..) {
            if version > 1 {
                pass_round(&nodes, object);
            }
            want.push(format!("{name}:v{version} ACTIVE"));
        }
    }
    assert!(late <= ROUNDS, "{late} rotations were not shared");
    assert_eq!(
        site.shown(),
        want,
        "exactly one object a version, and no other"
    );
}

#[test]
fn a_sites_own_key_is_version_1() {
    let site = Site::new(KeyKind::P256);
    let hsm = site.pool();
    site.make(&["site", "both", "both:v1", "twice:v2", "twice:v2", "twice"]);
    let own = create(&hsm, "site");
    assert_eq!((own.versions.len(), own.latest()), (1, 1));
    let rotated = rotate(&hsm, "site");
    assert_eq!(
        (rotated.latest(), &rotated.versions[0]),
        (2, &own.versions[0])
    );
    for name in ["both", "twice"] {
        for request in [
            Request::Find { name: name.into() },
            Request::Create { name: name.into() },
            Request::Rotate { name: name.into() },
            Request::Delete { name: name.into() },
        ] {
            let two = HsmError::AmbiguousName { count: 2 };
            assert_eq!(about(&hsm, request), Err(two), "{name}");
        }
    }
    // PyKMIP has no Add Attribute, so a key that it made for others can have no settings of ours...
    let allow = KeyChange {
        deletion_allowed: Some(true),
        ..KeyChange::default()
    };
    site.make(&["bare"]);
    let refused = configure(&hsm, "bare", allow).unwrap_err();
    assert!(matches!(refused, HsmError::Unsupported(_)), "{refused:?}");
    // ... until it is rotated.
    let changed = configure(&hsm, "site", allow).unwrap().unwrap();
    assert!(changed.deletion_allowed);
    assert!(hsm.health().up, "a refusal costs no connection");
}

fn configure(
    hsm: &Pool,
    name: &str,
    change: KeyChange,
) -> Result<Option<Arc<KeyRecord>>, HsmError> {
    let name = name.into();
    about(hsm, Request::Configure { name, change })
}

#[test]
fn settings_deletion_and_lists_are_seen_by_all_nodes() {
    let site = Site::new(KeyKind::P256);
    let (one, other) = (site.pool(), site.pool());
    for name in ["a", "b", "c"] {
        create(&one, name);
    }
    for latest in 2..=10 {
        assert_eq!(rotate(&other, "a").latest(), latest);
    }
    let change = KeyChange {
        min_decryption_version: Some(2),
        min_encryption_version: Some(3),
        deletion_allowed: None,
        ..KeyChange::NONE
    };
    let changed = configure(&one, "a", change).unwrap();
    assert_eq!(find(&other, "a"), changed);
    let changed = changed.unwrap();
    assert_eq!(
        (
            changed.min_decryption_version,
            changed.min_encryption_version
        ),
        (2, 3)
    );
    let list = |hsm: &Pool| match ask(hsm, Request::List) {
        Ok(Answer::Names(names)) => names.join(" "),
        other => panic!("{other:?}"),
    };
    assert_eq!(list(&other), "a b c");

    let delete = |hsm: &Pool, name: &str| about(hsm, Request::Delete { name: name.into() });
    let refused = HsmError::Rejected("deletion is not allowed for this key".into());
    assert_eq!(delete(&other, "a"), Err(refused));
    let allow = KeyChange {
        deletion_allowed: Some(true),
        ..KeyChange::default()
    };
    configure(&one, "a", allow).unwrap();
    assert_eq!(delete(&other, "a"), Ok(None));
    assert_eq!(delete(&one, "a"), Err(HsmError::ObjectNotFound));
    assert_eq!(find(&one, "a"), None);
    assert_eq!(list(&one), "b c");
    assert_eq!(site.shown(), ["b:v1 ACTIVE", "c:v1 ACTIVE"]);
    // Made anew, it has nothing of the old one.
    let anew = create(&other, "a");
    assert_eq!((anew.latest(), anew.deletion_allowed), (1, false));
    assert!(!one.offers_random(), "PyKMIP has no RNG Retrieve");
}
