//! Keys by name: found only when exactly one bears it, created once, and finished when left half made.

use super::*;
use crate::hsm::{KeyChange, KeyState};
use crate::wire::kmip::enums::operation::{
    ACTIVATE, CREATE, DESTROY, GET_ATTRIBUTES, LOCATE, MODIFY_ATTRIBUTE,
};
use fake::{Key, key};

fn find(session: &mut Session) -> Result<Option<KeyState>, HsmError> {
    state(ask(session, Request::Find { name: "k".into() }))
}

fn create(session: &mut Session) -> Result<Option<KeyState>, HsmError> {
    state(ask(session, Request::Create { name: "k".into() }))
}

fn state(outcome: Outcome) -> Result<Option<KeyState>, HsmError> {
    outcome.map(|answer| match answer {
        Answer::Key(record) => record.map(|record| {
            assert_eq!((&*record.name, record.versions[0].number), ("k", 1));
            assert_eq!(record.versions[0].created_unix_s, 77);
            record.versions[0].state
        }),
        other => panic!("{other:?}"),
    })
}

fn with(keys: Vec<Key>) -> (FakeHsm, Session) {
    let hsm = FakeHsm::start(World {
        keys,
        ..World::default()
    });
    let session = open(&hsm, None).unwrap();
    (hsm, session)
}

fn count(hsm: &FakeHsm, operation: u32) -> usize {
    let world = hsm.world.lock();
    world
        .seen
        .iter()
        .flatten()
        .filter(|seen| **seen == operation)
        .count()
}

#[test]
fn a_name_must_belong_to_exactly_one_usable_key() {
    let odd = |change: fn(&mut Key)| {
        let mut key = key("u", "k", 2);
        change(&mut key);
        vec![key]
    };
    let two = HsmError::AmbiguousName { count: 2 };
    let refused = |text: &str, reason| HsmError::Refused {
        reason,
        text: text.into(),
    };
    for (name, keys, want) in [
        ("none", vec![key("u", "other", 2)], Ok(None)),
        ("one", vec![key("u", "k", 2)], Ok(Some(KeyState::Active))),
        (
            "pre-active",
            vec![key("u", "k", 1)],
            Ok(Some(KeyState::PreActive)),
        ),
        (
            "deactivated",
            vec![key("u", "k", 3)],
            Ok(Some(KeyState::Deactivated)),
        ),
        ("destroyed", vec![key("u", "k", 6)], Ok(None)),
        (
            "a state of the future",
            vec![key("u", "k", 99)],
            Ok(Some(KeyState::Active)),
        ),
        ("two", vec![key("u", "k", 2), key("v", "k", 2)], Err(two)),
        (
            "no AES",
            odd(|key| key.algorithm = 2),
            Err(refused("the object named \"k\" is no AES key", 0x30)),
        ),
        (
            "may only encrypt",
            odd(|key| key.usage = 4),
            Err(refused(
                "key \"k\" may not decrypt: give its Cryptographic Usage Mask Encrypt and Decrypt",
                0x29,
            )),
        ),
    ] {
        let (hsm, mut session) = with(keys);
        assert_eq!(find(&mut session), want, "find: {name}");
        if want != Ok(None) && name != "pre-active" {
            assert_eq!(create(&mut session), want, "create: {name}");
            assert_eq!(count(&hsm, CREATE) + count(&hsm, ACTIVATE), 0, "{name}");
        }
    }
}

#[test]
fn a_new_key_is_created_and_activated_once() {
    let (hsm, mut session) = with(vec![]);
    for _ in 0..2 {
        assert_eq!(create(&mut session), Ok(Some(KeyState::Active)));
    }
    assert_eq!((count(&hsm, CREATE), count(&hsm, ACTIVATE)), (1, 1));
}

#[test]
fn a_key_left_between_create_and_activate_is_finished() {
    let (hsm, mut session) = with(vec![key("u", "k", 1)]);
    assert_eq!(create(&mut session), Ok(Some(KeyState::Active)));
    assert_eq!((count(&hsm, CREATE), count(&hsm, ACTIVATE)), (0, 1));
}

#[test]
fn a_key_that_waits_for_its_activation_date_is_left_alone() {
    let mut waiting = key("u", "k", 1);
    waiting.activation = Some(4_000_000_000);
    let (hsm, mut session) = with(vec![waiting]);
    assert_eq!(create(&mut session), Ok(Some(KeyState::PreActive)));
    assert_eq!(count(&hsm, ACTIVATE), 0);
}

#[test]
fn another_node_may_be_faster_at_every_step() {
    // It made the key between our look and our Create.
    let (hsm, mut session) = with(vec![]);
    for reason in [0x18, 0x35] {
        {
            let mut world = hsm.world.lock();
            world.keys.clear();
            world.create_refused = Some(reason);
            world.rival = Some(key("u", "k:v1", 2));
        }
        assert_eq!(
            create(&mut session),
            Ok(Some(KeyState::Active)),
            "{reason:#x}"
        );
    }
    // It activated the key before us.
    let (hsm, mut session) = with(vec![key("u", "k", 1)]);
    hsm.world.lock().lie = Box::new(|said, _| {
        if said[0].operation == Some(ACTIVATE) {
            said[0].result = Err((0x0C, "active already".into()));
        }
        Act::Send
    });
    assert_eq!(create(&mut session), Ok(Some(KeyState::Active)));
}

#[test]
fn refusals_name_the_reason() {
    let (hsm, mut session) = with(vec![]);
    hsm.world.lock().create_refused = Some(0x0C);
    let refused = HsmError::Refused {
        reason: 0x0C,
        text: "refused".into(),
    };
    assert_eq!(create(&mut session), Err(refused));
    // A name that is taken by a key which the HSM hides from us.
    hsm.world.lock().create_refused = Some(0x18);
    match create(&mut session) {
        Err(HsmError::Refused { text, .. }) => {
            assert!(text.contains("does not show it to this client"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    // Made, but it may not be activated.
    hsm.world.lock().create_refused = None;
    hsm.world.lock().activate_refused = Some(0x0C);
    let refused = HsmError::Refused {
        reason: 0x0C,
        text: "not yours".into(),
    };
    assert_eq!(create(&mut session), Err(refused));
}

#[test]
fn a_create_is_tried_again_from_wherever_its_connection_broke() {
    for step in [LOCATE, CREATE, ACTIVATE] {
        let (hsm, mut session) = with(vec![]);
        hsm.world.lock().lie = dies_at(step);
        let request = Request::Create { name: "k".into() };
        let (outcomes, served) = serve(&mut session, vec![request], soon());
        assert!(
            outcomes[0].is_none() && served.broken.is_some(),
            "{step:#x}"
        );
        assert_eq!(served.retry.len(), 1, "{step:#x}");
        // What was left behind is finished by the next attempt, and made only once.
        hsm.world.lock().lie = Box::new(|_, _| Act::Send);
        let mut session = open(&hsm, None).unwrap();
        assert_eq!(
            create(&mut session),
            Ok(Some(KeyState::Active)),
            "{step:#x}"
        );
        assert_eq!(hsm.world.lock().keys.len(), 1, "{step:#x}");
    }
}

#[test]
fn what_is_not_the_same_twice_is_not_tried_again_once_it_changed_something() {
    let name: Arc<str> = "k".into();
    let allow = KeyChange {
        deletion_allowed: Some(true),
        ..KeyChange::default()
    };
    let rotate = Request::Rotate {
        name: Arc::clone(&name),
    };
    let configure = Request::Configure {
        name: Arc::clone(&name),
        change: allow,
    };
    let delete = Request::Delete { name };
    for (request, step, may_retry) in [
        (rotate.clone(), LOCATE, true),
        (rotate.clone(), CREATE, false),
        (rotate, ACTIVATE, false),
        (configure.clone(), GET_ATTRIBUTES, true),
        (configure, MODIFY_ATTRIBUTE, false),
        (delete.clone(), GET_ATTRIBUTES, true),
        (delete, DESTROY, false),
    ] {
        let mut bears = key("u", "k", 2);
        let text = "min_decryption_version=1 min_encryption_version=0 deletion_allowed=";
        let allowed = matches!(request, Request::Delete { .. });
        bears.application = Some(("connected-kms".into(), format!("{text}{allowed}")));
        let (hsm, mut session) = with(vec![bears]);
        hsm.world.lock().lie = dies_at(step);
        let shown = format!("{request:?} at {step:#x}");
        let (outcomes, served) = serve(&mut session, vec![request], soon());
        assert_eq!(served.retry.len(), usize::from(may_retry), "{shown}");
        if !may_retry {
            let outcome = outcomes.into_iter().next().flatten();
            assert!(
                matches!(outcome, Some(Err(HsmError::Unavailable(_)))),
                "{shown}: {outcome:?}"
            );
        }
    }
}

/// The connection ends instead of the answer.
fn dies_at(step: u32) -> Lie {
    Box::new(move |said, _| {
        if said[0].operation == Some(step) {
            Act::End
        } else {
            Act::Send
        }
    })
}
