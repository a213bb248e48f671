//! Versions, settings, deletion, lists and random bytes.

use super::*;
use crate::hsm::{KeyChange, KeyRecord};
use crate::wire::kmip::ProtocolVersion;
use crate::wire::kmip::enums::operation::{DESTROY, MODIFY_ATTRIBUTE, RNG_RETRIEVE};
use fake::{Key, key};

fn with(world: World) -> (FakeHsm, Session) {
    let hsm = FakeHsm::start(world);
    let session = open(&hsm, None).unwrap();
    (hsm, session)
}

fn holding(keys: Vec<Key>) -> World {
    World {
        keys,
        ..World::default()
    }
}

type Found = Result<Option<Arc<KeyRecord>>, HsmError>;

fn about(session: &mut Session, request: Request) -> Found {
    ask(session, request).map(|answer| match answer {
        Answer::Key(record) => record,
        other => panic!("{other:?}"),
    })
}

fn find(session: &mut Session) -> Found {
    about(session, Request::Find { name: "k".into() })
}

fn create(session: &mut Session) -> Found {
    about(session, Request::Create { name: "k".into() })
}

fn rotate(session: &mut Session) -> Found {
    about(session, Request::Rotate { name: "k".into() })
}

fn configure(session: &mut Session, change: KeyChange) -> Found {
    let name = "k".into();
    about(session, Request::Configure { name, change })
}

fn delete(session: &mut Session) -> Found {
    about(session, Request::Delete { name: "k".into() })
}

fn numbers(found: Found) -> Result<Vec<u32>, HsmError> {
    found.map(|record| {
        let versions = record.iter().flat_map(|record| &record.versions);
        versions.map(|version| version.number).collect()
    })
}

fn decryption(version: u32) -> KeyChange {
    KeyChange {
        min_decryption_version: Some(version),
        ..KeyChange::default()
    }
}

fn deletion(allowed: bool) -> KeyChange {
    KeyChange {
        deletion_allowed: Some(allowed),
        ..KeyChange::default()
    }
}

/// Name, what the HSM holds, versions found.
type Row = (&'static str, Vec<Key>, Result<Vec<u32>, HsmError>);

#[test]
fn a_family_is_all_that_bears_the_names_of_its_versions() {
    let named = |names: &[(&str, u32)]| {
        let key = |(at, (name, state)): (usize, &(&str, u32))| key(&format!("u{at}"), name, *state);
        names.iter().enumerate().map(key).collect::<Vec<_>>()
    };
    let many: Vec<Key> = (1..=60)
        .map(|n| key(&format!("u{n}"), &format!("k:v{n}"), 2))
        .collect();
    let two = || Err(HsmError::AmbiguousName { count: 2 });
    let rows: [Row; 13] = [
        ("none", named(&[("other:v1", 2)]), Ok(vec![])),
        ("a site's own", named(&[("k", 2)]), Ok(vec![1])),
        ("ours", named(&[("k:v1", 2)]), Ok(vec![1])),
        ("both", named(&[("k", 2), ("k:v1", 2)]), two()),
        (
            "a site's own, and a candidate",
            named(&[("k", 2), ("k:v1", 1)]),
            Ok(vec![1]),
        ),
        (
            "a site's own, rotated",
            named(&[("k", 2), ("k:v2", 2)]),
            Ok(vec![1, 2]),
        ),
        (
            "two of a version",
            named(&[("k", 2), ("k:v2", 2), ("k:v2", 3)]),
            two(),
        ),
        (
            "a candidate is no version",
            named(&[("k:v1", 2), ("k:v2", 1)]),
            Ok(vec![1]),
        ),
        ("save the first", named(&[("k:v1", 1)]), Ok(vec![1])),
        (
            "unless nodes race for it",
            named(&[("k:v1", 1), ("k:v1", 1)]),
            Ok(vec![]),
        ),
        (
            "destroyed ones leave a gap",
            named(&[("k:v1", 5), ("k:v2", 2), ("k:v3", 5), ("k:v7", 3)]),
            Ok(vec![2, 7]),
        ),
        ("all destroyed", named(&[("k", 5), ("k:v2", 6)]), Ok(vec![])),
        ("many", many, Ok((1..=60).collect())),
    ];
    for (name, keys, want) in rows {
        for batch_max in [1, 1024] {
            let (_hsm, mut session) = with(World {
                batch_max,
                ..holding(keys.clone())
            });
            let got = numbers(find(&mut session));
            assert_eq!(got, want, "{name}, batches of {batch_max}");
        }
    }
}

#[test]
fn an_hsm_that_ignores_the_name_is_found_out() {
    let (hsm, mut session) = with(holding(vec![key("u", "k", 2)]));
    hsm.world.lock().lie = Box::new(|said, _| {
        for one in said {
            if let Ok(Payload::Attributes(key)) = &mut one.result {
                key.name = "other".into();
            }
        }
        Act::Send
    });
    let why = "the HSM's Locate gave an object of another name than it was asked for";
    assert_eq!(find(&mut session), Err(HsmError::Protocol(why)));
}

#[test]
fn a_rotation_adds_a_version_and_none_it_had_before() {
    let (hsm, mut session) = with(holding(vec![]));
    assert_eq!(rotate(&mut session), Ok(None), "there is no such key");
    for want in [vec![1], vec![1, 2], vec![1, 2, 3]] {
        let made = if want == [1] {
            create(&mut session)
        } else {
            rotate(&mut session)
        };
        assert_eq!(numbers(made), Ok(want));
    }
    assert_eq!(numbers(create(&mut session)), Ok(vec![1, 2, 3]));
    // The HSM's operator destroys the newest; its number does not come back.
    hsm.world.lock().keys[2].state = 5;
    assert_eq!(numbers(rotate(&mut session)), Ok(vec![1, 2, 4]));
    // What a crash left behind is used.
    hsm.world.lock().keys.push(key("left", "k:v5", 1));
    assert_eq!(numbers(rotate(&mut session)), Ok(vec![1, 2, 4, 5]));
    let keys = &hsm.world.lock().keys;
    assert!(keys.iter().any(|key| key.uid == "left" && key.state == 2));
}

#[test]
fn settings_are_kept_at_the_hsm() {
    for versions in [vec![ProtocolVersion::V2_0], vec![ProtocolVersion::V1_4]] {
        let (hsm, mut session) = with(World {
            versions: Some(versions),
            ..holding(vec![])
        });
        create(&mut session).unwrap();
        rotate(&mut session).unwrap();
        let changed = configure(&mut session, decryption(2)).unwrap().unwrap();
        assert_eq!(changed.min_decryption_version, 2);
        let changed = configure(&mut session, deletion(true)).unwrap().unwrap();
        assert!(changed.deletion_allowed && changed.min_decryption_version == 2);
        // Another node sees them, and a new version gets a copy that does not allow deletion.
        let mut other = open(&hsm, None).unwrap();
        assert_eq!(find(&mut other), Ok(Some(changed)));
        rotate(&mut other).unwrap();
        let kept = hsm.world.lock().keys[2].application.clone().unwrap().1;
        let want = "min_decryption_version=2 min_encryption_version=0 deletion_allowed=false";
        assert_eq!(kept, want);
        let refused = configure(&mut other, decryption(4)).unwrap_err();
        assert!(matches!(refused, HsmError::Rejected(_)), "{refused:?}");
    }
}

#[test]
fn a_sites_own_key_gets_settings_where_the_hsm_can_keep_them() {
    let (_hsm, mut session) = with(holding(vec![key("u", "k", 2)]));
    let changed = configure(&mut session, deletion(true)).unwrap().unwrap();
    assert!(changed.deletion_allowed);
    assert_eq!(find(&mut session), Ok(Some(changed)));

    let (hsm, mut session) = with(World {
        keeps_settings: false,
        ..holding(vec![])
    });
    assert_eq!(numbers(create(&mut session)), Ok(vec![1]), "made without");
    let refused = configure(&mut session, deletion(true)).unwrap_err();
    assert!(matches!(refused, HsmError::Unsupported(_)), "{refused:?}");
    assert_eq!(hsm.world.lock().keys.len(), 1);
    assert_eq!(configure(&mut session, deletion(true)), Err(refused));
    assert_eq!(
        configure(&mut session, KeyChange::default()),
        find(&mut session)
    );
    let none = Request::Configure {
        name: "none".into(),
        change: deletion(true),
    };
    assert_eq!(about(&mut session, none), Ok(None));
}

#[test]
fn a_change_that_met_another_is_made_again_on_top_of_it() {
    let (hsm, mut session) = with(holding(vec![]));
    create(&mut session).unwrap();
    rotate(&mut session).unwrap();
    let mut met = false;
    hsm.world.lock().lie = Box::new(move |said, _| {
        if said[0].operation == Some(MODIFY_ATTRIBUTE) && !met {
            met = true;
            said[0].result = Err((0x0B, "changed meanwhile".into()));
        }
        // As if the other's change came with the refusal.
        for one in said {
            if let (true, Ok(Payload::Attributes(key))) = (met, &mut one.result) {
                let kept = &mut key.application.as_mut().unwrap().1;
                if kept.contains("version=1") || kept.ends_with("true") {
                    *kept = kept.replace("version=1", "version=2");
                }
            }
        }
        Act::Send
    });
    let changed = configure(&mut session, deletion(true));
    hsm.world.lock().lie = Box::new(|_, _| Act::Send);
    let changed = changed.unwrap().unwrap();
    assert!(changed.deletion_allowed && changed.min_decryption_version == 2);
}

#[test]
fn settings_that_are_not_understood_forbid_the_key() {
    let mut odd = key("u", "k", 2);
    odd.application = Some(("connected-kms".into(), "derived=true".into()));
    let (_hsm, mut session) = with(holding(vec![odd.clone()]));
    match find(&mut session) {
        Err(HsmError::Refused { text, .. }) => assert!(text.contains("not understood"), "{text}"),
        other => panic!("{other:?}"),
    }
    odd.application = Some(("another application".into(), "derived=true".into()));
    let (_hsm, mut session) = with(holding(vec![odd]));
    assert_eq!(numbers(find(&mut session)), Ok(vec![1]));
}

#[test]
fn a_key_is_deleted_whole_or_not_at_all() {
    let (hsm, mut session) = with(holding(vec![key("x", "other", 2)]));
    assert_eq!(delete(&mut session), Err(HsmError::ObjectNotFound));
    create(&mut session).unwrap();
    rotate(&mut session).unwrap();
    let refused = HsmError::Rejected("deletion is not allowed for this key".into());
    assert_eq!(delete(&mut session), Err(refused));
    assert!(!hsm.world.lock().seen.contains(&vec![DESTROY]));
    configure(&mut session, deletion(true)).unwrap();
    // Deactivated by the HSM's operator; and a candidate that a crash left behind.
    hsm.world.lock().keys[2].state = 3;
    hsm.world.lock().keys.push(key("left", "k:v3", 1));
    assert_eq!(delete(&mut session), Ok(None));
    let states: Vec<u32> = hsm.world.lock().keys.iter().map(|key| key.state).collect();
    assert_eq!(states, [2, 5, 5, 5]);
    assert_eq!(find(&mut session), Ok(None));
    assert_eq!(delete(&mut session), Err(HsmError::ObjectNotFound));
}

#[test]
fn a_delete_that_the_hsm_cuts_short_can_be_asked_for_again() {
    let (hsm, mut session) = with(holding(vec![]));
    create(&mut session).unwrap();
    rotate(&mut session).unwrap();
    configure(&mut session, deletion(true)).unwrap();
    hsm.world.lock().lie = Box::new(|said, _| {
        if said[0].operation == Some(DESTROY) {
            said[0].result = Err((0x0C, "no".into()));
        }
        Act::Send
    });
    // The first Destroy, of version 2, happened and was told as refused.
    drop(delete(&mut session));
    hsm.world.lock().lie = Box::new(|_, _| Act::Send);
    drop(delete(&mut session));
    assert_eq!(find(&mut session), Ok(None));
}

fn list(session: &mut Session) -> Result<Vec<String>, HsmError> {
    ask(session, Request::List).map(|answer| match answer {
        Answer::Names(names) => names.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_list_has_each_key_once() {
    let keys = [
        ("b:v1", 2),
        ("b:v2", 2),
        ("a", 1),
        ("gone", 5),
        ("gone:v2", 6),
        ("c:v2", 1),
        ("no key", 2),
        ("d:x", 2),
    ];
    let keys = keys.iter().enumerate();
    let keys = keys.map(|(at, (name, state))| key(&format!("u{at}"), name, *state));
    let (_hsm, mut session) = with(holding(keys.collect()));
    assert_eq!(list(&mut session), Ok(vec!["a".to_owned(), "b".to_owned()]));

    let many = |count| (0..count).map(|n| key(&format!("u{n}"), &format!("k{n:05}"), 2));
    let (hsm, mut session) = with(holding(many(1_200).collect()));
    assert_eq!(list(&mut session).map(|names| names.len()), Ok(1_200));
    hsm.world.lock().pages = false;
    let refused = list(&mut session).unwrap_err();
    assert!(matches!(refused, HsmError::Unsupported(_)), "{refused:?}");
    {
        let mut world = hsm.world.lock();
        world.pages = true;
        world.keys = many(10_001).collect();
    }
    match list(&mut session) {
        Err(HsmError::Refused { text, .. }) => assert!(text.contains("too many"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn random_bytes_are_as_many_as_asked_for() {
    let (_hsm, mut session) = with(World::default());
    assert!(!PoolSession::offers_random(&session));
    let ask_for = |session: &mut Session, bytes| plaintext(ask(session, Request::Random { bytes }));
    let refused = ask_for(&mut session, 32);
    assert!(
        matches!(refused, Err(HsmError::Unsupported(_))),
        "{refused:?}"
    );

    let mut world = World::default();
    world.operations.push(RNG_RETRIEVE);
    let (hsm, mut session) = with(world);
    assert!(PoolSession::offers_random(&session));
    for bytes in [16, 64] {
        assert_eq!(ask_for(&mut session, bytes), Ok(vec![4; bytes]));
    }
    for bytes in [0, 4097, usize::MAX] {
        let refused = ask_for(&mut session, bytes);
        assert!(matches!(refused, Err(HsmError::Unsupported(_))), "{bytes}");
    }
    for given in [0, 31, 33] {
        hsm.world.lock().lie = Box::new(move |said, _| {
            said[0].result = Ok(Payload::Random(vec![9; given]));
            Act::Send
        });
        let refused = ask_for(&mut session, 32);
        assert!(matches!(refused, Err(HsmError::Protocol(_))), "{given}");
    }
    hsm.world.lock().lie = Box::new(|_, _| Act::Send);
    let pool = pool(&hsm);
    let answer = ask_pool(&pool, Request::Random { bytes: 32 }, soon());
    assert_eq!(plaintext(answer), Ok(vec![4; 32]));
    assert!(pool.offers_random());
}
