//! Batches to the letter: order, references, shapes of failed items, statuses (openbao-transit.md 5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use service_support::transit::{data_of, encrypt, site};

const HELLO: &str = r#"{"plaintext":"aGVsbG8=","reference":"r1"}"#;
const WORLD: &str = r#"{"plaintext":"d29ybGQ=","reference":""}"#;
const NO_PREFIX: &str =
    r#"{"plaintext":"","error":"invalid ciphertext: no prefix","reference":"r2"}"#;
const TOO_NEW: &str =
    r#"{"plaintext":"","error":"invalid ciphertext: version is too new","reference":""}"#;
const DATA_ERROR: &str = "unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte 0";

fn item(text: &str, more: &str) -> String {
    format!("{{\"ciphertext\":\"{text}\"{more}}}")
}

#[test]
fn wraps_keep_order_and_references() {
    let (running, mut client) = site();
    let two =
        r#"{"batch_input":[{"plaintext":"aGVsbG8=","reference":"r1"},{"plaintext":"d29ybGQ="}]}"#;
    let answer = client.post("/v1/transit/encrypt/k1", two);
    assert_eq!(
        (answer.status, answer.body.ends_with("}\n")),
        (200, true),
        "{}",
        answer.body
    );
    let (data, warnings) = data_of("wrap", &answer);
    let shape: Vec<&str> = data
        .split('"')
        .filter(|part| !part.starts_with("vault:v1:"))
        .collect();
    let want = r#"{"batch_results":[{"ciphertext":"","key_version":1,"reference":"r1"},{"ciphertext":"","key_version":1,"reference":""}]}"#;
    let want: Vec<&str> = want.split('"').collect();
    // The two ciphertexts are the two parts that were left out.
    let want: Vec<&str> = [&want[..5], &want[6..15], &want[16..]].concat();
    assert_eq!((shape, warnings), (want, "null"));
    let failing = r#"{"batch_input":[{"plaintext":"!!","reference":"r2"},{"plaintext":"aGk=","key_version":99},{"plaintext":"aGk=","associated_data":"!!"}]}"#;
    let answer = client.post("/v1/transit/encrypt/k1", failing);
    assert_eq!((answer.status, answer.body.ends_with('\n')), (400, false));
    let version = "requested version for encryption is higher than the latest key version";
    let want = [
        r#"{"error":"illegal base64 data at input byte 0","reference":"r2"}"#.to_owned(),
        format!("{{\"error\":\"{version}\",\"reference\":\"\"}}"),
        format!("{{\"error\":\"{DATA_ERROR}\",\"reference\":\"\"}}"),
    ];
    let want = format!("{{\"batch_results\":[{}]}}", want.join(","));
    assert_eq!(data_of("failed wraps", &answer).0, want);
    running.stop();
}

#[test]
fn unwraps_keep_order_and_references() {
    let (running, mut client) = site();
    let one = encrypt(&mut client, r#"{"plaintext":"aGVsbG8="}"#);
    let two = encrypt(&mut client, r#"{"plaintext":"d29ybGQ="}"#);
    let (hello, world) = (item(&one, r#","reference":"r1""#), item(&two, ""));
    let unknown = item(&two, r#","zzz":1"#);
    for (name, items, more, want) in [
        ("two", [&hello, &world], "", [HELLO, WORLD]),
        ("turned round", [&world, &hello], "", [WORLD, HELLO]),
        (
            "the batch wins",
            [&hello, &world],
            r#","ciphertext":null"#,
            [HELLO, WORLD],
        ),
        ("the same twice", [&world, &world], "", [WORLD, WORLD]),
        ("unknown field", [&unknown, &world], "", [WORLD, WORLD]),
    ] {
        let [first, second] = items;
        let body = format!("{{\"batch_input\":[{first},{second}]{more}}}");
        let answer = client.post("/v1/transit/decrypt/k1", &body);
        assert_eq!(
            (answer.status, answer.body.ends_with("}\n")),
            (200, true),
            "{name}: {}",
            answer.body
        );
        let want = format!("{{\"batch_results\":[{}]}}", want.join(","));
        assert_eq!(data_of(name, &answer).0, want, "{name}");
    }
    running.stop();
}

#[test]
fn failed_unwraps_are_told_item_by_item() {
    let (running, mut client) = site();
    let two = encrypt(&mut client, r#"{"plaintext":"d29ybGQ="}"#);
    let (world, junk) = (item(&two, ""), item("junk", r#","reference":"r2""#));
    let too_new = item(&two.replacen("v1", "v9", 1), "");
    let bad_data = item(&two, r#","associated_data":"!!""#);
    let data_error =
        format!("{{\"plaintext\":\"\",\"error\":\"{DATA_ERROR}\",\"reference\":\"\"}}");
    let code = |value: &str| format!(",\"partial_failure_response_code\":{value}");
    for (name, items, more, status, want) in [
        (
            "default",
            [&world, &junk],
            String::new(),
            400,
            [WORLD, NO_PREFIX],
        ),
        ("207", [&world, &junk], code("207"), 207, [WORLD, NO_PREFIX]),
        (
            "200 as a string",
            [&junk, &world],
            code("\"200\""),
            200,
            [NO_PREFIX, WORLD],
        ),
        (
            "all fail",
            [&junk, &junk],
            code("200"),
            400,
            [NO_PREFIX, NO_PREFIX],
        ),
        (
            "too new",
            [&too_new, &world],
            String::new(),
            400,
            [TOO_NEW, WORLD],
        ),
        (
            "associated data",
            [&bad_data, &world],
            String::new(),
            500,
            [data_error.as_str(), WORLD],
        ),
    ] {
        let [first, second] = items;
        let body = format!("{{\"batch_input\":[{first},{second}]{more}}}");
        let answer = client.post("/v1/transit/decrypt/k1", &body);
        assert_eq!(
            (answer.status, answer.body.ends_with('\n')),
            (status, false),
            "{name}: {}",
            answer.body
        );
        let want = format!("{{\"batch_results\":[{}]}}", want.join(","));
        assert_eq!(data_of(name, &answer).0, want, "{name}");
    }
    running.stop();
}
