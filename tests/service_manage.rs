//! Keys listed, rotated, configured and deleted, and what the cache keeps of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::sync::Arc;
use std::time::Duration;

use kms::api::Command;
use kms::hsm::HsmError;
use kms::keys::METADATA_TTL;
use kms::wire::transit::{ConfigBody, IgnoredBody, ListQuery};
use service_support::desk::{Asking, Desk, Said, role};
use service_support::fake_hsm::{record, sealed_by};
use service_support::transit::errors;

fn rotate(desk: &Desk, key: &str) -> Said {
    let body = IgnoredBody {
        warnings: vec!["w".to_owned()],
    };
    desk.ask(&Command::RotateKey { key, body })
}

fn config(desk: &Desk, key: &str, body: ConfigBody) -> Said {
    desk.ask(&Command::ConfigKey { key, body })
}

fn minimum(version: i64) -> ConfigBody {
    ConfigBody {
        min_decryption_version: Some(version),
        ..ConfigBody::default()
    }
}

fn read(desk: &Desk) -> Said {
    desk.ask(&Command::ReadKey {
        key: "k",
        warnings: Vec::new(),
    })
}

fn under(desk: &Desk, version: u32, plaintext: &[u8]) -> (u16, usize) {
    let before = desk.hsm.count("decrypt");
    let said = desk.decrypt(&format!(
        "{{\"ciphertext\":\"{}\"}}",
        sealed_by(version, plaintext)
    ));
    (said.status, desk.hsm.count("decrypt") - before)
}

#[test]
fn a_rotation_drops_nothing_and_shows_at_once() {
    let desk = Desk::new();
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    let said = rotate(&desk, "k");
    assert_eq!(said.status, 200);
    assert!(
        said.data()
            .contains("\"keys\":{\"1\":1795458514,\"2\":1795458514},\"latest_version\":2,")
    );
    assert!(said.body.contains("\"warnings\":[\"w\"]"));
    assert_eq!(read(&desk).data(), said.data());
    assert_eq!(desk.unwrap(b"x"), (200, 0), "still warm");
    let wrapped = desk.encrypt("{\"plaintext\":\"eA==\"}");
    assert_eq!(
        wrapped.ciphertext(),
        sealed_by(2, b"x"),
        "the new version wraps"
    );
    assert_eq!(
        desk.hsm.count("find"),
        1,
        "nothing had to be looked up again"
    );
    let said = rotate(&desk, "nope");
    assert_eq!((said.status, said.body), (400, errors("key not found")));
}

#[test]
fn a_raised_minimum_drops_what_fell_below_it_and_no_more() {
    let desk = Desk::new();
    rotate(&desk, "k");
    assert_eq!(
        (under(&desk, 1, b"x"), under(&desk, 2, b"x")),
        ((200, 1), (200, 1))
    );
    let said = config(&desk, "k", minimum(2));
    assert!(
        said.data()
            .contains("\"keys\":{\"2\":1795458514},\"latest_version\":2,"),
        "{}",
        said.body
    );
    assert_eq!(read(&desk).data(), said.data());
    assert_eq!(
        (under(&desk, 1, b"x").0, under(&desk, 2, b"x")),
        (400, (200, 0))
    );
    config(&desk, "k", minimum(1));
    assert_eq!(
        (under(&desk, 1, b"x"), under(&desk, 2, b"x")),
        ((200, 1), (200, 0))
    );
}

#[test]
fn settings_are_refused_in_transits_words_and_order() {
    let minima = |decryption: i64, encryption: i64| ConfigBody {
        min_decryption_version: Some(decryption),
        min_encryption_version: Some(encryption),
        ..ConfigBody::default()
    };
    for (name, key, body, want) in [
        (
            "negative",
            "k",
            minimum(-1),
            "min decryption version cannot be negative",
        ),
        (
            "both negative",
            "k",
            minima(-1, -1),
            "min decryption version cannot be negative",
        ),
        (
            "second negative",
            "k",
            minima(1, -1),
            "min encryption version cannot be negative",
        ),
        (
            "unknown key",
            "nope",
            minimum(-1),
            "no existing key named nope could be found",
        ),
        (
            "too high",
            "k",
            minimum(9),
            "cannot set min decryption version of 9, latest key version is 2",
        ),
        (
            "beyond any number of a version",
            "k",
            minima(1, 4_294_967_299),
            "cannot set min encryption version of 4294967299, latest key version is 2",
        ),
        (
            "wraps what it cannot unwrap",
            "k",
            minima(2, 1),
            "cannot set min encryption/decryption values; min encryption version of 1 must be greater \
             than or equal to min decryption version of 2",
        ),
    ] {
        let desk = Desk::new();
        rotate(&desk, "k");
        let said = config(&desk, key, body);
        assert_eq!((said.status, said.body), (400, errors(want)), "{name}");
    }
}

#[test]
fn settings_that_no_back_end_has_are_refused() {
    let with = |change: fn(&mut ConfigBody)| {
        let mut body = ConfigBody::default();
        change(&mut body);
        body
    };
    for (field, body) in [
        ("exportable", with(|body| body.exportable = Some(true))),
        (
            "allow_plaintext_backup",
            with(|body| body.allow_plaintext_backup = Some(true)),
        ),
        (
            "auto_rotate_period",
            with(|body| body.auto_rotate_period_s = Some(3600)),
        ),
    ] {
        let desk = Desk::new();
        let said = config(&desk, "k", body);
        let text = format!("{field} is not supported by this back end");
        assert_eq!((said.status, said.body), (400, errors(&text)));
        assert_eq!(desk.hsm.count("configure"), 0, "{field}");
    }
}

#[test]
fn settings_that_change_nothing_are_answered_with_the_key() {
    let desk = Desk::new();
    let before = read(&desk);
    let harmless = ConfigBody {
        exportable: Some(false),
        allow_plaintext_backup: Some(false),
        auto_rotate_period_s: Some(0),
        ..ConfigBody::default()
    };
    for body in [ConfigBody::default(), harmless] {
        assert_eq!(config(&desk, "k", body), before);
    }
    assert_eq!(desk.hsm.count("configure"), 0);
    let said = config(&desk, "k", minimum(0));
    assert_eq!((said.status, said.data()), (200, before.data()));
    let warning = "\"warnings\":[\"since Vault 0.3 (prior to the OpenBao fork), transit key numbering \
                   starts at 1; forcing minimum to 1\"]";
    assert!(said.body.contains(warning), "{}", said.body);
}

#[test]
fn a_delete_needs_leave_and_drops_what_was_cached() {
    let desk = Desk::new();
    let delete = || desk.ask(&Command::DeleteKey { key: "k" });
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    let said = delete();
    let text = "error deleting policy k: deletion is not allowed for this key";
    assert_eq!((said.status, said.body), (400, errors(text)));
    assert_eq!(
        desk.unwrap(b"x"),
        (200, 0),
        "a refused delete drops nothing"
    );
    let allow = ConfigBody {
        deletion_allowed: Some(true),
        ..ConfigBody::default()
    };
    assert_eq!(config(&desk, "k", allow).status, 200);
    let said = delete();
    assert_eq!((said.status, said.body.as_str()), (204, ""));
    assert_eq!((read(&desk).status, desk.unwrap(b"x")), (404, (400, 0)));
    let said = delete();
    let text = "error deleting policy k: could not delete key; not found";
    assert_eq!((said.status, said.body), (400, errors(text)));
    // Made anew under the same name it is another key: nothing of the old one is served.
    desk.hsm.set_key(record("k", "another"));
    assert_eq!(desk.unwrap(b"x"), (200, 1));
}

#[test]
fn a_key_that_another_node_deleted_is_dropped_by_our_delete() {
    let desk = Desk::new();
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    desk.hsm.remove_key("k");
    assert_eq!(desk.unwrap(b"x"), (200, 0), "not known yet");
    assert_eq!(desk.ask(&Command::DeleteKey { key: "k" }).status, 400);
    assert_eq!(desk.unwrap(b"x"), (400, 0));
}

#[test]
fn a_change_without_a_clear_answer_is_looked_up_by_the_next_request() {
    let desk = Desk::new();
    assert_eq!(desk.unwrap(b"x"), (200, 1));
    desk.hsm.fail(Some(HsmError::TimedOut));
    assert_eq!(rotate(&desk, "k").status, 504);
    desk.hsm.fail(None);
    desk.hsm.rotate("k");
    assert_eq!((read(&desk).status, desk.hsm.count("find")), (200, 2));
    assert!(read(&desk).data().contains("\"latest_version\":2"));
}

#[test]
fn a_lookup_asked_before_a_change_does_not_undo_it() {
    let mut desk = Desk::new();
    rotate(&desk, "k");
    desk.now += METADATA_TTL + Duration::from_mins(1);
    desk.hsm.hold();
    assert_eq!(read(&desk).status, 200, "sets a refresh off");
    let old = desk.hsm.key("k").unwrap();
    let mut asking = Asking::new(1);
    let command = Command::ConfigKey {
        key: "k",
        body: minimum(2),
    };
    assert_eq!(desk.run(&mut asking, &command), None);
    desk.hsm.release_last();
    assert_eq!(
        desk.resume(&mut asking, &command).map(|said| said.status),
        Some(200)
    );
    // The refresh has read the key before the change and answers now.
    let new = desk.hsm.key("k").unwrap();
    desk.hsm.set_key(old);
    desk.hsm.release(1);
    desk.hsm.set_key(new);
    assert!(read(&desk).data().contains("\"min_decryption_version\":2"));
}

#[test]
fn lists_tell_what_the_role_may_see() {
    let mut desk = Desk::new();
    for name in ["a1", "a2", "a3", "b"] {
        desk.hsm.set_key(record(name, name));
    }
    for (name, keys, after, limit, want) in [
        ("all", "*", "", None, Some("a1,a2,a3,b,k")),
        ("by glob", "a*", "", None, Some("a1,a2,a3")),
        ("after", "*", "a2", None, Some("a3,b,k")),
        ("after what is not there", "*", "a22", None, Some("a3,b,k")),
        ("limit", "*", "", Some(2), Some("a1,a2")),
        ("limit counts what is seen", "b*", "", Some(1), Some("b")),
        ("after and limit", "a*", "a1", Some(1), Some("a2")),
        ("no names left", "*", "z", None, None),
        ("none of the role's", "z*", "", None, None),
    ] {
        desk.pin.role = Arc::new(role(keys));
        let said = desk.ask(&Command::ListKeys(ListQuery {
            after: after.into(),
            limit,
            ..ListQuery::default()
        }));
        match want {
            Some(names) => {
                let want = format!("{{\"keys\":[\"{}\"]}}", names.replace(',', "\",\""));
                assert_eq!((said.status, said.data()), (200, want.as_str()), "{name}");
            }
            None => assert_eq!((said.status, said.body), (404, errors("")), "{name}"),
        }
    }
    desk.hsm.fail(Some(HsmError::Unavailable("down".into())));
    let command = Command::ListKeys(ListQuery::default());
    assert_eq!(desk.ask(&command).status, 503);
}

#[test]
fn lists_at_one_moment_are_one_job() {
    let desk = Desk::new();
    desk.hsm.hold();
    let command = Command::ListKeys(ListQuery::default());
    let mut askings: Vec<_> = (0..3).map(Asking::new).collect();
    for asking in &mut askings {
        assert_eq!(desk.run(asking, &command), None);
    }
    desk.hsm.release(1);
    for asking in &mut askings {
        let said = desk.resume(asking, &command).expect("an answer");
        assert_eq!(said.data(), "{\"keys\":[\"k\"]}");
    }
    assert_eq!(desk.hsm.count("list"), 1);
}
