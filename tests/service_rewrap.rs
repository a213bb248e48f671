//! Rewrap and data keys: two operations of the HSM behind one answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use kms::api::Command;
use kms::hsm::{HsmError, KeyChange};
use kms::wire::transit::{DatakeyBody, Text, Verb};
use service_support::desk::{Asking, Desk, Said, body};
use service_support::fake_hsm::{decrypt_body, sealed, sealed_by};
use service_support::transit::errors;

fn rotated() -> Desk {
    let desk = Desk::new();
    desk.hsm.rotate("k").unwrap();
    desk
}

#[test]
fn a_rewrap_unwraps_and_wraps_anew() {
    let desk = rotated();
    let want = |version| {
        let ciphertext = sealed_by(version, b"x");
        format!("{{\"ciphertext\":\"{ciphertext}\",\"key_version\":{version}}}")
    };
    let said = desk.rewrap(&decrypt_body(b"x"));
    assert_eq!((said.status, said.data()), (200, want(2).as_str()));
    let made = ["find", "decrypt", "encrypt"].map(|kind| desk.hsm.count(kind));
    assert_eq!(made, [1, 1, 1]);
    assert_eq!(desk.unwrap(b"x"), (200, 1), "a rewrap fills no cache");
    desk.rewrap(&decrypt_body(b"x"));
    assert_eq!(desk.hsm.count("decrypt"), 2, "and reads it");
    let said = desk.encrypt("{\"plaintext\":\"eA==\",\"key_version\":1}");
    assert_eq!(said.data(), want(1), "an encrypt may still choose");
}

#[test]
fn single_rewraps_are_refused_in_transits_words() {
    for (name, key, text, want) in [
        (
            "no prefix",
            "k",
            "{\"ciphertext\":\"junk\"}".to_owned(),
            "invalid ciphertext: no prefix",
        ),
        (
            "unknown key",
            "no",
            decrypt_body(b"x"),
            "encryption key not found",
        ),
        (
            "version that nobody has",
            "k",
            format!("{{\"ciphertext\":\"{}\"}}", sealed_by(3, b"x")),
            "invalid ciphertext: version is too new",
        ),
        (
            "tampered",
            "k",
            "{\"ciphertext\":\"vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}".to_owned(),
            "cipher: message authentication failed",
        ),
    ] {
        let body = body(Verb::Decrypt, &text);
        let said = rotated().ask(&Command::Rewrap { key, body });
        assert_eq!((said.status, said.body), (400, errors(want)), "{name}");
    }
}

#[test]
fn a_batch_of_rewraps_is_answered_with_200_whatever_became_of_it() {
    let desk = rotated();
    let item = |more: &str| format!("{{\"ciphertext\":\"{}\"{more}}}", sealed(b"x"));
    let text = format!(
        "{{\"batch_input\":[{},{{\"ciphertext\":\"zz\",\"reference\":\"b\"}},{},{},{}]}}",
        item(",\"reference\":\"a\""),
        item(",\"key_version\":1"),
        item(",\"key_version\":9"),
        item(",\"key_version\":-1"),
    );
    let said = desk.rewrap(&text);
    let wrapped = |version| sealed_by(version, b"x");
    let want = format!(
        "{{\"batch_results\":[{{\"ciphertext\":\"{}\",\"key_version\":2,\"reference\":\"a\"}},\
         {{\"error\":\"invalid ciphertext: no prefix\",\"reference\":\"b\"}},\
         {{\"ciphertext\":\"{}\",\"key_version\":1,\"reference\":\"\"}},\
         {{\"error\":\"requested version for encryption is higher than the latest key version\",\"reference\":\"\"}},\
         {{\"error\":\"requested version for encryption is negative\",\"reference\":\"\"}}]}}",
        wrapped(2),
        wrapped(1),
    );
    assert_eq!((said.status, said.data()), (200, want.as_str()));
    assert!(
        said.body.ends_with("}\n"),
        "a line feed, as after a success"
    );
    assert_eq!(
        desk.hsm.count("find"),
        1,
        "the key was new, so its versions are known to be all"
    );

    desk.hsm.fail(Some(HsmError::Unavailable("down".into())));
    let said = desk.rewrap(&format!(
        "{{\"batch_input\":[{{\"ciphertext\":\"{}\"}}]}}",
        sealed(b"y")
    ));
    assert_eq!(
        (said.status, said.data()),
        (
            200,
            "{\"batch_results\":[{\"error\":\"the HSM is not reachable\",\"reference\":\"\"}]}"
        )
    );
}

#[test]
fn a_rewrap_out_of_time_ends_between_its_two_steps() {
    let desk = rotated();
    desk.rewrap(&decrypt_body(b"known"));
    desk.hsm.hold();
    let text = decrypt_body(b"x");
    let command = Command::Rewrap {
        key: "k",
        body: body(Verb::Decrypt, &text),
    };
    let mut asking = Asking::new(1);
    assert_eq!(desk.run(&mut asking, &command), None);
    desk.hsm.release(1);
    desk.deliver(&mut asking);
    let said = desk.give_up(&mut asking, &command).expect("an answer");
    assert_eq!((said.status, desk.hsm.count("encrypt")), (504, 1));
}

fn datakey_body(bits: i64, key_version: i64) -> DatakeyBody<'static> {
    DatakeyBody {
        bits,
        key_version,
        context: None,
        associated_data: None,
        warnings: vec!["w".to_owned()],
    }
}

fn datakey(desk: &Desk, key: &str, plaintext: bool, body: DatakeyBody<'_>) -> Said {
    desk.ask(&Command::Datakey {
        key,
        plaintext,
        body,
    })
}

#[test]
fn data_keys_of_each_size_unwrap_to_what_was_told() {
    for (bits, bytes) in [(128, 16), (256, 32), (512, 64)] {
        let desk = rotated();
        let said = datakey(&desk, "k", true, datakey_body(bits, 0));
        assert_eq!(said.status, 200, "{bits}");
        let (members, plaintext) = said
            .data()
            .split_once(",\"plaintext\":")
            .expect("a plaintext");
        let ciphertext = said.ciphertext();
        assert_eq!(
            members,
            format!("{{\"ciphertext\":\"{ciphertext}\",\"key_version\":2")
        );
        assert!(said.body.contains("\"warnings\":[\"w\"]"), "{bits}");
        let unwrapped = desk.decrypt(&format!("{{\"ciphertext\":\"{ciphertext}\"}}"));
        assert_eq!(
            unwrapped.data(),
            format!("{{\"plaintext\":{plaintext}"),
            "{bits}"
        );
        let text = plaintext.trim_matches(['"', '}']);
        let mut decoded = [0; 96];
        assert_eq!(
            kms::wire::base64::decode(text.as_bytes(), &mut decoded),
            Ok(bytes)
        );
        assert!(decoded.iter().any(|byte| *byte != 0), "{bits}: random");
    }
    let desk = rotated();
    let said = datakey(&desk, "k", false, datakey_body(256, 1));
    assert!(!said.body.contains("plaintext"), "{}", said.body);
    assert!(
        said.data().ends_with(",\"key_version\":1}"),
        "{}",
        said.body
    );
}

#[test]
fn random_comes_from_the_hsm_where_it_has_some() {
    for (name, offered, decrypts_to, status) in [
        ("from the HSM", Ok(7), Some([7; 16]), 200),
        (
            "refused",
            Err(HsmError::Unsupported("RNG Retrieve")),
            None,
            200,
        ),
        (
            "refused by reason",
            Err(HsmError::Refused {
                reason: 5,
                text: "no".into(),
            }),
            None,
            200,
        ),
        ("down", Err(HsmError::Unavailable("down".into())), None, 503),
    ] {
        let desk = Desk::new();
        desk.hsm.offer_random(offered);
        let said = datakey(&desk, "k", true, datakey_body(128, 0));
        assert_eq!(
            (said.status, desk.hsm.count("random")),
            (status, 1),
            "{name}"
        );
        let same = decrypts_to.is_some_and(|bytes| said.ciphertext() == sealed(&bytes));
        assert_eq!(same, decrypts_to.is_some(), "{name}");
    }
}

#[test]
fn data_keys_are_refused_in_transits_words() {
    let with = |change: fn(&mut DatakeyBody<'static>)| {
        let mut body = datakey_body(7, 0);
        change(&mut body);
        body
    };
    for (name, key, body, status, want) in [
        ("bits", "k", with(|_| ()), 400, "invalid bit length"),
        (
            "bits before version",
            "k",
            with(|body| body.key_version = -1),
            400,
            "invalid bit length",
        ),
        (
            "unknown key",
            "no",
            with(|_| ()),
            400,
            "encryption key not found",
        ),
        (
            "context before all",
            "no",
            with(|body| body.context = Some(Text::Borrowed("!!"))),
            400,
            "failed to base64-decode context",
        ),
        (
            "version",
            "k",
            datakey_body(256, 3),
            400,
            "requested version for encryption is higher than the latest key version",
        ),
        (
            "negative version",
            "k",
            datakey_body(256, -3),
            400,
            "requested version for encryption is negative",
        ),
        (
            "associated data",
            "k",
            with(|body| {
                body.bits = 256;
                body.associated_data = Some(Text::Borrowed("!!"));
            }),
            500,
            r"1 error occurred:\n\t* unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte 0\n\n",
        ),
    ] {
        let desk = rotated();
        let said = datakey(&desk, key, true, body);
        assert_eq!((said.status, said.body), (status, errors(want)), "{name}");
        assert_eq!(desk.hsm.count("encrypt"), 0, "{name}");
    }
}

#[test]
fn a_raised_minimum_is_the_lowest_version_that_wraps() {
    let desk = rotated();
    let change = KeyChange {
        min_encryption_version: Some(2),
        ..KeyChange::default()
    };
    let record = desk.hsm.key("k").unwrap().changed(&change).unwrap();
    desk.hsm.set_key(record.into());
    let want = "requested version for encryption is less than the minimum encryption key version";
    let said = datakey(&desk, "k", true, datakey_body(256, 1));
    assert_eq!((said.status, said.body), (400, errors(want)));
}
