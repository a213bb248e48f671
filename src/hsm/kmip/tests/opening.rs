//! What is agreed with an HSM before the first job, and what is not accepted.

use super::*;
use crate::hsm::Envelope;
use crate::wire::kmip::ProtocolVersion;
use crate::wire::kmip::enums::operation;

const V1_3: ProtocolVersion = ProtocolVersion { major: 1, minor: 3 };
const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;
const V2_1: ProtocolVersion = ProtocolVersion::V2_1;

#[test]
fn the_best_common_version_is_spoken() {
    type Row = (
        Option<Vec<ProtocolVersion>>,
        Result<&'static str, &'static str>,
    );
    let rows: [Row; 7] = [
        (Some(vec![V2_1, V2_0, V1_4]), Ok("KMIP 2.1")),
        (Some(vec![V1_4, V2_0]), Ok("KMIP 2.0")),
        (Some(vec![V1_3, V1_4]), Ok("KMIP 1.4")),
        // No Discover Versions: 1.4 must then simply work.
        (None, Ok("KMIP 1.4")),
        (
            Some(vec![V1_3, ProtocolVersion::V1_2]),
            Err("names: 1.3, 1.2); below 1.4 authenticated encryption loses its tag"),
        ),
        (Some(vec![]), Err("names: none)")),
        (
            Some(vec![ProtocolVersion { major: 3, minor: 0 }]),
            Err("names: 3.0)"),
        ),
    ];
    for (versions, want) in rows {
        let name = format!("{versions:?}");
        let hsm = FakeHsm::start(World {
            versions,
            ..World::default()
        });
        match (open(&hsm, None), want) {
            (Ok(mut session), Ok(want)) => {
                let text = session.describe();
                assert!(
                    text.contains(want) && text.contains("fake"),
                    "{name}: {text}"
                );
                assert_eq!(session.clock_unix_s, Some(1), "{name}: the HSM's clock");
                let outcome = ask(&mut session, decrypt("uid-1", sealed(b"a")));
                assert_eq!(plaintext(outcome), Ok(b"a".to_vec()), "{name}");
            }
            (Err(why), Err(want)) => assert!(why.contains(want), "{name}: {why}"),
            (got, _) => panic!("{name}: {:?}", got.map(|session| session.describe())),
        }
    }
}

/// Versions, how many operations, what is asked for: what comes of it.
type Opening = (
    Option<Vec<ProtocolVersion>>,
    usize,
    Envelope,
    Result<&'static str, &'static str>,
);

fn openings() -> [Opening; 7] {
    let versions = |list: &[(i32, i32)]| {
        let version = |(major, minor): &(i32, i32)| ProtocolVersion {
            major: *major,
            minor: *minor,
        };
        Some(list.iter().map(version).collect::<Vec<_>>())
    };
    [
        (
            versions(&[(1, 3), (1, 2)]),
            3,
            Envelope::AesCbcHmac,
            Ok("KMIP 1.3"),
        ),
        (
            versions(&[(1, 1), (1, 2)]),
            3,
            Envelope::AesCbcHmac,
            Ok("KMIP 1.2"),
        ),
        (
            versions(&[(2, 0), (1, 2)]),
            3,
            Envelope::AesCbcHmac,
            Ok("KMIP 2.0"),
        ),
        (
            versions(&[(1, 1), (1, 0)]),
            3,
            Envelope::AesCbcHmac,
            Err(
                "(it names: 1.1, 1.0); below 1.2 it has neither Encrypt nor MAC, which kms.hsm.kmip.cipher",
            ),
        ),
        (
            versions(&[(1, 2)]),
            2,
            Envelope::AesCbcHmac,
            Err("the HSM does not offer this client MAC: allow it there"),
        ),
        (
            versions(&[(1, 3)]),
            3,
            Envelope::AesGcm,
            Err("enable KMIP 1.4 on the HSM, or set kms.hsm.kmip.cipher = cbc-hmac"),
        ),
        (
            versions(&[(1, 1)]),
            3,
            Envelope::AesGcm,
            Err("loses its tag: enable KMIP 1.4 on the HSM"),
        ),
    ]
}

#[test]
fn older_versions_do_for_cbc_and_are_its_remedy() {
    let all = [operation::ENCRYPT, operation::DECRYPT, operation::MAC];
    for (versions, operations, envelope, want) in openings() {
        let name = format!("{envelope:?} {versions:?}");
        let hsm = FakeHsm::start(World {
            versions,
            operations: all[..operations].to_vec(),
            ..World::default()
        });
        let plan = KmipPlan {
            envelope,
            ..hsm.plan(None)
        };
        match (open_as(plan), want) {
            (Ok(session), Ok(want)) => {
                let text = session.describe();
                assert!(text.contains(want), "{name}: {text}");
            }
            (Err(why), Err(want)) => {
                assert!(why.contains(want), "{name}: {why}");
                let is_remedied = why.contains("or set kms.hsm.kmip.cipher");
                assert_eq!(is_remedied, want.contains("or set"), "{name}: {why}");
            }
            (got, _) => panic!("{name}: {:?}", got.map(|session| session.describe())),
        }
    }
}

#[test]
fn an_hsm_that_cannot_unwrap_is_refused_by_name() {
    for (operations, want) in [
        (vec![operation::ENCRYPT, operation::DECRYPT], None),
        // An HSM that names nothing is believed.
        (vec![], None),
        (
            vec![operation::ENCRYPT],
            Some("the HSM does not offer this client Decrypt"),
        ),
        (vec![operation::QUERY], Some("Encrypt and Decrypt")),
    ] {
        for batch_max in [1, 64] {
            let hsm = FakeHsm::start(World {
                operations: operations.clone(),
                batch_max,
                ..World::default()
            });
            match (open(&hsm, None), want) {
                (Ok(_), None) => {}
                (Err(why), Some(want)) => assert!(why.contains(want), "{why}"),
                (got, _) => panic!("{operations:?}: {:?}", got.map(|_| ())),
            }
        }
    }
}

#[test]
fn an_hsm_that_takes_no_batches_gets_single_items() {
    let hsm = FakeHsm::start(World {
        batch_max: 1,
        ..World::default()
    });
    let mut session = open(&hsm, None).unwrap();
    hsm.world.lock().seen.clear();
    let plain: [&[u8]; 3] = [b"one", b"two", b"three"];
    let requests = plain.map(|plain| decrypt("uid-1", sealed(plain)));
    let (outcomes, served) = serve(&mut session, requests.into(), soon());
    for (outcome, plain) in outcomes.into_iter().zip(plain) {
        assert_eq!(plaintext(outcome.unwrap()), Ok(plain.to_vec()));
    }
    assert_eq!(served.broken, None);
    let seen = hsm.world.lock().seen.clone();
    assert_eq!(
        seen,
        vec![vec![operation::DECRYPT]; 3],
        "learnt once: no batch is tried again"
    );
}

#[test]
fn answers_that_break_the_protocol_end_the_attempt_with_a_clear_text() {
    type Change = fn(&mut Vec<Said>, &[u8]) -> Act;
    let rows: [(&str, Change, &str); 5] = [
        (
            "garbage",
            |_, _| Act::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            "no KMIP message",
        ),
        (
            "the end",
            |_, _| Act::End,
            "an HSM that refuses this client's certificate may do so",
        ),
        (
            "a refusal of the whole message",
            |said, _| {
                said.truncate(1);
                said[0].operation = None;
                said[0].id = None;
                said[0].result = Err((3, "not\nauthenticated".into()));
                Act::Send
            },
            "reason 0x3, \"not authenticated\"; check that it knows this client's certificate",
        ),
        (
            "a refusal that answers another request",
            |said, _| {
                said[0].id = Some(vec![9; 8]);
                said[0].result = Err((5, "no".into()));
                Act::Send
            },
            "belongs to another request",
        ),
        (
            "another operation's answer",
            |said, _| {
                said[0].operation = Some(operation::LOCATE);
                Act::Send
            },
            "belongs to another request",
        ),
    ];
    for (name, lie, want) in rows {
        let hsm = FakeHsm::start(World {
            lie: Box::new(lie),
            ..World::default()
        });
        let why = open(&hsm, None).map(drop).expect_err(name);
        assert!(why.contains(want), "{name}: {why}");
    }
}

#[test]
fn a_login_goes_with_every_request() {
    let hsm = FakeHsm::start(World::default());
    let login = Login {
        username: "kms".into(),
        password: SecretString::new("open sesame".to_owned()),
    };
    let mut session = open(&hsm, Some(login)).unwrap();
    for request in [
        decrypt("uid-1", sealed(b"a")),
        Request::Find {
            name: "demo".into(),
        },
    ] {
        hsm.world.lock().password = None;
        ask(&mut session, request).unwrap();
        assert_eq!(hsm.world.lock().password.as_deref(), Some("open sesame"));
    }
}
