//! A version that this node does not know: looked up once before it is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use kms::api::Command;
use kms::hsm::HsmError;
use kms::wire::transit::{DatakeyBody, Verb};
use service_support::desk::{Asking, Desk, Said, body};
use service_support::fake_hsm::{decrypt_body, sealed_by};
use service_support::transit::errors;

const TOO_NEW: &str = "invalid ciphertext: version is too new";
const TOO_HIGH: &str = "requested version for encryption is higher than the latest key version";

fn by(version: u32) -> String {
    format!("{{\"ciphertext\":\"{}\"}}", sealed_by(version, b"x"))
}

/// A node that has met the key with its first version.
fn met() -> Desk {
    let desk = Desk::new();
    assert_eq!(desk.unwrap(b"first"), (200, 1));
    desk
}

fn datakey(desk: &Desk, key_version: i64) -> Said {
    desk.ask(&Command::Datakey {
        key: "k",
        plaintext: false,
        body: DatakeyBody {
            bits: 256,
            key_version,
            context: None,
            associated_data: None,
            warnings: Vec::new(),
        },
    })
}

/// One request that names `version` of the key `k`.
type Ask = fn(&Desk, u32) -> Said;

/// By operation: how it asks for a version, and how it is refused one.
const OPERATIONS: [(&str, Ask, &str); 7] = [
    (
        "decrypt",
        |desk, version| desk.decrypt(&by(version)),
        TOO_NEW,
    ),
    ("rewrap", |desk, version| desk.rewrap(&by(version)), TOO_NEW),
    (
        "batch of decrypts",
        |desk, version| desk.decrypt(&format!("{{\"batch_input\":[{0},{0},{0}]}}", by(version))),
        TOO_NEW,
    ),
    (
        "batch of rewraps",
        |desk, version| desk.rewrap(&format!("{{\"batch_input\":[{0},{0}]}}", by(version))),
        TOO_NEW,
    ),
    (
        "rewrap to a version",
        |desk, version| {
            let ciphertext = sealed_by(1, b"x");
            let item = format!("{{\"ciphertext\":\"{ciphertext}\",\"key_version\":{version}}}");
            desk.rewrap(&format!("{{\"batch_input\":[{item}]}}"))
        },
        TOO_HIGH,
    ),
    (
        "encrypt",
        |desk, version| {
            desk.encrypt(&format!(
                "{{\"plaintext\":\"eA==\",\"key_version\":{version}}}"
            ))
        },
        TOO_HIGH,
    ),
    (
        "data key",
        |desk, version| datakey(desk, version.into()),
        TOO_HIGH,
    ),
];

#[test]
fn a_version_of_another_nodes_is_found_and_served() {
    for (name, ask, _) in OPERATIONS {
        let desk = met();
        desk.hsm.rotate("k");
        let said = ask(&desk, 2);
        assert_eq!(
            (said.status, said.body.contains("error")),
            (200, false),
            "{name}: {}",
            said.body
        );
        assert_eq!(desk.hsm.count("find"), 2, "{name}: looked up once");
        assert_eq!(desk.unwrap(b"first"), (200, 0), "{name}: still warm");
        ask(&desk, 2);
        assert_eq!(desk.hsm.count("find"), 2, "{name}: known now");
    }
}

#[test]
fn a_version_that_nobody_has_is_refused_after_one_lookup() {
    for (name, ask, refusal) in OPERATIONS {
        let desk = met();
        for finds in 2..4 {
            let said = ask(&desk, 9);
            assert!(said.body.contains(refusal), "{name}: {}", said.body);
            assert_eq!(
                desk.hsm.count("find"),
                finds,
                "{name}: one lookup a request"
            );
        }
        let cold = Desk::new();
        assert!(
            ask(&cold, 9).body.contains(refusal),
            "{name}: a key not met before"
        );
        assert_eq!(
            cold.hsm.count("find"),
            1,
            "{name}: that was looked up just now"
        );
    }
}

#[test]
fn an_outage_is_not_a_version_too_new() {
    for (fault, status, text) in [
        (
            HsmError::Unavailable("down".into()),
            503,
            "the HSM is not reachable",
        ),
        (HsmError::TimedOut, 504, "the HSM did not answer in time"),
    ] {
        for (name, ask, _) in OPERATIONS {
            let desk = met();
            desk.unwrap(b"x");
            desk.hsm.fail(Some(fault.clone()));
            let said = ask(&desk, 2);
            assert!(said.body.contains(text), "{name}: {}", said.body);
            let want = if name.contains("rewraps") || name == "rewrap to a version" {
                200
            } else {
                status
            };
            assert_eq!(said.status, want, "{name}");
            assert_eq!(
                desk.unwrap(b"first"),
                (200, 0),
                "{name}: warm keys are served"
            );
        }
    }
}

#[test]
fn made_up_versions_keep_one_lookup_in_flight() {
    let desk = met();
    desk.hsm.hold();
    let text = by(9);
    let command = Command::Decrypt {
        key: "k",
        body: body(Verb::Decrypt, &text),
    };
    let mut askings: Vec<_> = (0..5).map(Asking::new).collect();
    for asking in &mut askings {
        assert_eq!(desk.run(asking, &command), None);
    }
    assert_eq!(desk.hsm.count("find"), 2, "five requests, one lookup");
    desk.hsm.release(1);
    // The first asked itself; the others joined what had begun before them, and look once more.
    let said = desk.resume(&mut askings[0], &command).expect("an answer");
    assert_eq!((said.status, said.body), (400, errors(TOO_NEW)));
    for asking in &mut askings[1..] {
        assert_eq!(desk.resume(asking, &command), None);
    }
    assert_eq!(desk.hsm.count("find"), 3, "again one for all");
    desk.hsm.release(1);
    for asking in &mut askings[1..] {
        let said = desk.resume(asking, &command).expect("an answer");
        assert_eq!((said.status, said.body), (400, errors(TOO_NEW)));
    }
    assert_eq!(desk.hsm.count("find"), 3);
}

#[test]
fn a_lookup_that_began_before_the_rotation_is_not_the_last_word() {
    let desk = met();
    desk.hsm.hold();
    let text = by(2);
    let command = Command::Decrypt {
        key: "k",
        body: body(Verb::Decrypt, &text),
    };
    let (mut early, mut late) = (Asking::new(1), Asking::new(2));
    assert_eq!(desk.run(&mut early, &command), None);
    // The HSM has looked; its answer is on its way while the key is rotated and a client uses that.
    assert_eq!(desk.run(&mut late, &command), None);
    desk.hsm.release(1);
    desk.hsm.rotate("k");
    assert_eq!(
        desk.resume(&mut early, &command).expect("an answer").status,
        400
    );
    assert_eq!(desk.resume(&mut late, &command), None, "looks once more");
    desk.hsm.release(1);
    assert_eq!(
        desk.resume(&mut late, &command),
        None,
        "found; now it is unwrapped"
    );
    desk.hsm.release(1);
    assert_eq!(
        desk.resume(&mut late, &command).expect("an answer").status,
        200
    );
}

#[test]
fn a_lookup_out_of_time_is_a_504() {
    let desk = met();
    desk.hsm.hold();
    let text = by(9);
    let command = Command::Decrypt {
        key: "k",
        body: body(Verb::Decrypt, &text),
    };
    let mut asking = Asking::new(1);
    assert_eq!(desk.run(&mut asking, &command), None);
    let said = desk.give_up(&mut asking, &command).expect("an answer");
    assert_eq!((said.status, desk.hsm.count("find")), (504, 2));
}

#[test]
fn only_the_items_of_an_unknown_version_wait_for_it() {
    let desk = met();
    let first = decrypt_body(b"first");
    let said = desk.decrypt(&format!("{{\"batch_input\":[{first},{}]}}", by(9)));
    let want = format!(
        "{{\"batch_results\":[{{\"plaintext\":\"Zmlyc3Q=\",\"reference\":\"\"}},\
         {{\"plaintext\":\"\",\"error\":\"{TOO_NEW}\",\"reference\":\"\"}}]}}"
    );
    assert_eq!((said.status, said.data()), (400, want.as_str()));
}

#[test]
fn a_key_that_went_between_lookup_and_use_is_looked_up_again() {
    for (name, back, want) in [("and came back", true, 200), ("for good", false, 400)] {
        let desk = Desk::new();
        desk.hsm.hold();
        let text = decrypt_body(b"x");
        let command = Command::Decrypt {
            key: "k",
            body: body(Verb::Decrypt, &text),
        };
        let mut asking = Asking::new(1);
        assert_eq!(desk.run(&mut asking, &command), None);
        desk.hsm.release(1);
        // Learnt; before the request runs again, a delete of another client forgets it.
        let kept = desk.hsm.key("k").unwrap();
        desk.hsm.remove_key("k");
        let delete = Command::DeleteKey { key: "k" };
        let mut other = Asking::new(2);
        assert_eq!(desk.run(&mut other, &delete), None);
        desk.hsm.release(1);
        assert!(desk.resume(&mut other, &delete).is_some());
        if back {
            desk.hsm.set_key(kept);
        }
        assert_eq!(
            desk.resume(&mut asking, &command),
            None,
            "{name}: looks again"
        );
        desk.hsm.release_all();
        let said = desk
            .resume(&mut asking, &command)
            .or_else(|| desk.resume(&mut asking, &command));
        assert_eq!(said.expect("an answer").status, want, "{name}");
    }
}
